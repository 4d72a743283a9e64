//! The messages against `netgauze-bgp-pkt`, which was written from the same RFCs by others.

use std::net::IpAddr;

use ipnet::IpNet;
use ironlb_bgp::wire::{
    AfiSafi, Aggregator, AsPath, Attributes, Capabilities, Community, EncodedAttributes,
    ExtendedCommunity, Fqdn, Framer, GracefulRestart, LargeCommunity, Message, Negotiated, NextHop,
    Open, Origin, Segment, UnknownAttribute, pack, withdraw,
};
use ironlb_model::Family;
use netgauze_bgp_pkt::capabilities::BgpCapability;
use netgauze_bgp_pkt::nlri::{Ipv4UnicastAddress, Ipv6UnicastAddress};
use netgauze_bgp_pkt::path_attribute::{
    self, As4PathSegment, AsPathSegmentType, MpReach, MpUnreach, PathAttributeValue,
};
use netgauze_bgp_pkt::wire::deserializer::BgpParsingContext;
use netgauze_bgp_pkt::{BgpMessage, community};
use netgauze_parse_utils::WritablePdu;
use netgauze_parse_utils::reader::SliceReader;
use netgauze_parse_utils::traits::ParseFromWithOneInput;
use proptest::prelude::*;

use crate::capture::{ALL, Session};

/// What an UPDATE says, in our types.
#[derive(Debug, Default, PartialEq)]
struct Said {
    withdrawn: Vec<IpNet>,
    announced: Vec<IpNet>,
    next_hop: Option<NextHop>,
    attributes: Attributes,
}

#[test]
fn both_read_the_same_from_what_routers_sent() {
    let mut compared = 0;
    for (_, text) in ALL {
        let session = Session::read(text);
        let negotiated = session.negotiated();
        for (_, bytes) in &session.0 {
            let Ok(theirs) = theirs(bytes, &negotiated) else {
                panic!("{bytes:02x?}");
            };
            compared += usize::from(matches!(theirs, BgpMessage::Update(_)));
            assert_eq!(said_by_them(&theirs), ours(bytes, &negotiated));
        }
    }
    assert!(compared > 60, "{compared}");
}

proptest! {
    #[test]
    fn they_read_what_we_write_and_we_read_what_they_write(
        attributes in any_attributes(),
        negotiated in any_negotiated(),
        v4 in prop::collection::vec(any_prefix(Family::V4), 1..40),
        v6 in prop::collection::vec(any_prefix(Family::V6), 1..40),
        pair in any::<bool>(),
    ) {
        let global = "2001:db8::1".parse().unwrap();
        let over_v6 = if pair {
            NextHop::V6Pair { global, link_local: "fe80::1".parse().unwrap() }
        } else {
            NextHop::V6(global)
        };
        let over_v4 = if negotiated.extended_next_hop {
            over_v6
        } else {
            NextHop::V4([192, 0, 2, 1].into())
        };
        let attributes = Attributes {
            local_pref: attributes.local_pref.filter(|_| negotiated.internal),
            ..attributes
        };
        for (family, next_hop, prefixes) in [(Family::V4, over_v4, v4), (Family::V6, over_v6, v6)] {
            let encoded = EncodedAttributes::new(&attributes, next_hop, family, &negotiated, 4096).unwrap();
            let mut bytes = Vec::new();
            prop_assert_eq!(pack(&encoded, prefixes.iter().copied(), 4096, &mut bytes), 1);
            let expected = Said {
                announced: prefixes.clone(),
                next_hop: Some(next_hop),
                attributes: attributes.clone(),
                ..Said::default()
            };
            check(&bytes, expected, &negotiated)?;
            bytes.clear();
            prop_assert_eq!(withdraw(family, prefixes.iter().copied(), 4096, &mut bytes), 1);
            check(&bytes, Said { withdrawn: prefixes, ..Said::default() }, &negotiated)?;
        }
    }
}

/// Both read `expected` from `bytes`, and we read it from what they write then.
fn check(bytes: &[u8], expected: Said, negotiated: &Negotiated) -> Result<(), TestCaseError> {
    let theirs = theirs(bytes, negotiated).map_err(TestCaseError::fail)?;
    let said = said_by_them(&theirs).unwrap();
    prop_assert_eq!(&said, &expected);
    let mut written = Vec::new();
    theirs.write(&mut written).unwrap();
    prop_assert_eq!(ours(&written, negotiated), Some(expected));
    Ok(())
}

