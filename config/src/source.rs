//! Text to objects: documents, lists, and which kind is whose.

use std::fmt;
use std::sync::Arc;

use ironlb_model as model;
use serde::Deserialize;

use crate::configmap;
use crate::decode::{Rules, decode};
use crate::doubts;
use crate::error::Error;
use crate::kinds;
use crate::manifest::{Body, Contents, Manifest, ManifestKey};
use crate::objects::{Entry, ObjectKind, ObjectRef, Objects};
use crate::path::Step;
use crate::place::Place;
use crate::resource;
use crate::suggest::did_you_mean;
use crate::text;
use crate::tree::{Fault, Mark, Node, Shift, Style, Value};

/// A text with manifests, and what to call it in errors: a path, or `-`.
///
/// Debug output leaves out the text: it may hold passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    /// What errors call it.
    pub name: String,
    /// YAML or JSON, any number of documents.
    pub text: String,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.text.len())
    }
}

/// What was found in sources.
#[derive(Clone, Debug, Default)]
pub struct Manifests {
    /// Services, in the order written.
    pub services: Vec<model::Service>,
    /// Namespaces, in the order written.
    pub namespaces: Vec<model::Namespace>,
    /// Nodes, in the order written.
    pub nodes: Vec<model::Node>,
    /// EndpointSlices, in the order written.
    pub endpoint_slices: Vec<model::EndpointSlice>,
    /// Configuration objects. What is wrong with one is said by [`lower`](crate::lower).
    pub objects: Objects,
    /// What is wrong outside of configuration objects: text that is no YAML, a Service that is no map, ...
    pub errors: Vec<Error>,
    /// What is not wrong, and probably not what was meant. About configuration objects only [`judge`](crate::judge) has any.
    pub doubts: Vec<Error>,
}

/// Reads all of `sources`.
///
/// A document of a kind that ironlb has nothing to do with is skipped. A ConfigMap named `config` with a key
/// `config`, and a document that has `address-pools` or `peers` at its top, are in the legacy format.
pub fn read(sources: &[Source]) -> Manifests {
    let mut found = Vec::new();
    let (mut errors, mut doubts) = (Vec::new(), Vec::new());
    let mut unreadable = false;
    for source in sources {
        let contents = contents(source);
        found.extend(contents.manifests);
        errors.extend(contents.errors);
        doubts.extend(contents.doubts);
        unreadable |= contents.unreadable;
    }
    let mut manifests = Manifests::gather(found, unreadable);
    manifests.errors.splice(..0, errors);
    manifests.doubts = doubts;
    manifests
}

/// Reads one source by itself.
pub fn contents(source: &Source) -> Contents {
    let mut contents = Contents::default();
    let mut reader = Reader {
        source: source.name.as_str().into(),
        text: &source.text,
        contents: &mut contents,
    };
    for document in text::documents(&source.text) {
        match document {
            Ok(document) => reader.document(document.root, document.faults),
            Err(fault) => {
                let error = reader.place("", None).fault(fault);
                reader.contents.unreadable = true;
                reader.contents.errors.push(error);
            }
        }
    }
    contents
}

struct Reader<'a> {
    source: Arc<str>,
    text: &'a str,
    contents: &'a mut Contents,
}

