//! A process's view of the API: one watch for each kind, and what it has delivered so far.
//!
//! It does what the shells' watches do: a list is compared with what is known, so that what vanished unseen is
//! reported as deleted; changes then come one by one, in order within a kind.

use std::collections::BTreeMap;
use std::sync::Arc;

use ironlb_model::{Config, EndpointSlice, Name, Namespace, Node, Service, ServiceKey, SliceKey};

use crate::api::{Change, Key, Kind, Object};
use crate::written::Written;

/// What a watch tells its process.
#[derive(Clone, Debug)]
pub enum Notice {
    /// An object is there, or has changed.
    Applied(Object),
    /// An object is gone.
    Deleted(Key),
}

/// What a process has been told: the world as it must see it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The configuration as the process reads it; `None` before the first.
    pub config: Option<Arc<Config>>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<Name, Namespace>,
    /// Nodes by name.
    pub nodes: BTreeMap<Name, Node>,
    /// Services by key.
    pub services: BTreeMap<ServiceKey, Service>,
    /// EndpointSlices by key.
    pub endpoints: BTreeMap<SliceKey, EndpointSlice>,
}

impl From<Change> for Notice {
    fn from(change: Change) -> Self {
        match change.object {
            Some(object) => Self::Applied(object),
            None => Self::Deleted(change.key),
        }
    }
}

impl Notice {
    /// What it is about.
    pub fn key(&self) -> Key {
        match self {
            Self::Applied(object) => object.key(),
            Self::Deleted(key) => key.clone(),
        }
    }
}

impl Seen {
    /// One object.
    pub fn object(&self, key: &Key) -> Option<Object> {
        match key {
            Key::Config => {
                let written = self.config.clone().map(Written::sound);
                written.map(|written| Object::Config(Arc::new(written)))
            }
            Key::Namespace(name) => self.namespaces.get(name).cloned().map(Object::Namespace),
            Key::Node(name) => self.nodes.get(name).cloned().map(Object::Node),
            Key::Service(key) => {
                let service = self.services.get(key).cloned();
                service.map(|service| Object::Service(Box::new(service)))
            }
            Key::Endpoints(key) => self.endpoints.get(key).cloned().map(Object::Endpoints),
        }
    }

    /// Takes in one object.
    pub fn apply(&mut self, object: &Object) {
        match object.clone() {
            Object::Config(written) => {
                self.config = Some(written.read(self.config.as_deref()));
            }
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.name.clone(), namespace);
            }
            Object::Node(node) => {
                self.nodes.insert(node.name.clone(), node);
            }
            Object::Service(service) => {
                self.services.insert(service.key.clone(), *service);
            }
            Object::Endpoints(slice) => {
                self.endpoints.insert(slice.key.clone(), slice);
            }
        }
    }

    /// Forgets one object.
    pub fn delete(&mut self, key: &Key) {
        match key {
            Key::Config => self.config = None,
            Key::Namespace(name) => drop(self.namespaces.remove(name)),
            Key::Node(name) => drop(self.nodes.remove(name)),
            Key::Service(key) => drop(self.services.remove(key)),
            Key::Endpoints(key) => drop(self.endpoints.remove(key)),
        }
    }

    fn keys(&self, kind: Kind) -> Vec<Key> {
        match kind {
            Kind::Config => self.config.iter().map(|_| Key::Config).collect(),
            Kind::Namespace => self
                .namespaces
                .keys()
                .cloned()
                .map(Key::Namespace)
                .collect(),
            Kind::Node => self.nodes.keys().cloned().map(Key::Node).collect(),
            Kind::Service => self.services.keys().cloned().map(Key::Service).collect(),
            Kind::Endpoints => self.endpoints.keys().cloned().map(Key::Endpoints).collect(),
        }
    }
}

/// The watches of one process.
#[derive(Debug)]
pub struct Informer {
    /// What has been delivered.
    pub seen: Seen,
    streams: BTreeMap<Kind, Stream>,
    said_synced: bool,
}

