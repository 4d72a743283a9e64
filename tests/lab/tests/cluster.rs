//! The cluster itself: that it is a real one, before anything is tested on it.

#![allow(
    clippy::unwrap_used,
    reason = "a test fails where something is not as it should be"
)]

use std::{net::SocketAddr, time::Duration};

use ironlb_lab::{
    Result,
    backend::{Answer, Program},
    cluster::{Cluster, Options, Pod},
    eventually, eventually_ok, needs_the_lab,
};
use serde_json::json;

#[test]
fn a_load_balancer_s_address_leads_through_every_node_to_every_pod() {
    needs_the_lab!();
    let cluster = cluster();
    cluster.namespace("balanced").unwrap();
    let _pods: Vec<Pod> = cluster
        .nodes()
        .iter()
        .map(|node| {
            let name = format!("web-{}", node.name());
            cluster
                .start_pod(node, "balanced", &name, &[("app", "web")], 8080)
                .unwrap()
        })
        .collect();
    cluster
        .api()
        .apply(&service("balanced", "Cluster"))
        .unwrap();
    cluster.wait_for_endpoints("balanced", "web", 3).unwrap();
    give_addresses(cluster, "balanced", ["10.0.0.100", "fd00:10::100"]);
    for server in sockets(["10.0.0.100:80", "[fd00:10::100]:80"]) {
        for node in cluster.nodes() {
            cluster
                .client()
                .set_neighbour("eth0", server.ip(), node.link().mac())
                .unwrap();
            for ask in [tcp, udp] {
                let mut seen = std::collections::BTreeSet::new();
                eventually(
                    &format!("all Pods answer at {server} by {}", node.name()),
                    PATIENCE,
                    || {
                        seen.extend(ask(cluster, server).map(|answer| answer.backend));
                        seen.len() == 3
                    },
                )
                .unwrap();
            }
        }
    }
}

#[test]
fn a_local_service_keeps_the_client_s_address_and_skips_nodes_without_a_pod() {
    needs_the_lab!();
    let cluster = cluster();
    cluster.namespace("local").unwrap();
    let [n1, n2, _] = cluster.nodes() else {
        panic!("three nodes")
    };
    let pod = cluster
        .start_pod(n1, "local", "only", &[("app", "web")], 8080)
        .unwrap();
    cluster.api().apply(&service("local", "Local")).unwrap();
    cluster.wait_for_endpoints("local", "web", 1).unwrap();
    give_addresses(cluster, "local", ["10.0.0.101", "fd00:10::101"]);
    for server in sockets(["10.0.0.101:80", "[fd00:10::101]:80"]) {
        let client = cluster.client();
        client
            .set_neighbour("eth0", server.ip(), n1.link().mac())
            .unwrap();
        let answer = eventually_ok("the Pod answers", PATIENCE, || client.tcp_get(server)).unwrap();
        assert_eq!(answer.backend, "only");
        assert!(
            ["10.0.0.3", "fd00:10::3"].contains(&&*answer.client.ip().to_string()),
            "{answer}"
        );
        client
            .set_neighbour("eth0", server.ip(), n2.link().mac())
            .unwrap();
        assert!(client.tcp_get(server).is_err());
    }

    cluster.set_ready(&pod, false).unwrap();
    cluster.wait_for_endpoints("local", "web", 0).unwrap();
    cluster.delete_pod(&pod).unwrap();
    assert!(!pod.process().is_running());
}

#[test]
fn a_service_account_has_its_own_rights_and_no_others() {
    needs_the_lab!();
    let cluster = cluster();
    cluster.namespace("rights").unwrap();
    cluster.api().apply(READER).unwrap();
    let kubeconfig = cluster.kubeconfig("rights", "reader").unwrap();
    let flag = format!("--kubeconfig={}", kubeconfig.display());
    let list = |kind| {
        let mut kubectl = cluster.part("kubectl");
        kubectl.args([&flag, "get", kind, "-n", "rights"]);
        cluster.client().run(&mut kubectl).unwrap()
    };
    assert!(list("services").status.success());
    let refused = list("secrets");
    assert!(!refused.status.success());
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        reason.contains("system:serviceaccount:rights:reader"),
        "{reason}"
    );
}

