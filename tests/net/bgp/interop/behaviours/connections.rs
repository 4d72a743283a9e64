//! How the connection is made, and what is let in.

use std::time::Duration;

use ironlb_lab::holds_for;

use super::super::bench::Bench;
use super::super::wanted::Wanted;
use super::On;

pub(crate) fn a_password_is_needed_and_enough(on: On, wanted: Wanted) {
    let wanted = Wanted {
        password: Some("between-us"),
        ..wanted
    };
    let bench = Bench::new(on, wanted, "password: not-this-one", "");
    takes_the_password(&bench, "password: between-us");
    bench.learns_ordinary_routes();
}

pub(crate) fn a_peer_that_connects_to_us_needs_the_password(on: On, wanted: Wanted) {
    let wanted = Wanted {
        password: Some("between-us"),
        dials: true,
        ..wanted
    };
    let bench = Bench::new(on, wanted, "passiveMode: true, password: not-this-one", "");
    takes_the_password(&bench, "passiveMode: true, password: between-us");
    bench.dial();
    bench.learns_ordinary_routes();
}

/// There is no session until the peer is changed to the right password.
fn takes_the_password(bench: &Bench, right: &str) {
    let without = "no session with the wrong password";
    let is_down = || !bench.session().is_up;
    holds_for(without, Duration::from_millis(1500), is_down).unwrap();
    bench.change_peer(&format!("peerASN: {}, {right}", bench.wanted.asn));
}

pub(crate) fn a_peer_more_than_one_hop_away_is_reached(on: On, wanted: Wanted) {
    // An internal peer may be anywhere as it is.
    let peer = match wanted.is_internal() {
        true => "",
        false => "ebgpMultiHop: true",
    };
    Bench::new(on, wanted.far(), peer, "").learns_ordinary_routes();
}

pub(crate) fn both_sides_insist_on_the_ttl_of_a_neighbour(on: On, wanted: Wanted) {
    let wanted = Wanted {
        ttl_security: true,
        ..wanted
    };
    Bench::new(on, wanted, "ttlSecurityHops: 1", "").learns_ordinary_routes();
}

pub(crate) fn the_peer_may_connect_to_us(on: On, wanted: Wanted) {
    let wanted = Wanted {
        dials: true,
        ..wanted
    };
    let bench = Bench::new(on, wanted, "passiveMode: true", "");
    bench.dial();
    bench.learns_ordinary_routes();
}
