//! Which addresses Services get, and why they get none.

use super::*;

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
    let plan = plan(&[&layer2(), v6, &bare, &dual, &headless]);
    assert_eq!(of(&plan, "web")["ips"], json!(["198.51.100.0"]));
    assert_eq!(
        of(&plan, "dual")["ips"],
        json!(["198.51.100.1", "2001:db8::"])
    );
    assert_eq!(of(&plan, "none")["ips"], json!([]));
    assert!(of(&plan, "none")["reason"].is_string());
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
        &layer2(),
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
        &*layer2(),
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
        &layer2(),
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
            &layer2(),
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
    let plan = plan(&[&layer2(), fenced, &service("web", "")]);
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
fn the_address_of_a_node_is_not_the_first_to_be_given() {
    let node = "{apiVersion: v1, kind: Node, metadata: {name: n1}, \
                status: {addresses: [{type: InternalIP, address: 192.0.2.0}]}}";
    let plan = plan(&[&layer2(), node, &service("web", "")]);
    assert_eq!(of(&plan, "web")["ips"], json!(["192.0.2.1"]));
}
