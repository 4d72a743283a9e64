//! The ARP packet (RFC 826) for IPv4 over Ethernet.

use std::net::Ipv4Addr;

use ironlb_model::Mac;

use crate::ethernet::{self, DecodeError, Frame, split};

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Request or reply.
    pub operation: Operation,
    /// `ar$sha`: the Ethernet address of who sends it.
    pub sender_mac: Mac,
    /// `ar$spa`: its IPv4 address; 0.0.0.0 in a probe (RFC 5227 §1.1).
    pub sender_ip: Ipv4Addr,
    /// `ar$tha`: means nothing in a request.
    pub target_mac: Mac,
    /// `ar$tpa`: the address asked for, or the one of who is answered.
    pub target_ip: Ipv4Addr,
}

impl Packet {
    /// Reads the payload of an Ethernet frame; what follows the packet is padding.
    ///
    /// # Errors
    /// When it is cut short, is not for IPv4 over Ethernet, or is neither request nor reply.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let (hardware, rest) = split::<2>(payload)?;
        let (protocol, rest) = split::<2>(rest)?;
        let ([hardware_length, protocol_length], rest) = split::<2>(rest)?;
        let (operation, rest) = split::<2>(rest)?;
        expect(
            u16::from_be_bytes(hardware),
            1,
            "hardware type",
            "1 (Ethernet)",
        )?;
        expect(
            u16::from_be_bytes(protocol),
            0x0800,
            "protocol type",
            "2048 (IPv4)",
        )?;
        expect(hardware_length.into(), 6, "hardware address length", "6")?;
        expect(protocol_length.into(), 4, "protocol address length", "4")?;
        let operation = Operation::decode(u16::from_be_bytes(operation))?;
        let (sender_mac, rest) = split::<6>(rest)?;
        let (sender_ip, rest) = split::<4>(rest)?;
        let (target_mac, rest) = split::<6>(rest)?;
        let (target_ip, _padding) = split::<4>(rest)?;
        Ok(Self {
            operation,
            sender_mac: Mac(sender_mac),
            sender_ip: sender_ip.into(),
            target_mac: Mac(target_mac),
            target_ip: target_ip.into(),
        })
    }

    /// Appends the packet.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&[0, 1, 8, 0, 6, 4]);
        to.extend_from_slice(&self.operation.number().to_be_bytes());
        to.extend_from_slice(&self.sender_mac.0);
        to.extend_from_slice(&self.sender_ip.octets());
        to.extend_from_slice(&self.target_mac.0);
        to.extend_from_slice(&self.target_ip.octets());
    }

    /// The packet in a frame from its sender to `destination`.
    pub fn frame(&self, destination: Mac) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ethernet::HEADER_LENGTH + LENGTH);
        Frame {
            destination,
            source: self.sender_mac,
            ether_type: ethernet::ARP,
            payload: &[],
        }
        .encode(&mut bytes);
        self.encode(&mut bytes);
        bytes
    }

    /// The reply that gives `mac` for the address that this request asks for.
    pub fn reply(&self, mac: Mac) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// A gratuitous packet: says to everybody that `address` is at `mac`.
    ///
    /// Stations differ in which of the two forms they take notice of (RFC 5227 §3), so both are sent.
    pub fn gratuitous(operation: Operation, address: Ipv4Addr, mac: Mac) -> Self {
        Self {
            operation,
            sender_mac: mac,
            sender_ip: address,
            target_mac: Mac::BROADCAST,
            target_ip: address,
        }
    }
}

/// `ar$op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has its address.
    Reply,
}

impl Operation {
    fn decode(number: u16) -> Result<Self, DecodeError> {
        match number {
            1 => Ok(Self::Request),
            2 => Ok(Self::Reply),
            found => Err(DecodeError::Field {
                field: "operation",
                found: found.into(),
                allowed: "1 (request) or 2 (reply)",
            }),
        }
    }

    const fn number(self) -> u16 {
        match self {
            Self::Request => 1,
            Self::Reply => 2,
        }
    }
}

/// Length of a packet in bytes, without Ethernet header and padding.
pub const LENGTH: usize = 28;

