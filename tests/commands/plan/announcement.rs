//! Who announces what, and why nobody does.

use super::*;

#[test]
fn a_service_gets_an_address_and_one_node_announces_it() {
    let plan = plan(&[
        &layer2(),
        &three_nodes(),
        &service("web", "clusterIP: 10.96.0.1"),
        &endpoints("web", &["n1"]),
    ]);
    assert_eq!(
        plan,
        json!({
            "services": [{
                "namespace": "default",
                "name": "web",
                "ips": ["192.0.2.0"],
                "pool": "first",
                "reason": null,
                "announcements": [{"protocol": "l2", "node": "n2", "interfaces": null}]
            }],
            "errors": []
        })
    );
}

#[test]
fn without_a_node_nothing_is_announced() {
    let plan = plan(&[&layer2(), &service("web", ""), &endpoints("web", &["n1"])]);
    let web = of(&plan, "web");
    assert_eq!(web["ips"], json!(["192.0.2.0"]));
    assert_eq!(web["announcements"], json!([]));
    assert_eq!(web["reason"], "there is no Node to announce it");
}

#[test]
fn without_an_endpoint_slice_there_is_no_endpoint() {
    let plan = plan(&[&layer2(), &three_nodes(), &service("web", "")]);
    let web = of(&plan, "web");
    assert_eq!(web["ips"], json!(["192.0.2.0"]));
    assert_eq!(web["announcements"], json!([]));
    assert_eq!(web["reason"], "it has no serving endpoint");
}

#[test]
fn a_local_service_is_announced_from_a_node_with_an_endpoint() {
    for only in ["n1", "n2", "n3"] {
        let plan = plan(&[
            &layer2(),
            &bgp(),
            &three_nodes(),
            &service("web", "externalTrafficPolicy: Local"),
            &endpoints("web", &[only]),
        ]);
        assert_eq!(nodes(of(&plan, "web"), "l2"), [only]);
        assert_eq!(nodes(of(&plan, "web"), "bgp"), [only, only]);
    }
}

#[test]
fn excluded_and_unavailable_nodes_announce_nothing() {
    let label = "node.kubernetes.io/exclude-from-external-load-balancers: ''";
    let unavailable = "
apiVersion: v1
kind: Node
metadata: {name: n2}
status: {conditions: [{type: NetworkUnavailable, status: 'True'}, {type: Ready, status: 'True'}]}
";
    let rest = [
        &layer2(),
        &bgp(),
        &node("n1", label),
        unavailable,
        &service("web", ""),
        &endpoints("web", &["n1"]),
    ];
    let plan_of_two = plan(&rest);
    let web = of(&plan_of_two, "web");
    assert_eq!(web["announcements"], json!([]));
    let reason = web["reason"].as_str().unwrap();
    assert!(reason.contains("\"n1\" has the label"), "{reason}");
    assert!(
        reason.contains("\"n2\" has the condition NetworkUnavailable"),
        "{reason}"
    );

    let ready = node("n3", "");
    let plan_of_three = plan(&[&rest[..], &[&*ready]].concat());
    assert_eq!(nodes(of(&plan_of_three, "web"), "l2"), ["n3"]);
    assert_eq!(nodes(of(&plan_of_three, "web"), "bgp"), ["n3", "n3"]);

    let tainted = "
apiVersion: v1
kind: Node
metadata: {name: n3}
spec: {taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]}
";
    let cordoned = [&rest[..], &[tainted]].concat();
    assert_eq!(nodes(of(&plan(&cordoned), "web"), "l2"), ["n3"]);
    let draining = ["--drain-taint", "other,node.kubernetes.io/unschedulable"];
    let plan_of_drained = plan_with(&draining, &cordoned);
    let web = of(&plan_of_drained, "web");
    assert_eq!(web["announcements"], json!([]));
    let reason = web["reason"].as_str().unwrap();
    let expected = "\"n3\" has the taint node.kubernetes.io/unschedulable";
    assert!(reason.contains(expected), "{reason}");

    let ignoring = plan_with(&["--ignore-exclude-lb"], &rest);
    assert_eq!(nodes(of(&ignoring, "web"), "l2"), ["n1"]);
}

#[test]
fn interfaces_and_selectors_of_advertisements_are_respected() {
    let advertisement = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first, namespace: metallb-system}
spec: {addresses: [192.0.2.0/28]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: some, namespace: metallb-system}
spec:
  interfaces: [eth1, eth0]
  nodeSelectors: [{matchLabels: {rack: '2'}}]
  serviceSelectors: [{matchLabels: {app: web}}]
";
    let plan = plan(&[
        advertisement,
        &node("n1", ""),
        &node("n2", "rack: '2'"),
        &service("web", ""),
        &endpoints("web", &["n1"]),
        &service("db", ""),
        &endpoints("db", &["n1"]),
    ]);
    assert_eq!(
        of(&plan, "web")["announcements"],
        json!([{"protocol": "l2", "node": "n2", "interfaces": ["eth0", "eth1"]}])
    );
    let reason = of(&plan, "db")["reason"].as_str().unwrap();
    assert!(
        reason.contains("no L2Advertisement selects pool \"first\""),
        "{reason}"
    );
}

