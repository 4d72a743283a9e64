//! What is said unasked after a takeover.

use super::*;

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
fn a_change_of_one_address_announces_no_other() {
    let mut responder = responder();
    let overdue = responder.deadline().unwrap() + Duration::from_millis(1);
    responder.hold(overdue, VIP.into(), only(&[ETH1]));
    assert!(frames(&drain(&mut responder)).is_empty());
    responder.hold(overdue, VIP6.into(), only(&[ETH1]));
    responder.tick(overdue);
    assert!(frames(&drain(&mut responder)).is_empty());
}
