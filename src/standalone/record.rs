//! The Services with their status: what the API server is to the controller elsewhere.
//!
//! Gives the controller what the manifests say, writes what it decides to the state file, and only then shows it to
//! it, and to whoever announces, as the status of the Service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ironlb_controller_core::{Controller, Input, Output, StatusWrite, Usage, WriteOutcome};
use ironlb_model::{
    Config, Event, EventKind, Family, Ingress, Name, Namespace, Node, Service, ServiceKey, Time,
};

use crate::families::{self, cluster_ips};

use super::state::{Allocation, Allocations, StateFile};

/// Services with their status, and the controller that decides it.
#[derive(Debug)]
pub(crate) struct Record {
    controller: Controller,
    class: Option<String>,
    state: StateFile,
    services: BTreeMap<ServiceKey, Arc<Service>>,
    /// Services that hold nothing yet, which wait until all that do have been seen.
    waiting: BTreeMap<ServiceKey, Arc<Service>>,
    is_synced: bool,
    families: BTreeSet<Family>,
    writes: Vec<StatusWrite>,
    /// The state file could not be written.
    is_behind: bool,
    versions: u64,
    changed: BTreeSet<ServiceKey>,
    /// Services of which the state file may say something else than their status.
    unwritten: BTreeSet<ServiceKey>,
}

impl Record {
    /// Of the Services of `class`, with what `state` says of them.
    pub(crate) fn new(class: Option<String>, state: StateFile) -> Self {
        let settings = ironlb_controller_core::Settings {
            class: class.clone(),
        };
        Self {
            controller: Controller::new(settings),
            class,
            state,
            services: BTreeMap::new(),
            waiting: BTreeMap::new(),
            is_synced: false,
            families: BTreeSet::new(),
            writes: Vec::new(),
            is_behind: false,
            versions: 0,
            changed: BTreeSet::new(),
            unwritten: BTreeSet::new(),
        }
    }

    /// What the state file says.
    pub(crate) const fn allocations(&self) -> &Allocations {
        self.state.allocations()
    }

    /// Whether [`synced`](Self::synced) was called.
    pub(crate) const fn is_synced(&self) -> bool {
        self.is_synced
    }

    /// How full the pools are.
    pub(crate) fn pool_usage(&self) -> BTreeMap<Name, Usage> {
        self.controller.pool_usage()
    }

    /// The configuration is now this.
    pub(crate) fn config(&mut self, now: Time, config: &Arc<Config>) {
        self.families = families::of_pools(config);
        self.controller
            .handle(now, Input::Config(Arc::clone(config)));
        self.fill_in_families(now);
    }

    /// A namespace is there, or has changed.
    pub(crate) fn namespace(&mut self, now: Time, namespace: Namespace) {
        self.controller
            .handle(now, Input::NamespaceApplied(namespace));
    }

    /// A namespace is gone.
    pub(crate) fn namespace_gone(&mut self, now: Time, namespace: Name) {
        self.controller
            .handle(now, Input::NamespaceDeleted(namespace));
    }

    /// A node is there, or has changed.
    pub(crate) fn node(&mut self, now: Time, node: Node) {
        self.controller.handle(now, Input::NodeApplied(node));
    }

    /// A node is gone.
    pub(crate) fn node_gone(&mut self, now: Time, node: Name) {
        self.controller.handle(now, Input::NodeDeleted(node));
    }

    /// The manifest of a Service is there, or has changed.
    pub(crate) fn service(&mut self, now: Time, manifest: &Arc<Service>) {
        let holds = self.state.allocations().contains_key(&manifest.key);
        if self.is_synced || holds {
            self.apply(now, Service::clone(manifest));
        } else {
            let (key, manifest) = (manifest.key.clone(), Arc::clone(manifest));
            self.waiting.insert(key, manifest);
        }
    }

    /// The manifest of a Service is gone.
    pub(crate) fn service_gone(&mut self, now: Time, key: &ServiceKey) {
        self.waiting.remove(key);
        if self.services.remove(key).is_some() {
            self.changed.insert(key.clone());
            self.unwritten.insert(key.clone());
            self.controller
                .handle(now, Input::ServiceDeleted(key.clone()));
        }
    }

