//! Who answers for an address: an order over the candidates that every node computes alike.
//!
//! The order must never change between versions: during an upgrade old and new speakers run side by side, and two
//! orders would be two owners. The tests pin it.

use std::cmp::Reverse;
use std::net::IpAddr;

use ironlb_model::Name;
use ironlb_model::config::Election;
use sha2::{Digest, Sha256};

/// A node that may own an address.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a Name,
    /// [`name_hash`] of its name.
    pub hash: u64,
    /// The sum of the weights by which advertisements prefer it; the highest wins before any hash is looked at.
    pub preference: u32,
}

/// The owner of `ip`; `None` without a candidate. The order of the candidates does not matter.
pub fn owner<'a>(
    election: Election,
    ip: IpAddr,
    candidates: impl Iterator<Item = Candidate<'a>>,
) -> Option<&'a Name> {
    match election {
        Election::Rendezvous => {
            let address = address_hash(ip);
            candidates.max_by_key(|node| rendezvous_rank(node, address))
        }
        Election::MetallbCompat => candidates.max_by_key(|node| compat_rank(node, ip)),
    }
    .map(|node| node.name)
}

/// Whether `node`, one of the candidates, is the [`owner`] of `ip`. Looks at no more of them than it takes to find a better one.
pub fn is_owner<'a>(
    election: Election,
    ip: IpAddr,
    node: Candidate<'a>,
    mut candidates: impl Iterator<Item = Candidate<'a>>,
) -> bool {
    match election {
        Election::Rendezvous => {
            let address = address_hash(ip);
            let rank = rendezvous_rank(&node, address);
            candidates.all(|other| rendezvous_rank(&other, address) <= rank)
        }
        Election::MetallbCompat => {
            let rank = compat_rank(&node, ip);
            candidates.all(|other| compat_rank(&other, ip) <= rank)
        }
    }
}

fn rendezvous_rank<'a>(node: &Candidate<'a>, address: u64) -> (u32, u64, Reverse<&'a Name>) {
    let score = mix(node.hash ^ address);
    (node.preference, score, Reverse(node.name))
}

