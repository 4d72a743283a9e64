//! Every behaviour with every router that has it. What is asserted is what the router itself says.
//!
//! The table of docs/interoperability.md is that of [`MATRIX`]. With `IRONLB_INTEROP_TABLE` set, the file is written anew, from what
//! was proved by the last run of each test.

use std::fs;
use std::path::PathBuf;

use dialect::{BIRD, Dialect, EXABGP, FRR, GOBGP, OPENBGPD};

mod behaviours;
mod bench;
mod dialect;
mod seen;
mod table;
mod wanted;

/// A row of the table: what is proved, with which routers, and why not with the others.
struct Row {
    name: &'static str,
    proved: &'static [&'static str],
    lacking: &'static [(&'static str, &'static str)],
}

/// A module for each behaviour, in it a test for each router.
macro_rules! behaviours {
    ($($name:ident: $($on:ident)* $(, $not:ident $why:literal)*;)+) => {
        $(mod $name {
            $(#[test]
            #[allow(non_snake_case, reason = "the names of the routers")]
            fn $on() {
                ironlb_lab::needs_the_lab!();
                super::prove(stringify!($name), stringify!($on), super::$on, super::behaviours::$name);
            })*
        })+
        static MATRIX: &[Row] = &[$(Row {
            name: stringify!($name),
            proved: &[$(stringify!($on)),*],
            lacking: &[$((stringify!($not), $why)),*],
        }),+];
    };
}

behaviours! {
    an_external_peer_learns_ipv4_over_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    an_external_peer_learns_ipv6_over_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
    an_external_peer_learns_both_families_over_one_session: FRR BIRD GOBGP OPENBGPD EXABGP;
    an_internal_peer_learns_ipv4_over_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    an_internal_peer_learns_ipv6_over_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
    an_internal_peer_learns_both_families_over_one_session: FRR BIRD GOBGP OPENBGPD EXABGP;
    ipv4_goes_over_an_ipv6_next_hop: FRR BIRD GOBGP EXABGP, OPENBGPD "no RFC 8950";
    a_neighbour_without_an_address_is_found_on_the_interface: FRR, BIRD "not tested", GOBGP "not tested", OPENBGPD "not tested", EXABGP "not tested";
    a_password_is_needed_and_enough: FRR BIRD GOBGP EXABGP, OPENBGPD "open";
    a_peer_more_than_one_hop_away_is_reached: FRR BIRD GOBGP OPENBGPD EXABGP;
    both_sides_insist_on_the_ttl_of_a_neighbour: FRR BIRD GOBGP OPENBGPD EXABGP;
    the_peer_may_connect_to_us: FRR BIRD GOBGP OPENBGPD EXABGP;
    as_numbers_of_four_octets_are_ours_and_theirs: FRR BIRD GOBGP OPENBGPD EXABGP;
    a_peer_that_knows_two_octets_learns_the_whole_number_as_well: OPENBGPD EXABGP, FRR "does not read AS4_PATH then", BIRD "takes no peer with four octets then", GOBGP "not tested";
    another_as_number_is_shown_where_asked: FRR BIRD GOBGP OPENBGPD EXABGP;
    any_external_as_number_will_do_where_asked: FRR BIRD GOBGP OPENBGPD EXABGP;
    communities_of_all_kinds_and_the_bandwidth_arrive: FRR BIRD GOBGP OPENBGPD EXABGP;
    med_prepended_path_and_aggregate_arrive_and_change_in_place: FRR BIRD GOBGP OPENBGPD EXABGP;
    extended_messages_are_agreed_on: FRR BIRD EXABGP, GOBGP "not tested", OPENBGPD "no RFC 8654";
    routes_are_sent_again_when_the_peer_asks: FRR BIRD OPENBGPD, GOBGP "not tested", EXABGP "not tested";
    a_peer_that_sends_more_than_it_may_is_told_so: FRR BIRD GOBGP OPENBGPD, EXABGP "open";
    a_drained_peer_is_asked_to_go_elsewhere: FRR BIRD GOBGP OPENBGPD EXABGP;
    a_node_that_stops_says_so_then_withdraws_and_gives_the_reason: FRR BIRD GOBGP OPENBGPD, EXABGP "open";
    routes_outlive_a_restart_and_what_has_gone_meanwhile_goes_then: FRR BIRD GOBGP OPENBGPD, EXABGP "no table";
}

/// Runs a test, and notes that it passed.
fn prove(name: &str, router: &str, on: &'static dyn Dialect, test: fn(&'static dyn Dialect)) {
    let record = record(name, router);
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&record);
    test(on);
    fs::write(&record, "").unwrap();
}

fn record(name: &str, router: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("interoperability")
        .join(name)
        .join(router)
}