impl Reader<'_> {
    fn document(&mut self, root: Node, faults: Vec<Fault>) {
        if root.is_null() {
            return;
        }
        if !matches!(root.value, Value::Mapping(_)) {
            let message = "a document must be a map with apiVersion and kind".to_owned();
            self.broken(root.mark, message);
            return;
        }
        let kind = root.text("kind").unwrap_or_default().to_owned();
        if kind.ends_with("List") && root.get("items").is_some() {
            self.list(root, faults);
        } else {
            self.object(root, faults, &kind);
        }
    }

    /// The items are objects of their own; faults follow theirs.
    fn list(&mut self, root: Node, faults: Vec<Fault>) {
        self.stranger(&root, &faults);
        let kind_of_items = kind_of_items(&root);
        let Value::Mapping(entries) = root.value else {
            return;
        };
        let items = entries
            .into_iter()
            .find(|(key, _)| key.key() == Some("items"));
        let Some((_, items)) = items else { return };
        let mark = items.mark;
        match items.value {
            Value::Sequence(items) => {
                for (index, mut item) in items.into_iter().enumerate() {
                    kind_of_items
                        .iter()
                        .for_each(|(name, value)| add_missing(&mut item, name, value));
                    let prefix = format!("items[{index}].");
                    let own = faults.iter().filter_map(|fault| {
                        let path = fault.path.strip_prefix(&prefix)?.to_owned();
                        Some(Fault {
                            path,
                            ..fault.clone()
                        })
                    });
                    self.document(item, own.collect());
                }
            }
            Value::Scalar { .. } => {}
            Value::Mapping(_) => self.broken(mark, "items must be a list".to_owned()),
        }
    }

    fn object(&mut self, root: Node, faults: Vec<Fault>, kind: &str) {
        let version = root.text("apiVersion").unwrap_or_default();
        let (group, _) = version.split_once('/').unwrap_or(("", version));
        match (group, kind) {
            (GROUP, _) => self.resource(root, faults, kind),
            (group, kind) if is_misspelt(group, kind) => self.resource(root, faults, kind),
            ("", "ConfigMap") => self.config_map(&root, faults),
            ("", "") if is_legacy(&root) => self.bare_legacy(root, faults),
            ("", "") => {
                let message =
                    "neither apiVersion and kind nor address-pools or peers: not a manifest";
                self.broken(root.mark, message.to_owned());
            }
            ("", "Service") => {
                self.doubts(
                    &format!("Service/{}", name_of(&root)),
                    doubts::of_service(&root),
                );
                self.foreign(&root, faults, "Service", |object: kinds::Service| {
                    Body::Service(Arc::new(object.to_model()))
                });
            }
            ("", "Node") => {
                self.foreign(&root, faults, "Node", |object: kinds::Node| {
                    Body::Node(object.to_model())
                });
            }
            ("", "Namespace") => {
                self.foreign(&root, faults, "Namespace", |object: kinds::Namespace| {
                    Body::Namespace(object.to_model())
                });
            }
            ("discovery.k8s.io", "EndpointSlice") => {
                self.foreign(
                    &root,
                    faults,
                    "EndpointSlice",
                    |object: kinds::EndpointSlice| Body::EndpointSlice(Arc::new(object.to_model())),
                );
            }
            (group, kind) => {
                if let Some(meant) = foreign_meant(group, kind) {
                    let mark = root.locate(&[Step::Key("kind".into())]);
                    let message =
                        format!("\"{kind}\" is no kind of {version}; did you mean \"{meant}\"?");
                    self.broken(mark, message);
                } else {
                    self.stranger(&root, &faults);
                }
            }
        }
    }

    /// An object that ironlb has nothing to do with, unless another has run into it.
    fn stranger(&mut self, root: &Node, faults: &[Fault]) {
        let place = self.place(root.text("kind").unwrap_or_default(), None);
        for fault in faults.iter().filter(|fault| is_identity(fault)) {
            self.contents.unreadable = true;
            self.contents.errors.push(place.fault(fault.clone()));
        }
    }

    /// An object of a kind of Kubernetes itself, or an error where it cannot be used.
    fn foreign<'n, T: Deserialize<'n>>(
        &mut self,
        root: &'n Node,
        mut faults: Vec<Fault>,
        kind: &'static str,
        body: impl FnOnce(T) -> Body,
    ) {
        let name = name_of(root);
        let mut key = ManifestKey {
            kind,
            namespace: model::Name::default(),
            name: name.into(),
        };
        if name.is_empty() {
            faults.push(missing_name(root));
        } else if !NOT_IN_NAMESPACES.contains(&kind) {
            key.namespace = namespace_of(root).unwrap_or(DEFAULT_NAMESPACE).into();
        }
        self.doubt(&faults);
        let value = decode(root, Rules::FOREIGN, &[], &mut faults);
        match value.filter(|_| faults.is_empty()) {
            Some(value) => self.found(key, name_mark(root), body(value)),
            None => drop(self.contents.broken.insert(key)),
        }
        let place = self.place(&format!("{kind}/{name}"), None);
        let errors = faults.into_iter().map(|fault| place.fault(fault));
        self.contents.errors.extend(errors);
    }

    fn found(&mut self, key: ManifestKey, mark: Mark, body: Body) {
        let source = Arc::clone(&self.source);
        self.contents.manifests.push(Arc::new(Manifest {
            key,
            source,
            mark,
            body,
        }));
    }

    fn doubts(&mut self, object: &str, doubts: impl IntoIterator<Item = Fault>) {
        let place = self.place(object, None);
        let doubts = doubts.into_iter().map(|doubt| place.fault(doubt));
        self.contents.doubts.extend(doubts);
    }

    /// Where what an object is stands twice, two documents may have run into one: there is another, and nobody knows which.
    fn doubt(&mut self, faults: &[Fault]) {
        self.contents.unreadable |= faults.iter().any(is_identity);
    }

    fn resource(&mut self, root: Node, mut faults: Vec<Fault>, word: &str) {
        if STATUS_KINDS.contains(&word) {
            return;
        }
        let known = ObjectKind::RESOURCES.into_iter();
        let Some(kind) = known.clone().find(|kind| kind.name() == word) else {
            let mark = root.locate(&[Step::Key("kind".into())]);
            self.broken(mark, resource::unknown_kind(word));
            return;
        };
        faults.extend(resource::wrong_version(&root, kind));
        let name = name_of(&root).to_owned();
        if name.is_empty() {
            faults.push(missing_name(&root));
        }
        faults.extend(resource::unknown_top(&root));
        let mark = name_mark(&root);
        let namespace = namespace_of(&root).unwrap_or_default().to_owned();
        let root = Arc::new(root);
        let place = self.place(&format!("{word}/{name}"), Some(Arc::clone(&root)));
        self.doubt(&faults);
        let entry = resource::entry(kind, &root, faults, place);
        let reference = ObjectRef {
            kind,
            namespace,
            name,
        };
        self.insert(reference, mark, entry);
    }

    /// A ConfigMap, if it is one of ours.
    fn config_map(&mut self, root: &Node, faults: Vec<Fault>) {
        let name = name_of(root);
        let config = |key: &str| root.get(key).and_then(|data| data.get("config"));
        if name != LEGACY_NAME || config("data").is_none() {
            let object = format!("ConfigMap/{name}");
            self.doubts(&object, doubts::of_config_map(root, name));
        }
        let text = match (config("data"), config("binaryData")) {
            _ if name != LEGACY_NAME => return self.stranger(root, &faults),
            (Some(text), _) => text,
            (None, Some(bytes)) => {
                let message = "is not read; put the text under data";
                return self.no_legacy(root, bytes, "binaryData.config", message);
            }
            (None, None) => return self.stranger(root, &faults),
        };
        let Value::Scalar { text: value, style } = &text.value else {
            let message = "must be text; a line `config: |` begins one";
            return self.no_legacy(root, text, "data.config", message);
        };
        let place = self.place(LEGACY_OBJECT, None);
        let shift = match style {
            Style::Literal => self.block(text.mark, value),
            _ => Shift::To(text.mark),
        };
        self.doubt(&faults);
        let mut entry = configmap::from_text(value, shift, &place);
        entry
            .errors
            .extend(faults.into_iter().map(|fault| place.fault(fault)));
        let namespace = namespace_of(root).unwrap_or_default();
        self.insert_legacy(namespace, name_mark(root), entry);
    }

    /// A ConfigMap of ours whose configuration, at `node`, is not what it must be.
    fn no_legacy(&mut self, root: &Node, node: &Node, path: &str, message: &str) {
        let fault = Fault::new(node.mark, path.to_owned(), message.to_owned());
        let entry = configmap::unreadable(fault, &self.place(LEGACY_OBJECT, None));
        let namespace = namespace_of(root).unwrap_or_default();
        self.insert_legacy(namespace, name_mark(root), entry);
    }

    fn bare_legacy(&mut self, root: Node, faults: Vec<Fault>) {
        let place = self.place(LEGACY_OBJECT, None);
        let mark = root.mark;
        let entry = configmap::from_node(Arc::new(root), faults, &place);
        self.insert_legacy("", mark, entry);
    }

    fn insert_legacy(&mut self, namespace: &str, mark: Mark, entry: Entry) {
        let reference = ObjectRef {
            kind: ObjectKind::LegacyConfigMap,
            namespace: namespace.to_owned(),
            name: LEGACY_NAME.to_owned(),
        };
        self.insert(reference, mark, entry);
    }

    fn insert(&mut self, reference: ObjectRef, mark: Mark, entry: Entry) {
        let key = ManifestKey {
            kind: reference.kind.name(),
            namespace: reference.namespace.as_str().into(),
            name: reference.name.as_str().into(),
        };
        if !entry.errors.is_empty() || entry.unreadable {
            self.contents.broken.insert(key.clone());
        }
        self.found(key, mark, Body::Configuration(reference, entry));
    }

    /// Where the lines of a literal block are in the source: below its header, indented.
    fn block(&self, header: Mark, value: &str) -> Shift {
        let content = value.lines().enumerate();
        let first = content.clone().find(|(_, line)| !line.trim().is_empty());
        let (skipped, inner) = first.unwrap_or((0, ""));
        let line = header.line as usize + skipped;
        let outer = self.text.lines().nth(line).unwrap_or_default();
        let indent = |line: &str| line.chars().take_while(|c| *c == ' ').count();
        let columns = indent(outer).saturating_sub(indent(inner));
        Shift::By {
            lines: header.line,
            columns: u32::try_from(columns).unwrap_or(0),
        }
    }

    fn place(&self, object: &str, node: Option<Arc<Node>>) -> Place {
        Place {
            source: Arc::clone(&self.source),
            object: object.into(),
            node,
            legacy: None,
            tainted: Vec::new(),
        }
    }

    /// Something that may have been configuration cannot be read.
    fn broken(&mut self, mark: Mark, message: String) {
        let fault = Fault::new(mark, String::new(), message);
        let error = self.place("", None).fault(fault);
        self.contents.unreadable = true;
        self.contents.errors.push(error);
    }
}

