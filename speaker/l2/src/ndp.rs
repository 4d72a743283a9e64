//! Neighbor Discovery (RFC 4861): the two messages that find a neighbour, the two that find a router ([`router`]), and the
//! IPv6 and ICMPv6 around them.
//!
//! Decoding applies every check of RFC 4861 §6.1 and §7.1: what decodes is valid. Extension headers are not
//! followed; such packets are refused.

mod advertisement;
pub mod router;
mod solicitation;

use std::net::Ipv6Addr;

use ironlb_model::Mac;

pub use advertisement::Advertisement;
pub use solicitation::Solicitation;

use crate::ethernet::{self, DecodeError, Frame, split};
use crate::group::{ethernet_group, solicited_node};

/// A neighbour discovery message and the IPv6 addresses that it travels between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The IPv6 source; `::` while the sender checks whether its address is taken (RFC 4862 §5.4).
    pub source: Ipv6Addr,
    /// The IPv6 destination.
    pub destination: Ipv6Addr,
    /// What it says.
    pub message: Message,
}

/// One of the two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Who has the target address?
    Solicitation(Solicitation),
    /// The target address is here.
    Advertisement(Advertisement),
}

impl Packet {
    /// Reads the payload of an Ethernet frame; what follows the IPv6 payload is padding.
    ///
    /// # Errors
    /// When any check of RFC 4861 §7.1.1 or §7.1.2 fails, or it is no such message.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let (header, kind, message) = decode_icmp(payload)?;
        let message = match kind {
            solicitation::TYPE => Message::Solicitation(Solicitation::decode(message)?),
            advertisement::TYPE => Message::Advertisement(Advertisement::decode(message)?),
            other => return Err(DecodeError::Type(other)),
        };
        let packet = Self {
            source: header.source,
            destination: header.destination,
            message,
        };
        packet.check()?;
        Ok(packet)
    }

    /// Appends the IPv6 packet.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(MESSAGE_LENGTH);
        match &self.message {
            Message::Solicitation(message) => message.encode(&mut body),
            Message::Advertisement(message) => message.encode(&mut body),
        }
        encode_icmp(self.source, self.destination, body, to);
    }

    /// The packet in a frame.
    pub fn frame(&self, destination: Mac, source: Mac) -> Vec<u8> {
        let mut bytes =
            Vec::with_capacity(ethernet::HEADER_LENGTH + HEADER_LENGTH + MESSAGE_LENGTH);
        Frame {
            destination,
            source,
            ether_type: ethernet::IPV6,
            payload: &[],
        }
        .encode(&mut bytes);
        self.encode(&mut bytes);
        bytes
    }

    /// What RFC 4861 asks of a message and the addresses around it together.
    fn check(&self) -> Result<(), DecodeError> {
        match &self.message {
            Message::Solicitation(message) => self.check_solicitation(message),
            Message::Advertisement(message) => self.check_advertisement(message),
        }
    }

    /// RFC 4861 §7.1.1.
    fn check_solicitation(&self, message: &Solicitation) -> Result<(), DecodeError> {
        not_group("target address", message.target)?;
        if !self.source.is_unspecified() {
            return Ok(());
        }
        if self.destination != solicited_node(message.target) {
            return Err(DecodeError::Address {
                field: "destination of a solicitation from ::",
                kind: "other than the solicited-node group",
            });
        }
        if message.source_mac.is_some() {
            return Err(DecodeError::Address {
                field: "source link-layer address of a solicitation from ::",
                kind: "present",
            });
        }
        Ok(())
    }

    /// RFC 4861 §7.1.2.
    fn check_advertisement(&self, message: &Advertisement) -> Result<(), DecodeError> {
        not_group("target address", message.target)?;
        if self.destination.is_multicast() && message.solicited {
            return Err(DecodeError::Address {
                field: "destination of a solicited advertisement",
                kind: "a group",
            });
        }
        Ok(())
    }
}

/// Reads an ICMPv6 message: its IPv6 header, its type, and what follows the checksum. Checks what RFC 4861 asks of all of
/// its messages.
fn decode_icmp(payload: &[u8]) -> Result<(Header, u8, &[u8]), DecodeError> {
    let (header, rest) = Header::decode(payload)?;
    let body = rest
        .get(..header.payload_length.into())
        .ok_or(DecodeError::Truncated)?;
    let ([kind, code, _, _], message) = split::<4>(body)?;
    if checksum(header.source, header.destination, body) != 0 {
        return Err(DecodeError::Checksum);
    }
    field("ICMP code", code, 0, "0")?;
    not_group("source address", header.source)?;
    Ok((header, kind, message))
}

