//! Every behaviour with every router that has it. What is asserted is what the router itself says.
//!
//! The table of docs/interoperability.md is that of [`MATRIX`]. With `IRONLB_INTEROP_TABLE` set, the file is written anew, from what
//! was proved by the last run of each test.

use std::fs;
use std::path::PathBuf;

use dialect::{BIRD, EXABGP, FRR, GOBGP, OPENBGPD};
use wanted::Wanted;

mod behaviours;
mod bench;
mod dialect;
mod seen;
mod table;
mod wanted;

/// A row of the table: what is proved over which session, with which routers, and why not with the others.
struct Row {
    name: &'static str,
    session: &'static str,
    proved: &'static [&'static str],
    lacking: &'static [(&'static str, &'static str)],
}

/// A module for each behaviour, in it one for each session, in it a test for each router.
macro_rules! behaviours {
    ($($name:ident { $($session:ident: $($on:ident)* $(, $not:ident $why:literal)*;)+ })+) => {
        $(mod $name {
            $(mod $session {
                use super::super::{Wanted, behaviours, prove};

                $(#[test]
                #[allow(non_snake_case, reason = "the names of the routers")]
                fn $on() {
                    ironlb_lab::needs_the_lab!();
                    let test = || behaviours::$name(super::super::$on, Wanted::$session());
                    prove(stringify!($name), stringify!($session), stringify!($on), test);
                })*
            })+
        })+
        static MATRIX: &[Row] = &[$($(Row {
            name: stringify!($name),
            session: stringify!($session),
            proved: &[$(stringify!($on)),*],
            lacking: &[$((stringify!($not), $why)),*],
        }),+),+];
    };
}

behaviours! {
    routes_come_and_go {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_both_over_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_both_over_ipv6: FRR BIRD OPENBGPD EXABGP, GOBGP "always takes IPv6 next hops";
        internal_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        internal_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
        internal_both_over_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    ipv4_goes_over_an_ipv6_next_hop {
        external_both_over_ipv6: FRR BIRD GOBGP EXABGP, OPENBGPD "no RFC 8950";
        internal_both_over_ipv6: FRR BIRD GOBGP EXABGP, OPENBGPD "no RFC 8950";
    }
    a_neighbour_without_an_address_is_found_on_the_interface {
        external_both_over_ipv6: FRR BIRD, GOBGP "no router advertisements", OPENBGPD "no router advertisements", EXABGP "no router advertisements";
    }
    a_password_is_needed_and_enough {
        external_ipv4: FRR BIRD GOBGP EXABGP, OPENBGPD "sets no key where it listens";
        external_ipv6: FRR BIRD GOBGP EXABGP, OPENBGPD "sets no key where it listens";
    }
    a_peer_that_connects_to_us_needs_the_password {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    a_peer_more_than_one_hop_away_is_reached {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
        internal_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    both_sides_insist_on_the_ttl_of_a_neighbour {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_ipv6: FRR BIRD GOBGP OPENBGPD, EXABGP "answers with another TTL";
    }
    the_peer_may_connect_to_us {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    as_numbers_of_four_octets_are_ours_and_theirs {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    a_peer_that_knows_two_octets_learns_the_whole_number_as_well {
        external_ipv4: OPENBGPD EXABGP, FRR "does not read AS4_PATH then", BIRD "takes no peer with four octets then", GOBGP "always knows four";
    }
    another_as_number_is_shown_where_asked {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    any_external_as_number_will_do_where_asked {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    communities_of_all_kinds_and_the_bandwidth_arrive {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        internal_ipv6: FRR BIRD GOBGP EXABGP, OPENBGPD "does not show the bandwidth";
    }
    med_prepended_path_and_aggregate_arrive_and_change_in_place {
        external_both_over_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        internal_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    extended_messages_are_agreed_on {
        external_ipv4: FRR BIRD EXABGP, GOBGP "no RFC 8654", OPENBGPD "no RFC 8654";
    }
    routes_are_sent_again_when_the_peer_asks {
        external_both_over_ipv4: FRR BIRD OPENBGPD EXABGP, GOBGP "never asks";
    }
    a_peer_that_sends_more_than_it_may_is_told_so {
        external_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
        external_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    a_drained_peer_is_asked_to_go_elsewhere {
        external_ipv6: FRR BIRD GOBGP OPENBGPD EXABGP;
        internal_ipv4: FRR BIRD GOBGP OPENBGPD EXABGP;
    }
    a_node_that_stops_says_so_then_withdraws_and_gives_the_reason {
        external_ipv4: FRR BIRD GOBGP OPENBGPD, EXABGP "fails when it reads the text";
        internal_ipv6: FRR BIRD GOBGP OPENBGPD, EXABGP "fails when it reads the text";
    }
    routes_outlive_a_restart_and_what_has_gone_meanwhile_goes_then {
        external_both_over_ipv4: FRR BIRD GOBGP OPENBGPD, EXABGP "no table";
        internal_ipv6: FRR BIRD GOBGP OPENBGPD, EXABGP "no table";
    }
    bfd_that_goes_down_ends_the_session_at_once {
        external_ipv4: FRR BIRD, GOBGP "no BFD", OPENBGPD "no BFD", EXABGP "no BFD";
        external_ipv6: FRR BIRD, GOBGP "no BFD", OPENBGPD "no BFD", EXABGP "no BFD";
    }
    bfd_over_several_hops_ends_the_session_at_once {
        external_ipv6: FRR BIRD, GOBGP "no BFD", OPENBGPD "no BFD", EXABGP "no BFD";
        internal_ipv4: FRR BIRD, GOBGP "no BFD", OPENBGPD "no BFD", EXABGP "no BFD";
    }
}

/// Runs a test, and notes that it passed.
fn prove(name: &str, session: &str, router: &str, test: impl FnOnce()) {
    let record = record(name, session, router);
    fs::create_dir_all(record.parent().unwrap()).unwrap();
    let _ = fs::remove_file(&record);
    test();
    fs::write(&record, "").unwrap();
}

fn record(name: &str, session: &str, router: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("interoperability")
        .join(name)
        .join(session)
        .join(router)
}
