//! One session: RFC 5880 §6.8.

use std::collections::VecDeque;
use std::time::Duration;

use ironlb_model::Time;

use crate::echo::{Echo, EchoPayload};
use crate::random::Random;
use crate::settings::Settings;
use crate::status::{Reason, Status};
use crate::timers::{Timer, Timers};
use crate::wire::{Diagnostic, Packet, State};

mod echo;
mod intervals;

use intervals::{Intervals, SLOW};

/// One session with one peer. Names of the RFC's variables (§6.8.1) are given at the fields.
///
/// It keeps sending and is ready to come up again, whatever happens, until [`disable`](Input::Disable)d; then it says goodbye and is
/// [`Closed`](Output::Closed).
#[derive(Clone, Debug)]
pub struct Session {
    settings: Settings,
    /// bfd.LocalDiscr.
    discriminator: u32,
    /// bfd.SessionState.
    state: State,
    /// bfd.LocalDiag.
    diagnostic: Diagnostic,
    status: Status,
    remote: Remote,
    intervals: Intervals,
    poll: Poll,
    echo: Echo,
    /// Whether the peer has ever sent an echo packet back: then it has to again, each time the session comes up.
    echo_works: bool,
    echo_sequence: u32,
    /// When it came up last.
    came_up: Time,
    /// Down at least until then.
    held: Time,
    nonce: u64,
    timers: Timers,
    /// When the last packet that was not an answer to a poll went out, and the interval that the next one was timed by.
    last_sent: Option<Time>,
    scheduled: Option<Duration>,
    last_received: Time,
    random: Random,
    outputs: VecDeque<Output>,
}

/// What happens to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A control packet that belongs to it.
    Packet(Packet),
    /// One of its echo packets came back.
    Echo(EchoPayload),
    /// Other settings are wanted.
    Change(Settings),
    /// It is wanted no more: the peer is told (§6.8.16).
    Disable,
    /// It is wanted again after all.
    Enable,
    /// Time has passed.
    Tick,
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Send this to the peer.
    Send(Packet),
    /// Send this to ourselves by way of the peer.
    Echo(EchoPayload),
    /// The session is up.
    Up,
    /// The session was up and is no more.
    Down(Reason),
    /// The peer has been told that the session is over; forget it.
    Closed,
}

impl Session {
    /// A session that begins at `now`. `discriminator` is not 0 and no other session's; `seed` decides its jitter.
    pub(crate) fn new(now: Time, settings: Settings, discriminator: u32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let nonce = random.next();
        let mut session = Self {
            intervals: Intervals::slow(&settings),
            settings,
            discriminator,
            state: State::Down,
            diagnostic: Diagnostic::None,
            status: Status::NeverUp,
            remote: Remote::default(),
            poll: Poll::Idle,
            echo: Echo::Off,
            echo_works: false,
            echo_sequence: 0,
            came_up: Time::ZERO,
            held: Time::ZERO,
            nonce,
            timers: Timers::default(),
            last_sent: None,
            scheduled: None,
            last_received: now,
            random,
            outputs: VecDeque::new(),
        };
        session.schedule(now);
        session
    }

    /// Takes in what happened at `now`.
    pub(crate) fn handle(&mut self, now: Time, input: Input) {
        match input {
            Input::Packet(packet) => self.receive(now, &packet),
            Input::Echo(payload) => self.echo_returned(now, payload),
            Input::Change(settings) => self.change(now, settings),
            Input::Disable => self.disable(now),
            Input::Enable => self.enable(now),
            Input::Tick => self.tick(now),
        }
        self.schedule(now);
    }

    /// What is to be done; to be asked until `None` after each [`handle`](Self::handle).
    pub(crate) fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to [`handle`](Self::handle) the next [`Input::Tick`].
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// bfd.SessionState.
    pub const fn state(&self) -> State {
        self.state
    }

    /// What a routing protocol has to know.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// bfd.LocalDiag.
    pub const fn diagnostic(&self) -> Diagnostic {
        self.diagnostic
    }

