//! Peers at a link-local address, which means something only on its interface.

use ironlb_lab::router::{Bird, Frr, Router, Software};
use ironlb_lab::{Host, Process, needs_the_lab};
use serde_json::Value;

use super::fabric::{Fabric, LIMIT};

const PREFIX: &str = "2001:db8::/128";

/// A router at fe80::fe, and a node that is fe80::11 and has it for a peer, with a password and BFD. The pair has other addresses
/// too, and other links with the same network.
fn peers(
    name: &str,
    software: impl Software + 'static,
    config: &str,
    spec: &str,
) -> (Fabric, Process) {
    let start = |tor: &Host, _: &Host| {
        tor.add_address("eth0", "fe80::fe/64").unwrap();
        tor.add_address("eth1", "fe80::fe/64").unwrap();
        Router::start(tor, software, config).unwrap()
    };
    let fabric = Fabric::with(name, 1, start);
    fabric.nodes[0].add_address("eth0", "fe80::11/64").unwrap();
    fabric.bfd_profile("fast", "transmitInterval: 200, receiveInterval: 200");
    fabric.peer(
        "tor",
        &format!(
            "peerASN: 64513, peerAddress: fe80::fe%eth0, connectTime: 1s, password: between-us, bfdProfile: fast, {spec}"
        ),
    );
    fabric.advertise("all", "");
    fabric.service("web", &[1], "");
    let node = fabric.start(1);
    (fabric, node)
}

#[test]
fn a_link_local_peer_is_dialled_on_its_interface_authenticated_and_watched() {
    needs_the_lab!();
    let config = "bfd\n profile node\n  transmit-interval 200\n  receive-interval 200\n exit\nexit\n\
                  router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n \
                  neighbor fe80::11 remote-as 64512\n neighbor fe80::11 interface eth0\n \
                  neighbor fe80::11 passive\n neighbor fe80::11 password between-us\n \
                  neighbor fe80::11 bfd profile node\n \
                  address-family ipv6 unicast\n  neighbor fe80::11 activate\n exit-address-family\n";
    let spec = "sourceAddress: fe80::11, dualStackAddressFamily: true";
    let (fabric, node) = peers("bgp-ll-frr", Frr, config, spec);
    for (family, prefix) in [("ipv4", "192.0.2.0/32"), ("ipv6", PREFIX)] {
        let question = format!("show bgp {family} unicast json");
        let has = |table: &Value| table["routes"][prefix].is_array();
        fabric
            .tor
            .wait_for("the route", &question, LIMIT, has)
            .unwrap();
    }
    let is_watched = |peers: &Value| {
        let peers = peers.as_array().into_iter().flatten();
        peers
            .filter(|peer| peer["peer"] == "fe80::11" && peer["interface"] == "eth0")
            .any(|peer| peer["status"] == "up")
    };
    let question = "show bfd peers json";
    fabric
        .tor
        .wait_for("BFD is up", question, LIMIT, is_watched)
        .unwrap();
    node.wait_for_line("BFD session is up", LIMIT).unwrap();
    fabric.tor.process("bfdd").unwrap().kill().unwrap();
    node.wait_for_line("closed by us (BFD down)", LIMIT)
        .unwrap();
}

#[test]
fn a_link_local_peer_may_connect_to_us_on_its_interface_alone() {
    needs_the_lab!();
    let config = "router id 10.0.0.254;\nlog stderr all;\nprotocol device {}\n\
                  protocol bfd { interface \"eth0\" { interval 200 ms; }; }\n\
                  protocol bgp node {\n local fe80::fe as 64513;\n neighbor fe80::11%eth0 as 64512;\n \
                  password \"between-us\";\n bfd on;\n connect delay time 1;\n connect retry time 1;\n \
                  ipv6 { import all; export none; };\n}\n";
    let (fabric, node) = peers("bgp-ll-bird", Bird, config, "passiveMode: true");
    let has = |routes: &Value| {
        let mut routes = routes.as_array().into_iter().flatten();
        routes.any(|route| route["network"] == PREFIX)
    };
    let question = "show route all protocol node";
    fabric
        .tor
        .wait_for("the route", question, LIMIT, has)
        .unwrap();
    node.wait_for_line("BFD session is up", LIMIT).unwrap();
}
