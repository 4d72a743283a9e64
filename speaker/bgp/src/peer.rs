//! A peer: dialling, the connections to it, and the one session that comes of them (RFC 4271 §8).

mod connections;
mod dial;
mod settings;
mod status;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::Time;

use dial::{Backoff, CONNECT_TIMEOUT, Dial, soon};
pub use settings::{Settings, Transport};
use status::Record;
pub use status::{Mishap, Status};

use crate::io::{Connection, Input, Output};
use crate::restart::{Restarting, Stop};
use crate::session::{Action, Cause, Event, Outbox, Session, State, action};
use crate::wire::{Notification, Reason};

/// Keeps a session with one peer.
///
/// Give it what happens ([`handle`](Self::handle)) and what a connection brings ([`receive`](Self::receive)); after each, drain
/// [`poll`](Self::poll) until `None`, and while it [has room](Self::has_room), [`send`](Self::send) it routes; come back at
/// [`deadline`](Self::deadline). It begins Idle: nothing happens before [`Input::Start`].
#[derive(Debug)]
pub struct Peer {
    settings: Settings,
    dial: Dial,
    backoff: Backoff,
    /// Those on which our OPEN was sent: at most one outbound, one inbound, and one Established.
    sessions: BTreeMap<Connection, Session>,
    /// The number of the next outbound connection.
    number: u64,
    /// Whether BFD has come up, and has not lost the peer since.
    bfd_up: bool,
    /// Whether the peer refused capabilities, and is tried without (RFC 5492 §3).
    plain: bool,
    restarting: Restarting,
    record: Record,
    out: Outbox,
}

impl Peer {
    /// One that is Idle.
    ///
    /// `seed` varies jitter between peers and nodes. `restarted` says that the speaker before us may have left routes with the
    /// peer: our first OPENs say so too (RFC 4724 §4.1).
    pub fn new(now: Time, settings: Settings, seed: u64, restarted: bool) -> Self {
        let until = settings
            .restart_time
            .filter(|_| restarted)
            .map(|time| now + time);
        Self {
            settings,
            dial: Dial::Off,
            backoff: Backoff::default(),
            sessions: BTreeMap::new(),
            // Higher than those of a peer that was here before, of which something may still be on its way to us.
            number: now.as_nanos(),
            bfd_up: false,
            plain: false,
            restarting: Restarting::new(until),
            record: Record::new(now),
            out: Outbox::new(seed),
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Start => self.event(now, Event::Start),
            Input::Stop(stop) => self.stop(now, &stop),
            Input::Reset(text) => self.reset(now, &text),
            Input::Configure(settings) => self.configure(now, *settings),
            Input::Connected {
                connection,
                local,
                remote,
            } => self.connected(now, connection, (local, remote)),
            Input::Accepted {
                number,
                local,
                remote,
            } => self.accepted(now, Connection::inbound(number), (local, remote)),
            Input::Closed { connection, error } => self.closed(now, connection, error),
            Input::Drained(connection) => self.drained(now, connection),
            Input::BfdUp => self.bfd_up(now),
            Input::BfdDown => self.bfd_down(now),
            Input::BfdOff => self.bfd_up = false,
            Input::Tick => self.tick(now),
        }
        self.record.enter(now, self.state());
    }

    /// Bytes came in on a connection.
    pub fn receive(&mut self, now: Time, connection: Connection, bytes: &[u8]) {
        if let Some(session) = self.sessions.get_mut(&connection) {
            session.push(bytes);
        }
        while let Some(session) = self.sessions.get_mut(&connection) {
            let Some(outcome) = session.step(now, &mut self.out) else {
                break;
            };
            self.outcome(now, connection, outcome);
        }
        self.record.enter(now, self.state());
    }