    /// bfd.LocalDiscr.
    pub const fn discriminator(&self) -> u32 {
        self.discriminator
    }

    /// What the peer said last; `None` when it has not been heard for a detection time.
    pub fn last_packet(&self) -> Option<&Packet> {
        self.remote.packet.as_ref()
    }

    /// What is wanted.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Time between two of our packets, before jitter (§6.8.7).
    pub fn transmit_interval(&self) -> Duration {
        self.intervals.transmit.max(self.remote.required_min_rx())
    }

    /// Time without a packet after which the session is down (§6.8.4); zero while the peer is not heard.
    pub fn detection_time(&self) -> Duration {
        let Some(packet) = &self.remote.packet else {
            return Duration::ZERO;
        };
        let interval = self.intervals.receive.max(packet.desired_min_tx);
        interval.saturating_mul(packet.detect_multiplier.into())
    }

    /// Time between two echo packets, before jitter, and whether they come back; `None` when none are sent.
    pub fn echo(&self) -> Option<(Duration, bool)> {
        self.echo
            .interval()
            .map(|interval| (interval, self.echo.is_proven()))
    }

    /// §6.8.6, from where the session is known and the packet has no authentication.
    fn receive(&mut self, now: Time, packet: &Packet) {
        self.remote.packet = Some(*packet);
        self.last_received = now;
        if packet.is_final {
            self.poll_answered();
        }
        if self.state == State::AdminDown {
            return;
        }
        if self.state != State::Down || now >= self.held {
            self.step(now, packet);
        }
        self.settle_echo(now);
        if packet.poll {
            self.send(now, true);
        }
        self.timers
            .set(Timer::Detection, now + self.detection_time());
    }

    /// The state table: ours and the peer's.
    fn step(&mut self, now: Time, packet: &Packet) {
        use State::{AdminDown, Down, Init, Up};
        let next = match (self.state, packet.state) {
            (Init | Up, AdminDown) => Down,
            (Down, Down) => Init,
            (Down, Init) | (Init, Init | Up) => Up,
            (Up, Down) => Down,
            (state, _) => state,
        };
        let reason = match packet.state {
            AdminDown => Reason::NeighborAdminDown,
            _ => Reason::Neighbor(packet.diagnostic),
        };
        self.enter(now, next, reason);
    }

    /// Changes the state; `reason` is why, should the session go down by that.
    fn enter(&mut self, now: Time, next: State, reason: Reason) {
        let before = std::mem::replace(&mut self.state, next);
        if before == next {
            return;
        }
        match next {
            State::Up => {
                self.diagnostic = Diagnostic::None;
                self.status = Status::Up;
                self.came_up = now;
                self.outputs.push_back(Output::Up);
            }
            State::Down | State::AdminDown => self.diagnostic = diagnostic(reason),
            State::Init => {}
        }
        if before == State::Up {
            self.status = Status::Down(reason);
            // Each change is told at once, and answered by another: packets that cross may go on like that for ever.
            if now.since(self.came_up) < SHORT {
                self.held = self.held.max(now + SHORT);
            }
            self.outputs.push_back(Output::Down(reason));
        }
        self.settle_echo(now);
        self.settle_intervals();
        self.send(now, false);
    }

    fn tick(&mut self, now: Time) {
        if self.timers.take_due(Timer::Detection, now) {
            self.detection_expired(now);
        }
        if self.timers.take_due(Timer::EchoDetection, now) {
            // Control packets still come: without a pause they would bring the session up and down several times a second.
            self.held = now + HOLD;
            self.enter(now, State::Down, Reason::EchoFailed);
        }
        if self.timers.take_due(Timer::Close, now) {
            self.close();
        }
        if self.timers.take_due(Timer::Transmit, now) {
            self.send(now, false);
        }
        if self.timers.take_due(Timer::Echo, now) {
            self.send_echo(now);
        }
    }

