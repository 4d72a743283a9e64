//! A node, or a process, that takes leave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::State;
use ironlb_model::Node;

use super::rig::{
    DRAIN_TAINT, GRACEFUL_SHUTDOWN, Rig, applied, excluded, link_to_peers, with_peers,
};
use super::router::Router;
use crate::Input;
use crate::fixtures::{key, node, peer, service, slice};
use crate::peers::PeerInput;

#[test]
fn an_excluded_node_says_that_it_leaves_and_then_withdraws_and_keeps_the_session() {
    leaves_and_comes_back(excluded());
}

#[test]
fn a_node_with_a_drain_taint_leaves_in_the_same_way() {
    let mut tainted = node("n1");
    tainted.taints = vec!["other".to_owned(), DRAIN_TAINT.to_owned()];
    leaves_and_comes_back(tainted);
}

fn leaves_and_comes_back(leaving: Node) {
    let mut asked = peer("tor");
    asked.graceful_restart = true;
    let mut rig = Rig::announcing(with_peers([asked]));
    rig.feed(Input::NodeApplied(leaving));
    assert!(!rig.speaker.would_leave_routes());
    rig.run(Duration::from_secs(4));
    assert_eq!(
        rig.router("tor").communities("192.0.2.1/32"),
        [GRACEFUL_SHUTDOWN]
    );
    rig.run(Duration::from_secs(2));
    assert!(rig.router("tor").prefixes().is_empty());
    assert_eq!(rig.router("tor").peer.state(), State::Established);
    rig.feed(Input::NodeApplied(node("n1")));
    rig.run(Duration::from_secs(1));
    assert!(rig.router("tor").communities("192.0.2.1/32").is_empty());
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);
}

#[test]
fn peers_of_which_leave_was_taken_are_reported_no_more() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(Input::NodeApplied(excluded()));
    rig.run(Duration::from_secs(4));
    assert_eq!(rig.reported(), BTreeSet::from(["tor".into()]));
    rig.run(Duration::from_secs(2));
    assert!(rig.reported().is_empty());
    rig.feed(Input::NodeApplied(node("n1")));
    assert_eq!(rig.reported(), BTreeSet::from(["tor".into()]));
}

#[test]
fn a_node_that_leaves_and_loses_its_network_withdraws_at_once() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(Input::NodeApplied(excluded()));
    rig.run(Duration::from_secs(1));
    let mut unreachable = excluded();
    unreachable.network_unavailable = true;
    rig.feed(Input::NodeApplied(unreachable));
    rig.run(Duration::from_millis(10));
    assert!(rig.router("tor").prefixes().is_empty());
}

#[test]
fn a_node_without_network_withdraws_at_once() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    let mut unreachable = node("n1");
    unreachable.network_unavailable = true;
    rig.feed(Input::NodeApplied(unreachable));
    rig.run(Duration::from_millis(10));
    assert!(rig.router("tor").prefixes().is_empty());
}

#[test]
fn a_process_that_ends_takes_leave_and_says_why() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(Input::Peer(PeerInput::Shutdown));
    rig.run(Duration::from_secs(4));
    assert_eq!(
        rig.router("tor").communities("192.0.2.1/32"),
        [GRACEFUL_SHUTDOWN]
    );
    assert!(!rig.is_finished());
    rig.run(Duration::from_secs(2));
    assert!(rig.is_finished());
    let last = rig.router("tor").peer.status().last_remote_error.unwrap();
    let told = last.cause.to_string();
    assert!(told.contains("node n1 stops announcing"), "{told}");
}

#[test]
fn a_process_without_peers_ends_at_once() {
    let mut rig = Rig::announcing(with_peers([]));
    rig.feed(Input::Peer(PeerInput::Shutdown));
    assert!(rig.is_finished());
}

#[test]
fn a_peer_that_keeps_routes_is_told_first_which_have_gone() {
    let mut restarting = peer("tor");
    restarting.graceful_restart = true;
    let mut rig = Rig::announcing(with_peers([restarting]));
    rig.feed(applied("db", "192.0.2.2"));
    rig.feed(Input::EndpointsApplied(slice("db", "db", &["n1"])));
    rig.run(Duration::from_secs(1));
    let before = rig.router("tor").updates;
    // The first goes out at once, the second together with what comes within ten milliseconds.
    for name in ["web", "db"] {
        rig.feed(Input::ServiceDeleted(key(name)));
    }
    rig.feed(Input::Peer(PeerInput::Shutdown));
    rig.run(Duration::from_millis(10));
    assert_eq!(rig.router("tor").updates - before, 2);
    assert!(rig.is_finished());
}

#[test]
fn a_peer_that_keeps_routes_and_reads_nothing_is_not_waited_for_without_end() {
    let mut restarting = peer("tor");
    restarting.graceful_restart = true;
    restarting.dual_stack = true;
    let mut rig = Rig::announcing(with_peers([restarting]));
    rig.stalled = true;
    // More than is written at once.
    let addresses: Vec<String> = (0..9_000)
        .map(|last| format!("2001:db8::{last:x}"))
        .collect();
    let addresses: Vec<&str> = addresses.iter().map(|address| &**address).collect();
    rig.feed(Input::ServiceApplied(Box::new(service("web", &addresses))));
    rig.run(Duration::from_secs(1));
    rig.feed(Input::Peer(PeerInput::Shutdown));
    rig.run(Duration::from_secs(4));
    assert!(!rig.is_finished());
    rig.run(Duration::from_secs(2));
    assert!(rig.is_finished());
}

#[test]
fn a_peer_that_was_asked_to_keeps_the_routes_of_a_process_that_ends() {
    let mut restarting = peer("tor");
    restarting.graceful_restart = true;
    let mut rig = Rig::announcing(with_peers([restarting]));
    assert!(rig.speaker.would_leave_routes());
    let before = rig.router("tor").updates;
    rig.feed(Input::Peer(PeerInput::Shutdown));
    assert!(rig.is_finished());
    assert_eq!(rig.router("tor").updates, before, "nothing is withdrawn");
}

#[test]
fn a_peer_that_cannot_keep_routes_is_taken_leave_of_although_it_was_asked_to() {
    let mut asked = peer("tor");
    asked.graceful_restart = true;
    let mut rig = Rig::new(&["tor"]);
    rig.routers.insert("tor".into(), Router::without_restart());
    rig.feed(Input::LinkApplied(link_to_peers()));
    rig.feed(Input::Config(Arc::new(with_peers([asked]))));
    rig.feed(Input::NodeApplied(node("n1")));
    rig.feed(applied("web", "192.0.2.1"));
    rig.feed(Input::EndpointsApplied(slice("web", "web", &["n1"])));
    rig.feed(Input::Synced);
    rig.run(Duration::from_secs(1));
    assert!(!rig.speaker.would_leave_routes());
    rig.feed(Input::Peer(PeerInput::Shutdown));
    rig.run(Duration::from_secs(4));
    assert!(!rig.is_finished());
    let communities = rig.router("tor").communities("192.0.2.1/32");
    assert_eq!(communities, [GRACEFUL_SHUTDOWN]);
}
