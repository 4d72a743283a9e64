//! The fuzz targets of `tests/fuzz` on the pinned toolchain, each with inputs that a fixed seed invents.
//!
//! Bounded and always the same; `tests/fuzz/run` is where new inputs are looked for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    reason = "the targets are compiled here as they are"
)]

#[path = "fuzz/src/lib.rs"]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1))
            .map(|_| self.next().to_be_bytes()[0])
            .collect()
    }

    /// One of `examples` with up to eight places changed, cut out or doubled.
    fn altered(&mut self, examples: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = examples[self.below(examples.len())].clone();
        for _ in 0..self.below(9) {
            if bytes.is_empty() {
                break;
            }
            let place = self.below(bytes.len());
            match self.below(4) {
                0 => bytes.truncate(place),
                1 => {
                    let end = (place + self.below(32)).min(bytes.len());
                    let part = bytes[place..end].to_vec();
                    bytes.splice(place..place, part);
                }
                2 => {
                    bytes.remove(place);
                }
                _ => bytes[place] = self.next().to_be_bytes()[0],
            }
        }
        bytes
    }
}

/// Runs `target` with `count` inputs, and shows the one that breaks it.
fn throw(count: u64, target: fn(&[u8]), mut invent: impl FnMut(&mut Random) -> Vec<u8>) {
    for seed in 0..count {
        let bytes = invent(&mut Random(seed));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&bytes))) {
            eprintln!(
                "seed {seed}: {bytes:?}\n{}",
                String::from_utf8_lossy(&bytes)
            );
            resume_unwind(panic);
        }
    }
}

#[test]
fn any_arp_packet_is_read_or_refused() {
    let mut request = vec![0, 1, 8, 0, 6, 4, 0, 1];
    request.extend([0x5a; 20]);
    throw(20_000, targets::arp::run, |random| {
        random.altered(std::slice::from_ref(&request))
    });
}

#[test]
fn any_neighbour_discovery_packet_is_read_or_refused() {
    let mut solicitation = vec![0x60, 0, 0, 0, 0, 32, 58, 255];
    solicitation.extend([0x20; 32]);
    solicitation.extend([135, 0, 0, 0, 0, 0, 0, 0]);
    solicitation.extend([0x20; 16]);
    solicitation.extend([1, 1, 2, 0, 0, 0, 0, 1]);
    throw(20_000, targets::ndp::run, |random| {
        random.altered(std::slice::from_ref(&solicitation))
    });
}

#[test]
fn a_responder_never_speaks_for_what_it_does_not_hold() {
    throw(5_000, targets::responder::run, |random| random.bytes(600));
}

#[test]
fn any_bfd_packet_is_read_or_refused() {
    // BIRD's poll.
    let packet = vec![
        0x20, 0xe0, 5, 24, 0x28, 0xcb, 0x0e, 0xc9, 0xbd, 0x52, 0x6f, 0x81, 0, 1, 0x86, 0xa0, 0, 3,
        0x0d, 0x40, 0, 0, 0, 0,
    ];
    throw(20_000, targets::bfd_packet::run, |random| {
        random.altered(std::slice::from_ref(&packet))
    });
}

#[test]
fn whatever_happens_to_bfd_sessions_they_end_when_no_longer_wanted() {
    throw(5_000, targets::bfd_sessions::run, |random| {
        random.bytes(600)
    });
}

#[test]
fn any_text_is_read_as_configuration_or_refused() {
    let examples = [
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: a, namespace: b}\nspec:\n  addresses: [192.0.2.0/24, '2001:db8::-2001:db8::ff']\n",
        "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata:\n  name: a\nspec:\n  ipAddressPools: [a]\n  interfaces:\n  - eth0\n",
        "address-pools:\n- name: default\n  protocol: layer2\n  addresses:\n  - 192.0.2.0/28\npeers:\n- my-asn: 64512\n  peer-asn: 64513\n  peer-address: 192.0.2.1\n",
        "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\nspec: {type: LoadBalancer, ports: [{port: 80}]}\n",
    ]
    .map(|text| text.as_bytes().to_vec());
    throw(2_000, targets::config::run, |random| {
        random.altered(&examples)
    });
}

/// Sessions between real routers: what was negotiated, the messages of both sides with their headers.
fn bgp_sessions() -> Vec<(u8, Vec<Vec<u8>>)> {
    [
        (
            0,
            include_str!("../speaker/bgp/tests/wire/captures/external.txt"),
        ),
        (
            9,
            include_str!("../speaker/bgp/tests/wire/captures/two-octet.txt"),
        ),
        (
            16,
            include_str!("../speaker/bgp/tests/wire/captures/extended-next-hop.txt"),
        ),
        (
            2,
            include_str!("../speaker/bgp/tests/wire/captures/internal.txt"),
        ),
        (
            8,
            include_str!("../speaker/bgp/tests/wire/captures/exabgp.txt"),
        ),
        (
            0,
            include_str!("../speaker/bgp/tests/wire/captures/openbgpd.txt"),
        ),
    ]
    .map(|(agreed, text)| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let bytes = |line: &str| {
            let digits = line.as_bytes()[2..].chunks(2);
            let byte = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
            digits.map(byte).collect()
        };
        (agreed, lines.map(bytes).collect())
    })
    .into()
}

#[test]
fn any_bgp_message_is_read_or_refused() {
    let mut examples = Vec::new();
    for (agreed, messages) in bgp_sessions() {
        for message in messages.iter().filter(|message| message[18] != 4) {
            // In the order of the target: UPDATE, OPEN, NOTIFICATION, ROUTE-REFRESH.
            let kind = [1, 0, 2, 0, 3][usize::from(message[18]) - 1];
            examples.push([&[agreed, kind], &message[19..]].concat());
        }
    }
    for example in &examples {
        targets::bgp_message::run(example);
    }
    throw(100_000, targets::bgp_message::run, |random| {
        random.altered(&examples)
    });
}

#[test]
fn every_bit_of_a_bgp_message_may_be_wrong() {
    for (agreed, messages) in bgp_sessions() {
        for message in messages {
            for bit in 0..message.len() * 8 {
                let mut bytes = vec![agreed, 0];
                bytes.extend_from_slice(&message);
                bytes[2 + bit / 8] ^= 1 << (bit % 8);
                targets::bgp_stream::run(&bytes);
            }
        }
    }
}

#[test]
fn any_stream_of_bgp_messages_is_read_up_to_its_first_wrong_header() {
    let examples: Vec<_> = bgp_sessions()
        .into_iter()
        .map(|(agreed, messages)| {
            let mut stream = vec![agreed, 40];
            stream.extend(messages.concat());
            stream
        })
        .collect();
    throw(5_000, targets::bgp_stream::run, |random| {
        random.altered(&examples)
    });
}

#[test]
fn whatever_happens_to_a_bgp_peer_nothing_is_left_when_it_is_stopped() {
    throw(20_000, targets::bgp_session::run, |random| {
        random.bytes(600)
    });
}
