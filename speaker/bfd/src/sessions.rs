//! All sessions of a node: which one a datagram belongs to, and what is wanted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::Time;

use crate::echo::EchoPayload;
use crate::random::Random;
use crate::session::{self, Session};
use crate::settings::Settings;
use crate::status::{Reason, Status};
use crate::wire::{Diagnostic, Packet, State};

/// What a session is asked for and found by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The peer's address.
    pub peer: IpAddr,
    /// Our address, where only one will do.
    pub local: Option<IpAddr>,
    /// The index of the interface, where only one will do: link-local peers have to have one.
    pub interface: Option<u32>,
    /// The index of the VRF's interface; `None` for the default one.
    pub vrf: Option<u32>,
    /// Whether there may be routers between (RFC 5883).
    pub multihop: bool,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// A session is wanted, or others settings for one that there is, without a flap.
    Want(Key, Settings),
    /// A session is wanted no more. The peer is told, then comes [`Output::Closed`].
    Unwant(Key),
    /// A datagram arrived at one of the two ports for control packets.
    Datagram(Datagram<'a>),
    /// A datagram arrived at the echo port, with this payload.
    Echo(&'a [u8]),
    /// Time has passed. Hand in what has arrived first: a session that heard its peer in time is not down because we were late.
    Tick,
}

/// A datagram with what the kernel tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// The index of the interface that it came in by.
    pub interface: u32,
    /// The index of the VRF that it arrived in; `None` for the default one.
    pub vrf: Option<u32>,
    /// Whether it arrived at [`MULTI_HOP_PORT`].
    pub multihop: bool,
    /// TTL or hop limit.
    pub ttl: u8,
    /// What is in it.
    pub payload: &'a [u8],
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a control packet to the peer, with a TTL of 255, from one port per session between 49152 and 65535 to
    /// [`SINGLE_HOP_PORT`] or [`MULTI_HOP_PORT`] (RFC 5881 §4, §5).
    Send(Key, Packet),
    /// Send an echo packet from and to our own address, in a frame to the peer.
    Echo(Key, EchoPayload),
    /// The session is up.
    Up(Key),
    /// The session was up and is no more.
    Down(Key, Reason),
    /// The session is gone, and the peer has been told.
    Closed(Key),
}

/// Every session of a node, keyed by what a routing protocol knows of its peer.
#[derive(Clone, Debug)]
pub struct Sessions {
    random: Random,
    by_discriminator: BTreeMap<u32, Entry>,
    by_key: BTreeMap<Key, u32>,
    queue: BTreeSet<(Time, u32)>,
    outputs: VecDeque<Output>,
    discarded: BTreeMap<Discard, u64>,
}

