//! All BFD sessions of a node under any history of wishes, time and datagrams: packets are sent only for sessions that are wanted, ups and
//! downs alternate, ticks move on, and nothing is left of a session that is no longer wanted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ironlb_bfd::{Datagram, Input, Key, Output, Sessions, Settings, State, Status};
use ironlb_model::{Family, Mac, Time};

/// Panics when the history that `bytes` spell breaks it.
pub fn run(bytes: &[u8]) {
    let mut run = Run {
        now: Time::from_secs(1),
        sessions: Sessions::new(1),
        wanted: BTreeSet::new(),
        known: BTreeMap::new(),
        echoes: Vec::new(),
        overheard: BTreeSet::new(),
    };
    let mut bytes = Bytes(bytes);
    while let Some(step) = bytes.next() {
        run.step(step, &mut bytes);
    }
    run.end();
}

struct Run {
    now: Time,
    sessions: Sessions,
    wanted: BTreeSet<Key>,
    /// Sessions that are not closed, and whether each is up.
    known: BTreeMap<Key, bool>,
    echoes: Vec<Vec<u8>>,
    overheard: BTreeSet<(u32, Family)>,
}

impl Run {
    fn step(&mut self, step: u8, bytes: &mut Bytes<'_>) {
        match step % 8 {
            0 => {
                let key = bytes.key();
                self.wanted.insert(key);
                self.known.entry(key).or_default();
                self.give(Input::Want(key, bytes.settings()));
            }
            1 => {
                let key = bytes.key();
                self.wanted.remove(&key);
                self.give(Input::Unwant(key));
            }
            2 => {
                self.now = self.now + Duration::from_millis(u64::from(bytes.byte()));
                self.give(Input::Tick);
            }
            3 => self.pass(Duration::from_millis(u64::from(bytes.byte()) * 20)),
            4 => {
                let echo = self.echoes.pop().unwrap_or_default();
                self.give(Input::Overheard(1, Mac([2; 6]), &echo));
            }
            _ => self.datagram(bytes),
        }
    }

    fn datagram(&mut self, bytes: &mut Bytes<'_>) {
        let key = bytes.key();
        let flags = bytes.byte();
        let number = self
            .sessions
            .views()
            .find(|view| view.key == key)
            .map_or(0, |view| view.session.discriminator());
        let payload = bytes.payload(if flags & 1 == 0 { number } else { 0 });
        if let (2, IpAddr::V4(peer)) = (flags & 2, key.peer) {
            let packet = control_packet(peer, &payload);
            self.give(Input::Overheard(1, Mac([2; 6]), &packet));
        }
        self.give(Input::Datagram(Datagram {
            from: key.peer,
            to: key.local.unwrap_or_else(|| Ipv4Addr::LOCALHOST.into()),
            interface: key.interface.unwrap_or(1),
            vrf: key.vrf,
            multihop: key.multihop,
            ttl: if flags & 0xf0 == 0xf0 { 254 } else { 255 },
            payload: &payload,
        }));
    }

