//! `ironlb plan`, by its contract: the real binary, manifests in, JSON or a table out.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// Pools, Nodes and Services that most tests share.
const LAYER2: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: first, namespace: metallb-system}
spec: {addresses: [192.0.2.0/28]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: all, namespace: metallb-system}
";

fn ironlb(arguments: &[&str], input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_ironlb"))
        .arg("plan")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = process.stdin.take().unwrap();
    // It may have ended already, over its arguments.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    process.wait_with_output().unwrap()
}

/// The plan as JSON; the configuration must be valid.
fn plan(manifests: &[&str]) -> Value {
    plan_with(&[], manifests)
}

fn plan_with(arguments: &[&str], manifests: &[&str]) -> Value {
    let arguments = [&["-f", "-", "-o", "json"], arguments].concat();
    let output = ironlb(&arguments, &manifests.join("\n---\n"));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(output.stderr, b"");
    let plan: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(plan["errors"], json!([]));
    plan
}

/// What the plan says of the Service `default/NAME`.
fn of<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let services = plan["services"].as_array().unwrap();
    services
        .iter()
        .find(|service| service["name"] == name)
        .unwrap()
}

/// The nodes that announce a Service by `protocol`.
fn nodes<'a>(service: &'a Value, protocol: &str) -> Vec<&'a str> {
    let announcements = service["announcements"].as_array().unwrap().iter();
    announcements
        .filter(|announcement| announcement["protocol"] == protocol)
        .map(|announcement| announcement["node"].as_str().unwrap())
        .collect()
}

fn node(name: &str, labels: &str) -> String {
    format!("apiVersion: v1\nkind: Node\nmetadata: {{name: {name}, labels: {{{labels}}}}}\n")
}

fn three_nodes() -> String {
    ["n1", "n2", "n3"].map(|name| node(name, "")).join("---\n")
}

/// A Service of type LoadBalancer; `spec` adds to its specification.
fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default, labels: {{app: {name}}}}}\n\
         spec: {{type: LoadBalancer, ports: [{{port: 80}}], {spec}}}\n"
    )
}

/// An EndpointSlice of a Service, with a ready endpoint on each of the nodes.
fn endpoints(service: &str, nodes: &[&str]) -> String {
    let endpoint = |(index, node): (usize, &&str)| {
        format!("{{addresses: [10.0.0.{index}], nodeName: {node}, conditions: {{ready: true}}}}")
    };
    let endpoints: Vec<String> = nodes.iter().enumerate().map(endpoint).collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {service}-x, namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}\n\
         addressType: IPv4\nendpoints: [{}]\nports: [{{port: 8080}}]\n",
        endpoints.join(", ")
    )
}

