//! A rack without IPv4.

use ironlb_lab::needs_the_lab;

use super::fabric::{ALL, Fabric, IPV6};

/// The rack, once all nodes serve.
fn rack() -> Fabric {
    let fabric = Fabric::deploy("ipv6-only");
    fabric.wait_for_paths("tor", IPV6, 3);
    fabric.wait_for_flows_to(IPV6, &ALL);
    fabric
}

#[test]
fn flows_go_elsewhere_when_a_cable_is_pulled_in_a_rack_without_ipv4() {
    needs_the_lab!();
    let fabric = rack();
    fabric.wait_for_bfd("tor");
    fabric.lose_and_find_n2("tor", &[IPV6]);
}

#[test]
fn no_request_is_lost_when_a_node_stops_in_a_rack_without_ipv4() {
    needs_the_lab!();
    rack().stop_without_loss("n2", IPV6, &["tor"], 2);
}
