//! A model of the Kubernetes API server: objects, revisions, and writes that may conflict.
//!
//! It keeps every change it ever made, so that a list can be served from an old snapshot and a watch resumed.

use std::collections::BTreeMap;
use std::sync::Arc;

use ironlb_controller_core::io::{StatusWrite, WriteOutcome};
use ironlb_controller_core::lease::{Lease, LeaseWrite};
use ironlb_model::{
    Config, EndpointSlice, Ingress, Name, Namespace, Node, Service, ServiceKey, SliceKey,
};

use crate::written::Written;

/// What is watched as one stream: order holds within a kind, not between kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The configuration, as one object.
    Config,
    /// Namespaces.
    Namespace,
    /// Nodes.
    Node,
    /// Services.
    Service,
    /// EndpointSlices.
    Endpoints,
}

/// An object's identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key {
    /// The configuration.
    Config,
    /// A namespace.
    Namespace(Name),
    /// A node.
    Node(Name),
    /// A Service.
    Service(ServiceKey),
    /// An EndpointSlice.
    Endpoints(SliceKey),
}

impl Key {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Config => Kind::Config,
            Self::Namespace(_) => Kind::Namespace,
            Self::Node(_) => Kind::Node,
            Self::Service(_) => Kind::Service,
            Self::Endpoints(_) => Kind::Endpoints,
        }
    }
}

/// An object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// The configuration.
    Config(Arc<Written>),
    /// A namespace.
    Namespace(Namespace),
    /// A node.
    Node(Node),
    /// A Service.
    Service(Box<Service>),
    /// An EndpointSlice.
    Endpoints(EndpointSlice),
}

impl Object {
    /// Its identity.
    pub fn key(&self) -> Key {
        match self {
            Self::Config(_) => Key::Config,
            Self::Namespace(namespace) => Key::Namespace(namespace.name.clone()),
            Self::Node(node) => Key::Node(node.name.clone()),
            Self::Service(service) => Key::Service(service.key.clone()),
            Self::Endpoints(slice) => Key::Endpoints(slice.key.clone()),
        }
    }
}

/// One committed change; its place in the log is its revision less one.
#[derive(Clone, Debug)]
pub struct Change {
    /// What changed.
    pub key: Key,
    /// What it is now; `None` when it is gone.
    pub object: Option<Object>,
}

/// The server's store.
#[derive(Debug, Default)]
pub struct Api {
    objects: BTreeMap<Key, Object>,
    log: Vec<Change>,
    created: u64,
    status_writes: u64,
    clears_status: bool,
    /// The Lease of the controllers, and how often it was written.
    lease: Option<Lease>,
    lease_writes: u64,
}

impl Api {
    /// An empty store. With `clears_status` a Service that ceases to be a LoadBalancer loses its status at once, as
    /// some versions of the server have it; without, the status stays until somebody clears it.
    pub fn new(clears_status: bool) -> Self {
        Self {
            clears_status,
            ..Self::default()
        }
    }

    /// The revision of the newest change; 0 for an empty store.
    pub const fn revision(&self) -> u64 {
        self.log.len() as u64
    }

    /// The change of this revision.
    pub fn change(&self, revision: u64) -> Option<&Change> {
        let index = usize::try_from(revision.checked_sub(1)?).ok()?;
        self.log.get(index)
    }

    /// How many status writes were applied.
    pub const fn status_writes(&self) -> u64 {
        self.status_writes
    }

    /// An object.
    pub fn object(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// The configuration, errors included.
    pub fn written(&self) -> Arc<Written> {
        match self.objects.get(&Key::Config) {
            Some(Object::Config(written)) => Arc::clone(written),
            _ => Arc::default(),
        }
    }

    /// The configuration as its users mean it.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.written().config)
    }

    /// A Service.
    pub fn service(&self, key: &ServiceKey) -> Option<&Service> {
        match self.objects.get(&Key::Service(key.clone())) {
            Some(Object::Service(service)) => Some(service),
            _ => None,
        }
    }

