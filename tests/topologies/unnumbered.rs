//! A leaf whose links to the nodes have no addresses.

use ironlb_lab::needs_the_lab;

use super::fabric::{ALL, Fabric, IPV4, IPV6};

/// The leaf, once all nodes serve.
fn leaf() -> Fabric {
    let fabric = Fabric::deploy("unnumbered");
    for address in [IPV4, IPV6] {
        fabric.wait_for_paths("leaf", address, 3);
        fabric.wait_for_flows_to(address, &ALL);
    }
    fabric
}

#[test]
fn flows_of_both_families_go_by_link_local_next_hops_and_elsewhere_when_a_cable_is_pulled() {
    needs_the_lab!();
    let fabric = leaf();
    let routes = fabric.routes("leaf", IPV4);
    assert_eq!(routes.matches("via inet6 fe80:").count(), 3, "{routes}");
    // Not to be put in again: its end on the leaf has lost its link-local address, as it would not where a real cable is pulled.
    fabric.lose_n2("leaf", &[IPV4, IPV6]);
}

#[test]
fn no_request_is_lost_when_a_node_on_an_unnumbered_link_stops() {
    needs_the_lab!();
    leaf().stop_without_loss("n2", IPV4, &["leaf"], 2);
}