#[test]
fn they_read_the_same_capabilities_in_an_open() {
    for (_, text) in ALL {
        let session = Session::read(text);
        let negotiated = session.negotiated();
        for (_, bytes) in session.0.iter().filter(|(_, bytes)| bytes[18] == 1) {
            let open = Open::decode(&bytes[19..]).unwrap();
            assert_eq!(capabilities(bytes, &negotiated), open.capabilities);
            let mut written = Vec::new();
            open.encode(&mut written);
            let known = Capabilities {
                unknown: [].into(),
                ..open.capabilities
            };
            assert_eq!(capabilities(&written, &negotiated), known);
        }
    }
}

fn theirs(bytes: &[u8], negotiated: &Negotiated) -> Result<BgpMessage, String> {
    let mut context = BgpParsingContext::default();
    context.set_asn4(negotiated.four_octet_as);
    let mut reader = SliceReader::new(bytes);
    BgpMessage::parse(&mut reader, &mut context).map_err(|error| error.to_string())
}

/// What we read; `None` from what is no UPDATE.
fn ours(bytes: &[u8], negotiated: &Negotiated) -> Option<Said> {
    let mut framer = Framer::new();
    framer.push(bytes);
    let frame = framer.next().unwrap().unwrap();
    let Message::Update(update) = Message::decode(frame, negotiated).unwrap() else {
        return None;
    };
    assert_eq!(update.faults, []);
    let classic = update.attributes.next_hop.map(NextHop::V4);
    Some(Said {
        withdrawn: update.routes_withdrawn().collect(),
        announced: update.routes_announced().collect(),
        next_hop: update.next_hop.or(classic),
        attributes: Attributes {
            next_hop: None,
            ..update.attributes
        },
    })
}

/// What they read; `None` from what is no UPDATE.
fn said_by_them(message: &BgpMessage) -> Option<Said> {
    let BgpMessage::Update(update) = message else {
        return None;
    };
    let mut said = Said {
        withdrawn: ipv4(update.withdraw_routes()),
        announced: ipv4(update.nlri()),
        ..Said::default()
    };
    let mut as4_path = None;
    for attribute in update.path_attributes() {
        match attribute.value() {
            PathAttributeValue::As4Path(path) => {
                as4_path = Some(path.segments().iter().map(four_octets).collect::<Vec<_>>());
            }
            value => said.take(value),
        }
    }
    if let Some(as4_path) = as4_path {
        said.attributes.as_path = beside(&said.attributes.as_path, as4_path);
    }
    Some(said)
}

impl Said {
    fn take(&mut self, value: &PathAttributeValue) {
        let attributes = &mut self.attributes;
        match value {
            PathAttributeValue::Origin(origin) => attributes.origin = self::origin(*origin),
            PathAttributeValue::AsPath(path) => attributes.as_path = self::path(path),
            PathAttributeValue::NextHop(next_hop) => {
                self.next_hop = Some(NextHop::V4(next_hop.next_hop()));
            }
            PathAttributeValue::MultiExitDiscriminator(med) => attributes.med = Some(med.metric()),
            PathAttributeValue::LocalPreference(preference) => {
                attributes.local_pref = Some(preference.metric());
            }
            PathAttributeValue::AtomicAggregate(_) => attributes.atomic_aggregate = true,
            PathAttributeValue::Aggregator(aggregator) => {
                attributes.aggregator = Some(self::aggregator(aggregator));
            }
            PathAttributeValue::Communities(list) => {
                let list = list.communities().iter();
                attributes.communities = list.map(|each| Community(each.value())).collect();
            }
            PathAttributeValue::ExtendedCommunities(list) => {
                attributes.extended_communities = list.communities().iter().map(extended).collect();
            }
            PathAttributeValue::LargeCommunities(list) => {
                attributes.large_communities = list.communities().iter().map(large).collect();
            }
            PathAttributeValue::MpReach(reach) => self.reach(reach),
            PathAttributeValue::MpUnreach(MpUnreach::Ipv4Unicast { nlri }) => {
                self.withdrawn.extend(ipv4(nlri));
            }
            PathAttributeValue::MpUnreach(MpUnreach::Ipv6Unicast { nlri }) => {
                self.withdrawn.extend(ipv6(nlri));
            }
            // AS4_AGGREGATOR is none of theirs.
            PathAttributeValue::UnknownAttribute(unknown) if unknown.code() == 18 => {
                let (asn, router_id) = unknown.value().split_first_chunk::<4>().unwrap();
                attributes.aggregator = Some(Aggregator {
                    asn: u32::from_be_bytes(*asn),
                    router_id: <[u8; 4]>::try_from(router_id).unwrap().into(),
                });
            }
            PathAttributeValue::UnknownAttribute(unknown) => {
                attributes.unknown.push(UnknownAttribute {
                    flags: 0xc0,
                    kind: unknown.code(),
                    value: unknown.value().to_vec(),
                });
            }
            other => panic!("{other:?}"),
        }
    }

