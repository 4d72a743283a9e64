//! A custom resource, from the tree of its document.

use std::sync::Arc;

use ironlb_model as model;
use serde::Deserialize;

use crate::decode::{IN_QUOTES, Rules, decode};
use crate::objects::{Draft, Entry, ObjectKind, Spec};
use crate::path::Step;
use crate::place::Place;
use crate::suggest::did_you_mean;
use crate::tree::{Fault, Node, Value};

/// What `root`, which is of kind `kind`, holds. `faults` are what was wrong with it so far.
pub(crate) fn entry(
    kind: ObjectKind,
    root: &Node,
    mut faults: Vec<Fault>,
    mut place: Place,
) -> Entry {
    let metadata: Metadata = part(root, "metadata", &mut faults).unwrap_or_default();
    let spec = spec(kind, root, &mut faults);
    faults.iter_mut().for_each(explain);
    let misplaced = faults.iter().filter_map(misplaced);
    place.tainted = misplaced
        .chain(faults.iter().flat_map(Fault::tainted))
        .collect();
    let errors: Vec<_> = faults.into_iter().map(|fault| place.fault(fault)).collect();
    let draft = spec.map(|spec| Draft {
        name: metadata.name.unwrap_or_default().into(),
        labels: metadata.labels.unwrap_or_default(),
        spec,
        place: Arc::new(place),
    });
    Entry {
        unreadable: draft.is_none(),
        hides_pools: draft.is_none() && kind == ObjectKind::IPAddressPool,
        drafts: draft.into_iter().collect(),
        errors,
    }
}

/// What is wrong with a kind of metallb.io that there is not.
pub(crate) fn unknown_kind(word: &str) -> String {
    let names = ObjectKind::RESOURCES.map(ObjectKind::name);
    let hint = match did_you_mean(word, names) {
        _ if word == "AddressPool" => {
            "; AddressPool was replaced by IPAddressPool with an advertisement".to_owned()
        }
        Some(name) => format!("; did you mean \"{name}\"?"),
        None => format!("; there are {}", names.join(", ")),
    };
    format!("\"{word}\" is no kind of metallb.io{hint}")
}

/// What is wrong with the version of `root`, which is of kind `kind`.
pub(crate) fn wrong_version(root: &Node, kind: ObjectKind) -> Option<Fault> {
    let version = root.text("apiVersion").unwrap_or_default();
    let allowed: &[&str] = match kind {
        ObjectKind::BGPPeer => &["metallb.io/v1beta1", "metallb.io/v1beta2"],
        _ => &["metallb.io/v1beta1"],
    };
    (!allowed.contains(&version)).then(|| {
        let allowed = allowed.join(" and ");
        let message = match version {
            "" => format!("is missing; there is {allowed}"),
            _ => format!(
                "\"{version}\" is no version of {}; there is {allowed}",
                kind.name()
            ),
        };
        let mark = root.locate(&[Step::Key("apiVersion".into())]);
        Fault::new(mark, "apiVersion".to_owned(), message)
    })
}

/// The keys beside `spec` that no resource has.
pub(crate) fn unknown_top(root: &Node) -> Vec<Fault> {
    let Value::Mapping(entries) = &root.value else {
        return Vec::new();
    };
    let keys = entries.iter().map(|(key, _)| key);
    let unknown = keys.filter_map(|key| {
        let name = key.key().filter(|name| !TOP_KEYS.contains(name))?;
        let hint = match did_you_mean(name, TOP_KEYS) {
            Some(meant) => format!("; did you mean \"{meant}\"?"),
            None => format!(
                "; there are {}, and what an object says is below spec, further in",
                TOP_KEYS.join(", ")
            ),
        };
        let message = format!("unknown field \"{name}\"{hint}");
        Some(Fault::new(key.mark, name.to_owned(), message))
    });
    unknown.collect()
}

/// The field that seems to be missing because it is indented like something else.
fn misplaced(fault: &Fault) -> Option<String> {
    match fault.path.as_str() {
        "metadata.spec" => Some("spec".to_owned()),
        path if path.contains(['.', '[']) || TOP_KEYS.contains(&path) => None,
        path => Some(format!("spec.{path}")),
    }
}

/// Says what to do, where decoding could not know it.
fn explain(fault: &mut Fault) {
    let field = fault.path.rsplit('.').next().unwrap_or_default();
    if fault.path == "metadata.spec" {
        fault.message = "is below metadata; it belongs beside it, as far in as kind".to_owned();
    } else if DURATIONS.contains(&field) {
        fault.message = fault
            .message
            .replace(IN_QUOTES, "a duration with its unit, such as 90s");
    }
}

/// The part of the metadata that decides; the rest is known, and without effect.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    labels: Option<model::Labels>,
    #[serde(rename = "namespace")]
    _namespace: Option<String>,
    #[serde(rename = "annotations")]
    _annotations: Option<model::Labels>,
    #[serde(rename = "generateName")]
    _generate_name: Option<String>,
    #[serde(rename = "creationTimestamp")]
    _creation_timestamp: serde::de::IgnoredAny,
    #[serde(rename = "deletionGracePeriodSeconds")]
    _deletion_grace_period_seconds: serde::de::IgnoredAny,
    #[serde(rename = "deletionTimestamp")]
    _deletion_timestamp: serde::de::IgnoredAny,
    #[serde(rename = "finalizers")]
    _finalizers: serde::de::IgnoredAny,
    #[serde(rename = "generation")]
    _generation: serde::de::IgnoredAny,
    #[serde(rename = "managedFields")]
    _managed_fields: serde::de::IgnoredAny,
    #[serde(rename = "ownerReferences")]
    _owner_references: serde::de::IgnoredAny,
    #[serde(rename = "resourceVersion")]
    _resource_version: serde::de::IgnoredAny,
    #[serde(rename = "selfLink")]
    _self_link: serde::de::IgnoredAny,
    #[serde(rename = "uid")]
    _uid: serde::de::IgnoredAny,
}

fn spec(kind: ObjectKind, root: &Node, faults: &mut Vec<Fault>) -> Option<Spec> {
    Some(match kind {
        ObjectKind::IPAddressPool => Spec::Pool(part(root, "spec", faults)?),
        ObjectKind::L2Advertisement => Spec::L2(part(root, "spec", faults)?),
        ObjectKind::BGPAdvertisement => Spec::Bgp(part(root, "spec", faults)?),
        ObjectKind::BGPPeer => Spec::Peer(part(root, "spec", faults)?),
        ObjectKind::BFDProfile => Spec::Bfd(part(root, "spec", faults)?),
        ObjectKind::Community => Spec::Community(part(root, "spec", faults)?),
        ObjectKind::LegacyConfigMap => return None,
    })
}

/// The value under `name`; what there is without it when there is none.
fn part<'n, T: Deserialize<'n> + Default>(
    root: &'n Node,
    name: &'static str,
    faults: &mut Vec<Fault>,
) -> Option<T> {
    match root.get(name) {
        Some(node) if !node.is_null() => {
            decode(node, Rules::RESOURCE, &[Step::Key(name.into())], faults)
        }
        _ => Some(T::default()),
    }
}

/// The fields that are text and say a duration.
const DURATIONS: [&str; 8] = [
    "holdTime",
    "keepaliveTime",
    "connectTime",
    "restartTime",
    "drainTime",
    "coolDown",
    "refreshInterval",
    "interval",
];
const TOP_KEYS: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
