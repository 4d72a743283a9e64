//! BGPPeer.

use std::process::Command;
use std::time::{Duration, Instant};

use ironlb_lab::manifest::node;
use ironlb_lab::{Host, eventually, holds_for, needs_the_lab};
use serde_json::Value;

use super::super::fabric::{Fabric, LIMIT};
use super::{NEIGHBOUR, announce, beside_bird, beside_frr, is_up, neighbour_is};

#[test]
fn frr_sees_the_identifier_the_hold_time_and_a_keepalive_each_second() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    fabric.peer(
        "router",
        "peerASN: 64513, peerAddress: 10.0.0.254, routerID: 198.51.100.7, holdTime: 30s, keepaliveTime: 1s",
    );
    let _node = fabric.start(1);
    let neighbour = neighbour_is(&fabric, NEIGHBOUR, "the session is up", is_up);
    assert_eq!(neighbour["remoteRouterId"], "198.51.100.7");
    assert_eq!(neighbour["bgpTimerHoldTimeMsecs"], 30_000);
    let count = |neighbour: &Value| neighbour["messageStats"]["keepalivesRecv"].as_u64();
    let (first, before) = (count(&neighbour).unwrap(), Instant::now());
    neighbour_is(&fabric, NEIGHBOUR, "three more keepalives", |neighbour| {
        count(neighbour) >= Some(first + 3)
    });
    // It would be one in ten seconds.
    assert!(before.elapsed() < Duration::from_secs(20));
}

#[test]
fn frr_is_connected_to_from_the_source_address() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    fabric.nodes[0]
        .add_address("eth0", "10.0.0.101/24")
        .unwrap();
    fabric.peer(
        "router",
        "peerASN: 64513, peerAddress: 10.0.0.254, sourceAddress: 10.0.0.101",
    );
    let _node = fabric.start(1);
    neighbour_is(&fabric, "10.0.0.101", "the session is up", is_up);
}

#[test]
fn bird_on_another_port_is_connected_to() {
    needs_the_lab!();
    let fabric = beside_bird(
        "protocol bgp node { local 10.0.0.254 port 1179 as 64513; neighbor 10.0.0.1 as 64512; passive on; ipv4 { import all; export none; }; }",
    );
    fabric.peer(
        "router",
        "peerASN: 64513, peerAddress: 10.0.0.254, peerPort: 1179, connectTime: 1s",
    );
    announce(&fabric);
    let _node = fabric.start(1);
    has_route(&fabric);
}

#[test]
fn bird_connects_to_the_port_that_is_listened_on() {
    needs_the_lab!();
    let fabric = beside_bird(
        "protocol bgp node { local 10.0.0.254 as 64513; neighbor 10.0.0.1 port 1790 as 64512; connect delay time 1; \
         connect retry time 1; error wait time 1, 2; ipv4 { import all; export none; }; }",
    );
    // Nobody would be there at 179.
    fabric.peer(
        "router",
        "peerASN: 64513, peerAddress: 10.0.0.254, peerPort: 9, listenPort: 1790",
    );
    announce(&fabric);
    let _node = fabric.start(1);
    has_route(&fabric);
}

fn has_route(fabric: &Fabric) {
    let question = "show route all protocol node";
    let has = |routes: &Value| {
        let mut routes = routes.as_array().into_iter().flatten();
        routes.any(|route| route["network"] == "192.0.2.0/32")
    };
    let tor = &fabric.tor;
    tor.wait_for("the route is there", question, LIMIT, has)
        .unwrap();
}

