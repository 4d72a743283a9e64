use std::net::Ipv4Addr;

use super::super::{AsPath, Community, LargeCommunity, Origin, Reason, Segment};
use super::*;

const EXTERNAL: Negotiated = Negotiated {
    four_octet_as: true,
    internal: false,
    ipv4: true,
    ipv6: true,
    extended_next_hop: false,
};
const INTERNAL: Negotiated = Negotiated {
    internal: true,
    ..EXTERNAL
};

const ORIGIN: &[u8] = &[0x40, 1, 1, 0];
const AS_PATH: &[u8] = &[0x40, 2, 6, 2, 1, 0, 0, 0xfc, 0];
const NEXT_HOP: &[u8] = &[0x40, 3, 4, 192, 0, 2, 1];
const LOCAL_PREF: &[u8] = &[0x40, 5, 4, 0, 0, 0, 200];
const COMMUNITIES: &[u8] = &[0xc0, 8, 4, 0xff, 0xff, 0xff, 1];
/// 2001:db8::/32 by way of 2001:db8::1.
const MP_REACH: &[u8] = &[
    0x80, 14, 26, 0, 2, 1, 16, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 32, 0x20,
    1, 0xd, 0xb8,
];
/// 2001:db8::/32.
const MP_UNREACH: &[u8] = &[0x80, 15, 8, 0, 2, 1, 32, 0x20, 1, 0xd, 0xb8];
/// 10.0.0.0/8.
const TEN: &[u8] = &[8, 10];

