//! A route that is longer than a usual message.

use ironlb_lab::needs_the_lab;
use ironlb_lab::router::{Bird, Router};
use serde_json::Value;

use super::fabric::{Fabric, LIMIT};

/// BIRD does without extended messages unless it is told otherwise.
fn bird(extended: &str) -> String {
    format!(
        "router id 10.0.0.254;\nlog stderr all;\nprotocol device {{}}\n\
         protocol bgp node {{\n local 10.0.0.254 as 64513;\n neighbor 10.0.0.1 as 64512;\n \
         enable extended messages {extended};\n connect delay time 1;\n connect retry time 1;\n \
         ipv4 {{ import all; export none; }};\n}}\n"
    )
}

#[test]
fn a_long_route_is_told_to_a_router_with_extended_messages_and_the_log_names_it_for_one_without() {
    needs_the_lab!();
    let fabric = Fabric::with("bgp-long", 1, |tor, _| {
        Router::start(tor, Bird, &bird("off")).unwrap()
    });
    fabric.peer(
        "tor",
        "peerASN: 64513, peerAddress: 10.0.0.254, connectTime: 1s",
    );
    // As much as an advertisement may have: 5,120 bytes.
    let list = |count: u32, one: fn(u32) -> String| (0..count).map(one).collect::<Vec<_>>();
    let large = list(256, |low| format!("'large:65000:1:{low}'")).join(",");
    let extended = list(256, |low| format!("'rt:65000:{low}'")).join(",");
    fabric.advertise(
        "all",
        &format!("communities: [{large}], extendedCommunities: [{extended}]"),
    );
    fabric.service("web", &[1], "");
    let node = fabric.start(1);
    let named = "a route cannot be told to the peer peer=\"tor\" prefix=192.0.2.0/32";
    node.wait_for_line(named, LIMIT).unwrap();

    fabric.tor.configure(&bird("on")).unwrap();
    // BIRD shows the first of each kind.
    let is_whole = |table: &Value| {
        let routes = table.as_array().into_iter().flatten();
        let mut routes = routes.filter(|route| route["network"] == "192.0.2.0/32");
        routes.next().is_some_and(|route| {
            let has = |attribute: &str, one: &str| {
                let text = route["attributes"][attribute].as_str();
                text.is_some_and(|text| text.contains(one))
            };
            has("BGP.large_community", "(65000, 1, 20)")
                && has("BGP.ext_community", "(rt, 65000, 20)")
        })
    };
    let question = "show route all protocol node";
    let told = "the route with all its communities";
    fabric
        .tor
        .wait_for(told, question, LIMIT, is_whole)
        .unwrap();
}
