//! The controllers: what they are told, and what is checked of each decision as it is made.

mod given_last;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_controller_core::io::{Input, Output, StatusWrite, WriteOutcome};
use ironlb_controller_core::{Controller, Settings};
use ironlb_model::{Service, ServiceKey, Time};

use self::given_last::GivenLast;
use super::leadership::Candidate;
use super::{Cluster, Common, Process};
use crate::allocation::{Rules, Wish, addresses, may_share, wish};
use crate::api::{Key, Kind, Object, ingress};
use crate::watch::Notice;

/// A process that runs [`Controller`].
#[derive(Debug)]
pub struct ControllerHost {
    /// What all processes have.
    pub common: Common,
    /// Whether its process runs; whether that is in office is another matter.
    pub(super) running: bool,
    /// Counts its processes.
    pub(super) process: u64,
    /// Its process in the election, where there is one.
    pub(super) candidate: Option<Candidate>,
    pub(super) machine: Controller,
    /// Which of all terms of office its last one is.
    term: u64,
    /// Writes that were not answered yet.
    under_way: BTreeMap<ServiceKey, StatusWrite>,
    /// Services of which a write failed, or conflicted with what we do not know yet: it may have happened, so that the
    /// same may be written again. With the addresses that it may have by that.
    uncertain: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    /// For each Service, the version on which a write succeeded last: the API has a newer one.
    confirmed: BTreeMap<ServiceKey, Arc<str>>,
    /// For each Service, the version of the last write that the API answered, and when: it has had a newer one since, or
    /// the Service is gone.
    outdated: BTreeMap<ServiceKey, (Arc<str>, Time)>,
    given_last: GivenLast,
}

/// A write on its way.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) status: StatusWrite,
    /// The term of office in which it was sent.
    term: u64,
    /// The Services that could share with it, or were not ours, as far as the controller had been told when it decided.
    tolerated: BTreeSet<ServiceKey>,
}

impl Cluster {
    /// Adds a controller, not started.
    pub(super) fn add_controller(&mut self) {
        self.controllers.push(ControllerHost {
            common: Common::new(&[Kind::Config, Kind::Namespace, Kind::Node, Kind::Service]),
            running: false,
            process: 0,
            candidate: None,
            machine: new_machine(self.profile.flags.class.clone()),
            term: 0,
            under_way: BTreeMap::new(),
            uncertain: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            outdated: BTreeMap::new(),
            given_last: GivenLast::default(),
        });
    }

    /// A controller begins a term of office: it knows nothing, and reads everything.
    pub(super) fn take_office(&mut self, index: usize) {
        let class = self.profile.flags.class.clone();
        self.terms += 1;
        if let Some(host) = self.controllers.get_mut(index) {
            host.common.begin();
            host.machine = new_machine(class);
            host.term = self.terms;
            host.under_way.clear();
            host.uncertain.clear();
            host.confirmed.clear();
            host.outdated.clear();
            host.given_last = GivenLast::default();
        }
        self.connect_all(Process::Controller(index));
    }

    /// Its term ends: it listens to nothing more.
    pub(super) fn leave_office(&mut self, index: usize) {
        if let Some(host) = self.controllers.get_mut(index) {
            host.common.end();
        }
    }

    pub(super) fn tell_controller(&mut self, index: usize, notice: Notice) {
        let process = Process::Controller(index);
        // What a Service had is forgotten with it, also when it comes back.
        if let Notice::Deleted(Key::Service(key)) = &notice
            && let Some(host) = self.controllers.get_mut(index)
        {
            host.outdated.remove(key);
        }
        let input = match notice {
            Notice::Applied(Object::Config(_)) => Input::Config(self.config_seen(process)),
            Notice::Applied(Object::Namespace(namespace)) => Input::NamespaceApplied(namespace),
            Notice::Applied(Object::Node(node)) => Input::NodeApplied(node),
            Notice::Applied(Object::Service(service)) => Input::ServiceApplied(service),
            Notice::Deleted(Key::Namespace(name)) => Input::NamespaceDeleted(name),
            Notice::Deleted(Key::Node(name)) => Input::NodeDeleted(name),
            Notice::Deleted(Key::Service(key)) => Input::ServiceDeleted(key),
            Notice::Deleted(Key::Config) => Input::Config(Arc::default()),
            _ => return,
        };
        self.drive_controller(index, input);
    }

    pub(super) fn sync_controller(&mut self, index: usize) {
        self.drive_controller(index, Input::Synced);
    }

    pub(super) fn tick_controller(&mut self, index: usize) {
        self.drive_controller(index, Input::Tick);
    }

