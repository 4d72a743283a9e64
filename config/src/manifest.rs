//! Single objects as they were read, by key: so that a reader of many files can parse one file alone, and keep of a
//! broken one what it last said.

use std::collections::btree_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use ironlb_model as model;

use crate::error::Error;
use crate::objects::{Entry, ObjectRef, Objects};
use crate::source::Manifests;
use crate::tree::Mark;

/// Which object: what no two objects of a cluster have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestKey {
    pub(crate) kind: &'static str,
    /// Empty for kinds that are in no namespace, and where a configuration object names none.
    pub(crate) namespace: model::Name,
    /// Empty when it could not be read.
    pub(crate) name: model::Name,
}

impl ManifestKey {
    /// `Kind/name`, as in [`Error::object`].
    pub fn object(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }
}

/// Prints as `Kind/namespace/name`.
impl fmt::Display for ManifestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
    }
}

/// One object of a source.
#[derive(Clone, Debug)]
pub struct Manifest {
    pub(crate) key: ManifestKey,
    pub(crate) source: Arc<str>,
    /// Where its name is.
    pub(crate) mark: Mark,
    pub(crate) body: Body,
}

/// What a [`Manifest`] says.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Service(Arc<model::Service>),
    Namespace(model::Namespace),
    Node(model::Node),
    EndpointSlice(Arc<model::EndpointSlice>),
    /// Judged by [`lower`](crate::lower), together with all others.
    Configuration(ObjectRef, Entry),
}