    fn reach(&mut self, reach: &MpReach) {
        let (next_hop, link_local) = match reach {
            MpReach::Ipv4Unicast {
                next_hop,
                next_hop_local,
                nlri,
            } => {
                self.announced.extend(ipv4(nlri));
                (*next_hop, *next_hop_local)
            }
            MpReach::Ipv6Unicast {
                next_hop_global,
                next_hop_local,
                nlri,
            } => {
                self.announced.extend(ipv6(nlri));
                ((*next_hop_global).into(), *next_hop_local)
            }
            other => panic!("{other:?}"),
        };
        self.next_hop = Some(match (next_hop, link_local) {
            (IpAddr::V6(global), Some(link_local)) => NextHop::V6Pair { global, link_local },
            (address, _) => address.into(),
        });
    }
}

fn ipv4(routes: &[Ipv4UnicastAddress]) -> Vec<IpNet> {
    let routes = routes.iter();
    routes
        .map(|route| route.network().address().into())
        .collect()
}

fn ipv6(routes: &[Ipv6UnicastAddress]) -> Vec<IpNet> {
    let routes = routes.iter();
    routes
        .map(|route| route.network().address().into())
        .collect()
}

const fn origin(origin: path_attribute::Origin) -> Origin {
    match origin {
        path_attribute::Origin::IGP => Origin::Igp,
        path_attribute::Origin::EGP => Origin::Egp,
        path_attribute::Origin::Incomplete => Origin::Incomplete,
    }
}

fn path(path: &path_attribute::AsPath) -> AsPath {
    let segments = match path {
        path_attribute::AsPath::As2PathSegments(segments) => segments
            .iter()
            .map(|each| {
                let numbers = each.as_numbers().iter();
                segment(
                    each.segment_type(),
                    numbers.map(|asn| u32::from(*asn)).collect(),
                )
            })
            .collect(),
        path_attribute::AsPath::As4PathSegments(segments) => {
            segments.iter().map(four_octets).collect()
        }
    };
    AsPath { segments }
}

fn four_octets(each: &As4PathSegment) -> Segment {
    segment(each.segment_type(), each.as_numbers().to_vec())
}

fn segment(kind: AsPathSegmentType, numbers: Vec<u32>) -> Segment {
    match kind {
        AsPathSegmentType::AsSet => Segment::Set(numbers),
        AsPathSegmentType::AsSequence => Segment::Sequence(numbers),
    }
}

/// A path with what AS4_PATH says of its end. What is ahead of that was one sequence, in all that is compared here.
fn beside(short: &AsPath, as4_path: Vec<Segment>) -> AsPath {
    let longer = AsPath { segments: as4_path };
    let ahead = short.length() - longer.length();
    let numbers = short.segments.iter().flat_map(Segment::numbers);
    let mut merged = AsPath::sequence(numbers.take(ahead).copied().collect::<Vec<_>>());
    merged.segments.extend(longer.segments);
    merged
}

fn aggregator(aggregator: &path_attribute::Aggregator) -> Aggregator {
    match aggregator {
        path_attribute::Aggregator::As2Aggregator(aggregator) => Aggregator {
            asn: u32::from(*aggregator.asn()),
            router_id: aggregator.origin(),
        },
        path_attribute::Aggregator::As4Aggregator(aggregator) => Aggregator {
            asn: *aggregator.asn(),
            router_id: aggregator.origin(),
        },
    }
}

fn extended(community: &community::ExtendedCommunity) -> ExtendedCommunity {
    let mut bytes = Vec::new();
    community.write(&mut bytes).unwrap();
    ExtendedCommunity(bytes.try_into().unwrap())
}

const fn large(community: &community::LargeCommunity) -> LargeCommunity {
    LargeCommunity {
        global: community.global_admin(),
        local1: community.local_data1(),
        local2: community.local_data2(),
    }
}

