//! The state table of RFC 4271 §8.2.2, whole.

use std::fmt;

use crate::wire::{Kind, Reason};

/// Where a connection, or a peer as a whole, is (RFC 4271 §8.2.2). Ordered by how far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Stopped, or held off after a refusal: connections of the peer are refused.
    #[default]
    Idle,
    /// Waiting for the peer to connect, or for the time to dial again.
    Active,
    /// Dialling.
    Connect,
    /// Connected; our OPEN is sent, the peer's awaited.
    OpenSent,
    /// The peer's OPEN was accepted; our KEEPALIVE is held back until BFD is up. A sub-state of OpenSent
    /// (draft-ietf-idr-bgp-bfd-strict-mode §8.1).
    BfdUpPending,
    /// The peer's OPEN was accepted; its KEEPALIVE is awaited.
    OpenConfirm,
    /// Routes are exchanged.
    Established,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What can happen (RFC 4271 §8.1); the number of the event in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The peer is to be (1, 3 to 7).
    Start,
    /// It is not to be any longer, or not now (2, 8).
    Stop,
    /// It is time to dial again, or the dialling took too long (9).
    ConnectRetryTimer,
    /// Nothing was heard for the hold time (10).
    HoldTimer,
    /// It is time for a KEEPALIVE (11).
    KeepaliveTimer,
    /// The peer was left alone long enough (13).
    IdleHoldTimer,
    /// The peer took our connection (16).
    Connected,
    /// The peer connected to us (17).
    Accepted,
    /// The connection failed, or the peer closed it (18).
    Closed,
    /// An OPEN, good or bad (19, 22).
    Open,
    /// The other of two connections stays (23).
    Collision,
    /// A NOTIFICATION (24, 25).
    Notification,
    /// A KEEPALIVE (26).
    Keepalive,
    /// An UPDATE (27, 28).
    Update,
    /// A ROUTE-REFRESH (RFC 2918).
    RouteRefresh,
    /// What arrives cannot be read (21, 22, 28).
    Malformed,
    /// The peer reads nothing (29, RFC 9687).
    SendHoldTimer,
    /// BFD has lost the peer (31 of draft-ietf-idr-bgp-bfd-strict-mode §4).
    BfdDown,
    /// BFD has come up, or need not any more (30, 32, 33).
    BfdUp,
    /// BFD has not come up in time (34).
    BfdHoldTimer,
}

impl From<Kind> for Event {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Open => Self::Open,
            Kind::Update => Self::Update,
            Kind::Notification => Self::Notification,
            Kind::Keepalive => Self::Keepalive,
            Kind::RouteRefresh => Self::RouteRefresh,
        }
    }
}

/// The types of messages by number (RFC 4271 §4.1).
const KINDS: [(u8, Kind); 5] = [
    (1, Kind::Open),
    (2, Kind::Update),
    (3, Kind::Notification),
    (4, Kind::Keepalive),
    (5, Kind::RouteRefresh),
];

/// The type that a number stands for.
pub(crate) fn kind(number: u8) -> Option<Kind> {
    let found = KINDS.iter().find(|(each, _)| *each == number);
    found.map(|(_, kind)| *kind)
}

/// The number of a type.
pub(crate) fn number(kind: Kind) -> u8 {
    let found = KINDS.iter().find(|(_, each)| *each == kind);
    found.map_or(0, |(number, _)| *number)
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Nothing.
    Ignore,
    /// Dial, or where we are passive listen: Connect or Active.
    Begin,
    /// Give up the attempt, and wait for the next: Active.
    Retry,
    /// Give up the attempt for good: Idle.
    Rest,
    /// Send OPEN on the connection, whose own machine begins: OpenSent.
    Open,
    /// Close the connection with Cease, connection rejected.
    Reject,
    /// Judge the OPEN; where it is good, and no other connection stays, send a KEEPALIVE: OpenConfirm.
    Confirm,
    /// Routes may be exchanged: Established.
    Establish,
    /// Take what the message says, and stay.
    Take,
    /// Send a KEEPALIVE, and stay.
    SendKeepalive,
    /// Send the KEEPALIVE that was held back: OpenConfirm, or Established where the peer's has come.
    Release,
    /// Close without a word, as the peer does not listen any more.
    Drop,
    /// Close with this NOTIFICATION.
    Refuse(Reason),
    /// Close with the NOTIFICATION that the fault asks for.
    RefuseFault,
    /// Close with the Cease that the reason for stopping asks for.
    Cease,
}

