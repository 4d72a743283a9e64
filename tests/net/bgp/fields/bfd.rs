//! BFDProfile.

use std::time::{Duration, Instant};

use ironlb_lab::router::{ExaBgp, Frr, Router};
use ironlb_lab::{eventually_ok, holds_for, needs_the_lab};
use serde_json::Value;

use super::super::fabric::{Fabric, LIMIT};

const PEERS: &str = "show bfd peers json";

/// A node that FRR watches, where its profile has these lines and ours this specification.
fn watched(lines: &str, profile: &str) -> Fabric {
    let config = config(lines, "10.0.0.1", "");
    let fabric = Fabric::with("fields-bfd", 1, |tor, _| {
        Router::start(tor, Frr, &config).unwrap()
    });
    let spec = "peerASN: 64513, peerAddress: 10.0.0.254, bfdProfile: fast";
    fabric.peer("router", spec);
    fabric.bfd_profile("fast", profile);
    fabric
}

fn config(lines: &str, node: &str, extra: &str) -> String {
    format!(
        "bfd\n profile node\n  transmit-interval 100\n  receive-interval 100\n{lines} exit\nexit\nrouter bgp 64513\n \
         bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n neighbor {node} remote-as 64512\n{extra}\
         \x20neighbor {node} passive\n neighbor {node} bfd profile node\n"
    )
}

/// Waits until FRR says of its one BFD session what is expected.
fn session_is(fabric: &Fabric, what: &str, condition: impl Fn(&Value) -> bool) {
    let answer = fabric.tor.wait_for(what, PEERS, LIMIT, |peers| {
        peers.as_array().is_some_and(|all| all.len() == 1) && condition(&peers[0])
    });
    answer.unwrap();
}

fn is_up(session: &Value) -> bool {
    session["status"] == "up"
}

#[test]
fn frr_hears_the_intervals_and_the_multiplier_and_their_change() {
    needs_the_lab!();
    let profile = |transmit, receive, multiplier| {
        format!(
            "transmitInterval: {transmit}, receiveInterval: {receive}, detectMultiplier: {multiplier}"
        )
    };
    let fabric = watched("", &profile(120, 240, 5));
    let _node = fabric.start(1);
    let hears = |transmit: u64, receive: u64, multiplier: u64| {
        session_is(&fabric, "it hears our values", |session| {
            is_up(session)
                && session["remote-transmit-interval"] == transmit
                && session["remote-receive-interval"] == receive
                && session["remote-detect-multiplier"] == multiplier
        });
    };
    hears(120, 240, 5);
    fabric.bfd_profile("fast", &profile(150, 200, 7));
    hears(150, 200, 7);
}

#[test]
fn frr_hears_nothing_of_a_passive_node_until_it_begins() {
    needs_the_lab!();
    let fabric = watched("  passive-mode\n", "passiveMode: true");
    let node = fabric.start(1);
    node.wait_for_line("BGP session is up", LIMIT).unwrap();
    holds_for("nothing is heard", Duration::from_secs(3), || {
        let counters = fabric.tor.show("show bfd peers counters json");
        counters.is_ok_and(|all| all[0]["control-packet-input"] == 0)
    })
    .unwrap();
    fabric
        .tor
        .configure("bfd\n profile node\n  no passive-mode\n")
        .unwrap();
    session_is(&fabric, "it is up", is_up);
}

#[test]
fn frr_that_switches_bfd_off_keeps_its_session() {
    needs_the_lab!();
    // Of its own, not the session's: FRR says that one is down when it is taken away.
    let config = "bfd\n peer 10.0.0.1 interface eth0\n exit\nexit\nrouter bgp 64513\n bgp router-id 10.0.0.254\n \
                  no bgp ebgp-requires-policy\n neighbor 10.0.0.1 remote-as 64512\n neighbor 10.0.0.1 passive\n";
    let fabric = Fabric::new("fields-bfd", 1, config);
    let spec = "peerASN: 64513, peerAddress: 10.0.0.254, bfdProfile: fast";
    fabric.peer("router", spec);
    fabric.bfd_profile("fast", "");
    let node = fabric.start(1);
    node.wait_for_line("BGP session is up", LIMIT).unwrap();
    session_is(&fabric, "it is up", is_up);
    let off = "bfd\n peer 10.0.0.1 interface eth0\n  shutdown\n";
    fabric.tor.configure(off).unwrap();
    let line = node.wait_for_line("BFD session is down", LIMIT).unwrap();
    assert!(line.contains("neighbor is administratively down"), "{line}");
    holds_for("the session stays", Duration::from_secs(1), || {
        let answer = fabric.tor.show("show bgp neighbors 10.0.0.1 json");
        answer.is_ok_and(|answer| super::is_up(&answer["10.0.0.1"]))
    })
    .unwrap();
}

