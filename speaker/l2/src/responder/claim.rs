//! Foreign claims to addresses that we hold: told apart from a handover, and reported at a bounded rate.
//!
//! When an address moves between nodes, the new owner announces it before the old one has heard that it lost. So a claim
//! counts only if we still hold the address [`GRACE`] later.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::{Mac, Time};

use super::Conflict;

/// Claims heard lately, one per address at most.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_address: BTreeMap<IpAddr, Claim>,
    /// Those that wait for the end of their grace.
    waiting: BTreeSet<(Time, IpAddr)>,
}

impl Claims {
    /// `mac` says that it has `address`, which is ours.
    pub(super) fn hear(&mut self, now: Time, interface: u32, address: IpAddr, mac: Mac) {
        let quiet = self.by_address.get(&address).map(|claim| claim.quiet_until);
        if quiet.is_some_and(|until| now < until) {
            return;
        }
        let until = now + GRACE;
        let conflict = Conflict {
            interface,
            address,
            mac,
        };
        let claim = Claim {
            conflict,
            due: until,
            quiet_until: until + DEFEND_INTERVAL,
        };
        self.by_address.insert(address, claim);
        self.waiting.insert((until, address));
    }

    /// The next claim that has outlived its grace; call again until `None`.
    pub(super) fn confirm(&mut self, now: Time) -> Option<Conflict> {
        let (due, address) = *self.waiting.first()?;
        if due > now {
            return None;
        }
        self.waiting.remove(&(due, address));
        self.by_address.get(&address).map(|claim| claim.conflict)
    }

    /// When [`confirm`](Self::confirm) has something.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// `address` is not ours on `interface` any more: whoever claims it there may have it.
    pub(super) fn forget(&mut self, interface: u32, address: IpAddr) {
        let heard = self.by_address.get(&address);
        if heard.is_some_and(|claim| claim.conflict.interface == interface)
            && let Some(claim) = self.by_address.remove(&address)
        {
            self.waiting.remove(&(claim.due, address));
        }
    }

    /// Nothing is known of what was heard on `interface`.
    pub(super) fn forget_interface(&mut self, interface: u32) {
        let waiting = &mut self.waiting;
        self.by_address.retain(|address, claim| {
            let keep = claim.conflict.interface != interface;
            if !keep {
                waiting.remove(&(claim.due, *address));
            }
            keep
        });
    }
}

/// What was heard first, and is reported when it is due.
#[derive(Debug)]
struct Claim {
    conflict: Conflict,
    due: Time,
    /// What is heard before is the same news.
    quiet_until: Time,
}

/// How long a handover may take until the old owner knows.
const GRACE: Duration = Duration::from_secs(2);
/// No two defences of one address within this time (RFC 5227 §1.1).
const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
