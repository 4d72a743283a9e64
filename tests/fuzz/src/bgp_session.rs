//! A BGP peer under any history of wishes, connections, time and bytes: every connection is closed once and nothing is said on it after that,
//! ups and downs alternate, ticks move on, and nothing is left of a peer that was stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::peer::{Settings, Transport};
use ironlb_bgp::wire::{AfiSafi, Capabilities, Open, encode_keepalive, end_of_rib};
use ironlb_bgp::{Connection, Input, Output, Peer, State, Stop};
use ironlb_model::bgp::{PeerAsn, PeerEndpoint};
use ironlb_model::{Family, Time};

/// Panics when the history that `bytes` spell breaks it.
pub fn run(bytes: &[u8]) {
    let mut bytes = Bytes(bytes);
    let now = Time::from_secs(1);
    let mut run = Run {
        now,
        peer: Peer::new(now, bytes.settings(), 1, true),
        dialled: BTreeSet::new(),
        open: BTreeMap::new(),
        accepted: 0,
        up: false,
    };
    run.give(Input::Start);
    while let Some(step) = bytes.next() {
        run.step(step, &mut bytes);
    }
    run.end();
}

struct Run {
    now: Time,
    peer: Peer,
    /// Connections that are asked for.
    dialled: BTreeSet<Connection>,
    /// Connections that there are, and whether something was sent on them that has not gone yet.
    open: BTreeMap<Connection, bool>,
    accepted: u64,
    up: bool,
}

impl Run {
    fn step(&mut self, step: u8, bytes: &mut Bytes<'_>) {
        match step % 20 {
            0 => self.give(Input::Start),
            1 => self.give(Input::Stop(match bytes.byte() % 3 {
                0 => Stop::Shutdown("bye".to_owned()),
                1 => Stop::Deconfigured,
                _ => Stop::Upgrade,
            })),
            2 => self.give(Input::Reset("again".to_owned())),
            3 => {
                let settings = Box::new(bytes.settings());
                self.give(Input::Configure(settings));
            }
            4 => self.give(match bytes.byte() % 2 {
                0 => Input::BfdDown,
                _ => Input::BfdOff,
            }),
            5 => self.give(Input::BfdUp),
            6 => self.pass(Duration::from_secs(u64::from(bytes.byte()))),
            16 => self.pass(Duration::from_millis(u64::from(bytes.byte()) * 10)),
            7 => self.accept(),
            8 => self.answer(bytes.byte()),
            9 => self.lose(bytes.byte()),
            10 => self.take(bytes.byte()),
            11 => self.send(bytes.byte()),
            12 => {
                let open = bytes.open();
                self.hear(bytes.byte(), &open);
            }
            13 => {
                let mut keepalive = Vec::new();
                encode_keepalive(&mut keepalive);
                self.hear(bytes.byte(), &keepalive);
            }
            14 => {
                let message = bytes.message();
                self.hear(bytes.byte(), &message);
            }
            15 => {
                let raw = bytes.raw();
                self.hear(bytes.byte(), &raw);
            }
            _ => {
                let open = bytes.open();
                self.shake_hands(bytes.byte(), open);
            }
        }
    }

    /// What makes a session, if the time is right: on a connection that there is, else on a new one.
    fn shake_hands(&mut self, choice: u8, open: Vec<u8>) {
        if self.open.is_empty() {
            self.accept();
        }
        let mut messages = open;
        encode_keepalive(&mut messages);
        self.hear(choice, &messages);
    }

    /// The peer connects.
    fn accept(&mut self) {
        let number = self.accepted;
        self.accepted += 1;
        self.open.insert(Connection::inbound(number), false);
        let (local, remote) = ends();
        self.give(Input::Accepted {
            number,
            local,
            remote,
        });
    }

    /// What we dialled is there, or not to be had.
    fn answer(&mut self, choice: u8) {
        let Some(connection) = self.dialled.first().copied() else {
            return;
        };
        if choice & 1 == 0 {
            let error = Some("refused".to_owned());
            self.give(Input::Closed { connection, error });
            return;
        }
        self.dialled.remove(&connection);
        self.open.insert(connection, false);
        let (local, remote) = ends();
        self.give(Input::Connected {
            connection,
            local,
            remote,
        });
    }

    fn lose(&mut self, choice: u8) {
        if let Some(connection) = self.any(choice) {
            let error = (choice & 1 == 0).then(|| "reset".to_owned());
            self.give(Input::Closed { connection, error });
            assert!(!self.open.contains_key(&connection));
        }
    }

    /// The system takes what was sent.
    fn take(&mut self, choice: u8) {
        if let Some(connection) = self.any(choice) {
            self.open.insert(connection, false);
            self.give(Input::Drained(connection));
        }
    }

    fn send(&mut self, times: u8) {
        let mut message = Vec::new();
        end_of_rib(Family::V4, &mut message);
        let message: Arc<[u8]> = message.into();
        for _ in 0..times {
            if self.peer.has_room() {
                assert_eq!(self.peer.state(), State::Established);
                self.peer.send(self.now, message.clone());
            }
        }
        self.check();
    }

