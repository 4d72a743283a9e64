//! What a router has of us, said in the same way for all routers.

use std::collections::BTreeSet;

/// A route that a router has learnt from the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path {
    /// The address, and with IPv6 perhaps a link-local one.
    pub(crate) next_hops: BTreeSet<String>,
    pub(crate) as_path: Vec<u32>,
    pub(crate) med: Option<u32>,
    /// Some routers show their own default for routes of external peers.
    pub(crate) local_pref: Option<u32>,
    /// Of all kinds, as manifests have them, and `lb:ASN:OCTETS-PER-SECOND`.
    pub(crate) communities: BTreeSet<String>,
}

/// A session, as the router sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Session {
    pub(crate) is_up: bool,
    /// How many UPDATE messages, or routes where messages are not counted, came in.
    pub(crate) updates: u64,
    /// All that the router says of it, and of its end.
    pub(crate) all: String,
}

/// AS numbers as they are written in an AS_PATH.
pub(crate) fn as_path(text: &str) -> Vec<u32> {
    let numbers = text.split_whitespace();
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// A community (RFC 1997).
pub(crate) fn community(value: u32) -> String {
    match value {
        0xffff_ff01 => "no-export".to_owned(),
        0xffff_0000 => "graceful-shutdown".to_owned(),
        _ => format!("{}:{}", value >> 16, value & 0xffff),
    }
}

/// An extended community (RFC 4360) of eight octets.
pub(crate) fn extended_community(value: u64) -> String {
    let [kind, subtype, a, b, c, d, e, f] = value.to_be_bytes();
    let (short, long) = (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]));
    let name = match subtype {
        2 => "rt",
        3 => "soo",
        4 => return format!("lb:{short}:{}", f32::from_bits(long)),
        _ => return format!("{value:#018x}"),
    };
    match kind {
        1 => format!("{name}:{a}.{b}.{c}.{d}:{}", u16::from_be_bytes([e, f])),
        _ => format!("{name}:{short}:{long}"),
    }
}
