//! The CustomResourceDefinitions, made of the types.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Resource;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use schemars::transform::AddNullable;
use serde_json::{Map, Value, json};

use super::resource::Nothing;
use super::{
    BFDProfile, BFDProfileSpec, BGPAdvertisement, BGPAdvertisementSpec, BGPPeer, BGPPeerSpec,
    Community, CommunitySpec, ConfigurationState, ConfigurationStateStatus, IPAddressPool,
    IPAddressPoolSpec, IPAddressPoolStatus, L2Advertisement, L2AdvertisementSpec, ServiceBGPStatus,
    ServiceBGPStatusStatus, ServiceL2Status, ServiceL2StatusStatus,
};
use crate::text;

/// Every CustomResourceDefinition, in the order in which they are documented.
///
/// # Errors
///
/// None that an operator can cause: a type has a schema that Kubernetes cannot express.
pub fn all() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    documents()
        .into_iter()
        .map(serde_json::from_value)
        .collect()
}

/// The same as YAML documents, for `kubectl apply`.
///
/// # Errors
///
/// As [`all`].
pub fn yaml() -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
    let mut out = String::new();
    for document in documents() {
        // Through the type, so that nothing is printed that the API does not know.
        let definition: CustomResourceDefinition = serde_json::from_value(document)?;
        out.push_str("---\n");
        out.push_str(&text::yaml(&definition)?);
    }
    Ok(out)
}

fn documents() -> Vec<Value> {
    vec![
        Definition::of::<IPAddressPool, IPAddressPoolSpec, IPAddressPoolStatus>(
            "Addresses that Services may get.",
        )
        .with_required_spec()
        .with_columns(&[
            ("Auto Assign", "boolean", ".spec.autoAssign"),
            ("Avoid Buggy IPs", "boolean", ".spec.avoidBuggyIPs"),
            ("Addresses", "string", ".spec.addresses"),
        ])
        .into_json(),
        Definition::of::<L2Advertisement, L2AdvertisementSpec, Nothing>(
            "Announces addresses by ARP and NDP.",
        )
        .with_columns(&[
            ("IPAddressPools", "string", ".spec.ipAddressPools"),
            (
                "IPAddressPool Selectors",
                "string",
                ".spec.ipAddressPoolSelectors",
            ),
            ("Interfaces", "string", ".spec.interfaces"),
        ])
        .into_json(),
        Definition::of::<BGPAdvertisement, BGPAdvertisementSpec, Nothing>(
            "Announces addresses over BGP.",
        )
        .with_columns(&[
            ("IPAddressPools", "string", ".spec.ipAddressPools"),
            (
                "IPAddressPool Selectors",
                "string",
                ".spec.ipAddressPoolSelectors",
            ),
            ("Peers", "string", ".spec.peers"),
        ])
        .into_json(),
        Definition::of::<BGPPeer, BGPPeerSpec, Nothing>("A BGP router to peer with.")
            .with_required_spec()
            .with_columns(&[
                ("Address", "string", ".spec.peerAddress"),
                ("ASN", "string", ".spec.peerASN"),
                ("BFD Profile", "string", ".spec.bfdProfile"),
                ("Multi Hops", "string", ".spec.ebgpMultiHop"),
            ])
            .with_older_version("v1beta1")
            .into_json(),
        Definition::of::<BFDProfile, BFDProfileSpec, Nothing>(
            "How fast a dead BGP peer is noticed.",
        )
        .with_columns(&[
            ("Passive Mode", "boolean", ".spec.passiveMode"),
            ("Transmit Interval", "integer", ".spec.transmitInterval"),
            ("Receive Interval", "integer", ".spec.receiveInterval"),
            ("Multiplier", "integer", ".spec.detectMultiplier"),
        ])
        .into_json(),
        Definition::of::<Community, CommunitySpec, Nothing>("Names for BGP communities.")
            .into_json(),
        Definition::of::<ServiceL2Status, Nothing, ServiceL2StatusStatus>(
            "Which node announces a Service by ARP and NDP.",
        )
        .with_columns(&SERVICE_COLUMNS)
        .into_json(),
        Definition::of::<ServiceBGPStatus, Nothing, ServiceBGPStatusStatus>(
            "Which peers a node announces a Service to over BGP.",
        )
        .with_columns(&SERVICE_COLUMNS)
        .into_json(),
        Definition::of::<ConfigurationState, Nothing, ConfigurationStateStatus>(
            "Whether a component of ironlb could use the configuration.",
        )
        .with_columns(&[
            ("Result", "string", ".status.result"),
            ("Error Summary", "string", ".status.errorSummary"),
        ])
        .into_json(),
    ]
}