    /// What to do next, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.out.poll()
    }

    /// When to give it [`Input::Tick`]; `None` for never.
    pub fn deadline(&self) -> Option<Time> {
        let dial = self.dial.timer().map(|(at, _)| at);
        let sessions = self
            .sessions
            .values()
            .filter_map(Session::deadline)
            .map(|(at, _)| at);
        sessions.chain(dial).chain(self.record.deadline()).min()
    }

    /// Whether it takes routes now: not before the session is up, nor while much of what was sent before is not yet
    /// [drained](Input::Drained). What is not asked for stays up to date.
    pub fn has_room(&self) -> bool {
        self.established().is_some_and(Session::has_room)
    }

    /// Sends whole messages on the session: UPDATEs, End-of-RIB, BoRR and EoRR. Ask first whether it
    /// [has room](Self::has_room): what is sent all the same waits in the memory of whoever holds the socket.
    pub fn send(&mut self, now: Time, messages: Arc<[u8]>) {
        let mut sessions = self.sessions.values_mut();
        let established = sessions.find(|session| session.state() == State::Established);
        if let Some(session) = established.filter(|_| !messages.is_empty()) {
            session.send(now, messages, &mut self.out);
        }
    }

    /// The state of the connection that has come furthest.
    pub fn state(&self) -> State {
        let sessions = self.sessions.values().map(Session::state);
        sessions
            .chain([self.dial.state()])
            .max()
            .unwrap_or_default()
    }

    /// What is configured.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    fn established(&self) -> Option<&Session> {
        self.sessions
            .values()
            .find(|session| session.state() == State::Established)
    }

    fn next_attempt(&self) -> Option<Time> {
        match self.dial {
            Dial::Held { dial, .. } => (!self.settings.passive).then_some(dial),
            Dial::Waiting(dial) => dial,
            Dial::Off | Dial::Connecting { .. } | Dial::Resting => None,
        }
    }

    /// What an event means before there is a connection.
    fn event(&mut self, now: Time, event: Event) {
        match action(self.dial.state(), event) {
            Action::Begin => match self.dial {
                Dial::Held { dial, .. } if dial > now => self.listen(dial),
                _ => self.begin(now),
            },
            Action::Retry => self.retry(now, "no answer".to_owned()),
            Action::Rest => self.rest(),
            _ => {}
        }
    }

    /// Dials, or listens where we are passive.
    fn begin(&mut self, now: Time) {
        if self.settings.passive {
            self.dial = Dial::Waiting(None);
        } else {
            self.dial(now);
        }
    }

    fn dial(&mut self, now: Time) {
        let connection = Connection::outbound(self.number);
        self.number = self.number.wrapping_add(1);
        self.out.push(Output::Connect(connection));
        let until = now + CONNECT_TIMEOUT;
        self.dial = Dial::Connecting { connection, until };
    }

    /// There is no connection, this time.
    fn retry(&mut self, now: Time, error: String) {
        self.rest();
        let cause = Cause::Unreachable(error);
        self.record.mishap(now, &cause);
        self.out.push(Output::Failed(cause));
        let wait = self.backoff.unreachable(self.settings.connect_time);
        self.wait(now, wait);
    }

    /// Gives up dialling.
    fn rest(&mut self) {
        if let Dial::Connecting { connection, .. } = self.dial {
            self.out.close(connection);
        }
        self.dial = Dial::Off;
    }

    /// Listens, and dials after about `wait` unless we are passive.
    fn wait(&mut self, now: Time, wait: Duration) {
        let again = now + self.out.jitter(wait);
        self.listen(again);
    }

    /// Listens, and dials `again` then unless we are passive.
    fn listen(&mut self, again: Time) {
        self.dial = Dial::Waiting((!self.settings.passive).then_some(again));
    }

    fn stop(&mut self, now: Time, stop: &Stop) {
        self.event(now, Event::Stop);
        self.dial = Dial::Off;
        for connection in self.connections() {
            self.end_for(now, connection, stop);
        }
        self.backoff.forget();
        self.plain = false;
        self.record.stopped();
    }

    fn reset(&mut self, now: Time, text: &str) {
        if self.dial == Dial::Off {
            return;
        }
        self.backoff.forget();
        if self.sessions.is_empty() {
            self.again(now);
        }
        for connection in self.connections() {
            let notification = Notification::with_text(Reason::ADMIN_RESET, text);
            self.end(now, connection, notification, "reset by the operator");
        }
    }

    /// Something is different: what was waited for may be had now.
    fn again(&mut self, now: Time) {
        if !matches!(self.dial, Dial::Connecting { .. }) {
            self.begin(now);
        }
    }

    fn configure(&mut self, now: Time, settings: Settings) {
        let before = std::mem::replace(&mut self.settings, settings);
        if before == self.settings || self.dial == Dial::Off {
            return;
        }
        self.backoff.forget();
        let moved = before.transport != self.settings.transport;
        if moved || self.settings.passive {
            self.hang_up(now);
        }
        let connections = self.connections();
        for connection in &connections {
            self.reconfigure(now, *connection, moved);
        }
        if connections.is_empty() {
            self.plain = false;
            self.again(now);
        }
    }

    /// Gives up dialling for now.
    fn hang_up(&mut self, now: Time) {
        if matches!(self.dial, Dial::Connecting { .. }) {
            self.rest();
            self.wait(now, soon(self.settings.connect_time));
        }
    }

    fn bfd_up(&mut self, now: Time) {
        self.bfd_up = true;
        for connection in self.connections() {
            if let Some(session) = self.sessions.get_mut(&connection) {
                let outcome = session.bfd_up(now, &mut self.out);
                self.outcome(now, connection, outcome);
            }
        }
        if matches!(self.dial, Dial::Waiting(Some(_))) && self.sessions.is_empty() {
            self.begin(now);
        }
    }

    fn bfd_down(&mut self, now: Time) {
        self.bfd_up = false;
        for connection in self.connections() {
            if let Some(session) = self.sessions.get_mut(&connection) {
                let outcome = session.bfd_down(now, &mut self.out);
                self.outcome(now, connection, outcome);
            }
        }
    }

    fn tick(&mut self, now: Time) {
        if let Some((_, event)) = self.dial.timer().filter(|(at, _)| *at <= now) {
            self.event(now, event);
        }
        for connection in self.connections() {
            while let Some(session) = self.sessions.get_mut(&connection) {
                let Some(outcome) = session.tick(now, &mut self.out) else {
                    break;
                };
                self.outcome(now, connection, outcome);
            }
        }
        self.record.tick(now);
    }
}
