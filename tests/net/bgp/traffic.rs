//! From a client behind a router to the backends.

use ironlb_lab::needs_the_lab;

use super::fabric::{Fabric, LIMIT};

const DUAL: &str = "router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n \
                    neighbor nodes peer-group\n neighbor nodes remote-as 64512\n \
                    bgp listen range 10.0.0.0/24 peer-group nodes\n \
                    address-family ipv4 unicast\n  maximum-paths 8\n exit-address-family\n \
                    address-family ipv6 unicast\n  neighbor nodes activate\n  maximum-paths 8\n exit-address-family\n";

#[test]
fn a_router_learns_an_address_over_equal_paths_and_a_client_behind_it_is_served() {
    needs_the_lab!();
    let fabric = Fabric::new("bgp-ecmp", 3, DUAL);
    fabric.peer(
        "tor",
        "peerASN: 64513, peerAddress: 10.0.0.254, dualStackAddressFamily: true",
    );
    fabric.advertise("all", "");
    fabric.service("web", &[1, 2, 3], "");
    let _running = [fabric.start(1), fabric.start(2), fabric.start(3)];
    for (question, prefix) in [
        ("show bgp ipv4 unicast json", "192.0.2.0/32"),
        ("show bgp ipv6 unicast json", "2001:db8::/128"),
    ] {
        fabric
            .tor
            .wait_for("three paths", question, LIMIT, |table| {
                table["routes"][prefix]
                    .as_array()
                    .is_some_and(|paths| paths.len() == 3)
            })
            .unwrap();
    }
    fabric.reach("192.0.2.0");
    fabric.reach("2001:db8::");
}
