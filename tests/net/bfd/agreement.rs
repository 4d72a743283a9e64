//! How sessions come up, and by what intervals they go.

use std::time::Duration;

use ironlb_bfd::{Key, Reason};
use ironlb_lab::needs_the_lab;
use ironlb_lab::router::{Frr, Router};
use serde_json::Value;

use super::node::TestBfd;
use super::{LIMIT, NODE, PEERS, Segment, every, frr, key, keys, passive, peer, watched};

#[test]
fn frr_and_we_agree_on_intervals_and_change_them_without_a_flap() {
    needs_the_lab!();
    let lines = "  transmit-interval 120\n  receive-interval 150\n  detect-multiplier 4\n";
    let (_segment, tor, mut node) = watched("bfd-frr", lines, every(100, 200, 5));
    let seen = |transmit: u64, receive: u64, multiplier: u64| {
        move |peers: &Value| {
            NODE.iter().all(|address| {
                let peer = peer(peers, address);
                peer["status"] == "up"
                    && peer["remote-transmit-interval"] == transmit
                    && peer["remote-receive-interval"] == receive
                    && peer["remote-detect-multiplier"] == multiplier
            })
        }
    };
    tor.wait_for("it sees our intervals", PEERS, LIMIT, seen(100, 200, 5))
        .unwrap();
    let ms = Duration::from_millis;
    for key in keys() {
        // FRR's multiplier times the slower of its and our rate; the slower of our and its rate.
        node.agrees(key, ms(4 * 200), ms(150));
        node.client.want(key, every(300, 250, 3));
    }
    tor.wait_for("it sees the new ones", PEERS, LIMIT, seen(300, 250, 3))
        .unwrap();
    for key in keys() {
        node.agrees(key, ms(4 * 250), ms(300));
    }
    tor.configure("bfd\n profile node\n  transmit-interval 400\n  receive-interval 500\n")
        .unwrap();
    for key in keys() {
        node.agrees(key, ms(4 * 400), ms(500));
        node.client.want(key, every(50, 50, 3));
    }
    tor.wait_for("and the fastest", PEERS, LIMIT, seen(50, 50, 3))
        .unwrap();
    node.no_event_for(Duration::from_secs(3));
}

#[test]
fn the_passiveside_waits_for_the_other_to_begin() {
    needs_the_lab!();
    let segment = Segment::new("bfd-passive");
    let tor = frr(&segment.tor, "  passive-mode\n");
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, passive(every(100, 100, 3)));
    }
    node.no_event_for(Duration::from_secs(3));
    assert_eq!(node.ask(|view| Some(view.counters.sent)), 0);
    tor.configure("bfd\n profile node\n  no passive-mode\n")
        .unwrap();
    node.wait_up(&keys());
}

#[test]
fn link_local_peers_are_found_by_their_interface() {
    needs_the_lab!();
    let segment = Segment::new("bfd-link-local");
    let (near, far) = ("fe80::a:1", "fe80::a:2");
    for (host, address) in [(&segment.node, near), (&segment.tor, far)] {
        host.add_address("eth0", &format!("{address}/64")).unwrap();
    }
    let config = format!("bfd\n peer {near} local-address {far} interface eth0\n");
    let tor = Router::start(&segment.tor, Frr, &config).unwrap();
    let mut node = TestBfd::start(&segment.node);
    let key = Key {
        local: Some(near.parse().unwrap()),
        interface: Some(segment.cable.index()),
        ..key(far)
    };
    node.client.want(key, every(100, 100, 3));
    node.wait_up(&[key]);
    tor.process("bfdd").unwrap().kill().unwrap();
    let (_, reasons) = node.wait_down(&[key]);
    assert_eq!(reasons, [Reason::DetectionTimeExpired]);
}

#[test]
fn a_port_that_another_process_has_is_taken_when_it_is_free() {
    needs_the_lab!();
    let segment = Segment::new("bfd-port");
    let occupied = segment
        .node
        .in_namespace(|| std::net::UdpSocket::bind("0.0.0.0:3784").unwrap())
        .unwrap();
    let _tor = frr(&segment.tor, "");
    let mut node = TestBfd::start(&segment.node);
    let [v4, v6] = keys();
    // The other family is served, often enough that nothing waits for a quiet moment.
    node.client.want(v6, every(20, 20, 10));
    node.client.want(v4, every(300, 300, 3));
    node.wait_up(&[v6]);
    node.no_event_for(Duration::from_secs(2));
    drop(occupied);
    node.wait_up(&[v4]);
}
