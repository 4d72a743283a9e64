//! The Services with their status when another process decides it: its state file is read and never written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ironlb_model::{Service, ServiceKey};

use super::file::Stamp;
use super::record::ingress;
use super::state::{self, Allocations, StateError};

/// Services with the status that another process gave them.
#[derive(Debug)]
pub(crate) struct Follower {
    path: PathBuf,
    class: Option<String>,
    allocations: Allocations,
    /// Of the file that they were read from.
    stamp: Option<Stamp>,
    services: BTreeMap<ServiceKey, Arc<Service>>,
    changed: BTreeSet<ServiceKey>,
    /// The last read failed, and was reported.
    is_troubled: bool,
}

impl Follower {
    /// Follows the state file at `path`, which need not be there yet.
    ///
    /// # Errors
    /// When it is there and cannot be understood.
    pub(crate) fn new(class: Option<String>, path: &Path) -> Result<Self, StateError> {
        Ok(Self {
            path: path.to_owned(),
            class,
            allocations: state::read(path)?.unwrap_or_default(),
            stamp: None,
            services: BTreeMap::new(),
            changed: BTreeSet::new(),
            is_troubled: false,
        })
    }

    /// What the state file said last.
    pub(crate) const fn allocations(&self) -> &Allocations {
        &self.allocations
    }

    /// Reads the state file again. One that is missing or broken changes nothing: what was announced stays announced.
    pub(crate) fn refresh(&mut self) {
        // Before it is read: what is written meanwhile is read the next time.
        let stamp = Stamp::of(&self.path);
        if stamp.is_some() && stamp == self.stamp && !self.is_troubled {
            return;
        }
        let allocations = match state::read(&self.path) {
            Ok(Some(allocations)) => allocations,
            Ok(None) => return self.report(&"the file is not there"),
            Err(error) => return self.report(&error),
        };
        self.stamp = stamp;
        self.is_troubled = false;
        let differs = |key: &&ServiceKey| self.allocations.get(*key) != allocations.get(*key);
        self.changed
            .extend(self.services.keys().filter(differs).cloned());
        self.allocations = allocations;
    }

    /// The manifest of a Service is there, or has changed.
    pub(crate) fn service(&mut self, manifest: Arc<Service>) {
        self.changed.insert(manifest.key.clone());
        self.services.insert(manifest.key.clone(), manifest);
    }

    /// The manifest of a Service is gone.
    pub(crate) fn service_gone(&mut self, key: &ServiceKey) {
        self.services.remove(key);
        self.changed.insert(key.clone());
    }

    /// The Services that changed since the last call, as they are; `None` for one that is gone.
    pub(crate) fn take_changes(&mut self) -> Vec<(ServiceKey, Option<Arc<Service>>)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|key| {
                let service = self
                    .services
                    .get(&key)
                    .map(|service| self.with_status(service));
                (key, service)
            })
            .collect()
    }

    fn with_status(&self, service: &Arc<Service>) -> Arc<Service> {
        let mut service = Arc::clone(service);
        if service.is_ours(self.class.as_deref()) {
            let held = self.allocations.get(&service.key);
            let ingress = held.map_or_else(Vec::new, |held| ingress(&held.ips));
            if service.ingress != ingress {
                Arc::make_mut(&mut service).ingress = ingress;
            }
        }
        service
    }

    fn report(&mut self, error: &dyn std::fmt::Display) {
        if !self.is_troubled {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the state that is followed cannot be read; what it said last stays in force");
        }
        self.is_troubled = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATE: &str = r#"{"format": "ironlb-state", "version": 1,
        "allocations": [{"service": "default/web", "ips": ["192.0.2.1"], "pool": null}]}"#;

    fn told(follower: &mut Follower) -> Vec<Vec<String>> {
        let changes = follower
            .take_changes()
            .into_iter()
            .filter_map(|(_, service)| service);
        let ips = |service: Arc<Service>| service.ingress.iter().map(|it| it.ip.clone()).collect();
        changes.map(ips).collect()
    }

    #[test]
    fn what_the_other_process_wrote_is_the_status_also_when_its_file_breaks_or_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        let mut follower = Follower::new(None, &path).unwrap();
        follower.service(Arc::new(Service::new(ServiceKey::new("default", "web"))));
        assert_eq!(told(&mut follower), [[""; 0]]);

        std::fs::write(&path, STATE).unwrap();
        follower.refresh();
        assert_eq!(told(&mut follower), [["192.0.2.1"]]);

        std::fs::write(&path, "{").unwrap();
        follower.refresh();
        std::fs::remove_file(&path).unwrap();
        follower.refresh();
        assert!(told(&mut follower).is_empty());
        assert_eq!(follower.allocations().len(), 1);
    }
}
