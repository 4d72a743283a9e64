use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::arp::{self, Operation};
use crate::ethernet::{self, Frame};
use crate::ethernet_group;
use crate::group::solicited_node;
use crate::ndp::{self, Advertisement, Message, Solicitation};

const ETH0: u32 = 2;
const ETH1: u32 = 3;
const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OWN_1: Mac = Mac([2, 0, 0, 0, 0, 2]);
const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9);
const START: Time = Time::from_secs(100);

fn port(mac: Mac) -> Port {
    Port {
        mac,
        arp: true,
        ndp: true,
    }
}

fn everywhere() -> Holding {
    Holding {
        interfaces: Interfaces::All,
        gratuitous: Gratuitous::default(),
        refresh: None,
    }
}

fn only(interfaces: &[u32]) -> Holding {
    Holding {
        interfaces: Interfaces::Only(interfaces.iter().copied().collect()),
        ..everywhere()
    }
}

/// One that holds the two addresses on eth0, its takeover said.
fn responder() -> Responder {
    let mut responder = Responder::new(1);
    responder.set_port(START, ETH0, port(OWN));
    responder.hold(START, VIP.into(), everywhere());
    responder.hold(START, VIP6.into(), everywhere());
    drain(&mut responder);
    responder
}

fn drain(responder: &mut Responder) -> Vec<Output> {
    std::iter::from_fn(|| responder.poll()).collect()
}

/// The frames among the outputs.
fn frames(outputs: &[Output]) -> Vec<(u32, &[u8])> {
    outputs
        .iter()
        .filter_map(|output| match output {
            Output::Send { interface, frame } => Some((*interface, frame.as_slice())),
            _ => None,
        })
        .collect()
}

/// Ticks at every deadline until `end`.
fn run_until(responder: &mut Responder, end: Time) -> Vec<(Time, Output)> {
    let mut outputs = Vec::new();
    while let Some(now) = responder.deadline().filter(|deadline| *deadline <= end) {
        responder.tick(now);
        outputs.extend(drain(responder).into_iter().map(|output| (now, output)));
    }
    outputs
}

fn request(sender: Ipv4Addr, target: Ipv4Addr) -> arp::Packet {
    arp::Packet {
        operation: Operation::Request,
        sender_mac: PEER,
        sender_ip: sender,
        target_mac: Mac([0; 6]),
        target_ip: target,
    }
}

fn solicitation(source: Ipv6Addr, destination: Ipv6Addr, mac: Option<Mac>) -> ndp::Packet {
    ndp::Packet {
        source,
        destination,
        message: Message::Solicitation(Solicitation {
            target: VIP6,
            source_mac: mac,
        }),
    }
}

fn group_mac() -> Mac {
    ethernet_group(solicited_node(VIP6))
}

/// The verdict on a frame on eth0, and the frames sent for it.
fn hear(responder: &mut Responder, frame: &[u8]) -> (Verdict, Vec<Vec<u8>>) {
    let verdict = responder.handle_frame(START, ETH0, frame);
    let outputs = drain(responder);
    let sent = frames(&outputs)
        .iter()
        .map(|(_, frame)| frame.to_vec())
        .collect();
    (verdict, sent)
}

/// The one advertisement sent, with its Ethernet destination.
fn advertised(sent: &[Vec<u8>]) -> (Mac, ndp::Packet, Advertisement) {
    assert_eq!(sent.len(), 1);
    let frame = Frame::decode(&sent[0]).unwrap();
    assert_eq!((frame.source, frame.ether_type), (OWN, ethernet::IPV6));
    let packet = ndp::Packet::decode(frame.payload).unwrap();
    let Message::Advertisement(message) = packet.message else {
        panic!("{packet:?}")
    };
    (frame.destination, packet, message)
}

