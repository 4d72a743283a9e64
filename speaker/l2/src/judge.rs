//! What a frame asks for and what it claims, and the answer to it. Plain functions: who holds what is not known here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::{Family, Mac};

use crate::arp::{self, Operation};
use crate::ethernet::{self, DecodeError, Frame};
use crate::group::{ethernet_group, solicited_node};
use crate::ndp::{self, Advertisement, Message, Solicitation};
use crate::responder::{Dropped, Port};

/// What a valid frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The address that it says is at the Ethernet address beside it.
    pub(crate) claim: Option<(IpAddr, Mac)>,
    /// What it asks.
    pub(crate) question: Option<Question>,
}

/// A request that may be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    /// An ARP request.
    Arp(arp::Packet),
    /// A neighbour solicitation.
    Ndp {
        /// The IPv6 source, `::` for duplicate address detection.
        from: Ipv6Addr,
        /// Where to answer.
        mac: Mac,
        /// The address asked for.
        target: Ipv6Addr,
    },
}

impl Question {
    /// The address asked for.
    pub(crate) fn target(&self) -> IpAddr {
        match self {
            Self::Arp(packet) => packet.target_ip.into(),
            Self::Ndp { target, .. } => (*target).into(),
        }
    }

    /// The frame that answers it through `port`.
    pub(crate) fn answer(&self, port: &Port) -> Vec<u8> {
        match self {
            Self::Arp(packet) => packet.reply(port.mac).frame(packet.sender_mac),
            Self::Ndp { from, mac, target } if from.is_unspecified() => {
                let _unknown_sender = mac;
                unsolicited(*target, port)
            }
            Self::Ndp { from, mac, target } => {
                let packet = advertisement(*target, port, true, *from);
                packet.frame(*mac, port.mac)
            }
        }
    }
}

/// Reads a frame that came in through `port`; `ours` knows the Ethernet addresses of this node.
pub(crate) fn hear(
    frame: &[u8],
    port: &Port,
    ours: impl Fn(Mac) -> bool,
) -> Result<Heard, Dropped> {
    let frame = Frame::decode(frame)?;
    if ours(frame.source) {
        return Err(Dropped::Reflected);
    }
    station("Ethernet source", frame.source)?;
    let heard = match frame.ether_type {
        ethernet::ARP if port.arp => hear_arp(&frame, port)?,
        ethernet::IPV6 if port.ndp => hear_ndp(&frame, port)?,
        _ => return Err(Dropped::Unwanted),
    };
    match heard {
        Heard {
            claim: Some((_, mac)),
            ..
        } if ours(mac) => Err(Dropped::Reflected),
        heard => Ok(heard),
    }
}

/// The frames that tell everybody on the link of `port` where `address` is.
pub(crate) fn gratuitous(address: IpAddr, port: &Port) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(address) => [Operation::Request, Operation::Reply]
            .map(|form| arp::Packet::gratuitous(form, address, port.mac).frame(Mac::BROADCAST))
            .into(),
        IpAddr::V6(address) => vec![unsolicited(address, port)],
    }
}

/// Whether addresses of `family` can be announced through `port`.
pub(crate) const fn carries(port: &Port, family: Family) -> bool {
    match family {
        Family::V4 => port.arp,
        Family::V6 => port.ndp,
    }
}

fn hear_arp(frame: &Frame<'_>, port: &Port) -> Result<Heard, Dropped> {
    if frame.destination != port.mac && frame.destination != Mac::BROADCAST {
        return Err(Dropped::NotForUs);
    }
    let packet = arp::Packet::decode(frame.payload)?;
    station("sender hardware address", packet.sender_mac)?;
    sender(packet.sender_ip)?;
    let claimed = !packet.sender_ip.is_unspecified();
    // An announcement: asks nothing, although it has the form of a request (RFC 5227 §1.1).
    let asks = packet.operation == Operation::Request && packet.sender_ip != packet.target_ip;
    Ok(Heard {
        claim: claimed.then(|| (packet.sender_ip.into(), packet.sender_mac)),
        question: asks.then_some(Question::Arp(packet)),
    })
}

fn hear_ndp(frame: &Frame<'_>, port: &Port) -> Result<Heard, Dropped> {
    let group = frame.destination.is_group();
    if frame.destination != port.mac && !group {
        return Err(Dropped::NotForUs);
    }
    let packet = ndp::Packet::decode(frame.payload)?;
    if group && frame.destination != ethernet_group(packet.destination) {
        return Err(Dropped::NotForUs);
    }
    match packet.message {
        Message::Solicitation(message) => hear_solicitation(frame, &packet, &message),
        Message::Advertisement(message) => hear_advertisement(frame, &message),
    }
}

fn hear_solicitation(
    frame: &Frame<'_>,
    packet: &ndp::Packet,
    message: &Solicitation,
) -> Result<Heard, Dropped> {
    let Solicitation { target, source_mac } = *message;
    if packet.destination != target && packet.destination != solicited_node(target) {
        return Err(Dropped::NotForUs);
    }
    let mac = source_mac.unwrap_or(frame.source);
    station("source link-layer address", mac)?;
    let known = !packet.source.is_unspecified();
    Ok(Heard {
        claim: known.then_some((packet.source.into(), mac)),
        question: Some(Question::Ndp {
            from: packet.source,
            mac,
            target,
        }),
    })
}

fn hear_advertisement(frame: &Frame<'_>, message: &Advertisement) -> Result<Heard, Dropped> {
    let mac = message.target_mac.unwrap_or(frame.source);
    station("target link-layer address", mac)?;
    Ok(Heard {
        claim: Some((message.target.into(), mac)),
        question: None,
    })
}

/// To all nodes: the answer to duplicate address detection (RFC 4861 §7.2.4), and an announcement (§7.2.6).
fn unsolicited(target: Ipv6Addr, port: &Port) -> Vec<u8> {
    advertisement(target, port, false, ndp::ALL_NODES).frame(ndp::all_nodes_mac(), port.mac)
}

fn advertisement(target: Ipv6Addr, port: &Port, solicited: bool, to: Ipv6Addr) -> ndp::Packet {
    ndp::Packet {
        // As the Linux kernel does for its own addresses. RFC 4861 §4.4 allows any address of the interface, but
        // there are receivers (ndisc6 for one) that take no link-local answer about a global address.
        source: target,
        destination: to,
        message: Message::Advertisement(Advertisement {
            router: false,
            solicited,
            overrides: true,
            target,
            target_mac: Some(port.mac),
        }),
    }
}

/// An Ethernet address that a station can have.
fn station(field: &'static str, mac: Mac) -> Result<(), DecodeError> {
    let kind = match mac {
        mac if mac.is_group() => "a group",
        Mac([0, 0, 0, 0, 0, 0]) => "zero",
        _ => return Ok(()),
    };
    Err(DecodeError::Address { field, kind })
}

/// An IPv4 address that a sender can have, or none yet.
fn sender(address: Ipv4Addr) -> Result<(), DecodeError> {
    let kind = match address {
        address if address.is_multicast() => "a group",
        address if address.is_loopback() => "loopback",
        Ipv4Addr::BROADCAST => "broadcast",
        _ => return Ok(()),
    };
    Err(DecodeError::Address {
        field: "sender protocol address",
        kind,
    })
}