/// What an event means in a state (RFC 4271 §8.2.2, RFC 6608 for the subcodes, RFC 9687, draft-ietf-idr-bgp-bfd-strict-mode §8).
///
/// Three things differ from the RFC, for the better: a dial that takes too long waits before the next one, so that back-off applies;
/// an inbound connection beside a dial gets a machine of its own; and a timer that has no business in a state is ignored there.
/// Of the optional attributes of §8.1.1 there are DampPeerOscillations, PassiveTcpEstablishment and TrackTcpState; there is no
/// DelayOpen.
pub(crate) const fn action(state: State, event: Event) -> Action {
    use State::{Active, BfdUpPending, Connect, Established, Idle, OpenConfirm, OpenSent};
    match (state, event) {
        (Idle, Event::Start | Event::IdleHoldTimer) => Action::Begin,
        (Idle, Event::Accepted) => Action::Reject,

        (Active | Connect, Event::Stop) => Action::Rest,
        (Active, Event::ConnectRetryTimer) => Action::Begin,
        (Connect, Event::ConnectRetryTimer | Event::Closed) => Action::Retry,
        (Connect, Event::Connected) => Action::Open,
        (
            Active | Connect | OpenSent | BfdUpPending | OpenConfirm | Established,
            Event::Accepted,
        ) => Action::Open,

        (OpenSent, Event::Open) => Action::Confirm,
        (BfdUpPending, Event::Keepalive) => Action::Take,
        (BfdUpPending, Event::BfdUp) => Action::Release,
        (BfdUpPending, Event::BfdHoldTimer) => Action::Refuse(Reason::BFD_DOWN),
        (BfdUpPending | OpenConfirm | Established, Event::BfdDown) => {
            Action::Refuse(Reason::BFD_DOWN)
        }
        (OpenConfirm, Event::Keepalive) => Action::Establish,
        (Established, Event::Keepalive | Event::Update | Event::RouteRefresh) => Action::Take,
        (OpenConfirm | Established, Event::KeepaliveTimer) => Action::SendKeepalive,

        (OpenSent, Event::Keepalive | Event::Update | Event::RouteRefresh) => {
            Action::Refuse(Reason::UNEXPECTED_IN_OPEN_SENT)
        }
        (BfdUpPending, Event::Open | Event::Update | Event::RouteRefresh) => {
            Action::Refuse(Reason::UNEXPECTED_IN_OPEN_SENT)
        }
        (OpenConfirm, Event::Open | Event::Update | Event::RouteRefresh) => {
            Action::Refuse(Reason::UNEXPECTED_IN_OPEN_CONFIRM)
        }
        (Established, Event::Open) => Action::Refuse(Reason::UNEXPECTED_IN_ESTABLISHED),

        (OpenSent | BfdUpPending | OpenConfirm | Established, event) => closing(event),
        (Idle | Active | Connect, _) => Action::Ignore,
    }
}

