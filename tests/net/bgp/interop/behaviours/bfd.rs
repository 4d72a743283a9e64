//! What BFD makes of a session.

use std::time::{Duration, Instant};

use super::super::super::fabric::LIMIT;
use super::super::bench::Bench;
use super::super::wanted::Wanted;
use super::On;

pub(crate) fn bfd_that_goes_down_ends_the_session_at_once(on: On, wanted: Wanted) {
    loses_bfd(&watched(on, wanted, ""));
}

pub(crate) fn bfd_over_several_hops_ends_the_session_at_once(on: On, wanted: Wanted) {
    let peer = match wanted.is_internal() {
        true => "",
        false => "ebgpMultiHop: true",
    };
    loses_bfd(&watched(on, wanted.far(), peer));
}

/// A session that is up, and BFD with it.
fn watched(on: On, wanted: Wanted, peer: &str) -> Bench {
    let wanted = Wanted {
        bfd: true,
        ..wanted
    };
    let peer = format!("bfdProfile: fast, {peer}");
    let bench = Bench::new(on, wanted, &peer, "");
    bench.learns_ordinary_routes();
    bench
        .node
        .wait_for_line("BFD session is up", LIMIT)
        .unwrap();
    bench
}

/// The router's BFD packets are lost, and nothing else.
fn loses_bfd(bench: &Bench) {
    let drop = "table inet mute { chain sent { type filter hook output priority 0; udp dport { 3784, 4784 } drop; }; }";
    bench.fabric.nft(drop);
    let before = Instant::now();
    let end = "closed by us (BFD down)";
    println!("{}", bench.node.wait_for_line(end, LIMIT).unwrap());
    let after = before.elapsed();
    println!("closed {after:?} after the last packet, at 100 ms x 3");
    // Three seconds at the rate at which a session begins. The hold time is 90 s.
    assert!(after < Duration::from_secs(4), "{after:?}");
    bench.session_is("the session is down", |session| !session.is_up);
    bench.forgets(bench.first());
    bench.fabric.nft("delete table inet mute");
    bench.learns_ordinary_routes();
}