/// The capabilities that they read in an OPEN.
fn capabilities(bytes: &[u8], negotiated: &Negotiated) -> Capabilities {
    let BgpMessage::Open(open) = theirs(bytes, negotiated).unwrap() else {
        panic!("{bytes:02x?}");
    };
    let mut read = Capabilities::default();
    macro_rules! family {
        ($kind:expr) => {
            AfiSafi {
                afi: $kind.address_family().into(),
                safi: $kind.subsequent_address_family().into(),
            }
        };
    }
    for capability in open.capabilities() {
        match capability {
            BgpCapability::MultiProtocolExtensions(families) => {
                read.multiprotocol.insert(family!(families.address_type()));
            }
            BgpCapability::RouteRefresh => read.route_refresh = true,
            BgpCapability::EnhancedRouteRefresh => read.enhanced_route_refresh = true,
            BgpCapability::ExtendedMessage => read.extended_message = true,
            BgpCapability::FourOctetAs(number) => read.four_octet_as = Some(number.asn4()),
            BgpCapability::GracefulRestartCapability(restart) => {
                let families = restart.address_families().iter();
                read.graceful_restart = Some(GracefulRestart {
                    restarting: restart.restart(),
                    notification: restart.graceful_notification(),
                    restart_time: restart.time(),
                    families: families
                        .map(|each| (family!(each.address_type()), each.forwarding_state()))
                        .collect(),
                });
            }
            BgpCapability::ExtendedNextHopEncoding(next_hops) => {
                for each in next_hops.encodings() {
                    let next_hop = each.next_hop_afi().into();
                    let family = family!(each.address_type());
                    read.extended_next_hop.insert((family, next_hop));
                }
            }
            BgpCapability::Fqdn(name) => {
                read.fqdn = Some(Fqdn {
                    host: name.hostname().to_owned(),
                    domain: name.domain_name().to_owned(),
                });
            }
            other => {
                let code = other.code().map_or_else(|code| code, Into::into);
                read.unknown.insert(code);
            }
        }
    }
    read
}

/// What they can read too: no confederations, and no AS number that stands for another.
fn any_attributes() -> impl Strategy<Value = Attributes> {
    let numbers = prop::collection::vec(prop_oneof![1..23456_u32, 23457..=u32::MAX], 1..5);
    let segment = (numbers, any::<bool>()).prop_map(|(numbers, set)| match set {
        true => Segment::Set(numbers),
        false => Segment::Sequence(numbers),
    });
    let aggregator = (23457..=u32::MAX, any::<u32>()).prop_map(|(asn, router_id)| Aggregator {
        asn,
        router_id: router_id.into(),
    });
    let origin = prop_oneof![
        Just(Origin::Igp),
        Just(Origin::Egp),
        Just(Origin::Incomplete)
    ];
    let large = any::<(u32, u32, u32)>().prop_map(|(global, local1, local2)| LargeCommunity {
        global,
        local1,
        local2,
    });
    let unknown = (200..=250_u8, prop::collection::vec(any::<u8>(), 0..300));
    let unknown = unknown.prop_map(|(kind, value)| UnknownAttribute {
        flags: 0xc0,
        kind,
        value,
    });
    (
        (
            origin,
            any::<Option<u32>>(),
            any::<Option<u32>>(),
            any::<bool>(),
        ),
        prop::collection::vec(segment, 0..4),
        prop::option::of(aggregator),
        prop::collection::vec(any::<u32>().prop_map(Community), 0..80),
        prop::collection::vec(any::<[u8; 6]>().prop_map(route_target), 0..5),
        prop::collection::vec(large, 0..5),
        prop::option::of(unknown),
    )
        .prop_map(
            |(simple, segments, aggregator, communities, targets, large, unknown)| {
                let (origin, med, local_pref, atomic_aggregate) = simple;
                Attributes {
                    origin,
                    as_path: AsPath { segments },
                    next_hop: None,
                    med,
                    local_pref: Some(local_pref.unwrap_or(100)),
                    atomic_aggregate,
                    aggregator,
                    communities,
                    extended_communities: targets,
                    large_communities: large,
                    unknown: unknown.into_iter().collect(),
                }
            },
        )
}

fn route_target([a, b, c, d, e, f]: [u8; 6]) -> ExtendedCommunity {
    ExtendedCommunity([0, 2, a, b, c, d, e, f])
}

fn any_negotiated() -> impl Strategy<Value = Negotiated> {
    any::<[bool; 3]>().prop_map(|[four_octet_as, internal, extended_next_hop]| Negotiated {
        four_octet_as,
        internal,
        ipv4: true,
        ipv6: true,
        extended_next_hop,
    })
}

/// Long ones, for they look at every host of a prefix.
fn any_prefix(family: Family) -> impl Strategy<Value = IpNet> {
    let length = family.bits() - 8..=family.bits();
    (any::<u32>(), length).prop_map(move |(number, length)| {
        let [_, b, c, d] = number.to_be_bytes();
        let address = match family {
            Family::V4 => IpAddr::from([10, b, c, d]),
            Family::V6 => IpAddr::from([
                0x2001,
                0xdb8,
                0,
                0,
                0,
                0,
                b.into(),
                u16::from_be_bytes([c, d]),
            ]),
        };
        IpNet::new(address, length).unwrap().trunc()
    })
}