/// Appends an ICMPv6 message, whose checksum is still zero, in IPv6.
fn encode_icmp(source: Ipv6Addr, destination: Ipv6Addr, mut body: Vec<u8>, to: &mut Vec<u8>) {
    let checksum = checksum(source, destination, &body).to_be_bytes();
    if let Some(place) = body.get_mut(2..4) {
        place.copy_from_slice(&checksum);
    }
    Header {
        payload_length: u16::try_from(body.len()).unwrap_or(u16::MAX),
        source,
        destination,
    }
    .encode(to);
    to.extend_from_slice(&body);
}

/// The part of the IPv6 header (RFC 8200 §3) that is not the same in every packet here.
struct Header {
    payload_length: u16,
    source: Ipv6Addr,
    destination: Ipv6Addr,
}

impl Header {
    fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let ([first, _, _, _], rest) = split::<4>(bytes)?;
        let (payload_length, rest) = split::<2>(rest)?;
        let ([next_header, hop_limit], rest) = split::<2>(rest)?;
        let (source, rest) = split::<16>(rest)?;
        let (destination, rest) = split::<16>(rest)?;
        field("IP version", first >> 4, 6, "6")?;
        field("next header", next_header, ICMPV6, "58 (ICMPv6)")?;
        field("hop limit", hop_limit, HOP_LIMIT, "255")?;
        let header = Self {
            payload_length: u16::from_be_bytes(payload_length),
            source: source.into(),
            destination: destination.into(),
        };
        Ok((header, rest))
    }

    fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&[0x60, 0, 0, 0]);
        to.extend_from_slice(&self.payload_length.to_be_bytes());
        to.extend_from_slice(&[ICMPV6, HOP_LIMIT]);
        to.extend_from_slice(&self.source.octets());
        to.extend_from_slice(&self.destination.octets());
    }
}

/// ff02::1, every node on the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// The Ethernet group of [`ALL_NODES`].
pub fn all_nodes_mac() -> Mac {
    ethernet_group(ALL_NODES)
}

/// Reads options up to the end; gives the link-layer address in the first option of type `wanted` (RFC 4861 §4.6).
fn link_layer_address(mut options: &[u8], wanted: u8) -> Result<Option<Mac>, DecodeError> {
    let mut found = None;
    while !options.is_empty() {
        let ([kind, units], _) = split::<2>(options)?;
        if units == 0 {
            return Err(DecodeError::Field {
                field: "option length",
                found: 0,
                allowed: "1 or more",
            });
        }
        let (option, rest) = options
            .split_at_checked(usize::from(units) * 8)
            .ok_or(DecodeError::Truncated)?;
        if kind == wanted && found.is_none() {
            field("length of the link-layer address option", units, 1, "1")?;
            let (_, address) = split::<2>(option)?;
            let (mac, _) = split::<6>(address)?;
            found = Some(Mac(mac));
        }
        options = rest;
    }
    Ok(found)
}

/// Appends a link-layer address option.
fn encode_option(kind: u8, mac: Mac, to: &mut Vec<u8>) {
    to.extend_from_slice(&[kind, 1]);
    to.extend_from_slice(&mac.0);
}

/// The ICMPv6 checksum (RFC 8200 §8.1) over `body`; zero when the one in it is right.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, body: &[u8]) -> u16 {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let sum = sum(&source.octets())
        .saturating_add(sum(&destination.octets()))
        .saturating_add(sum(&length))
        .saturating_add(u64::from(ICMPV6))
        .saturating_add(sum(body));
    !fold(sum)
}

fn sum(bytes: &[u8]) -> u64 {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let last = odd.first().map_or(0, |byte| u64::from(*byte) << 8);
    pairs.iter().fold(last, |sum, pair| {
        sum.saturating_add(u16::from_be_bytes(*pair).into())
    })
}

fn fold(mut sum: u64) -> u16 {
    loop {
        match u16::try_from(sum) {
            Ok(folded) => return folded,
            Err(_) => sum = (sum & 0xffff) + (sum >> 16),
        }
    }
}

fn field(
    field: &'static str,
    found: u8,
    wanted: u8,
    allowed: &'static str,
) -> Result<(), DecodeError> {
    if found == wanted {
        return Ok(());
    }
    Err(DecodeError::Field {
        field,
        found: found.into(),
        allowed,
    })
}

fn not_group(field: &'static str, address: Ipv6Addr) -> Result<(), DecodeError> {
    if !address.is_multicast() {
        return Ok(());
    }
    Err(DecodeError::Address {
        field,
        kind: "a group",
    })
}

/// The option's type (RFC 4861 §4.6.1).
const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
const HEADER_LENGTH: usize = 40;
/// Of a message with one link-layer address option.
const MESSAGE_LENGTH: usize = 32;
const ICMPV6: u8 = 58;
/// No router has passed it on (RFC 4861 §3.1).
const HOP_LIMIT: u8 = 255;

#[cfg(test)]
mod tests;
