//! The controller against an API server that answers late, wrongly, twice or not at all, and restarts in between.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use ironlb_controller_core::{Controller, Input, Output, Settings, StatusWrite, WriteOutcome};
use ironlb_model::config::PoolsInError;
use ironlb_model::{Config, Ingress, Labels, Name, Namespace, Node, Service, ServiceKey, Time};
use proptest::prelude::*;

use crate::world::{Pools, key, may_share, node, pools, service};

#[derive(Clone, Debug)]
enum Step {
    Apply(Box<Service>),
    ChangeType(ServiceKey, bool),
    Delete(ServiceKey),
    ClearStatus(ServiceKey),
    Pools(Pools),
    Label(bool),
    Node(Node),
    Deliver(usize),
    DeliverOld(usize),
    Answer(Fate),
    Late(usize),
    Tick,
    Restart,
    /// It starts anew, and can not read some of the pools.
    Break(u8),
    /// What could not be read can be.
    Mend,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is done or conflicts, and the controller is told so.
    True,
    /// It is done if it can be, and the controller hears another thing.
    DoneBut(WriteOutcome),
    /// It is not done, and the controller hears this.
    NotDoneBut(WriteOutcome),
    /// The controller hears that it failed, and it is done later, if it still can be.
    Late,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        6 => Just(Fate::True),
        1 => Just(Fate::DoneBut(WriteOutcome::Failed)),
        1 => Just(Fate::DoneBut(WriteOutcome::Conflict)),
        1 => Just(Fate::NotDoneBut(WriteOutcome::Failed)),
        1 => Just(Fate::NotDoneBut(WriteOutcome::Conflict)),
        1 => Just(Fate::NotDoneBut(WriteOutcome::Gone)),
        2 => Just(Fate::Late),
    ];
    prop_oneof![
        10 => service().prop_map(|service| Step::Apply(Box::new(service))),
        2 => (key(), any::<bool>()).prop_map(|(key, class)| Step::ChangeType(key, class)),
        4 => key().prop_map(Step::Delete),
        1 => key().prop_map(Step::ClearStatus),
        1 => pools().prop_map(Step::Pools),
        1 => any::<bool>().prop_map(Step::Label),
        1 => node().prop_map(Step::Node),
        14 => (1usize..4).prop_map(Step::Deliver),
        2 => (0usize..1000).prop_map(Step::DeliverOld),
        14 => fate.prop_map(Step::Answer),
        2 => (0usize..4).prop_map(Step::Late),
        3 => Just(Step::Tick),
        1 => Just(Step::Restart),
        1 => any::<u8>().prop_map(Step::Break),
        1 => Just(Step::Mend),
    ]
}

struct World {
    controller: Controller,
    now: Time,
    pools: Pools,
    /// Those of the pools that can not be read.
    broken: BTreeSet<Name>,
    labels: Labels,
    nodes: BTreeMap<Name, Node>,
    api: BTreeMap<ServiceKey, Service>,
    version: u64,
    /// What the watch has yet to deliver.
    watch: VecDeque<Result<Service, ServiceKey>>,
    /// The Services as the controller has been told, since they were created or it was started.
    told: BTreeMap<ServiceKey, Vec<Service>>,
    old: Vec<Service>,
    writes: VecDeque<StatusWrite>,
    late: Vec<StatusWrite>,
}

impl World {
    fn new(pools: Pools) -> Self {
        let mut world = Self {
            controller: Controller::default(),
            now: Time::ZERO,
            pools,
            broken: BTreeSet::new(),
            labels: Labels::new(),
            nodes: BTreeMap::new(),
            api: BTreeMap::new(),
            version: 0,
            watch: VecDeque::new(),
            told: BTreeMap::new(),
            old: Vec::new(),
            writes: VecDeque::new(),
            late: Vec::new(),
        };
        world.restart();
        world
    }

