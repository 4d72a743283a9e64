//! What a router is asked for by graceful restart.

use std::time::{Duration, Instant};

use ironlb_lab::{eventually, needs_the_lab};
use serde_json::Value;

use super::fabric::{Fabric, LIMIT};

const PEERS: &str = "router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n \
                     bgp graceful-restart\n neighbor 10.0.0.1 remote-as 64512\n";

#[test]
fn a_router_keeps_routes_for_as_long_as_it_is_asked_to_and_no_longer() {
    needs_the_lab!();
    let fabric = Fabric::new("bgp-restart-time", 1, PEERS);
    let peer = |more: &str| {
        let spec =
            "peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 1s, enableGracefulRestart: true";
        fabric.peer("tor", &format!("{spec}{more}"));
    };
    peer("");
    fabric.advertise("all", "");
    fabric.service("web", &[1], "");
    let node = fabric.start(1);
    let hears = |seconds: u64| {
        let question = "show bgp neighbors 10.0.0.1 json";
        let what = format!("a restart time of {seconds} s");
        let is = |answer: &Value| {
            let timers = &answer["10.0.0.1"]["gracefulRestartInfo"]["timers"];
            timers["receivedRestartTimer"] == seconds
        };
        fabric.tor.wait_for(&what, question, LIMIT, is).unwrap();
    };
    hears(120);
    peer(", restartTime: 3s");
    hears(3);
    let has_route = || {
        let route = fabric.tor.show("show bgp ipv4 unicast 192.0.2.0/32 json");
        route.is_ok_and(|route| route["paths"].is_array())
    };
    eventually("the route is there", LIMIT, has_route).unwrap();
    node.kill().unwrap();
    let gone = || !has_route();
    let start = Instant::now();
    eventually("the route is swept", LIMIT, gone).unwrap();
    let kept = start.elapsed();
    assert!(kept > Duration::from_secs(2), "kept for {kept:?}");
}
