use proptest::prelude::*;

use super::super::attribute::as_path_tests::any_path;
use super::super::framer::MAX_LENGTH_EXTENDED;
use super::super::nlri::tests::any_prefix;
use super::super::{
    Aggregator, AsPath, Community, ExtendedCommunity, Framer, LargeCommunity, Message, Origin,
    UnknownAttribute, Update,
};
use super::*;

const NEGOTIATED: Negotiated = Negotiated {
    four_octet_as: true,
    internal: false,
    ipv4: true,
    ipv6: true,
    extended_next_hop: false,
};
const V4: NextHop = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));

fn v6() -> NextHop {
    NextHop::V6("2001:db8::1".parse().unwrap())
}

/// What a speaker at the edge announces: a path of one AS, and a community.
fn edge() -> Attributes {
    Attributes {
        as_path: AsPath::sequence([64512]),
        communities: vec![Community::new(64512, 100)],
        ..Attributes::default()
    }
}

/// `count` addresses in a row.
fn hosts(family: Family, count: u32) -> Vec<IpNet> {
    let first = match family {
        Family::V4 => 0x0a00_0000,
        Family::V6 => 0x2001_0db8 << 96,
    };
    let host = |number| {
        let address = ironlb_model::addr::address(family, first + u128::from(number));
        IpNet::from(address)
    };
    (0..count).map(host).collect()
}

/// The messages in `bytes`, each with its length.
fn lengths(bytes: &[u8]) -> Vec<usize> {
    let mut framer = Framer::new();
    framer.set_extended(true);
    framer.push(bytes);
    let mut lengths = Vec::new();
    while let Some(frame) = framer.next().unwrap() {
        assert_eq!(frame.kind, Kind::Update);
        lengths.push(frame.body.len() + HEADER_LENGTH);
    }
    assert_eq!(lengths.iter().sum::<usize>(), bytes.len());
    lengths
}

/// Calls `each` with every UPDATE in `bytes`.
fn updates(bytes: &[u8], negotiated: &Negotiated, mut each: impl FnMut(Update<'_>)) {
    let mut framer = Framer::new();
    framer.set_extended(true);
    framer.push(bytes);
    while let Some(frame) = framer.next().unwrap() {
        match Message::decode(frame, negotiated).unwrap() {
            Message::Update(update) => each(update),
            other => panic!("{other:?}"),
        }
    }
}

fn announced(bytes: &[u8], negotiated: &Negotiated) -> Vec<IpNet> {
    let mut all = Vec::new();
    updates(bytes, negotiated, |update| {
        assert_eq!(update.faults, []);
        all.extend(update.routes_announced());
    });
    all
}

fn withdrawn(bytes: &[u8], negotiated: &Negotiated) -> Vec<IpNet> {
    let mut all = Vec::new();
    updates(bytes, negotiated, |update| {
        assert_eq!(update.faults, []);
        all.extend(update.routes_withdrawn());
    });
    all
}

#[test]
fn an_update_is_written_as_other_speakers_do() {
    let encoded = EncodedAttributes::new(&edge(), V4, Family::V4, &NEGOTIATED, 4096).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(
        pack(
            &encoded,
            ["192.0.2.77/24".parse().unwrap()],
            MAX_LENGTH,
            &mut bytes
        ),
        1
    );
    let expected = [
        &[0xff; 16][..],
        &[0, 54, 2, 0, 0, 0, 27],
        &[0x40, 1, 1, 0],
        &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0],
        &[0x40, 3, 4, 192, 0, 2, 1],
        &[0xc0, 8, 4, 0xfc, 0, 0, 100, 24, 192, 0, 2],
    ];
    assert_eq!(bytes, expected.concat());
}

#[test]
fn ipv6_routes_come_first_in_the_attributes() {
    let encoded = EncodedAttributes::new(&edge(), v6(), Family::V6, &NEGOTIATED, 4096).unwrap();
    let mut bytes = Vec::new();
    pack(&encoded, hosts(Family::V6, 1), MAX_LENGTH, &mut bytes);
    assert_eq!(bytes[23..26], [0x90, MP_REACH_NLRI, 0]);
    assert_eq!(announced(&bytes, &NEGOTIATED), hosts(Family::V6, 1));
}

