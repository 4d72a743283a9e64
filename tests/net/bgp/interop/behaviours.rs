//! What is to be so with every router. Each says itself what the router must have.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_lab::{Signal, holds_for};

use super::super::fabric::LIMIT;
use super::bench::{Bench, IPV4, IPV6, assert_external, assert_internal};
use super::dialect::Dialect;
use super::wanted::Wanted;

type On = &'static dyn Dialect;

pub(super) fn an_external_peer_learns_ipv4_over_ipv4(on: On) {
    let bench = Bench::external(on, "", "");
    assert_external(&bench.path(IPV4), "10.0.0.1");
    assert!(bench.session().is_up);
    bench.fabric.service("more", &[1], "");
    bench.path("192.0.2.1/32");
    bench.fabric.remove("more.yaml");
    bench.forgets("192.0.2.1/32");
    bench.path(IPV4);
}

pub(super) fn an_external_peer_learns_ipv6_over_ipv6(on: On) {
    let bench = Bench::new(on, Wanted::external().over_ipv6(), "", "");
    assert_external(&bench.path(IPV6), "fd00::1");
    bench.fabric.remove("web.yaml");
    bench.forgets(IPV6);
}

pub(super) fn an_internal_peer_learns_ipv4_over_ipv4(on: On) {
    let bench = Bench::internal(on, "", "localPref: 321");
    let path = bench.path(IPV4);
    assert_internal(&path, "10.0.0.1");
    assert_eq!(path.local_pref, Some(321));
}

pub(super) fn an_internal_peer_learns_ipv6_over_ipv6(on: On) {
    let bench = Bench::new(on, Wanted::internal().over_ipv6(), "", "localPref: 321");
    let path = bench.path(IPV6);
    assert_internal(&path, "fd00::1");
    assert_eq!(path.local_pref, Some(321));
}

pub(super) fn an_external_peer_learns_both_families_over_one_session(on: On) {
    let bench = Bench::new(
        on,
        Wanted::external().both(),
        "dualStackAddressFamily: true",
        "",
    );
    assert_external(&bench.path(IPV4), "10.0.0.1");
    assert_external(&bench.path(IPV6), "fd00::1");
}

pub(super) fn an_internal_peer_learns_both_families_over_one_session(on: On) {
    let bench = Bench::new(
        on,
        Wanted::internal().both(),
        "dualStackAddressFamily: true",
        "",
    );
    assert_internal(&bench.path(IPV4), "10.0.0.1");
    assert_internal(&bench.path(IPV6), "fd00::1");
}

pub(super) fn ipv4_goes_over_an_ipv6_next_hop(on: On) {
    let wanted = Wanted {
        extended_next_hop: true,
        ..Wanted::external().over_ipv6().both()
    };
    let bench = Bench::new(on, wanted, "dualStackAddressFamily: true", "");
    assert_external(&bench.path(IPV4), "fd00::1");
    assert_external(&bench.path(IPV6), "fd00::1");
}

pub(super) fn a_password_is_needed_and_enough(on: On) {
    let wanted = Wanted {
        password: Some("between-us"),
        ..Wanted::external()
    };
    let bench = Bench::new(on, wanted, "password: not-this-one", "");
    holds_for(
        "no session with the wrong password",
        Duration::from_millis(1500),
        || !bench.session().is_up,
    )
    .unwrap();
    bench.fabric.peer(
        "router",
        "peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 1s, password: between-us",
    );
    assert_external(&bench.path(IPV4), "10.0.0.1");
}

pub(super) fn a_peer_more_than_one_hop_away_is_reached(on: On) {
    let wanted = Wanted {
        router: "10.1.0.100",
        multihop: true,
        ..Wanted::external()
    };
    let bench = Bench::new(on, wanted, "ebgpMultiHop: true", "");
    assert_external(&bench.path(IPV4), "10.0.0.1");
}

pub(super) fn both_sides_insist_on_the_ttl_of_a_neighbour(on: On) {
    let wanted = Wanted {
        ttl_security: true,
        ..Wanted::external()
    };
    let bench = Bench::new(on, wanted, "ttlSecurityHops: 1", "");
    assert_external(&bench.path(IPV4), "10.0.0.1");
}

