//! Sessions between real routers, as they were on the wire.

use ironlb_bgp::wire::{Framer, Kind, Message, Negotiated, Open};
use ironlb_model::Family;

/// Names and text of all captures.
pub(crate) const ALL: [(&str, &str); 6] = [
    ("external", include_str!("captures/external.txt")),
    ("two-octet", include_str!("captures/two-octet.txt")),
    (
        "extended-next-hop",
        include_str!("captures/extended-next-hop.txt"),
    ),
    ("internal", include_str!("captures/internal.txt")),
    ("exabgp", include_str!("captures/exabgp.txt")),
    ("openbgpd", include_str!("captures/openbgpd.txt")),
];

/// A session: each message with its header and the mark of who sent it, `>` or `<`.
pub(crate) struct Session(pub(crate) Vec<(char, Vec<u8>)>);

impl Session {
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.map(message).collect())
    }

    /// What the two OPENs agree on.
    pub(crate) fn negotiated(&self) -> Negotiated {
        let open = |side| {
            let mut messages = self.0.iter().filter(|(from, _)| *from == side);
            let (_, first) = messages.next().unwrap();
            Open::decode(&first[19..]).unwrap()
        };
        let (one, other) = (open('>'), open('<'));
        let both = [&one.capabilities, &other.capabilities];
        Negotiated {
            four_octet_as: both.iter().all(|side| side.four_octet_as.is_some()),
            internal: one.asn == other.asn,
            ipv4: both.iter().all(|side| side.offers(Family::V4)),
            ipv6: both.iter().all(|side| side.offers(Family::V6)),
            extended_next_hop: both.iter().all(|side| side.ipv4_over_ipv6()),
        }
    }
}

/// Calls `each` with the one message of `bytes`.
pub(crate) fn decode(bytes: &[u8], negotiated: &Negotiated, each: impl FnOnce(Kind, Message<'_>)) {
    let mut framer = Framer::new();
    framer.push(bytes);
    let frame = framer.next().unwrap().unwrap();
    each(frame.kind, Message::decode(frame, negotiated).unwrap());
    assert_eq!(framer.next(), Ok(None));
}

fn message(line: &str) -> (char, Vec<u8>) {
    let (from, hexadecimal) = line.split_once(' ').unwrap();
    let digits = hexadecimal.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    (from.chars().next().unwrap(), digits.map(byte).collect())
}