    /// All objects of a kind as they were at `revision`, by key.
    pub fn list(&self, kind: Kind, revision: u64) -> Vec<Object> {
        let until = usize::try_from(revision).unwrap_or(usize::MAX);
        let mut objects = BTreeMap::new();
        for change in self.log.iter().take(until) {
            if change.key.kind() != kind {
                continue;
            }
            match &change.object {
                Some(object) => objects.insert(&change.key, object),
                None => objects.remove(&change.key),
            };
        }
        objects.into_values().cloned().collect()
    }

    /// Every object, by key.
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.objects.values()
    }

    /// A user creates or replaces an object. A Service keeps its status, which users do not write, and a new one has
    /// none. Returns whether anything changed: an update that changes nothing has no revision.
    pub fn put(&mut self, object: Object) -> bool {
        let object = match object {
            Object::Service(service) => Object::Service(self.accept(service)),
            other => other,
        };
        self.commit(object.key(), Some(object))
    }

    /// A user deletes an object. Returns whether it was there.
    pub fn remove(&mut self, key: &Key) -> bool {
        self.objects.contains_key(key) && self.commit(key.clone(), None)
    }

    /// Writes a Service's status, when its resource version still is the one that the writer has seen.
    pub fn write_status(&mut self, write: &StatusWrite) -> WriteOutcome {
        let Some(service) = self.service(&write.service) else {
            return WriteOutcome::Gone;
        };
        if service.resource_version != write.resource_version {
            return WriteOutcome::Conflict;
        }
        let mut service = service.clone();
        service.ingress = ingress(write);
        service.allocated_from = write.pool.as_deref().map(str::to_owned);
        self.status_writes += 1;
        self.commit(
            Key::Service(write.service.clone()),
            Some(Object::Service(Box::new(service))),
        );
        WriteOutcome::Done
    }

    /// The Lease of the controllers.
    pub const fn lease(&self) -> Option<&Lease> {
        self.lease.as_ref()
    }

    /// Writes the Lease, when its version still is the one that the writer has seen.
    pub fn write_lease(&mut self, write: &LeaseWrite) -> WriteOutcome {
        let current = self.lease.as_ref().map(|lease| &lease.resource_version);
        if current != write.resource_version.as_ref() {
            return WriteOutcome::Conflict;
        }
        self.lease_writes += 1;
        let stamp: Arc<str> = self.lease_writes.to_string().into();
        self.lease = Some(Lease {
            holder: Arc::clone(&write.holder),
            duration: write.duration,
            renewed: Arc::clone(&stamp),
            transitions: write.transitions,
            resource_version: stamp,
        });
        WriteOutcome::Done
    }

    /// What admission makes of a Service that a user wrote.
    fn accept(&mut self, mut service: Box<Service>) -> Box<Service> {
        if let Some(current) = self.service(&service.key) {
            service.uid = Arc::clone(&current.uid);
            service.created = current.created;
            service.ingress.clone_from(&current.ingress);
            service.allocated_from.clone_from(&current.allocated_from);
            if self.clears_status && !service.is_load_balancer {
                service.ingress.clear();
            }
        } else {
            self.created += 1;
            service.uid = format!("uid-{}", self.created).into();
            service.ingress.clear();
            service.allocated_from = None;
        }
        service
    }

    fn commit(&mut self, key: Key, object: Option<Object>) -> bool {
        let next = (self.revision() + 1).to_string();
        let object = match (object, self.objects.get(&key)) {
            (Some(Object::Service(mut service)), current) => {
                if let Some(Object::Service(current)) = current {
                    service.resource_version = Arc::clone(&current.resource_version);
                    if *current == service {
                        return false;
                    }
                }
                service.resource_version = next.into();
                Some(Object::Service(service))
            }
            (Some(object), Some(current)) if object == *current => return false,
            (object, _) => object,
        };
        match &object {
            Some(object) => self.objects.insert(key.clone(), object.clone()),
            None => self.objects.remove(&key),
        };
        self.log.push(Change { key, object });
        true
    }
}