/// What the items of a list need not say themselves, since it is in the list's own kind: `IPAddressPoolList`.
fn kind_of_items(list: &Node) -> Vec<(&'static str, String)> {
    let kind = list.text("kind").and_then(|kind| kind.strip_suffix("List"));
    let version = list.text("apiVersion");
    match (version, kind) {
        (Some(version), Some(kind)) if !kind.is_empty() => vec![
            ("apiVersion", version.to_owned()),
            ("kind", kind.to_owned()),
        ],
        _ => Vec::new(),
    }
}

fn add_missing(item: &mut Node, name: &str, value: &str) {
    let mark = item.mark;
    let scalar = |text: &str| Node {
        mark,
        value: Value::Scalar {
            text: text.into(),
            style: Style::Quoted,
        },
    };
    let is_missing = item.get(name).is_none();
    if let Value::Mapping(entries) = &mut item.value
        && is_missing
    {
        entries.push((scalar(name), scalar(value)));
    }
}

/// Whether an object of one of our kinds is meant, and its group is wrong or missing. Others have kinds of these names too.
fn is_misspelt(group: &str, kind: &str) -> bool {
    ObjectKind::RESOURCES.iter().any(|ours| ours.name() == kind)
        && (group.is_empty() || group == OLD_GROUP || did_you_mean(group, [GROUP]).is_some())
}