#[test]
fn exabgp_is_told_that_we_would_wait_for_bfd_where_that_is_asked_for() {
    needs_the_lab!();
    let config = "neighbor 10.0.0.1 {\n router-id 10.0.0.254;\n local-address 10.0.0.254;\n local-as 64513;\n peer-as 64512;\n \
                  passive;\n listen 179;\n family { ipv4 unicast; }\n api { processes [ seen ]; receive { parsed; open; } }\n}\n";
    let fabric = Fabric::with("fields-bfd", 1, |tor, _| {
        Router::start(tor, ExaBgp, config).unwrap()
    });
    fabric.bfd_profile("fast", "");
    // Another hold time makes another session.
    let peer = |strict: bool| {
        let hold_time = if strict { 30 } else { 90 };
        let place = "peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 1s";
        let spec =
            format!("{place}, holdTime: {hold_time}s, bfdProfile: fast, bfdStrict: {strict}");
        fabric.peer("router", &spec);
    };
    peer(false);
    let _node = fabric.start(1);
    for strict in [false, true] {
        peer(strict);
        let what = format!("an OPEN with strict {strict}");
        let said = |messages: &Value| {
            let messages = messages.as_array().into_iter().flatten();
            let mut opens = messages.map(|message| &message["neighbor"]["open"]);
            opens.any(|open| open.is_object() && open["capabilities"]["74"].is_object() == strict)
        };
        fabric.tor.wait_for(&what, "received", LIMIT, said).unwrap();
    }
}

#[test]
fn frr_s_kernel_returns_echo_packets_at_the_interval_asked_for() {
    needs_the_lab!();
    let profile = |echo: u32| format!("echoMode: true, echoInterval: {echo}");
    let fabric = watched("", &profile(400));
    let count = "table inet count { chain returned { type filter hook forward priority 0; udp dport 3785 counter; }; }";
    fabric.nft(count);
    let _node = fabric.start(1);
    session_is(&fabric, "it is up", is_up);
    let slow = ten_echo_packets(&fabric);
    fabric.bfd_profile("fast", &profile(50));
    let fast = ten_echo_packets(&fabric);
    println!("ten echo packets: {slow:?} at 400 ms, {fast:?} at 50 ms");
    // A quarter less by jitter.
    assert!(slow > Duration::from_millis(2_500), "{slow:?}");
    assert!(fast < Duration::from_secs(2), "{fast:?}");
}

/// How long ten more of them take, from the next one on.
fn ten_echo_packets(fabric: &Fabric) -> Duration {
    let more_than = |packets: u64| {
        eventually_ok("echo packets are forwarded", LIMIT, || {
            match echo_packets(fabric) {
                count if count > packets => Ok(count),
                count => Err(format!("{count} of {packets}")),
            }
        })
        .unwrap()
    };
    let first = more_than(echo_packets(fabric));
    let before = Instant::now();
    more_than(first + 9);
    before.elapsed()
}

fn echo_packets(fabric: &Fabric) -> u64 {
    let text = fabric.nft("list table inet count");
    let (_, after) = text.split_once("packets ").unwrap();
    let (packets, _) = after.split_once(' ').unwrap();
    packets.parse().unwrap()
}

#[test]
fn frr_s_packets_are_let_in_down_to_the_minimum_ttl() {
    needs_the_lab!();
    let config = config("", "10.0.0.1", " neighbor 10.0.0.1 ebgp-multihop 4\n");
    let fabric = Fabric::with("fields-bfd", 1, |_, far| {
        Router::start(far, Frr, &config).unwrap()
    });
    let spec = "peerASN: 64513, peerAddress: 10.1.0.100, ebgpMultiHop: true, bfdProfile: fast";
    fabric.peer("router", spec);
    fabric.bfd_profile("fast", "minimumTtl: 240");
    // Ten routers more than there are: 244 arrives.
    let farther = "table inet farther { chain sent { type filter hook output priority 0; udp dport 4784 ip ttl set 245; }; }";
    fabric.nft(farther);
    let _node = fabric.start(1);
    session_is(&fabric, "it is up", is_up);
    for (minimum, up) in [(245, false), (244, true)] {
        let profile = format!("minimumTtl: {minimum}");
        fabric.bfd_profile("fast", &profile);
        session_is(&fabric, &profile, |session| is_up(session) == up);
    }
}
