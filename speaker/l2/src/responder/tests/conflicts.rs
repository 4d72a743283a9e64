//! Other stations that say that they have our address.

use super::*;

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
