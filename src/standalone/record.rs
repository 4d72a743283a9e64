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
    services: BTreeMap<ServiceKey, Service>,
    /// Services that hold nothing yet, which wait until all that do have been seen.
    waiting: Vec<Service>,
    is_synced: bool,
    families: BTreeSet<Family>,
    writes: Vec<StatusWrite>,
    /// The state file could not be written.
    is_behind: bool,
    versions: u64,
    changed: BTreeSet<ServiceKey>,
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
            waiting: Vec::new(),
            is_synced: false,
            families: BTreeSet::new(),
            writes: Vec::new(),
            is_behind: false,
            versions: 0,
            changed: BTreeSet::new(),
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
    pub(crate) fn service(&mut self, now: Time, manifest: Service) {
        let holds = self.state.allocations().contains_key(&manifest.key);
        if self.is_synced || holds {
            self.apply(now, manifest);
        } else {
            self.waiting.retain(|other| other.key != manifest.key);
            self.waiting.push(manifest);
        }
    }

    /// The manifest of a Service is gone.
    pub(crate) fn service_gone(&mut self, now: Time, key: &ServiceKey) {
        self.waiting.retain(|service| service.key != *key);
        if self.services.remove(key).is_some() {
            self.changed.insert(key.clone());
            self.controller
                .handle(now, Input::ServiceDeleted(key.clone()));
        }
    }

    /// All manifests have been read: from now on addresses are given. Those in the state file come first, then those
    /// that a manifest has in its status, then the Services without any.
    pub(crate) fn synced(&mut self, now: Time) {
        self.is_synced = true;
        self.controller.handle(now, Input::Synced);
        self.settle(now);
        let waiting = std::mem::take(&mut self.waiting);
        let (with, without): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|service| !service.ingress.is_empty());
        for group in [with, without] {
            for service in group {
                self.apply(now, service);
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
            let wanted = self.allocations_with(&self.writes);
            if let Err(error) = self.state.write(wanted) {
                self.is_behind = true;
                tracing::error!(%error, "the state file cannot be written; nothing changes until it can");
                self.finish_writes(now, WriteOutcome::Failed);
                return;
            }
            self.is_behind = false;
            if self.writes.is_empty() {
                return;
            }
            self.finish_writes(now, WriteOutcome::Done);
        }
    }

    /// The Services that changed since the last call, as they are; `None` for one that is gone. An address that is not in the
    /// state file is not shown.
    pub(crate) fn take_changes(&mut self) -> Vec<(ServiceKey, Option<Service>)> {
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
    fn recorded(&self, service: &Service) -> Service {
        let mut service = service.clone();
        if service.is_ours(self.class.as_deref()) {
            let held = self.state.allocations().get(&service.key);
            service.ingress = held.map_or_else(Vec::new, |held| ingress(&held.ips));
        }
        service
    }

    fn apply(&mut self, now: Time, manifest: Service) {
        let service = self.with_status(manifest);
        self.changed.insert(service.key.clone());
        self.services.insert(service.key.clone(), service.clone());
        self.controller
            .handle(now, Input::ServiceApplied(Box::new(service)));
        self.collect();
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
        let is_guess = |service: &&Service| {
            service.ingress.is_empty()
                && service.cluster_ips.iter().all(IpAddr::is_unspecified)
                && !service.cluster_ips.is_empty()
        };
        let guessed: Vec<Service> = self.services.values().filter(is_guess).cloned().collect();
        for mut service in guessed {
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

    /// What the state file is to say once `writes` are done.
    fn allocations_with(&self, writes: &[StatusWrite]) -> Allocations {
        let ours = self
            .services
            .values()
            .filter(|it| it.is_ours(self.class.as_deref()));
        let mut allocations: Allocations = ours
            .map(|service| {
                let ips = service
                    .ingress
                    .iter()
                    .filter_map(|it| it.ip.parse().ok())
                    .collect();
                let pool = service.allocated_from.as_deref().map(Name::from);
                (service.key.clone(), Allocation { ips, pool })
            })
            .collect();
        for write in writes {
            let allocation = Allocation {
                ips: write.ips.clone(),
                pool: write.pool.clone(),
            };
            allocations.insert(write.service.clone(), allocation);
        }
        allocations.retain(|key, allocation| {
            !allocation.ips.is_empty() && self.services.contains_key(key)
        });
        allocations
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
        let Some(service) = self.services.get_mut(&write.service) else {
            return;
        };
        service.ingress = ingress(&write.ips);
        service.allocated_from = write.pool.as_deref().map(str::to_owned);
        service.resource_version = version;
        let service = Box::new(service.clone());
        self.changed.insert(write.service);
        self.controller.handle(now, Input::ServiceApplied(service));
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
mod tests {
    use std::path::Path;

    use ironlb_config::Source;

    use super::*;

    struct Fixture {
        root: tempfile::TempDir,
        record: Record,
    }

    impl Fixture {
        /// With a pool of 192.0.2.1 to 192.0.2.9, nothing read yet.
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let record = Self::open(root.path());
            Self { root, record }
        }

        fn open(root: &Path) -> Record {
            let mut record = Record::new(None, StateFile::open(&root.join("state")).unwrap());
            record.config(Time::ZERO, &config("192.0.2.1-192.0.2.9"));
            record
        }

        fn restart(self) -> Self {
            let Self { root, record } = self;
            drop(record);
            let record = Self::open(root.path());
            Self { root, record }
        }

        fn synced() -> Self {
            let mut fixture = Self::new();
            fixture.record.synced(Time::ZERO);
            fixture
        }

        fn apply(&mut self, service: Service) {
            self.record.service(Time::ZERO, service);
            self.record.settle(Time::ZERO);
        }

        /// What whoever announces is told of a Service, when it is told.
        fn told(&mut self, name: &str) -> Option<Vec<String>> {
            let changes = self.record.take_changes();
            let (_, service) = changes.into_iter().find(|(key, _)| &*key.name == name)?;
            Some(
                service?
                    .ingress
                    .into_iter()
                    .map(|ingress| ingress.ip)
                    .collect(),
            )
        }

        fn recorded(&self) -> Vec<String> {
            let state = super::super::state::read(&self.root.path().join("state"));
            let entries = state.unwrap().unwrap().into_iter();
            entries
                .map(|(key, held)| format!("{} {:?}", key.name, held.ips))
                .collect()
        }
    }

    fn config(addresses: &str) -> Arc<Config> {
        let text = format!(
            "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: first}}\n\
             spec: {{addresses: [{addresses}]}}\n"
        );
        let manifests = ironlb_config::read(&[Source {
            name: "test".into(),
            text,
        }]);
        Arc::new(ironlb_config::lower(&manifests.objects, &Config::default()).config)
    }

    fn service(name: &str) -> Service {
        Service::new(ServiceKey::new("default", name))
    }

    #[test]
    fn an_address_is_in_the_state_file_when_it_is_shown() {
        let mut fixture = Fixture::synced();
        fixture.apply(service("web"));
        assert_eq!(fixture.recorded(), ["web [192.0.2.1]"]);
        assert_eq!(fixture.told("web").unwrap(), ["192.0.2.1"]);
    }

    #[test]
    fn a_restart_moves_nothing_whatever_the_order() {
        let mut fixture = Fixture::synced();
        for name in ["b", "a"] {
            fixture.apply(service(name));
        }
        let before = fixture.recorded();
        let mut fixture = fixture.restart();
        for name in ["new", "a", "b"] {
            fixture.apply(service(name));
        }
        fixture.record.synced(Time::ZERO);
        assert_eq!(before, ["a [192.0.2.2]", "b [192.0.2.1]"]);
        assert_eq!(
            fixture.recorded(),
            ["a [192.0.2.2]", "b [192.0.2.1]", "new [192.0.2.3]"]
        );
    }

    #[test]
    fn what_is_held_is_shown_before_everything_has_been_read() {
        let mut fixture = Fixture::synced();
        fixture.apply(service("web"));
        let mut fixture = fixture.restart();
        fixture.apply(service("web"));
        fixture.apply(service("new"));
        let changes = fixture.record.take_changes();
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].1.as_ref().unwrap().ingress[0].ip, "192.0.2.1");
    }

    #[test]
    fn a_status_in_a_manifest_is_taken_over_unless_another_service_holds_it() {
        let mut fixture = Fixture::synced();
        fixture.apply(service("web"));
        let mut fixture = fixture.restart();
        for (name, ip) in [("free", "192.0.2.7"), ("late", "192.0.2.1")] {
            let mut service = service(name);
            service.ingress = ingress(&[ip.parse().unwrap()]);
            fixture.apply(service);
        }
        fixture.apply(service("web"));
        fixture.record.synced(Time::ZERO);
        assert_eq!(
            fixture.recorded(),
            ["free [192.0.2.7]", "late [192.0.2.2]", "web [192.0.2.1]"]
        );
    }

    #[test]
    fn a_service_that_is_gone_frees_its_address() {
        let mut fixture = Fixture::synced();
        fixture.apply(service("web"));
        fixture
            .record
            .service_gone(Time::ZERO, &ServiceKey::new("default", "web"));
        fixture.record.settle(Time::ZERO);
        assert!(fixture.recorded().is_empty());
        fixture.apply(service("next"));
        assert_eq!(fixture.recorded(), ["next [192.0.2.1]"]);
    }

    #[test]
    fn a_state_file_that_cannot_be_written_keeps_addresses_to_itself_until_it_can() {
        let mut fixture = Fixture::synced();
        let blocked = fixture.root.path().join("state.new");
        std::fs::create_dir(&blocked).unwrap();
        fixture.apply(service("web"));
        assert_eq!(fixture.told("web").unwrap(), [""; 0]);
        assert!(fixture.record.is_behind());
        std::fs::remove_dir(&blocked).unwrap();
        let later = fixture.record.deadline().unwrap();
        fixture.record.settle(later);
        assert_eq!(fixture.told("web").unwrap(), ["192.0.2.1"]);
        assert!(!fixture.record.is_behind());
    }

    #[test]
    fn a_manifest_without_families_gets_those_of_the_pools_and_keeps_them() {
        let mut fixture = Fixture::synced();
        fixture.apply(service("four"));
        fixture
            .record
            .config(Time::ZERO, &config("192.0.2.1/32, 2001:db8::/64"));
        let mut dual = service("dual");
        dual.ip_family_policy = ironlb_model::IpFamilyPolicy::RequireDualStack;
        fixture.apply(dual);
        fixture.record.config(
            Time::ZERO,
            &config("192.0.2.1/32, 192.0.2.5/32, 2001:db8::/64"),
        );
        fixture.record.settle(Time::ZERO);
        assert_eq!(
            fixture.recorded(),
            ["dual [192.0.2.5, 2001:db8::]", "four [192.0.2.1]"]
        );
    }

    #[test]
    fn an_address_asked_for_decides_the_family() {
        let mut fixture = Fixture::synced();
        fixture
            .record
            .config(Time::ZERO, &config("192.0.2.1/32, 2001:db8::/64"));
        let mut six = service("six");
        six.requested_ips = Some("2001:db8::9".into());
        fixture.apply(six);
        assert_eq!(fixture.recorded(), ["six [2001:db8::9]"]);
    }
}