    fn act(&mut self, step: Step) {
        match step {
            Step::Apply(service) => self.apply(*service),
            Step::ChangeType(key, class) => {
                if let Some(mut service) = self.api.get(&key).cloned() {
                    if class {
                        service.class = Some("other".to_owned());
                    } else {
                        service.is_load_balancer = false;
                    }
                    self.store(service);
                }
            }
            Step::Delete(key) => {
                if self.api.remove(&key).is_some() {
                    self.watch.push_back(Err(key));
                }
            }
            Step::ClearStatus(key) => {
                if let Some(mut service) = self.api.get(&key).cloned() {
                    service.ingress.clear();
                    self.store(service);
                }
            }
            Step::Pools(pools) => {
                self.broken.clear();
                self.pools = pools;
                let config = self.config();
                self.give(Input::Config(config));
            }
            Step::Break(bits) => {
                let names = self.pools.keys().zip(0..);
                let chosen = names.filter(|(_, n)| bits >> n & 1 == 1);
                self.broken = chosen.map(|(name, _)| name.clone()).collect();
                self.restart();
            }
            Step::Mend => {
                self.broken.clear();
                let config = self.config();
                self.give(Input::Config(config));
            }
            Step::Label(team_y) => {
                self.labels = match team_y {
                    true => Labels::from([("team".to_owned(), "y".to_owned())]),
                    false => Labels::new(),
                };
                let namespace = self.namespace();
                self.give(Input::NamespaceApplied(namespace));
            }
            Step::Node(node) => {
                self.nodes.insert(node.name.clone(), node.clone());
                self.give(Input::NodeApplied(node));
            }
            Step::Deliver(n) => (0..n).for_each(|_| self.deliver()),
            Step::DeliverOld(n) if !self.old.is_empty() => {
                let service = self.old[n % self.old.len()].clone();
                self.give(Input::ServiceApplied(Box::new(service)));
            }
            Step::DeliverOld(_) => {}
            Step::Answer(fate) => self.answer(fate),
            Step::Late(n) if n < self.late.len() => {
                let write = self.late.remove(n);
                self.write(&write);
            }
            Step::Late(_) => {}
            Step::Tick => {
                self.now = self.controller.deadline().unwrap_or(self.now).max(self.now);
                self.give(Input::Tick);
            }
            Step::Restart => self.restart(),
        }
    }

    fn config(&self) -> Arc<Config> {
        let mut pools = self.pools.clone();
        pools.retain(|name, _| !self.broken.contains(name));
        let named = self.broken.iter().map(|name| (name.clone(), Labels::new()));
        Arc::new(Config {
            pools,
            pools_in_error: PoolsInError {
                labels: named.collect(),
                may_be_more: false,
            },
            ..Config::default()
        })
    }

    fn namespace(&self) -> Namespace {
        Namespace {
            name: "y".into(),
            labels: self.labels.clone(),
        }
    }

    fn apply(&mut self, mut service: Service) {
        match self.api.get(&service.key) {
            Some(old) => {
                service.ingress.clone_from(&old.ingress);
                service.allocated_from.clone_from(&old.allocated_from);
                service.uid.clone_from(&old.uid);
                service.created = old.created;
            }
            None => {
                service.uid = (self.version + 1).to_string().into();
                service.created = i64::try_from(self.version / 7).ok();
            }
        }
        self.store(service);
    }

    fn store(&mut self, mut service: Service) {
        self.version += 1;
        service.resource_version = self.version.to_string().into();
        self.api.insert(service.key.clone(), service.clone());
        self.watch.push_back(Ok(service));
    }

    fn deliver(&mut self) {
        match self.watch.pop_front() {
            Some(Ok(service)) => {
                let told = self.told.entry(service.key.clone()).or_default();
                told.push(service.clone());
                self.old.push(service.clone());
                self.give(Input::ServiceApplied(Box::new(service)));
            }
            Some(Err(key)) => {
                // What a lagging cache says of it can be no older than its end.
                self.old.retain(|old| old.key != key);
                self.told.remove(&key);
                self.give(Input::ServiceDeleted(key));
            }
            None => {}
        }
    }

    fn give(&mut self, input: Input) {
        self.now = self.now + std::time::Duration::from_millis(1);
        self.controller.handle(self.now, input);
        while let Some(output) = self.controller.poll() {
            if let Output::Write(write) = output {
                let same = |other: &StatusWrite| other.service == write.service;
                assert!(!self.writes.iter().any(same), "two writes at once");
                self.writes.push_back(write);
            }
        }
    }

    fn answer(&mut self, fate: Fate) {
        let Some(write) = self.writes.pop_front() else {
            return;
        };
        let outcome = match fate {
            Fate::True => self.write(&write),
            Fate::DoneBut(outcome) => {
                self.write(&write);
                outcome
            }
            Fate::NotDoneBut(outcome) => outcome,
            Fate::Late => {
                self.late.push(write.clone());
                WriteOutcome::Failed
            }
        };
        let service = write.service;
        self.give(Input::Written { service, outcome });
    }

