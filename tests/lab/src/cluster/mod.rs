//! A real Kubernetes cluster on a lab: etcd, kube-apiserver and kube-controller-manager on one host, kube-proxy on each
//! node, a client outside, all on one Ethernet segment.
//!
//! What is not there is the kubelet, the container runtime and the network plug-in: nodes are created by API, a Pod is an object
//! and a process with its addresses, and routes lead from node to node. EndpointSlices are made by their real controller
//! from the Pods and Services.
//!
//! ```no_run
//! use std::time::Duration;
//! use ironlb_lab::{backend::Program, cluster::{Cluster, Options}};
//!
//! # fn main() -> ironlb_lab::Result<()> {
//! let program = Program::new("target/debug/ironlb").argument("backend");
//! let cluster = Cluster::shared(|| Options::new("kube", program).nodes(3))?;
//! cluster.namespace("shop")?; // one for each test
//! let n1 = cluster.node("n1")?;
//! let pod = cluster.start_pod(n1, "shop", "web-1", &[("app", "web")], 8080)?;
//! cluster.api().apply("
//! apiVersion: v1
//! kind: Service
//! metadata: { namespace: shop, name: web }
//! spec: { type: LoadBalancer, selector: { app: web }, ports: [{ port: 80, targetPort: 8080 }] }
//! ")?;
//! cluster.wait_for_endpoints("shop", "web", 1)?;
//! let kubeconfig = cluster.kubeconfig("ironlb-system", "speaker")?; // exactly the rights of that account
//! let address = cluster.api().get("Service", "shop", "web")?; // then ask for status.loadBalancer
//! assert_eq!(cluster.client().who_has("10.0.0.200".parse().expect("an address"))?, Some(n1.link().mac()));
//! # Ok(()) }
//! ```
//!
//! The LAN is 10.0.0.0/24 and fd00:10::/64: 10.0.0.1 is free for a router (the nodes' default gateway), .2 the
//! control plane, .3 the client, .11 and up the nodes, and the same with fd00:10::. From .100 on all is free for Services.
//! Services' cluster addresses are in 10.32.0.0/16 and fd00:32::/112, Pods in 10.64.0.0/10 and fd00:64::/32.

use std::{
    path::PathBuf,
    process::Command,
    sync::{Mutex, atomic::AtomicU16},
    time::Duration,
};

use serde_json::{Value, json};

mod api;
mod control_plane;
mod network;
mod node;

pub use api::{Api, objects};
pub use node::{Node, Pod};

use crate::{
    Error, Host, Lab, Process, Result, Switch, backend::Program, lab::locked, wait::eventually_ok,
};
use control_plane::ControlPlane;

/// What a cluster is to be.
#[derive(Clone, Debug)]
pub struct Options {
    name: String,
    backend: Program,
    nodes: u8,
}

impl Options {
    /// A cluster of three nodes, whose Pods run `backend`.
    pub fn new(name: &str, backend: Program) -> Self {
        Self {
            name: name.to_owned(),
            backend,
            nodes: 3,
        }
    }

    /// The number of nodes.
    #[must_use]
    pub fn nodes(mut self, nodes: u8) -> Self {
        self.nodes = nodes;
        self
    }
}

/// A running cluster. It ends when it is dropped.
#[derive(Debug)]
pub struct Cluster {
    // First, so that the processes end before the client's runtime does.
    lab: Lab,
    lan: Switch,
    client: Host,
    control_plane: ControlPlane,
    nodes: Vec<Node>,
    backend: Program,
}

impl Cluster {
    /// Starts a cluster, which takes some ten seconds.
    ///
    /// # Errors
    /// When a program is missing or one does not get ready.
    pub fn start(options: Options) -> Result<Self> {
        let lab = Lab::new(&options.name)?;
        let lan = lab.switch("lan")?;
        let control = lan_host(
            &lab,
            &lan,
            "control",
            network::CONTROL_V4,
            network::CONTROL_V6,
        )?;
        let client = lan_host(&lab, &lan, "client", network::CLIENT_V4, network::CLIENT_V6)?;
        let control_plane = ControlPlane::start(control, lab.directory().join("control-plane"))?;
        let nodes = (1..=options.nodes)
            .map(|number| start_node(&lab, &lan, &control_plane, number))
            .collect::<Result<Vec<Node>>>()?;
        for (node, other) in nodes
            .iter()
            .flat_map(|n| nodes.iter().map(move |other| (n, other)))
        {
            if node.number != other.number {
                route_pods(node, other)?;
            }
        }
        for node in &nodes {
            node.wait_for_proxy()?;
        }
        Ok(Self {
            lab,
            lan,
            client,
            control_plane,
            nodes,
            backend: options.backend,
        })
    }