#[test]
fn an_ipv4_address_takes_less_than_six_bytes() {
    for (family, next_hop, allowed) in [(Family::V4, V4, 5.1), (Family::V6, v6(), 17.4)] {
        let encoded = EncodedAttributes::new(&edge(), next_hop, family, &NEGOTIATED, 4096).unwrap();
        let mut bytes = Vec::new();
        pack(&encoded, hosts(family, 50_000), MAX_LENGTH, &mut bytes);
        assert!(
            lengths(&bytes)
                .into_iter()
                .all(|length| length <= MAX_LENGTH)
        );
        let each = f64::from(u32::try_from(bytes.len()).unwrap()) / 50_000.0;
        assert!(each < allowed, "{family}: {each}");
        assert_eq!(announced(&bytes, &NEGOTIATED), hosts(family, 50_000));
    }
}

#[test]
fn a_withdrawn_address_takes_as_little() {
    for (family, allowed) in [(Family::V4, 5.1), (Family::V6, 17.3)] {
        let mut bytes = Vec::new();
        withdraw(family, hosts(family, 50_000), MAX_LENGTH, &mut bytes);
        assert!(
            lengths(&bytes)
                .into_iter()
                .all(|length| length <= MAX_LENGTH)
        );
        let each = f64::from(u32::try_from(bytes.len()).unwrap()) / 50_000.0;
        assert!(each < allowed, "{family}: {each}");
        assert_eq!(withdrawn(&bytes, &NEGOTIATED), hosts(family, 50_000));
    }
}

#[test]
fn every_message_but_the_last_is_filled() {
    for family in Family::ALL {
        let next_hop = if family == Family::V4 { V4 } else { v6() };
        let encoded = EncodedAttributes::new(&edge(), next_hop, family, &NEGOTIATED, 4096).unwrap();
        for longest in [MAX_LENGTH, 10_000, MAX_LENGTH_EXTENDED] {
            let (mut one, mut other) = (Vec::new(), Vec::new());
            pack(&encoded, hosts(family, 20_000), longest, &mut one);
            withdraw(family, hosts(family, 20_000), longest, &mut other);
            for bytes in [one, other] {
                let lengths = lengths(&bytes);
                let (_, filled) = lengths.split_last().unwrap();
                let full = longest - nlri::MAX_LENGTH + 1..=longest;
                assert!(
                    filled.iter().all(|length| full.contains(length)),
                    "{lengths:?}"
                );
            }
        }
    }
}

#[test]
fn of_nothing_nothing_is_written() {
    let encoded = EncodedAttributes::new(&edge(), V4, Family::V4, &NEGOTIATED, 4096).unwrap();
    let mut bytes = vec![1, 2, 3];
    assert_eq!(pack(&encoded, [], MAX_LENGTH, &mut bytes), 0);
    assert_eq!(
        pack(&encoded, hosts(Family::V6, 3), MAX_LENGTH, &mut bytes),
        0
    );
    assert_eq!(
        withdraw(Family::V4, hosts(Family::V6, 3), MAX_LENGTH, &mut bytes),
        0
    );
    assert_eq!(bytes, [1, 2, 3]);
}

#[test]
fn prefixes_of_the_other_family_are_left_out_wherever_they_are() {
    let mixed: Vec<_> = hosts(Family::V4, 1000)
        .into_iter()
        .zip(hosts(Family::V6, 1000))
        .flat_map(|(v4, v6)| [v6, v4])
        .collect();
    let encoded = EncodedAttributes::new(&edge(), V4, Family::V4, &NEGOTIATED, 4096).unwrap();
    let mut bytes = Vec::new();
    assert_eq!(pack(&encoded, mixed, MAX_LENGTH, &mut bytes), 2);
    assert_eq!(announced(&bytes, &NEGOTIATED), hosts(Family::V4, 1000));
}