    /// §6.8.4. What is known of the peer is forgotten in every state (§6.8.1, bfd.RemoteDiscr), so that one that said it wants no
    /// packets and was then replaced is spoken to again.
    fn detection_expired(&mut self, now: Time) {
        self.remote = Remote::default();
        self.poll = Poll::Idle;
        self.intervals.settle();
        if matches!(self.state, State::Init | State::Up) {
            self.enter(now, State::Down, Reason::DetectionTimeExpired);
        }
    }

    /// §6.8.2, §6.8.3: no flap, but a poll.
    fn change(&mut self, now: Time, settings: Settings) {
        let content = |settings: &Settings| (settings.detect_multiplier, settings.reflect);
        let news = content(&settings) != content(&self.settings);
        self.settings = settings;
        self.settle_echo(now);
        if self.settle_intervals() || news {
            self.send(now, false);
        }
        if self.remote.packet.is_some() && self.state != State::AdminDown {
            let detection = self.last_received + self.detection_time();
            self.timers.set(Timer::Detection, detection);
        }
    }

    /// §6.8.16. The peer is told for as long as it would take to find out, and at least until a lost packet has been sent again;
    /// its answer to the poll ends it earlier.
    fn disable(&mut self, now: Time) {
        if self.state == State::AdminDown {
            return;
        }
        let multiplier = u32::from(self.settings.detect_multiplier);
        let detection = self.transmit_interval().saturating_mul(multiplier);
        self.enter(now, State::AdminDown, Reason::AdminDown);
        self.timers.stop(Timer::Detection);
        if self.remote.packet.is_some() {
            self.timers.set(Timer::Close, now + detection.max(SLOW));
        } else {
            self.close();
        }
    }

    fn close(&mut self) {
        self.timers = Timers::default();
        self.outputs.push_back(Output::Closed);
    }

    /// The last state of all: nothing is sent, nothing is waited for.
    fn is_closed(&self) -> bool {
        self.state == State::AdminDown && !self.timers.is_set(Timer::Close)
    }

    /// Begins anew after [`disable`](Self::disable). The peer, which was told that we are down on purpose, takes it up from there.
    fn enable(&mut self, now: Time) {
        if self.state != State::AdminDown {
            return;
        }
        self.timers = Timers::default();
        self.remote = Remote::default();
        self.poll = Poll::Idle;
        self.status = Status::NeverUp;
        self.echo_works = false;
        self.held = Time::ZERO;
        self.outputs.retain(|output| *output != Output::Closed);
        self.enter(now, State::Down, Reason::AdminDown);
    }

    /// Takes on the intervals of the present state, and says whether they are others than before.
    fn settle_intervals(&mut self) -> bool {
        let up = self.state == State::Up;
        let (transmit, receive) = (
            self.settings.transmit_interval,
            self.settings.receive_interval,
        );
        let desired_min_tx = if up { transmit } else { transmit.max(SLOW) };
        let required_min_rx = if self.echo.is_proven() {
            receive.max(SLOW)
        } else {
            receive
        };
        let changed = self.intervals.change(up, desired_min_tx, required_min_rx);
        if self.remote.packet.is_none() {
            // Nobody has seen the old ones.
            self.intervals.settle();
        } else if self.state == State::AdminDown {
            // Not for the intervals: the answer says that the peer knows.
            self.poll = Poll::Running { again: false };
        } else if changed {
            self.poll = match self.poll {
                Poll::Idle => Poll::Running { again: false },
                Poll::Running { .. } => Poll::Running { again: true },
            };
        }
        changed
    }

    /// The peer has seen what we polled for. What changed since then is polled for anew, not before the next periodic packet,
    /// so that an answer to the first poll that is still on its way is less likely to be taken for one to the second (§6.5).
    fn poll_answered(&mut self) {
        match self.poll {
            Poll::Idle => {}
            Poll::Running { again: true } => self.poll = Poll::Running { again: false },
            Poll::Running { again: false } => {
                self.poll = Poll::Idle;
                self.intervals.settle();
                if self.state == State::AdminDown && !self.is_closed() {
                    self.close();
                }
            }
        }
    }

