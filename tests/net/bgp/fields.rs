//! What a single field does, seen on FRR or BIRD, where the behaviours of `interop` do not show it with every router anyway.

use ironlb_lab::Host;
use ironlb_lab::router::{Bird, Router};
use serde_json::Value;

use super::fabric::{Fabric, LIMIT};

mod advertisements;
mod bfd;
mod peers;
mod table;

/// The router's own side, before what is special.
const NEIGHBOUR: &str = "10.0.0.1";

/// One node beside FRR, whose BGP is this: lines of `router bgp`, after the peer group NODES for all that come.
fn beside_frr(nodes: usize, lines: &str) -> Fabric {
    Fabric::new(
        "fields",
        nodes,
        &format!(
            "router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n \
             neighbor NODES peer-group\n neighbor NODES remote-as 64512\n{lines}\
             \x20bgp listen range 10.0.0.0/24 peer-group NODES\n bgp listen range fd00::/64 peer-group NODES\n \
             address-family ipv6 unicast\n  neighbor NODES activate\n exit-address-family\n"
        ),
    )
}

/// One node beside BIRD with this protocol.
fn beside_bird(protocol: &str) -> Fabric {
    let config =
        format!("router id 10.0.0.254;\nlog stderr all;\nprotocol device {{}}\n{protocol}");
    Fabric::with("fields", 1, |tor: &Host, _: &Host| {
        Router::start(tor, Bird, &config).unwrap()
    })
}

/// A Service that is announced by everybody.
fn announce(fabric: &Fabric) {
    fabric.advertise("all", "");
    fabric.service("web", &[1], "");
}

/// Waits until FRR says of a neighbour what is expected, and gives that.
fn neighbour_is(
    fabric: &Fabric,
    address: &str,
    what: &str,
    condition: impl Fn(&Value) -> bool,
) -> Value {
    let question = format!("show bgp neighbors {address} json");
    let answer = fabric
        .tor
        .wait_for(what, &question, LIMIT, |answer| condition(&answer[address]));
    answer.unwrap()[address].clone()
}

fn is_up(neighbour: &Value) -> bool {
    neighbour["bgpState"] == "Established"
}
