//! BGP in the cluster: a client behind a real router, served over equal paths through kube-proxy on every node.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{Host, eventually, eventually_ok, needs_the_lab};
use serde_json::{Value, json};

use crate::events::events;
use crate::product::{NAMESPACE, PATIENCE, Product, Tenant, shared};

mod leaving;

pub(crate) const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 0));

#[test]
fn a_client_behind_a_router_is_served_over_equal_paths_and_local_ones_where_the_endpoints_are() {
    needs_the_lab!();
    let product = shared();
    let tenant = Tenant::beyond(&product, "routed", &["203.0.113.0/29"]);
    let router = router(&product);
    let _configured = configured(&product, "routed", &json!({}));
    tenant.pod("n1", "web", "a");
    let other = tenant.pod("n2", "web", "b");
    tenant.service("web", &json!({}));
    tenant.wait_for_address("web", ADDRESS);
    let paths = |nodes: &[&str]| wait_for_paths(&product, router, nodes);
    paths(&["n1", "n2", "n3"]);
    let mut used = BTreeSet::new();
    eventually(
        "both Pods serve the client behind the router",
        PATIENCE,
        || {
            let answer = router.client.tcp_get(SocketAddr::new(ADDRESS, 80));
            used.extend(answer.ok().map(|answer| answer.backend));
            used.len() == 2
        },
    )
    .unwrap();
    every_node_is_used(&product, router);
    told(&tenant, "web");
    let n1 = product.cluster.node("n1").unwrap().host();
    let metrics = n1
        .http_get("127.0.0.1:7472".parse().unwrap(), "/metrics")
        .unwrap();
    for line in [
        "metallb_bgp_session_up{peer=\"10.0.0.89:179\"} 1",
        "metallb_bgp_announced_prefixes_total{peer=\"10.0.0.89:179\"} 1",
        "metallb_bgp_pending_prefixes_total{peer=\"10.0.0.89:179\"} 0",
        "metallb_speaker_announced{service=\"routed/web\",protocol=\"bgp\",node=\"n1\",ip=\"203.0.113.0\"} 1",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line}: {metrics}"
        );
    }

    // Only where the endpoints are, and only as long as they are there.
    tenant.service("web", &json!({ "externalTrafficPolicy": "Local" }));
    paths(&["n1", "n2"]);
    let answer = eventually_ok("the client's own address is seen", PATIENCE, || {
        router.client.tcp_get(SocketAddr::new(ADDRESS, 80))
    });
    assert_eq!(answer.unwrap().client.ip().to_string(), "10.1.0.3");
    let before = Instant::now();
    product.cluster.set_ready(&other, false).unwrap();
    paths(&["n1"]);
    // Not by a macro, which a test that passes keeps to itself.
    let after = before.elapsed();
    let line = format!("from the endpoint's change to the router's table: {after:?}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();

    tenant.delete_service("web");
    paths(&[]);
}

