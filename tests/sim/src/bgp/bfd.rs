//! BFD as a router has it (RFC 5880 §6.8), written a second time: asynchronous, no echo, no authentication.

use std::time::Duration;

use ironlb_bfd::{Diagnostic, Packet, State};
use ironlb_model::Time;

/// How a router does BFD with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Its detect multiplier.
    pub multiplier: u8,
    /// How often it likes to send.
    pub transmit: Duration,
    /// How often it likes to receive.
    pub receive: Duration,
}

/// A session with a node.
#[derive(Debug)]
pub struct Session {
    timing: Timing,
    discriminator: u32,
    state: State,
    diagnostic: Diagnostic,
    remote: Option<Packet>,
    /// What it sends at until a poll is answered.
    announced: Duration,
    polls: bool,
    next: Time,
    detect: Option<Time>,
}

/// What became of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is up.
    Up,
    /// Nothing was heard for the detection time, or the node says the same of us.
    Down,
    /// The node has switched it off.
    Off,
}

impl Session {
    /// One that begins.
    pub const fn new(now: Time, timing: Timing, discriminator: u32) -> Self {
        Self {
            timing,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::None,
            remote: None,
            announced: SLOW,
            polls: false,
            next: now,
            detect: None,
        }
    }

    /// Whether it is up.
    pub fn is_up(&self) -> bool {
        self.state == State::Up
    }

    /// When something has to be done.
    pub fn deadline(&self) -> Time {
        self.detect
            .map_or(self.next, |detect| detect.min(self.next))
    }

    /// A packet came: what to send at once, and what changed.
    pub fn receive(&mut self, now: Time, packet: &Packet) -> (Vec<Packet>, Option<Change>) {
        let mut sent = Vec::new();
        self.remote = Some(*packet);
        if packet.is_final {
            self.polls = false;
        }
        let next = match (self.state, packet.state) {
            (State::Init | State::Up, State::AdminDown) | (State::Up, State::Down) => State::Down,
            (State::Down, State::Down) => State::Init,
            (State::Down, State::Init) | (State::Init, State::Init | State::Up) => State::Up,
            (state, _) => state,
        };
        let change = self.enter(next, packet.state);
        if change.is_some() {
            sent.push(self.packet(false));
            self.next = now + self.interval();
        }
        if packet.poll {
            sent.push(self.packet(true));
        }
        self.detect = Some(now + self.detection_time());
        (sent, change)
    }

    /// Time has passed: what to send, and what changed.
    pub fn tick(&mut self, now: Time) -> (Option<Packet>, Option<Change>) {
        let mut change = None;
        if self.detect.is_some_and(|detect| detect <= now) {
            self.detect = None;
            self.remote = None;
            self.polls = false;
            change = self.enter(State::Down, State::Down);
            if change.is_some() {
                self.diagnostic = Diagnostic::DetectionTimeExpired;
            }
        }
        if self.next > now && change.is_none() {
            return (None, None);
        }
        self.next = now + self.interval();
        (Some(self.packet(false)), change)
    }

    fn enter(&mut self, next: State, theirs: State) -> Option<Change> {
        let before = std::mem::replace(&mut self.state, next);
        match (before, next) {
            (State::Up, State::Down) => {
                self.announced = SLOW;
                self.polls = false;
                self.diagnostic = Diagnostic::NeighborSignaledDown;
                Some(match theirs {
                    State::AdminDown => Change::Off,
                    _ => Change::Down,
                })
            }
            (before, State::Up) if before != State::Up => {
                self.announced = self.timing.transmit;
                self.polls = self.announced != SLOW;
                self.diagnostic = Diagnostic::None;
                Some(Change::Up)
            }
            _ => None,
        }
    }

    fn interval(&self) -> Duration {
        let asked = self.remote.map_or(SLOW, |remote| remote.required_min_rx);
        // Nine tenths: the jitter that §6.8.7 asks for, without chance.
        self.announced.max(asked) * 9 / 10
    }

    fn detection_time(&self) -> Duration {
        let remote = self
            .remote
            .map(|remote| (remote.desired_min_tx, remote.detect_multiplier));
        let (transmit, multiplier) = remote.unwrap_or((SLOW, 3));
        self.timing.receive.max(transmit) * u32::from(multiplier)
    }

    fn packet(&self, is_final: bool) -> Packet {
        Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: self.polls && !is_final,
            is_final,
            control_plane_independent: false,
            authenticated: false,
            demand: false,
            detect_multiplier: self.timing.multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.map_or(0, |remote| remote.my_discriminator),
            desired_min_tx: self.announced,
            required_min_rx: self.timing.receive,
            required_min_echo_rx: Duration::ZERO,
        }
    }
}

/// The rate while a session is not up (§6.8.3).
const SLOW: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        multiplier: 3,
        transmit: Duration::from_millis(300),
        receive: Duration::from_millis(300),
    };

    #[test]
    fn two_come_up_and_one_that_is_left_alone_goes_down_after_the_detection_time() {
        let mut sides = [1, 2].map(|number| Session::new(Time::ZERO, TIMING, number));
        let mut now = Time::ZERO;
        for _ in 0..40 {
            now = sides.iter().map(Session::deadline).min().unwrap().max(now);
            for from in 0..2 {
                let (packet, _) = sides[from].tick(now);
                if let Some(packet) = packet {
                    for answer in sides[1 - from].receive(now, &packet).0 {
                        sides[from].receive(now, &answer);
                    }
                }
            }
        }
        assert!(sides.iter().all(Session::is_up));
        let [alone, _] = &mut sides;
        let began = now;
        let change = loop {
            now = alone.deadline().max(now);
            let (_, change) = alone.tick(now);
            if change.is_some() {
                break change;
            }
        };
        assert_eq!(change, Some(Change::Down));
        let silent = now.since(began);
        assert!(silent > Duration::from_millis(600) && silent <= Duration::from_millis(900));
    }
}
