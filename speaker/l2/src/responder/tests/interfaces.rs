//! Interfaces that come, go and change, and addresses that are on some of them only.

use super::*;

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