#[test]
fn a_broadcast_request_is_answered_to_the_requester_alone() {
    let mut responder = responder();
    let frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
    let (verdict, sent) = hear(&mut responder, &frame);
    assert_eq!(verdict, Verdict::Answered(VIP.into()));
    let answer = Frame::decode(&sent[0]).unwrap();
    assert_eq!((answer.destination, answer.source), (PEER, OWN));
    assert_eq!(
        arp::Packet::decode(answer.payload),
        Ok(arp::Packet {
            operation: Operation::Reply,
            sender_mac: OWN,
            sender_ip: VIP,
            target_mac: PEER,
            target_ip: CLIENT,
        })
    );
    assert_eq!(sent.len(), 1);
}

#[test]
fn a_unicast_request_and_a_probe_from_0_0_0_0_are_answered() {
    let mut responder = responder();
    let unicast = request(CLIENT, VIP).frame(OWN);
    assert_eq!(hear(&mut responder, &unicast).1.len(), 1);
    let probe = request(Ipv4Addr::UNSPECIFIED, VIP).frame(Mac::BROADCAST);
    let (verdict, sent) = hear(&mut responder, &probe);
    assert_eq!(verdict, Verdict::Answered(VIP.into()));
    assert_eq!(Frame::decode(&sent[0]).unwrap().destination, PEER);
}

#[test]
fn the_hardware_address_in_the_packet_is_answered_where_the_frame_came_through_another() {
    // A wireless repeater: its own address outside, the station's inside.
    let mut responder = responder();
    let mut frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    let (_, sent) = hear(&mut responder, &frame);
    assert_eq!(Frame::decode(&sent[0]).unwrap().destination, PEER);
}

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
fn a_solicitation_is_answered_solicited_and_overriding() {
    let mut responder = responder();
    let packet = solicitation(CLIENT6, solicited_node(VIP6), Some(PEER));
    let (verdict, sent) = hear(&mut responder, &packet.frame(group_mac(), PEER));
    assert_eq!(verdict, Verdict::Answered(VIP6.into()));
    let (to, packet, message) = advertised(&sent);
    assert_eq!(to, PEER);
    assert_eq!((packet.source, packet.destination), (VIP6, CLIENT6));
    assert_eq!(
        message,
        Advertisement {
            router: false,
            solicited: true,
            overrides: true,
            target: VIP6,
            target_mac: Some(OWN),
        }
    );
}

#[test]
fn a_unicast_reachability_probe_is_answered_with_and_without_the_option() {
    let mut responder = responder();
    for option in [Some(PEER), None] {
        let packet = solicitation(CLIENT6, VIP6, option);
        let (_, sent) = hear(&mut responder, &packet.frame(OWN, PEER));
        let (to, packet, message) = advertised(&sent);
        assert_eq!((to, packet.destination), (PEER, CLIENT6));
        assert!(message.solicited && message.overrides);
    }
}

