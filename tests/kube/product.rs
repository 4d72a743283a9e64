//! The product in the cluster: the real binary under the ServiceAccounts and roles of `deploy/`.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{
    LazyLock, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

use ironlb_lab::backend::Program;
use ironlb_lab::cluster::{Cluster, Node, Options};
use ironlb_lab::{Host, Process, eventually_ok};
use serde_json::{Value, json};

use crate::proxy::Proxy;

/// The cluster with a controller and a speaker on each node. One for all tests.
pub(crate) struct Product {
    pub(crate) cluster: &'static Cluster,
    pub(crate) proxy: Proxy,
    accounts: Accounts,
    controller: Mutex<Process>,
    speakers: Mutex<Vec<Process>>,
    disturbed: RwLock<()>,
}

/// The kubeconfig files of the ServiceAccounts in `deploy/`.
struct Accounts {
    controller: PathBuf,
    speaker: PathBuf,
}

/// Leave to use the product while others do.
pub(crate) struct Shared {
    product: &'static Product,
    _turn: RwLockReadGuard<'static, ()>,
}

/// Leave to disturb the product: nobody else uses it meanwhile.
pub(crate) struct Alone {
    product: &'static Product,
    _turn: RwLockWriteGuard<'static, ()>,
}

impl std::ops::Deref for Shared {
    type Target = Product;

    fn deref(&self) -> &Product {
        self.product
    }
}

impl std::ops::Deref for Alone {
    type Target = Product;

    fn deref(&self) -> &Product {
        self.product
    }
}

impl Drop for Alone {
    /// Leaves no fault to the next test, however this one ended.
    fn drop(&mut self) {
        self.product.proxy.heal();
    }
}

/// The product, together with other tests.
pub(crate) fn shared() -> Shared {
    let product = product();
    let turn = product
        .disturbed
        .read()
        .unwrap_or_else(PoisonError::into_inner);
    Shared {
        product,
        _turn: turn,
    }
}

/// The product, for a test that restarts or breaks something that others rely on.
pub(crate) fn alone() -> Alone {
    let product = product();
    let turn = product
        .disturbed
        .write()
        .unwrap_or_else(PoisonError::into_inner);
    Alone {
        product,
        _turn: turn,
    }
}

fn product() -> &'static Product {
    // One that did not start fails every test at once.
    static PRODUCT: LazyLock<Product> = LazyLock::new(|| {
        let cluster = Cluster::shared(|| Options::new("kube", backend())).unwrap();
        Product::start(cluster)
    });
    // Shows the logs of the cluster if this test fails.
    let _ = Cluster::shared(|| Options::new("kube", backend()));
    &PRODUCT
}

fn backend() -> Program {
    Program::new(env!("CARGO_BIN_EXE_ironlb"))
        .argument("demo")
        .argument("--serve")
}

impl Product {
    fn start(cluster: &'static Cluster) -> Self {
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
        let manifests = cluster
            .kubectl(&["kustomize", &deploy.to_string_lossy()])
            .unwrap();
        cluster.api().apply(&manifests).unwrap();
        let proxy_host = cluster.lab().host("proxy").unwrap();
        proxy_host
            .connect(cluster.lan(), "eth0", &["10.0.0.4/24", "fd00:10::4/64"])
            .unwrap();
        let proxy = Proxy::start(
            &proxy_host,
            PROXY.parse().unwrap(),
            &cluster.admin_kubeconfig(),
        );
        let account = |name| {
            cluster
                .kubeconfig_by(NAMESPACE, name, &proxy.url())
                .unwrap()
        };
        let accounts = Accounts {
            controller: account("controller"),
            speaker: account("speaker"),
        };
        let speaker = |node: &Node| start_speaker(&accounts.speaker, node.host(), &[]);
        let product = Self {
            cluster,
            controller: Mutex::new(start_controller(cluster, &accounts.controller)),
            speakers: Mutex::new(cluster.nodes().iter().map(speaker).collect()),
            proxy,
            accounts,
            disturbed: RwLock::new(()),
        };
        product.wait_until_ready();
        product
    }

    /// Waits until the controller and all speakers have read everything.
    pub(crate) fn wait_until_ready(&self) {
        eventually_ok("controller and speakers are ready", PATIENCE, || {
            ready(self.cluster.node("n1").unwrap(), CONTROLLER_PORT)?;
            self.cluster
                .nodes()
                .iter()
                .try_for_each(|node| ready(node, SPEAKER_PORT))
        })
        .unwrap();
    }

