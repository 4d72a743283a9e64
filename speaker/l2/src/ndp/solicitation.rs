//! Neighbor Solicitation, RFC 4861 §4.3.

use std::net::Ipv6Addr;

use ironlb_model::Mac;

use super::{SOURCE_LINK_LAYER_ADDRESS, encode_option, link_layer_address};
use crate::ethernet::{DecodeError, split};

/// Who has the target address?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// The address asked for.
    pub target: Ipv6Addr,
    /// The source link-layer address option: where to answer.
    pub source_mac: Option<Mac>,
}

impl Solicitation {
    /// Reads what follows the checksum.
    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let (_reserved, rest) = split::<4>(body)?;
        let (target, options) = split::<16>(rest)?;
        Ok(Self {
            target: target.into(),
            source_mac: link_layer_address(options, SOURCE_LINK_LAYER_ADDRESS)?,
        })
    }

    /// Appends the message with a checksum of zero.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&[TYPE, 0, 0, 0, 0, 0, 0, 0]);
        to.extend_from_slice(&self.target.octets());
        if let Some(mac) = self.source_mac {
            encode_option(SOURCE_LINK_LAYER_ADDRESS, mac, to);
        }
    }
}

pub(super) const TYPE: u8 = 135;