#[test]
fn frr_that_comes_late_is_tried_again_after_the_connect_time() {
    needs_the_lab!();
    let fabric = Fabric::new("fields", 1, "");
    fabric.peer(
        "router",
        "peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 6s",
    );
    let node = fabric.start(1);
    node.wait_for_line("Connection refused", LIMIT).unwrap();
    let refused = Instant::now();
    fabric
        .tor
        .configure(
            "router bgp 64513\n neighbor 10.0.0.1 remote-as 64512\n neighbor 10.0.0.1 passive\n",
        )
        .unwrap();
    neighbour_is(&fabric, NEIGHBOUR, "the session is up", is_up);
    let after = refused.elapsed();
    println!("tried again after {after:?} at 6 s");
    // A quarter less by jitter (RFC 4271 section 10); three times as long would be the attempt after the next.
    let expected = Duration::from_secs(4)..Duration::from_secs(12);
    assert!(expected.contains(&after), "{after:?}");
}

#[test]
fn frr_that_only_waits_hears_of_a_passive_node_when_it_is_passive_no_more() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    let peer = |passive: bool| {
        let place = "peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 1s";
        fabric.peer("router", &format!("{place}, passiveMode: {passive}"));
    };
    peer(true);
    let _node = fabric.start(1);
    holds_for("nobody connects", Duration::from_secs(3), || {
        let answer = fabric.tor.show("show bgp neighbors 10.0.0.1 json");
        answer.is_ok_and(|answer| answer[NEIGHBOUR].is_null())
    })
    .unwrap();
    peer(false);
    neighbour_is(&fabric, NEIGHBOUR, "the session is up", is_up);
}

#[test]
fn frr_has_the_routes_of_nodes_that_leave_for_as_long_as_each_drains() {
    needs_the_lab!();
    let fabric = beside_frr(2, "");
    announce(&fabric);
    for (rack, drain_time) in [("a", "1s"), ("b", "8s")] {
        let place = "peerASN: 64513, peerAddress: 10.0.0.254";
        let spec = format!(
            "{place}, drainTime: {drain_time}, nodeSelectors: [{{matchLabels: {{rack: {rack}}}}}]"
        );
        fabric.peer(rack, &spec);
    }
    let label_nodes = |more: &str| {
        for (number, rack) in [(1, "a"), (2, "b")] {
            let text = node(&format!("n{number}"), &format!("rack: {rack}{more}"));
            fabric.write(&format!("node{number}.yaml"), &text);
        }
    };
    label_nodes("");
    let _running = [fabric.start(1), fabric.start(2)];
    let by = |count: usize, marked: bool| {
        let what = format!("{count} paths, about to go: {marked}");
        let question = "show bgp ipv4 unicast 192.0.2.0/32 json";
        let is = |route: &Value| {
            let paths = route["paths"].as_array().into_iter().flatten();
            let marks = paths.map(|path| path["community"]["string"] == "graceful-shutdown");
            marks.eq(std::iter::repeat_n(marked, count))
        };
        fabric.tor.wait_for(&what, question, LIMIT, is).unwrap();
    };
    by(2, false);
    label_nodes(", node.kubernetes.io/exclude-from-external-load-balancers: ''");
    by(2, true);
    let marked = Instant::now();
    let gone_after = |left| {
        by(left, true);
        marked.elapsed().as_secs_f64()
    };
    let (first, second) = (gone_after(1), gone_after(0));
    println!("gone after {first:.1} s at 1 s, {second:.1} s at 8 s");
    // Neither is the 5 s that is the default.
    assert!(first < 4.0 && (6.5..12.0).contains(&second));
}

#[test]
fn frr_has_only_the_nodes_that_are_selected() {
    needs_the_lab!();
    let fabric = beside_frr(2, "");
    fabric.write("node2.yaml", &node("n2", "rack: a"));
    fabric.peer(
        "router",
        "peerASN: 64513, peerAddress: 10.0.0.254, nodeSelectors: [{matchLabels: {rack: a}}]",
    );
    let _running = [fabric.start(1), fabric.start(2)];
    let sessions = |wanted: &'static str| {
        move |summary: &Value| {
            let peers = summary["ipv4Unicast"]["peers"].as_object();
            peers.is_some_and(|peers| {
                peers.keys().eq([wanted]) && peers[wanted]["state"] == "Established"
            })
        }
    };
    let has = |what, wanted| {
        let question = "show bgp summary json";
        let answer = fabric.tor.wait_for(what, question, LIMIT, sessions(wanted));
        answer.unwrap();
    };
    has("the selected node alone", "10.0.0.2");
    for (number, labels) in [(1, "rack: a"), (2, "")] {
        let text = node(&format!("n{number}"), labels);
        fabric.write(&format!("node{number}.yaml"), &text);
    }
    has("the other one alone", "10.0.0.1");
}

