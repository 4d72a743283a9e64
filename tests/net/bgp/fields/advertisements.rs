//! BGPAdvertisement and Community.

use std::collections::BTreeSet;

use ironlb_lab::manifest::{endpoint_slice, file, node};
use ironlb_lab::needs_the_lab;
use serde_json::Value;

use super::super::fabric::{Fabric, LIMIT};
use super::{announce, beside_frr};

/// Of the Service in the pool first, and of that in the pool second.
const FIRST: &str = "192.0.2.0/32";
const SECOND: &str = "198.51.100.0/32";
/// The nodes' addresses, by which FRR knows the sessions of the peers four and six.
const FOUR: [&str; 2] = ["10.0.0.1", "10.0.0.2"];
const SIX: [&str; 2] = ["fd00::1", "fd00::2"];
const ALL: [&str; 4] = [FOUR[0], FOUR[1], SIX[0], SIX[1]];

#[test]
fn frr_gets_what_the_pools_the_services_the_nodes_and_the_peers_say() {
    needs_the_lab!();
    let fabric = beside_frr(2, "");
    let peers = [("four", "10.0.0.254"), ("six", "fd00::fe")];
    for (name, address) in peers {
        let spec =
            format!("peerASN: 64513, peerAddress: '{address}', dualStackAddressFamily: true");
        fabric.peer(name, &spec);
    }
    fabric.write("node2.yaml", &node("n2", "rack: b"));
    fabric.write(
        "second.yaml",
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\n\
         metadata: {name: second, namespace: metallb-system, labels: {tier: gold}}\nspec: {addresses: [198.51.100.0/28]}\n",
    );
    for (name, pool) in [("web", "first"), ("shop", "second")] {
        service(&fabric, name, pool);
    }
    let _running = [fabric.start(1), fabric.start(2)];
    let cases: [(&str, &[&str], &[&str]); 8] = [
        ("", &[FIRST, SECOND], &ALL),
        ("ipAddressPools: [first]", &[FIRST], &ALL),
        (
            "ipAddressPoolSelectors: [{matchLabels: {tier: gold}}]",
            &[SECOND],
            &ALL,
        ),
        (
            "serviceSelectors: [{matchLabels: {app: web}}]",
            &[FIRST],
            &ALL,
        ),
        (
            "serviceSelectors: [{matchExpressions: [{key: app, operator: NotIn, values: [web]}]}]",
            &[SECOND],
            &ALL,
        ),
        (
            "nodeSelectors: [{matchLabels: {rack: b}}]",
            &[FIRST, SECOND],
            &[FOUR[1], SIX[1]],
        ),
        ("peers: [four]", &[FIRST, SECOND], &FOUR),
        ("peers: [six], ipAddressPools: [second]", &[SECOND], &SIX),
    ];
    for (spec, prefixes, sessions) in cases {
        fabric.advertise("all", spec);
        let wanted: BTreeSet<(&str, &str)> = prefixes
            .iter()
            .flat_map(|prefix| sessions.iter().map(move |session| (*prefix, *session)))
            .collect();
        let question = "show bgp ipv4 unicast json";
        fabric
            .tor
            .wait_for(&format!("{{{spec}}}"), question, LIMIT, |table| {
                routes(table) == wanted
            })
            .unwrap();
    }
}

/// A Service labelled with its name, with an address from a pool and an endpoint on each node.
fn service(fabric: &Fabric, name: &str, pool: &str) {
    let endpoints = [("10.0.0.1".to_owned(), "n1"), ("10.0.0.2".to_owned(), "n2")];
    let port = "{name: t, port: 8080, protocol: TCP}";
    let documents = [
        format!(
            "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\n  \
             annotations: {{metallb.io/address-pool: {pool}}}\nspec: {{type: LoadBalancer, ports: [{{name: t, port: 80}}]}}\n"
        ),
        endpoint_slice(name, "IPv4", &endpoints, port),
    ];
    fabric.write(&format!("{name}.yaml"), &file(&documents));
}

/// Prefixes, each with the session that it came by.
fn routes(table: &Value) -> BTreeSet<(&str, &str)> {
    let routes = table["routes"].as_object().into_iter().flatten();
    let paths = routes.flat_map(|(prefix, paths)| {
        let paths = paths.as_array().into_iter().flatten();
        paths.map(move |path| (prefix.as_str(), path["peerId"].as_str().unwrap()))
    });
    paths.collect()
}

#[test]
fn frr_sees_the_next_hops_that_are_asked_for() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    let spec = "peerASN: 64513, peerAddress: 10.0.0.254, dualStackAddressFamily: true";
    fabric.peer("router", spec);
    announce(&fabric);
    let next_hops = "nextHop: 10.0.0.9, nextHopV6: 'fd00::9'";
    fabric.advertise("all", next_hops);
    let _node = fabric.start(1);
    for (family, prefix, wanted) in [
        ("ipv4", FIRST, "10.0.0.9"),
        ("ipv6", "2001:db8::/128", "fd00::9"),
    ] {
        let question = format!("show bgp {family} unicast {prefix} json");
        fabric
            .tor
            .wait_for(wanted, &question, LIMIT, |answer| {
                let hops = answer["paths"][0]["nexthops"].as_array();
                hops.is_some_and(|hops| hops.iter().any(|hop| hop["ip"] == wanted))
            })
            .unwrap();
    }
}

#[test]
fn frr_sees_the_values_of_names_for_communities() {
    needs_the_lab!();
    let fabric = beside_frr(1, "");
    fabric.peer("router", "peerASN: 64513, peerAddress: 10.0.0.254");
    announce(&fabric);
    let names = |customers: &str| {
        let values = format!(
            "communities: [{{name: customers, value: '{customers}'}}, {{name: site, value: 'large:65000:1:2'}}, \
             {{name: quiet, value: no-advertise}}]"
        );
        fabric.configure("Community", "ours", &values);
    };
    names("65000:100");
    fabric.advertise("all", "communities: [customers, site, quiet]");
    let _node = fabric.start(1);
    for customers in ["65000:100", "65000:101"] {
        names(customers);
        let question = format!("show bgp ipv4 unicast {FIRST} json");
        fabric
            .tor
            .wait_for(customers, &question, LIMIT, |answer| {
                let path = &answer["paths"][0];
                path["community"]["string"] == format!("{customers} no-advertise")
                    && path["largeCommunity"]["string"] == "65000:1:2"
            })
            .unwrap();
    }
}