    /// The one cluster of this program, for many tests at once; the first who asks starts it. Its processes end with
    /// the program, and its files go when the next lab is made.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub fn shared(options: impl FnOnce() -> Options) -> Result<&'static Self> {
        static SHARED: Mutex<Option<std::result::Result<&Cluster, String>>> = Mutex::new(None);
        let mut shared = locked(&SHARED);
        let outcome = shared.get_or_insert_with(|| {
            let started = Self::start(options()).map(|cluster| &*Box::leak(Box::new(cluster)));
            started.map_err(|error| error.to_string())
        });
        match outcome {
            Ok(cluster) => {
                cluster.lab.show_logs_if_this_thread_panics();
                Ok(cluster)
            }
            Err(reason) => Err(Error::Api {
                request: "start the cluster that all tests share".into(),
                reason: reason.clone(),
            }),
        }
    }

    /// The lab under the cluster, to add hosts to.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The switch that everything is connected to.
    pub fn lan(&self) -> &Switch {
        &self.lan
    }

    /// A host on the LAN that is not part of the cluster.
    pub fn client(&self) -> &Host {
        &self.client
    }

    /// The nodes, in the order of their names.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The node of that name.
    ///
    /// # Errors
    /// When there is none.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|node| node.name() == name);
        found.ok_or_else(|| node::no_node(name))
    }

    /// The API, as the cluster's administrator.
    pub fn api(&self) -> &Api {
        self.control_plane.api()
    }

    /// The API server's process, to pause and kill.
    pub fn api_server(&self) -> Process {
        self.control_plane.api_server()
    }

    /// Stops the API server: SIGTERM, two seconds for its last requests, SIGKILL. etcd and all the others go on.
    ///
    /// # Errors
    /// When it does not stop.
    pub fn stop_api_server(&self) -> Result<()> {
        self.control_plane.stop_api_server()
    }

    /// Starts the API server again, if it does not run, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn start_api_server(&self) -> Result<()> {
        self.control_plane.start_api_server()
    }

    /// The API server's address.
    pub fn server(&self) -> String {
        control_plane::server()
    }

    /// Writes a kubeconfig file with a token of a ServiceAccount, so that a program runs with exactly its rights.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn kubeconfig(&self, namespace: &str, service_account: &str) -> Result<PathBuf> {
        self.kubeconfig_by(namespace, service_account, &self.server())
    }

    /// As [`Self::kubeconfig`], but through a TCP proxy at `server`, such as `https://10.0.0.2:7443`.
    ///
    /// # Errors
    /// When there is no such account.
    pub fn kubeconfig_by(
        &self,
        namespace: &str,
        service_account: &str,
        server: &str,
    ) -> Result<PathBuf> {
        let token = self.api().token(namespace, service_account)?;
        let port = server.rsplit(':').next().unwrap_or_default();
        let name = format!("{namespace}-{service_account}-{port}");
        self.control_plane.write_kubeconfig(&name, &token, server)
    }

    /// The administrator's kubeconfig file; the product must never get it.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.control_plane.admin_kubeconfig()
    }

    /// Runs kubectl as the administrator and gives what it prints, for what only kubectl can do, such as `kustomize`.
    ///
    /// # Errors
    /// When it fails; what it printed on standard error is the reason.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.control_plane.kubectl(arguments)
    }

    /// One part of Kubernetes as a command, such as `kube-proxy`.
    pub fn part(&self, name: &str) -> Command {
        self.control_plane.part(name)
    }

    /// Makes a namespace, ready for Pods.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn namespace(&self, name: &str) -> Result<()> {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.api().apply_object(&object)?;
        let what = format!("the namespace {name} has a ServiceAccount for its Pods");
        eventually_ok(&what, PATIENCE, || {
            match self.api().get("ServiceAccount", name, "default") {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("not yet".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    /// Starts a Pod on a node: a backend that serves TCP and UDP on `port` and answers with the Pod's name, and the
    /// object, ready.
    ///
    /// # Errors
    /// The API server's refusal; the backend does not start.
    pub fn start_pod(
        &self,
        node: &Node,
        namespace: &str,
        name: &str,
        labels: &[(&str, &str)],
        port: u16,
    ) -> Result<Pod> {
        let addresses = node.new_pod_addresses()?;
        let sockets = node::sockets(addresses, port);
        let process = node.host().backend(&self.backend, name, &sockets)?;
        let object = node::pod_object(namespace, name, node.name(), labels, port);
        self.api().apply_object(&object)?;
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        let pod = Pod {
            namespace,
            name,
            addresses,
            process,
        };
        self.set_ready(&pod, true)?;
        Ok(pod)
    }

    /// Says whether the Pod is ready, as its kubelet would after a readiness probe. The backend serves on.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn set_ready(&self, pod: &Pod, ready: bool) -> Result<()> {
        let status = node::pod_status(pod.addresses, ready);
        self.api()
            .patch_status("Pod", &pod.namespace, &pod.name, &status)
            .map(|_| ())
    }

    /// Deletes the Pod's object and ends its backend.
    ///
    /// # Errors
    /// The API server's refusal.
    pub fn delete_pod(&self, pod: &Pod) -> Result<()> {
        self.api().delete("Pod", &pod.namespace, &pod.name)?;
        pod.process.kill()
    }

    /// Waits until the Service's EndpointSlices have exactly so many ready endpoints of each family that it has.
    ///
    /// # Errors
    /// When that does not happen.
    pub fn wait_for_endpoints(&self, namespace: &str, service: &str, ready: usize) -> Result<()> {
        let what = format!("{namespace}/{service} has {ready} ready endpoints");
        eventually_ok(&what, PATIENCE, || {
            let selector = format!("kubernetes.io/service-name={service}");
            let slices = self.api().list("EndpointSlice", namespace, &selector);
            let slices = slices.map_err(|error| error.to_string())?;
            let counts: Vec<usize> = slices.iter().map(ready_endpoints).collect();
            if !counts.is_empty() && counts.iter().all(|count| *count == ready) {
                Ok(())
            } else {
                Err(format!("{counts:?} by slice"))
            }
        })
    }
}

fn lan_host(lab: &Lab, lan: &Switch, name: &str, v4: &str, v6: &str) -> Result<Host> {
    let host = lab.host(name)?;
    host.connect(lan, "eth0", &[&format!("{v4}/24"), &format!("{v6}/64")])?;
    Ok(host)
}

fn start_node(lab: &Lab, lan: &Switch, control_plane: &ControlPlane, number: u8) -> Result<Node> {
    let host = lab.router(&format!("n{number}"))?;
    let addresses = network::node_addresses(number);
    let [v4, v6] = addresses;
    let link = host.connect(lan, "eth0", &[&format!("{v4}/24"), &format!("{v6}/64")])?;
    host.add_route("0.0.0.0/0", network::GATEWAY_V4)?;
    host.add_route("::/0", network::GATEWAY_V6)?;
    let api = control_plane.api();
    api.apply_object(&node::node_object(host.name()))?;
    api.patch_status("Node", "", host.name(), &node::node_status(addresses))?;
    let command = control_plane::proxy_command(control_plane, host.name());
    let proxy = host.spawn_as("kube-proxy", command)?;
    Ok(Node {
        number,
        host,
        link,
        proxy,
        pods: AtomicU16::new(1),
    })
}

/// Sends what is for the Pods of `other` to it.
fn route_pods(node: &Node, other: &Node) -> Result<()> {
    let gateways = other.addresses();
    for (prefix, gateway) in network::pod_prefixes(other.number).iter().zip(gateways) {
        node.host.add_route(prefix, &gateway.to_string())?;
    }
    Ok(())
}

fn ready_endpoints(slice: &Value) -> usize {
    let endpoints = slice.pointer("/endpoints").and_then(Value::as_array);
    let ready = |endpoint: &&Value| endpoint.pointer("/conditions/ready") == Some(&json!(true));
    endpoints.map_or(0, |all| all.iter().filter(ready).count())
}

const PATIENCE: Duration = Duration::from_secs(20);
