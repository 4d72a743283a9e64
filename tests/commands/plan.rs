//! `ironlb plan`, by its contract: manifests in, JSON or a table out.

mod allocation;
mod announcement;

use ironlb_lab::manifest::{
    bgp_peer, configuration, endpoint_slice, file, l2_advertisement, node, pool,
    service as load_balancer,
};
use serde_json::{Value, json};
use std::process::Output;

use crate::run::{run, text};

/// A pool that is announced on layer 2.
fn layer2() -> String {
    file(&[pool("first", "192.0.2.0/28"), l2_advertisement("all")])
}

fn ironlb(arguments: &[&str], input: &str) -> Output {
    run(&[&["plan"], arguments].concat(), input)
}

/// The plan as JSON; the configuration must be valid.
fn plan(manifests: &[&str]) -> Value {
    plan_with(&[], manifests)
}

fn plan_with(arguments: &[&str], manifests: &[&str]) -> Value {
    let arguments = [&["-f", "-", "-o", "json"], arguments].concat();
    let output = ironlb(&arguments, &manifests.join("\n---\n"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr), "");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
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

fn three_nodes() -> String {
    let nodes = ["n1", "n2", "n3"].map(|name| node(name, ""));
    file(&nodes)
}

/// A Service of type LoadBalancer on port 80; `spec` adds to its specification.
fn service(name: &str, spec: &str) -> String {
    load_balancer(
        name,
        &format!("ports: [{port}], {spec}", port = "{port: 80}"),
    )
}

/// An EndpointSlice of a Service, with a ready endpoint on each of the nodes.
fn endpoints<'a>(service: &str, nodes: &[&'a str]) -> String {
    let address = |(index, node): (usize, &&'a str)| (format!("10.0.0.{index}"), *node);
    let endpoints: Vec<_> = nodes.iter().enumerate().map(address).collect();
    endpoint_slice(service, "IPv4", &endpoints, "{port: 8080}")
}

/// Two peers of other ASes, and an advertisement of the pool to both.
fn bgp() -> String {
    file(&[
        bgp_peer("tor", "myASN: 64512, peerASN: 64513, peerAddress: 10.0.0.1"),
        bgp_peer(
            "spine",
            "myASN: 64512, peerASN: 64514, peerAddress: 10.0.0.2",
        ),
        configuration("BGPAdvertisement", "hosts", "ipAddressPools: [first]"),
    ])
}

#[test]
fn the_table_shows_the_same_to_people() {
    let manifests: [&str; 7] = [
        &layer2(),
        &bgp(),
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
fn a_plan_is_the_same_from_files_in_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("pools.yaml", &layer2());
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
        &layer2(),
        &three_nodes(),
        &service("web", ""),
        &endpoints("web", &["n1"]),
    ]);
    assert_eq!(from_files, from_stdin);
}

#[test]
fn an_invalid_configuration_plans_nothing_and_exits_1() {
    let invalid = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: bad, namespace: metallb-system}
spec: {addresses: [192.0.2.9-192.0.2.1]}
";
    let manifests = [&layer2(), invalid, &service("web", "")].join("\n---\n");
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
