//! Router Solicitation and Router Advertisement (RFC 4861 §4.1, §4.2): how two routers on a link find each other.

use std::net::Ipv6Addr;

use ironlb_model::Mac;

use super::{
    SOURCE_LINK_LAYER_ADDRESS, decode_icmp, encode_icmp, encode_option, link_layer_address,
};
use crate::ethernet::{self, DecodeError, Frame, split};

/// A message between routers and hosts, and the IPv6 addresses that it travels between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouterPacket {
    /// The IPv6 source: of an advertisement always link-local.
    pub source: Ipv6Addr,
    /// The IPv6 destination.
    pub destination: Ipv6Addr,
    /// What it says.
    pub message: RouterMessage,
}

/// One of the two messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouterMessage {
    /// Which routers are there?
    Solicitation {
        /// The source link-layer address option.
        source_mac: Option<Mac>,
    },
    /// A router is here.
    Advertisement {
        /// How long it may be used as a default router, in seconds; 0 for not at all.
        lifetime: u16,
        /// The source link-layer address option.
        source_mac: Option<Mac>,
    },
}

impl RouterPacket {
    /// Reads the payload of an Ethernet frame; what follows the IPv6 payload is padding.
    ///
    /// # Errors
    /// When any check of RFC 4861 §6.1.1 or §6.1.2 fails, or it is no such message.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let (header, kind, body) = decode_icmp(payload)?;
        let message = match kind {
            SOLICITATION => decode_solicitation(header.source, body)?,
            ADVERTISEMENT => decode_advertisement(header.source, body)?,
            other => return Err(DecodeError::Type(other)),
        };
        Ok(Self {
            source: header.source,
            destination: header.destination,
            message,
        })
    }

    /// The packet in a frame.
    pub fn frame(&self, destination: Mac, source: Mac) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FRAME_LENGTH);
        Frame {
            destination,
            source,
            ether_type: ethernet::IPV6,
            payload: &[],
        }
        .encode(&mut bytes);
        encode_icmp(
            self.source,
            self.destination,
            self.message.body(),
            &mut bytes,
        );
        bytes
    }
}

impl RouterMessage {
    /// The message with a checksum of zero.
    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(24);
        let source_mac = match *self {
            Self::Solicitation { source_mac } => {
                body.extend_from_slice(&[SOLICITATION, 0, 0, 0, 0, 0, 0, 0]);
                source_mac
            }
            Self::Advertisement {
                lifetime,
                source_mac,
            } => {
                body.extend_from_slice(&[ADVERTISEMENT, 0, 0, 0]);
                // Hop limit, flags, reachable time and retransmission timer: nothing is said of them.
                body.extend_from_slice(&[0, 0]);
                body.extend_from_slice(&lifetime.to_be_bytes());
                body.extend_from_slice(&[0; 8]);
                source_mac
            }
        };
        if let Some(mac) = source_mac {
            encode_option(SOURCE_LINK_LAYER_ADDRESS, mac, &mut body);
        }
        body
    }
}

fn decode_solicitation(source: Ipv6Addr, body: &[u8]) -> Result<RouterMessage, DecodeError> {
    let (_reserved, options) = split::<4>(body)?;
    let source_mac = link_layer_address(options, SOURCE_LINK_LAYER_ADDRESS)?;
    if source.is_unspecified() && source_mac.is_some() {
        return Err(DecodeError::Address {
            field: "source link-layer address of a solicitation from ::",
            kind: "present",
        });
    }
    Ok(RouterMessage::Solicitation { source_mac })
}

fn decode_advertisement(source: Ipv6Addr, body: &[u8]) -> Result<RouterMessage, DecodeError> {
    if !source.is_unicast_link_local() {
        return Err(DecodeError::Address {
            field: "source address of a router advertisement",
            kind: "other than link-local",
        });
    }
    let (_hop_limit_and_flags, rest) = split::<2>(body)?;
    let (lifetime, rest) = split::<2>(rest)?;
    let (_reachable_and_retransmission_time, options) = split::<8>(rest)?;
    Ok(RouterMessage::Advertisement {
        lifetime: u16::from_be_bytes(lifetime),
        source_mac: link_layer_address(options, SOURCE_LINK_LAYER_ADDRESS)?,
    })
}

/// ff02::2, every router on the link.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// Ethernet and IPv6 headers, an advertisement and one option.
const FRAME_LENGTH: usize = 14 + 40 + 24;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ndp::ALL_NODES;

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn advertisement() -> RouterPacket {
        RouterPacket {
            source: ip("fe80::1"),
            destination: ALL_NODES,
            message: RouterMessage::Advertisement {
                lifetime: 1800,
                source_mac: Some(MAC),
            },
        }
    }

    fn solicitation(source: &str, source_mac: Option<Mac>) -> RouterPacket {
        RouterPacket {
            source: ip(source),
            destination: ALL_ROUTERS,
            message: RouterMessage::Solicitation { source_mac },
        }
    }

    fn decode(packet: &RouterPacket) -> Result<RouterPacket, DecodeError> {
        let frame = packet.frame(Mac::BROADCAST, MAC);
        RouterPacket::decode(Frame::decode(&frame).unwrap().payload)
    }

    #[test]
    fn both_messages_survive_the_round_trip() {
        for packet in [
            advertisement(),
            solicitation("fe80::1", Some(MAC)),
            solicitation("::", None),
        ] {
            assert_eq!(decode(&packet), Ok(packet));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_rfc() {
        let frame = advertisement().frame(Mac([0x33, 0x33, 0, 0, 0, 1]), MAC);
        assert_eq!(
            frame[54..],
            [
                134, 0, 0x72, 0x1d, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0, 0, 0, 1
            ]
        );
        assert_eq!(frame[18..22], [0, 24, 58, 255]);
    }

    #[test]
    fn an_advertisement_comes_from_a_link_local_address() {
        let mut packet = advertisement();
        packet.source = ip("2001:db8::1");
        assert!(matches!(decode(&packet), Err(DecodeError::Address { .. })));
    }

    #[test]
    fn a_solicitation_from_nowhere_has_no_link_layer_address() {
        assert!(matches!(
            decode(&solicitation("::", Some(MAC))),
            Err(DecodeError::Address { .. })
        ));
    }

    #[test]
    fn what_is_cut_short_altered_or_from_afar_is_refused() {
        let frame = advertisement().frame(Mac::BROADCAST, MAC);
        let payload = Frame::decode(&frame).unwrap().payload;
        for length in 0..payload.len() {
            assert!(
                RouterPacket::decode(&payload[..length]).is_err(),
                "{length}"
            );
        }
        for offset in 0..payload.len() {
            let mut altered = payload.to_vec();
            altered[offset] ^= 0x10;
            // Traffic class and flow label are not covered by the checksum, and mean nothing.
            let means_nothing = (1..4).contains(&offset);
            assert_eq!(
                RouterPacket::decode(&altered).is_ok(),
                means_nothing || offset == 0 && altered[0] >> 4 == 6,
                "{offset}"
            );
        }
    }

    proptest! {
        #[test]
        fn nothing_that_arrives_panics(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = RouterPacket::decode(&bytes);
        }
    }
}
