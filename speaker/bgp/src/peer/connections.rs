//! The connections to a peer: which of them stays, and what the end of one means.

use std::net::SocketAddr;

use ironlb_model::{Family, Time};

use super::Peer;
use super::dial::{Dial, GRACE, MOST_HELD, STABLE, soon};
use crate::collision::{Direction, survivor};
use crate::io::{Connection, Output};
use crate::restart::Stop;
use crate::session::{Action, Agreement, Cause, Event, Outcome, Refusal, Session, State, action};
use crate::wire::{Notification, Reason};

/// Our end of a connection, and the peer's.
type Ends = (SocketAddr, SocketAddr);

impl Peer {
    /// Those on which our OPEN was sent.
    pub(super) fn connections(&self) -> Vec<Connection> {
        self.sessions.keys().copied().collect()
    }

    /// Our dialling came to something.
    pub(super) fn connected(&mut self, now: Time, connection: Connection, ends: Ends) {
        let expected =
            action(self.dial.state(), Event::Connected) == Action::Open && self.dials(connection);
        if !expected {
            self.out.close(connection);
            return;
        }
        self.backoff.reached();
        self.dial = Dial::Resting;
        self.open(now, connection, ends);
    }

    /// The peer's dialling came to something. An older connection of its own that has led nowhere yet is the one to go: it
    /// would not dial twice if it still knew of it.
    pub(super) fn accepted(&mut self, now: Time, connection: Connection, ends: Ends) {
        if action(self.state(), Event::Accepted) == Action::Reject {
            self.reject(connection);
            return;
        }
        for older in self.connections() {
            let stays = older.direction == Direction::Outbound
                || self.state_of(older) == Some(State::Established);
            if !stays {
                self.collided(now, older, "the peer has opened another connection");
            }
        }
        if let Dial::Waiting(Some(until)) = self.dial {
            self.dial = Dial::Waiting(Some(until.max(now + GRACE)));
        }
        self.open(now, connection, ends);
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, now: Time, connection: Connection, error: Option<String>) {
        if self.dials(connection) {
            self.retry(now, error.unwrap_or_else(|| "closed at once".to_owned()));
        } else if self
            .state_of(connection)
            .is_some_and(|state| action(state, Event::Closed) == Action::Drop)
        {
            self.out.close(connection);
            self.ended(now, connection, Cause::Lost(error));
        }
    }

    pub(super) fn drained(&mut self, now: Time, connection: Connection) {
        if let Some(session) = self.sessions.get_mut(&connection) {
            session.drained(now, &mut self.out);
        }
    }

    /// What a session came to.
    pub(super) fn outcome(&mut self, now: Time, connection: Connection, outcome: Outcome) {
        match outcome {
            Outcome::Continue => {}
            Outcome::Opened => self.opened(now, connection),
            Outcome::Established => self.up(now, connection),
            Outcome::Resend { family, framed } => self.out.push(Output::Resend { family, framed }),
            Outcome::Ended(cause) => self.ended(now, connection, cause),
        }
    }

    /// Ends a session with a NOTIFICATION of ours.
    pub(super) fn end(
        &mut self,
        now: Time,
        connection: Connection,
        notification: Notification,
        why: &str,
    ) {
        if let Some(session) = self.sessions.get_mut(&connection) {
            let outcome = session.end(now, notification, why, &mut self.out);
            self.outcome(now, connection, outcome);
        }
    }

    /// Ends a session because the peer is stopped.
    pub(super) fn end_for(&mut self, now: Time, connection: Connection, stop: &Stop) {
        let agreement = self.sessions.get(&connection).and_then(Session::agreement);
        if let Some(notification) = stop.notification(agreement) {
            self.end(now, connection, notification, &stop.sentence());
        } else {
            self.out.close(connection);
            self.ended(now, connection, Cause::Upgrade);
        }
    }