#[test]
fn a_service_gets_an_address_and_one_node_announces_it() {
    let plan = plan(&[
        LAYER2,
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
fn the_table_shows_the_same_to_people() {
    let manifests = [
        LAYER2,
        BGP,
        &three_nodes(),
        &service("web", ""),
        &endpoints("web", &["n1"]),
        &service("idle", ""),
        &service("far", "loadBalancerIP: 203.0.113.1"),
    ];
    let output = ironlb(&["-f", "-"], &manifests.join("\n---\n"));
    assert_eq!(output.status.code(), Some(0));
    let table = "\
NAMESPACE   NAME   ADDRESSES   POOL    ANNOUNCED
default     far    -           -       no: 203.0.113.1 is in no address pool; add it to one, or ask for an address of a pool
default     idle   192.0.2.1   first   no: it has no serving endpoint
default     web    192.0.2.0   first   layer 2 by n2
                                       BGP 192.0.2.0/32 to spine, by n1, n2, n3
                                       BGP 192.0.2.0/32 to tor, by n1, n2, n3
";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), table);
}

#[test]
fn a_manifest_as_users_write_it_needs_no_cluster_address() {
    let bare = service("web", "");
    let dual = service("dual", "ipFamilyPolicy: RequireDualStack");
    let headless = service("none", "clusterIP: None");
    let v6 = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: both, namespace: metallb-system}
spec: {addresses: [198.51.100.0/24, '2001:db8::/64']}
";
    let plan = plan(&[LAYER2, v6, &bare, &dual, &headless]);
    assert_eq!(of(&plan, "web")["ips"], json!(["198.51.100.0"]));
    assert_eq!(
        of(&plan, "dual")["ips"],
        json!(["198.51.100.1", "2001:db8::"])
    );
    assert_eq!(of(&plan, "none")["ips"], json!([]));
    assert!(of(&plan, "none")["reason"].is_string());
}

#[test]
fn without_a_node_nothing_is_announced() {
    let plan = plan(&[LAYER2, &service("web", ""), &endpoints("web", &["n1"])]);
    let web = of(&plan, "web");
    assert_eq!(web["ips"], json!(["192.0.2.0"]));
    assert_eq!(web["announcements"], json!([]));
    assert_eq!(web["reason"], "there is no Node to announce it");
}

#[test]
fn without_an_endpoint_slice_there_is_no_endpoint() {
    let plan = plan(&[LAYER2, &three_nodes(), &service("web", "")]);
    let web = of(&plan, "web");
    assert_eq!(web["ips"], json!(["192.0.2.0"]));
    assert_eq!(web["announcements"], json!([]));
    assert_eq!(web["reason"], "it has no serving endpoint");
}

#[test]
fn a_local_service_is_announced_from_a_node_with_an_endpoint() {
    for only in ["n1", "n2", "n3"] {
        let plan = plan(&[
            LAYER2,
            BGP,
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
        LAYER2,
        BGP,
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

/// Two peers, of which one is for a rack; an aggregate for both, host routes with attributes for one.
const BGP: &str = "
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1}
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: spine, namespace: metallb-system}
spec: {myASN: 64512, peerASN: 64514, peerAddress: 10.0.0.2}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: hosts, namespace: metallb-system}
spec: {ipAddressPools: [first]}
";

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

#[test]
fn services_that_share_an_address_have_one_owner() {
    let shared = |name: &str, port: u16| {
        format!(
            "apiVersion: v1\nkind: Service\n\
             metadata: {{name: {name}, namespace: default, annotations: {{metallb.io/allow-shared-ip: key}}}}\n\
             spec: {{type: LoadBalancer, ports: [{{port: {port}}}]}}\n"
        )
    };
    let plan = plan(&[
        LAYER2,
        &three_nodes(),
        &shared("a", 80),
        &shared("b", 443),
        &shared("c", 80),
        &endpoints("a", &["n1"]),
        &endpoints("b", &["n2"]),
        &endpoints("c", &["n2"]),
    ]);
    assert_eq!(of(&plan, "a")["ips"], of(&plan, "b")["ips"]);
    assert_ne!(of(&plan, "a")["ips"], of(&plan, "c")["ips"]);
    assert_eq!(nodes(of(&plan, "a"), "l2").len(), 1);
    assert_eq!(nodes(of(&plan, "a"), "l2"), nodes(of(&plan, "b"), "l2"));
}

#[test]
fn what_a_status_holds_is_kept_and_the_rest_goes_by_age() {
    let dated = |name: &str, rest: &str| {
        format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: default, {rest}\n\
             spec: {{type: LoadBalancer, ports: [{{port: 80}}]}}\n"
        )
    };
    let manifests = [
        LAYER2,
        &dated("young", "creationTimestamp: '2024-05-02T00:00:00Z'}"),
        &dated("old", "creationTimestamp: '2024-05-01T00:00:00Z'}"),
        &dated(
            "holder",
            "creationTimestamp: '2024-06-01T00:00:00Z', resourceVersion: '77', uid: u}\n\
             status: {loadBalancer: {ingress: [{ip: 192.0.2.0, ipMode: VIP, ports: [{port: 80, protocol: TCP}]}]}}",
        ),
        &dated(
            "stray",
            "creationTimestamp: '2024-06-02T00:00:00Z'}\n\
             status: {loadBalancer: {ingress: [{ip: 203.0.113.9}]}}",
        ),
    ];
    let plan = plan(&manifests);
    let ips = |name| of(&plan, name)["ips"][0].as_str().unwrap();
    assert_eq!(ips("holder"), "192.0.2.0");
    assert_eq!(ips("old"), "192.0.2.1");
    assert_eq!(ips("young"), "192.0.2.2");
    assert_eq!(ips("stray"), "192.0.2.3");
}

#[test]
fn a_refusal_says_why() {
    let plan = plan(&[
        LAYER2,
        &service("far", "loadBalancerIP: 203.0.113.1"),
        &service("foreign", "loadBalancerClass: example.com/other"),
        "apiVersion: v1\nkind: Service\nmetadata: {name: inner, namespace: default}\nspec: {ports: [{port: 80}]}\n",
    ]);
    let reason = |name| of(&plan, name)["reason"].as_str().unwrap();
    assert!(reason("far").contains("203.0.113.1"), "{}", reason("far"));
    assert_eq!(
        reason("foreign"),
        "its loadBalancerClass \"example.com/other\" is not ours"
    );
    assert_eq!(reason("inner"), "its type is not LoadBalancer");
    for name in ["far", "foreign", "inner"] {
        assert_eq!(of(&plan, name)["ips"], json!([]));
        assert_eq!(of(&plan, name)["pool"], json!(null));
    }
}

#[test]
fn a_class_makes_its_services_ours_and_no_others() {
    let plan = plan_with(
        &["--lb-class", "example.com/other"],
        &[
            LAYER2,
            &service("classy", "loadBalancerClass: example.com/other"),
            &service("plain", ""),
        ],
    );
    assert_eq!(of(&plan, "classy")["ips"], json!(["192.0.2.0"]));
    assert_eq!(of(&plan, "plain")["ips"], json!([]));
}

#[test]
fn a_pool_for_namespaces_sees_their_labels() {
    let fenced = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: fenced, namespace: metallb-system}
spec:
  addresses: [198.51.100.0/24]
  serviceAllocation:
    namespaceSelectors: [{matchLabels: {kubernetes.io/metadata.name: default}}]
";
    let plan = plan(&[LAYER2, fenced, &service("web", "")]);
    assert_eq!(of(&plan, "web")["pool"], "fenced");
}

#[test]
fn the_legacy_configuration_plans_too() {
    let legacy = "
apiVersion: v1
kind: ConfigMap
metadata: {name: config, namespace: metallb-system}
data:
  config: |
    address-pools:
    - {name: default, protocol: layer2, addresses: [192.0.2.16/28]}
";
    let plan = plan(&[
        legacy,
        &node("n1", ""),
        &service("web", ""),
        &endpoints("web", &["n1"]),
    ]);
    assert_eq!(of(&plan, "web")["ips"], json!(["192.0.2.16"]));
    assert_eq!(nodes(of(&plan, "web"), "l2"), ["n1"]);
}

#[test]
fn an_invalid_configuration_plans_nothing_and_exits_1() {
    let invalid = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bad, namespace: metallb-system}
spec: {addresses: [192.0.2.9-192.0.2.1]}
";
    let manifests = [LAYER2, invalid, &service("web", "")].join("\n---\n");
    let output = ironlb(&["-f", "-", "-o", "json"], &manifests);
    assert_eq!(output.status.code(), Some(1));
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plan["services"], json!([]));
    let errors = plan["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0]["source"], "-");
    assert_eq!(errors[0]["object"], "IPAddressPool/bad");
    assert_eq!(errors[0]["field"], "spec.addresses[0]");
    assert!(errors[0]["message"].as_str().unwrap().contains("192.0.2.9"));

    let text = ironlb(&["-f", "-"], &manifests);
    assert_eq!((text.status.code(), text.stdout), (Some(1), Vec::new()));
    let stderr = String::from_utf8(text.stderr).unwrap();
    assert!(
        stderr.starts_with("-:") && stderr.contains("IPAddressPool/bad: spec.addresses[0]: "),
        "{stderr}"
    );
}

#[test]
fn a_wrong_command_exits_2() {
    for arguments in [
        &["-f", "/absent/absolutely"][..],
        &["-f", "-", "-o", "xml"],
        &[],
    ] {
        let output = ironlb(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn a_plan_is_the_same_from_files_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("pools.yaml", LAYER2);
    write("nodes.yml", &three_nodes());
    write(
        "web.yaml",
        &format!("{}---\n{}", service("web", ""), endpoints("web", &["n1"])),
    );
    write("notes.txt", "not: [a manifest");
    let path = directory.path().to_str().unwrap();
    let output = ironlb(&["-f", path, "-o", "json"], "");
    let from_files: Value = serde_json::from_slice(&output.stdout).unwrap();
    let from_stdin = plan(&[
        LAYER2,
        &three_nodes(),
        &service("web", ""),
        &endpoints("web", &["n1"]),
    ]);
    assert_eq!(from_files, from_stdin);
}
