//! Attributes as they are sent.

use std::net::Ipv4Addr;

use ironlb_model::BgpAdvertisement;

use super::super::{AS_TRANS, Negotiated};
use super::kind::{self, EXTENDED_LENGTH, OPTIONAL, TRANSITIVE};
use super::{Aggregator, Attributes};

impl Attributes {
    /// Appends all of them, in the order of their types, with this NEXT_HOP.
    pub(crate) fn encode(
        &self,
        next_hop: Option<Ipv4Addr>,
        negotiated: &Negotiated,
        to: &mut Vec<u8>,
    ) {
        attribute(to, TRANSITIVE, kind::ORIGIN, &[self.origin.number()]);
        self.encode_as_path(negotiated, to);
        if let Some(next_hop) = next_hop {
            attribute(to, TRANSITIVE, kind::NEXT_HOP, &next_hop.octets());
        }
        if let Some(med) = self.med {
            attribute(to, OPTIONAL, kind::MULTI_EXIT_DISC, &med.to_be_bytes());
        }
        if negotiated.internal {
            let preference = self.local_pref.unwrap_or(BgpAdvertisement::LOCAL_PREF);
            attribute(to, TRANSITIVE, kind::LOCAL_PREF, &preference.to_be_bytes());
        }
        if self.atomic_aggregate {
            attribute(to, TRANSITIVE, kind::ATOMIC_AGGREGATE, &[]);
        }
        if let Some(aggregator) = &self.aggregator {
            aggregator.encode(negotiated, to);
        }
        self.encode_communities(to);
        if !negotiated.four_octet_as {
            self.encode_as4(to);
        }
        let large = self.large_communities.iter().flat_map(|community| {
            [community.global, community.local1, community.local2].map(u32::to_be_bytes)
        });
        list(
            to,
            kind::LARGE_COMMUNITY,
            &large.flatten().collect::<Vec<_>>(),
        );
        for unknown in &self.unknown {
            attribute(to, unknown.flags, unknown.kind, &unknown.value);
        }
    }

    fn encode_as_path(&self, negotiated: &Negotiated, to: &mut Vec<u8>) {
        let mut value = Vec::new();
        if negotiated.four_octet_as {
            self.as_path.encode(&mut value);
        } else {
            self.as_path.encode_short(&mut value);
        }
        attribute(to, TRANSITIVE, kind::AS_PATH, &value);
    }

    fn encode_communities(&self, to: &mut Vec<u8>) {
        let numbers = self.communities.iter().map(|c| c.0.to_be_bytes());
        list(
            to,
            kind::COMMUNITIES,
            &numbers.flatten().collect::<Vec<_>>(),
        );
        let extended = self.extended_communities.iter().map(|c| c.0);
        list(
            to,
            kind::EXTENDED_COMMUNITIES,
            &extended.flatten().collect::<Vec<_>>(),
        );
    }

    /// What a speaker of two octets passes on to one of four (RFC 6793 §4.2.2).
    fn encode_as4(&self, to: &mut Vec<u8>) {
        if let Some(path) = self.as_path.for_as4_path() {
            let mut value = Vec::new();
            path.encode(&mut value);
            attribute(to, OPTIONAL | TRANSITIVE, kind::AS4_PATH, &value);
        }
        if let Some(aggregator) = self.aggregator.filter(Aggregator::is_long) {
            let mut value = aggregator.asn.to_be_bytes().to_vec();
            value.extend_from_slice(&aggregator.router_id.octets());
            attribute(to, OPTIONAL | TRANSITIVE, kind::AS4_AGGREGATOR, &value);
        }
    }
}

impl Aggregator {
    fn is_long(&self) -> bool {
        u16::try_from(self.asn).is_err()
    }

    fn encode(&self, negotiated: &Negotiated, to: &mut Vec<u8>) {
        let mut value = Vec::new();
        if negotiated.four_octet_as {
            value.extend_from_slice(&self.asn.to_be_bytes());
        } else {
            let asn = u16::try_from(self.asn).unwrap_or(AS_TRANS);
            value.extend_from_slice(&asn.to_be_bytes());
        }
        value.extend_from_slice(&self.router_id.octets());
        attribute(to, OPTIONAL | TRANSITIVE, kind::AGGREGATOR, &value);
    }
}

/// Appends an optional transitive attribute, unless its value is empty.
fn list(to: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if !value.is_empty() {
        attribute(to, OPTIONAL | TRANSITIVE, kind, value);
    }
}

/// Appends an attribute; its length takes two octets only where it must.
fn attribute(to: &mut Vec<u8>, flags: u8, kind: u8, value: &[u8]) {
    match u8::try_from(value.len()) {
        Ok(length) => to.extend_from_slice(&[flags & !EXTENDED_LENGTH, kind, length]),
        Err(_) => {
            to.extend_from_slice(&[flags | EXTENDED_LENGTH, kind]);
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            to.extend_from_slice(&length.to_be_bytes());
        }
    }
    to.extend_from_slice(value);
}
