use super::*;
use crate::wire::{ExtendedCommunity, LargeCommunity};

fn export(internal: bool) -> Export {
    Export {
        asn: 64512,
        negotiated: Negotiated {
            four_octet_as: true,
            internal,
            ipv4: true,
            ipv6: true,
            extended_next_hop: false,
        },
        max_length: 4096,
        local: LocalAddresses {
            transport: Family::V4,
            v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            v6: Some("2001:db8::1".parse().unwrap()),
            link_local: None,
        },
        standing: Standing::Serving,
    }
}

fn plain() -> RouteAttributes {
    RouteAttributes::default()
}

#[test]
fn external_peers_see_our_as_number_as_often_as_asked_and_no_local_preference() {
    let route = RouteAttributes {
        local_pref: 200,
        med: Some(7),
        as_path_prepend: 2,
        ..plain()
    };
    let attributes = export(false).path_attributes(&route);
    assert_eq!(attributes.as_path, AsPath::sequence([64512, 64512, 64512]));
    assert_eq!(attributes.local_pref, None);
    assert_eq!(attributes.med, Some(7));
    assert_eq!(attributes.origin, Origin::Igp);
}

#[test]
fn internal_peers_see_an_empty_path_and_always_a_local_preference() {
    let route = RouteAttributes {
        as_path_prepend: 2,
        ..plain()
    };
    let attributes = export(true).path_attributes(&route);
    assert_eq!(attributes.as_path, AsPath::default());
    assert_eq!(attributes.local_pref, Some(100));
    let zero = RouteAttributes {
        local_pref: 0,
        ..plain()
    };
    assert_eq!(export(true).path_attributes(&zero).local_pref, Some(0));
}

#[test]
fn who_leaves_says_so_and_is_the_last_choice() {
    let leaving = |internal| Export {
        standing: Standing::Leaving,
        ..export(internal)
    };
    let route = RouteAttributes {
        local_pref: 200,
        communities: [Community::Standard(65000, 1)].into(),
        ..plain()
    };
    let internal = leaving(true).path_attributes(&route);
    assert_eq!(internal.local_pref, Some(0));
    let both = [
        wire::Community::new(65000, 1),
        wire::Community::GRACEFUL_SHUTDOWN,
    ];
    assert_eq!(internal.communities, both);
    let external = leaving(false).path_attributes(&route);
    assert_eq!(external.local_pref, None);
    assert_eq!(external.communities, both);
}

#[test]
fn communities_go_into_the_attribute_of_their_kind() {
    let route = RouteAttributes {
        communities: [Community::Standard(65000, 1), Community::Large(1, 2, 3)].into(),
        ..plain()
    };
    let attributes = export(false).path_attributes(&route);
    assert_eq!(attributes.communities, [wire::Community::new(65000, 1)]);
    let large = LargeCommunity {
        global: 1,
        local1: 2,
        local2: 3,
    };
    assert_eq!(attributes.large_communities, [large]);
}

#[test]
fn what_is_not_transitive_stays_within_the_as() {
    let (crosses, stays) = ([0x00, 0x02, 0, 1, 0, 0, 0, 1], [0x43, 0, 0, 0, 0, 0, 0, 1]);
    let route = RouteAttributes {
        extended_communities: [crosses, stays].map(ExtendedCommunity).into(),
        ..plain()
    };
    let told = |internal| {
        export(internal)
            .path_attributes(&route)
            .extended_communities
    };
    assert_eq!(told(true), [crosses, stays].map(ExtendedCommunity));
    assert_eq!(told(false), [crosses].map(ExtendedCommunity));
}

#[test]
fn a_weight_is_in_bytes_per_second_and_transitive_only_towards_external_peers() {
    let route = RouteAttributes {
        bandwidth: Some(1000),
        ..plain()
    };
    let told = |internal| {
        export(internal)
            .path_attributes(&route)
            .extended_communities
    };
    // 1,000 Mbit/s are 125,000,000 bytes per second: 0x4cee6b28.
    let value = [0xfc, 0x00, 0x4c, 0xee, 0x6b, 0x28];
    let with = |kind: u8| {
        let mut bytes = vec![kind, 0x04];
        bytes.extend(value);
        vec![ExtendedCommunity(bytes.try_into().unwrap())]
    };
    assert_eq!(told(true), with(0x40));
    assert_eq!(told(false), with(0x00));
    let large = Export {
        asn: 4_200_000_000,
        ..export(true)
    };
    let ExtendedCommunity([_, _, a, b, ..]) = large.path_attributes(&route).extended_communities[0];
    assert_eq!(u16::from_be_bytes([a, b]), wire::AS_TRANS);
}

#[test]
fn the_next_hop_is_our_address_unless_the_route_has_one() {
    let export = export(false);
    let ours = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(export.next_hop(Family::V4, &plain()), Ok(ours));
    let v6 = NextHop::V6("2001:db8::1".parse().unwrap());
    assert_eq!(export.next_hop(Family::V6, &plain()), Ok(v6));
    let elsewhere = RouteAttributes {
        next_hop: Some("198.51.100.9".parse().unwrap()),
        ..plain()
    };
    let theirs = NextHop::V4(Ipv4Addr::new(198, 51, 100, 9));
    assert_eq!(export.next_hop(Family::V4, &elsewhere), Ok(theirs));
}

#[test]
fn a_neighbour_gets_the_link_local_address_besides() {
    let link_local: Ipv6Addr = "fe80::1".parse().unwrap();
    let mut export = export(false);
    export.local.link_local = Some(link_local);
    let global = "2001:db8::1".parse().unwrap();
    let pair = NextHop::V6Pair { global, link_local };
    assert_eq!(export.next_hop(Family::V6, &plain()), Ok(pair));
    export.local.v6 = None;
    let alone = NextHop::V6(link_local);
    assert_eq!(export.next_hop(Family::V6, &plain()), Ok(alone));
}

#[test]
fn ipv4_over_an_ipv6_session_has_an_ipv6_next_hop_where_the_peer_takes_it() {
    let mut export = export(false);
    export.local.transport = Family::V6;
    let v4 = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
    assert_eq!(export.next_hop(Family::V4, &plain()), Ok(v4));
    export.negotiated.extended_next_hop = true;
    let v6 = NextHop::V6("2001:db8::1".parse().unwrap());
    assert_eq!(export.next_hop(Family::V4, &plain()), Ok(v6));
    export.local.transport = Family::V4;
    assert_eq!(export.next_hop(Family::V4, &plain()), Ok(v4));
}

#[test]
fn a_route_without_a_next_hop_is_not_told() {
    let mut export = export(false);
    export.local.v4 = None;
    let refused = Err(Unsendable::NoNextHop(Family::V4));
    assert_eq!(export.next_hop(Family::V4, &plain()), refused);
    let of_other_family = RouteAttributes {
        next_hop: Some("2001:db8::9".parse().unwrap()),
        ..plain()
    };
    assert!(matches!(
        export.encode(Family::V4, &of_other_family),
        Err(Unsendable::Encode(EncodeError::NextHop { .. }))
    ));
}