    /// Brings the new settings to a session: in place where the OPENs would be the same, else by a new session.
    pub(super) fn reconfigure(&mut self, now: Time, connection: Connection, moved: bool) {
        let Some(session) = self.sessions.get_mut(&connection) else {
            return;
        };
        let offer = self
            .settings
            .offer(session.remote().ip(), false, session.offer().is_plain());
        let admitted = session
            .agreement()
            .map_or(Ok(()), |agreed| offer.check_asn(agreed.peer_asn));
        let why = match admitted {
            Err(Refusal { why, .. }) => Some(why),
            Ok(()) if moved => Some("the peer is configured elsewhere".to_owned()),
            Ok(()) if !offer.same_open(session.offer(), session.state()) => {
                Some("what the OPEN says has changed".to_owned())
            }
            Ok(()) => None,
        };
        if let Some(why) = why {
            self.end(
                now,
                connection,
                Notification::new(Reason::CONFIGURATION_CHANGE),
                &why,
            );
        } else if let Err(outcome) =
            session.retune(now, offer, self.settings.maximum_prefixes, &mut self.out)
        {
            self.outcome(now, connection, outcome);
        }
    }

    /// Whether this is what we are dialling.
    fn dials(&self, dialled: Connection) -> bool {
        matches!(self.dial, Dial::Connecting { connection, .. } if connection == dialled)
    }

    /// Whether a connection that we dialled is there: it comes to something or times out before we dial again.
    fn has_dialled(&self) -> bool {
        self.sessions
            .keys()
            .any(|connection| connection.direction == Direction::Outbound)
    }

    fn state_of(&self, connection: Connection) -> Option<State> {
        self.sessions.get(&connection).map(Session::state)
    }

    fn open(&mut self, now: Time, connection: Connection, ends: Ends) {
        let offer = self
            .settings
            .offer(ends.1.ip(), self.restarting.bit(now), self.plain);
        let session = Session::open(
            now,
            connection,
            ends,
            offer,
            self.settings.maximum_prefixes,
            &mut self.out,
        );
        self.sessions.insert(connection, session);
    }

    /// RFC 4486 §4: said on a connection without so much as an OPEN.
    fn reject(&mut self, connection: Connection) {
        let mut bytes = Vec::new();
        Notification::new(Reason::CONNECTION_REJECTED).encode(&mut bytes);
        self.out.send(connection, bytes.into());
        self.out.close(connection);
    }

    /// The peer has said who it is on a connection. It is told that it is welcome once that is sure: a KEEPALIVE in front of
    /// the end of a collision would have it believe for a moment that the session is up.
    fn opened(&mut self, now: Time, connection: Connection) {
        self.collide(now, connection);
        if let Some(session) = self.sessions.get_mut(&connection) {
            if session.waits_for_bfd() && !self.bfd_up {
                session.hold_for_bfd(now);
                // The wait may be long, and another connection would wait no shorter.
                self.rest();
                self.dial = Dial::Resting;
            } else {
                session.send_keepalive(now, &mut self.out);
            }
        }
    }

    /// Is a connection one too many (RFC 4271 §6.8)?
    fn collide(&mut self, now: Time, new: Connection) {
        let others = self
            .sessions
            .values()
            .filter(|session| session.connection() != new);
        let other = others
            .filter(|session| session.state() > State::OpenSent)
            .max_by_key(|session| session.state());
        let (Some(session), Some(other)) = (self.sessions.get(&new), other) else {
            return;
        };
        let old = other.connection();
        match other.state() {
            State::Established if replaces(session, other) => self.replace(now, old),
            State::Established => {
                self.collided(now, new, "a session is up already");
                self.probe(now, old);
            }
            _ if stays(session) == new.direction => {
                self.collided(now, old, "another connection stays")
            }
            state => {
                self.collided(now, new, "another connection stays");
                if state == State::OpenConfirm {
                    self.probe(now, old);
                }
            }
        }
    }

    /// A peer that connects although its session is up, or as good as up, may have lost its memory: if it has, it resets the old
    /// connection as soon as it hears from us there, and need not wait for our hold time.
    fn probe(&mut self, now: Time, old: Connection) {
        if let Some(session) = self.sessions.get_mut(&old) {
            session.send_keepalive(now, &mut self.out);
        }
    }

    fn collided(&mut self, now: Time, connection: Connection, why: &str) {
        if let Some(Action::Refuse(reason)) = self
            .state_of(connection)
            .map(|state| action(state, Event::Collision))
        {
            self.end(now, connection, Notification::new(reason), why);
        }
    }

