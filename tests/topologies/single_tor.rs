//! A rack behind one router.

use ironlb_lab::needs_the_lab;

use super::fabric::{ALL, Fabric, IPV4, IPV6};

const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers: ''";

/// The rack, once all nodes serve.
fn rack() -> Fabric {
    let fabric = Fabric::deploy("single-tor");
    fabric.wait_for_paths("tor", IPV4, 3);
    fabric.wait_for_paths("tor", IPV6, 3);
    fabric.wait_for_flows_to(IPV4, &ALL);
    fabric
}

#[test]
fn flows_are_divided_among_the_nodes_by_both_families() {
    needs_the_lab!();
    rack().wait_for_flows_to(IPV6, &ALL);
}

#[test]
fn flows_of_a_node_whose_cable_is_pulled_go_elsewhere_within_the_detection_time() {
    needs_the_lab!();
    let fabric = rack();
    fabric.wait_for_bfd("tor");
    fabric.lose_and_find_n2("tor", &[IPV4, IPV6]);
}

#[test]
fn flows_of_a_node_whose_speaker_is_killed_go_elsewhere_and_come_back() {
    needs_the_lab!();
    let mut fabric = rack();
    fabric.nodes.process("n2-lb").unwrap().kill().unwrap();
    let missed = fabric.wait_for_paths("tor", IPV4, 2);
    println!("speaker killed: two paths are left after {missed:?}");
    fabric.wait_for_flows_to(IPV4, &["n1", "n3"]);
    fabric.nodes.restart("n2-lb").unwrap();
    fabric.wait_for_paths("tor", IPV4, 3);
    fabric.wait_for_flows_to(IPV4, &ALL);
}

#[test]
fn no_request_is_lost_when_the_router_clears_a_session() {
    needs_the_lab!();
    let fabric = rack();
    let tor = fabric.nodes.router("tor").unwrap();
    fabric.serves_while(IPV4, 2, || {
        tor.ask("clear bgp 10.0.0.2").unwrap();
        let gone = fabric.wait_for_paths("tor", IPV4, 2);
        let back = fabric.wait_for_paths("tor", IPV4, 3);
        println!("session cleared: gone after {gone:?}, back after {back:?}");
    });
    fabric.wait_for_flows_to(IPV4, &ALL);
}

#[test]
fn no_request_is_lost_when_a_node_is_excluded_and_comes_back() {
    needs_the_lab!();
    let fabric = rack();
    let answers = fabric.serves_while(IPV4, 2, || {
        fabric.label("n2", EXCLUDED);
        let gone = fabric.wait_for_paths("tor", IPV4, 2);
        fabric.wait_for_flows_to(IPV4, &["n1", "n3"]);
        fabric.label("n2", "");
        let back = fabric.wait_for_paths("tor", IPV4, 3);
        println!("node excluded: gone after {gone:?}; included: back after {back:?}");
    });
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[test]
fn no_request_is_lost_when_a_node_s_speaker_is_told_to_stop() {
    needs_the_lab!();
    rack().stop_without_loss("n2", IPV4, &["tor"], 2);
}