#[test]
fn a_peer_that_waits_for_its_password_is_told_on_its_object_once_by_each_node() {
    needs_the_lab!();
    let product = shared();
    let api = product.cluster.api();
    let metadata = json!({ "name": "waiting", "namespace": NAMESPACE });
    let _deleted = Deleted(
        &product,
        "waiting",
        &["metallb.io/v1beta2/BGPPeer", "v1/Secret"],
    );
    let apply = |connect_time: &str| {
        let peer = json!({
            "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer", "metadata": metadata,
            "spec": {
                "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.88", "connectTime": connect_time,
                "passwordSecret": { "name": "waiting" },
            },
        });
        api.apply_object(&peer).unwrap()
    };
    let peer = apply("1s");
    let nodes: BTreeSet<&str> = product
        .cluster
        .nodes()
        .iter()
        .map(ironlb_lab::cluster::Node::name)
        .collect();
    let told = |why: &str| {
        eventually_ok(why, PATIENCE, || {
            let mut events = events(&product, NAMESPACE, "waiting");
            events.retain(|event| event["message"].as_str().unwrap().contains(why));
            let by: BTreeSet<&str> = events
                .iter()
                .filter_map(|event| event["reportingInstance"].as_str())
                .collect();
            if by == nodes {
                Ok(())
            } else {
                Err(format!("{events:#?}"))
            }
        })
        .unwrap();
    };
    told("there is no Secret \"waiting\"");
    let n1 = product.cluster.node("n1").unwrap().host();
    let metrics = n1
        .http_get("127.0.0.1:7472".parse().unwrap(), "/metrics")
        .unwrap();
    let down = "metallb_bgp_session_up{peer=\"10.0.0.88:179\"} 0";
    assert!(metrics.lines().any(|line| line == down), "{metrics}");

    // Another change of the peer is no reason to say it again.
    apply("2s");
    let secret = |key: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "type": "kubernetes.io/basic-auth", "stringData": { key: "hunter2" },
        });
        api.apply_object(&secret).unwrap();
    };
    secret("username");
    told("the Secret \"waiting\" has no password");
    let events = events(&product, NAMESPACE, "waiting");
    for event in &events {
        assert_eq!(event["reason"], "peerWaiting");
        assert_eq!(event["count"], 1, "{event:#}");
        assert_eq!(event["involvedObject"]["kind"], "BGPPeer");
        assert_eq!(event["involvedObject"]["uid"], peer["metadata"]["uid"]);
    }
    assert_eq!(events.len(), 2 * nodes.len(), "{events:#?}");
    let shown = product
        .cluster
        .kubectl(&["get", "events", "-n", NAMESPACE])
        .unwrap();
    println!("{shown}");
    for node in &nodes {
        let what = format!("node {node:?} has no session with this peer: there is no Secret");
        let lines = shown.lines().filter(|line| line.contains(&what));
        assert_eq!(lines.count(), 1, "{shown}");
    }
    secret("password");
    for node in nodes {
        let speaker = product.speaker(node);
        speaker
            .wait_for_line("BGP peer waits no longer", PATIENCE)
            .unwrap();
    }
}

/// A router on the cluster's segment, and a client behind it.
pub(crate) struct Behind {
    tor: Router,
    pub(crate) client: Host,
}

impl Behind {
    /// How many sessions are up, and for how long all of them have been; by whole seconds.
    pub(crate) fn sessions(&self) -> (usize, Duration) {
        let summary = self.tor.show("show bgp summary json").unwrap();
        let peers = summary["ipv4Unicast"]["peers"].as_object().unwrap();
        let up = peers
            .values()
            .filter(|peer| peer["state"] == "Established")
            .map(|peer| peer["peerUptimeMsec"].as_u64().unwrap());
        let since: Vec<u64> = up.collect();
        let shortest = since.iter().min().copied().unwrap_or_default();
        (since.len(), Duration::from_millis(shortest))
    }
}

/// Waits until the router has given each node a connection of the client: it divides by ports, so that more of them find another.
fn every_node_is_used(product: &Product, router: &Behind) {
    let table = "table ip entered { chain packets { type filter hook prerouting priority raw; \
                 ip daddr 203.0.113.0 counter; }; }";
    for node in product.cluster.nodes() {
        nft(node.host(), table);
    }
    eventually("every node gets packets", PATIENCE, || {
        let _ = router.client.tcp_get(SocketAddr::new(ADDRESS, 80));
        let counts = product.cluster.nodes().iter().map(|node| {
            let listed = nft(node.host(), "list table ip entered");
            !listed.contains("packets 0 bytes")
        });
        counts.filter(|used| *used).count() == 3
    })
    .unwrap();
    for node in product.cluster.nodes() {
        nft(node.host(), "delete table ip entered");
    }
}

/// Runs nft on a host, and gives what it prints.
fn nft(host: &Host, command: &str) -> String {
    let output = host.run(Command::new("nft").arg(command)).unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The router of all tests; it stays, as the cluster does.
pub(crate) fn router(product: &Product) -> &'static Behind {
    static ROUTER: OnceLock<Behind> = OnceLock::new();
    ROUTER.get_or_init(|| start_router(product))
}

fn start_router(product: &Product) -> Behind {
    let lab = product.cluster.lab();
    let beyond = lab.switch("beyond").unwrap();
    let client = lab.host("far").unwrap();
    client.connect(&beyond, "eth0", &["10.1.0.3/24"]).unwrap();
    client.add_route("0.0.0.0/0", "10.1.0.254").unwrap();
    let host = lab.router("tor").unwrap();
    host.connect(product.cluster.lan(), "eth0", &["10.0.0.89/24"])
        .unwrap();
    host.connect(&beyond, "eth1", &["10.1.0.254/24"]).unwrap();
    host.sysctl("net/ipv4/fib_multipath_hash_policy", "1")
        .unwrap();
    for node in product.cluster.nodes() {
        node.host().add_route("10.1.0.0/24", "10.0.0.89").unwrap();
    }
    let config = "router bgp 64513\n bgp router-id 10.0.0.89\n no bgp ebgp-requires-policy\n \
                  neighbor nodes peer-group\n neighbor nodes remote-as 64512\n \
                  neighbor nodes password hunter2\n bgp listen range 10.0.0.0/24 peer-group nodes\n \
                  address-family ipv4 unicast\n  maximum-paths 8\n exit-address-family\n";
    let tor = Router::start(&host, Frr, config).unwrap();
    Behind { tor, client }
}