#[test]
fn bird_of_an_as_that_is_not_allowed_is_told_so() {
    needs_the_lab!();
    let fabric = beside_bird(
        "protocol bgp node { local 10.0.0.254 as 64513; neighbor 10.0.0.1 as 64512; passive on; error wait time 1, 2; \
         ipv4 { import all; export none; }; }",
    );
    announce(&fabric);
    let peer = |asn: &str| {
        let spec = format!("{asn}, peerAddress: 10.0.0.254, connectTime: 1s");
        fabric.peer("router", &spec);
    };
    let refusals = || fabric.tor.log().matches("Received: Bad peer AS").count();
    peer("peerASN: 64999");
    let _node = fabric.start(1);
    for right in ["peerASN: 64513", "dynamicASN: external"] {
        let before = refusals();
        peer("dynamicASN: internal");
        eventually("it is told", LIMIT, || refusals() > before).unwrap();
        peer(right);
        has_route(&fabric);
    }
}

#[test]
fn frr_is_let_in_from_as_many_hops_as_is_said() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    // As if there were a router between.
    fabric.nft("table inet farther { chain sent { type filter hook output priority 0; tcp sport 179 ip ttl set 254; }; }");
    let peer = |hops: u8| {
        let place = "peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 1s";
        fabric.peer("router", &format!("{place}, ttlSecurityHops: {hops}"));
    };
    peer(1);
    let _node = fabric.start(1);
    holds_for("no session", Duration::from_secs(2), || {
        let answer = fabric.tor.show("show bgp neighbors 10.0.0.1 json");
        answer.is_ok_and(|answer| !is_up(&answer[NEIGHBOUR]))
    })
    .unwrap();
    peer(2);
    neighbour_is(&fabric, NEIGHBOUR, "the session is up", is_up);
}

#[test]
fn frr_gets_routes_in_spite_of_disable_mp() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    let spec = "peerASN: 64513, peerAddress: 'fd00::fe', disableMP: true";
    fabric.peer("router", spec);
    announce(&fabric);
    let _node = fabric.start(1);
    let question = "show bgp ipv6 unicast json";
    fabric
        .tor
        .wait_for("an IPv6 route", question, LIMIT, |table| {
            table["routes"]["2001:db8::/128"].is_array()
        })
        .unwrap();
}

#[test]
fn frr_is_reached_in_a_vrf() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    let node = &fabric.nodes[0];
    if !ip(node, "link add red type vrf table 10") {
        ironlb_lab::skip("this kernel has no VRF");
        return;
    }
    assert!(ip(node, "link set red up") && ip(node, "link set eth0 master red"));
    let peer = |vrf: &str| {
        let spec = format!("peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 1s{vrf}");
        fabric.peer("router", &spec);
    };
    peer("");
    announce(&fabric);
    let running = fabric.start(1);
    running.wait_for_line("no BGP session", LIMIT).unwrap();
    peer(", vrf: red");
    neighbour_is(&fabric, NEIGHBOUR, "the session is up", is_up);
    let question = "show bgp ipv4 unicast json";
    fabric
        .tor
        .wait_for("the route is there", question, LIMIT, |table| {
            table["routes"]["192.0.2.0/32"].is_array()
        })
        .unwrap();
}

/// Whether `ip` does what it is asked on a host.
fn ip(host: &Host, arguments: &str) -> bool {
    let mut command = Command::new("ip");
    let output = host.run(command.args(arguments.split_whitespace()));
    output.unwrap().status.success()
}
