//! Neighbor Advertisement, RFC 4861 §4.4.

use std::net::Ipv6Addr;

use ironlb_model::Mac;

use super::{encode_option, link_layer_address};
use crate::ethernet::{DecodeError, split};

/// The target address is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertisement {
    /// R: the sender is a router.
    pub router: bool,
    /// S: it answers a unicast solicitation, and so confirms that the neighbour is reachable.
    pub solicited: bool,
    /// O: it replaces the link-layer address that the receiver knows.
    pub overrides: bool,
    /// The address that it is about.
    pub target: Ipv6Addr,
    /// The target link-layer address option: where the target is.
    pub target_mac: Option<Mac>,
}

impl Advertisement {
    /// Reads what follows the checksum.
    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let ([flags, _, _, _], rest) = split::<4>(body)?;
        let (target, options) = split::<16>(rest)?;
        Ok(Self {
            router: flags & ROUTER != 0,
            solicited: flags & SOLICITED != 0,
            overrides: flags & OVERRIDE != 0,
            target: target.into(),
            target_mac: link_layer_address(options, TARGET_LINK_LAYER_ADDRESS)?,
        })
    }

    /// Appends the message with a checksum of zero.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        let flags = [
            (self.router, ROUTER),
            (self.solicited, SOLICITED),
            (self.overrides, OVERRIDE),
        ]
        .iter()
        .fold(
            0,
            |flags, (set, flag)| if *set { flags | flag } else { flags },
        );
        to.extend_from_slice(&[TYPE, 0, 0, 0, flags, 0, 0, 0]);
        to.extend_from_slice(&self.target.octets());
        if let Some(mac) = self.target_mac {
            encode_option(TARGET_LINK_LAYER_ADDRESS, mac, to);
        }
    }
}

pub(super) const TYPE: u8 = 136;
const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
const ROUTER: u8 = 0x80;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