/// What a [`Manifest`] is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// A Service.
    Service(&'a Arc<model::Service>),
    /// A namespace.
    Namespace(&'a model::Namespace),
    /// A node.
    Node(&'a model::Node),
    /// Endpoints of a Service.
    EndpointSlice(&'a Arc<model::EndpointSlice>),
    /// Something that [`lower`](crate::lower) judges together with all others: see [`Objects::gather`].
    Configuration,
}

impl Manifest {
    /// Which object it is.
    pub const fn key(&self) -> &ManifestKey {
        &self.key
    }

    /// What it is about.
    pub const fn subject(&self) -> Subject<'_> {
        match &self.body {
            Body::Service(service) => Subject::Service(service),
            Body::Namespace(namespace) => Subject::Namespace(namespace),
            Body::Node(node) => Subject::Node(node),
            Body::EndpointSlice(slice) => Subject::EndpointSlice(slice),
            Body::Configuration(..) => Subject::Configuration,
        }
    }

    /// Whether it is configuration.
    pub const fn is_configuration(&self) -> bool {
        matches!(self.body, Body::Configuration(..))
    }

    /// The file that it is in, or whatever its source is called.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it says the same as `other` in all that decides. Of configuration that is not known.
    pub fn says_the_same(&self, other: &Self) -> bool {
        match (&self.body, &other.body) {
            (Body::Service(this), Body::Service(other)) => this == other,
            (Body::Namespace(this), Body::Namespace(other)) => this == other,
            (Body::Node(this), Body::Node(other)) => this == other,
            (Body::EndpointSlice(this), Body::EndpointSlice(other)) => this == other,
            _ => false,
        }
    }

    /// Whether nothing hangs on which of them counts. Bundles for `kubectl apply` bring the Namespace that they need,
    /// each its own.
    fn repeats(&self, other: &Self) -> bool {
        matches!(self.body, Body::Namespace(_)) && self.says_the_same(other)
    }

    /// What is wrong with its being there beside `first`, which has its key and counts. Of configuration
    /// [`lower`](crate::lower) says it.
    pub fn clash(&self, first: &Self) -> Option<Error> {
        let is_fine = self.is_configuration() || self.repeats(first);
        (!is_fine).then(|| self.is_twice(first))
    }

    /// The error that there is one with its key already.
    fn is_twice(&self, first: &Self) -> Error {
        let ManifestKey {
            namespace, name, ..
        } = &self.key;
        let name = match namespace.is_empty() {
            true => name.to_string(),
            false => format!("{namespace}/{name}"),
        };
        let message = format!(
            "\"{name}\" is there twice; {} ({}:{}) is in force, and this one is not",
            first.key.object(),
            first.source,
            first.mark.line
        );
        Error {
            line: Some(self.mark.line),
            column: Some(self.mark.column),
            object: self.key.object(),
            field: "metadata.name".to_owned(),
            width: self.mark.width,
            ..Error::of_source(self.source.as_ref(), message)
        }
    }
}

/// What one source holds.
#[derive(Clone, Debug, Default)]
pub struct Contents {
    /// The objects that could be read, in the order written; configuration objects also when something is wrong with them.
    pub manifests: Vec<Arc<Manifest>>,
    /// What is wrong outside of configuration objects.
    pub errors: Vec<Error>,
    /// What is not wrong, and probably not what was meant, outside of configuration objects.
    pub doubts: Vec<Error>,
    /// Objects that are there, and not as they should be. One without a name stands for all of its kind.
    pub(crate) broken: BTreeSet<ManifestKey>,
    /// A part of it could not be read so far that it is known which object it is.
    pub(crate) unreadable: bool,
}

impl Contents {
    /// Whether the object `key` may be in the source although it is not among [`manifests`](Self::manifests), or not as
    /// it should be: then nothing says that it was removed.
    pub fn may_have_broken(&self, key: &ManifestKey) -> bool {
        let nameless = || ManifestKey {
            kind: key.kind,
            namespace: model::Name::default(),
            name: model::Name::default(),
        };
        self.unreadable || self.broken.contains(key) || self.broken.contains(&nameless())
    }

    /// Whether a part of it could not be read so far that it is known which object it is.
    pub const fn is_unreadable(&self) -> bool {
        self.unreadable
    }
}

impl Manifests {
    /// Puts objects together. Of two Services, EndpointSlices, Nodes or Namespaces with one key the first counts, and
    /// an error says so; of two configuration objects [`lower`](crate::lower) says it. `is_unreadable` where one of the
    /// sources is: what is missing may then be in there.
    pub fn gather(manifests: impl IntoIterator<Item = Arc<Manifest>>, is_unreadable: bool) -> Self {
        let mut gathered = Self::default();
        let mut seen: BTreeMap<ManifestKey, Arc<Manifest>> = BTreeMap::new();
        let mut order = Vec::new();
        for manifest in manifests {
            if manifest.is_configuration() {
                gathered.add(Arc::unwrap_or_clone(manifest).body);
                continue;
            }
            match seen.entry(manifest.key.clone()) {
                Place::Vacant(place) => {
                    order.push(manifest.key.clone());
                    place.insert(manifest);
                }
                Place::Occupied(first) => gathered.errors.extend(manifest.clash(first.get())),
            }
        }
        for manifest in order.iter().filter_map(|key| seen.remove(key)) {
            gathered.add(Arc::unwrap_or_clone(manifest).body);
        }
        if is_unreadable {
            gathered.objects.mark_unreadable();
        }
        gathered
    }

    fn add(&mut self, body: Body) {
        match body {
            Body::Service(service) => self.services.push(Arc::unwrap_or_clone(service)),
            Body::Namespace(namespace) => self.namespaces.push(namespace),
            Body::Node(node) => self.nodes.push(node),
            Body::EndpointSlice(slice) => self.endpoint_slices.push(Arc::unwrap_or_clone(slice)),
            Body::Configuration(reference, entry) => self.objects.insert(reference, entry),
        }
    }
}

impl Objects {
    /// The configuration among `manifests`. `is_unreadable` where one of their sources is: what is missing may then be in there.
    pub fn gather<'a>(
        manifests: impl IntoIterator<Item = &'a Arc<Manifest>>,
        is_unreadable: bool,
    ) -> Self {
        let mut objects = Self::default();
        for manifest in manifests {
            if let Body::Configuration(reference, entry) = &manifest.body {
                objects.insert(reference.clone(), entry.clone());
            }
        }
        if is_unreadable {
            objects.mark_unreadable();
        }
        objects
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{Source, contents, read};

    fn source(name: &str, text: &str) -> Source {
        Source {
            name: name.to_owned(),
            text: text.to_owned(),
        }
    }

    fn messages(sources: &[Source]) -> Vec<String> {
        let errors = read(sources).errors;
        errors.iter().map(ToString::to_string).collect()
    }

    fn keys(manifests: &[Arc<Manifest>]) -> Vec<String> {
        manifests.iter().map(|it| it.key.to_string()).collect()
    }

    const WEB: &str =
        "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {type: LoadBalancer}\n";
    const POOL: &str =
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: first}\n";

    #[test]
    fn a_service_that_is_there_twice_is_an_error_with_both_places_and_the_first_counts() {
        let other = WEB.replace("LoadBalancer", "ClusterIP");
        let sources = [source("a.yaml", WEB), source("b.yaml", &other)];
        assert_eq!(
            messages(&sources),
            [
                "b.yaml:3:18: Service/web: metadata.name: \"default/web\" is there twice; Service/web (a.yaml:3) is in \
                 force, and this one is not"
            ]
        );
        let services = read(&sources).services;
        assert_eq!(services.len(), 1);
        assert!(services[0].is_load_balancer);
    }

    #[test]
    fn services_of_one_name_in_two_namespaces_are_two() {
        let other = WEB.replace("web", "web, namespace: shop");
        assert_eq!(
            messages(&[source("a.yaml", WEB), source("b.yaml", &other)]),
            [""; 0]
        );
    }

    #[test]
    fn a_namespace_may_be_repeated_and_not_contradicted() {
        let plain = "{apiVersion: v1, kind: Namespace, metadata: {name: shop}}";
        let labelled = "{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {a: b}}}";
        assert_eq!(messages(&[source("a", plain), source("b", plain)]), [""; 0]);
        assert_eq!(
            messages(&[source("a", plain), source("b", labelled)]).len(),
            1
        );
    }

    #[test]
    fn an_object_in_error_is_known_by_its_key_and_the_others_are_there() {
        let text = format!(
            "{WEB}---\n{}---\n{POOL}spec: {{adresses: []}}\n",
            WEB.replace("spec: {", "spec: {ports: 3, ")
                .replace("web", "bad")
        );
        let contents = contents(&source("a.yaml", &text));
        assert_eq!(
            keys(&contents.manifests),
            ["Service/default/web", "IPAddressPool//first"]
        );
        let broken: Vec<String> = contents.broken.iter().map(ToString::to_string).collect();
        assert_eq!(broken, ["IPAddressPool//first", "Service/default/bad"]);
        assert!(!contents.is_unreadable());
        assert!(!contents.may_have_broken(&contents.manifests[0].key));
        assert!(contents.may_have_broken(&contents.manifests[1].key));
    }

    #[test]
    fn whatever_cannot_be_named_may_be_anything() {
        let key = |text: &str| contents(&source("a", text)).manifests[0].key.clone();
        let (service, pool) = (key(WEB), key(POOL));
        let cut = contents(&source(
            "a",
            "apiVersion: v1\nkind: Service\nmetadata: {name: w",
        ));
        assert!(cut.may_have_broken(&service) && cut.may_have_broken(&pool));
        let nameless = contents(&source(
            "a",
            "{apiVersion: v1, kind: Service, metadata: {}}",
        ));
        assert!(nameless.may_have_broken(&service) && !nameless.may_have_broken(&pool));
    }

    #[test]
    fn two_documents_run_into_one_may_hide_any_object() {
        let run_together = contents(&source("a", &format!("{POOL}{WEB}")));
        assert!(run_together.is_unreadable());
        assert!(!run_together.errors.is_empty() || !run_together.broken.is_empty());
    }

    #[test]
    fn the_items_of_a_list_of_one_kind_need_not_say_it() {
        let text = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPoolList\nitems:\n\
                    - {metadata: {name: a}, spec: {addresses: [192.0.2.0/24]}}\n";
        let contents = contents(&source("a", text));
        assert_eq!(keys(&contents.manifests), ["IPAddressPool//a"]);
        assert!(contents.broken.is_empty() && contents.errors.is_empty());
    }

    #[test]
    fn a_kind_of_ours_in_a_group_that_is_misspelt_is_an_error_and_one_of_others_is_not() {
        for version in ["v1beta1", "metalb.io/v1beta1", "v1"] {
            let contents = contents(&source("a", &POOL.replace("metallb.io/v1beta1", version)));
            assert_eq!(contents.broken.len(), 1, "{version}");
        }
        let other = POOL
            .replace("metallb.io/v1beta1", "crd.projectcalico.org/v1")
            .replace("IPAddressPool", "BGPPeer");
        let contents = contents(&source("a", &other));
        assert!(contents.manifests.is_empty() && contents.errors.is_empty());
    }

    #[test]
    fn what_has_run_into_an_object_of_others_or_into_a_list_is_not_lost_in_silence() {
        let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\n";
        let list = "apiVersion: v1\nkind: List\nitems: []\n";
        for text in [
            format!("{deployment}{WEB}"),
            format!("{list}{list}"),
            "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}, metadata: {name: b}}"
                .to_owned(),
        ] {
            let contents = contents(&source("a", &text));
            assert!(contents.is_unreadable(), "{text}");
            assert!(!contents.errors.is_empty(), "{text}");
        }
        assert_eq!(
            messages(&[source("a", deployment), source("b", list)]),
            [""; 0]
        );
    }

    #[test]
    fn a_configmap_whose_configuration_is_no_text_is_an_error() {
        let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n";
        let said = |rest: &str| {
            let sources = [source("a", &format!("{head}{rest}\n"))];
            let errors = crate::validate(&sources);
            errors.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            said("data: {config: {address-pools: []}}"),
            ["a:4:16: ConfigMap/config: data.config: must be text; a line `config: |` begins one"]
        );
        assert_eq!(
            said("binaryData: {config: YQo=}"),
            ["a:4:22: ConfigMap/config: binaryData.config: is not read; put the text under data"]
        );
        assert_eq!(said("data: {other: x}"), [""; 0]);
    }

    #[test]
    fn a_kind_that_is_misspelt_is_an_error_and_kinds_of_others_are_passed_over() {
        let said = |kind: &str, version: &str| {
            let text = WEB.replace("Service", kind).replace("v1", version);
            messages(&[source("a", &text)])
        };
        assert_eq!(
            said("Servcie", "v1"),
            ["a:2:7: \"Servcie\" is no kind of v1; did you mean \"Service\"?"]
        );
        assert_eq!(said("service", "v1").len(), 1);
        assert_eq!(said("EndpointSlices", "discovery.k8s.io/v1").len(), 1);
        for kind in [
            "Binding",
            "Endpoints",
            "Event",
            "LimitRange",
            "List",
            "PersistentVolume",
            "PersistentVolumeClaim",
            "Pod",
            "PodTemplate",
            "ReplicationController",
            "ResourceQuota",
            "Secret",
            "ServiceAccount",
            "ServiceList",
            "NodeList",
        ] {
            assert_eq!(said(kind, "v1"), [""; 0], "{kind}");
        }
        assert_eq!(said("Servcie", "serving.knative.dev/v1"), [""; 0]);
    }
}
