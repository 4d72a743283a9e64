//! Which routes arrive, and over what.

use super::super::bench::{Bench, FIRST, SECOND};
use super::super::wanted::Wanted;
use super::On;

pub(crate) fn routes_come_and_go(on: On, wanted: Wanted) {
    let bench = Bench::new(on, wanted, "", "localPref: 321");
    bench.learns_ordinary_routes();
    assert!(bench.session().is_up);
    for prefix in bench.of(FIRST) {
        let told = bench.path(prefix).local_pref == Some(321);
        assert_eq!(told, bench.wanted.is_internal());
    }
    bench.fabric.service("more", &[1], "");
    for prefix in bench.of(SECOND) {
        bench.path(prefix);
    }
    bench.fabric.remove("more.yaml");
    for prefix in bench.of(SECOND) {
        bench.forgets(prefix);
    }
    bench.learns_ordinary_routes();
}

pub(crate) fn ipv4_goes_over_an_ipv6_next_hop(on: On, wanted: Wanted) {
    let wanted = Wanted {
        extended_next_hop: true,
        ..wanted
    };
    Bench::new(on, wanted, "", "").learns_ordinary_routes();
}

pub(crate) fn a_neighbour_without_an_address_is_found_on_the_interface(on: On, wanted: Wanted) {
    let wanted = Wanted {
        node: "eth0",
        dials: true,
        extended_next_hop: true,
        ..wanted
    };
    let bench = Bench::new(on, wanted, "", "");
    for prefix in FIRST {
        let path = bench.path(prefix);
        assert!(
            path.next_hops.iter().any(|hop| hop.starts_with("fe80::")),
            "{path:?}"
        );
    }
}

pub(crate) fn as_numbers_of_four_octets_are_ours_and_theirs(on: On, wanted: Wanted) {
    let wanted = Wanted {
        node_asn: 4_200_000_001,
        asn: 4_200_000_002,
        ..wanted
    };
    Bench::new(on, wanted, "", "").learns_ordinary_routes();
}

pub(crate) fn a_peer_that_knows_two_octets_learns_the_whole_number_as_well(on: On, wanted: Wanted) {
    let wanted = Wanted {
        node_asn: 4_200_000_001,
        old: true,
        ..wanted
    };
    // From AS4_PATH.
    Bench::new(on, wanted, "", "").learns_ordinary_routes();
}

pub(crate) fn another_as_number_is_shown_where_asked(on: On, wanted: Wanted) {
    let wanted = Wanted {
        node_asn: 64_999,
        ..wanted
    };
    Bench::with_asn(64_512, on, wanted, "localASN: 64999", "").learns_ordinary_routes();
}

pub(crate) fn any_external_as_number_will_do_where_asked(on: On, wanted: Wanted) {
    let bench = Bench::new(on, wanted, "", "");
    bench.path(bench.first());
    // Another hold time makes another session.
    bench.change_peer("dynamicASN: external, holdTime: 30s");
    bench.session_is("the session is up again", |session| {
        session.is_up && session.updates > 0
    });
    bench.learns_ordinary_routes();
}

pub(crate) fn extended_messages_are_agreed_on(on: On, wanted: Wanted) {
    let bench = Bench::new(on, wanted, "", "");
    bench.path(bench.first());
    let all = bench.session().all.to_lowercase();
    // Of the router's own capabilities and of those that it received.
    let both = [
        "extended message",
        "extendedmessage\":\"advertisedandreceived",
    ];
    let agreed = all.matches(both[0]).count() >= 2 || all.contains(both[1]);
    assert!(agreed, "{all}");
}

pub(crate) fn routes_are_sent_again_when_the_peer_asks(on: On, wanted: Wanted) {
    let bench = Bench::new(on, wanted, "", "");
    bench.path(bench.first());
    let before = bench.session().updates;
    bench.refresh();
    bench.session_is("updates came again", |session| {
        session.is_up && session.updates > before
    });
    bench.learns_ordinary_routes();
}