    /// The API server writes a status, if it can, and nobody may have cause to complain.
    fn write(&mut self, write: &StatusWrite) -> WriteOutcome {
        let Some(service) = self.api.get(&write.service) else {
            return WriteOutcome::Gone;
        };
        if service.resource_version != write.resource_version {
            return WriteOutcome::Conflict;
        }
        let mut service = service.clone();
        let before: BTreeSet<IpAddr> = addresses(&service).collect();
        for address in write.ips.iter().filter(|ip| !before.contains(ip)) {
            for (key, other) in &self.api {
                if *key != service.key && addresses(other).any(|ip| ip == *address) {
                    // They may have shared when the write was decided; the other one has not moved away yet.
                    let told = self.told.get(key).into_iter().flatten();
                    assert!(
                        told.into_iter().any(|other| may_share(&service, other)),
                        "{} gets {address}, which {key} has",
                        service.key
                    );
                }
            }
        }
        let entry = |ip: &IpAddr| Ingress {
            ip: ip.to_string(),
            hostname: String::new(),
        };
        service.ingress = write.ips.iter().map(entry).collect();
        service.allocated_from = write.pool.as_ref().map(|pool| pool.to_string());
        self.store(service);
        WriteOutcome::Done
    }

    /// The controller dies, with what it was about to write, and another begins.
    fn restart(&mut self) {
        self.controller = Controller::new(Settings::default());
        self.writes.clear();
        self.late.clear();
        self.watch.clear();
        self.old.clear();
        let all = self.api.iter();
        self.told = all
            .map(|(key, service)| (key.clone(), vec![service.clone()]))
            .collect();
        let config = self.config();
        self.give(Input::Config(config));
        let namespace = self.namespace();
        self.give(Input::NamespaceApplied(namespace));
        for node in self.nodes.values().cloned().collect::<Vec<_>>() {
            self.give(Input::NodeApplied(node));
        }
        for service in self.api.values().cloned().collect::<Vec<_>>() {
            self.give(Input::ServiceApplied(Box::new(service)));
        }
        assert!(self.writes.is_empty(), "it writes before it has read all");
        self.give(Input::Synced);
    }

    /// Everything arrives and every write is done, until nothing is left to do.
    fn settle(&mut self) {
        self.late.clear();
        for _ in 0..10_000 {
            if !self.watch.is_empty() {
                self.deliver();
            } else if !self.writes.is_empty() {
                self.answer(Fate::True);
            } else if self.controller.deadline().is_some() {
                self.act(Step::Tick);
            } else {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn check_settled(&self) {
        for (key, service) in &self.api {
            let status: BTreeSet<IpAddr> = addresses(service).collect();
            if service.is_ours(None) {
                let decided = self.controller.address_of(key).into_iter().collect();
                assert_eq!(status, decided, "{key}");
                let has = !status.is_empty();
                assert!(
                    has || self.controller.explain(key).is_some(),
                    "{key}: no word"
                );
            }
            for (other_key, other) in &self.api {
                let common = addresses(other).any(|ip| status.contains(&ip));
                let foreign = [service, other].iter().any(|s| !s.is_ours(None));
                assert!(
                    !common || key == other_key || foreign || may_share(service, other),
                    "{key} and {other_key} have the same address"
                );
            }
        }
    }
}

fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    service
        .ingress
        .iter()
        .map(|entry| entry.ip.parse().unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn no_address_is_given_twice_and_all_comes_to_rest(
        start in pools(),
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new(start);
        for step in steps {
            world.act(step);
        }
        world.settle();
        world.check_settled();
        world.act(Step::Mend);
        world.settle();
        world.check_settled();
        let before = world.api.clone();
        world.restart();
        prop_assert_eq!(Vec::from(world.writes.clone()), Vec::new());
        world.settle();
        prop_assert_eq!(&world.api, &before);
        for bits in [1, 2, 4, 8, 15] {
            world.act(Step::Break(bits));
            prop_assert_eq!(Vec::from(world.writes.clone()), Vec::new());
            world.settle();
            world.check_settled();
            world.act(Step::Mend);
            world.settle();
            prop_assert_eq!(&world.api, &before);
        }
    }
}