#[test]
fn bgp_routes_carry_aggregation_peers_preference_and_communities() {
    let configuration = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first, namespace: metallb-system}
spec: {addresses: [192.0.2.0/26, '2001:db8::/64']}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: 10.0.0.1
  nodeSelectors: [{matchLabels: {rack: '1'}}]
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: spine, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64514, peerAddress: 10.0.0.2}
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: names, namespace: metallb-system}
spec: {communities: [{name: backup, value: '64512:99'}]}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: hosts, namespace: metallb-system}
spec:
  peers: [tor]
  localPref: 150
  communities: [backup, 'large:64512:1:2']
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: more, namespace: metallb-system}
spec: {peers: [tor], localPref: 150, communities: ['64512:1']}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: aggregate, namespace: metallb-system}
spec: {aggregationLength: 26, aggregationLengthV6: 64}
";
    let plan = plan(&[
        configuration,
        &node("n1", "rack: '1'"),
        &node("n2", "rack: '2'"),
        &service("web", "loadBalancerIP: 192.0.2.7"),
        &endpoints("web", &["n1"]),
    ]);
    let route = |node: &str, peer: &str, prefix: &str| {
        json!({
            "protocol": "bgp", "node": node, "peer": peer, "prefix": prefix,
            "localPref": null, "communities": []
        })
    };
    let mut host = route("n1", "tor", "192.0.2.7/32");
    host["localPref"] = json!(150);
    host["communities"] = json!(["64512:1", "64512:99", "large:64512:1:2"]);
    assert_eq!(
        of(&plan, "web")["announcements"],
        json!([
            route("n1", "spine", "192.0.2.0/26"),
            route("n1", "tor", "192.0.2.0/26"),
            host,
            route("n2", "spine", "192.0.2.0/26"),
        ])
    );
}

/// A pool, a peer of our AS and one of another, and advertisements with these fields.
fn with_advertisements(fields: &[&str]) -> String {
    let mut documents = vec![
        pool("first", "192.0.2.0/26"),
        bgp_peer(
            "inside",
            "myASN: 64512, peerASN: 64512, peerAddress: 10.0.0.1",
        ),
        bgp_peer(
            "outside",
            "myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.2",
        ),
    ];
    let advertisements = fields.iter().enumerate();
    documents.extend(
        advertisements.map(|(number, fields)| {
            configuration("BGPAdvertisement", &format!("a{number}"), fields)
        }),
    );
    file(&documents)
}

#[test]
fn what_else_decides_a_route_is_there_when_it_is_set() {
    let configuration = with_advertisements(&[
        "med: 20, asPathPrepend: 2, nextHop: 10.0.0.99, linkBandwidth: {perEndpoint: 50}, \
         extendedCommunities: ['rt:64512:7', '0x4305000000000001']",
    ]);
    let manifests: [&str; 4] = [
        &configuration,
        &node("n1", ""),
        &service("web", ""),
        &endpoints("web", &["n1", "n1"]),
    ];
    let inside = json!({
        "protocol": "bgp", "node": "n1", "peer": "inside", "prefix": "192.0.2.0/32", "localPref": null,
        "communities": [], "med": 20, "nextHop": "10.0.0.99", "linkBandwidth": 100,
        "extendedCommunities": ["rt:64512:7", "0x4305000000000001"],
    });
    let mut outside = inside.clone();
    outside["peer"] = json!("outside");
    // Each kind of peer is told what is for it.
    outside["asPathPrepend"] = json!(2);
    outside["extendedCommunities"] = json!(["rt:64512:7"]);
    assert_eq!(
        of(&plan(&manifests), "web")["announcements"],
        json!([inside, outside])
    );
    let table = ironlb(&["-f", "-"], &manifests.join("\n---\n"));
    let route = "BGP 192.0.2.0/32 to outside, MED 20, prepend 2, next hop 10.0.0.99, communities rt:64512:7, \
                 weight 100 Mbit/s, by n1";
    let table = text(&table.stdout);
    assert!(table.contains(route), "{table}");
}

#[test]
fn advertisements_that_meet_by_a_service_must_agree_on_local_preference_alone() {
    let selecting = |fields: &str| format!("serviceSelectors: [{{}}], {fields}");
    let of_two = |one: &str, other: &str| {
        let configuration = with_advertisements(&[&selecting(one), &selecting(other)]);
        let plan = plan(&[
            &configuration,
            &node("n1", ""),
            &service("web", ""),
            &endpoints("web", &["n1"]),
        ]);
        of(&plan, "web").clone()
    };
    let web = of_two("med: 20, asPathPrepend: 2", "med: 10, asPathPrepend: 3");
    let outside = &web["announcements"][1];
    assert_eq!(
        (&outside["med"], &outside["asPathPrepend"]),
        (&json!(10), &json!(2))
    );
    let web = of_two("localPref: 100", "localPref: 200");
    assert_eq!(web["announcements"], json!([]));
    let reason = web["reason"].as_str().unwrap();
    assert!(reason.contains("localPref 100 and 200"), "{reason}");
}