/// What ends a connection in any state that has one.
const fn closing(event: Event) -> Action {
    match event {
        Event::Stop => Action::Cease,
        Event::HoldTimer => Action::Refuse(Reason::HOLD_TIMER_EXPIRED),
        Event::SendHoldTimer => Action::Refuse(Reason::SEND_HOLD_TIMER_EXPIRED),
        Event::Collision => Action::Refuse(Reason::COLLISION),
        Event::Malformed => Action::RefuseFault,
        Event::Closed | Event::Notification => Action::Drop,
        _ => Action::Ignore,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every state against every event, in the words of the table.
    #[rustfmt::skip]
    const TABLE: &[(Event, [&str; 7])] = &[
        //                            Idle      Active    Connect   OpenSent   Pending    OpenConfirm Established
        (Event::Start,             ["begin",  "-",      "-",      "-",       "-",       "-",        "-"]),
        (Event::Stop,              ["-",      "rest",   "rest",   "cease",   "cease",   "cease",    "cease"]),
        (Event::ConnectRetryTimer, ["-",      "begin",  "retry",  "-",       "-",       "-",        "-"]),
        (Event::HoldTimer,         ["-",      "-",      "-",      "4/0",     "4/0",     "4/0",      "4/0"]),
        (Event::KeepaliveTimer,    ["-",      "-",      "-",      "-",       "-",       "alive",    "alive"]),
        (Event::IdleHoldTimer,     ["begin",  "-",      "-",      "-",       "-",       "-",        "-"]),
        (Event::Connected,         ["-",      "-",      "open",   "-",       "-",       "-",        "-"]),
        (Event::Accepted,          ["reject", "open",   "open",   "open",    "open",    "open",     "open"]),
        (Event::Closed,            ["-",      "-",      "retry",  "drop",    "drop",    "drop",     "drop"]),
        (Event::Open,              ["-",      "-",      "-",      "confirm", "5/1",     "5/2",      "5/3"]),
        (Event::Collision,         ["-",      "-",      "-",      "6/7",     "6/7",     "6/7",      "6/7"]),
        (Event::Notification,      ["-",      "-",      "-",      "drop",    "drop",    "drop",     "drop"]),
        (Event::Keepalive,         ["-",      "-",      "-",      "5/1",     "take",    "up",       "take"]),
        (Event::Update,            ["-",      "-",      "-",      "5/1",     "5/1",     "5/2",      "take"]),
        (Event::RouteRefresh,      ["-",      "-",      "-",      "5/1",     "5/1",     "5/2",      "take"]),
        (Event::Malformed,         ["-",      "-",      "-",      "fault",   "fault",   "fault",    "fault"]),
        (Event::SendHoldTimer,     ["-",      "-",      "-",      "8/0",     "8/0",     "8/0",      "8/0"]),
        (Event::BfdDown,           ["-",      "-",      "-",      "-",       "6/10",    "6/10",     "6/10"]),
        (Event::BfdUp,             ["-",      "-",      "-",      "-",       "release", "-",        "-"]),
        (Event::BfdHoldTimer,      ["-",      "-",      "-",      "-",       "6/10",    "-",        "-"]),
    ];

    const STATES: [State; 7] = [
        State::Idle,
        State::Active,
        State::Connect,
        State::OpenSent,
        State::BfdUpPending,
        State::OpenConfirm,
        State::Established,
    ];

    fn word(action: Action) -> String {
        let word = match action {
            Action::Ignore => "-",
            Action::Begin => "begin",
            Action::Retry => "retry",
            Action::Rest => "rest",
            Action::Open => "open",
            Action::Reject => "reject",
            Action::Confirm => "confirm",
            Action::Establish => "up",
            Action::Take => "take",
            Action::SendKeepalive => "alive",
            Action::Release => "release",
            Action::Drop => "drop",
            Action::RefuseFault => "fault",
            Action::Cease => "cease",
            Action::Refuse(reason) => return format!("{}/{}", reason.code, reason.subcode),
        };
        word.to_owned()
    }

    #[test]
    fn every_event_means_in_every_state_what_the_rfc_says() {
        for (event, row) in TABLE {
            let found = STATES.map(|state| word(action(state, *event)));
            assert_eq!(found, row.map(str::to_owned), "{event:?}");
        }
    }

    #[test]
    fn states_are_ordered_by_how_far_they_have_come() {
        assert!(STATES.is_sorted());
    }
}
