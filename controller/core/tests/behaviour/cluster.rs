//! A controller, and an API server small enough to see through.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_controller_core::{Controller, Input, Output, Settings, StatusWrite, WriteOutcome};
use ironlb_model::config::PoolsInError;
use ironlb_model::{
    Config, Event, Family, Ingress, IpFamilyPolicy, Labels, Name, Pool, Port, Protocol, Range,
    Service, ServiceAllocation, ServiceKey, Time,
};

/// The key of a Service in namespace `default`.
pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new("default", name)
}

/// An IPv4 Service with port 80/TCP.
pub(crate) fn service(name: &str) -> Service {
    Service {
        cluster_ips: ips(&["10.96.0.1"]),
        ip_families: vec![Family::V4],
        ports: vec![port(Protocol::Tcp, 80)],
        uid: name.into(),
        ..Service::new(key(name))
    }
}

/// A dual-stack Service.
pub(crate) fn dual(name: &str, policy: IpFamilyPolicy) -> Service {
    Service {
        cluster_ips: ips(&["10.96.0.1", "fd00::1"]),
        ip_families: vec![Family::V4, Family::V6],
        ip_family_policy: policy,
        ..service(name)
    }
}

pub(crate) fn port(protocol: Protocol, port: u16) -> Port {
    Port {
        name: format!("p{port}"),
        protocol,
        port,
    }
}

pub(crate) fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

pub(crate) fn range(text: &str) -> Range {
    match text.split_once('-') {
        Some((first, last)) => Range::new(first.parse().unwrap(), last.parse().unwrap()).unwrap(),
        None if text.contains('/') => Range::from_net(text.parse().unwrap()),
        None => Range::new(text.parse().unwrap(), text.parse().unwrap()).unwrap(),
    }
}

/// A pool for everybody.
pub(crate) fn pool(name: &str, ranges: &[&str]) -> Pool {
    Pool::new(name, ranges.iter().map(|text| range(text)).collect())
}

/// A pool for a namespace.
pub(crate) fn pinned(name: &str, ranges: &[&str], namespace: &str, priority: u32) -> Pool {
    Pool {
        allocation: Some(ServiceAllocation {
            priority,
            namespaces: BTreeSet::from([namespace.to_owned()]),
            ..ServiceAllocation::default()
        }),
        ..pool(name, ranges)
    }
}

pub(crate) fn config(pools: &[Pool]) -> Arc<Config> {
    let pools = pools.iter().map(|pool| (pool.name.clone(), pool.clone()));
    Arc::new(Config {
        pools: pools.collect(),
        ..Config::default()
    })
}

/// The same, while pools of these names are in error; `?` for those of which not even the name is known.
pub(crate) fn config_in_error(pools: &[Pool], in_error: &[&str]) -> Arc<Config> {
    let mut config = Arc::unwrap_or_clone(config(pools));
    let named = in_error.iter().filter(|name| **name != "?");
    config.pools_in_error = PoolsInError {
        labels: named.map(|name| ((*name).into(), Labels::new())).collect(),
        may_be_more: in_error.contains(&"?"),
    };
    Arc::new(config)
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(own).collect()
}

/// The API server's Services.
#[derive(Default)]
pub(crate) struct Api {
    pub(crate) services: BTreeMap<ServiceKey, Service>,
    version: u64,
}

impl Api {
    /// Creates a Service, or changes its spec; the status is the server's.
    pub(crate) fn apply(&mut self, mut service: Service) -> Service {
        if let Some(old) = self.services.get(&service.key) {
            service.ingress.clone_from(&old.ingress);
            service.allocated_from.clone_from(&old.allocated_from);
            service.uid.clone_from(&old.uid);
            service.created = old.created;
        }
        self.store(service)
    }

    pub(crate) fn store(&mut self, mut service: Service) -> Service {
        self.version += 1;
        service.resource_version = self.version.to_string().into();
        self.services.insert(service.key.clone(), service.clone());
        service
    }

    pub(crate) fn write(&mut self, write: &StatusWrite) -> (WriteOutcome, Option<Service>) {
        let Some(service) = self.services.get(&write.service) else {
            return (WriteOutcome::Gone, None);
        };
        if service.resource_version != write.resource_version {
            return (WriteOutcome::Conflict, None);
        }
        let mut service = service.clone();
        let entry = |ip: &IpAddr| Ingress {
            ip: ip.to_string(),
            hostname: String::new(),
        };
        service.ingress = write.ips.iter().map(entry).collect();
        service.allocated_from = write.pool.as_ref().map(|pool| pool.to_string());
        (WriteOutcome::Done, Some(self.store(service)))
    }