impl Sessions {
    /// None. `seed` decides discriminators and jitter, and should be hard to guess (RFC 5880 §9).
    pub const fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            by_discriminator: BTreeMap::new(),
            by_key: BTreeMap::new(),
            queue: BTreeSet::new(),
            outputs: VecDeque::new(),
            discarded: BTreeMap::new(),
        }
    }

    /// Takes in what happened at `now`.
    pub fn handle(&mut self, now: Time, input: Input<'_>) {
        match input {
            Input::Want(key, settings) => self.want(now, key, settings),
            Input::Unwant(key) => {
                if let Some(number) = self.by_key.get(&key) {
                    self.tell(now, *number, session::Input::Disable);
                }
            }
            Input::Datagram(datagram) => {
                if let Err(reason) = self.receive(now, &datagram) {
                    let count = self.discarded.entry(reason).or_default();
                    *count = count.saturating_add(1);
                }
            }
            Input::Echo(payload) => self.receive_echo(now, payload),
            Input::Tick => self.tick(now),
        }
    }

    /// What is to be done; to be asked until `None` after each [`handle`](Self::handle).
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to [`handle`](Self::handle) the next [`Input::Tick`]; no harm in an early one.
    pub fn deadline(&self) -> Option<Time> {
        self.queue.first().map(|(due, _)| *due)
    }

    /// What a routing protocol has to know of a session; `None` when it was not asked for.
    pub fn status(&self, key: Key) -> Option<Status> {
        Some(self.entry(key)?.session.status())
    }

    /// All sessions, for people and metrics.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        let entries = self.by_key.iter().filter_map(|(key, number)| {
            let entry = self.by_discriminator.get(number)?;
            Some((key, entry))
        });
        entries.map(|(key, entry)| View {
            key: *key,
            session: &entry.session,
            counters: entry.counters,
            since: entry.since,
        })
    }

    /// How many datagrams were discarded, and why.
    pub const fn discarded(&self) -> &BTreeMap<Discard, u64> {
        &self.discarded
    }

    fn want(&mut self, now: Time, key: Key, settings: Settings) {
        let settings = Settings {
            // RFC 5883 §4.1, RFC 5881 §4: echo packets are forwarded by the next hop only.
            echo: settings.echo.filter(|_| !key.multihop),
            reflect: settings.reflect.filter(|_| !key.multihop),
            ..settings
        };
        if let Some(number) = self.by_key.get(&key).copied() {
            self.tell(now, number, session::Input::Enable);
            self.tell(now, number, session::Input::Change(settings));
            return;
        }
        let number = self.unused_discriminator();
        let session = Session::new(now, settings, number, self.random.next());
        let entry = Entry {
            key,
            due: session.deadline(),
            session,
            counters: Counters::default(),
            since: now,
        };
        self.queue.extend(entry.due.map(|due| (due, number)));
        self.by_discriminator.insert(number, entry);
        self.by_key.insert(key, number);
    }

    /// RFC 5880 §6.8.6 up to where the session is known.
    fn receive(&mut self, now: Time, datagram: &Datagram<'_>) -> Result<(), Discard> {
        // RFC 5881 §5: before anything else is looked at.
        if !datagram.multihop && datagram.ttl != HOP_LIMIT {
            return Err(Discard::Ttl);
        }
        let packet = Packet::decode(datagram.payload).map_err(|_| Discard::Malformed)?;
        let number = if packet.your_discriminator == 0 {
            if !matches!(packet.state, State::Down | State::AdminDown) {
                return Err(Discard::NoYourDiscriminator);
            }
            self.find(datagram).ok_or(Discard::NoSession)?
        } else {
            packet.your_discriminator
        };
        let entry = self.by_discriminator.get_mut(&number);
        let entry = entry.ok_or(Discard::NoSession)?;
        if !entry.key.admits(datagram) {
            return Err(Discard::OtherPath);
        }
        if entry.key.multihop && datagram.ttl < entry.session.settings().minimum_ttl {
            return Err(Discard::Ttl);
        }
        if packet.authenticated {
            return Err(Discard::Authenticated);
        }
        entry.counters.received = entry.counters.received.saturating_add(1);
        self.tell(now, number, session::Input::Packet(packet));
        Ok(())
    }

    /// RFC 5881 §3, RFC 5883 §4: the session that a packet without our discriminator is for, the one that was asked for most exactly.
    fn find(&self, datagram: &Datagram<'_>) -> Option<u32> {
        let first = Key {
            peer: datagram.from,
            local: None,
            interface: None,
            vrf: None,
            multihop: false,
        };
        self.by_key
            .range(first..)
            .take_while(|(key, _)| key.peer == datagram.from)
            .filter(|(key, _)| key.admits(datagram))
            .max_by_key(|(key, _)| (key.local.is_some(), key.interface.is_some()))
            .map(|(_, number)| *number)
    }

    fn receive_echo(&mut self, now: Time, payload: &[u8]) {
        let Some(payload) = EchoPayload::decode(payload) else {
            return;
        };
        let number = payload.discriminator;
        if let Some(entry) = self.by_discriminator.get_mut(&number) {
            entry.counters.echo_received = entry.counters.echo_received.saturating_add(1);
            self.tell(now, number, session::Input::Echo(payload));
        }
    }

    fn tick(&mut self, now: Time) {
        while let Some((due, number)) = self.queue.first().copied()
            && due <= now
        {
            self.tell(now, number, session::Input::Tick);
        }
    }

    /// Hands something to one session, and takes what it says.
    fn tell(&mut self, now: Time, number: u32, input: session::Input) {
        let Some(entry) = self.by_discriminator.get_mut(&number) else {
            return;
        };
        let before = entry.session.state();
        entry.session.handle(now, input);
        if entry.session.state() != before {
            entry.since = now;
        }
        let mut closed = false;
        while let Some(output) = entry.session.poll() {
            closed |= output == session::Output::Closed;
            entry.counters.count(&output);
            self.outputs.push_back(named(entry.key, output));
        }
        if let Some(due) = entry.due.take() {
            self.queue.remove(&(due, number));
        }
        if closed {
            self.by_key.remove(&entry.key);
            self.by_discriminator.remove(&number);
        } else {
            entry.due = entry.session.deadline();
            self.queue.extend(entry.due.map(|due| (due, number)));
        }
    }

    fn unused_discriminator(&mut self) -> u32 {
        loop {
            let number = self.random.number();
            if number != 0 && !self.by_discriminator.contains_key(&number) {
                return number;
            }
        }
    }

    fn entry(&self, key: Key) -> Option<&Entry> {
        self.by_discriminator.get(self.by_key.get(&key)?)
    }
}

