//! A node that a taint takes out of load balancing.

use std::time::Duration;

use ironlb_lab::{holds_for, needs_the_lab};
use serde_json::Value;

use super::fabric::{Fabric, LIMIT};

const TABLE: &str = "show bgp ipv4 unicast 192.0.2.0/32 json";

#[test]
fn a_cordoned_node_leaves_where_that_is_asked_for_and_others_stay() {
    needs_the_lab!();
    let peers = "router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n \
                 neighbor nodes peer-group\n neighbor nodes remote-as 64512\n \
                 bgp listen range 10.0.0.0/24 peer-group nodes\n \
                 address-family ipv4 unicast\n  maximum-paths 8\n exit-address-family\n";
    let fabric = Fabric::new("bgp-taint", 2, peers);
    let peer = |drain_time: &str| {
        let spec = "peerASN: 64513, peerAddress: 10.0.0.254";
        fabric.peer("tor", &format!("{spec}, drainTime: {drain_time}"));
    };
    peer("1h");
    fabric.advertise("all", "");
    fabric.service("web", &[1, 2], "");
    let drain = ["--drain-taint", "node.kubernetes.io/unschedulable"];
    let _running = [fabric.start_with(1, &drain), fabric.start(2)];
    let next_hops = |route: &Value| -> Vec<String> {
        let paths = route["paths"].as_array().into_iter().flatten();
        let hops = paths.filter_map(|path| path["nexthops"][0]["ip"].as_str());
        let mut hops: Vec<String> = hops.map(str::to_owned).collect();
        hops.sort();
        hops
    };
    let by = |expected: &[&str]| {
        let what = format!("paths by {expected:?}");
        let is = |route: &Value| next_hops(route) == expected;
        fabric.tor.wait_for(&what, TABLE, LIMIT, is).unwrap();
    };
    by(&["10.0.0.1", "10.0.0.2"]);
    let cordoned = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata: {{name: {name}}}\n\
             spec: {{taints: [{{key: node.kubernetes.io/unschedulable, effect: NoSchedule}}]}}\n"
        )
    };
    fabric.write("node2.yaml", &cordoned("n2"));
    fabric.write("node1.yaml", &cordoned("n1"));
    let is_leaving = |route: &Value| {
        let paths = route["paths"].as_array().into_iter().flatten();
        let mut of_node = paths.filter(|path| path["nexthops"][0]["ip"] == "10.0.0.1");
        of_node.any(|path| path["community"]["string"] == "graceful-shutdown")
    };
    fabric
        .tor
        .wait_for("n1 is about to go", TABLE, LIMIT, is_leaving)
        .unwrap();
    // Its time is over as soon as it is shorter: nobody has to look within a few seconds.
    peer("0s");
    by(&["10.0.0.2"]);
    holds_for("n2 stays", Duration::from_secs(1), || {
        let route = fabric.tor.show(TABLE).unwrap();
        !route.to_string().contains("graceful-shutdown") && next_hops(&route) == ["10.0.0.2"]
    })
    .unwrap();
    let nodes = fabric.tor.show("show bgp summary json").unwrap();
    let is_up = nodes["ipv4Unicast"]["peers"]["10.0.0.1"]["state"] == "Established";
    assert!(is_up, "the session of a node that leaves stays: {nodes}");
    fabric.write("node1.yaml", &ironlb_lab::manifest::node("n1", ""));
    by(&["10.0.0.1", "10.0.0.2"]);
}
