//! What the controller knows of one Service: the object as last seen, and how far the writes to it have come.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::{Ingress, Name, Service, Time};

use crate::decide::{Notice, Wanted};
use crate::refusal::Refusal;
use crate::terms::{published_addresses, status_is};
use crate::waiting::Turn;

/// A Service that is, or was, or may become our business.
#[derive(Debug)]
pub(crate) struct Record {
    /// As the API has it, by the newest that we know.
    pub(crate) service: Box<Service>,
    pub(crate) turn: Turn,
    pub(crate) wanted: Wanted,
    pub(crate) refusal: Option<Refusal>,
    /// Addresses of its status that it does not hold, as the allocator was told.
    pub(crate) published: Vec<IpAddr>,
    /// A write of ours succeeded on the version that `service` has, so the API has a newer one.
    superseded: bool,
    /// Addresses in writes of which we do not know whether they happened, and the version that the last was for.
    attempted: Option<(Vec<IpAddr>, Arc<str>)>,
    /// No write until then.
    pub(crate) pause: Option<Pause>,
    failures: u32,
    told: Vec<(&'static str, String)>,
}

/// Why nothing is written for now.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pause {
    /// A write failed.
    Backoff(Time),
    /// The version that we know is not the current one. It should arrive by itself, long before the time is up.
    Outdated(Time),
}

impl Pause {
    pub(crate) const fn until(self) -> Time {
        match self {
            Self::Backoff(until) | Self::Outdated(until) => until,
        }
    }
}

impl Record {
    pub(crate) fn new(service: Box<Service>, arrival: u64) -> Self {
        Self {
            turn: Turn::new(&service, arrival),
            service,
            wanted: Wanted::Leave,
            refusal: None,
            published: Vec::new(),
            superseded: false,
            attempted: None,
            pause: None,
            failures: 0,
            told: Vec::new(),
        }
    }

    /// Whether an object that arrives is older than what we know, as after a list from a lagging cache.
    pub(crate) fn is_newer_than(&self, service: &Service) -> bool {
        let (known, arrived) = (&self.service.resource_version, &service.resource_version);
        if known.is_empty() || arrived.is_empty() {
            return false;
        }
        (self.superseded && known == arrived)
            || matches!((number(known), number(arrived)), (Some(known), Some(arrived)) if arrived < known)
    }

    /// Whether an object that arrives is another one under the same name.
    pub(crate) fn is_other_than(&self, service: &Service) -> bool {
        !self.service.uid.is_empty() && !service.uid.is_empty() && self.service.uid != service.uid
    }

    /// Takes in an object that is not older; `true` when it is newer. `writing` is whether a write is under way.
    pub(crate) fn see(&mut self, service: Box<Service>, writing: bool) -> bool {
        if let Some((_, version)) = &self.attempted {
            let arrived = &service.resource_version;
            let settled = if arrived.is_empty() {
                !writing
            } else {
                supersedes(arrived, version)
            };
            if settled {
                self.attempted = None;
            }
        }
        let is_same = !service.resource_version.is_empty()
            && service.resource_version == self.service.resource_version;
        self.superseded &= is_same;
        self.service = service;
        !is_same
    }

    /// Whether there were writes of which we do not know whether they happened, or will.
    pub(crate) const fn is_uncertain(&self) -> bool {
        self.attempted.is_some()
    }

    /// The addresses that its status has, or may have.
    pub(crate) fn may_have(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<IpAddr> = published_addresses(&self.service).collect();
        addresses.extend(self.attempted.iter().flat_map(|(addresses, _)| addresses));
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// What to write, when there is something.
    pub(crate) fn unwritten(&self) -> Option<(&[IpAddr], Option<&Name>)> {
        let Wanted::Status(addresses, pool) = &self.wanted else {
            return None;
        };
        let pool = pool.as_ref();
        let settled = status_is(&self.service, addresses, pool) && self.attempted.is_none();
        (!settled).then_some((addresses.as_slice(), pool))
    }

    /// Notes that a write of these addresses may happen from now on.
    pub(crate) fn attempt(&mut self, addresses: &[IpAddr]) {
        let version = Arc::clone(&self.service.resource_version);
        let (mut all, _) = self
            .attempted
            .take()
            .unwrap_or_else(|| (Vec::new(), Arc::clone(&version)));
        all.extend(addresses);
        all.sort_unstable();
        all.dedup();
        self.attempted = Some((all, version));
    }

    /// Notes that a write on `version` is in force.
    pub(crate) fn written(
        &mut self,
        version: &Arc<str>,
        addresses: &[IpAddr],
        pool: Option<&Name>,
    ) {
        self.failures = 0;
        if self.service.resource_version != *version {
            return;
        }
        let entry = |address: &IpAddr| Ingress {
            ip: address.to_string(),
            hostname: String::new(),
        };
        self.service.ingress = addresses.iter().map(entry).collect();
        self.service.allocated_from = pool.map(|pool| pool.to_string());
        self.superseded = !version.is_empty();
        self.attempted = None;
    }

    /// Whether the API has a newer version than we know, by a write of ours.
    pub(crate) const fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// How long to wait after one more failure.
    pub(crate) fn back_off(&mut self) -> Duration {
        let wait = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        wait.min(LONGEST_BACKOFF)
    }

    /// Whether to tell the operator; not twice the same while nothing has changed.
    pub(crate) fn is_news(&mut self, notice: &Notice) -> bool {
        let told = self.told.iter_mut().find(|told| told.0 == notice.reason);
        match told {
            Some((_, message)) if *message == notice.message => false,
            Some((_, message)) => {
                message.clone_from(&notice.message);
                true
            }
            None => {
                self.told.push((notice.reason, notice.message.clone()));
                true
            }
        }
    }

    /// Forgets what was told but holds no longer.
    pub(crate) fn forget_told(&mut self, still: &[Notice]) {
        self.told
            .retain(|(reason, _)| still.iter().any(|notice| notice.reason == *reason));
    }
}

/// Whether version `one` comes after `other`. Kubernetes' versions are numbers that grow; for other strings, different
/// must do.
fn supersedes(one: &str, other: &str) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one > other,
        _ => one != other,
    }
}

fn number(version: &str) -> Option<u64> {
    version.parse().ok()
}

const FIRST_BACKOFF: Duration = Duration::from_millis(250);
const LONGEST_BACKOFF: Duration = Duration::from_secs(60);