/// The kind of Kubernetes itself that somebody who wrote `kind` probably meant.
fn foreign_meant(group: &str, kind: &str) -> Option<&'static str> {
    let near = |kinds: &[&'static str]| did_you_mean(kind, kinds.iter().copied());
    match group {
        "" => near(&["Service", "Node", "Namespace", "ConfigMap"]),
        "discovery.k8s.io" => near(&["EndpointSlice"]),
        _ => None,
    }
}

/// Whether it is about what says which object it is, as when two documents have run into one.
fn is_identity(fault: &Fault) -> bool {
    IDENTITY.contains(&&*fault.path)
}

fn name_of(root: &Node) -> &str {
    let metadata = root.get("metadata");
    metadata
        .and_then(|metadata| metadata.text("name"))
        .unwrap_or_default()
}

fn namespace_of(root: &Node) -> Option<&str> {
    root.get("metadata")?.text("namespace")
}

fn name_mark(root: &Node) -> Mark {
    root.locate(&[Step::Key("metadata".into()), Step::Key("name".into())])
}

fn missing_name(root: &Node) -> Fault {
    Fault::new(
        name_mark(root),
        "metadata.name".to_owned(),
        "is missing".to_owned(),
    )
}

fn is_legacy(root: &Node) -> bool {
    LEGACY_KEYS.iter().any(|key| root.get(key).is_some())
}

const LEGACY_NAME: &str = "config";
const LEGACY_OBJECT: &str = "ConfigMap/config";
const LEGACY_KEYS: [&str; 4] = ["address-pools", "peers", "bgp-communities", "bfd-profiles"];
const GROUP: &str = "metallb.io";
/// What annotations began with once, and no kind ever.
const OLD_GROUP: &str = "metallb.universe.tf";
/// The fields of a manifest that say which object it is, as far as two documents without a line between have both.
const IDENTITY: [&str; 4] = ["apiVersion", "kind", "metadata", "items"];
const NOT_IN_NAMESPACES: [&str; 2] = ["Node", "Namespace"];
const DEFAULT_NAMESPACE: &str = "default";
const STATUS_KINDS: [&str; 3] = ["ServiceL2Status", "ServiceBGPStatus", "ConfigurationState"];