#[test]
fn a_group_solicitation_in_a_unicast_frame_is_answered() {
    // RFC 6085.
    let mut responder = responder();
    let packet = solicitation(CLIENT6, solicited_node(VIP6), None);
    assert_eq!(hear(&mut responder, &packet.frame(OWN, PEER)).1.len(), 1);
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes_unsolicited() {
    let mut responder = responder();
    let packet = solicitation(Ipv6Addr::UNSPECIFIED, solicited_node(VIP6), None);
    let (_, sent) = hear(&mut responder, &packet.frame(group_mac(), PEER));
    let (to, packet, message) = advertised(&sent);
    assert_eq!(to, ndp::all_nodes_mac());
    assert_eq!(packet.destination, ndp::ALL_NODES);
    assert!(!message.solicited && message.overrides);
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

#[test]
fn a_takeover_is_announced_at_once_in_every_form() {
    let mut responder = Responder::new(1);
    responder.set_port(START, ETH0, port(OWN));
    responder.hold(START, VIP.into(), everywhere());
    let outputs = drain(&mut responder);
    let forms: Vec<_> = frames(&outputs)
        .iter()
        .map(|(_, frame)| {
            let frame = Frame::decode(frame).unwrap();
            let packet = arp::Packet::decode(frame.payload).unwrap();
            assert_eq!((frame.destination, frame.source), (Mac::BROADCAST, OWN));
            assert_eq!((packet.sender_ip, packet.target_ip), (VIP, VIP));
            assert_eq!(
                (packet.sender_mac, packet.target_mac),
                (OWN, Mac::BROADCAST)
            );
            packet.operation
        })
        .collect();
    assert_eq!(forms, [Operation::Request, Operation::Reply]);

    responder.hold(START, VIP6.into(), everywhere());
    let outputs = drain(&mut responder);
    assert_eq!(
        outputs[0],
        Output::Join {
            interface: ETH0,
            group: group_mac()
        }
    );
    let (to, packet, message) = advertised(&[frames(&outputs)[0].1.to_vec()]);
    assert_eq!(
        (to, packet.destination),
        (ndp::all_nodes_mac(), ndp::ALL_NODES)
    );
    assert!(!message.solicited && message.overrides);
}

#[test]
fn the_whole_burst_is_five_announcements() {
    let mut responder = responder();
    let later = run_until(&mut responder, START + Duration::from_secs(60));
    // Four more of each address: two frames for IPv4, one for IPv6.
    assert_eq!(later.len(), 12);
    assert_eq!(
        later.last().unwrap().0,
        START + Duration::from_millis(4_400)
    );
    assert_eq!(responder.counters()[&IpAddr::from(VIP)].gratuitous_sent, 10);
    assert_eq!(responder.counters()[&IpAddr::from(VIP6)].gratuitous_sent, 5);
}

#[test]
fn saying_the_same_again_changes_nothing() {
    let mut responder = responder();
    run_until(&mut responder, START + Duration::from_secs(10));
    let later = START + Duration::from_secs(20);
    responder.hold(later, VIP.into(), everywhere());
    responder.set_port(later, ETH0, port(OWN));
    assert_eq!(drain(&mut responder), []);
    assert_eq!(responder.deadline(), None);
}

#[test]
fn an_interface_that_appears_later_gets_groups_and_burst() {
    let mut responder = responder();
    run_until(&mut responder, START + Duration::from_secs(10));
    responder.set_port(START + Duration::from_secs(20), ETH1, port(OWN_1));
    let outputs = drain(&mut responder);
    assert_eq!(
        outputs[0],
        Output::Join {
            interface: ETH1,
            group: group_mac()
        }
    );
    assert_eq!(frames(&outputs).len(), 3);
    assert!(
        frames(&outputs)
            .iter()
            .all(|(interface, _)| *interface == ETH1)
    );
}

#[test]
fn an_interface_that_comes_back_joins_and_announces_again() {
    let mut responder = responder();
    responder.remove_port(ETH0);
    assert_eq!(drain(&mut responder), []);
    assert_eq!(responder.deadline(), None);
    let frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
    assert_eq!(
        hear(&mut responder, &frame).0,
        Verdict::Dropped(Dropped::Unwanted)
    );
    responder.set_port(START, ETH0, port(OWN));
    assert_eq!(drain(&mut responder).len(), 4);
}

#[test]
fn a_new_mac_address_is_announced_and_given_in_answers() {
    let mut responder = responder();
    run_until(&mut responder, START + Duration::from_secs(10));
    responder.set_port(START + Duration::from_secs(20), ETH0, port(OWN_1));
    let outputs = drain(&mut responder);
    assert_eq!(frames(&outputs).len(), 3);
    assert_eq!(outputs.len(), 3, "it is in its groups already");
    let (_, sent) = hear(&mut responder, &request(CLIENT, VIP).frame(Mac::BROADCAST));
    assert_eq!(Frame::decode(&sent[0]).unwrap().source, OWN_1);
    let stale = request(CLIENT, VIP).frame(OWN);
    assert_eq!(
        hear(&mut responder, &stale).0,
        Verdict::Dropped(Dropped::NotForUs)
    );
}

#[test]
fn an_address_is_answered_on_its_interfaces_only() {
    let mut responder = Responder::new(1);
    responder.set_port(START, ETH0, port(OWN));
    responder.set_port(START, ETH1, port(OWN_1));
    responder.hold(START, VIP.into(), only(&[ETH1]));
    let outputs = drain(&mut responder);
    assert!(
        frames(&outputs)
            .iter()
            .all(|(interface, _)| *interface == ETH1)
    );
    let frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
    assert_eq!(
        responder.handle_frame(START, ETH0, &frame),
        Verdict::Foreign
    );
    assert_eq!(
        responder.handle_frame(START, ETH1, &frame),
        Verdict::Answered(VIP.into())
    );
}

#[test]
fn moving_to_another_interface_leaves_the_old_and_announces_on_the_new() {
    let mut responder = Responder::new(1);
    responder.set_port(START, ETH0, port(OWN));
    responder.set_port(START, ETH1, port(OWN_1));
    responder.hold(START, VIP6.into(), only(&[ETH0]));
    drain(&mut responder);
    responder.hold(START, VIP6.into(), only(&[ETH1]));
    let outputs = drain(&mut responder);
    let group = group_mac();
    assert_eq!(
        outputs[..2],
        [
            Output::Leave {
                interface: ETH0,
                group
            },
            Output::Join {
                interface: ETH1,
                group
            }
        ]
    );
    let later = run_until(&mut responder, START + Duration::from_secs(60));
    assert_eq!(later.len(), 4);
}

#[test]
fn an_interface_without_arp_neither_answers_nor_announces_ipv4() {
    let mut responder = Responder::new(1);
    let v6_only = Port {
        arp: false,
        ..port(OWN)
    };
    responder.set_port(START, ETH0, v6_only);
    responder.hold(START, VIP.into(), everywhere());
    assert_eq!(drain(&mut responder), []);
    let frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
    assert_eq!(
        hear(&mut responder, &frame).0,
        Verdict::Dropped(Dropped::Unwanted)
    );
    responder.set_port(START, ETH0, port(OWN));
    assert_eq!(drain(&mut responder).len(), 2);
}

#[test]
fn ndp_that_ends_on_an_interface_leaves_its_groups() {
    let mut responder = responder();
    let v4_only = Port {
        ndp: false,
        ..port(OWN)
    };
    responder.set_port(START, ETH0, v4_only);
    assert_eq!(
        drain(&mut responder),
        [Output::Leave {
            interface: ETH0,
            group: group_mac()
        }]
    );
}

/// What another station with our address broadcasts.
fn foreign_claims() -> Vec<Vec<u8>> {
    let advertisement = ndp::Packet {
        source: VIP6,
        destination: ndp::ALL_NODES,
        message: Message::Advertisement(Advertisement {
            router: false,
            solicited: false,
            overrides: true,
            target: VIP6,
            target_mac: Some(PEER),
        }),
    };
    vec![
        arp::Packet::gratuitous(Operation::Request, VIP, PEER).frame(Mac::BROADCAST),
        arp::Packet::gratuitous(Operation::Reply, VIP, PEER).frame(Mac::BROADCAST),
        request(VIP, CLIENT).frame(Mac::BROADCAST),
        advertisement.frame(ndp::all_nodes_mac(), PEER),
        solicitation(VIP6, solicited_node(VIP6), Some(PEER)).frame(group_mac(), PEER),
    ]
}

#[test]
fn a_foreign_owner_is_never_answered_and_reported_once_the_grace_is_over() {
    for frame in foreign_claims() {
        let mut responder = responder();
        run_until(&mut responder, START + Duration::from_secs(10));
        let now = START + Duration::from_secs(20);
        let verdict = responder.handle_frame(now, ETH0, &frame);
        assert!(matches!(verdict, Verdict::Claimed(_)), "{verdict:?}");
        assert_eq!(drain(&mut responder), []);
        let outputs = run_until(&mut responder, now + Duration::from_secs(60));
        let (when, Output::Conflict(conflict)) = &outputs[0] else {
            panic!("{outputs:?}")
        };
        assert_eq!((*when, conflict.mac), (now + Duration::from_secs(2), PEER));
        // Defended once: each form of one announcement.
        let forms = if conflict.address.is_ipv4() { 2 } else { 1 };
        assert_eq!(outputs.len(), 1 + forms);
    }
}

#[test]
fn a_claim_during_a_handover_is_no_conflict() {
    let mut responder = responder();
    for frame in foreign_claims() {
        let _ = responder.handle_frame(START, ETH0, &frame);
    }
    responder.release(VIP.into());
    responder.release(VIP6.into());
    drain(&mut responder);
    assert_eq!(responder.deadline(), None);
}

#[test]
fn a_lasting_conflict_is_reported_at_a_bounded_rate() {
    let mut responder = responder();
    let claim = arp::Packet::gratuitous(Operation::Reply, VIP, PEER).frame(Mac::BROADCAST);
    let mut reports = 0;
    for step in 0..600u64 {
        let now = START + Duration::from_millis(step * 100);
        let _ = responder.handle_frame(now, ETH0, &claim);
        responder.tick(now);
        let outputs = drain(&mut responder);
        reports += outputs
            .iter()
            .filter(|output| matches!(output, Output::Conflict(_)))
            .count();
    }
    // One in each 12 s of the minute.
    assert_eq!(reports, 5);
}

#[test]
fn a_claim_where_the_address_is_not_announced_is_no_conflict() {
    let mut responder = Responder::new(1);
    responder.set_port(START, ETH0, port(OWN));
    responder.hold(START, VIP.into(), only(&[ETH1]));
    let claim = arp::Packet::gratuitous(Operation::Reply, VIP, PEER).frame(Mac::BROADCAST);
    assert_eq!(hear(&mut responder, &claim).0, Verdict::Foreign);
}

#[test]
fn a_claim_is_forgotten_where_the_address_is_withdrawn_in_the_meantime() {
    let mut responder = responder();
    run_until(&mut responder, START + Duration::from_secs(10));
    let now = START + Duration::from_secs(20);
    let claim = arp::Packet::gratuitous(Operation::Reply, VIP, PEER).frame(Mac::BROADCAST);
    let _ = responder.handle_frame(now, ETH0, &claim);
    responder.hold(now, VIP.into(), only(&[ETH1]));
    assert_eq!(run_until(&mut responder, now + Duration::from_secs(10)), []);
}

#[test]
fn counters_are_kept_for_what_is_held_and_go_with_it() {
    let mut responder = responder();
    let frame = request(CLIENT, VIP).frame(Mac::BROADCAST);
    hear(&mut responder, &frame);
    hear(&mut responder, &frame);
    let counters = responder.counters()[&IpAddr::from(VIP)];
    assert_eq!(
        (counters.requests_received, counters.responses_sent),
        (2, 2)
    );
    responder.release(VIP.into());
    assert!(!responder.counters().contains_key(&IpAddr::from(VIP)));
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

#[test]
fn a_change_of_one_address_announces_no_other() {
    let mut responder = responder();
    let overdue = responder.deadline().unwrap() + Duration::from_millis(1);
    responder.hold(overdue, VIP.into(), only(&[ETH1]));
    assert!(frames(&drain(&mut responder)).is_empty());
    responder.hold(overdue, VIP6.into(), only(&[ETH1]));
    responder.tick(overdue);
    assert!(frames(&drain(&mut responder)).is_empty());
}