fn compat_rank<'a>(node: &Candidate<'a>, ip: IpAddr) -> (u32, Reverse<([u8; 32], &'a Name)>) {
    let hash = compat_hash(node.name, ip);
    (node.preference, Reverse((hash, node.name)))
}

/// 64-bit FNV-1a of a node's name, to be computed once for a node.
pub fn name_hash(name: &str) -> u64 {
    fnv1a(name.as_bytes())
}

/// The score of a node for an address in [`Election::Rendezvous`]; the highest owns it.
///
/// FNV-1a of the name, exclusive-or FNV-1a of the address's bytes (4 or 16, network order), through the finaliser of
/// SplitMix64.
pub fn score(name: &str, ip: IpAddr) -> u64 {
    mix(name_hash(name) ^ address_hash(ip))
}

/// The rank of a node for an address in [`Election::MetallbCompat`]; the lowest owns it: SHA-256 of the name, `#`
/// and the address as Go prints it, where an IPv4-mapped address is an IPv4 one.
pub fn compat_hash(name: &str, ip: IpAddr) -> [u8; 32] {
    Sha256::new()
        .chain_update(name)
        .chain_update("#")
        .chain_update(ip.to_canonical().to_string())
        .finalize()
        .into()
}

fn address_hash(ip: IpAddr) -> u64 {
    match ip {
        IpAddr::V4(ip) => fnv1a(&ip.octets()),
        IpAddr::V6(ip) => fnv1a(&ip.octets()),
    }
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64: every bit of the input sways every bit of the result.
const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn nodes(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    fn elect(election: Election, names: &[Name], ip: IpAddr) -> Option<&Name> {
        let candidates = names.iter().map(|name| Candidate {
            name,
            hash: name_hash(name),
            preference: 0,
        });
        owner(election, ip, candidates)
    }

    #[test]
    fn the_rendezvous_order_never_changes() {
        for (name, address, expected) in [
            ("node-a", "192.0.2.10", 0x122c_435c_33d1_f285),
            ("node-b", "192.0.2.10", 0x961e_8402_0997_5472),
            ("node-c", "192.0.2.10", 0xe238_2e06_d23d_2036),
            ("node-a", "2001:db8::10", 0xd220_5b3a_7dfd_dd28),
            ("node-b", "2001:db8::10", 0x2945_fde4_fd4c_98b4),
            ("node-c", "2001:db8::10", 0xaf0a_c9aa_4ef8_8c18),
        ] {
            assert_eq!(score(name, ip(address)), expected, "{name} {address}");
        }
        let names = nodes(&["node-a", "node-b", "node-c"]);
        let first = |address| elect(Election::Rendezvous, &names, ip(address)).unwrap();
        assert_eq!(&**first("192.0.2.10"), "node-c");
        assert_eq!(&**first("2001:db8::10"), "node-a");
    }

    proptest! {
        #[test]
        fn of_all_candidates_the_owner_alone_is_the_owner(
            preferences in proptest::collection::vec(0_u32..3, 1..12),
            number: u32,
        ) {
            let names: Vec<Name> = (0..preferences.len()).map(|n| format!("n{n}").into()).collect();
            let candidates: Vec<Candidate<'_>> = names
                .iter()
                .zip(preferences)
                .map(|(name, preference)| Candidate { name, hash: name_hash(name), preference })
                .collect();
            let ip = std::net::Ipv4Addr::from_bits(number).into();
            for election in [Election::Rendezvous, Election::MetallbCompat] {
                let all = || candidates.iter().copied();
                let owner = owner(election, ip, all());
                for node in all() {
                    prop_assert_eq!(is_owner(election, ip, node, all()), owner == Some(node.name));
                }
            }
        }
    }

    #[test]
    fn the_compat_order_is_that_of_metallb() {
        let hex = |name, address| {
            let hash = compat_hash(name, ip(address));
            hash[..6]
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        assert_eq!(hex("node-a", "192.0.2.10"), "d4b84135501a");
        assert_eq!(hex("node-b", "192.0.2.10"), "6e9fb809c116");
        assert_eq!(hex("node-c", "192.0.2.10"), "39f2d7a8f240");
        assert_eq!(hex("node-a", "2001:db8::10"), "5525059d790a");
        assert_eq!(hex("node-b", "2001:db8::10"), "21d5668f18c0");
        assert_eq!(hex("node-c", "2001:db8::10"), "d30d3eb7a242");

        let names = nodes(&["node-a", "node-b", "node-c"]);
        let compat = |address| elect(Election::MetallbCompat, &names, ip(address)).unwrap();
        assert_eq!(&**compat("192.0.2.10"), "node-c");
        assert_eq!(&**compat("2001:db8::10"), "node-b");
    }

    #[test]
    fn the_compat_order_reads_addresses_as_go_prints_them() {
        assert_eq!(
            compat_hash("n", ip("::ffff:192.0.2.1")),
            compat_hash("n", ip("192.0.2.1"))
        );
        assert_eq!(ip("::102:304").to_string(), "::102:304");
    }

    #[test]
    fn a_preferred_node_comes_before_any_hash() {
        let names = nodes(&["a", "b", "c"]);
        for election in [Election::Rendezvous, Election::MetallbCompat] {
            for last in 0..=255_u8 {
                let candidates = names.iter().map(|name| Candidate {
                    name,
                    hash: name_hash(name),
                    preference: u32::from(&**name == "b"),
                });
                let winner = owner(election, IpAddr::from([10, 0, 0, last]), candidates);
                assert_eq!(&**winner.unwrap(), "b");
            }
        }
    }

    #[test]
    fn nobody_owns_an_address_without_candidates() {
        assert_eq!(elect(Election::Rendezvous, &[], ip("192.0.2.1")), None);
        assert_eq!(elect(Election::MetallbCompat, &[], ip("192.0.2.1")), None);
    }

    #[test]
    fn addresses_spread_evenly_over_nodes() {
        for prefix in ["node-", "worker-0", "ip-10-0-0-"] {
            let names: Vec<Name> = (0..8).map(|n| Name::from(format!("{prefix}{n}"))).collect();
            let mut owned: BTreeMap<&Name, u32> = BTreeMap::new();
            for number in 0..8_000_u16 {
                let [high, low] = number.to_be_bytes();
                let address = IpAddr::from([10, 0, high, low]);
                *owned
                    .entry(elect(Election::Rendezvous, &names, address).unwrap())
                    .or_default() += 1;
            }
            let (least, most) = (owned.values().min().unwrap(), owned.values().max().unwrap());
            assert!(
                owned.len() == 8 && *least > 850 && *most < 1_150,
                "{owned:?}"
            );
        }
    }

    #[test]
    fn a_node_that_leaves_moves_only_its_own_addresses() {
        let all = nodes(&["a", "b", "c", "d"]);
        let rest = nodes(&["a", "b", "d"]);
        for last in 0..=255_u8 {
            let address = IpAddr::from([203, 0, 113, last]);
            let before = elect(Election::Rendezvous, &all, address).unwrap();
            let after = elect(Election::Rendezvous, &rest, address).unwrap();
            assert!(before == after || &**before == "c");
        }
    }
}
