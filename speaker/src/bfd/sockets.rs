//! The sockets of BFD: a few that receive, one per session that sends.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use ironlb_bfd::{Datagram, EchoFrame, Key, LENGTH, MULTI_HOP_PORT, Packet, SINGLE_HOP_PORT};
use ironlb_model::{Family, Mac};
use ironlb_sys::overhear::Overhearing;
use ironlb_sys::udp::{Buffer, Destination, Received, UdpReceiver, UdpSender, name_of};
use tokio::time::Instant;
use tracing::{debug, warn};

/// Everything that is open, and what should be.
#[derive(Default)]
pub(crate) struct Sockets {
    sessions: BTreeSet<Key>,
    receivers: BTreeMap<Door, UdpReceiver>,
    senders: BTreeMap<Key, UdpSender>,
    /// `None` while one cannot be opened.
    overhearing: BTreeMap<(u32, Family), Option<Overhearing>>,
    /// Source ports, for as long as there is the session: a sender that is opened anew keeps its own.
    ports: BTreeMap<Key, u16>,
    /// The last source port that was given away.
    port: u16,
    /// When to try again what could not be opened.
    retry_at: Option<Instant>,
    datagram: Buffer,
    packet: Vec<u8>,
    control: Vec<u8>,
}

/// What came in.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Arrival<'a> {
    /// A control packet.
    Datagram(Datagram<'a>),
    /// An IP packet on an interface, from an Ethernet address.
    Overheard(u32, Mac, &'a [u8]),
}

/// Where control packets come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Door {
    family: Family,
    multihop: bool,
    vrf: Option<u32>,
}

impl Door {
    const fn of(key: Key) -> Self {
        Self {
            family: Family::of(key.peer),
            multihop: key.multihop,
            vrf: key.vrf,
        }
    }

    fn open(self) -> io::Result<UdpReceiver> {
        let device = self.vrf.map(name_of).transpose()?;
        let port = port(self.multihop);
        UdpReceiver::open(self.family, port, device.as_deref(), !self.multihop)
    }
}

/// Where a packet is, before it is read from its buffer.
enum Place {
    Datagram(Door, Received),
    Overheard(u32, Mac, usize),
}

impl Sockets {
    /// Has what a session needs.
    pub(crate) fn want(&mut self, key: Key) {
        self.sessions.insert(key);
        self.complete();
    }

    /// A session is gone.
    pub(crate) fn close(&mut self, key: Key) {
        self.sessions.remove(&key);
        self.senders.remove(&key);
        self.ports.remove(&key);
        let needed: BTreeSet<Door> = self.sessions.iter().map(|key| Door::of(*key)).collect();
        self.receivers.retain(|door, _| needed.contains(door));
    }

    /// When to [`complete`](Self::complete).
    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Opens what is not open and should be.
    pub(crate) fn complete(&mut self) {
        self.retry_at = None;
        let doors: BTreeSet<Door> = self.sessions.iter().map(|key| Door::of(*key)).collect();
        for door in doors {
            if self.receivers.contains_key(&door) {
                continue;
            }
            match door.open() {
                Ok(receiver) => {
                    self.receivers.insert(door, receiver);
                }
                Err(error) => {
                    let port = port(door.multihop);
                    warn!(port, family = %door.family, %error, "no socket to receive BFD packets, trying again");
                    self.retry_at = Some(Instant::now() + RETRY);
                }
            }
        }
        for ((interface, family), socket) in &mut self.overhearing {
            if socket.is_some() {
                continue;
            }
            match Overhearing::open(*interface, *family) {
                Ok(opened) => *socket = Some(opened),
                Err(error) => {
                    warn!(interface, %family, %error, "no socket for BFD echo packets, trying again");
                    self.retry_at = Some(Instant::now() + RETRY);
                }
            }
        }
    }

    /// Sends a control packet, if it can be sent now.
    pub(crate) fn send(&mut self, key: Key, packet: &Packet) {
        self.control.clear();
        packet.encode(&mut self.control);
        if !self.senders.contains_key(&key) {
            match self.open_sender(key) {
                Ok(sender) => {
                    self.senders.insert(key, sender);
                }
                Err(error) => {
                    debug!(peer = %key.peer, %error, "no socket to send BFD packets");
                    return;
                }
            }
        }
        let Some(sender) = self.senders.get(&key) else {
            return;
        };
        if let Err(error) = sender.send(&self.control) {
            debug!(peer = %key.peer, %error, "a BFD packet is not sent");
            // The address or the interface may be another one by the next time.
            if error.kind() != io::ErrorKind::WouldBlock {
                self.senders.remove(&key);
            }
        }
    }

