//! The Ethernet II frame (IEEE 802.3 §3.1.1), without a VLAN tag.

use ironlb_model::Mac;
use thiserror::Error;

/// A frame, its payload borrowed. Padding to the minimum length stays in the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Whom it is for.
    pub destination: Mac,
    /// Who sent it.
    pub source: Mac,
    /// What the payload is: [`ARP`], [`IPV6`] or something else.
    pub ether_type: u16,
    /// Everything behind the type.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Reads a frame.
    ///
    /// # Errors
    /// When it is shorter than its header.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let (destination, rest) = split::<6>(bytes)?;
        let (source, rest) = split::<6>(rest)?;
        let (ether_type, payload) = split::<2>(rest)?;
        Ok(Self {
            destination: Mac(destination),
            source: Mac(source),
            ether_type: u16::from_be_bytes(ether_type),
            payload,
        })
    }

    /// Appends the frame.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.destination.0);
        to.extend_from_slice(&self.source.0);
        to.extend_from_slice(&self.ether_type.to_be_bytes());
        to.extend_from_slice(self.payload);
    }
}

/// Why a frame cannot be read. Such frames are dropped, as each protocol asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// It ends before what it must contain.
    #[error("the frame is cut short")]
    Truncated,
    /// A field has a value that the protocol does not allow or that is not Ethernet with IPv4 or IPv6.
    #[error("{field} is {found}, not {allowed}")]
    Field {
        /// The field, in the words of its RFC.
        field: &'static str,
        /// What it holds.
        found: u32,
        /// What it may hold.
        allowed: &'static str,
    },
    /// The checksum is wrong (RFC 4443 §2.3).
    #[error("the ICMPv6 checksum is wrong")]
    Checksum,
    /// The ICMPv6 type is none of those that are looked for.
    #[error("ICMPv6 type {0} is none of those that are looked for here")]
    Type(u8),
    /// An address is of a kind that is not allowed in its place.
    #[error("{field} must not be {kind}")]
    Address {
        /// The field, in the words of its RFC.
        field: &'static str,
        /// The kind of address found there.
        kind: &'static str,
    },
}

/// The EtherType of ARP.
pub const ARP: u16 = 0x0806;
/// The EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;
/// Length of the header in bytes.
pub const HEADER_LENGTH: usize = 14;

/// Takes the first `N` bytes.
pub(crate) fn split<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), DecodeError> {
    let (head, rest) = bytes
        .split_first_chunk::<N>()
        .ok_or(DecodeError::Truncated)?;
    Ok((*head, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_survives_the_round_trip() {
        let frame = Frame {
            destination: Mac::BROADCAST,
            source: Mac([2, 0, 0, 0, 0, 1]),
            ether_type: ARP,
            payload: &[1, 2, 3],
        };
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        assert_eq!(Frame::decode(&bytes), Ok(frame));
    }

    #[test]
    fn a_frame_shorter_than_its_header_is_refused() {
        for length in 0..HEADER_LENGTH {
            assert_eq!(
                Frame::decode(&vec![0; length]),
                Err(DecodeError::Truncated),
                "{length}"
            );
        }
        assert!(Frame::decode(&[0; HEADER_LENGTH]).is_ok());
    }
}