    /// Woken at each deadline, which moves on each time.
    fn pass(&mut self, period: Duration) {
        let end = self.now + period;
        while let Some(due) = self.sessions.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.give(Input::Tick);
            assert!(self.sessions.deadline().is_none_or(|next| next > self.now));
        }
        self.now = end;
    }

    fn give(&mut self, input: Input<'_>) {
        self.sessions.handle(self.now, input);
        while let Some(output) = self.sessions.poll() {
            self.check(output);
        }
        for view in self.sessions.views() {
            assert!(self.known.contains_key(&view.key));
            let up = view.session.state() == State::Up;
            assert_eq!(up, view.session.status() == Status::Up);
        }
    }

    fn check(&mut self, output: Output) {
        match output {
            Output::Send(key, packet) => {
                assert!(self.known.contains_key(&key));
                assert!(self.wanted.contains(&key) || packet.state == State::AdminDown);
                assert!(!(packet.poll && packet.is_final));
                assert!(!packet.demand);
                let mut bytes = Vec::new();
                packet.encode(&mut bytes);
                super::bfd_packet::run(&bytes);
            }
            Output::Echo(frame) => {
                assert!(self.known[&frame.key] && !frame.key.multihop);
                assert!(
                    self.overheard
                        .contains(&(frame.interface, Family::of(frame.key.peer)))
                );
                self.echoes.push(frame.packet);
            }
            Output::Overhear(interface, family) => {
                assert!(self.overheard.insert((interface, family)));
            }
            Output::Ignore(interface, family) => {
                assert!(self.overheard.remove(&(interface, family)));
            }
            Output::Up(key) => assert_eq!(self.known.insert(key, true), Some(false)),
            Output::Down(key, reason) => {
                assert!(!reason.to_string().is_empty());
                assert_eq!(self.known.insert(key, false), Some(true));
            }
            Output::Closed(key) => {
                assert!(!self.wanted.contains(&key));
                assert_eq!(self.known.remove(&key), Some(false));
            }
        }
    }

    /// Nobody wants anything any more: after the longest goodbye, nothing is left.
    fn end(&mut self) {
        for key in std::mem::take(&mut self.wanted) {
            self.give(Input::Unwant(key));
        }
        // 255 packets, 71 minutes apart.
        self.now = self.now + Duration::from_secs(255 * 4_300);
        self.give(Input::Tick);
        assert!(self.known.is_empty() && self.overheard.is_empty());
        assert_eq!(self.sessions.deadline(), None);
    }
}

/// An IPv4 packet from `peer` with a control packet in it, without sums.
fn control_packet(peer: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let udp = u16::try_from(8 + payload.len()).unwrap();
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp).to_be_bytes());
    packet.extend([0, 0, 0, 0, 255, 17, 0, 0]);
    packet.extend(peer.octets());
    packet.extend(Ipv4Addr::LOCALHOST.octets());
    for field in [49_152, 3_784, udp, 0] {
        packet.extend(field.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

/// Reads values off the front; zeroes when there is nothing left.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn byte(&mut self) -> u8 {
        self.next().unwrap_or(0)
    }

    /// One of a few, some of which take the same datagrams.
    fn key(&mut self) -> Key {
        let byte = self.byte();
        let peer: IpAddr = match byte & 3 {
            0 => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into(),
            low => Ipv4Addr::new(192, 0, 2, low & 1).into(),
        };
        Key {
            peer,
            local: (byte & 4 != 0).then_some(Ipv4Addr::LOCALHOST.into()),
            interface: (byte & 8 != 0).then_some(1),
            vrf: (byte & 0x30 == 0x30).then_some(9),
            multihop: byte & 0x40 != 0,
        }
    }

    fn settings(&mut self) -> Settings {
        let interval = |byte: u8| Duration::from_millis(10 + u64::from(byte) * 8);
        let flags = self.byte();
        Settings {
            detect_multiplier: self.byte().max(1),
            transmit_interval: interval(self.byte()),
            receive_interval: interval(self.byte()),
            echo: (flags & 1 != 0).then(|| interval(flags)),
            reflect: (flags & 2 != 0).then(|| interval(flags)),
            passive: flags & 4 != 0,
            minimum_ttl: 254,
        }
    }

    /// Anything, or a packet to the session `number` whose other fields are as they come.
    fn payload(&mut self, number: u32) -> Vec<u8> {
        let kind = self.byte();
        if kind & 0x80 != 0 {
            let length = usize::from(kind & 0x3f).min(self.0.len());
            let (payload, rest) = self.0.split_at(length);
            self.0 = rest;
            return payload.to_vec();
        }
        let mut payload = vec![
            0x20 | kind & 0x1f,
            self.byte() & 0xfa,
            self.byte().max(1),
            24,
        ];
        payload.extend([0, 0, 0, self.byte().max(1)]);
        payload.extend(number.to_be_bytes());
        for _ in 0..3 {
            let milliseconds = u32::from(self.byte()) * 4;
            payload.extend((milliseconds * 1_000).to_be_bytes());
        }
        payload
    }
}
