//! Sessions that wait for BFD.

use ironlb_lab::manifest::node;
use ironlb_lab::needs_the_lab;
use serde_json::Value;

use super::fabric::{Fabric, LIMIT};

/// Without BFD, and without the capability.
const ROUTER: &str = "router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n \
                      neighbor 10.0.0.1 remote-as 64512\n";

#[test]
fn two_that_ask_for_it_wait_for_bfd_and_a_router_that_does_not_is_not_kept_waiting() {
    needs_the_lab!();
    let fabric = Fabric::new("bgp-strict", 2, ROUTER);
    fabric.write("node1.yaml", &node("n1", "at: one"));
    fabric.write("node2.yaml", &node("n2", "at: two"));
    let profile = "apiVersion: metallb.io/v1beta1\nkind: BFDProfile\n\
                   metadata: {name: fast, namespace: metallb-system}\n\
                   spec: {transmitInterval: 100, receiveInterval: 100}\n";
    fabric.write("profile.yaml", profile);
    let strict = |node: &str, more: &str| {
        format!(
            "bfdProfile: fast, bfdStrict: true, connectTime: 1s, nodeSelectors: [{{matchLabels: {{at: {node}}}}}], {more}"
        )
    };
    let first = strict("one", "peerASN: 64514, peerAddress: 10.0.0.2");
    fabric.peer("second", &first);
    let second = strict(
        "two",
        "peerASN: 64512, peerAddress: 10.0.0.1, passiveMode: true",
    );
    fabric.peer_as(64_514, "first", &second);
    let tor = strict("one", "peerASN: 64513, peerAddress: 10.0.0.254");
    fabric.peer("tor", &tor);
    fabric.advertise("all", "");
    fabric.service("web", &[1, 2], "");
    let nodes = [fabric.start(1), fabric.start(2)];

    let question = "show bgp ipv4 unicast json";
    let has = |table: &Value| table["routes"]["192.0.2.0/32"].is_array();
    fabric
        .tor
        .wait_for("the router has the route", question, LIMIT, has)
        .unwrap();
    for (process, peer, at) in [
        (&nodes[0], "second", "10.0.0.2"),
        (&nodes[1], "first", "10.0.0.1"),
    ] {
        let bgp = format!("BGP session is up peer=\"{peer}\"");
        process.wait_for_line(&bgp, LIMIT).unwrap();
        let log = process.log();
        let position = |line: &str| log.find(line);
        let bfd = position(&format!("BFD session is up peer={at}"));
        assert!(bfd.is_some() && bfd < position(&bgp), "{log}");
    }
    nodes[1].kill().unwrap();
    let lost = "BGP session is down peer=\"second\"";
    nodes[0].wait_for_line(lost, LIMIT).unwrap();
}