#[test]
fn a_definition_that_was_just_applied_has_objects_at_once() {
    needs_the_lab!();
    let cluster = cluster();
    cluster.namespace("kinds").unwrap();
    cluster.api().apply(DEFINITION).unwrap();
    let made = cluster
        .api()
        .apply("apiVersion: example.org/v1\nkind: Thing\nmetadata: { name: one, namespace: kinds }")
        .unwrap();
    assert_eq!(made[0]["metadata"]["generation"], json!(1));
    assert!(
        cluster
            .api()
            .get("Thing", "kinds", "one")
            .unwrap()
            .is_some()
    );
    cluster.api().delete("Thing", "kinds", "one").unwrap();
    cluster.api().delete("Thing", "kinds", "one").unwrap();
    assert_eq!(
        cluster
            .api()
            .get("example.org/v1/Thing", "kinds", "one")
            .unwrap(),
        None
    );
}

#[test]
fn the_api_server_can_be_stopped_started_and_paused() {
    needs_the_lab!();
    // One of its own: the other tests need theirs.
    let cluster = Cluster::start(Options::new("restart", program()).nodes(1)).unwrap();
    cluster.namespace("kept").unwrap();
    cluster.stop_api_server().unwrap();
    assert!(cluster.api().ready().is_err());
    cluster.start_api_server().unwrap();
    assert!(
        cluster
            .api()
            .get("Namespace", "", "kept")
            .unwrap()
            .is_some()
    );

    cluster.api_server().pause().unwrap();
    let error = cluster
        .api()
        .get("Namespace", "", "kept")
        .unwrap_err()
        .to_string();
    assert!(error.contains("no answer within ten seconds"), "{error}");
    cluster.api_server().resume().unwrap();
    eventually_ok("it answers again", PATIENCE, || cluster.api().ready()).unwrap();
}

fn cluster() -> &'static Cluster {
    Cluster::shared(|| Options::new("cluster", program())).unwrap()
}

fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_ironlb-backend"))
}

fn service(namespace: &str, policy: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Service
metadata: {{ namespace: {namespace}, name: web }}
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: {policy}
  selector: {{ app: web }}
  ports:
  - {{ name: tcp, protocol: TCP, port: 80, targetPort: tcp }}
  - {{ name: udp, protocol: UDP, port: 80, targetPort: udp }}
"
    )
}

/// What the controller would do.
fn give_addresses(cluster: &Cluster, namespace: &str, addresses: [&str; 2]) {
    let ingress = addresses.map(|ip| json!({ "ip": ip }));
    let status = json!({ "loadBalancer": { "ingress": ingress } });
    cluster
        .api()
        .patch_status("Service", namespace, "web", &status)
        .unwrap();
}

fn sockets(text: [&str; 2]) -> [SocketAddr; 2] {
    text.map(|text| text.parse().unwrap())
}

fn tcp(cluster: &Cluster, server: SocketAddr) -> Result<Answer> {
    cluster.client().tcp_get(server)
}

fn udp(cluster: &Cluster, server: SocketAddr) -> Result<Answer> {
    cluster.client().udp_exchange(server)
}

const PATIENCE: Duration = Duration::from_secs(20);

const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: { namespace: rights, name: reader }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { namespace: rights, name: reader }
rules:
- { apiGroups: [''], resources: [services], verbs: [list] }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { namespace: rights, name: reader }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects:
- { kind: ServiceAccount, namespace: rights, name: reader }
";

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: things.example.org }
spec:
  group: example.org
  scope: Namespaced
  names: { plural: things, singular: thing, kind: Thing }
  versions:
  - name: v1
    served: true
    storage: true
    schema: { openAPIV3Schema: { type: object } }
";