/// A definition in the making.
struct Definition {
    kind: String,
    plural: String,
    versions: Vec<Value>,
}

impl Definition {
    fn of<K, Spec, Status>(description: &str) -> Self
    where
        K: Resource<DynamicType = ()>,
        Spec: JsonSchema,
        Status: JsonSchema,
    {
        let schema = json!({
            "type": "object",
            "description": description,
            "properties": {
                "apiVersion": {"type": "string", "description": "Group and version."},
                "kind": {"type": "string", "description": "The kind."},
                "metadata": {"type": "object"},
                "spec": part::<Spec>("What is wanted."),
                "status": part::<Status>("What is."),
            },
        });
        let version = json!({
            "name": K::version(&()),
            "served": true,
            "storage": true,
            "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}},
        });
        Self {
            kind: K::kind(&()).into_owned(),
            plural: K::plural(&()).into_owned(),
            versions: vec![version],
        }
    }

    fn with_required_spec(mut self) -> Self {
        for version in &mut self.versions {
            let schema = version.pointer_mut("/schema/openAPIV3Schema");
            if let Some(Value::Object(schema)) = schema {
                schema.insert("required".to_owned(), json!(["spec"]));
            }
        }
        self
    }

    /// Columns of `kubectl get`: title, type, path.
    fn with_columns(mut self, columns: &[(&str, &str, &str)]) -> Self {
        let columns: Vec<Value> = columns
            .iter()
            .map(|(title, kind, path)| json!({"name": title, "type": kind, "jsonPath": path}))
            .collect();
        for version in self.versions.iter_mut().filter_map(Value::as_object_mut) {
            version.insert(
                "additionalPrinterColumns".to_owned(),
                columns.clone().into(),
            );
        }
        self
    }

    /// Serves the same schema under an older version too: without a conversion webhook, what is stored must fit both.
    fn with_older_version(mut self, name: &str) -> Self {
        if let Some(Value::Object(version)) = self.versions.first() {
            let mut older = version.clone();
            older.insert("name".to_owned(), name.into());
            older.insert("storage".to_owned(), false.into());
            older.insert("deprecated".to_owned(), true.into());
            self.versions.insert(0, older.into());
        }
        self
    }

    fn into_json(self) -> Value {
        let Self {
            kind,
            plural,
            versions,
        } = self;
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.metallb.io")},
            "spec": {
                "group": "metallb.io",
                "names": {
                    "kind": kind,
                    "listKind": format!("{kind}List"),
                    "plural": plural,
                    "singular": kind.to_lowercase(),
                },
                "scope": "Namespaced",
                "versions": versions,
            },
        })
    }
}

/// The schema of a type, in the form that Kubernetes wants: inline, structural, nothing nullable.
fn part<T: JsonSchema>(description: &str) -> Value {
    let generator = SchemaSettings::openapi3()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(AddNullable::default())
        .with_transform(kube::core::schema::StructuralSchemaRewriter)
        .with_transform(kube::core::schema::OptionalEnum)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    if let Value::Object(schema) = &mut schema {
        schema.remove("title");
        schema.insert("description".to_owned(), description.into());
    }
    schema
}

/// Takes out `nullable`: a null is dropped before anything looks at it, so that no rule has to know of it. Puts
/// each description on one line.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if is_schema(map) {
                map.remove("nullable");
                if map.get("default").is_some_and(is_nothing) {
                    map.remove("default");
                }
                if let Some(Value::String(text)) = map.get_mut("description") {
                    *text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                }
            }
            map.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

/// A default that says no more than that the field is absent.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Not a map of properties, which may have such names.
fn is_schema(map: &Map<String, Value>) -> bool {
    map.get("type").is_none_or(Value::is_string)
}

const SERVICE_COLUMNS: [(&str, &str, &str); 3] = [
    ("Allocated Node", "string", ".status.node"),
    ("Service Name", "string", ".status.serviceName"),
    ("Service Namespace", "string", ".status.serviceNamespace"),
];