pub(super) fn communities_of_all_kinds_and_the_bandwidth_arrive(on: On) {
    let bench = Bench::external(
        on,
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
    assert_eq!(bench.path(IPV4).communities, expected);
}

pub(super) fn med_prepended_path_and_aggregate_arrive_and_change_in_place(on: On) {
    let bench = Bench::new(
        on,
        Wanted::external().both(),
        "dualStackAddressFamily: true",
        "med: 77, asPathPrepend: 2, aggregationLength: 28, aggregationLengthV6: 124",
    );
    for prefix in ["192.0.2.0/28", "2001:db8::/124"] {
        let path = bench.path(prefix);
        assert_eq!(path.med, Some(77));
        assert_eq!(path.as_path, [64_512, 64_512, 64_512]);
    }
    assert_eq!(bench.paths(IPV4), Ok(Vec::new()));
    bench
        .fabric
        .advertise("all", "med: 78, aggregationLength: 28");
    bench.learns("192.0.2.0/28", "changed", |path| {
        path.med == Some(78) && path.as_path == [64_512]
    });
    assert!(bench.session().is_up);
}

pub(super) fn the_peer_may_connect_to_us(on: On) {
    let wanted = Wanted {
        dials: true,
        ..Wanted::external()
    };
    let bench = Bench::new(on, wanted, "passiveMode: true", "");
    bench.dial();
    assert_external(&bench.path(IPV4), "10.0.0.1");
}

pub(super) fn as_numbers_of_four_octets_are_ours_and_theirs(on: On) {
    let wanted = Wanted {
        node_asn: 4_200_000_001,
        asn: 4_200_000_002,
        ..Wanted::external()
    };
    let bench = Bench::new(on, wanted, "", "");
    assert_eq!(bench.path(IPV4).as_path, [4_200_000_001]);
}

pub(super) fn a_peer_that_knows_two_octets_learns_the_whole_number_as_well(on: On) {
    let wanted = Wanted {
        node_asn: 4_200_000_001,
        old: true,
        ..Wanted::external()
    };
    let bench = Bench::with_asn(4_200_000_001, on, wanted, "", "");
    // From AS4_PATH.
    assert_eq!(bench.path(IPV4).as_path, [4_200_000_001]);
}

pub(super) fn extended_messages_are_agreed_on(on: On) {
    let bench = Bench::external(on, "", "");
    bench.path(IPV4);
    let all = bench.session().all.to_lowercase();
    // Of the router's own capabilities and of those that it received.
    let both = [
        "extended message",
        "extendedmessage\":\"advertisedandreceived",
    ];
    let agreed = all.matches(both[0]).count() >= 2 || all.contains(both[1]);
    assert!(agreed, "{all}");
}

pub(super) fn routes_are_sent_again_when_the_peer_asks(on: On) {
    let bench = Bench::external(on, "", "");
    bench.path(IPV4);
    let before = bench.session().updates;
    bench.refresh();
    bench.session_is("updates came again", |session| {
        session.is_up && session.updates > before
    });
    assert_external(&bench.path(IPV4), "10.0.0.1");
}

pub(super) fn another_as_number_is_shown_where_asked(on: On) {
    let wanted = Wanted {
        node_asn: 64_999,
        ..Wanted::external()
    };
    let bench = Bench::with_asn(64_512, on, wanted, "localASN: 64999", "");
    assert_eq!(bench.path(IPV4).as_path, [64_999]);
}

pub(super) fn any_external_as_number_will_do_where_asked(on: On) {
    let bench = Bench::external(on, "", "");
    bench.path(IPV4);
    let spec = "dynamicASN: external, peerAddress: 10.0.0.254, connectTime: 1s, holdTime: 30s";
    bench.fabric.peer("router", spec);
    bench.session_is("the session is up again", |session| {
        session.is_up && session.updates > 0
    });
    assert_external(&bench.path(IPV4), "10.0.0.1");
}

pub(super) fn a_peer_that_sends_more_than_it_may_is_told_so(on: On) {
    let wanted = Wanted {
        announced: &["198.51.100.0/26", "198.51.100.64/26", "198.51.100.128/26"],
        ..Wanted::external()
    };
    let bench = Bench::new(on, wanted, "maximumPrefixes: 2", "");
    bench.session_is("the peer knows why", |session| {
        let said = session.all.to_lowercase().replace(['_', ' ', '-'], "");
        !session.is_up && (said.contains("maximumnumberofprefixes") || said.contains("maxprefix"))
    });
}

pub(super) fn a_drained_peer_is_asked_to_go_elsewhere(on: On) {
    let bench = Bench::internal(on, "gracefulShutdown: true", "localPref: 200");
    let drained = |path: &super::seen::Path| path.communities.contains("graceful-shutdown");
    let path = bench.learns(IPV4, "is about to go", drained);
    assert_eq!(path.local_pref, Some(0));
    bench.fabric.peer(
        "router",
        "peerASN: 64512, peerAddress: 10.0.0.254, connectTime: 1s",
    );
    bench.learns(IPV4, "is back", |path| {
        !drained(path) && path.local_pref == Some(200)
    });
}

pub(super) fn a_node_that_stops_says_so_then_withdraws_and_gives_the_reason(on: On) {
    let bench = Bench::external(on, "drainTime: 3s", "");
    bench.path(IPV4);
    bench.node.signal(Signal::Terminate).unwrap();
    bench.learns(IPV4, "is about to go", |path| {
        path.communities.contains("graceful-shutdown")
    });
    bench.forgets(IPV4);
    bench.session_is("the reason is known", |session| {
        !session.is_up && session.all.contains("node n1 stops announcing")
    });
    bench.node.wait(LIMIT).unwrap();
}

pub(super) fn routes_outlive_a_restart_and_what_has_gone_meanwhile_goes_then(on: On) {
    let wanted = Wanted {
        graceful_restart: true,
        ..Wanted::external()
    };
    let bench = Bench::new(on, wanted, "enableGracefulRestart: true", "");
    bench.path(IPV4);
    bench.fabric.service("more", &[1], "");
    bench.path("192.0.2.1/32");
    bench.node.kill().unwrap();
    bench.session_is("the session is down", |session| !session.is_up);
    let has = |prefix| bench.paths(prefix).is_ok_and(|paths| paths.len() == 1);
    holds_for("routes are kept", Duration::from_secs(1), || {
        has(IPV4) && has("192.0.2.1/32")
    })
    .unwrap();
    bench.fabric.remove("more.yaml");
    let _again = bench.fabric.start(1);
    bench.session_is("the session is up", |session| session.is_up);
    // Far sooner than the restart time of 120 s: by End-of-RIB.
    bench.forgets("192.0.2.1/32");
    assert_external(&bench.path(IPV4), "10.0.0.1");
}

pub(super) fn a_neighbour_without_an_address_is_found_on_the_interface(on: On) {
    let wanted = Wanted {
        node: "eth0",
        dials: true,
        ..Wanted::external().both()
    };
    let bench = Bench::new(on, wanted, "", "");
    for prefix in [IPV4, IPV6] {
        let path = bench.path(prefix);
        assert!(
            path.next_hops.iter().any(|hop| hop.starts_with("fe80::")),
            "{path:?}"
        );
    }
}