    pub(crate) fn controller(&self) -> MutexGuard<'_, Process> {
        self.controller
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn kill_controller(&self) {
        self.controller().kill().unwrap();
    }

    pub(crate) fn start_controller(&self) {
        *self.controller() = start_controller(self.cluster, &self.accounts.controller);
    }

    /// A controller beside the first, as another pod.
    pub(crate) fn second_controller(&self, pod: &str) -> Process {
        let mut command = ironlb(&self.accounts.controller);
        command.args(["controller", "--port", &SPEAKER_PORT.to_string()]);
        command.env("IRONLB_POD_NAME", pod);
        self.cluster.client().spawn_as(pod, command).unwrap()
    }

    pub(crate) fn speaker(&self, node: &str) -> Process {
        let speakers = self.speakers.lock().unwrap_or_else(PoisonError::into_inner);
        speakers[self.number(node)].clone()
    }

    pub(crate) fn start_speaker(&self, node: &str) {
        self.start_speaker_with(node, &[]);
    }

    /// Starts the speaker of a node with arguments that `deploy/` does not have.
    pub(crate) fn start_speaker_with(&self, node: &str, arguments: &[&str]) {
        let host = self.cluster.node(node).unwrap().host();
        let process = start_speaker(&self.accounts.speaker, host, arguments);
        let mut speakers = self.speakers.lock().unwrap_or_else(PoisonError::into_inner);
        speakers[self.number(node)] = process;
    }

    /// A speaker of a node that is not one of the cluster's, on a host of the same name.
    pub(crate) fn speaker_on(&self, host: &Host) -> Process {
        start_speaker(&self.accounts.speaker, host, &[])
    }

    fn number(&self, node: &str) -> usize {
        self.cluster
            .nodes()
            .iter()
            .position(|found| found.name() == node)
            .unwrap()
    }
}

fn ready(node: &Node, port: u16) -> Result<(), String> {
    let address = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
    let answer = node
        .host()
        .http_get(address, "/readyz")
        .map_err(|error| error.to_string())?;
    if answer.trim() == "ok" {
        Ok(())
    } else {
        Err(format!("{} port {port}: {answer}", node.name()))
    }
}

fn start_controller(cluster: &Cluster, kubeconfig: &Path) -> Process {
    let mut command = ironlb(kubeconfig);
    command.args(["controller", "--port", &CONTROLLER_PORT.to_string()]);
    // A container that is restarted is still the same pod.
    command.env("IRONLB_POD_NAME", "controller-0");
    // Any host that reaches the API server will do.
    let host = cluster.node("n1").unwrap().host();
    host.spawn_as("controller", command).unwrap()
}

fn start_speaker(kubeconfig: &Path, host: &Host, arguments: &[&str]) -> Process {
    let mut command = ironlb(kubeconfig);
    command.args([
        "speaker",
        "--node-name",
        host.name(),
        "--port",
        &SPEAKER_PORT.to_string(),
    ]);
    command.args(arguments);
    host.spawn_as("speaker", command).unwrap()
}

fn ironlb(kubeconfig: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ironlb"));
    command
        .env("KUBECONFIG", kubeconfig)
        .env("IRONLB_NAMESPACE", NAMESPACE)
        .env("IRONLB_LOG", "info");
    command
}

/// A namespace with addresses that nobody else gets: 8 IPv4 (10.0.0.X to X+7) and 256 IPv6 addresses, in a pool of its name
/// for its Services alone, announced from all nodes.
pub(crate) struct Tenant<'a> {
    pub(crate) product: &'a Product,
    pub(crate) name: &'static str,
    /// None when its addresses are not on the segment.
    number: Option<u8>,
}