    /// §6.8.7: sends the periodic packet, or one between two of them whose content is news; or the answer to a poll, which nothing
    /// but the passive role holds back.
    fn send(&mut self, now: Time, is_final: bool) {
        if !is_final && !self.may_transmit() {
            return;
        }
        self.outputs.push_back(Output::Send(Packet {
            diagnostic: self.diagnostic,
            state: self.state,
            poll: !is_final && matches!(self.poll, Poll::Running { .. }),
            is_final,
            control_plane_independent: false,
            authenticated: false,
            demand: false,
            detect_multiplier: self.settings.detect_multiplier,
            my_discriminator: self.discriminator,
            your_discriminator: self.remote.discriminator(),
            desired_min_tx: self.intervals.desired_min_tx,
            required_min_rx: self.intervals.required_min_rx,
            required_min_echo_rx: self.settings.reflect.unwrap_or_default(),
        }));
        if !is_final {
            self.last_sent = Some(now);
            self.scheduled = None;
        }
    }

    /// Times the next periodic packet where that has to change.
    fn schedule(&mut self, now: Time) {
        if self.is_closed() || !self.may_transmit() {
            self.timers.stop(Timer::Transmit);
            self.scheduled = None;
            return;
        }
        let interval = self.transmit_interval();
        if self.scheduled == Some(interval) {
            return;
        }
        self.scheduled = Some(interval);
        let next = match self.last_sent {
            Some(sent) => (sent + self.jittered(interval)).max(now),
            None => now,
        };
        self.timers.set(Timer::Transmit, next);
    }

    /// §6.8.7: whether periodic packets may be sent.
    fn may_transmit(&self) -> bool {
        let remote = self.remote.packet.as_ref();
        let begun = !self.settings.passive || remote.is_some();
        let refused = remote.is_some_and(|packet| packet.required_min_rx.is_zero());
        let demand = self.state == State::Up
            && self.poll == Poll::Idle
            && remote.is_some_and(|packet| packet.demand && packet.state == State::Up);
        begun && !refused && !demand
    }

    /// §6.8.7: 75 to 100 % of the interval, and not more than 90 % where one lost packet is one too many.
    fn jittered(&mut self, interval: Duration) -> Duration {
        let most = if self.settings.detect_multiplier == 1 {
            0.9
        } else {
            1.0
        };
        interval.mul_f64(0.75 + (most - 0.75) * self.random.share())
    }
}

/// What the peer said.
#[derive(Clone, Debug, Default)]
struct Remote {
    /// `None` when nothing was heard for a detection time: bfd.RemoteDiscr is zero, and the rest is as at the beginning.
    packet: Option<Packet>,
}

impl Remote {
    fn discriminator(&self) -> u32 {
        self.packet
            .as_ref()
            .map_or(0, |packet| packet.my_discriminator)
    }

    /// bfd.RemoteMinRxInterval, at first a microsecond: what is wanted here decides.
    fn required_min_rx(&self) -> Duration {
        let told = self.packet.as_ref().map(|packet| packet.required_min_rx);
        told.unwrap_or(Duration::from_micros(1))
    }
}

/// A Poll Sequence (§6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    Idle,
    /// Packets ask for an answer. `again`: what is polled for changed meanwhile.
    Running {
        again: bool,
    },
}

const fn diagnostic(reason: Reason) -> Diagnostic {
    match reason {
        Reason::DetectionTimeExpired => Diagnostic::DetectionTimeExpired,
        Reason::EchoFailed => Diagnostic::EchoFailed,
        Reason::Neighbor(_) | Reason::NeighborAdminDown => Diagnostic::NeighborSignaledDown,
        Reason::AdminDown => Diagnostic::AdministrativelyDown,
    }
}

/// Who was up for less than this stays down for as long.
const SHORT: Duration = Duration::from_secs(1);
/// A pause after the echo function has failed.
const HOLD: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