/// Has the peer with `more` in its spec, its password, and the advertisement of the pool of this name; all go with what is given.
pub(crate) fn configured<'a>(
    product: &'a Product,
    name: &'static str,
    more: &Value,
) -> Deleted<'a> {
    let kinds = &[
        "metallb.io/v1beta1/BGPAdvertisement",
        "metallb.io/v1beta2/BGPPeer",
        "v1/Secret",
    ];
    let configured = Deleted(product, name, kinds);
    let metadata = json!({ "name": name, "namespace": NAMESPACE });
    for object in [
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
            "type": "kubernetes.io/basic-auth", "stringData": { "password": "hunter2" },
        }),
        json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "BGPAdvertisement", "metadata": metadata,
            "spec": { "ipAddressPools": [name] },
        }),
    ] {
        product.cluster.api().apply_object(&object).unwrap();
    }
    peer(product, name, more);
    configured
}

/// Applies the router as a peer.
fn peer(product: &Product, name: &str, more: &Value) {
    let mut peer = json!({
        "apiVersion": "metallb.io/v1beta2", "kind": "BGPPeer",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.89",
            // The namespace has no effect.
            "passwordSecret": { "name": name, "namespace": "elsewhere" },
        },
    });
    for (field, value) in more.as_object().unwrap() {
        peer["spec"][field] = value.clone();
    }
    product.cluster.api().apply_object(&peer).unwrap();
}

/// Deletes objects of this name and these kinds, whatever becomes of the test.
pub(crate) struct Deleted<'a>(&'a Product, &'static str, &'static [&'static str]);

impl Drop for Deleted<'_> {
    fn drop(&mut self) {
        let Self(product, name, kinds) = self;
        for kind in *kinds {
            let _ = product.cluster.api().delete(kind, NAMESPACE, name);
        }
    }
}

fn address_of(product: &Product, node: &str) -> String {
    product.cluster.node(node).unwrap().addresses()[0].to_string()
}

/// Waits until the router has paths to [`ADDRESS`] by exactly these nodes.
pub(crate) fn wait_for_paths(product: &Product, router: &Behind, nodes: &[&str]) {
    let wanted: BTreeSet<String> = nodes.iter().map(|node| address_of(product, node)).collect();
    let question = "show bgp ipv4 unicast json";
    let what = format!("paths by {nodes:?}");
    let tor = &router.tor;
    tor.wait_for(&what, question, PATIENCE, |table| {
        next_hops(table) == wanted
    })
    .unwrap();
}

/// The next hops of the paths to [`ADDRESS`].
fn next_hops(table: &Value) -> BTreeSet<String> {
    let paths = table["routes"][format!("{ADDRESS}/32")].as_array();
    let paths = paths.into_iter().flatten();
    let next_hops = paths.filter_map(|path| path["nexthops"][0]["ip"].as_str());
    next_hops.map(str::to_owned).collect()
}

/// Waits until every node says in the API and by an Event that it announces a Service over BGP.
fn told(tenant: &Tenant<'_>, service: &str) {
    let api = tenant.product.cluster.api();
    eventually_ok(
        "there is a ServiceBGPStatus of every node",
        Duration::from_secs(60),
        || {
            let selector = format!("metallb.io/service-name={service}");
            let found = api
                .list("metallb.io/v1beta1/ServiceBGPStatus", NAMESPACE, &selector)
                .map_err(|error| error.to_string())?;
            let nodes: BTreeSet<&str> = found
                .iter()
                .filter(|status| status["status"]["peers"] == json!(["routed"]))
                .filter_map(|status| status["status"]["node"].as_str())
                .collect();
            if nodes == BTreeSet::from(["n1", "n2", "n3"]) {
                Ok(())
            } else {
                Err(format!("{found:#?}"))
            }
        },
    )
    .unwrap();
    tenant.wait_until_told(service, "nodeAssigned");
}