    /// Sends an echo packet, if it can be sent now.
    pub(crate) fn send_echo(&self, frame: &EchoFrame) {
        let place = (frame.interface, Family::of(frame.key.peer));
        let Some(Some(socket)) = self.overhearing.get(&place) else {
            return;
        };
        if let Err(error) = socket.send(&frame.packet, frame.to) {
            debug!(peer = %frame.key.peer, %error, "a BFD echo packet is not sent");
        }
    }

    /// Gives what passes on an interface.
    pub(crate) fn overhear(&mut self, interface: u32, family: Family) {
        self.overhearing.entry((interface, family)).or_default();
        self.complete();
    }

    /// No longer.
    pub(crate) fn ignore(&mut self, interface: u32, family: Family) {
        self.overhearing.remove(&(interface, family));
    }

    /// Waits for the next packet. Safe to drop at any point.
    pub(crate) async fn receive(&mut self) -> Arrival<'_> {
        let place = poll_fn(|cx| self.poll_receive(cx)).await;
        self.read(place)
    }

    /// The next packet that has come in already.
    pub(crate) fn arrived(&mut self) -> Option<Arrival<'_>> {
        self.packet.resize(PACKET, 0);
        for (door, receiver) in &self.receivers {
            if let Ok(received) = receiver.try_receive(&mut self.datagram) {
                return Some(self.read(Place::Datagram(*door, received)));
            }
        }
        for ((interface, _), socket) in &self.overhearing {
            let received = socket
                .as_ref()
                .map(|open| open.try_receive(&mut self.packet));
            if let Some(Ok((length, mac))) = received {
                return Some(self.read(Place::Overheard(*interface, mac, length)));
            }
        }
        None
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Place> {
        for (door, receiver) in &self.receivers {
            // An error is the network's, and concerns no packet that is here.
            while let Poll::Ready(result) = receiver.poll_receive(cx, &mut self.datagram) {
                if let Ok(received) = result {
                    return Poll::Ready(Place::Datagram(*door, received));
                }
            }
        }
        self.packet.resize(PACKET, 0);
        for ((interface, _), socket) in &self.overhearing {
            let Some(socket) = socket else {
                continue;
            };
            while let Poll::Ready(result) = socket.poll_receive(cx, &mut self.packet) {
                if let Ok((length, mac)) = result {
                    return Poll::Ready(Place::Overheard(*interface, mac, length));
                }
            }
        }
        Poll::Pending
    }

    fn read(&self, place: Place) -> Arrival<'_> {
        match place {
            Place::Datagram(door, received) => Arrival::Datagram(Datagram {
                from: received.from,
                to: received.to,
                interface: received.interface,
                vrf: door.vrf,
                multihop: door.multihop,
                ttl: received.ttl,
                payload: self.datagram.payload(&received),
            }),
            Place::Overheard(interface, mac, length) => {
                let packet = self.packet.get(..length).unwrap_or_default();
                Arrival::Overheard(interface, mac, packet)
            }
        }
    }

    /// At a source port that no other session has, and always the same one (RFC 5881 §4).
    fn open_sender(&mut self, key: Key) -> io::Result<UdpSender> {
        let to = Destination {
            peer: key.peer,
            port: port(key.multihop),
            local: key.local,
            interface: key.interface,
            device: key.vrf.map(name_of).transpose()?,
        };
        if let Some(port) = self.ports.remove(&key) {
            let sender = UdpSender::open(&to, port);
            // Unless another process was quicker.
            if !matches!(&sender, Err(error) if error.kind() == io::ErrorKind::AddrInUse) {
                self.ports.insert(key, port);
                return sender;
            }
        }
        let taken: BTreeSet<u16> = self.ports.values().copied().collect();
        for _ in FIRST_PORT..=u16::MAX {
            self.port = self.port.checked_add(1).unwrap_or(0).max(FIRST_PORT);
            if taken.contains(&self.port) {
                continue;
            }
            match UdpSender::open(&to, self.port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
                Ok(sender) => {
                    self.ports.insert(key, self.port);
                    return Ok(sender);
                }
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

const fn port(multihop: bool) -> u16 {
    if multihop {
        MULTI_HOP_PORT
    } else {
        SINGLE_HOP_PORT
    }
}

/// RFC 5881 §4.
const FIRST_PORT: u16 = 49_152;
/// What could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Longer than an echo packet or a control packet with its headers.
const PACKET: usize = 60 + 8 + 4 * LENGTH;
