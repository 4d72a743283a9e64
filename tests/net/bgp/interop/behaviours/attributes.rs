//! What a route says.

use std::collections::BTreeSet;

use super::super::bench::{Bench, FIRST};
use super::super::seen::Path;
use super::super::wanted::Wanted;
use super::On;

pub(crate) fn communities_of_all_kinds_and_the_bandwidth_arrive(on: On, wanted: Wanted) {
    let bench = Bench::new(
        on,
        wanted,
        "",
        "communities: ['65000:1', no-export, 'large:4200000000:1:2'], \
         extendedCommunities: ['rt:65000:1', 'soo:192.0.2.1:7'], linkBandwidth: {perEndpoint: 400}",
    );
    let expected = [
        "65000:1",
        "no-export",
        "large:4200000000:1:2",
        "rt:65000:1",
        "soo:192.0.2.1:7",
        "lb:64512:50000000",
    ];
    let expected: BTreeSet<String> = expected.map(str::to_owned).into();
    assert_eq!(bench.path(bench.first()).communities, expected);
}

pub(crate) fn med_prepended_path_and_aggregate_arrive_and_change_in_place(on: On, wanted: Wanted) {
    let bench = Bench::new(
        on,
        wanted,
        "",
        "med: 77, asPathPrepend: 2, aggregationLength: 28, aggregationLengthV6: 124",
    );
    let is = |path: &Path, med, times| {
        let times = if bench.wanted.is_internal() { 0 } else { times };
        path.med == Some(med) && path.as_path == vec![bench.wanted.node_asn; times]
    };
    let aggregates = bench.of(["192.0.2.0/28", "2001:db8::/124"]);
    for prefix in &aggregates {
        bench.learns(prefix, "is as asked", |path| is(path, 77, 3));
    }
    for prefix in FIRST {
        assert_eq!(bench.paths(prefix), Ok(Vec::new()));
    }
    let changed = "med: 78, aggregationLength: 28, aggregationLengthV6: 124";
    bench.fabric.advertise("all", changed);
    for prefix in &aggregates {
        bench.learns(prefix, "is changed", |path| is(path, 78, 1));
    }
    assert!(bench.session().is_up);
}

pub(crate) fn a_drained_peer_is_asked_to_go_elsewhere(on: On, wanted: Wanted) {
    let bench = Bench::new(on, wanted, "gracefulShutdown: true", "localPref: 200");
    let drained = |path: &Path| path.communities.contains("graceful-shutdown");
    let preference =
        |path: &Path, value| !bench.wanted.is_internal() || path.local_pref == Some(value);
    bench.learns(bench.first(), "is about to go", |path| {
        drained(path) && preference(path, 0)
    });
    bench.change_peer(&format!("peerASN: {}", bench.wanted.asn));
    bench.learns(bench.first(), "is back", |path| {
        !drained(path) && preference(path, 200)
    });
}
