//! Routers of other projects in the lab: that they run side by side, answer, and end.
#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is not as it should be"
)]

use std::time::Duration;

use ironlb_lab::needs_the_lab;
use ironlb_lab::{
    Error, Lab, Process,
    router::{Bird, Frr, Router},
};

#[test]
fn frr_and_bird_peer_and_each_tells_what_it_learnt() {
    needs_the_lab!();
    let pair = Pair::new("peering");
    let question = "show bgp ipv4 unicast json";
    let routes = pair
        .frr
        .wait_for("the route is learnt", question, LIMIT, |answer| {
            answer["routes"]["192.0.2.1/32"].is_array()
        })
        .unwrap();
    assert_eq!(routes["routes"]["192.0.2.1/32"][0]["path"], "65002");
    pair.bird
        .wait_for("the session is up", "show protocols", LIMIT, |answer| {
            answer[1]["name"] == "tor" && answer[1]["info"] == "Established"
        })
        .unwrap();
    pair.bird
        .wait_for("BFD is up", "show bfd sessions", LIMIT, |answer| {
            answer[0]["state"] == "Up"
        })
        .unwrap();
    pair.frr
        .configure("router bgp 65001\n address-family ipv4 unicast\n  network 10.0.0.0/24\n")
        .unwrap();
    let learnt = pair
        .bird
        .wait_for("the other way", "show route all", LIMIT, |answer| {
            answer[1]["network"] == "10.0.0.0/24"
        })
        .unwrap();
    assert_eq!(learnt[1]["attributes"]["BGP.as_path"], "65001");
}

#[test]
fn a_killed_router_is_missed_and_another_takes_its_place() {
    needs_the_lab!();
    let pair = Pair::new("killed");
    let summary = "show bgp summary json";
    let state =
        |answer: &serde_json::Value| answer["ipv4Unicast"]["peers"]["10.0.0.2"]["state"].clone();
    pair.frr
        .wait_for("the session is up", summary, LIMIT, |answer| {
            state(answer) == "Established"
        })
        .unwrap();
    pair.bird.kill().unwrap();
    assert!(!pair.bird.processes().iter().any(Process::is_running));
    assert!(pair.bird.ask("show status").is_err());
    pair.frr
        .wait_for("the session is down", summary, LIMIT, |answer| {
            state(answer) != "Established"
        })
        .unwrap();
    let host = pair.bird.host();
    Router::start(host, Bird, BIRD).unwrap();
    pair.frr
        .wait_for("the session is up again", summary, LIMIT, |answer| {
            state(answer) == "Established"
        })
        .unwrap();
    pair.frr.stop(LIMIT).unwrap();
    assert!(!pair.frr.processes().iter().any(Process::is_running));
}

#[test]
fn what_a_router_does_not_understand_is_an_error_with_its_own_words() {
    needs_the_lab!();
    let pair = Pair::new("refused");
    let refused = |error: Error, words: &str| {
        assert!(matches!(error, Error::Router { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    refused(
        pair.frr.show("show nonsense").unwrap_err(),
        "Unknown command",
    );
    refused(
        pair.frr.configure("nonsense\n").unwrap_err(),
        "Unknown command",
    );
    refused(
        pair.bird.ask("show nonsense").unwrap_err(),
        "No such command",
    );
    refused(pair.bird.configure("nonsense").unwrap_err(), "syntax error");
    refused(pair.frr.process("ospfd").unwrap_err(), "bgpd");
    let host = pair.lab.host("third").unwrap();
    let error = Router::start(&host, Bird, "nonsense").unwrap_err();
    assert!(error.to_string().contains("syntax error"), "{error}");
}

/// FRR at 10.0.0.1 and BIRD at 10.0.0.2.
struct Pair {
    frr: Router,
    bird: Router,
    lab: Lab,
}

impl Pair {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let (tor, node) = (lab.router("tor").unwrap(), lab.host("node").unwrap());
        tor.connect(&lan, "eth0", &["10.0.0.1/24"]).unwrap();
        node.connect(&lan, "eth0", &["10.0.0.2/24"]).unwrap();
        let frr = Router::start(&tor, Frr, FRR).unwrap();
        let bird = Router::start(&node, Bird, BIRD).unwrap();
        Self { frr, bird, lab }
    }
}

const FRR: &str = "
bfd
 peer 10.0.0.2 interface eth0
router bgp 65001
 no bgp ebgp-requires-policy
 no bgp network import-check
 timers bgp 1 3
 neighbor 10.0.0.2 remote-as external
 neighbor 10.0.0.2 timers connect 1
";

const BIRD: &str = r#"
router id 10.0.0.2;
protocol device {}
protocol bgp tor {
    local 10.0.0.2 as 65002;
    neighbor 10.0.0.1 as 65001;
    connect delay time 1;
    ipv4 { import all; export all; next hop self; };
}
protocol static { ipv4; route 192.0.2.1/32 blackhole; }
protocol bfd { neighbor 10.0.0.1 dev "eth0"; }
"#;
const LIMIT: Duration = Duration::from_secs(20);
