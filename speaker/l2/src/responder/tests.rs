//! The responder: one module for each subject; here, what all of them build on.

mod announcements;
mod conflicts;
mod interfaces;
mod refusals;
mod requests;

use std::net::{Ipv4Addr, Ipv6Addr};

use super::*;
use crate::arp::{self, Operation};
use crate::ethernet::{self, Frame};
use crate::ethernet_group;
use crate::group::solicited_node;
use crate::ndp::{self, Advertisement, Message, Solicitation};

const ETH0: u32 = 2;
const ETH1: u32 = 3;
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OWN_1: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const START: Time = Time::from_secs(100);

fn port(mac: Mac) -> Port {
    Port {
        mac,
        arp: true,
        ndp: true,
    }
}

fn everywhere() -> Holding {
    Holding {
        interfaces: Interfaces::All,
        gratuitous: Gratuitous::default(),
        refresh: None,
    }
}

fn only(interfaces: &[u32]) -> Holding {
    Holding {
        interfaces: Interfaces::Only(interfaces.iter().copied().collect()),
        ..everywhere()
    }
}

/// One that holds the two addresses on eth0, its takeover said.
fn responder() -> Responder {
    let mut responder = Responder::new(1);
    responder.set_port(START, ETH0, port(OWN));
    responder.hold(START, VIP.into(), everywhere());
    responder.hold(START, VIP6.into(), everywhere());
    drain(&mut responder);
    responder
}

fn drain(responder: &mut Responder) -> Vec<Output> {
    std::iter::from_fn(|| responder.poll()).collect()
}

/// The frames among the outputs.
fn frames(outputs: &[Output]) -> Vec<(u32, &[u8])> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { interface, frame } => Some((*interface, frame.as_slice())),
            _ => None,
        })
        .collect()
}

/// Ticks at every deadline until `end`.
fn run_until(responder: &mut Responder, end: Time) -> Vec<(Time, Output)> {
    let mut outputs = Vec::new();
    while let Some(now) = responder.deadline().filter(|deadline| *deadline <= end) {
        responder.tick(now);
        outputs.extend(drain(responder).into_iter().map(|output| (now, output)));
    }
    outputs
}

fn request(sender: Ipv4Addr, target: Ipv4Addr) -> arp::Packet {
    arp::Packet {
        operation: Operation::Request,
        sender_mac: PEER,
        sender_ip: sender,
        target_mac: Mac([0; 6]),
        target_ip: target,
    }
}

fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, mac: Option<Mac>) -> ndp::Packet {
    ndp::Packet {
        source,
        destination,
        message: Message::Solicitation(Solicitation {
            target: VIP6,
            source_mac: mac,
        }),
    }
}

fn group_mac() -> Mac {
    ethernet_group(solicited_node(VIP6))
}

/// The verdict on a frame on eth0, and the frames sent for it.
fn hear(responder: &mut Responder, frame: &[u8]) -> (Verdict, Vec<Vec<u8>>) {
    let verdict = responder.handle_frame(START, ETH0, frame);
    let outputs = drain(responder);
    let sent = frames(&outputs)
        .iter()
        .map(|(_, frame)| frame.to_vec())
        .collect();
    (verdict, sent)
}

/// The one advertisement sent, with its Ethernet destination.
fn advertised(sent: &[Vec<u8>]) -> (Mac, ndp::Packet, Advertisement) {
    assert_eq!(sent.len(), 1);
    let frame = Frame::decode(&sent[0]).unwrap();
    assert_eq!((frame.source, frame.ether_type), (OWN, ethernet::IPV6));
    let packet = ndp::Packet::decode(frame.payload).unwrap();
    let Message::Advertisement(message) = packet.message else {
        panic!("{packet:?}")
    };
    (frame.destination, packet, message)
}