impl<'a> Tenant<'a> {
    /// A new tenant. Numbers from 0 to 28 are there; each test has one of its own.
    pub(crate) fn new(product: &'a Product, name: &'static str, number: u8) -> Self {
        let tenant = Self {
            product,
            name,
            number: Some(number),
        };
        product.cluster.namespace(name).unwrap();
        tenant.set_pool(&[&tenant.range_v4(), &tenant.range_v6()]);
        let advertisement = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement",
            "metadata": { "name": name, "namespace": NAMESPACE },
            "spec": { "ipAddressPools": [name] },
        });
        product.cluster.api().apply_object(&advertisement).unwrap();
        tenant
    }

    /// A new tenant whose addresses are these, behind a router; nothing announces them yet.
    pub(crate) fn beyond(product: &'a Product, name: &'static str, addresses: &[&str]) -> Self {
        let number = None;
        let tenant = Self {
            product,
            name,
            number,
        };
        product.cluster.namespace(name).unwrap();
        tenant.set_pool(addresses);
        tenant
    }

    /// Sets what is in the pool.
    pub(crate) fn set_pool(&self, addresses: &[&str]) {
        let pool = json!({
            "apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
            "metadata": { "name": self.name, "namespace": NAMESPACE },
            "spec": { "addresses": addresses, "serviceAllocation": { "namespaces": [self.name] } },
        });
        self.product.cluster.api().apply_object(&pool).unwrap();
    }

    /// The IPv4 address of that number, 0 to 7.
    pub(crate) fn v4(&self, number: u8) -> IpAddr {
        let first = match self.number() {
            before @ 0..20 => 90 + 8 * before,
            after @ 20..29 => 16 + 8 * (after - 20),
            beyond => panic!("there is no room for a tenant {beyond}"),
        };
        IpAddr::from([10, 0, 0, first + number])
    }

    /// The IPv6 address of that number.
    pub(crate) fn v6(&self, number: u8) -> IpAddr {
        IpAddr::from([
            0xfd00,
            0x10,
            0,
            0,
            0,
            0,
            0,
            0x1000 + 0x100 * u16::from(self.number()) + u16::from(number),
        ])
    }

    fn number(&self) -> u8 {
        self.number.expect("addresses on the segment")
    }

    pub(crate) fn range_v4(&self) -> String {
        format!("{}-{}", self.v4(0), self.v4(7))
    }

    pub(crate) fn range_v6(&self) -> String {
        format!("{}-{}", self.v6(0), self.v6(255))
    }

    /// Applies a Service for the Pods with label `app: NAME`, port 80 TCP and UDP to their 8080, with this added to its spec.
    pub(crate) fn service(&self, name: &str, spec: &Value) {
        self.annotated_service(name, &json!({}), spec);
    }

    pub(crate) fn annotated_service(&self, name: &str, annotations: &Value, spec: &Value) {
        let mut service = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": name, "namespace": self.name, "annotations": annotations },
            "spec": {
                "type": "LoadBalancer",
                "selector": { "app": name },
                "ipFamilyPolicy": "SingleStack",
                "ports": [
                    { "name": "tcp", "protocol": "TCP", "port": 80, "targetPort": 8080 },
                    { "name": "udp", "protocol": "UDP", "port": 80, "targetPort": 8080 },
                ],
            },
        });
        for (field, value) in spec.as_object().unwrap() {
            service["spec"][field] = value.clone();
        }
        self.product.cluster.api().apply_object(&service).unwrap();
    }

    /// Starts a Pod with label `app: APP` on a node.
    pub(crate) fn pod(&self, node: &str, app: &str, name: &str) -> ironlb_lab::cluster::Pod {
        let cluster = self.product.cluster;
        let name = format!("{}-{name}", self.name);
        cluster
            .start_pod(
                cluster.node(node).unwrap(),
                self.name,
                &name,
                &[("app", app)],
                8080,
            )
            .unwrap()
    }

    /// The addresses in a Service's status.
    pub(crate) fn addresses(&self, service: &str) -> Vec<IpAddr> {
        let found = self
            .product
            .cluster
            .api()
            .get("v1/Service", self.name, service)
            .unwrap();
        addresses_in(&found.unwrap_or_default())
    }

    /// Waits until a Service has so many addresses.
    pub(crate) fn wait_for_addresses(&self, service: &str, count: usize) -> Vec<IpAddr> {
        let what = format!("{}/{service} has {count} addresses", self.name);
        eventually_ok(&what, PATIENCE, || {
            let addresses = self.addresses(service);
            if addresses.len() == count {
                Ok(addresses)
            } else {
                Err(format!("{addresses:?}"))
            }
        })
        .unwrap()
    }

    /// Waits until a Service has exactly this address.
    pub(crate) fn wait_for_address(&self, service: &str, address: IpAddr) {
        let what = format!("{}/{service} has {address}", self.name);
        eventually_ok(&what, PATIENCE, || {
            let addresses = self.addresses(service);
            if addresses == [address] {
                Ok(())
            } else {
                Err(format!("{addresses:?}"))
            }
        })
        .unwrap();
    }

    /// Waits until the client gets an answer from one of this Service's Pods over TCP, and gives its name.
    pub(crate) fn wait_until_served(&self, address: IpAddr) -> String {
        let client = self.product.cluster.client();
        let what = format!("{address} answers the client");
        let answer = eventually_ok(&what, PATIENCE, || {
            client.tcp_get(SocketAddr::new(address, 80))
        });
        answer.unwrap().backend
    }

    /// The node that answers for an address on the wire now, if any does.
    pub(crate) fn announcer(&self, address: IpAddr) -> Option<&'static str> {
        let cluster = self.product.cluster;
        let client = cluster.client();
        client.forget_neighbour(address).unwrap();
        let mac = client.who_has(address).unwrap()?;
        let node = cluster.nodes().iter().find(|node| node.link().mac() == mac);
        Some(
            node.unwrap_or_else(|| panic!("{address} is answered for by {mac}, which is no node"))
                .name(),
        )
    }

    /// Waits until `node` answers for an address, or nobody does.
    pub(crate) fn wait_for_announcer(&self, address: IpAddr, wanted: Option<&str>) {
        let what = format!("{address} is answered for by {wanted:?}");
        eventually_ok(&what, PATIENCE, || {
            let found = self.announcer(address);
            if found == wanted {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .unwrap();
    }

    /// Waits until some node answers for an address, and gives its name.
    pub(crate) fn wait_for_announcer_somewhere(&self, address: IpAddr) -> &'static str {
        let what = format!("some node answers for {address}");
        eventually_ok(&what, PATIENCE, || self.announcer(address).ok_or("nobody")).unwrap()
    }

    /// Waits until there is an Event of this reason about a Service.
    pub(crate) fn wait_until_told(&self, service: &str, reason: &str) {
        let what = format!("an Event {reason} about {}/{service}", self.name);
        eventually_ok(&what, PATIENCE, || {
            let reasons = self.event_reasons(service);
            if reasons.iter().any(|found| found == reason) {
                Ok(())
            } else {
                Err(format!("{reasons:?}"))
            }
        })
        .unwrap();
    }

    /// The reasons of the Events about a Service.
    pub(crate) fn event_reasons(&self, service: &str) -> Vec<String> {
        let events = self
            .product
            .cluster
            .api()
            .list("v1/Event", self.name, "")
            .unwrap();
        let about = |event: &&Value| event["involvedObject"]["name"] == service;
        events
            .iter()
            .filter(about)
            .map(|event| event["reason"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// Deletes a Service.
    pub(crate) fn delete_service(&self, service: &str) {
        self.product
            .cluster
            .api()
            .delete("v1/Service", self.name, service)
            .unwrap();
    }
}

impl Drop for Tenant<'_> {
    /// Gives the addresses back, so that what follows begins with an idle cluster.
    fn drop(&mut self) {
        let api = self.product.cluster.api();
        for service in api.list("v1/Service", self.name, "").unwrap_or_default() {
            let name = service["metadata"]["name"].as_str().unwrap_or_default();
            let _ = api.delete("v1/Service", self.name, name);
        }
        let _ = api.delete("metallb.io/v1beta1/L2Advertisement", NAMESPACE, self.name);
        let _ = api.delete("metallb.io/v1beta1/IPAddressPool", NAMESPACE, self.name);
        // A verb that the roles lack fails whichever test comes by.
        let forbidden = self.product.proxy.forbidden();
        assert!(
            std::thread::panicking() || forbidden.is_empty(),
            "the roles in deploy/ lack: {forbidden:#?}"
        );
    }
}

/// The addresses in the status of a Service.
pub(crate) fn addresses_in(service: &Value) -> Vec<IpAddr> {
    let ingress = service["status"]["loadBalancer"]["ingress"].as_array();
    let addresses = ingress
        .into_iter()
        .flatten()
        .filter_map(|entry| entry["ip"].as_str()?.parse().ok());
    addresses.collect()
}

/// ironlb's namespace in `deploy/`.
pub(crate) const NAMESPACE: &str = "metallb-system";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
const CONTROLLER_PORT: u16 = 7473;
const SPEAKER_PORT: u16 = 7472;
const PROXY: &str = "10.0.0.4:8001";