    fn hear(&mut self, choice: u8, message: &[u8]) {
        if let Some(connection) = self.any(choice) {
            self.peer.receive(self.now, connection, message);
            self.check();
        }
    }

    /// Woken at each deadline, which moves on each time.
    fn pass(&mut self, period: Duration) {
        let end = self.now + period;
        while let Some(due) = self.peer.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.give(Input::Tick);
            assert!(self.peer.deadline().is_none_or(|next| next > self.now));
        }
        self.now = end;
    }

    fn any(&self, choice: u8) -> Option<Connection> {
        let place = usize::from(choice >> 1) % self.open.len().max(1);
        self.open.keys().nth(place).copied()
    }

    fn give(&mut self, input: Input) {
        self.peer.handle(self.now, input);
        self.check();
    }

    fn check(&mut self) {
        while let Some(output) = self.peer.poll() {
            match output {
                Output::Connect(connection) => assert!(self.dialled.insert(connection)),
                Output::Send { connection, bytes } => {
                    assert!(!bytes.is_empty());
                    *self.open.get_mut(&connection).unwrap() = true;
                }
                Output::Close(connection) => {
                    let dialled = self.dialled.remove(&connection);
                    assert!(dialled != self.open.remove(&connection).is_some());
                }
                Output::Up { connection, .. } => {
                    assert!(self.open.contains_key(&connection) && !self.up);
                    self.up = true;
                }
                Output::Down(cause) => {
                    assert!(!cause.to_string().is_empty() && self.up);
                    self.up = false;
                }
                Output::Failed(cause) => assert!(!cause.to_string().is_empty()),
                Output::Resend { .. } => assert!(self.up),
            }
        }
        assert!(self.dialled.len() <= 1 && self.open.len() <= 3);
        assert_eq!(self.up, self.peer.state() == State::Established);
        assert_eq!(self.up, self.peer.status().agreement.is_some());
    }

    fn end(&mut self) {
        self.give(Input::Stop(Stop::Deconfigured));
        assert!(self.dialled.is_empty() && self.open.is_empty() && !self.up);
        assert_eq!(self.peer.deadline(), None);
        assert_eq!(self.peer.state(), State::Idle);
    }
}

fn ends() -> (SocketAddr, SocketAddr) {
    let end = |host| SocketAddr::from(([192, 0, 2, host], 179));
    (end(1), end(2))
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

    fn settings(&mut self) -> Settings {
        let flags = self.byte();
        Settings {
            asn: 65_000 + u32::from(flags & 1),
            local_asn: None,
            peer_asn: PeerAsn::External,
            router_id: Ipv4Addr::new(192, 0, 2, 1),
            families: match flags & 2 {
                0 => [Family::V4].into(),
                _ => Family::ALL.into(),
            },
            transport: Transport {
                endpoint: PeerEndpoint::Address(Ipv4Addr::new(192, 0, 2, 2).into()),
                port: 179,
                source: None,
                vrf: None,
            },
            hold_time: Duration::from_secs(if flags & 4 == 0 { 90 } else { 0 }),
            keepalive_time: Duration::from_secs(u64::from(flags & 8)),
            connect_time: Duration::from_secs(1),
            passive: flags & 0x30 == 0x30,
            restart_time: (flags & 0x40 != 0).then_some(Duration::from_secs(120)),
            bfd_strict: flags & 0x30 == 0x20,
            maximum_prefixes: (flags & 0x80 != 0).then_some(3),
        }
    }

    /// An OPEN that is good more often than not.
    fn open(&mut self) -> Vec<u8> {
        let flags = self.byte();
        let mut capabilities = Capabilities {
            multiprotocol: [AfiSafi::IPV4_UNICAST].into(),
            route_refresh: flags & 1 != 0,
            enhanced_route_refresh: flags & 2 != 0,
            extended_message: flags & 4 != 0,
            bfd_strict: flags & 5 == 5,
            ..Capabilities::default()
        };
        if flags & 8 != 0 {
            let restart = ironlb_bgp::wire::GracefulRestart {
                notification: flags & 0x10 != 0,
                restart_time: 60,
                ..Default::default()
            };
            capabilities.graceful_restart = Some(restart);
        }
        let open = Open {
            asn: if flags & 0xe0 == 0xe0 { 65_000 } else { 65_009 },
            hold_time: if flags & 0xe0 == 0x20 { 0 } else { 30 },
            router_id: Ipv4Addr::new(192, 0, 2, if flags & 0x40 == 0 { 2 } else { 0 }),
            capabilities,
        };
        let mut bytes = Vec::new();
        open.encode(&mut bytes);
        bytes
    }

    /// A message with a good header, and a body of what follows.
    fn message(&mut self) -> Vec<u8> {
        let kind = self.byte() % 5 + 1;
        let body = self.raw();
        let mut bytes = vec![0xff; 16];
        let length = u16::try_from(19 + body.len()).unwrap();
        bytes.extend(length.to_be_bytes());
        bytes.push(kind);
        bytes.extend(body);
        bytes
    }

    fn raw(&mut self) -> Vec<u8> {
        let length = usize::from(self.byte()).min(self.0.len());
        let (raw, rest) = self.0.split_at(length);
        self.0 = rest;
        raw.to_vec()
    }
}
