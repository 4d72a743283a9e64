//! A whole responder under any history of interfaces, addresses, time and frames: it never speaks for what it does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ironlb_l2::arp::{self, Operation};
use ironlb_l2::ethernet::{self, Frame};
use ironlb_l2::ndp::{self, Message};
use ironlb_l2::{Holding, Interfaces, Output, Port, Responder, Verdict};
use ironlb_model::config::Gratuitous;
use ironlb_model::{Mac, Time};

/// Panics when the history that `bytes` spell breaks it.
pub fn run(bytes: &[u8]) {
    let mut run = Run::default();
    let mut bytes = Bytes(bytes);
    while let Some(step) = bytes.next() {
        run.step(step, &mut bytes);
        run.check();
    }
}

struct Run {
    now: Time,
    responder: Responder,
    ports: BTreeMap<u32, Port>,
    held: BTreeMap<IpAddr, Interfaces>,
    joined: BTreeSet<(u32, Mac)>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            now: Time::ZERO,
            responder: Responder::new(1),
            ports: BTreeMap::new(),
            held: BTreeMap::new(),
            joined: BTreeSet::new(),
        }
    }
}

impl Run {
    fn step(&mut self, step: u8, bytes: &mut Bytes<'_>) {
        match step % 8 {
            0 => self.set_port(bytes),
            1 => {
                let interface = bytes.interface();
                self.ports.remove(&interface);
                self.joined.retain(|(member, _)| *member != interface);
                self.responder.remove_port(interface);
            }
            2 => self.hold(bytes),
            3 => {
                let address = bytes.address();
                self.held.remove(&address);
                self.responder.release(address);
            }
            4 => {
                self.now = self.now + Duration::from_millis(u64::from(bytes.byte()) * 20);
                self.responder.tick(self.now);
            }
            _ => self.frame(bytes),
        }
    }

    fn set_port(&mut self, bytes: &mut Bytes<'_>) {
        let interface = bytes.interface();
        let flags = bytes.byte();
        let port = Port {
            mac: Mac([2, 0, 0, 0, 0, flags % 4]),
            arp: flags & 16 != 0,
            ndp: flags & 32 != 0,
        };
        self.ports.insert(interface, port);
        self.responder.set_port(self.now, interface, port);
    }

    fn hold(&mut self, bytes: &mut Bytes<'_>) {
        let address = bytes.address();
        let flags = bytes.byte();
        let interfaces = match flags % 4 {
            0 => Interfaces::All,
            _ => Interfaces::Only((0..4).filter(|bit| flags >> bit & 1 == 1).collect()),
        };
        self.held.insert(address, interfaces.clone());
        let holding = Holding {
            interfaces,
            gratuitous: Gratuitous {
                count: flags >> 6,
                interval: Duration::from_millis(100),
            },
            refresh: (flags & 32 != 0).then_some(Duration::from_secs(1)),
        };
        self.responder.hold(self.now, address, holding);
    }

    fn frame(&mut self, bytes: &mut Bytes<'_>) {
        let interface = bytes.interface();
        let frame = bytes.frame();
        let verdict = self.responder.handle_frame(self.now, interface, &frame);
        if let Verdict::Answered(address) | Verdict::Claimed(address) = verdict {
            assert!(self.may_speak(interface, address), "{verdict:?}");
        }
    }

    /// Everything that comes out speaks for what is held there, and joins and leaves in pairs.
    fn check(&mut self) {
        while let Some(output) = self.responder.poll() {
            match output {
                Output::Join { interface, group } => {
                    assert!(self.ports.contains_key(&interface));
                    assert!(self.joined.insert((interface, group)), "joined twice");
                }
                Output::Leave { interface, group } => {
                    assert!(self.joined.remove(&(interface, group)), "not joined");
                }
                Output::Send { interface, frame } => self.check_frame(interface, &frame),
                Output::Conflict(conflict) => {
                    assert!(self.may_speak(conflict.interface, conflict.address));
                }
            }
        }
        for address in self.held.keys() {
            assert!(self.responder.holds(*address));
        }
        assert_eq!(self.responder.counters().len(), self.held.len());
    }

