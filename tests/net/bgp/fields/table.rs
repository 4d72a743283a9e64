//! Each field of the CRDs with the test in which a router shows what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::process::Command;

use ironlb_config::crd;
use serde_json::Value;

const KINDS: [&str; 4] = ["BGPPeer", "BGPAdvertisement", "BFDProfile", "Community"];

/// A field, and the test, or the behaviour in `interop` that is tested with every router, each from `bgp` on.
const PROVED: &[(&str, &str)] = &[
    (
        "BFDProfile.detectMultiplier",
        "fields::bfd::frr_hears_the_intervals_and_the_multiplier_and_their_change",
    ),
    (
        "BFDProfile.echoInterval",
        "fields::bfd::frr_s_kernel_returns_echo_packets_at_the_interval_asked_for",
    ),
    (
        "BFDProfile.echoMode",
        "fields::bfd::frr_s_kernel_returns_echo_packets_at_the_interval_asked_for",
    ),
    (
        "BFDProfile.minimumTtl",
        "fields::bfd::frr_s_packets_are_let_in_down_to_the_minimum_ttl",
    ),
    (
        "BFDProfile.passiveMode",
        "fields::bfd::frr_hears_nothing_of_a_passive_node_until_it_begins",
    ),
    (
        "BFDProfile.receiveInterval",
        "fields::bfd::frr_hears_the_intervals_and_the_multiplier_and_their_change",
    ),
    (
        "BFDProfile.transmitInterval",
        "fields::bfd::frr_hears_the_intervals_and_the_multiplier_and_their_change",
    ),
    (
        "BGPAdvertisement.aggregationLength",
        "interop::med_prepended_path_and_aggregate_arrive_and_change_in_place",
    ),
    (
        "BGPAdvertisement.aggregationLengthV6",
        "interop::med_prepended_path_and_aggregate_arrive_and_change_in_place",
    ),
    (
        "BGPAdvertisement.asPathPrepend",
        "interop::med_prepended_path_and_aggregate_arrive_and_change_in_place",
    ),
    (
        "BGPAdvertisement.communities",
        "interop::communities_of_all_kinds_and_the_bandwidth_arrive",
    ),
    (
        "BGPAdvertisement.extendedCommunities",
        "interop::communities_of_all_kinds_and_the_bandwidth_arrive",
    ),
    (
        "BGPAdvertisement.ipAddressPoolSelectors",
        "fields::advertisements::frr_gets_what_the_pools_the_services_the_nodes_and_the_peers_say",
    ),
    (
        "BGPAdvertisement.ipAddressPools",
        "fields::advertisements::frr_gets_what_the_pools_the_services_the_nodes_and_the_peers_say",
    ),
    (
        "BGPAdvertisement.linkBandwidth.perEndpoint",
        "interop::communities_of_all_kinds_and_the_bandwidth_arrive",
    ),
    ("BGPAdvertisement.localPref", "interop::routes_come_and_go"),
    (
        "BGPAdvertisement.med",
        "interop::med_prepended_path_and_aggregate_arrive_and_change_in_place",
    ),
    (
        "BGPAdvertisement.nextHop",
        "fields::advertisements::frr_sees_the_next_hops_that_are_asked_for",
    ),
    (
        "BGPAdvertisement.nextHopV6",
        "fields::advertisements::frr_sees_the_next_hops_that_are_asked_for",
    ),
    (
        "BGPAdvertisement.nodeSelectors",
        "fields::advertisements::frr_gets_what_the_pools_the_services_the_nodes_and_the_peers_say",
    ),
    (
        "BGPAdvertisement.peers",
        "fields::advertisements::frr_gets_what_the_pools_the_services_the_nodes_and_the_peers_say",
    ),
    (
        "BGPAdvertisement.serviceSelectors",
        "fields::advertisements::frr_gets_what_the_pools_the_services_the_nodes_and_the_peers_say",
    ),
    (
        "BGPPeer.bfdProfile",
        "interop::bfd_that_goes_down_ends_the_session_at_once",
    ),
    (
        "BGPPeer.bfdStrict",
        "fields::bfd::exabgp_is_told_that_we_would_wait_for_bfd_where_that_is_asked_for",
    ),
    (
        "BGPPeer.connectTime",
        "fields::peers::frr_that_comes_late_is_tried_again_after_the_connect_time",
    ),
    (
        "BGPPeer.disableMP",
        "fields::peers::frr_gets_routes_in_spite_of_disable_mp",
    ),
    (
        "BGPPeer.drainTime",
        "fields::peers::frr_has_the_routes_of_nodes_that_leave_for_as_long_as_each_drains",
    ),
    (
        "BGPPeer.dualStackAddressFamily",
        "interop::routes_come_and_go",
    ),
    (
        "BGPPeer.dynamicASN",
        "fields::peers::bird_of_an_as_that_is_not_allowed_is_told_so",
    ),
    (
        "BGPPeer.ebgpMultiHop",
        "interop::a_peer_more_than_one_hop_away_is_reached",
    ),
    (
        "BGPPeer.enableGracefulRestart",
        "interop::routes_outlive_a_restart_and_what_has_gone_meanwhile_goes_then",
    ),
    (
        "BGPPeer.gracefulShutdown",
        "interop::a_drained_peer_is_asked_to_go_elsewhere",
    ),
    (
        "BGPPeer.holdTime",
        "fields::peers::frr_sees_the_identifier_the_hold_time_and_a_keepalive_each_second",
    ),
    (
        "BGPPeer.interface",
        "interop::a_neighbour_without_an_address_is_found_on_the_interface",
    ),
    (
        "BGPPeer.keepaliveTime",
        "fields::peers::frr_sees_the_identifier_the_hold_time_and_a_keepalive_each_second",
    ),
    (
        "BGPPeer.listenPort",
        "fields::peers::bird_connects_to_the_port_that_is_listened_on",
    ),
    (
        "BGPPeer.localASN",
        "interop::another_as_number_is_shown_where_asked",
    ),
    (
        "BGPPeer.maximumPrefixes",
        "interop::a_peer_that_sends_more_than_it_may_is_told_so",
    ),
    (
        "BGPPeer.myASN",
        "interop::as_numbers_of_four_octets_are_ours_and_theirs",
    ),
    (
        "BGPPeer.nodeSelectors",
        "fields::peers::frr_has_only_the_nodes_that_are_selected",
    ),
    (
        "BGPPeer.passiveMode",
        "fields::peers::frr_that_only_waits_hears_of_a_passive_node_when_it_is_passive_no_more",
    ),
    (
        "BGPPeer.password",
        "interop::a_password_is_needed_and_enough",
    ),
    ("BGPPeer.passwordSecret.name", IN_A_CLUSTER),
    ("BGPPeer.passwordSecret.namespace", IN_A_CLUSTER),
    (
        "BGPPeer.peerASN",
        "fields::peers::bird_of_an_as_that_is_not_allowed_is_told_so",
    ),
    ("BGPPeer.peerAddress", "interop::routes_come_and_go"),
    (
        "BGPPeer.peerPort",
        "fields::peers::bird_on_another_port_is_connected_to",
    ),
    (
        "BGPPeer.restartTime",
        "restart_time::a_router_keeps_routes_for_as_long_as_it_is_asked_to_and_no_longer",
    ),
    (
        "BGPPeer.routerID",
        "fields::peers::frr_sees_the_identifier_the_hold_time_and_a_keepalive_each_second",
    ),
    (
        "BGPPeer.sourceAddress",
        "fields::peers::frr_is_connected_to_from_the_source_address",
    ),
    (
        "BGPPeer.ttlSecurityHops",
        "fields::peers::frr_is_let_in_from_as_many_hops_as_is_said",
    ),
    ("BGPPeer.vrf", "fields::peers::frr_is_reached_in_a_vrf"),
    (
        "Community.communities.name",
        "fields::advertisements::frr_sees_the_values_of_names_for_communities",
    ),
    (
        "Community.communities.value",
        "fields::advertisements::frr_sees_the_values_of_names_for_communities",
    ),
];

