//! The controller as a state machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use ironlb_model::{Event, EventKind, Name, Service, ServiceKey, Time};

use crate::alloc::Allocator;
use crate::decide::{Notice, Wanted, adopt, decide};
use crate::io::{Input, Output};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::terms::{published_addresses, status_addresses};
use crate::usage::Usage;
use crate::waiting::{Turn, Waiting};
use crate::writes::Writes;

/// What is fixed for the life of a [`Controller`].
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The `loadBalancerClass` of the Services to care for (`--lb-class`); `None` for those without one.
    pub class: Option<String>,
}

/// Decides which Service gets which address.
///
/// Feed it with [`handle`](Self::handle), then drain [`poll`](Self::poll) until `None`, and call `handle` with
/// [`Input::Tick`] at [`deadline`](Self::deadline). Everything else asks and changes nothing.
///
/// What it decided is written, and written anew where the API says otherwise; but an address that a status already has
/// and may have stays, whatever was decided meanwhile, so that no Service is moved without need. An address that is taken
/// from a Service is given to no other until the API no longer says that the first one has it.
#[derive(Debug, Default)]
pub struct Controller {
    pub(crate) settings: Settings,
    pub(crate) allocator: Allocator,
    pub(crate) records: BTreeMap<ServiceKey, Record>,
    pub(crate) writes: Writes,
    pub(crate) outputs: VecDeque<Output>,
    waiting: Waiting,
    /// Services to whom a change of the configuration may give more than they have.
    unsatisfied: BTreeSet<Turn>,
    synced: bool,
    arrivals: u64,
    /// The allocator's revision at which those who wait were last asked.
    asked_at: u64,
}

impl Controller {
    /// A controller that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Takes in everything that happens.
    pub fn handle(&mut self, now: Time, input: Input) {
        self.writes.now = now;
        self.allocator.advance(now);
        match input {
            Input::Config(config) => {
                let before = self.allocator.revision();
                let mut affected = self.allocator.set_pools(&config.pools);
                self.allocator.set_pools_in_error(&config.pools_in_error);
                if self.allocator.revision() != before {
                    affected.extend(self.unsatisfied.iter().map(|turn| turn.service.clone()));
                    self.reconsider(affected);
                }
            }
            Input::NamespaceApplied(namespace) => {
                let name = namespace.name.clone();
                if self.allocator.apply_namespace(namespace) {
                    self.reconsider(self.services_in(&name));
                }
            }
            Input::NamespaceDeleted(name) => {
                if self.allocator.delete_namespace(&name) {
                    self.reconsider(self.services_in(&name));
                }
            }
            Input::NodeApplied(node) => {
                let affected = self.allocator.set_node(&node.name, &node.addresses);
                self.reconsider(affected);
            }
            Input::NodeDeleted(name) => {
                self.allocator.set_node(&name, &[]);
            }
            Input::ServiceApplied(service) => self.apply(service),
            Input::ServiceDeleted(service) => self.forget(&service),
            Input::Synced => {
                self.synced = true;
                self.reconsider(self.records.keys().cloned().collect());
            }
            Input::Written { service, outcome } => self.finish_write(&service, outcome),
            Input::Tick => self.resume_writes(),
        }
        self.ask_waiting();
    }