    pub(super) fn written(
        &mut self,
        index: usize,
        life: u64,
        service: ServiceKey,
        outcome: WriteOutcome,
    ) {
        let Some(host) = self.controllers.get_mut(index) else {
            return;
        };
        if !host.common.alive || host.common.life != life {
            return;
        }
        let write = host.under_way.remove(&service);
        if let Some(write) = &write
            && outcome != WriteOutcome::Failed
        {
            let version = Arc::clone(&write.resource_version);
            host.outdated.insert(service.clone(), (version, self.now));
        }
        match outcome {
            WriteOutcome::Done => {
                host.uncertain.remove(&service);
                if let Some(write) = write {
                    host.confirmed
                        .insert(service.clone(), write.resource_version);
                }
            }
            WriteOutcome::Conflict | WriteOutcome::Gone => {
                self.counts.conflicts += 1;
                let ips = host.uncertain.entry(service.clone()).or_default();
                ips.extend(write.iter().flat_map(|write| &write.ips));
            }
            WriteOutcome::Failed => {
                self.counts.failures += 1;
                let ips = host.uncertain.entry(service.clone()).or_default();
                ips.extend(write.iter().flat_map(|write| &write.ips));
            }
        }
        self.note(format_args!(
            "controller {index} hears {outcome:?} for {service}"
        ));
        self.drive_controller(index, Input::Written { service, outcome });
    }

    fn drive_controller(&mut self, index: usize, input: Input) {
        let now = self.now;
        let woken = matches!(input, Input::Tick);
        let Some(host) = self.controllers.get_mut(index) else {
            return;
        };
        host.machine.handle(now, input);
        self.check_given_last(index);
        let mut drained = 0;
        while let Some(output) = self
            .controllers
            .get_mut(index)
            .and_then(|host| host.machine.poll())
        {
            match output {
                Output::Write(write) => self.controller_writes(index, write),
                Output::Event(event) => {
                    self.counts.events += 1;
                    self.note(format_args!(
                        "controller {index} event {} {}: {}",
                        event.service, event.reason, event.message
                    ));
                }
            }
            drained += 1;
            if drained > MOST_OUTPUTS {
                self.violated("outputs come to an end", format!("controller {index}"));
                return;
            }
        }
        let deadline = self
            .controllers
            .get(index)
            .and_then(|host| host.machine.deadline());
        self.set_wake(Process::Controller(index), deadline, woken);
    }

    fn controller_writes(&mut self, index: usize, write: StatusWrite) {
        if !self.may_write(index) {
            self.counts.withheld += 1;
            return;
        }
        self.counts.writes += 1;
        let StatusWrite {
            service, ips, pool, ..
        } = &write;
        self.note(format_args!(
            "controller {index} writes {service} := {ips:?} of {pool:?}"
        ));
        if let Err((invariant, detail)) = self.judge_write(index, &write) {
            self.violated(
                invariant,
                format!("controller {index}, {service} := {ips:?}: {detail}"),
            );
        }
        let Some(host) = self.controllers.get_mut(index) else {
            return;
        };
        let life = host.common.life;
        let class = self.profile.flags.class.as_deref();
        let seen = &host.common.informer.seen.services;
        let own = seen.get(service);
        let tolerated = seen
            .values()
            .filter(|other| !other.is_ours(class) || own.is_some_and(|own| may_share(own, other)));
        let tolerated = tolerated.map(|other| other.key.clone()).collect();
        host.under_way.insert(service.clone(), write.clone());
        let sent = Sent {
            status: write,
            term: host.term,
            tolerated,
        };
        self.send_write(index, life, sent);
    }

    /// What must be true of a write, given what its controller has been told.
    fn judge_write(&self, index: usize, write: &StatusWrite) -> Result<(), (&'static str, String)> {
        let Some(host) = self.controllers.get(index) else {
            return Ok(());
        };
        if !host.common.informer.is_synced() {
            return Err((
                "nothing is written before everything was read",
                String::new(),
            ));
        }
        if host.under_way.contains_key(&write.service) {
            return Err(("one write at a time for a Service", String::new()));
        }
        let seen = &host.common.informer.seen;
        let Some(service) = seen.services.get(&write.service) else {
            return Err(("a write is for a Service that is there", String::new()));
        };
        if service.is_load_balancer && service.class != self.profile.flags.class {
            return Err((
                "Services of another class are left alone",
                format!("{:?}", service.class),
            ));
        }
        let known = host.outdated.get(&write.service);
        let known = known.filter(|(version, _)| *version == write.resource_version);
        if known.is_some_and(|(_, heard)| self.now.since(*heard) < BELIEF) {
            return Err((
                "nothing is written on a version that is known to be old",
                write.resource_version.to_string(),
            ));
        }
        let outdated = host.confirmed.get(&write.service) == Some(&write.resource_version);
        if outdated || service.resource_version != write.resource_version {
            // It was decided on what is known to be gone by now, and will conflict.
            return Ok(());
        }
        let same = service.ingress == ingress(write)
            && service.allocated_from.as_deref() == write.pool.as_deref();
        if same && !host.uncertain.contains_key(&write.service) {
            return Err(("a write changes something", String::new()));
        }
        let Some(rules) = Rules::of(seen, self.profile.flags.class.as_deref()) else {
            return Ok(());
        };
        judge_addresses(&rules, service, write)?;
        self.judge_removal(index, &rules, service, write)
    }