    /// The peer has restarted; its old connection is closed without a word, as RFC 4724 §5 has it.
    fn replace(&mut self, now: Time, old: Connection) {
        self.out.close(old);
        self.ended(now, old, Cause::Replaced);
    }

    fn up(&mut self, now: Time, connection: Connection) {
        self.rest();
        self.dial = Dial::Resting;
        self.restarting.over();
        self.record.up(now);
        let agreement = self.sessions.get(&connection).and_then(Session::agreement);
        if let Some(agreement) = agreement.cloned().map(Box::new) {
            self.out.push(Output::Up {
                connection,
                agreement,
            });
        }
    }

    /// A session is over: it is forgotten, and what follows is arranged.
    fn ended(&mut self, now: Time, connection: Connection, cause: Cause) {
        let Some(session) = self.sessions.remove(&connection) else {
            return;
        };
        let was_up = session.established().is_some();
        let beside = self.established().is_some();
        let quiet = !was_up && (is_collision(&cause) || beside);
        if was_up {
            self.record.lost(now, &session, &cause);
        }
        self.forget_capabilities(&session, &cause);
        self.follow(now, &session, &cause);
        if !quiet {
            self.record.mishap(now, &cause);
            self.out.push(if was_up {
                Output::Down(cause)
            } else {
                Output::Failed(cause)
            });
        }
    }

    /// RFC 5492 §3: a peer that knows no capabilities is tried without, where IPv4 alone is of use; one that had a session
    /// that way may know them the next time.
    fn forget_capabilities(&mut self, session: &Session, cause: &Cause) {
        if is_collision(cause) {
            return;
        }
        let asked =
            matches!(cause, Cause::Received(told) if told.reason == Reason::UNSUPPORTED_PARAMETER);
        let of_use = self.settings.families.contains(&Family::V4) && !session.offer().is_plain();
        self.plain = asked && of_use && session.established().is_none();
    }

    /// Whether, and when, to dial after the end of a session.
    fn follow(&mut self, now: Time, ended: &Session, cause: &Cause) {
        let base = self.settings.connect_time;
        let stable = ended
            .established()
            .is_some_and(|since| now.since(since) >= STABLE);
        match self.dial {
            Dial::Off | Dial::Held { .. } | Dial::Connecting { .. } => {}
            _ if !self.sessions.is_empty() => {
                if self.dial == Dial::Resting && !self.has_dialled() && self.established().is_none()
                {
                    self.wait(now, GRACE);
                }
            }
            _ if stable || is_ours(cause) => {
                if stable {
                    self.backoff.forget();
                }
                self.wait(now, soon(base));
            }
            _ if is_collision(cause) => {
                let wait = self.backoff.refused(base);
                self.wait(now, wait);
            }
            Dial::Waiting(_) | Dial::Resting => {
                let held = self.backoff.refused(base);
                let wait = self.out.jitter(held);
                self.dial = Dial::Held {
                    until: now + wait.min(MOST_HELD),
                    dial: now + wait,
                };
            }
        }
    }
}

/// Which of two connections stays, by the OPENs of this one.
fn stays(session: &Session) -> Direction {
    let theirs = session.agreement().map(Agreement::peer_rank);
    theirs.map_or_else(
        || session.connection().direction,
        |theirs| survivor(session.offer().rank(), theirs),
    )
}

/// Whether a new connection means that the peer has restarted: it was opened after the old one was Established, by a
/// peer that had announced graceful restart (RFC 4724 §5). One that was on its way before is a mere collision.
fn replaces(new: &Session, old: &Session) -> bool {
    let announced = old
        .agreement()
        .is_some_and(|agreed| agreed.peer_restart.is_some());
    let later = old.established().is_some_and(|since| new.began() >= since);
    announced && later && new.connection().direction == Direction::Inbound
}

fn is_collision(cause: &Cause) -> bool {
    cause
        .notification()
        .is_some_and(|told| told.reason == Reason::COLLISION)
}

/// Whether we ended it ourselves, to begin anew.
fn is_ours(cause: &Cause) -> bool {
    let reasons = [Reason::ADMIN_RESET, Reason::CONFIGURATION_CHANGE];
    matches!(cause, Cause::Sent { notification, .. } if reasons.contains(&notification.reason))
}