#[test]
fn one_message_at_a_time_leaves_the_rest_in_place() {
    let encoded = EncodedAttributes::new(&edge(), V4, Family::V4, &NEGOTIATED, 4096).unwrap();
    let mut queue = hosts(Family::V4, 1000).into_iter().peekable();
    let mut bytes = Vec::new();
    let first = pack_message(&encoded, &mut queue, MAX_LENGTH, &mut bytes);
    assert_eq!(queue.len(), 1000 - first);
    assert_eq!(
        withdraw_message(Family::V4, &mut queue, MAX_LENGTH, &mut bytes),
        1000 - first
    );
    assert_eq!(lengths(&bytes).len(), 2);
}

#[test]
fn end_of_rib_is_written_as_its_family_has_it() {
    let mut bytes = Vec::new();
    end_of_rib(Family::V4, &mut bytes);
    assert_eq!(bytes[16..], [0, 23, 2, 0, 0, 0, 0]);
    end_of_rib(Family::V6, &mut bytes);
    let mut ends = Vec::new();
    updates(&bytes, &NEGOTIATED, |update| ends.push(update.end_of_rib));
    assert_eq!(ends, [Some(Family::V4), Some(Family::V6)]);
}

#[test]
fn what_the_session_cannot_carry_is_refused() {
    let refused = |next_hop, family, negotiated: &Negotiated| {
        EncodedAttributes::new(&edge(), next_hop, family, negotiated, 4096)
            .unwrap_err()
            .to_string()
    };
    let ipv4 = Negotiated {
        ipv6: false,
        ..NEGOTIATED
    };
    assert_eq!(
        refused(v6(), Family::V6, &ipv4),
        "IPv6 unicast was not negotiated"
    );
    assert_eq!(
        refused(v6(), Family::V4, &NEGOTIATED),
        "IPv4 routes cannot have the next hop 2001:db8::1 on this session"
    );
    let extended = Negotiated {
        extended_next_hop: true,
        ..NEGOTIATED
    };
    assert!(EncodedAttributes::new(&edge(), v6(), Family::V4, &extended, 4096).is_ok());
    assert!(EncodedAttributes::new(&edge(), V4, Family::V6, &extended, 4096).is_err());
}

#[test]
fn attributes_may_fill_a_message_but_for_one_prefix() {
    let attributes = |count| Attributes {
        communities: vec![Community::NO_EXPORT; count],
        ..edge()
    };
    for (max_length, longest) in [(0, 4096), (4096, 4096), (65_535, 65_535), (100_000, 65_535)] {
        let fits = |count| {
            let attributes = attributes(count);
            EncodedAttributes::new(&attributes, v6(), Family::V6, &NEGOTIATED, max_length)
        };
        let most = (0..20_000)
            .rev()
            .find(|count| fits(*count).is_ok())
            .unwrap();
        let mut bytes = Vec::new();
        let hosts = hosts(Family::V6, 2);
        assert_eq!(pack(&fits(most).unwrap(), hosts, max_length, &mut bytes), 2);
        let lengths = lengths(&bytes);
        assert!(
            lengths
                .iter()
                .all(|length| (longest - 6..=longest).contains(length)),
            "{lengths:?}"
        );
        assert!(matches!(fits(most + 1), Err(EncodeError::TooLong { .. })));
    }
}

#[test]
fn local_pref_is_for_internal_peers_alone() {
    let attributes = Attributes {
        local_pref: Some(7),
        ..edge()
    };
    let internal = Negotiated {
        internal: true,
        ..NEGOTIATED
    };
    for (attributes, negotiated, expected) in [
        (&attributes, &NEGOTIATED, None),
        (&attributes, &internal, Some(7)),
        (&edge(), &internal, Some(100)),
    ] {
        let encoded = EncodedAttributes::new(attributes, V4, Family::V4, negotiated, 4096).unwrap();
        let mut bytes = Vec::new();
        pack(&encoded, hosts(Family::V4, 1), MAX_LENGTH, &mut bytes);
        updates(&bytes, negotiated, |update| {
            assert_eq!(update.attributes.local_pref, expected);
            assert_eq!(update.faults, []);
        });
    }
}