impl Key {
    /// Whether a datagram came the way that was asked for. RFC 5880 §6.3 would have a known discriminator decide alone; the path is
    /// looked at as well so that nobody off it can say a word.
    fn admits(&self, datagram: &Datagram<'_>) -> bool {
        self.peer == datagram.from
            && self.multihop == datagram.multihop
            && self.vrf == datagram.vrf
            && self.local.is_none_or(|local| local == datagram.to)
            && self
                .interface
                .is_none_or(|interface| interface == datagram.interface)
    }
}

/// Why a datagram was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Discard {
    /// It came from farther away than it may (RFC 5881 §5).
    #[error("TTL is too low")]
    Ttl,
    /// It is no control packet.
    #[error("it is no control packet of version 1")]
    Malformed,
    /// It claims a session and does not name it.
    #[error("your discriminator is 0 in a state in which the peer has to know it")]
    NoYourDiscriminator,
    /// It is for no session that was asked for.
    #[error("there is no such session")]
    NoSession,
    /// It names a session with another peer, or came another way.
    #[error("the session named is with another peer or on another path")]
    OtherPath,
    /// It has an authentication section, and no session here has.
    #[error("authentication is not in use")]
    Authenticated,
}

/// What went through a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Control packets received and not discarded.
    pub received: u64,
    /// Control packets sent.
    pub sent: u64,
    /// Echo packets that came back.
    pub echo_received: u64,
    /// Echo packets sent.
    pub echo_sent: u64,
    /// How often the session came up.
    pub ups: u64,
    /// How often it went down from up.
    pub downs: u64,
}

impl Counters {
    const fn count(&mut self, output: &session::Output) {
        let counter = match output {
            session::Output::Send(_) => &mut self.sent,
            session::Output::Echo(_) => &mut self.echo_sent,
            session::Output::Up => &mut self.ups,
            session::Output::Down(_) => &mut self.downs,
            session::Output::Closed => return,
        };
        *counter = counter.saturating_add(1);
    }
}

/// A session as people see it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// What it was asked for by.
    pub key: Key,
    /// Its state, the peer's last packet, its intervals.
    pub session: &'a Session,
    /// What went through it.
    pub counters: Counters,
    /// When it entered its state.
    pub since: Time,
}

impl View<'_> {
    /// The peer's state as it says; Down while it is not heard.
    pub fn remote_state(&self) -> State {
        self.session
            .last_packet()
            .map_or(State::Down, |packet| packet.state)
    }

    /// The peer's diagnostic as it says.
    pub fn remote_diagnostic(&self) -> Diagnostic {
        self.session
            .last_packet()
            .map_or(Diagnostic::None, |packet| packet.diagnostic)
    }

    /// How long it has been in its state.
    pub const fn age(&self, now: Time) -> Duration {
        now.since(self.since)
    }
}

/// UDP port of control packets over one hop (RFC 5881 §4).
pub const SINGLE_HOP_PORT: u16 = 3784;
/// UDP port of control packets over several hops (RFC 5883 §5).
pub const MULTI_HOP_PORT: u16 = 4784;
/// The TTL that is sent, and asked for over one hop.
const HOP_LIMIT: u8 = 255;

#[derive(Clone, Debug)]
struct Entry {
    key: Key,
    session: Session,
    /// Its place in the queue.
    due: Option<Time>,
    counters: Counters,
    since: Time,
}

const fn named(key: Key, output: session::Output) -> Output {
    match output {
        session::Output::Send(packet) => Output::Send(key, packet),
        session::Output::Echo(payload) => Output::Echo(key, payload),
        session::Output::Up => Output::Up(key),
        session::Output::Down(reason) => Output::Down(key, reason),
        session::Output::Closed => Output::Closed(key),
    }
}

#[cfg(test)]
mod tests;