fn expect(
    found: u16,
    wanted: u16,
    field: &'static str,
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

#[cfg(test)]
mod tests {
    use pnet_packet::Packet as _;
    use pnet_packet::arp::ArpPacket;
    use pnet_packet::ethernet::EthernetPacket;
    use proptest::prelude::*;

    use super::*;

    /// What `arping 192.0.2.10` of a Linux host puts on the wire, padding included.
    const REQUEST: [u8; 60] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5e, 0x4f, 0x01, 0x9b, 0x22, 0x7a, 0x08, 0x06, 0x00,
        0x01, 0x08, 0x00, 0x06, 0x04, 0x00, 0x01, 0x5e, 0x4f, 0x01, 0x9b, 0x22, 0x7a, 0xc0, 0x00,
        0x02, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0x00, 0x02, 0x0a, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];

    fn request() -> Packet {
        Packet {
            operation: Operation::Request,
            sender_mac: Mac([0x5e, 0x4f, 0x01, 0x9b, 0x22, 0x7a]),
            sender_ip: Ipv4Addr::new(192, 0, 2, 1),
            target_mac: Mac([0; 6]),
            target_ip: Ipv4Addr::new(192, 0, 2, 10),
        }
    }

    #[test]
    fn a_captured_request_is_read() {
        let frame = Frame::decode(&REQUEST).unwrap();
        assert_eq!(frame.destination, Mac::BROADCAST);
        assert_eq!(frame.ether_type, ethernet::ARP);
        assert_eq!(Packet::decode(frame.payload), Ok(request()));
    }

    #[test]
    fn a_request_is_written_as_captured() {
        assert_eq!(request().frame(Mac::BROADCAST), REQUEST[..42]);
    }

    #[test]
    fn every_cut_is_refused() {
        for length in 14..14 + LENGTH {
            let cut = Packet::decode(&REQUEST[14..length]);
            assert_eq!(cut, Err(DecodeError::Truncated), "{length}");
        }
    }

    #[test]
    fn other_hardware_protocols_lengths_and_operations_are_refused() {
        for (offset, value) in [
            (1, 6),
            (2, 9),
            (3, 1),
            (4, 8),
            (5, 16),
            (7, 0),
            (7, 3),
            (7, 8),
        ] {
            let mut payload = REQUEST[14..].to_vec();
            payload[offset] = value;
            assert!(
                matches!(Packet::decode(&payload), Err(DecodeError::Field { .. })),
                "byte {offset} = {value}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_was_found_and_what_is_allowed() {
        let mut payload = REQUEST[14..].to_vec();
        payload[1] = 6;
        let error = Packet::decode(&payload).unwrap_err();
        assert_eq!(error.to_string(), "hardware type is 6, not 1 (Ethernet)");
    }

    fn packets() -> impl Strategy<Value = Packet> {
        (
            any::<bool>(),
            any::<[u8; 6]>(),
            any::<[u8; 4]>(),
            any::<[u8; 6]>(),
            any::<[u8; 4]>(),
        )
            .prop_map(|(request, sender_mac, sender_ip, target_mac, target_ip)| {
                let operation = if request {
                    Operation::Request
                } else {
                    Operation::Reply
                };
                Packet {
                    operation,
                    sender_mac: Mac(sender_mac),
                    sender_ip: sender_ip.into(),
                    target_mac: Mac(target_mac),
                    target_ip: target_ip.into(),
                }
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(packet in packets()) {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
        }

        #[test]
        fn another_implementation_reads_the_same(packet in packets()) {
            let bytes = packet.frame(Mac::BROADCAST);
            let ethernet = EthernetPacket::new(&bytes).unwrap();
            let arp = ArpPacket::new(ethernet.payload()).unwrap();
            prop_assert_eq!(ethernet.get_ethertype().0, ethernet::ARP);
            prop_assert_eq!(ethernet.get_source().octets(), packet.sender_mac.0);
            prop_assert_eq!(arp.get_operation().0, packet.operation.number());
            prop_assert_eq!(arp.get_sender_hw_addr().octets(), packet.sender_mac.0);
            prop_assert_eq!(arp.get_sender_proto_addr(), packet.sender_ip);
            prop_assert_eq!(arp.get_target_hw_addr().octets(), packet.target_mac.0);
            prop_assert_eq!(arp.get_target_proto_addr(), packet.target_ip);
            prop_assert_eq!((arp.get_hw_addr_len(), arp.get_proto_addr_len()), (6, 4));
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Packet::decode(&bytes);
        }
    }
}