fn any_attributes() -> impl Strategy<Value = Attributes> {
    let origin = prop_oneof![
        Just(Origin::Igp),
        Just(Origin::Egp),
        Just(Origin::Incomplete)
    ];
    let aggregator = (prop_oneof![1..70_000_u32, 1..=u32::MAX], any::<u32>())
        .prop_filter("means another", |(asn, _)| *asn != 23456)
        .prop_map(|(asn, id)| Aggregator {
            asn,
            router_id: id.into(),
        });
    let large = any::<(u32, u32, u32)>().prop_map(|(global, local1, local2)| LargeCommunity {
        global,
        local1,
        local2,
    });
    let unknown =
        (33..=255_u8, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(kind, value)| {
            UnknownAttribute {
                flags: 0xc0,
                kind,
                value,
            }
        });
    (
        (
            origin,
            any_path(),
            any::<Option<u32>>(),
            any::<u32>(),
            any::<bool>(),
        ),
        prop::option::of(aggregator),
        prop::collection::vec(any::<u32>().prop_map(Community), 0..80),
        prop::collection::vec(any::<[u8; 8]>().prop_map(ExtendedCommunity), 0..8),
        prop::collection::vec(large, 0..8),
        prop::option::of(unknown),
    )
        .prop_map(
            |(
                simple,
                aggregator,
                communities,
                extended_communities,
                large_communities,
                unknown,
            )| {
                let (origin, as_path, med, local_pref, atomic_aggregate) = simple;
                Attributes {
                    origin,
                    as_path,
                    next_hop: None,
                    med,
                    local_pref: Some(local_pref),
                    atomic_aggregate,
                    aggregator,
                    communities,
                    extended_communities,
                    large_communities,
                    unknown: unknown.into_iter().collect(),
                }
            },
        )
}

fn any_negotiated() -> impl Strategy<Value = Negotiated> {
    any::<[bool; 3]>().prop_map(|[four_octet_as, internal, extended_next_hop]| Negotiated {
        four_octet_as,
        internal,
        extended_next_hop,
        ..NEGOTIATED
    })
}

proptest! {
    #[test]
    fn what_is_packed_is_read_again(
        mut attributes in any_attributes(),
        negotiated in any_negotiated(),
        v4 in prop::collection::vec(any_prefix(Family::V4), 1..900),
        v6_prefixes in prop::collection::vec(any_prefix(Family::V6), 1..300),
        pair in any::<bool>(),
    ) {
        if !negotiated.internal {
            attributes.local_pref = None;
        }
        let NextHop::V6(address) = v6() else { unreachable!() };
        let over_v6 = if pair {
            NextHop::V6Pair { global: address, link_local: "fe80::1".parse().unwrap() }
        } else {
            v6()
        };
        let v4_next_hop = if negotiated.extended_next_hop { over_v6 } else { V4 };
        for (family, next_hop, prefixes) in [(Family::V4, v4_next_hop, v4), (Family::V6, over_v6, v6_prefixes)] {
            let encoded = EncodedAttributes::new(&attributes, next_hop, family, &negotiated, 4096).unwrap();
            let (mut bytes, mut read) = (Vec::new(), Vec::new());
            pack(&encoded, prefixes.iter().copied(), MAX_LENGTH, &mut bytes);
            updates(&bytes, &negotiated, |update| {
                assert_eq!(update.faults, []);
                read.extend(update.routes_announced());
                let classic = update.attributes.next_hop.map(NextHop::V4);
                assert_eq!(update.next_hop.or(classic), Some(next_hop));
                let received = Attributes { next_hop: None, ..update.attributes };
                assert_eq!(received, attributes);
            });
            prop_assert_eq!(read, prefixes);
        }
    }
}
