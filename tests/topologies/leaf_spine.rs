//! Two racks with a leaf each below two spines.

use ironlb_lab::needs_the_lab;

use super::fabric::{ALL, Fabric, IPV4, IPV6};

/// The racks, once all nodes serve by both spines.
fn racks() -> Fabric {
    let fabric = Fabric::deploy("leaf-spine");
    for address in [IPV4, IPV6] {
        fabric.wait_for_paths("leaf1", address, 2);
        fabric.wait_for_paths("leaf2", address, 1);
        for router in ["spine1", "spine2", "border"] {
            fabric.wait_for_paths(router, address, 2);
        }
        fabric.wait_for_flows_to(address, &ALL);
    }
    fabric
}

#[test]
fn flows_reach_all_nodes_of_both_racks_by_one_spine_when_the_other_has_no_power() {
    needs_the_lab!();
    let fabric = racks();
    fabric.switch_off("spine1", &["eth1", "eth2", "eth3"]);
    let missed = fabric.wait_for_paths("border", IPV4, 1);
    println!("spine without power: one path is left after {missed:?}");
    fabric.wait_for_flows_to(IPV4, &ALL);
    fabric.wait_for_flows_to(IPV6, &ALL);
}

#[test]
fn flows_go_to_the_other_rack_when_a_leaf_has_no_power() {
    needs_the_lab!();
    let fabric = racks();
    fabric.switch_off("leaf1", &["eth1", "eth2", "eth3", "eth4"]);
    for spine in ["spine1", "spine2"] {
        let missed = fabric.wait_for_paths(spine, IPV4, 1);
        println!("leaf without power: {spine} has one path after {missed:?}");
    }
    fabric.wait_for_flows_to(IPV4, &["n3"]);
    fabric.wait_for_flows_to(IPV6, &["n3"]);
}

#[test]
fn no_request_is_lost_when_a_node_of_a_rack_stops() {
    needs_the_lab!();
    racks().stop_without_loss("n1", IPV4, &["leaf1"], 1);
}
