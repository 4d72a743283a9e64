//! How a session ends, and what becomes of its routes.

use std::time::{Duration, Instant};

use ironlb_lab::{Signal, holds_for};

use super::super::super::fabric::LIMIT;
use super::super::bench::{Bench, FIRST, SECOND};
use super::super::wanted::Wanted;
use super::On;

pub(crate) fn a_peer_that_sends_more_than_it_may_is_told_so(on: On, wanted: Wanted) {
    let announced: &[&str] = match wanted.is_over_ipv6() {
        true => &["2001:db8:1::/48", "2001:db8:2::/48", "2001:db8:3::/48"],
        false => &["198.51.100.0/26", "198.51.100.64/26", "198.51.100.128/26"],
    };
    let wanted = Wanted {
        announced,
        ..wanted
    };
    let bench = Bench::new(on, wanted, "maximumPrefixes: 2", "");
    bench.session_is("the peer knows why", |session| {
        let said = session.all.to_lowercase().replace(['_', ' ', '-'], "");
        !session.is_up && (said.contains("maximumnumberofprefixes") || said.contains("maxprefix"))
    });
}

pub(crate) fn a_node_that_stops_says_so_then_withdraws_and_gives_the_reason(
    on: On,
    wanted: Wanted,
) {
    let bench = Bench::new(on, wanted, "drainTime: 6s", "");
    bench.path(bench.first());
    let begun = Instant::now();
    bench.node.signal(Signal::Terminate).unwrap();
    bench.learns(bench.first(), "is about to go", |path| {
        path.communities.contains("graceful-shutdown")
    });
    bench.forgets(bench.first());
    let drained = begun.elapsed();
    assert!(drained > Duration::from_secs(5), "{drained:?}");
    bench.session_is("the reason is known", |session| {
        !session.is_up && session.all.contains("node n1 stops announcing")
    });
    bench.node.wait(LIMIT).unwrap();
}

pub(crate) fn routes_outlive_a_restart_and_what_has_gone_meanwhile_goes_then(
    on: On,
    wanted: Wanted,
) {
    let wanted = Wanted {
        graceful_restart: true,
        ..wanted
    };
    let bench = Bench::new(on, wanted, "enableGracefulRestart: true", "");
    // Who comes first has the first addresses.
    bench.learns_ordinary_routes();
    let (first, second) = (bench.of(FIRST), bench.of(SECOND));
    bench.fabric.service("more", &[1], "");
    let all: Vec<&str> = first.into_iter().chain(second.clone()).collect();
    for prefix in &all {
        bench.path(prefix);
    }
    bench.node.kill().unwrap();
    bench.session_is("the session is down", |session| !session.is_up);
    let has = |prefix: &&str| bench.paths(prefix).is_ok_and(|paths| paths.len() == 1);
    holds_for("routes are kept", Duration::from_secs(1), || {
        all.iter().all(has)
    })
    .unwrap();
    bench.fabric.remove("more.yaml");
    let _again = bench.fabric.start(1);
    bench.session_is("the session is up", |session| session.is_up);
    // Far sooner than the restart time of 120 s: by End-of-RIB.
    for prefix in second {
        bench.forgets(prefix);
    }
    bench.learns_ordinary_routes();
}