    /// The next thing to do; drain until `None` after every [`handle`](Self::handle).
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`]; `None` when there is nothing to wait for.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        self.writes.deadline()
    }

    /// Whether every write has come to an end that is known. While one has not, it may still come into force, so the lead
    /// must not be handed over yet: a successor could not see its address and might give it away.
    pub fn is_settled(&self) -> bool {
        let mut records = self.records.values();
        self.writes.is_idle() && !records.any(Record::is_uncertain)
    }

    /// The addresses that a Service has, in the order of its status; empty for none.
    pub fn address_of(&self, service: &ServiceKey) -> Vec<IpAddr> {
        let Some(record) = self.records.get(service) else {
            return Vec::new();
        };
        match &record.wanted {
            Wanted::Status(addresses, _) => addresses.clone(),
            Wanted::AsItIs => published_addresses(&record.service).collect(),
            Wanted::Leave => Vec::new(),
        }
    }

    /// The pool that a Service's addresses come from.
    pub fn pool_of_service(&self, service: &ServiceKey) -> Option<&Name> {
        let held = self.allocator.get(service).map(|held| held.pool());
        held.filter(|pool| !pool.is_empty())
    }

    /// The pool that has an address.
    pub fn pool_of(&self, address: IpAddr) -> Option<&Name> {
        self.allocator.pool_of(address)
    }

    /// Why a Service has no address, or not the one that it asks for, as a sentence; `None` when all is well.
    pub fn explain(&self, service: &ServiceKey) -> Option<String> {
        self.refusal(service).map(Refusal::to_string)
    }

    /// The same, to look into.
    pub fn refusal(&self, service: &ServiceKey) -> Option<&Refusal> {
        self.records.get(service)?.refusal.as_ref()
    }

    /// How full every pool is.
    pub fn pool_usage(&self) -> BTreeMap<Name, Usage> {
        self.allocator.usage()
    }

    fn apply(&mut self, service: Box<Service>) {
        let key = service.key.clone();
        let known = self.records.get(&key);
        if known.is_some_and(|record| record.is_newer_than(&service)) {
            return;
        }
        if known.is_some_and(|record| record.is_other_than(&service)) {
            self.forget(&key);
        }
        let writing = self.writes.is_under_way(&key);
        let concerns_us = self.concerns_us(&service);
        match self.records.get_mut(&key) {
            Some(record) => {
                if record.see(service, writing) {
                    self.writes.resume_with_newer(record);
                }
            }
            None if concerns_us => {
                self.arrivals += 1;
                let record = Record::new(service, self.arrivals);
                self.records.insert(key.clone(), record);
            }
            None => return,
        }
        self.publish(&key);
        if self.synced {
            self.converge(&key);
        }
    }

    /// Whether a Service is ours, or has an address in its status that must not be given away.
    fn concerns_us(&self, service: &Service) -> bool {
        service.is_ours(self.settings.class.as_deref())
            || !service.ingress.is_empty()
            || service.allocated_from.is_some()
    }

    fn forget(&mut self, service: &ServiceKey) {
        let Some(record) = self.records.remove(service) else {
            return;
        };
        self.allocator.release(service);
        for address in &record.published {
            self.allocator.unpublish(service, *address);
        }
        self.waiting.set(&record.turn, None);
        self.unsatisfied.remove(&record.turn);
        self.writes.cancel_pause(service, &record);
    }

    fn services_in(&self, namespace: &Name) -> Vec<ServiceKey> {
        let first = ServiceKey::new(namespace.clone(), "");
        let keys = self.records.range(first..).map(|(key, _)| key);
        keys.take_while(|key| key.namespace == *namespace)
            .cloned()
            .collect()
    }

    /// Decides anew about many Services: first all keep what they may, then they get what they lack.
    fn reconsider(&mut self, services: Vec<ServiceKey>) {
        if !self.synced {
            return;
        }
        let known = |key: ServiceKey| self.records.get(&key).map(|record| (key, record));
        let mut by_claim: Vec<_> = services
            .into_iter()
            .filter_map(known)
            .map(|(key, record)| (self.claim(&record.service), record.turn.clone(), key))
            .collect();
        by_claim.sort_unstable();
        by_claim.dedup();
        for (_, _, key) in &by_claim {
            if let Some(record) = self.records.get(key) {
                let class = self.settings.class.as_deref();
                adopt(&mut self.allocator, &record.service, class);
            }
            self.publish(key);
        }
        by_claim.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        for (_, _, key) in &by_claim {
            self.converge(key);
        }
    }

    /// How good a Service's claim to the addresses in its status is, the lowest the best: more addresses come before
    /// fewer, and what we wrote ourselves before what we did not.
    fn claim(&self, service: &Service) -> (usize, bool) {
        let addresses = status_addresses(service).unwrap_or_default();
        let pool = addresses.first().and_then(|ip| self.allocator.pool_of(*ip));
        let ours = pool.is_some() && pool.map(|pool| &**pool) == service.allocated_from.as_deref();
        (usize::MAX - addresses.len(), !ours)
    }

    /// Decides about one Service, and does what follows.
    pub(crate) fn converge(&mut self, key: &ServiceKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        let class = self.settings.class.as_deref();
        let decision = decide(&mut self.allocator, &record.service, class);
        self.waiting.set(&record.turn, decision.waits);
        if decision.unsatisfied {
            self.unsatisfied.insert(record.turn.clone());
        } else {
            self.unsatisfied.remove(&record.turn);
        }
        record.refusal = decision.refusal;
        record.wanted = decision.wanted;
        if record.unwritten().is_none() {
            record.forget_told(&decision.notices);
        }
        for notice in &decision.notices {
            if notice.reason == "IPAllocated" || record.is_news(notice) {
                self.outputs.push_back(event(key, notice));
            }
        }
        self.publish(key);
        self.submit(key);
    }

    /// Tells the allocator which addresses a Service has in its status, or may have, beyond those it holds.
    pub(crate) fn publish(&mut self, key: &ServiceKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        let held: Vec<IpAddr> = match self.allocator.get(key) {
            Some(held) => held.addresses().collect(),
            None => Vec::new(),
        };
        let mut now = record.may_have();
        now.retain(|address| !held.contains(address));
        for address in now.iter().filter(|ip| !record.published.contains(ip)) {
            self.allocator.publish(key, *address);
        }
        for address in record.published.iter().filter(|ip| !now.contains(ip)) {
            self.allocator.unpublish(key, *address);
        }
        record.published = now;
    }

    /// Asks those who wait whether they can have an address now, in turn, one of every class that is still refused.
    fn ask_waiting(&mut self) {
        while self.synced && self.allocator.revision() != self.asked_at {
            self.asked_at = self.allocator.revision();
            let mut heads = self.waiting.heads();
            while let Some((turn, class)) = heads.pop_first() {
                self.converge(&turn.service);
                if let Some(next) = self.waiting.head(&class)
                    && *next != turn
                {
                    heads.insert(next.clone(), Arc::clone(&class));
                }
            }
        }
    }
}

pub(crate) fn event(service: &ServiceKey, notice: &Notice) -> Output {
    Output::Event(Event {
        service: service.clone(),
        kind: notice.kind,
        reason: notice.reason,
        message: notice.message.clone(),
    })
}

pub(crate) fn deprecated(service: &Service) -> Option<Notice> {
    let keys = &service.deprecated_annotations;
    (!keys.is_empty()).then(|| Notice {
        kind: EventKind::Warning,
        reason: "deprecatedAnnotation",
        message: format!(
            "the Service uses the deprecated annotation {}; write metallb.io in place of metallb.universe.tf",
            keys.join(", ")
        ),
    })
}
