//! What an operator is shown of a peer.

use std::collections::BTreeMap;

use ironlb_model::{Family, Time};

use super::Peer;
use crate::restart;
use crate::session::{Agreement, Cause, Count, Counters, Faults, Received, Session, Side, State};
use crate::wire::Reason;

/// A peer as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The state of the connection that has come furthest.
    pub state: State,
    /// Since when it is in that state.
    pub since: Time,
    /// How often an Established session was lost.
    pub flaps: u64,
    /// What we last closed a connection for, or could not have one.
    pub last_local_error: Option<Mishap>,
    /// What the peer last closed a connection for, in its words.
    pub last_remote_error: Option<Mishap>,
    /// Messages, over all sessions.
    pub counters: Counters,
    /// What was negotiated, when Established.
    pub agreement: Option<Agreement>,
    /// The routes that the peer announces, by the families exchanged; while it restarts, those that it last did.
    pub received: BTreeMap<Family, Count>,
    /// UPDATEs of the session that were malformed.
    pub faults: Faults,
    /// When a peer that restarts gracefully is expected back at the latest.
    pub expected_back: Option<Time>,
    /// When we dial again, where we are waiting to.
    pub next_attempt: Option<Time>,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mishap {
    /// When.
    pub at: Time,
    /// What. Prints as a sentence.
    pub cause: Cause,
}

/// What is remembered of sessions that are gone.
#[derive(Debug)]
pub(super) struct Record {
    state: State,
    since: Time,
    flaps: u64,
    last_local_error: Option<Mishap>,
    last_remote_error: Option<Mishap>,
    last_up: Option<Time>,
    restarting: Option<Absence>,
}

/// A peer that is restarting (RFC 4724 §4.2).
#[derive(Debug)]
struct Absence {
    until: Time,
    received: BTreeMap<Family, Count>,
}

impl Record {
    pub(super) const fn new(now: Time) -> Self {
        Self {
            state: State::Idle,
            since: now,
            flaps: 0,
            last_local_error: None,
            last_remote_error: None,
            last_up: None,
            restarting: None,
        }
    }

    /// The state is now this.
    pub(super) fn enter(&mut self, now: Time, state: State) {
        if state != self.state {
            (self.state, self.since) = (state, now);
        }
    }

    /// A connection has ended. Being rejected without an OPEN says nothing, and is not to hide why it came to that.
    pub(super) fn mishap(&mut self, at: Time, cause: &Cause) {
        let rejected = cause
            .notification()
            .is_some_and(|told| told.reason == Reason::CONNECTION_REJECTED);
        if rejected && self.last_remote_error.as_ref().map(|last| last.at) > self.last_up {
            return;
        }
        let last = match cause.side() {
            Side::Local => &mut self.last_local_error,
            Side::Remote => &mut self.last_remote_error,
        };
        let cause = cause.clone();
        *last = Some(Mishap { at, cause });
    }

    /// A session has ended that was Established.
    pub(super) fn lost(&mut self, now: Time, session: &Session, cause: &Cause) {
        self.flaps = self.flaps.saturating_add(1);
        let agreement = session.agreement();
        let until = agreement.and_then(|agreement| restart::expected_back(now, agreement, cause));
        self.restarting = until.map(|until| Absence {
            until,
            received: counts(session),
        });
    }

    /// A session is up.
    pub(super) fn up(&mut self, now: Time) {
        self.last_up = Some(now);
        self.restarting = None;
    }

    /// The peer is not to be any longer.
    pub(super) fn stopped(&mut self) {
        self.restarting = None;
    }

    /// Forgets a peer that did not come back in time.
    pub(super) fn tick(&mut self, now: Time) {
        self.restarting.take_if(|absence| absence.until <= now);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.restarting.as_ref().map(|absence| absence.until)
    }
}

impl Peer {
    /// What an operator is shown of it.
    pub fn status(&self) -> Status {
        let session = self.established();
        let absence = self.record.restarting.as_ref();
        let last_known = || absence.map(|absence| absence.received.clone());
        Status {
            state: self.state(),
            since: self.record.since,
            flaps: self.record.flaps,
            last_local_error: self.record.last_local_error.clone(),
            last_remote_error: self.record.last_remote_error.clone(),
            counters: self.out.counters(),
            agreement: session.and_then(Session::agreement).cloned(),
            received: session.map(counts).or_else(last_known).unwrap_or_default(),
            faults: session
                .and_then(Session::received)
                .map(Received::faults)
                .unwrap_or_default(),
            expected_back: absence.map(|absence| absence.until),
            next_attempt: self.next_attempt(),
        }
    }
}

fn counts(session: &Session) -> BTreeMap<Family, Count> {
    let (Some(agreement), Some(received)) = (session.agreement(), session.received()) else {
        return BTreeMap::new();
    };
    let exchanged = Family::ALL
        .into_iter()
        .filter(|family| agreement.wire.exchanges(*family));
    exchanged
        .map(|family| (family, received.count(family)))
        .collect()
}