    /// All manifests have been read: from now on addresses are given. Those in the state file come first, then those
    /// that a manifest has in its status, then the Services without any.
    pub(crate) fn synced(&mut self, now: Time) {
        self.is_synced = true;
        // What was waited for in vain is gone.
        let held = self.state.allocations().keys();
        let gone = held.filter(|service| !self.services.contains_key(*service));
        self.unwritten.extend(gone.cloned());
        self.controller.handle(now, Input::Synced);
        self.settle(now);
        let waiting = std::mem::take(&mut self.waiting);
        let (with, without): (Vec<_>, Vec<_>) = waiting
            .into_values()
            .partition(|service| !service.ingress.is_empty());
        for group in [with, without] {
            for service in group {
                self.apply(now, Arc::unwrap_or_clone(service));
            }
            self.settle(now);
        }
    }

    /// When to call [`settle`](Self::settle) though nothing happened.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.controller.deadline()
    }

    /// Whether the state file lags behind, for want of disk space or the like.
    pub(crate) const fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// Does what the controller wants until it wants nothing more: the state file is written before anybody hears of it.
    pub(crate) fn settle(&mut self, now: Time) {
        self.controller.handle(now, Input::Tick);
        loop {
            self.collect();
            if !self.is_synced {
                return;
            }
            let wanted = self.unwritten_with(&self.writes);
            if let Err(error) = self.state.write(wanted) {
                if !std::mem::replace(&mut self.is_behind, true) {
                    tracing::error!(%error, "the state file cannot be written; no Service gets an address, or another, until it can");
                }
                self.finish_writes(now, WriteOutcome::Failed);
                return;
            }
            self.unwritten.clear();
            if std::mem::take(&mut self.is_behind) {
                tracing::info!("the state file can be written again");
            }
            if self.writes.is_empty() {
                return;
            }
            self.finish_writes(now, WriteOutcome::Done);
        }
    }

    /// The Services that changed since the last call, as they are; `None` for one that is gone. An address that is not in the
    /// state file is not shown.
    pub(crate) fn take_changes(&mut self) -> Vec<(ServiceKey, Option<Arc<Service>>)> {
        let changed = std::mem::take(&mut self.changed);
        let shown = |key: ServiceKey| {
            let service = self
                .services
                .get(&key)
                .map(|service| self.recorded(service));
            (key, service)
        };
        changed.into_iter().map(shown).collect()
    }

    /// A Service with no more in its status than the state file says.
    fn recorded(&self, service: &Arc<Service>) -> Arc<Service> {
        let mut service = Arc::clone(service);
        if service.is_ours(self.class.as_deref()) {
            let held = self.state.allocations().get(&service.key);
            let ingress = held.map_or_else(Vec::new, |held| ingress(&held.ips));
            if service.ingress != ingress {
                Arc::make_mut(&mut service).ingress = ingress;
            }
        }
        service
    }

    fn apply(&mut self, now: Time, manifest: Service) {
        let service = self.with_status(manifest);
        self.keep(service.clone());
        self.controller
            .handle(now, Input::ServiceApplied(Box::new(service)));
        self.collect();
    }

    fn keep(&mut self, service: Service) {
        self.changed.insert(service.key.clone());
        self.unwritten.insert(service.key.clone());
        self.services.insert(service.key.clone(), Arc::new(service));
    }

    /// The manifest with the status in force, and what an API server would have filled in.
    fn with_status(&mut self, manifest: Service) -> Service {
        let mut service = manifest;
        if let Some(known) = self.services.get(&service.key) {
            service.uid = Arc::clone(&known.uid);
            service.ingress.clone_from(&known.ingress);
            service.allocated_from.clone_from(&known.allocated_from);
        } else {
            service.uid = self.version();
            if let Some(held) = self.state.allocations().get(&service.key) {
                service.ingress = ingress(&held.ips);
                service.allocated_from = held.pool.as_deref().map(str::to_owned);
            }
        }
        service.resource_version = self.version();
        if service.cluster_ips.is_empty() && !service.is_headless {
            service.cluster_ips = cluster_ips(&service, &self.families);
        }
        service
    }

    /// Pools of another family may change what a Service without an address is to get.
    fn fill_in_families(&mut self, now: Time) {
        let is_guess = |service: &&Arc<Service>| {
            service.ingress.is_empty()
                && service.cluster_ips.iter().all(IpAddr::is_unspecified)
                && !service.cluster_ips.is_empty()
        };
        let guessed = self.services.values().filter(is_guess);
        for service in guessed.cloned().collect::<Vec<_>>() {
            let mut service = Service::clone(&service);
            let before = std::mem::take(&mut service.cluster_ips);
            if cluster_ips(&service, &self.families) != before {
                self.apply(now, service);
            }
        }
    }

    fn collect(&mut self) {
        while let Some(output) = self.controller.poll() {
            match output {
                Output::Write(write) => self.writes.push(write),
                Output::Event(event) => log(&event),
            }
        }
    }

    /// What the state file is to say of the Services that it may be wrong about, once `writes` are done.
    fn unwritten_with(&self, writes: &[StatusWrite]) -> BTreeMap<ServiceKey, Option<Allocation>> {
        let allocation = |service: &ServiceKey| {
            let service = self.services.get(service)?;
            service.is_ours(self.class.as_deref()).then(|| Allocation {
                ips: (service.ingress.iter())
                    .filter_map(|it| it.ip.parse().ok())
                    .collect(),
                pool: service.allocated_from.as_deref().map(Name::from),
            })
        };
        let unwritten = self.unwritten.iter();
        let mut wanted: BTreeMap<ServiceKey, Option<Allocation>> = unwritten
            .map(|service| (service.clone(), allocation(service)))
            .collect();
        for write in writes {
            let is_there = self.services.contains_key(&write.service);
            let allocation = is_there.then(|| Allocation {
                ips: write.ips.clone(),
                pool: write.pool.clone(),
            });
            wanted.insert(write.service.clone(), allocation);
        }
        for allocation in wanted.values_mut() {
            *allocation = allocation.take().filter(|held| !held.ips.is_empty());
        }
        wanted
    }

    fn finish_writes(&mut self, now: Time, outcome: WriteOutcome) {
        for write in std::mem::take(&mut self.writes) {
            let service = write.service.clone();
            let outcome = if self.services.contains_key(&service) {
                outcome
            } else {
                WriteOutcome::Gone
            };
            self.controller
                .handle(now, Input::Written { service, outcome });
            if outcome == WriteOutcome::Done {
                self.show(now, write);
            }
        }
    }

    /// A write is in force: the Service is what it says.
    fn show(&mut self, now: Time, write: StatusWrite) {
        let version = self.version();
        let Some(service) = self.services.get(&write.service) else {
            return;
        };
        let service = Service {
            ingress: ingress(&write.ips),
            allocated_from: write.pool.as_deref().map(str::to_owned),
            resource_version: version,
            ..Service::clone(service)
        };
        self.keep(service.clone());
        self.controller
            .handle(now, Input::ServiceApplied(Box::new(service)));
    }

    fn version(&mut self) -> Arc<str> {
        self.versions += 1;
        self.versions.to_string().into()
    }
}

/// The status of these addresses.
pub(crate) fn ingress(ips: &[IpAddr]) -> Vec<Ingress> {
    ips.iter()
        .map(|ip| Ingress {
            ip: ip.to_string(),
            hostname: String::new(),
        })
        .collect()
}

/// What would be an Event in Kubernetes is a line in the log.
pub(crate) fn log(event: &Event) {
    let (service, reason, message) = (&event.service, event.reason, &event.message);
    match event.kind {
        EventKind::Normal => tracing::info!(%service, reason, "{message}"),
        EventKind::Warning => tracing::warn!(%service, reason, "{message}"),
    }
}

#[cfg(test)]
mod tests;