    pub(crate) fn status(&self, name: &str) -> Vec<String> {
        let service = self.services.get(&key(name));
        let ingress = service.into_iter().flat_map(|service| &service.ingress);
        ingress.map(|entry| entry.ip.clone()).collect()
    }
}

/// A controller and its API, with every write done at once and every watch event delivered at once.
pub(crate) struct Cluster {
    pub(crate) controller: Controller,
    pub(crate) api: Api,
    pub(crate) writes: Vec<StatusWrite>,
    pub(crate) events: Vec<Event>,
    pub(crate) now: Time,
}

impl Cluster {
    /// A controller that has read these pools, and no Service.
    pub(crate) fn new(pools: &[Pool]) -> Self {
        Self::with_services(pools, &[])
    }

    /// A controller that starts while these Services are there.
    pub(crate) fn with_services(pools: &[Pool], services: &[Service]) -> Self {
        let mut cluster = Self {
            controller: Controller::new(Settings::default()),
            api: Api::default(),
            writes: Vec::new(),
            events: Vec::new(),
            now: Time::ZERO,
        };
        for service in services {
            cluster.api.store(service.clone());
        }
        cluster.start(pools);
        cluster
    }

    /// Starts the controller anew.
    pub(crate) fn start(&mut self, pools: &[Pool]) {
        self.start_in_error(pools, &[]);
    }

    /// The same, while pools of these names are in error.
    pub(crate) fn start_in_error(&mut self, pools: &[Pool], in_error: &[&str]) {
        self.controller = Controller::new(Settings::default());
        self.give(Input::Config(config_in_error(pools, in_error)));
        for service in self.api.services.values().cloned().collect::<Vec<_>>() {
            self.give(Input::ServiceApplied(Box::new(service)));
        }
        self.give(Input::Synced);
        self.settle();
    }

    pub(crate) fn give(&mut self, input: Input) {
        self.now = self.now + Duration::from_millis(1);
        self.controller.handle(self.now, input);
    }

    pub(crate) fn configure(&mut self, pools: &[Pool]) {
        self.give(Input::Config(config(pools)));
        self.settle();
    }

    pub(crate) fn configure_in_error(&mut self, pools: &[Pool], in_error: &[&str]) {
        self.give(Input::Config(config_in_error(pools, in_error)));
        self.settle();
    }

    pub(crate) fn apply(&mut self, service: Service) {
        let service = self.api.apply(service);
        self.give(Input::ServiceApplied(Box::new(service)));
        self.settle();
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.api.services.remove(&key(name));
        self.give(Input::ServiceDeleted(key(name)));
        self.settle();
    }

    /// Does all that the controller asks for, until it asks for nothing.
    pub(crate) fn settle(&mut self) {
        let mut steps = 0;
        while let Some(output) = self.controller.poll() {
            steps += 1;
            assert!(steps < 10_000, "the controller does not come to rest");
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Write(write) => self.perform(write),
            }
        }
    }

    fn perform(&mut self, write: StatusWrite) {
        let (outcome, newer) = self.api.write(&write);
        let service = write.service.clone();
        self.writes.push(write);
        self.give(Input::Written { service, outcome });
        if let Some(newer) = newer {
            self.give(Input::ServiceApplied(Box::new(newer)));
        }
    }

    /// What the controller asks for now, left undone.
    pub(crate) fn pending(&mut self) -> VecDeque<StatusWrite> {
        let mut writes = VecDeque::new();
        while let Some(output) = self.controller.poll() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Write(write) => writes.push_back(write),
            }
        }
        writes
    }

    pub(crate) fn status(&self, name: &str) -> Vec<String> {
        self.api.status(name)
    }

    pub(crate) fn pool_of(&self, name: &str) -> Option<String> {
        self.api.services.get(&key(name))?.allocated_from.clone()
    }

    pub(crate) fn why(&self, name: &str) -> String {
        self.controller.explain(&key(name)).unwrap_or_default()
    }

    /// The reasons of the Events so far; forgets them.
    pub(crate) fn reasons(&mut self) -> Vec<&'static str> {
        self.events.drain(..).map(|event| event.reason).collect()
    }

    pub(crate) fn pool_name(name: &str) -> Name {
        name.into()
    }
}