/// The `status.loadBalancer.ingress` that a write makes.
pub fn ingress(write: &StatusWrite) -> Vec<Ingress> {
    let entry = |ip: &std::net::IpAddr| Ingress {
        ip: ip.to_string(),
        hostname: String::new(),
    };
    write.ips.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(service: &Service, ip: &str) -> StatusWrite {
        StatusWrite {
            service: service.key.clone(),
            resource_version: Arc::clone(&service.resource_version),
            ips: vec![ip.parse().unwrap()],
            pool: None,
        }
    }

    fn api_with_a_service() -> (Api, ServiceKey) {
        let mut api = Api::default();
        let key = ServiceKey::new("default", "web");
        assert!(api.put(Object::Service(Box::new(Service::new(key.clone())))));
        (api, key)
    }

    #[test]
    fn a_write_on_an_old_version_conflicts() {
        let (mut api, key) = api_with_a_service();
        let first = write(api.service(&key).unwrap(), "192.0.2.1");
        let second = write(api.service(&key).unwrap(), "192.0.2.2");
        assert_eq!(api.write_status(&first), WriteOutcome::Done);
        assert_eq!(api.write_status(&second), WriteOutcome::Conflict);
        assert_eq!(api.service(&key).unwrap().ingress[0].ip, "192.0.2.1");
    }

    #[test]
    fn a_write_that_changes_nothing_has_no_revision() {
        let (mut api, key) = api_with_a_service();
        let first = write(api.service(&key).unwrap(), "192.0.2.1");
        api.write_status(&first);
        let revision = api.revision();
        let again = write(api.service(&key).unwrap(), "192.0.2.1");
        assert_eq!(api.write_status(&again), WriteOutcome::Done);
        assert_eq!(api.revision(), revision);
    }

    #[test]
    fn users_do_not_write_the_status_and_a_new_object_has_none() {
        let (mut api, key) = api_with_a_service();
        let first = write(api.service(&key).unwrap(), "192.0.2.1");
        api.write_status(&first);
        let mut edited = Service::new(key.clone());
        edited.sharing_key = Some("k".to_owned());
        api.put(Object::Service(Box::new(edited)));
        assert_eq!(api.service(&key).unwrap().ingress.len(), 1);
        let uid = Arc::clone(&api.service(&key).unwrap().uid);
        api.remove(&Key::Service(key.clone()));
        api.put(Object::Service(Box::new(Service::new(key.clone()))));
        let again = api.service(&key).unwrap();
        assert!(again.ingress.is_empty());
        assert_ne!(again.uid, uid);
    }

    #[test]
    fn the_lease_is_written_on_its_version_alone() {
        let mut api = Api::default();
        let write = |version: Option<&str>| LeaseWrite {
            holder: "me".into(),
            duration: std::time::Duration::from_secs(15),
            transitions: 0,
            acquires: true,
            resource_version: version.map(Into::into),
        };
        assert_eq!(api.write_lease(&write(None)), WriteOutcome::Done);
        assert_eq!(api.write_lease(&write(None)), WriteOutcome::Conflict);
        let version = api.lease().unwrap().resource_version.clone();
        assert_eq!(api.write_lease(&write(Some(&version))), WriteOutcome::Done);
        assert_eq!(
            api.write_lease(&write(Some(&version))),
            WriteOutcome::Conflict
        );
    }

    #[test]
    fn a_list_can_be_of_the_past() {
        let (mut api, key) = api_with_a_service();
        let revision = api.revision();
        api.remove(&Key::Service(key));
        assert_eq!(api.list(Kind::Service, revision).len(), 1);
        assert!(api.list(Kind::Service, api.revision()).is_empty());
    }
}
