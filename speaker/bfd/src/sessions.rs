//! All sessions of a node: which one a datagram belongs to, and what is wanted.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::{Family, Mac, Time};

use crate::echo::{self, EchoPayload, Overheard};
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
    /// An IP packet to this host that was asked for by [`Output::Overhear`], with the interface and the Ethernet address that it came
    /// from.
    Overheard(u32, Mac, &'a [u8]),
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
    /// Hand in UDP packets to [`SINGLE_HOP_PORT`] and [`ECHO_PORT`] that come in on this interface, whether the kernel takes them
    /// for its own or not: it does not take what comes back from ourselves.
    Overhear(u32, Family),
    /// No longer.
    Ignore(u32, Family),
    /// Send an echo packet.
    Echo(EchoFrame),
    /// The session is up.
    Up(Key),
    /// The session was up and is no more.
    Down(Key, Reason),
    /// The session is gone, and the peer has been told.
    Closed(Key),
}

/// An IP packet from us to us, in an Ethernet frame to the peer, who sends it back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EchoFrame {
    /// The session.
    pub key: Key,
    /// The index of the interface to send on.
    pub interface: u32,
    /// The peer's Ethernet address.
    pub to: Mac,
    /// The packet, from its IP header on.
    pub packet: Vec<u8>,
}

/// Every session of a node, keyed by what a routing protocol knows of its peer.
#[derive(Clone, Debug)]
pub struct Sessions {
    random: Random,
    by_discriminator: BTreeMap<u32, Entry>,
    by_key: BTreeMap<Key, u32>,
    queue: BTreeSet<(Time, u32)>,
    /// How many sessions are overheard on each interface.
    overheard: BTreeMap<(u32, Family), usize>,
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
            overheard: BTreeMap::new(),
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
            Input::Overheard(interface, mac, packet) => {
                if let Some(overheard) = Overheard::decode(packet) {
                    self.overhear(now, interface, mac, &overheard);
                }
            }
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
            echo: settings.echo.filter(|_| key.may_echo()),
            reflect: settings.reflect.filter(|_| key.may_echo()),
            ..settings
        };
        if let Some(number) = self.by_key.get(&key).copied() {
            self.tell(now, number, session::Input::Enable);
            self.tell(now, number, session::Input::Change(settings));
            self.settle_overhearing(number);
            return;
        }
        let number = self.unused_discriminator();
        let session = Session::new(now, settings, number, self.random.next());
        let entry = Entry {
            key,
            due: session.deadline(),
            session,
            path: None,
            mac: None,
            overheard: None,
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
        entry.path = Some((datagram.to, datagram.interface));
        self.settle_overhearing(number);
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

    /// Our own echo packet that came back, or a control packet that tells the peer's Ethernet address.
    fn overhear(&mut self, now: Time, interface: u32, mac: Mac, packet: &Overheard<'_>) {
        if packet.port == ECHO_PORT && packet.from == packet.to {
            let Some(payload) = EchoPayload::decode(packet.payload) else {
                return;
            };
            let number = payload.discriminator;
            if let Some(entry) = self.by_discriminator.get_mut(&number) {
                entry.counters.echo_received = entry.counters.echo_received.saturating_add(1);
                self.tell(now, number, session::Input::Echo(payload));
            }
        } else if packet.port == SINGLE_HOP_PORT && packet.ttl == HOP_LIMIT {
            let path = Some((packet.to, interface));
            for entry in self.by_discriminator.values_mut() {
                if entry.key.peer == packet.from && entry.path == path {
                    entry.mac = Some(mac);
                }
            }
        }
    }

    /// Asks for what passes where a session with echo is, and no longer for what is not needed.
    fn settle_overhearing(&mut self, number: u32) {
        let Some(entry) = self.by_discriminator.get_mut(&number) else {
            return;
        };
        let wanted = entry
            .path
            .filter(|_| entry.session.settings().echo.is_some())
            .map(|(local, interface)| (interface, Family::of(local)));
        if entry.overheard == wanted {
            return;
        }
        entry.mac = None;
        let before = std::mem::replace(&mut entry.overheard, wanted);
        self.count_overhearing(before, wanted);
    }

    fn count_overhearing(&mut self, before: Option<(u32, Family)>, after: Option<(u32, Family)>) {
        if let Some((interface, family)) = after {
            let count = self.overheard.entry((interface, family)).or_default();
            *count = count.saturating_add(1);
            if *count == 1 {
                self.outputs.push_back(Output::Overhear(interface, family));
            }
        }
        if let Some((interface, family)) = before
            && let Some(count) = self.overheard.get_mut(&(interface, family))
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.overheard.remove(&(interface, family));
                self.outputs.push_back(Output::Ignore(interface, family));
            }
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
            self.outputs.extend(entry.output(output));
        }
        if let Some(due) = entry.due.take() {
            self.queue.remove(&(due, number));
        }
        if closed {
            let overheard = entry.overheard.take();
            self.by_key.remove(&entry.key);
            self.by_discriminator.remove(&number);
            self.count_overhearing(overheard, None);
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
    /// RFC 5883 §4.1, RFC 5881 §4: only the next hop sends echo packets back, and not those of link-local addresses (RFC 4291 §2.5.6).
    const fn may_echo(&self) -> bool {
        let link_local = match self.peer {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        !self.multihop && !link_local
    }

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
            session::Output::Up => &mut self.ups,
            session::Output::Down(_) => &mut self.downs,
            // Counted where it is known whether it can be sent.
            session::Output::Echo(_) | session::Output::Closed => return,
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
/// UDP port of echo packets (RFC 5881 §4).
pub const ECHO_PORT: u16 = 3785;
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
    /// Our address and the interface as the peer's last packet had them.
    path: Option<(IpAddr, u32)>,
    /// The peer's Ethernet address there, once a packet of its was overheard.
    mac: Option<Mac>,
    /// What is overheard for its sake.
    overheard: Option<(u32, Family)>,
    counters: Counters,
    since: Time,
}

impl Entry {
    /// What a session says, with what it does not know of the path. An echo packet that has no way yet is left out.
    fn output(&mut self, output: session::Output) -> Option<Output> {
        self.counters.count(&output);
        Some(match output {
            session::Output::Send(packet) => Output::Send(self.key, packet),
            session::Output::Echo(payload) => Output::Echo(self.echo(&payload)?),
            session::Output::Up => Output::Up(self.key),
            session::Output::Down(reason) => Output::Down(self.key, reason),
            session::Output::Closed => Output::Closed(self.key),
        })
    }

    fn echo(&mut self, payload: &EchoPayload) -> Option<EchoFrame> {
        let ((local, interface), to) = self.path.zip(self.mac)?;
        self.counters.echo_sent = self.counters.echo_sent.saturating_add(1);
        Some(EchoFrame {
            key: self.key,
            interface,
            to,
            packet: echo::packet(local, payload),
        })
    }
}

#[cfg(test)]
mod tests;