    fn check_frame(&self, interface: u32, frame: &[u8]) {
        let frame = Frame::decode(frame).unwrap();
        let port = self.ports[&interface];
        assert_eq!(frame.source, port.mac);
        let (address, mac) = match frame.ether_type {
            ethernet::ARP => {
                let packet = arp::Packet::decode(frame.payload).unwrap();
                let announced = packet.sender_ip == packet.target_ip;
                assert!(announced || packet.operation == Operation::Reply);
                (packet.sender_ip.into(), packet.sender_mac)
            }
            _ => match ndp::Packet::decode(frame.payload).unwrap().message {
                Message::Advertisement(message) => {
                    assert!(message.overrides);
                    (message.target.into(), message.target_mac.unwrap())
                }
                other => panic!("{other:?}"),
            },
        };
        assert_eq!(mac, port.mac);
        assert!(
            self.may_speak(interface, address),
            "{address} on {interface}"
        );
    }

    fn may_speak(&self, interface: u32, address: IpAddr) -> bool {
        let carried = self
            .ports
            .get(&interface)
            .is_some_and(|port| match address {
                IpAddr::V4(_) => port.arp,
                IpAddr::V6(_) => port.ndp,
            });
        let held = self.held.get(&address);
        carried && held.is_some_and(|interfaces| interfaces.contains(interface))
    }
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

    /// One of four.
    fn interface(&mut self) -> u32 {
        u32::from(self.byte() % 4)
    }

    /// One of a few; two IPv6 addresses share a group.
    fn address(&mut self) -> IpAddr {
        let byte = self.byte();
        match byte % 8 {
            low @ 0..4 => Ipv4Addr::new(192, 0, 2, low).into(),
            low => Ipv6Addr::new(
                0x2001,
                0xdb8,
                u16::from(low % 2),
                0,
                0,
                0,
                0,
                u16::from(low / 2),
            )
            .into(),
        }
    }

    /// The next frame: anything, or a request or claim about one of the addresses, with some byte changed or none.
    fn frame(&mut self) -> Vec<u8> {
        let kind = self.byte();
        let mut frame = match kind % 4 {
            0 => {
                let length = usize::from(self.byte()).min(self.0.len());
                let (frame, rest) = self.0.split_at(length);
                self.0 = rest;
                return frame.to_vec();
            }
            1 => self.arp(Operation::Request),
            2 => self.arp(Operation::Reply),
            _ => self.ndp(),
        };
        if kind & 16 != 0 {
            let place = usize::from(self.byte()) % frame.len();
            frame[place] = self.byte();
        }
        frame
    }

    fn arp(&mut self, operation: Operation) -> Vec<u8> {
        let packet = arp::Packet {
            operation,
            sender_mac: Mac([2, 0, 0, 0, 0, self.byte() % 8]),
            sender_ip: Ipv4Addr::new(192, 0, 2, self.byte() % 8),
            target_mac: Mac([0; 6]),
            target_ip: Ipv4Addr::new(192, 0, 2, self.byte() % 8),
        };
        let broadcast = self.byte().is_multiple_of(2);
        let own = Mac([2, 0, 0, 0, 0, 1]);
        packet.frame(if broadcast { Mac::BROADCAST } else { own })
    }

    fn ndp(&mut self) -> Vec<u8> {
        let target = match self.address() {
            IpAddr::V6(address) => address,
            IpAddr::V4(_) => Ipv6Addr::LOCALHOST,
        };
        let group = ironlb_l2::solicited_node(target);
        let flags = self.byte();
        let mac = Mac([2, 0, 0, 0, 0, flags % 8]);
        let packet = ndp::Packet {
            source: match flags >> 4 & 3 {
                0 => Ipv6Addr::UNSPECIFIED,
                1 => target,
                _ => Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9),
            },
            destination: if flags & 64 != 0 { target } else { group },
            message: Message::Solicitation(ndp::Solicitation {
                target,
                source_mac: (flags & 128 != 0).then_some(mac),
            }),
        };
        let to = if flags & 64 != 0 {
            Mac([2, 0, 0, 0, 0, 1])
        } else {
            ironlb_l2::ethernet_group(group)
        };
        packet.frame(to, mac)
    }
}
