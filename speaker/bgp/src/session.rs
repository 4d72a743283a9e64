//! One connection from its OPEN to its end: OpenSent, OpenConfirm, Established (RFC 4271 §8.2.2).
//!
//! What comes before there is a connection, and what two connections mean for each other, is the [`Peer`](crate::Peer)'s.

mod agreement;
mod cause;
mod ending;
mod heard;
mod outbox;
mod received;
mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::{Family, Time};

pub use agreement::Agreement;
pub(crate) use agreement::{Offer, Refusal};
pub use cause::{Cause, Side};
use heard::Heard;
pub(crate) use outbox::Outbox;
pub use outbox::{Counters, Messages};
pub(crate) use received::Received;
pub use received::{Count, Faults};
pub use table::State;
pub(crate) use table::{Action, Event, action};

use crate::io::Connection;
use crate::timers::{Timer, Timers};
use crate::wire::{Error, Framer, Notification, Open, RefreshKind, RouteRefresh, encode_keepalive};

/// A connection on which our OPEN has been sent.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    local: SocketAddr,
    remote: SocketAddr,
    began: Time,
    offer: Offer,
    phase: Phase,
    framer: Framer,
    timers: Timers,
    /// How many bytes the system may not have taken yet.
    outstanding: usize,
    /// A KEEPALIVE is due as soon as it has.
    keepalive_waits: bool,
    maximum_prefixes: Option<u32>,
}

/// How far it has come, with what is known there.
#[derive(Debug)]
enum Phase {
    OpenSent,
    BfdUpPending(Box<Pending>),
    OpenConfirm(Box<Agreement>),
    Established(Box<Established>),
}

/// A session that waits for BFD.
#[derive(Debug)]
struct Pending {
    agreement: Agreement,
    /// Whether the peer's KEEPALIVE has come: its BFD was up first.
    confirmed: bool,
}

#[derive(Debug)]
struct Established {
    agreement: Agreement,
    since: Time,
    received: Received,
}

/// What a step of a session means for its peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing.
    Continue,
    /// The peer's OPEN is good: two connections may be one too many now. One that stays is to be
    /// [confirmed](Session::send_keepalive), or where it [waits](Session::waits_for_bfd) for BFD [held](Session::hold_for_bfd).
    Opened,
    /// The session is up.
    Established,
    /// The peer wants all routes of a family again.
    Resend { family: Family, framed: bool },
    /// It is over: closed, and to be forgotten.
    Ended(Cause),
}

impl Session {
    /// Sends our OPEN on a new connection.
    pub(crate) fn open(
        now: Time,
        connection: Connection,
        (local, remote): (SocketAddr, SocketAddr),
        offer: Offer,
        maximum_prefixes: Option<u32>,
        out: &mut Outbox,
    ) -> Self {
        let mut framer = Framer::new();
        framer.set_extended(offer.open.capabilities.extended_message);
        let mut session = Self {
            connection,
            local,
            remote,
            began: now,
            offer,
            phase: Phase::OpenSent,
            framer,
            timers: Timers::default(),
            outstanding: 0,
            keepalive_waits: false,
            maximum_prefixes,
        };
        let mut bytes = Vec::new();
        session.offer.open.encode(&mut bytes);
        session.send(now, bytes.into(), out);
        session.timers.set(Timer::Hold, now, OPEN_HOLD_TIME);
        session
    }

    pub(crate) const fn connection(&self) -> Connection {
        self.connection
    }

    pub(crate) const fn began(&self) -> Time {
        self.began
    }

    pub(crate) const fn offer(&self) -> &Offer {
        &self.offer
    }

    pub(crate) const fn remote(&self) -> SocketAddr {
        self.remote
    }

    pub(crate) const fn state(&self) -> State {
        match self.phase {
            Phase::OpenSent => State::OpenSent,
            Phase::BfdUpPending(_) => State::BfdUpPending,
            Phase::OpenConfirm(_) => State::OpenConfirm,
            Phase::Established(_) => State::Established,
        }
    }

