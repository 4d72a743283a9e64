//! The product as it ships, in a cluster of the lab with many Services.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::{StreamExt, TryStreamExt, stream};
use ironlb_config::kinds::Service;
use ironlb_lab::backend::Program;
use ironlb_lab::cluster::{Cluster, Node, Options};
use ironlb_lab::{Process, eventually_ok};
use ironlb_model::ServiceKey;
use kube::api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::Request;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::dist;
use crate::proc::process_time;

/// A cluster with one node, a pool of 65,536 addresses for the namespace [`NAMESPACE`], the roles of `deploy/`, and nothing of
/// ironlb running. kube-proxy does not run either: it would take the machine from what is measured.
pub(crate) struct Product {
    pub(crate) cluster: Cluster,
    pub(crate) binary: PathBuf,
    controller: PathBuf,
    speaker: PathBuf,
}

impl Product {
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let binary = dist::binary()?;
        let backend = Program::new(&binary).argument("demo").argument("--serve");
        let cluster = Cluster::start(Options::new(name, backend).nodes(1))?;
        for node in cluster.nodes() {
            node.proxy().kill()?;
        }
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy");
        let manifests = cluster.kubectl(&["kustomize", &deploy.to_string_lossy()])?;
        cluster.api().apply(&manifests)?;
        cluster.namespace(NAMESPACE)?;
        cluster.api().apply(POOL)?;
        Ok(Self {
            controller: cluster.kubeconfig(IRONLB, "controller")?,
            speaker: cluster.kubeconfig(IRONLB, "speaker")?,
            cluster,
            binary,
        })
    }

    pub(crate) fn node(&self) -> anyhow::Result<&Node> {
        Ok(self.cluster.node("n1")?)
    }

    /// Starts the controller and does not wait for it.
    pub(crate) fn start_controller(&self) -> anyhow::Result<Process> {
        let mut command = self.ironlb(&self.controller);
        command.args(["controller", "--port", &CONTROLLER_PORT.to_string()]);
        Ok(self.node()?.host().spawn_as("controller", command)?)
    }

    /// Starts the speaker and does not wait for it.
    pub(crate) fn start_speaker(&self) -> anyhow::Result<Process> {
        let mut command = self.ironlb(&self.speaker);
        command.args(["speaker", "--node-name", self.node()?.name()]);
        command.args(["--port", &SPEAKER_PORT.to_string()]);
        Ok(self.node()?.host().spawn_as("speaker", command)?)
    }

    fn ironlb(&self, kubeconfig: &Path) -> Command {
        let mut command = Command::new(&self.binary);
        command
            .env("KUBECONFIG", kubeconfig)
            .env("IRONLB_NAMESPACE", IRONLB)
            .env("IRONLB_LOG", "info");
        command
    }

    /// What a process of ironlb says on its port for metrics and health.
    pub(crate) fn ask(&self, port: u16, path: &str) -> anyhow::Result<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Ok(self.node()?.host().http_get(address, path)?)
    }

    /// Waits until the process at `port` has read everything.
    pub(crate) fn wait_until_ready(&self, process: &Process, port: u16) -> anyhow::Result<()> {
        let what = format!("{} is ready", process.name());
        Ok(process.wait_until(&what, PATIENCE, || {
            match self
                .ask(port, "/readyz")
                .map_err(|error| error.to_string())?
            {
                answer if answer.trim() == "ok" => Ok(()),
                answer => Err(answer),
            }
        })?)
    }

    /// Creates the Services of these numbers, without an address, and an EndpointSlice with two endpoints of each.
    pub(crate) fn create_services(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        self.create_slices(numbers.clone())?;
        self.for_each("create Services", numbers, |client, number| async move {
            create(&client, services_url(), &service(number)).await
        })?;
        Ok(())
    }

    /// Creates the EndpointSlices of these Services, which need not be there yet.
    pub(crate) fn create_slices(&self, numbers: std::ops::Range<usize>) -> anyhow::Result<()> {
        let node = self.node()?.name().to_owned();
        self.for_each("create EndpointSlices", numbers, move |client, number| {
            let slice = endpoint_slice(number, &node);
            async move { create(&client, slices_url(), &slice).await }
        })?;
        Ok(())
    }

    /// Takes the addresses from all Services and gives the time that took: as many writes as the controller makes to give
    /// them, as many at once, and nothing decided.
    pub(crate) fn clear_statuses(&self, count: usize) -> anyhow::Result<Duration> {
        let patch = json!({
            "metadata": { "annotations": { "metallb.io/ip-allocated-from-pool": null } },
            "status": { "loadBalancer": { "ingress": null } },
        });
        let names = (0..count).map(service_name);
        self.for_each("clear statuses", names, move |client, name| {
            let patch = Patch::Merge(patch.clone());
            async move {
                let parameters = PatchParams::default();
                let request = Request::new(services_url())
                    .patch_subresource("status", &name, &parameters, &patch)
                    .map_err(kube::Error::BuildRequest)?;
                client.request_text(request).await.map(|_| ())
            }
        })
    }

    /// Creates the Service of that number.
    pub(crate) fn create_service(&self, number: usize) -> anyhow::Result<()> {
        let client = self.cluster.api().client();
        let work = async move { create(&client, services_url(), &service(number)).await };
        Ok(self.cluster.api().wait_for("create a Service", work)?)
    }

    /// The resource version of each Service.
    pub(crate) fn versions(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let services = self.cluster.api().list("v1/Service", NAMESPACE, "")?;
        let text = |service: &Value, field: &str| {
            service["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Ok(services
            .iter()
            .map(|service| (text(service, "name"), text(service, "resourceVersion")))
            .collect())
    }

    /// Watches the Services from now on.
    pub(crate) fn watch(&self) -> anyhow::Result<Addresses> {
        let api = Api::<Service>::all(self.cluster.api().client());
        let (sender, receiver) = mpsc::channel();
        // A list of one object says from which version on to watch.
        let one = ListParams::default().limit(1);
        let task = self.cluster.api().wait_for("watch Services", async move {
            let list = api.list(&one).await?;
            let mut version = list.metadata.resource_version.unwrap_or_default();
            Ok::<_, kube::Error>(tokio::spawn(async move {
                // The API server ends a watch that is not read fast enough, and goes on from where it was.
                let error = loop {
                    if let Err(error) = follow(&api, &mut version, &sender).await {
                        break error;
                    }
                };
                eprintln!("watch of Services: {error}");
            }))
        })?;
        Ok(Addresses { receiver, task })
    }

    /// Makes a request of each item, [`AT_ONCE`] at once, and gives the time that all of them took.
    fn for_each<T, F>(
        &self,
        what: &str,
        items: impl Iterator<Item = T> + Send + 'static,
        request: impl Fn(Client, T) -> F + Send + Sync + 'static,
    ) -> anyhow::Result<Duration>
    where
        T: Send + 'static,
        F: Future<Output = kube::Result<()>> + Send + 'static,
    {
        let client = self.cluster.api().client();
        let (sender, receiver) = mpsc::channel();
        let work = async move {
            let begin = Instant::now();
            let done = stream::iter(items)
                .map(|item| request(client.clone(), item))
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>();
            // Nobody hears it who does not wait any more.
            let _ = sender.send(done.await.map(|()| begin.elapsed()));
        };
        self.cluster.api().wait_for(what, async move {
            tokio::spawn(work);
            Ok::<_, Infallible>(())
        })?;
        receiver
            .recv_timeout(PATIENCE)
            .with_context(|| format!("{what}: no end"))?
            .with_context(|| what.to_owned())
    }
}

