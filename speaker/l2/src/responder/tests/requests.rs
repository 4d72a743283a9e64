//! Who is answered, how, and how often that is counted.

use super::*;

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
