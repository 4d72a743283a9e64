//! Who leads: one controller at a time, by a Kubernetes Lease.
//!
//! The rules are those of Kubernetes' own components, so that any of them would understand ours. Clocks of different
//! machines are never compared: whether a leader is gone is judged by how long, on our own clock, its record has not
//! changed since we saw it change. Reading and writing the Lease is the shell's.
//!
//! What keeps two controllers apart is time alone. A leader begins nothing once `renew_deadline` has passed on its own
//! clock since before it sent its last renewal. What it began by then must be in force in less than what is left of
//! `duration`, or never; the shell asks the API server for that. And nobody else leads before `duration` has passed since
//! that renewal was seen. A resource version is no help: it guards one Service, and an address that is given twice is in
//! two. Should a request be held up on its way for longer all the same, whoever leads then sees both and moves one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::Time;

use crate::io::WriteOutcome;

/// What is fixed for the life of an [`Election`].
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who we are (`holderIdentity`): no other process that runs has the same. A successor may: it then need not wait
    /// until the Lease expires, but only for the last writes of its predecessor.
    pub identity: Arc<str>,
    /// How long others leave us the lead after our last sign of life (`leaseDurationSeconds`).
    pub duration: Duration,
    /// How long we go on leading without having renewed. Must be shorter than `duration`: what is left is for writes that
    /// were begun in time to come into force, and for clocks that do not run alike.
    pub renew_deadline: Duration,
    /// The longest time between two attempts to renew, or to take over. Each is shortened at random by up to a half, so
    /// that candidates who were started together do not go on asking and writing together.
    pub retry: Duration,
    /// What the shortening follows from; another for every process.
    pub seed: u64,
}

impl Settings {
    /// The times that Kubernetes' own components use: 15 s, 10 s, 2 s.
    pub fn new(identity: impl Into<Arc<str>>, seed: u64) -> Self {
        Self {
            identity: identity.into(),
            duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
            seed,
        }
    }

    /// How long after the lead has ended a write that was begun before may still come into force.
    fn grace(&self) -> Duration {
        self.duration.saturating_sub(self.renew_deadline)
    }
}

/// A Lease as the API has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// `spec.holderIdentity`; empty when it was given up.
    pub holder: Arc<str>,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
    /// `spec.renewTime` as text, only to see that it changes.
    pub renewed: Arc<str>,
    /// `spec.leaseTransitions`.
    pub transitions: u32,
    /// `metadata.resourceVersion`.
    pub resource_version: Arc<str>,
}

/// A write of the Lease. The shell stamps `renewTime` with its clock, and `acquireTime` too when `acquires` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseWrite {
    /// `spec.holderIdentity`; empty to give the lead up.
    pub holder: Arc<str>,
    /// `spec.leaseDurationSeconds`.
    pub duration: Duration,
    /// `spec.leaseTransitions`.
    pub transitions: u32,
    /// Whether the holder is new.
    pub acquires: bool,
    /// The version that the write must fail without; `None` to create the Lease.
    pub resource_version: Option<Arc<str>>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The Lease was read; `None` when there is none.
    Read(Option<Lease>),
    /// The Lease could not be read.
    ReadFailed,
    /// A [`LeaseWrite`] came to its end.
    Written(WriteOutcome),
    /// We are about to end: give the lead up. What was under way no longer matters; a last read may follow, and a write.
    Leave,
    /// The time of [`deadline`](Election::deadline) has come; harmless when early.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read the Lease; answer with [`Input::Read`] or [`Input::ReadFailed`].
    Read,
    /// Write the Lease; answer with [`Input::Written`].
    Write(LeaseWrite),
    /// We lead from now on.
    Lead,
    /// We do not lead any more: nothing may be written from now on, not even what is under way.
    StopLeading,
}

/// The election of a leader, as one candidate sees it.
#[derive(Debug)]
pub struct Election {
    settings: Settings,
    /// When the last renewal that succeeded was begun, while we lead.
    leading: Option<Time>,
    seen: Option<Seen>,
    under_way: Option<UnderWay>,
    next: Time,
    /// Not before then do we lead by a Lease that is ours already: what we, or a predecessor of our name, wrote last may
    /// still be on its way until then.
    settled: Option<Time>,
    /// State of the random numbers (splitmix64).
    random: u64,
    leaving: bool,
    outputs: VecDeque<Output>,
}

/// The Lease of another, and since when it has not changed.
#[derive(Debug)]
struct Seen {
    lease: Lease,
    since: Time,
}

#[derive(Clone, Copy, Debug)]
enum UnderWay {
    Read {
        begun: Time,
    },
    /// Whether it `acquires` a Lease that was not ours.
    Write {
        begun: Time,
        acquires: bool,
    },
}

impl Election {
    /// A candidate that begins at once.
    pub fn new(settings: Settings) -> Self {
        Self {
            random: settings.seed,
            settings,
            leading: None,
            seen: None,
            under_way: None,
            next: Time::ZERO,
            settled: None,
            leaving: false,
            outputs: VecDeque::new(),
        }
    }

    /// Takes in everything that happens.
    pub fn handle(&mut self, now: Time, input: Input) {
        if self.settled.is_none() {
            self.settled = Some(now + self.settings.grace());
        }
        self.stop_when_late(now);
        match input {
            Input::Read(lease) => self.read(now, lease),
            Input::ReadFailed => self.try_again(now),
            Input::Written(outcome) => self.written(now, outcome),
            Input::Leave => self.leave(now),
            Input::Tick => {}
        }
        self.stop_when_late(now);
        if self.under_way.is_none() && !self.leaving && now >= self.next {
            self.under_way = Some(UnderWay::Read { begun: now });
            self.outputs.push_back(Output::Read);
        }
    }