    /// An address is taken away only when the Service may not keep it.
    fn judge_removal(
        &self,
        index: usize,
        rules: &Rules<'_>,
        service: &Service,
        write: &StatusWrite,
    ) -> Result<(), (&'static str, String)> {
        let held = addresses(service);
        let removed = held.iter().any(|ip| !write.ips.contains(ip));
        if !removed || !self.profile.elected || rules.permit(service, &held).is_err() {
            return Ok(());
        }
        let Some(host) = self.controllers.get(index) else {
            return Ok(());
        };
        let rivals = host
            .common
            .informer
            .seen
            .services
            .values()
            .filter(|other| other.key != service.key);
        let contested = rivals.clone().any(|other| {
            let others = addresses(other);
            held.iter().any(|ip| others.contains(ip)) && !may_share(service, other)
        });
        // Somebody who shares may have been let in on it, though nothing of that was written yet.
        let joined = rivals
            .filter(|other| other.sharing_key.is_some())
            .any(|other| {
                let promised = host.machine.address_of(&other.key);
                held.iter().any(|ip| promised.contains(ip))
            });
        if contested || joined {
            return Ok(());
        }
        Err((
            "a Service keeps the address that it may keep",
            format!("it holds {held:?}"),
        ))
    }

    /// What must be true once a write is in force: it gave nobody an address that somebody else has, and its controller's
    /// successor had not begun yet.
    pub(super) fn check_written(&mut self, index: usize, before: &Service, write: &Sent) {
        if !self.profile.elected {
            return;
        }
        if write.term != self.terms {
            let detail = format!("controller {index}, {}", before.key);
            self.violated("a leader's writes come before its successor", detail);
        }
        let accepted = &self.accepted;
        let tolerates = |other: &ServiceKey| {
            let theirs = accepted.get(other).map(|write| &write.tolerated);
            write.tolerated.contains(other)
                || theirs.is_some_and(|tolerated| tolerated.contains(&before.key))
        };
        let had = addresses(before);
        let class = self.profile.flags.class.as_deref();
        let mut found = Vec::new();
        for object in self.api.objects() {
            let Object::Service(other) = object else {
                continue;
            };
            if other.key == before.key || !other.is_ours(class) || tolerates(&other.key) {
                continue;
            }
            let held = addresses(other);
            let clash = write
                .status
                .ips
                .iter()
                .find(|ip| !had.contains(ip) && held.contains(ip));
            if let Some(ip) = clash {
                found.push(format!(
                    "{ip} given to {} is held by {}",
                    before.key, other.key
                ));
            }
        }
        for detail in found {
            self.violated("no address is given out twice", detail);
        }
    }
}

/// New addresses are such as the Service may have, and the annotation names their pool.
fn judge_addresses(
    rules: &Rules<'_>,
    service: &Service,
    write: &StatusWrite,
) -> Result<(), (&'static str, String)> {
    let Some(first) = write.ips.first() else {
        return Ok(());
    };
    let had = addresses(service);
    let given = write.ips.iter().find(|ip| !had.contains(ip));
    if let Some(given) = given.filter(|_| wish(service) == Wish::Unreadable) {
        return Err((
            "who asks for what cannot be read keeps what it has and gets nothing new",
            format!("{given} is new"),
        ));
    }
    let new = had != write.ips;
    let held = write
        .pool
        .as_deref()
        .is_some_and(|pool| rules.holds_on(pool));
    if new
        && !held
        && let Err(reason) = rules.permit(service, &write.ips)
    {
        return Err(("an address is one that the Service may have", reason));
    }
    match rules.pool_of(*first) {
        Some(pool) if write.pool.as_ref() != Some(&pool.name) => Err((
            "the annotation names the pool",
            format!("{:?} for {}", write.pool, pool.name),
        )),
        _ => Ok(()),
    }
}

fn new_machine(class: Option<String>) -> Controller {
    Controller::new(Settings { class })
}

/// How long a controller must wait for the newer object that it was told of, before it may think that there is none.
const BELIEF: Duration = Duration::from_secs(10);
/// More outputs to one input than any input can cause here.
const MOST_OUTPUTS: u32 = 10_000;
