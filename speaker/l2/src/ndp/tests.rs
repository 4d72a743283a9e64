use pnet_packet::Packet as _;
use pnet_packet::icmpv6::ndp::{NdpOptionTypes, NeighborAdvertPacket, NeighborSolicitPacket};
use pnet_packet::icmpv6::{self, Icmpv6Packet};
use pnet_packet::ipv6::Ipv6Packet;
use proptest::prelude::*;

use super::*;

/// What `ndisc6 2001:db8::10` of a Linux host puts on the wire.
const SOLICITATION: &str = "3333ff000010 02005e100001 86dd 60031ac7 0020 3aff \
    fe8000000000000000005efffe100001 \
    ff0200000000000000000001ff000010 8700 9022 00000000 20010db8000000000000000000000010 \
    0101 02005e100001";

/// What a Linux host answers to it.
const ADVERTISEMENT: &str = "02005e100001 02005e100002 86dd 60000000 0020 3aff \
    20010db8000000000000000000000010 fe8000000000000000005efffe100001 \
    8800 fe6c 60000000 20010db8000000000000000000000010 0201 02005e100002";

/// A Linux host checks that 2001:db8::10 is free, with a nonce (RFC 7527).
const DETECTION: &str = "3333ff000010 02005e100002 86dd 60000000 0020 3aff \
    00000000000000000000000000000000 ff0200000000000000000001ff000010 \
    8700 5917 00000000 20010db8000000000000000000000010 0e01 3d8f291b7f04";

const MAC_1: Mac = Mac([0x02, 0x00, 0x5e, 0x10, 0x00, 0x01]);
const MAC_2: Mac = Mac([0x02, 0x00, 0x5e, 0x10, 0x00, 0x02]);

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(|digit| u8::try_from(digit).unwrap())
        .collect();
    digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect()
}

/// The IPv6 packet of a captured frame.
fn packet_of(hex: &str) -> Vec<u8> {
    Frame::decode(&bytes(hex)).unwrap().payload.to_vec()
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn solicitation() -> Packet {
    Packet {
        source: ip("fe80::5eff:fe10:1"),
        destination: ip("ff02::1:ff00:10"),
        message: Message::Solicitation(Solicitation {
            target: ip("2001:db8::10"),
            source_mac: Some(MAC_1),
        }),
    }
}

fn advertisement() -> Packet {
    Packet {
        source: ip("2001:db8::10"),
        destination: ip("fe80::5eff:fe10:1"),
        message: Message::Advertisement(Advertisement {
            router: false,
            solicited: true,
            overrides: true,
            target: ip("2001:db8::10"),
            target_mac: Some(MAC_2),
        }),
    }
}

fn encoded(packet: &Packet) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.encode(&mut bytes);
    bytes
}

/// `packet` with byte `offset` of the IPv6 packet changed, and the checksum made right again.
fn altered(packet: &Packet, offset: usize, value: u8) -> Vec<u8> {
    let mut bytes = encoded(packet);
    bytes[offset] = value;
    with_checksum(bytes)
}

fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes[42..44].copy_from_slice(&[0, 0]);
    let source = <[u8; 16]>::try_from(&bytes[8..24]).unwrap().into();
    let destination = <[u8; 16]>::try_from(&bytes[24..40]).unwrap().into();
    let checksum = checksum(source, destination, &bytes[40..]).to_be_bytes();
    bytes[42..44].copy_from_slice(&checksum);
    bytes
}

#[test]
fn a_captured_solicitation_is_read() {
    assert_eq!(Packet::decode(&packet_of(SOLICITATION)), Ok(solicitation()));
}

#[test]
fn a_captured_advertisement_is_read_and_written_the_same() {
    assert_eq!(
        Packet::decode(&packet_of(ADVERTISEMENT)),
        Ok(advertisement())
    );
    assert_eq!(advertisement().frame(MAC_1, MAC_2), bytes(ADVERTISEMENT));
}

#[test]
fn a_captured_duplicate_address_detection_is_read() {
    let packet = Packet {
        source: Ipv6Addr::UNSPECIFIED,
        destination: ip("ff02::1:ff00:10"),
        message: Message::Solicitation(Solicitation {
            target: ip("2001:db8::10"),
            source_mac: None,
        }),
    };
    assert_eq!(Packet::decode(&packet_of(DETECTION)), Ok(packet));
}