/// The body of an UPDATE.
fn body(withdrawn: &[u8], attributes: &[&[u8]], announced: &[u8]) -> Vec<u8> {
    let attributes = attributes.concat();
    let mut body = u16::try_from(withdrawn.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    body.extend_from_slice(withdrawn);
    body.extend_from_slice(&u16::try_from(attributes.len()).unwrap().to_be_bytes());
    body.extend_from_slice(&attributes);
    body.extend_from_slice(announced);
    body
}

/// What an UPDATE that announces 10.0.0.0/8 with these attributes beside the well-known ones comes to.
fn verdict(
    extra: &[&[u8]],
    negotiated: &Negotiated,
) -> Result<(Option<Action>, Vec<Fault>), Reason> {
    let mut attributes = vec![ORIGIN, AS_PATH, NEXT_HOP];
    if negotiated.internal {
        attributes.push(LOCAL_PREF);
    }
    attributes.extend_from_slice(extra);
    decided(&body(&[], &attributes, TEN), negotiated)
}

fn decided(body: &[u8], negotiated: &Negotiated) -> Result<(Option<Action>, Vec<Fault>), Reason> {
    let update = Update::decode(body, negotiated).map_err(|error| error.reason())?;
    let withdrawn = update.routes_withdrawn().count();
    let announced = update.routes_announced().count();
    match update.action() {
        Some(Action::TreatAsWithdraw) => assert_eq!((withdrawn, announced), (1, 0)),
        _ => assert_eq!((withdrawn, announced), (0, 1)),
    }
    Ok((update.action(), update.faults))
}

/// The fault of an attribute alone among good ones, and what is done about it.
fn fault(attribute: &[u8], negotiated: &Negotiated) -> Option<(FaultKind, Action)> {
    let (action, faults) = verdict(&[attribute], negotiated).unwrap();
    match faults.as_slice() {
        [] => None,
        [fault] => {
            assert_eq!(
                (fault.attribute, Some(fault.action)),
                (Some(attribute[1]), action)
            );
            Some((fault.kind, fault.action))
        }
        several => panic!("{several:?}"),
    }
}

/// The same for an attribute in place of the good one of its type.
fn fault_instead(attribute: &[u8], negotiated: &Negotiated) -> Option<(FaultKind, Action)> {
    let mut attributes = vec![ORIGIN, AS_PATH, NEXT_HOP];
    if negotiated.internal {
        attributes.push(LOCAL_PREF);
    }
    for good in &mut attributes {
        if good[1] == attribute[1] {
            *good = attribute;
        }
    }
    let (_, faults) = decided(&body(&[], &attributes, TEN), negotiated).unwrap();
    assert!(faults.len() < 2, "{faults:?}");
    faults.first().map(|fault| (fault.kind, fault.action))
}

const DISCARD: Action = Action::AttributeDiscard;
const WITHDRAW: Action = Action::TreatAsWithdraw;

#[test]
fn all_that_an_update_says_is_read() {
    let bytes = body(
        &[16, 172, 16],
        &[
            ORIGIN,
            AS_PATH,
            NEXT_HOP,
            &[0x80, 4, 4, 0, 0, 0, 77],
            LOCAL_PREF,
            &[0x40, 6, 0],
            &[0xc0, 7, 8, 0, 1, 0, 0, 192, 0, 2, 9],
            COMMUNITIES,
            &[0xc0, 16, 8, 0, 2, 0xfc, 0, 0, 0, 0, 7],
            &[0xc0, 32, 12, 0, 0, 0xfc, 0, 0, 0, 0, 1, 0, 0, 0, 2],
            &[0xc0, 99, 2, 1, 2],
        ],
        TEN,
    );
    let update = Update::decode(&bytes, &INTERNAL).unwrap();
    assert_eq!(update.faults, []);
    let attributes = &update.attributes;
    assert_eq!(attributes.origin, Origin::Igp);
    assert_eq!(attributes.as_path, AsPath::sequence([64512]));
    assert_eq!(attributes.next_hop, Some(Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(
        (attributes.med, attributes.local_pref),
        (Some(77), Some(200))
    );
    assert!(attributes.atomic_aggregate);
    assert_eq!(attributes.aggregator.unwrap().asn, 65536);
    assert_eq!(attributes.communities, [Community::NO_EXPORT]);
    assert_eq!(
        attributes.extended_communities[0].0,
        [0, 2, 0xfc, 0, 0, 0, 0, 7]
    );
    let large = LargeCommunity {
        global: 64512,
        local1: 1,
        local2: 2,
    };
    assert_eq!(attributes.large_communities, [large]);
    assert_eq!(
        (attributes.unknown[0].kind, &*attributes.unknown[0].value),
        (99, &[1, 2][..])
    );
    let routes = |prefixes: &mut dyn Iterator<Item = IpNet>| {
        prefixes.map(|p| p.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(routes(&mut update.routes_announced()), ["10.0.0.0/8"]);
    assert_eq!(routes(&mut update.routes_withdrawn()), ["172.16.0.0/16"]);
}

#[test]
fn ipv6_routes_come_and_go_in_attributes() {
    let bytes = body(&[], &[MP_REACH, ORIGIN, AS_PATH], &[]);
    let update = Update::decode(&bytes, &EXTERNAL).unwrap();
    assert_eq!(update.faults, []);
    assert_eq!(
        update.next_hop,
        Some(NextHop::V6("2001:db8::1".parse().unwrap()))
    );
    assert_eq!(
        update.routes_announced().next(),
        Some("2001:db8::/32".parse().unwrap())
    );
    let bytes = body(&[], &[MP_UNREACH], &[]);
    let update = Update::decode(&bytes, &EXTERNAL).unwrap();
    assert_eq!(
        update.routes_withdrawn().next(),
        Some("2001:db8::/32".parse().unwrap())
    );
    assert_eq!(update.end_of_rib, None);
}

#[test]
fn a_malformed_value_has_the_action_of_its_type() {
    use FaultKind::{Length, Value};
    for (attribute, expected) in [
        (&[0x40, 1, 2, 0, 0][..], (Length, WITHDRAW)),
        (&[0x40, 1, 1, 3], (Value, WITHDRAW)),
        (&[0x40, 2, 3, 2, 1, 0], (Value, WITHDRAW)),
        (&[0x40, 2, 6, 2, 1, 0, 0, 0, 0], (Value, WITHDRAW)),
        (&[0x40, 2, 6, 3, 1, 0, 0, 0, 1], (Value, WITHDRAW)),
        (&[0x40, 3, 3, 192, 0, 2], (Length, WITHDRAW)),
        (&[0x40, 3, 4, 0, 0, 0, 0], (Value, WITHDRAW)),
        (&[0x40, 3, 4, 224, 0, 0, 1], (Value, WITHDRAW)),
        (&[0x40, 3, 4, 255, 255, 255, 255], (Value, WITHDRAW)),
    ] {
        assert_eq!(
            fault_instead(attribute, &EXTERNAL),
            Some(expected),
            "{attribute:?}"
        );
    }
    for (attribute, expected) in [
        (&[0x80, 4, 3, 0, 0, 0][..], (Length, WITHDRAW)),
        (&[0x40, 6, 1, 0], (Length, DISCARD)),
        (&[0xc0, 7, 6, 0, 1, 192, 0, 2, 9], (Length, DISCARD)),
        (&[0xc0, 7, 8, 0, 0, 0, 0, 192, 0, 2, 9], (Value, DISCARD)),
        (&[0xc0, 8, 0], (Length, WITHDRAW)),
        (&[0xc0, 8, 5, 0, 0, 0, 0, 0], (Length, WITHDRAW)),
        (&[0xc0, 16, 0], (Length, WITHDRAW)),
        (&[0xc0, 16, 7, 0, 0, 0, 0, 0, 0, 0], (Length, WITHDRAW)),
        (&[0xc0, 32, 0], (Length, WITHDRAW)),
        (&[0xc0, 32, 4, 0, 0, 0, 0], (Length, WITHDRAW)),
    ] {
        assert_eq!(fault(attribute, &EXTERNAL), Some(expected), "{attribute:?}");
    }
}

#[test]
fn what_only_internal_peers_may_say_is_checked_there_and_discarded_elsewhere() {
    use FaultKind::{Length, Misplaced};
    let local_pref = &[0x40, 5, 3, 0, 0, 0];
    assert_eq!(fault(local_pref, &EXTERNAL), Some((Misplaced, DISCARD)));
    assert_eq!(
        fault_instead(local_pref, &INTERNAL),
        Some((Length, WITHDRAW))
    );
    for (good, bad) in [
        (
            &[0x80, 9, 4, 192, 0, 2, 1][..],
            &[0x80, 9, 3, 192, 0, 2][..],
        ),
        (&[0x80, 10, 8, 0, 0, 0, 1, 0, 0, 0, 2], &[0x80, 10, 0]),
    ] {
        assert_eq!(fault(good, &EXTERNAL), Some((Misplaced, DISCARD)));
        assert_eq!(fault(bad, &EXTERNAL), Some((Misplaced, DISCARD)));
        assert_eq!(fault(good, &INTERNAL), None);
        assert_eq!(fault(bad, &INTERNAL), Some((Length, WITHDRAW)));
    }
}

#[test]
fn flags_that_are_not_those_of_the_type_withdraw_the_routes() {
    for attribute in [
        &[0x00, 6, 0][..],
        &[0xc0, 6, 0],
        &[0x40, 8, 4, 0, 0, 0, 1],
        &[0x80, 8, 4, 0, 0, 0, 1],
        &[0xc0, 4, 4, 0, 0, 0, 1],
        &[0x80, 7, 8, 0, 0, 0, 1, 192, 0, 2, 9],
    ] {
        assert_eq!(
            fault(attribute, &EXTERNAL),
            Some((FaultKind::Flags, WITHDRAW)),
            "{attribute:?}"
        );
    }
    // Neither the partial bit nor those without a meaning matter.
    assert_eq!(fault(&[0xef, 8, 4, 0, 0, 0, 1], &EXTERNAL), None);
}

#[test]
fn the_length_may_take_two_octets_where_one_would_do() {
    assert_eq!(fault(&[0xd0, 8, 0, 4, 0, 0, 0, 1], &EXTERNAL), None);
}

#[test]
fn of_two_attributes_of_a_type_the_first_counts() {
    let second: &[u8] = &[0xc0, 8, 4, 0, 0, 0, 9];
    let bytes = body(&[], &[ORIGIN, AS_PATH, NEXT_HOP, COMMUNITIES, second], TEN);
    let update = Update::decode(&bytes, &EXTERNAL).unwrap();
    assert_eq!(update.attributes.communities, [Community::NO_EXPORT]);
    assert_eq!(update.faults[0].kind, FaultKind::Duplicate);
    assert_eq!(update.action(), Some(DISCARD));
    let unknown: &[u8] = &[0xc0, 200, 1, 1];
    let (action, faults) = verdict(&[unknown, unknown], &EXTERNAL).unwrap();
    assert_eq!((action, faults.len()), (Some(DISCARD), 1));
}

#[test]
fn routes_in_two_attributes_of_a_type_end_the_session() {
    for twice in [MP_REACH, MP_UNREACH] {
        let bytes = body(&[], &[ORIGIN, AS_PATH, twice, twice], &[]);
        let error = Update::decode(&bytes, &EXTERNAL).unwrap_err();
        assert_eq!(error.reason(), Reason::MALFORMED_ATTRIBUTE_LIST);
        assert_eq!(error.notification().data, []);
    }
}

#[test]
fn a_missing_well_known_attribute_withdraws_the_routes() {
    for (missing, internal) in [(1, false), (2, false), (3, false), (5, true)] {
        let all = [ORIGIN, AS_PATH, NEXT_HOP, LOCAL_PREF];
        let some: Vec<_> = all
            .into_iter()
            .filter(|a| a[1] != missing && (internal || a[1] != 5))
            .collect();
        let negotiated = if internal { INTERNAL } else { EXTERNAL };
        let (action, faults) = decided(&body(&[], &some, TEN), &negotiated).unwrap();
        assert_eq!(action, Some(WITHDRAW));
        let found: Vec<_> = faults.iter().map(|f| (f.attribute, f.kind)).collect();
        assert_eq!(found, [(Some(missing), FaultKind::Missing)]);
    }
    // Routes in MP_REACH_NLRI have their next hop there, and withdrawals have no attributes.
    assert_eq!(
        decided(&body(&[], &[MP_REACH, ORIGIN, AS_PATH], &[]), &EXTERNAL),
        Ok((None, vec![]))
    );
    let bytes = body(TEN, &[], &[]);
    assert_eq!(Update::decode(&bytes, &INTERNAL).unwrap().faults, []);
}

#[test]
fn of_several_faults_the_strongest_decides() {
    let discard: &[u8] = &[0x40, 6, 1, 0];
    let withdraw: &[u8] = &[0xc0, 8, 0];
    let reset: &[u8] = &[0x80, 14, 2, 0, 2];
    let (action, faults) = verdict(&[discard, withdraw], &EXTERNAL).unwrap();
    assert_eq!((action, faults.len()), (Some(WITHDRAW), 2));
    let refused = verdict(&[withdraw, discard, reset], &EXTERNAL);
    assert_eq!(refused, Err(Reason::OPTIONAL_ATTRIBUTE));
}

#[test]
fn an_attribute_that_reaches_beyond_the_others_withdraws_the_routes() {
    let beyond: &[u8] = &[0xc0, 8, 200, 0];
    let (action, faults) = verdict(&[beyond], &EXTERNAL).unwrap();
    assert_eq!(action, Some(WITHDRAW));
    assert_eq!(
        (faults[0].attribute, faults[0].kind),
        (None, FaultKind::Overrun)
    );
    for rest in [&[0xc0][..], &[0xc0, 8], &[0xd0, 8, 0]] {
        assert_eq!(
            verdict(&[rest], &EXTERNAL).unwrap().0,
            Some(WITHDRAW),
            "{rest:?}"
        );
    }
    // The whole is not known to be read where no route is found.
    let refused = decided(&body(&[], &[beyond], &[]), &EXTERNAL);
    assert_eq!(refused, Err(Reason::MALFORMED_ATTRIBUTE_LIST));
}

#[test]
fn faults_of_an_update_without_routes_end_the_session() {
    let bad: &[u8] = &[0x40, 1, 1, 7];
    let bytes = body(&[], &[bad, AS_PATH], &[]);
    let error = Update::decode(&bytes, &EXTERNAL).unwrap_err();
    assert_eq!(error.reason(), Reason::INVALID_ORIGIN);
    assert_eq!(error.notification().data, bad);
    assert_eq!(error.to_string(), "ORIGIN has a value that is not allowed");
    // So they do where MP_REACH_NLRI is there and has none.
    let mut empty = MP_REACH[..24].to_vec();
    empty[2] = 21;
    let bytes = body(&[], &[&empty, bad, AS_PATH], &[]);
    let error = Update::decode(&bytes, &EXTERNAL).unwrap_err();
    assert_eq!(error.reason(), Reason::INVALID_ORIGIN);
    let bytes = body(&[], &[&empty], &[]);
    assert_eq!(Update::decode(&bytes, &EXTERNAL).unwrap().faults, []);
    // A mild one does not, and without a fault there is nothing wrong with it.
    for attributes in [&[ORIGIN, AS_PATH][..], &[ORIGIN, &[0x40, 6, 1, 0]]] {
        assert!(Update::decode(&body(&[], attributes, &[]), &EXTERNAL).is_ok());
    }
}

#[test]
fn what_the_peer_is_told_names_the_attribute() {
    for (attribute, reason) in [
        (&[0x40, 2, 1, 9][..], Reason::MALFORMED_AS_PATH),
        (&[0x40, 3, 4, 0, 0, 0, 0], Reason::INVALID_NEXT_HOP),
        (&[0x40, 3, 1, 0], Reason::ATTRIBUTE_LENGTH),
        (&[0xc0, 1, 1, 0], Reason::ATTRIBUTE_FLAGS),
        (&[0x40, 99, 1, 0], Reason::UNRECOGNIZED_WELL_KNOWN),
    ] {
        let bytes = body(&[], &[attribute], &[]);
        let error = Update::decode(&bytes, &EXTERNAL).unwrap_err();
        assert_eq!(
            (error.reason(), error.notification().data),
            (reason, attribute.to_vec())
        );
    }
}

#[test]
fn prefixes_that_cannot_be_read_end_the_session() {
    let good = [ORIGIN, AS_PATH, NEXT_HOP];
    for bytes in [
        body(&[], &good, &[33, 1, 2, 3, 4, 5]),
        body(&[16, 10], &[], &[]),
    ] {
        let error = Update::decode(&bytes, &EXTERNAL).unwrap_err();
        assert_eq!(error.reason(), Reason::INVALID_NETWORK);
    }
    for attribute in [
        // A prefix too long, a next hop of a length that IPv6 does not have, nothing but the family, not even that.
        &[0x80, 15, 4, 0, 2, 1, 129][..],
        &[0x80, 14, 9, 0, 2, 1, 4, 192, 0, 2, 1, 0],
        &[0x80, 14, 3, 0, 2, 1],
        &[0x80, 15, 1, 0],
    ] {
        let bytes = body(&[], &[ORIGIN, AS_PATH, attribute], &[]);
        let error = Update::decode(&bytes, &EXTERNAL).unwrap_err();
        assert_eq!(error.reason(), Reason::OPTIONAL_ATTRIBUTE, "{attribute:?}");
        assert_eq!(error.notification().data, attribute);
    }
}

#[test]
fn lengths_that_do_not_fit_the_message_end_the_session() {
    for bytes in [
        &[][..],
        &[0],
        &[0, 0],
        &[0, 0, 0],
        &[0, 1, 0, 0],
        &[0, 0, 0, 1],
        &[0, 0, 0xff, 0xff],
    ] {
        let error = Update::decode(bytes, &EXTERNAL).unwrap_err();
        assert_eq!(
            error.reason(),
            Reason::MALFORMED_ATTRIBUTE_LIST,
            "{bytes:?}"
        );
    }
}

#[test]
fn a_family_that_is_not_exchanged_is_ignored() {
    let ipv4 = Negotiated {
        ipv6: false,
        ..EXTERNAL
    };
    for attribute in [MP_REACH, MP_UNREACH, &[0x80, 15, 3, 0, 25, 70]] {
        assert_eq!(fault(attribute, &ipv4), Some((FaultKind::Family, DISCARD)));
    }
    let ipv6 = Negotiated {
        ipv4: false,
        ..EXTERNAL
    };
    let bytes = body(&[8, 11], &[ORIGIN, AS_PATH, NEXT_HOP], TEN);
    let update = Update::decode(&bytes, &ipv6).unwrap();
    assert_eq!(
        update.routes_announced().count() + update.routes_withdrawn().count(),
        0
    );
    assert_eq!(update.faults, [UNEXPECTED_IPV4]);
}

#[test]
fn ipv4_routes_have_an_ipv6_next_hop_only_where_that_was_negotiated() {
    let mut attribute = vec![0x80, 14, 39, 0, 1, 1, 32];
    attribute.extend([0x20; 16]);
    attribute.extend([0xfe; 16]);
    attribute.extend([0, 8, 10]);
    let bytes = body(&[], &[&attribute, ORIGIN, AS_PATH], &[]);
    assert!(Update::decode(&bytes, &EXTERNAL).is_err());
    let negotiated = Negotiated {
        extended_next_hop: true,
        ..EXTERNAL
    };
    let update = Update::decode(&bytes, &negotiated).unwrap();
    assert!(matches!(update.next_hop, Some(NextHop::V6Pair { .. })));
    assert_eq!(
        update.routes_announced().next(),
        Some("10.0.0.0/8".parse().unwrap())
    );
}

#[test]
fn a_next_hop_that_no_host_has_withdraws_the_routes() {
    for (first, faulty) in [(0, true), (0xff, true), (0x20, false)] {
        let mut attribute = MP_REACH.to_vec();
        attribute[7..23].fill(0);
        attribute[7] = first;
        let verdict = decided(&body(&[], &[&attribute, ORIGIN, AS_PATH], &[]), &EXTERNAL);
        assert_eq!(verdict.unwrap().0, faulty.then_some(WITHDRAW), "{first}");
    }
}

#[test]
fn end_of_rib_is_an_update_with_nothing_in_it() {
    let end = |bytes: &[u8], negotiated| Update::decode(bytes, negotiated).unwrap().end_of_rib;
    let ipv6_end: &[u8] = &[0x80, 15, 3, 0, 2, 1];
    assert_eq!(end(&body(&[], &[], &[]), &EXTERNAL), Some(Family::V4));
    assert_eq!(
        end(&body(&[], &[ipv6_end], &[]), &EXTERNAL),
        Some(Family::V6)
    );
    assert_eq!(
        end(&body(&[], &[&[0x90, 15, 0, 3, 0, 1, 1]], &[]), &EXTERNAL),
        Some(Family::V4)
    );
    assert_eq!(end(&body(&[], &[ipv6_end, ORIGIN], &[]), &EXTERNAL), None);
    assert_eq!(end(&body(TEN, &[ipv6_end], &[]), &EXTERNAL), None);
    let ipv4 = Negotiated {
        ipv6: false,
        ..EXTERNAL
    };
    assert_eq!(end(&body(&[], &[ipv6_end], &[]), &ipv4), None);
}

#[test]
fn a_speaker_of_two_octets_is_understood_with_as4_path() {
    let old = Negotiated {
        four_octet_as: false,
        ..EXTERNAL
    };
    let short: &[u8] = &[0x40, 2, 6, 2, 2, 0xfc, 0, 0x5b, 0xa0];
    let as4_path: &[u8] = &[0xc0, 17, 6, 2, 1, 0, 1, 0, 0];
    let trans: &[u8] = &[0xc0, 7, 6, 0x5b, 0xa0, 192, 0, 2, 9];
    let as4_aggregator: &[u8] = &[0xc0, 18, 8, 0, 1, 0, 0, 192, 0, 2, 10];
    let read = |extra: &[&[u8]]| {
        let mut attributes = vec![ORIGIN, short, NEXT_HOP];
        attributes.extend_from_slice(extra);
        let bytes = body(&[], &attributes, TEN);
        let update = Update::decode(&bytes, &old).unwrap();
        (
            update.attributes.as_path.to_string(),
            update.attributes.aggregator,
            update.action(),
        )
    };
    let (path, _, action) = read(&[as4_path]);
    assert_eq!((path.as_str(), action), ("64512 65536", None));
    let (path, aggregator, _) = read(&[trans, as4_path, as4_aggregator]);
    assert_eq!(path, "64512 65536");
    assert_eq!(aggregator.unwrap().asn, 65536);
    // Somebody aggregated again who does not know of four octets: what the other two say is of another route.
    let (path, aggregator, _) = read(&[
        &[0xc0, 7, 6, 0xfc, 0, 192, 0, 2, 9],
        as4_path,
        as4_aggregator,
    ]);
    assert_eq!(
        (path.as_str(), aggregator.unwrap().asn),
        ("64512 23456", 64512)
    );
    let (path, aggregator, _) = read(&[&[0xc0, 7, 6, 0xfc, 0, 192, 0, 2, 9], as4_path]);
    assert_eq!(
        (path.as_str(), aggregator.unwrap().asn),
        ("64512 65536", 64512)
    );
    // RFC 6793 §6.
    let (path, _, action) = read(&[&[0xc0, 17, 3, 2, 1, 0]]);
    assert_eq!((path.as_str(), action), ("64512 23456", Some(DISCARD)));
}

#[test]
fn as4_path_of_a_speaker_of_four_octets_is_discarded() {
    let as4_path = &[0xc0, 17, 6, 2, 1, 0, 1, 0, 0];
    assert_eq!(
        fault(as4_path, &EXTERNAL),
        Some((FaultKind::Misplaced, DISCARD))
    );
}

#[test]
fn confederations_end_at_the_border() {
    let confederation = &[0x40, 2, 6, 3, 1, 0, 0, 0, 1];
    assert_eq!(
        fault_instead(confederation, &EXTERNAL),
        Some((FaultKind::Value, WITHDRAW))
    );
    assert_eq!(fault_instead(confederation, &INTERNAL), None);
    let bytes = body(&[], &[ORIGIN, confederation, NEXT_HOP, LOCAL_PREF], TEN);
    let path = Update::decode(&bytes, &INTERNAL)
        .unwrap()
        .attributes
        .as_path;
    assert_eq!(path.segments, [Segment::ConfederationSequence(vec![1])]);
}

#[test]
fn every_fault_is_a_sentence() {
    let (_, faults) = verdict(
        &[&[0xc0, 200, 0], &[0xc0, 200, 0], &[0x40, 6, 1, 0]],
        &EXTERNAL,
    )
    .unwrap();
    let sentences: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(
        sentences,
        [
            "attribute 200 is there more than once",
            "ATOMIC_AGGREGATE has an impossible length"
        ]
    );
}
