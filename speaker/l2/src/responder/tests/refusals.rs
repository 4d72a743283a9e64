//! What is never answered.

use proptest::prelude::*;

use super::*;

#[test]
fn nothing_but_what_is_held_is_answered() {
    let mut responder = responder();
    let frame = request(CLIENT, Ipv4Addr::new(192, 0, 2, 11)).frame(Mac::BROADCAST);
    assert_eq!(hear(&mut responder, &frame), (Verdict::Foreign, vec![]));
}

#[test]
fn a_released_address_is_not_answered_and_its_burst_ends() {
    let mut responder = responder();
    responder.release(VIP.into());
    responder.release(VIP6.into());
    let frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
    let verdict = responder.handle_frame(START, ETH0, &frame);
    assert_eq!(verdict, Verdict::Foreign);
    let outputs = drain(&mut responder);
    assert_eq!(
        outputs,
        [Output::Leave {
            interface: ETH0,
            group: group_mac()
        }]
    );
    assert_eq!(responder.deadline(), None);
    assert!(!responder.holds(VIP.into()));
}

#[test]
fn a_reply_is_not_answered() {
    let mut responder = responder();
    let reply = arp::Packet {
        operation: Operation::Reply,
        ..request(CLIENT, VIP)
    };
    assert_eq!(
        hear(&mut responder, &reply.frame(OWN)),
        (Verdict::Foreign, vec![])
    );
}

#[test]
fn frames_to_other_stations_are_dropped() {
    let mut responder = responder();
    let multicast = Mac([1, 0, 0x5e, 0, 0, 1]);
    for destination in [PEER, multicast] {
        let frame = request(CLIENT, VIP).frame(destination);
        let (verdict, sent) = hear(&mut responder, &frame);
        assert_eq!(
            (verdict, sent),
            (Verdict::Dropped(Dropped::NotForUs), vec![])
        );
    }
    let packet = solicitation(CLIENT6, VIP6, None);
    for destination in [PEER, Mac::BROADCAST, group_mac()] {
        let (verdict, sent) = hear(&mut responder, &packet.frame(destination, PEER));
        assert_eq!(
            (verdict, sent),
            (Verdict::Dropped(Dropped::NotForUs), vec![])
        );
    }
}

#[test]
fn our_own_frames_come_back_are_dropped() {
    let mut responder = responder();
    responder.set_port(START, ETH1, port(OWN_1));
    drain(&mut responder);
    for own in [OWN, OWN_1] {
        let inside = arp::Packet {
            sender_mac: own,
            ..request(CLIENT, VIP)
        };
        let both = inside.frame(Mac::BROADCAST);
        let mut inner_only = both.clone();
        inner_only[6..12].copy_from_slice(&PEER.0);
        let outer_only = {
            let mut frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
            frame[6..12].copy_from_slice(&own.0);
            frame
        };
        for frame in [both, inner_only, outer_only] {
            let (verdict, sent) = hear(&mut responder, &frame);
            assert_eq!(
                (verdict, sent),
                (Verdict::Dropped(Dropped::Reflected), vec![])
            );
        }
    }
}

#[test]
fn a_tagged_frame_is_dropped() {
    let mut responder = responder();
    let plain = request(CLIENT, VIP).frame(Mac::BROADCAST);
    for tag in [[0x81, 0x00], [0x88, 0xa8]] {
        let mut tagged = plain[..12].to_vec();
        tagged.extend_from_slice(&tag);
        tagged.extend_from_slice(&[0, 7]);
        tagged.extend_from_slice(&plain[12..]);
        let (verdict, sent) = hear(&mut responder, &tagged);
        assert_eq!(
            (verdict, sent),
            (Verdict::Dropped(Dropped::Unwanted), vec![])
        );
    }
}

#[test]
fn impossible_senders_are_dropped() {
    let mut responder = responder();
    let bad_mac = |mac| arp::Packet {
        sender_mac: mac,
        ..request(CLIENT, VIP)
    };
    let packets = [
        bad_mac(Mac::BROADCAST),
        bad_mac(Mac([0; 6])),
        request(Ipv4Addr::BROADCAST, VIP),
        request(Ipv4Addr::new(224, 0, 0, 1), VIP),
        request(Ipv4Addr::LOCALHOST, VIP),
    ];
    for packet in packets {
        let mut frame = packet.frame(Mac::BROADCAST);
        frame[6..12].copy_from_slice(&PEER.0);
        let (verdict, sent) = hear(&mut responder, &frame);
        assert!(
            matches!(verdict, Verdict::Dropped(Dropped::Malformed(_))),
            "{verdict:?}"
        );
        assert_eq!(sent, Vec::<Vec<u8>>::new());
    }
}

#[test]
fn a_solicitation_sent_to_another_address_is_dropped() {
    let mut responder = responder();
    for destination in [CLIENT6, ndp::ALL_NODES, solicited_node(CLIENT6)] {
        let frame = solicitation(CLIENT6, destination, Some(PEER)).frame(
            match destination.is_multicast() {
                true => ethernet_group(destination),
                false => OWN,
            },
            PEER,
        );
        let (verdict, sent) = hear(&mut responder, &frame);
        assert_eq!(
            (verdict, sent),
            (Verdict::Dropped(Dropped::NotForUs), vec![])
        );
    }
}

proptest! {
    /// Whatever arrives, no frame sent speaks for an address that is not held on that interface.
    #[test]
    fn no_frame_makes_it_speak_for_what_is_not_held(
        bytes in prop::collection::vec(any::<u8>(), 0..100),
        ether_type in prop_oneof![Just(ethernet::ARP), Just(ethernet::IPV6)],
    ) {
        let mut responder = responder();
        responder.release(VIP6.into());
        drain(&mut responder);
        let mut frame = Vec::new();
        Frame { destination: OWN, source: PEER, ether_type, payload: &bytes }.encode(&mut frame);
        let (_, sent) = hear(&mut responder, &frame);
        for frame in sent {
            let frame = Frame::decode(&frame).unwrap();
            let packet = arp::Packet::decode(frame.payload).unwrap();
            prop_assert_eq!(packet.sender_ip, VIP);
        }
    }
}