/// There are Secrets in clusters only. That a namespace is written there has no effect.
const IN_A_CLUSTER: &str =
    "a_client_behind_a_router_is_served_over_equal_paths_and_local_ones_where_the_endpoints_are";

#[test]
fn every_field_has_a_test_that_sees_its_effect_on_a_router() {
    let mut fields = BTreeSet::new();
    for definition in crd::all().unwrap() {
        let definition = serde_json::to_value(definition).unwrap();
        let kind = definition["spec"]["names"]["kind"].as_str().unwrap();
        if KINDS.contains(&kind) {
            for version in definition["spec"]["versions"].as_array().unwrap() {
                let schema = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
                collect(schema, kind, &mut fields);
            }
        }
    }
    let proved: BTreeMap<&str, &str> = PROVED.iter().copied().collect();
    let named: BTreeSet<String> = proved.keys().map(|&field| field.to_owned()).collect();
    assert_eq!(named, fields, "the fields of PROVED and those of the CRDs");
    let tests = tests_here();
    for (field, test) in proved {
        let there = match test {
            IN_A_CLUSTER => include_str!("../../../kube/bgp.rs").contains(&format!("fn {test}()")),
            _ => tests.iter().any(|name| {
                let rest = name.strip_prefix(&format!("bgp::{test}"));
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
            }),
        };
        assert!(there, "{field}: there is no test {test}");
    }
}

/// The fields that a manifest can set by themselves. A selector is one.
fn collect(schema: &Value, path: &str, fields: &mut BTreeSet<String>) {
    let schema = if schema["items"].is_object() {
        &schema["items"]
    } else {
        schema
    };
    match schema["properties"].as_object() {
        Some(properties) if !properties.contains_key("matchLabels") => {
            for (name, inner) in properties {
                collect(inner, &format!("{path}.{name}"), fields);
            }
        }
        _ => {
            fields.insert(path.to_owned());
        }
    }
}

/// The names of the tests of this program.
fn tests_here() -> Vec<String> {
    let mut command = Command::new(env::current_exe().unwrap());
    let output = command.args(["--list", "--format", "terse"]).output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    let tests = text.lines().filter_map(|line| line.strip_suffix(": test"));
    tests.map(str::to_owned).collect()
}
