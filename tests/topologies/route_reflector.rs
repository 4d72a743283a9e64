//! Nodes that have a session with a route reflector alone.

use ironlb_lab::needs_the_lab;

use super::fabric::{ALL, Fabric, IPV4, IPV6};

/// The network, once all nodes serve.
fn network() -> Fabric {
    let fabric = Fabric::deploy("route-reflector");
    for address in [IPV4, IPV6] {
        fabric.wait_for_paths("gateway", address, 3);
        fabric.wait_for_flows_to(address, &ALL);
    }
    fabric
}

#[test]
fn a_router_that_no_node_speaks_to_sends_flows_straight_to_the_nodes_and_elsewhere_when_one_fails()
{
    needs_the_lab!();
    let fabric = network();
    let routes = fabric.routes("gateway", IPV4);
    for node in ["10.0.0.1", "10.0.0.2", "10.0.0.3"] {
        assert!(routes.contains(&format!("via {node} ")), "{routes}");
    }
    fabric.lose_and_find_n2("gateway", &[IPV4, IPV6]);
}

#[test]
fn no_request_is_lost_when_a_node_behind_a_reflector_stops() {
    needs_the_lab!();
    network().stop_without_loss("n2", IPV4, &["gateway"], 2);
}