    /// The next thing to do; drain until `None` after every [`handle`](Self::handle).
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`]; `None` when there is nothing to wait for.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        let waits = self.under_way.is_none() && !self.leaving;
        let next = waits.then_some(self.next);
        next.into_iter().chain(self.leads_until()).min()
    }

    /// Whether we lead.
    pub const fn is_leading(&self) -> bool {
        self.leading.is_some()
    }

    /// Until when we lead unless we renew before; `None` when we do not lead. Nothing may be begun later, also when nobody
    /// has said [`Output::StopLeading`] yet: a process that was stopped for a while hears of that only after it goes on.
    #[must_use]
    pub fn leads_until(&self) -> Option<Time> {
        Some(self.leading? + self.settings.renew_deadline)
    }

    fn stop_when_late(&mut self, now: Time) {
        if self.leads_until().is_some_and(|end| now >= end) {
            self.stop(now);
        }
    }

    fn stop(&mut self, now: Time) {
        if self.leading.take().is_some() {
            self.settled = Some(now + self.settings.grace());
            self.outputs.push_back(Output::StopLeading);
        }
    }

    fn try_again(&mut self, now: Time) {
        self.under_way = None;
        let shortened = self.settings.retry.mul_f64(self.fraction() / 2.0);
        self.next = now + self.settings.retry.saturating_sub(shortened);
    }

    /// A number from 0 to 1 (splitmix64).
    fn fraction(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        f64::from(u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }

    fn read(&mut self, now: Time, lease: Option<Lease>) {
        let Some(UnderWay::Read { begun }) = self.under_way else {
            return;
        };
        self.try_again(now);
        if self.leaving {
            self.give_up(lease);
            return;
        }
        let Some(lease) = lease else {
            // Who led may not have noticed yet that somebody deleted it.
            if !self
                .seen
                .as_ref()
                .is_some_and(|seen| self.is_left_to(seen, begun))
            {
                self.seen = None;
                self.write(now, None);
            }
            return;
        };
        let ours = lease.holder == self.settings.identity;
        if !ours {
            self.stop(now);
        }
        let seen = self.seen.take();
        let unchanged = seen.filter(|seen| is_same_sign_of_life(&seen.lease, &lease));
        // A change counts from when its reading ended, and time without one until a reading began: both err on the
        // leader's side.
        let since = unchanged.map_or(now, |seen| seen.since);
        let seen = Seen { lease, since };
        if !self.is_left_to(&seen, begun) {
            self.write(now, Some(&seen.lease));
        }
        self.seen = Some(seen);
    }

    /// Whether the lead is another's at `time`, or may be.
    fn is_left_to(&self, seen: &Seen, time: Time) -> bool {
        let holder = &seen.lease.holder;
        let others = *holder != self.settings.identity && !holder.is_empty();
        others && time < seen.since + seen.lease.duration
    }

    fn write(&mut self, now: Time, lease: Option<&Lease>) {
        let acquires = lease.is_none_or(|lease| lease.holder != self.settings.identity);
        let transitions = lease.map_or(0, |lease| lease.transitions);
        self.outputs.push_back(Output::Write(LeaseWrite {
            holder: Arc::clone(&self.settings.identity),
            duration: self.settings.duration,
            transitions: transitions.saturating_add(u32::from(acquires && lease.is_some())),
            acquires,
            resource_version: lease.map(|lease| Arc::clone(&lease.resource_version)),
        }));
        self.under_way = Some(UnderWay::Write {
            begun: now,
            acquires,
        });
    }

    fn written(&mut self, now: Time, outcome: WriteOutcome) {
        let Some(UnderWay::Write { begun, acquires }) = self.under_way else {
            return;
        };
        self.try_again(now);
        let inherits = !acquires && self.leading.is_none();
        if let Some(settled) = self.settled.filter(|settled| inherits && now < *settled) {
            self.next = self.next.min(settled);
            return;
        }
        let in_time = now < begun + self.settings.renew_deadline;
        if outcome == WriteOutcome::Done && in_time && !self.leaving {
            if self.leading.is_none() {
                self.outputs.push_back(Output::Lead);
            }
            self.leading = Some(begun);
        }
    }

    /// Stops leading. To let another take over at once, instead of after the lease's duration, the Lease is read a last
    /// time, for its version, and given up.
    fn leave(&mut self, now: Time) {
        let led = self.is_leading();
        self.leaving = true;
        self.stop(now);
        if led {
            self.under_way = Some(UnderWay::Read { begun: now });
            self.outputs.push_back(Output::Read);
        }
    }

    fn give_up(&mut self, lease: Option<Lease>) {
        let ours = lease.filter(|lease| lease.holder == self.settings.identity);
        if let Some(lease) = ours {
            self.outputs.push_back(Output::Write(LeaseWrite {
                holder: "".into(),
                duration: Duration::from_secs(1),
                transitions: lease.transitions,
                acquires: false,
                resource_version: Some(lease.resource_version),
            }));
        }
    }
}

fn is_same_sign_of_life(one: &Lease, other: &Lease) -> bool {
    one.holder == other.holder
        && one.renewed == other.renewed
        && one.transitions == other.transitions
        && one.duration == other.duration
}

#[cfg(test)]
mod tests;