/// Says which Services get an address after `version`, until the watch ends.
async fn follow(
    api: &Api<Service>,
    version: &mut String,
    listener: &mpsc::Sender<(ServiceKey, IpAddr, Instant)>,
) -> kube::Result<()> {
    let mut events = api.watch(&WatchParams::default(), version).await?.boxed();
    while let Some(event) = events.try_next().await? {
        match event {
            WatchEvent::Added(service) | WatchEvent::Modified(service) => {
                *version = service.resource_version().unwrap_or_default();
                let service = service.to_model();
                let first = service.ingress.first();
                if let Some(ip) = first.and_then(|ingress| ingress.ip.parse().ok()) {
                    // Nobody hears the last ones.
                    let _ = listener.send((service.key, ip, Instant::now()));
                }
            }
            WatchEvent::Error(status) => return Err(kube::Error::Api(status)),
            WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
        }
    }
    Ok(())
}

/// Services with an address, as the API server says it.
pub(crate) struct Addresses {
    receiver: mpsc::Receiver<(ServiceKey, IpAddr, Instant)>,
    task: JoinHandle<()>,
}

impl Drop for Addresses {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Addresses {
    /// Waits until so many Services have an address, and says when the last of them was heard of.
    pub(crate) fn wait_for(&self, count: usize) -> anyhow::Result<Instant> {
        let mut named = BTreeSet::new();
        loop {
            let (service, _, heard) = self
                .receiver
                .recv_timeout(PATIENCE)
                .with_context(|| format!("{} of {count} Services have an address", named.len()))?;
            named.insert(service);
            if named.len() == count {
                return Ok(heard);
            }
        }
    }