    /// What was agreed on, once the peer's OPEN is there.
    pub(crate) const fn agreement(&self) -> Option<&Agreement> {
        match &self.phase {
            Phase::OpenSent => None,
            Phase::BfdUpPending(pending) => Some(&pending.agreement),
            Phase::OpenConfirm(agreement) => Some(agreement),
            Phase::Established(established) => Some(&established.agreement),
        }
    }

    /// Since when it is Established.
    pub(crate) const fn established(&self) -> Option<Time> {
        match &self.phase {
            Phase::Established(established) => Some(established.since),
            Phase::OpenSent | Phase::BfdUpPending(_) | Phase::OpenConfirm(_) => None,
        }
    }

    /// What the peer has announced.
    pub(crate) const fn received(&self) -> Option<&Received> {
        match &self.phase {
            Phase::Established(established) => Some(&established.received),
            Phase::OpenSent | Phase::BfdUpPending(_) | Phase::OpenConfirm(_) => None,
        }
    }

    /// The timer that goes off first.
    pub(crate) fn deadline(&self) -> Option<(Time, Timer)> {
        self.timers.next()
    }

    /// Takes what arrived. Call [`step`](Self::step) until `None`.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
    }

    /// One message of what arrived; `None` when there is no whole one left.
    pub(crate) fn step(&mut self, now: Time, out: &mut Outbox) -> Option<Outcome> {
        match self.hear(out) {
            Ok(None) => None,
            Ok(Some((action, heard))) => Some(self.act(now, action, heard, out)),
            Err(error) => Some(self.malformed(now, &error, out)),
        }
    }

    /// One timer that has gone off; `None` when there is none left.
    pub(crate) fn tick(&mut self, now: Time, out: &mut Outbox) -> Option<Outcome> {
        let timer = self.timers.expired(now)?;
        let event = match timer {
            Timer::Hold => Event::HoldTimer,
            Timer::Keepalive => Event::KeepaliveTimer,
            Timer::SendHold => Event::SendHoldTimer,
            Timer::BfdHold => Event::BfdHoldTimer,
        };
        Some(match action(self.state(), event) {
            Action::SendKeepalive => {
                self.send_keepalive(now, out);
                Outcome::Continue
            }
            Action::Refuse(reason) => {
                self.end(now, Notification::new(reason), self.silence(timer), out)
            }
            _ => Outcome::Continue,
        })
    }

    /// The system has taken all that was to be sent.
    pub(crate) fn drained(&mut self, now: Time, out: &mut Outbox) {
        self.outstanding = 0;
        self.timers.stop(Timer::SendHold);
        if self.keepalive_waits {
            self.send_keepalive(now, out);
        }
    }

    /// Whether UPDATEs may be sent now: not while much of what was sent has not gone yet.
    pub(crate) const fn has_room(&self) -> bool {
        matches!(self.phase, Phase::Established(_)) && self.outstanding < ROOM
    }

    /// Sends whole messages.
    pub(crate) fn send(&mut self, now: Time, bytes: Arc<[u8]>, out: &mut Outbox) {
        self.outstanding = self.outstanding.saturating_add(bytes.len());
        let agreed = self
            .agreement()
            .map(|agreed| (agreed.hold_time, agreed.keepalive_time));
        if let Some((hold_time, keepalive_time)) = agreed {
            if !self.timers.is_running(Timer::SendHold) {
                self.timers
                    .set(Timer::SendHold, now, send_hold_time(hold_time));
            }
            self.timers
                .set(Timer::Keepalive, now, out.jitter(keepalive_time));
        }
        out.send(self.connection, bytes);
    }

    /// Takes over what can change while it is up.
    ///
    /// # Errors
    /// What it ended with, when the peer has announced too much by the new maximum.
    pub(crate) fn retune(
        &mut self,
        now: Time,
        offer: Offer,
        maximum_prefixes: Option<u32>,
        out: &mut Outbox,
    ) -> Result<(), Outcome> {
        self.maximum_prefixes = maximum_prefixes;
        self.offer = offer;
        let keepalive_time = self.offer.keepalive_time;
        let exceeded = match &mut self.phase {
            Phase::OpenSent => Ok(()),
            Phase::BfdUpPending(pending) => {
                pending.agreement.set_keepalive_time(keepalive_time);
                Ok(())
            }
            Phase::OpenConfirm(agreement) => {
                agreement.set_keepalive_time(keepalive_time);
                Ok(())
            }
            Phase::Established(established) => {
                established.agreement.set_keepalive_time(keepalive_time);
                established.received.set_maximum(maximum_prefixes)
            }
        };
        if let Some(agreement) = self.agreement() {
            let keepalive_time = out.jitter(agreement.keepalive_time);
            self.timers.set(Timer::Keepalive, now, keepalive_time);
        }
        exceeded.map_err(|exceeded| self.exceeded(now, exceeded, out))
    }

    /// Reads the next message as far as the state has a use for it.
    fn hear(&mut self, out: &mut Outbox) -> Result<Option<(Action, Heard)>, Error> {
        let state = self.state();
        let Self { framer, phase, .. } = self;
        let Some(frame) = framer.next()? else {
            return Ok(None);
        };
        out.received(frame.kind);
        let action = action(state, frame.kind.into());
        let heard = match action {
            Action::Refuse(_) => Heard::Unread(frame.kind),
            _ => Heard::read(frame, phase)?,
        };
        Ok(Some((action, heard)))
    }

    fn act(&mut self, now: Time, action: Action, heard: Heard, out: &mut Outbox) -> Outcome {
        match (action, heard) {
            (Action::Confirm, Heard::Open(open)) => self.confirm(now, &open, out),
            (Action::Establish, _) => self.establish(now),
            (Action::Take, heard) => self.take(now, heard, out),
            (Action::Drop, Heard::Notification(notification)) => {
                out.close(self.connection);
                Outcome::Ended(Cause::Received(notification))
            }
            (Action::Refuse(reason), Heard::Unread(kind)) => {
                self.unexpected(now, reason, kind, out)
            }
            _ => Outcome::Continue,
        }
    }

    fn confirm(&mut self, now: Time, open: &Open, out: &mut Outbox) -> Outcome {
        match self.offer.judge(open, self.local, self.remote) {
            Ok(agreement) => {
                // Without a hold time the KEEPALIVE would be waited for without end, and other connections refused for it.
                let hold_time = match agreement.hold_time {
                    Duration::ZERO => OPEN_HOLD_TIME,
                    agreed => agreed,
                };
                self.timers.set(Timer::Hold, now, hold_time);
                self.phase = Phase::OpenConfirm(Box::new(agreement));
                Outcome::Opened
            }
            Err(Refusal { notification, why }) => self.end(now, notification, why, out),
        }
    }

    fn establish(&mut self, now: Time) -> Outcome {
        if let Phase::OpenConfirm(agreement) = &self.phase {
            let agreement = Agreement::clone(agreement);
            self.timers.set(Timer::Hold, now, agreement.hold_time);
            self.phase = Phase::Established(Box::new(Established {
                agreement,
                since: now,
                received: Received::new(self.maximum_prefixes),
            }));
        }
        Outcome::Established
    }

    fn take(&mut self, now: Time, heard: Heard, out: &mut Outbox) -> Outcome {
        match heard {
            Heard::Keepalive | Heard::Update(Ok(())) => {
                if let Phase::BfdUpPending(pending) = &mut self.phase {
                    pending.confirmed = true;
                }
                self.heard_from(now);
                Outcome::Continue
            }
            Heard::Update(Err(exceeded)) => self.exceeded(now, exceeded, out),
            Heard::RouteRefresh(refresh) => self.refresh(refresh),
            Heard::Open(_) | Heard::Notification(_) | Heard::Unread(_) => Outcome::Continue,
        }
    }

    /// A peer may ask for routes as we offered that; of a family that is not exchanged it is ignored (RFC 2918 §4). Begin and
    /// end are known where both sides know them (RFC 7313 §4).
    fn refresh(&mut self, refresh: RouteRefresh) -> Outcome {
        let offered = self.offer.open.capabilities.route_refresh;
        let Phase::Established(established) = &mut self.phase else {
            return Outcome::Continue;
        };
        let framed = established.agreement.enhanced_route_refresh;
        let wire = established.agreement.wire;
        let family = refresh.family.family();
        match (
            family.filter(|family| wire.exchanges(*family)),
            refresh.kind,
        ) {
            (Some(family), RefreshKind::Request) if offered => Outcome::Resend { family, framed },
            (Some(family), kind) if framed => {
                established.received.refreshed(family, kind);
                Outcome::Continue
            }
            _ => Outcome::Continue,
        }
    }

    fn heard_from(&mut self, now: Time) {
        let hold_time = self
            .agreement()
            .map_or(Duration::ZERO, |agreed| agreed.hold_time);
        self.timers.set(Timer::Hold, now, hold_time);
    }

    /// Whether our KEEPALIVE is to be held back while BFD is not up: both sides have asked for that.
    pub(crate) fn waits_for_bfd(&self) -> bool {
        self.agreement()
            .is_some_and(|agreement| agreement.bfd_strict)
    }

    /// The peer is welcome, but BFD is not up yet. The hold time bounds the wait, and where there is none a time of its own
    /// (draft-ietf-idr-bgp-bfd-strict-mode §8.5.5).
    pub(crate) fn hold_for_bfd(&mut self, now: Time) {
        let Phase::OpenConfirm(agreement) = &self.phase else {
            return;
        };
        if agreement.hold_time.is_zero() {
            self.timers.set(Timer::BfdHold, now, BFD_HOLD_TIME);
        }
        let agreement = Agreement::clone(agreement);
        let confirmed = false;
        self.phase = Phase::BfdUpPending(Box::new(Pending {
            agreement,
            confirmed,
        }));
    }

    /// BFD has come up (§8.5.1).
    pub(crate) fn bfd_up(&mut self, now: Time, out: &mut Outbox) -> Outcome {
        if action(self.state(), Event::BfdUp) != Action::Release {
            return Outcome::Continue;
        }
        let Phase::BfdUpPending(pending) = &self.phase else {
            return Outcome::Continue;
        };
        let confirmed = pending.confirmed;
        self.timers.stop(Timer::BfdHold);
        self.phase = Phase::OpenConfirm(Box::new(pending.agreement.clone()));
        self.send_keepalive(now, out);
        match confirmed {
            true => self.establish(now),
            false => Outcome::Continue,
        }
    }

    /// BFD has lost the peer. What is not up yet ends only where it had to wait for BFD (§8.6.2).
    pub(crate) fn bfd_down(&mut self, now: Time, out: &mut Outbox) -> Outcome {
        let minds = self.state() == State::Established || self.waits_for_bfd();
        match action(self.state(), Event::BfdDown) {
            Action::Refuse(reason) if minds => {
                let notification = Notification::new(reason);
                self.end(now, notification, "BFD has lost the peer", out)
            }
            _ => Outcome::Continue,
        }
    }

    /// Now, or where the peer has not read yet what we sent before, as soon as it has: one is enough then.
    pub(crate) fn send_keepalive(&mut self, now: Time, out: &mut Outbox) {
        let waits = self.outstanding > 0 && matches!(self.phase, Phase::Established(_));
        self.keepalive_waits = waits;
        if waits {
            return;
        }
        let mut bytes = Vec::new();
        encode_keepalive(&mut bytes);
        self.send(now, bytes.into(), out);
    }
}

/// RFC 9687 §3.3: no shorter than eight minutes, or twice the hold time. Without a hold time there is none.
fn send_hold_time(hold_time: Duration) -> Duration {
    if hold_time.is_zero() {
        return Duration::ZERO;
    }
    SEND_HOLD_TIME.max(hold_time.saturating_mul(2))
}

/// The hold time until the OPENs have been exchanged (RFC 4271 §8.2.2).
const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);
/// How long BFD may take without a hold time (draft-ietf-idr-bgp-bfd-strict-mode §3).
const BFD_HOLD_TIME: Duration = Duration::from_secs(30);
/// The shortest send hold time.
const SEND_HOLD_TIME: Duration = Duration::from_secs(480);
/// How much is on its way, at most, when more is asked for: enough for one write, and little that could be out of date.
const ROOM: usize = 65_536;