#[test]
fn a_solicitation_is_written_as_captured_but_for_the_flow_label() {
    let mut captured = packet_of(SOLICITATION);
    captured[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    assert_eq!(encoded(&solicitation()), captured);
}

#[test]
fn every_cut_is_refused() {
    for hex in [SOLICITATION, ADVERTISEMENT, DETECTION] {
        let whole = packet_of(hex);
        for length in 0..whole.len() {
            assert_eq!(
                Packet::decode(&whole[..length]),
                Err(DecodeError::Truncated),
                "{length}"
            );
        }
    }
}

#[test]
fn padding_behind_the_packet_is_ignored() {
    let mut padded = packet_of(SOLICITATION);
    padded.extend_from_slice(&[0xaa; 7]);
    assert_eq!(Packet::decode(&padded), Ok(solicitation()));
}

#[test]
fn a_wrong_checksum_is_refused() {
    let mut damaged = packet_of(SOLICITATION);
    damaged[60] ^= 1;
    assert_eq!(Packet::decode(&damaged), Err(DecodeError::Checksum));
}

#[test]
fn each_fixed_field_is_checked() {
    let fields = [
        (0, 0x40, "IP version"),
        (6, 0, "next header"),
        (7, 254, "hop limit"),
        (41, 1, "ICMP code"),
        (65, 0, "option length"),
        (65, 4, ""),
    ];
    for (offset, value, name) in fields {
        match Packet::decode(&altered(&solicitation(), offset, value)) {
            Err(DecodeError::Field { field, .. }) => assert_eq!(field, name),
            Err(DecodeError::Truncated) => assert_eq!(name, "", "byte {offset}"),
            other => panic!("byte {offset} = {value}: {other:?}"),
        }
    }
}

#[test]
fn other_icmp_messages_are_refused() {
    // An echo request, and a router solicitation.
    for kind in [128, 133, 137] {
        let bytes = altered(&solicitation(), 40, kind);
        assert_eq!(Packet::decode(&bytes), Err(DecodeError::Type(kind)));
    }
}

#[test]
fn a_group_is_neither_target_nor_source() {
    for packet in [solicitation(), advertisement()] {
        for offset in [8, 48] {
            assert!(matches!(
                Packet::decode(&altered(&packet, offset, 0xff)),
                Err(DecodeError::Address {
                    kind: "a group",
                    ..
                })
            ));
        }
    }
}

#[test]
fn an_unknown_sender_must_ask_the_group_and_give_no_address() {
    let target = ip("2001:db8::10");
    let from_nobody = |destination, source_mac| {
        Packet::decode(&encoded(&Packet {
            source: Ipv6Addr::UNSPECIFIED,
            destination,
            message: Message::Solicitation(Solicitation { target, source_mac }),
        }))
    };
    assert!(from_nobody(solicited_node(target), None).is_ok());
    assert!(from_nobody(target, None).is_err());
    assert!(from_nobody(ALL_NODES, None).is_err());
    assert!(from_nobody(solicited_node(target), Some(MAC_1)).is_err());
}

#[test]
fn an_advertisement_to_a_group_must_not_be_solicited() {
    let mut packet = advertisement();
    packet.destination = ALL_NODES;
    assert!(Packet::decode(&encoded(&packet)).is_err());
    let Message::Advertisement(message) = &mut packet.message else {
        panic!()
    };
    message.solicited = false;
    assert_eq!(Packet::decode(&encoded(&packet)), Ok(packet));
}

#[test]
fn a_link_layer_address_of_another_length_is_refused() {
    // As on InfiniBand: three units of eight bytes.
    let mut body = encoded(&solicitation());
    body[5] = 48;
    body[65] = 3;
    body.extend_from_slice(&[0; 16]);
    assert!(matches!(
        Packet::decode(&with_checksum(body)),
        Err(DecodeError::Field {
            field: "length of the link-layer address option",
            found: 3,
            ..
        })
    ));
}

fn addresses() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(|bits| Ipv6Addr::from_bits(bits >> 1 | 1))
}

fn packets() -> impl Strategy<Value = Packet> {
    let mac = || any::<Option<[u8; 6]>>().prop_map(|mac| mac.map(Mac));
    let solicitation = (addresses(), mac()).prop_map(|(target, source_mac)| {
        Message::Solicitation(Solicitation { target, source_mac })
    });
    let advertisement = (addresses(), mac(), any::<[bool; 3]>()).prop_map(
        |(target, target_mac, [router, solicited, overrides])| {
            Message::Advertisement(Advertisement {
                router,
                solicited,
                overrides,
                target,
                target_mac,
            })
        },
    );
    (
        addresses(),
        addresses(),
        prop_oneof![solicitation, advertisement],
    )
        .prop_map(|(source, destination, message)| Packet {
            source,
            destination,
            message,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(packet in packets()) {
        prop_assert_eq!(Packet::decode(&encoded(&packet)), Ok(packet));
    }

    #[test]
    fn another_implementation_reads_the_same(packet in packets()) {
        let bytes = encoded(&packet);
        let ipv6 = Ipv6Packet::new(&bytes).unwrap();
        prop_assert_eq!((ipv6.get_source(), ipv6.get_destination()), (packet.source, packet.destination));
        prop_assert_eq!((ipv6.get_hop_limit(), ipv6.get_next_header().0), (255, 58));
        prop_assert_eq!(usize::from(ipv6.get_payload_length()), bytes.len() - 40);
        let icmp = Icmpv6Packet::new(ipv6.payload()).unwrap();
        let right = icmpv6::checksum(&icmp, &packet.source, &packet.destination);
        prop_assert_eq!(icmp.get_checksum(), right);
        match packet.message {
            Message::Solicitation(message) => {
                let read = NeighborSolicitPacket::new(ipv6.payload()).unwrap();
                prop_assert_eq!(read.get_target_addr(), message.target);
                let option = read.get_options().into_iter().find(|option| option.option_type == NdpOptionTypes::SourceLLAddr);
                prop_assert_eq!(option.map(|option| option.data), message.source_mac.map(|mac| mac.0.to_vec()));
            }
            Message::Advertisement(message) => {
                let read = NeighborAdvertPacket::new(ipv6.payload()).unwrap();
                prop_assert_eq!(read.get_target_addr(), message.target);
                let flags = [message.router, message.solicited, message.overrides];
                let bits = flags.iter().fold(0, |bits, flag| bits << 1 | u8::from(*flag));
                prop_assert_eq!(read.get_flags(), bits << 5);
                let option = read.get_options().into_iter().find(|option| option.option_type == NdpOptionTypes::TargetLLAddr);
                prop_assert_eq!(option.map(|option| option.data), message.target_mac.map(|mac| mac.0.to_vec()));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let _ = Packet::decode(&bytes);
    }

    #[test]
    fn any_options_are_read_or_refused(options in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = link_layer_address(&options, 1);
    }
}