/// One watch. The simulator keeps its place and its connection here.
#[derive(Debug, Default)]
pub struct Stream {
    /// Counts connections, so that deliveries of an older one can be told apart.
    pub connection: u64,
    /// Whether it is connected.
    pub connected: bool,
    /// The revision up to which everything was delivered; `None` when a list is needed.
    pub place: Option<u64>,
    /// When the last delivery scheduled so far is due, in nanoseconds: nothing overtakes it.
    pub last_due: u64,
    listed: bool,
}

impl Informer {
    /// Watches of these kinds, none connected.
    pub fn new(kinds: &[Kind]) -> Self {
        let stream = |kind: &Kind| (*kind, Stream::default());
        Self {
            seen: Seen::default(),
            streams: kinds.iter().map(stream).collect(),
            said_synced: false,
        }
    }

    /// Forgets everything, as a process that starts anew. Connections go on being counted, so that nothing that was on
    /// its way to the former process arrives.
    pub fn restart(&mut self) {
        self.seen = Seen::default();
        self.said_synced = false;
        for stream in self.streams.values_mut() {
            *stream = Stream {
                connection: stream.connection + 1,
                ..Stream::default()
            };
        }
    }

    /// The kinds it watches.
    pub fn kinds(&self) -> Vec<Kind> {
        self.streams.keys().copied().collect()
    }

    /// The watch of `kind`, when there is one.
    pub fn stream(&mut self, kind: Kind) -> Option<&mut Stream> {
        self.streams.get_mut(&kind)
    }

    /// A whole list arrives: everything in it, and the end of what is no longer in it. The notices are to be
    /// [taken](Self::take) one by one.
    pub fn list(&mut self, kind: Kind, objects: Vec<Object>) -> Vec<Notice> {
        let mut vanished = self.seen.keys(kind);
        vanished.retain(|key| !objects.iter().any(|object| object.key() == *key));
        if let Some(stream) = self.streams.get_mut(&kind) {
            stream.listed = true;
        }
        let applied = objects.into_iter().map(Notice::Applied);
        applied
            .chain(vanished.into_iter().map(Notice::Deleted))
            .collect()
    }

    /// The process is about to be told: from now on it has seen it.
    pub fn take(&mut self, notice: &Notice) {
        match notice {
            Notice::Applied(object) => self.seen.apply(object),
            Notice::Deleted(key) => self.seen.delete(key),
        }
    }

    /// True once, when every kind has been listed.
    pub fn becomes_synced(&mut self) -> bool {
        let synced = self.streams.values().all(|stream| stream.listed);
        synced && !std::mem::replace(&mut self.said_synced, synced)
    }

    /// Whether every kind has been listed, and the process was told.
    pub const fn is_synced(&self) -> bool {
        self.said_synced
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> Object {
        Object::Node(Node {
            name: name.into(),
            ..Node::default()
        })
    }

    #[test]
    fn what_a_list_no_longer_has_is_deleted() {
        let mut informer = Informer::new(&[Kind::Node]);
        for notice in informer.list(Kind::Node, vec![node("a"), node("b")]) {
            informer.take(&notice);
        }
        let notices = informer.list(Kind::Node, vec![node("b")]);
        assert!(matches!(&notices[0], Notice::Applied(object) if *object == node("b")));
        assert!(matches!(&notices[1], Notice::Deleted(Key::Node(name)) if &**name == "a"));
        for notice in &notices {
            informer.take(notice);
        }
        assert_eq!(informer.seen.nodes.len(), 1);
    }

    #[test]
    fn it_is_synced_once_every_kind_was_listed() {
        let mut informer = Informer::new(&[Kind::Node, Kind::Service]);
        informer.list(Kind::Node, Vec::new());
        assert!(!informer.becomes_synced());
        informer.list(Kind::Service, Vec::new());
        assert!(informer.becomes_synced());
        assert!(!informer.becomes_synced());
        assert!(informer.is_synced());
    }
}