    /// Waits for the address of the Service of that number, and says when it was heard of.
    pub(crate) fn of(&self, number: usize) -> anyhow::Result<(IpAddr, Instant)> {
        let name = service_name(number);
        loop {
            let (service, address, heard) = self
                .receiver
                .recv_timeout(PATIENCE)
                .with_context(|| format!("{name} has no address"))?;
            if *service.name == *name {
                return Ok((address, heard));
            }
        }
    }
}

/// Waits until a process has done next to nothing for [`QUIET`].
pub(crate) fn wait_until_quiet(process: &Process) -> anyhow::Result<()> {
    let (mut since, mut before) = (Instant::now(), process_time(process.id())?);
    let what = format!("{} has nothing to do", process.name());
    eventually_ok(&what, PATIENCE, || {
        let now = process_time(process.id()).map_err(|error| error.to_string())?;
        if now > before + IDLE {
            (since, before) = (Instant::now(), now);
        }
        if since.elapsed() >= QUIET {
            Ok(())
        } else {
            Err("it works")
        }
        .map_err(str::to_owned)
    })?;
    Ok(())
}

async fn create(client: &Client, url: String, object: &Value) -> kube::Result<()> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = Request::new(url)
        .create(&PostParams::default(), body)
        .map_err(kube::Error::BuildRequest)?;
    client.request_text(request).await.map(|_| ())
}

fn service(number: usize) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": service_name(number), "namespace": NAMESPACE, "labels": { "app": service_name(number) } },
        "spec": {
            "type": "LoadBalancer",
            "allocateLoadBalancerNodePorts": false,
            "ipFamilyPolicy": "SingleStack",
            "ports": [
                { "name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080 },
                { "name": "https", "protocol": "TCP", "port": 443, "targetPort": 8443 },
            ],
        },
    })
}

fn endpoint_slice(number: usize, node: &str) -> Value {
    let [high, low] = u16::try_from(number % 0x8000)
        .unwrap_or_default()
        .to_be_bytes();
    let endpoint = |pod: u8| {
        json!({
            "addresses": [format!("10.65.{}.{low}", pod | high)],
            "conditions": { "ready": true, "serving": true, "terminating": false },
            "nodeName": node,
            "targetRef": { "kind": "Pod", "namespace": NAMESPACE, "name": format!("pod-{number}-{pod}") },
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{}-0", service_name(number)), "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": service_name(number),
                "endpointslice.kubernetes.io/managed-by": "benchmark",
            },
        },
        "addressType": "IPv4",
        "endpoints": [endpoint(0), endpoint(0x80)],
        "ports": [
            { "name": "http", "protocol": "TCP", "port": 8080 },
            { "name": "https", "protocol": "TCP", "port": 8443 },
        ],
    })
}

fn service_name(number: usize) -> String {
    format!("service-{number}")
}

fn slices_url() -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices")
}

fn services_url() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/services")
}

pub(crate) const CONTROLLER_PORT: u16 = 7473;
pub(crate) const SPEAKER_PORT: u16 = 7472;
const NAMESPACE: &str = "load";
/// ironlb's namespace in `deploy/`.
const IRONLB: &str = "metallb-system";
/// On the LAN of the cluster's client as far as ARP is concerned: addresses need no subnet to be asked for.
const POOL: &str = "
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: load, namespace: metallb-system }
spec: { addresses: [10.200.0.0/16] }
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: { name: load, namespace: metallb-system }
spec: { ipAddressPools: [load] }
";
/// Requests under way at once, as many as the controller has.
const AT_ONCE: usize = 64;
const PATIENCE: Duration = Duration::from_secs(240);
const QUIET: Duration = Duration::from_secs(5);
/// Of [`QUIET`]: a timer may fire.
const IDLE: Duration = Duration::from_millis(50);
