use std::{
    net::{IpAddr, SocketAddr},
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use serde_json::{Value, json};

use super::network;
use crate::{Error, Host, Link, Process, Result};

/// A node of the cluster: its host on the LAN, and kube-proxy on it. No kubelet runs.
#[derive(Debug)]
pub struct Node {
    pub(crate) number: u8,
    pub(crate) host: Host,
    pub(crate) link: Link,
    pub(crate) proxy: Process,
    pub(crate) pods: AtomicU16,
}

impl Node {
    /// The node's name, which is its host's: `n1`, `n2` and so on.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// Its host, to run the product on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Its interface on the LAN, whose Ethernet address answers for what the node announces.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// kube-proxy.
    pub fn proxy(&self) -> &Process {
        &self.proxy
    }

    /// Its addresses on the LAN, IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        network::node_addresses(self.number)
    }

    /// Waits until kube-proxy says that its rules are in the kernel.
    pub(crate) fn wait_for_proxy(&self) -> Result<()> {
        let health = SocketAddr::from(([127, 0, 0, 1], HEALTH_PORT));
        let what = format!("{} is healthy", self.proxy.name());
        self.proxy
            .wait_until(&what, PATIENCE, || self.host.http_get(health, "/healthz"))
            .map(|_| ())
    }

    /// New addresses for a Pod, on an interface that nobody else sees.
    pub(crate) fn new_pod_addresses(&self) -> Result<[IpAddr; 2]> {
        let pod = self.pods.fetch_add(1, Ordering::Relaxed);
        let addresses = network::pod_addresses(self.number, pod);
        for address in addresses {
            let length = if address.is_ipv4() { 32 } else { 128 };
            self.host
                .add_address("lo", &format!("{address}/{length}"))?;
        }
        Ok(addresses)
    }
}

/// A Pod: an object in the API, and a backend under its addresses on its node.
#[derive(Clone, Debug)]
pub struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) addresses: [IpAddr; 2],
    pub(crate) process: Process,
}

impl Pod {
    /// The Pod's name, which its backend answers with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        self.addresses
    }

    /// The backend.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

pub(crate) fn node_object(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
    })
}

pub(crate) fn node_status(addresses: [IpAddr; 2]) -> Value {
    json!({
        "addresses": addresses.map(|address| json!({ "type": "InternalIP", "address": address })),
        "conditions": [
            condition("Ready", true),
            condition("NetworkUnavailable", false),
        ],
    })
}

pub(crate) fn pod_object(
    namespace: &str,
    name: &str,
    node: &str,
    labels: &[(&str, &str)],
    port: u16,
) -> Value {
    let labels: serde_json::Map<_, _> = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "namespace": namespace, "name": name, "labels": labels },
        "spec": {
            "nodeName": node,
            "containers": [{
                "name": "backend", "image": "backend",
                "ports": [
                    { "name": "tcp", "protocol": "TCP", "containerPort": port },
                    { "name": "udp", "protocol": "UDP", "containerPort": port },
                ],
            }],
        },
    })
}

pub(crate) fn pod_status(addresses: [IpAddr; 2], ready: bool) -> Value {
    let [first, _] = addresses;
    json!({
        "phase": "Running",
        "podIP": first,
        "podIPs": addresses.map(|ip| json!({ "ip": ip })),
        "conditions": [condition("Ready", ready), condition("ContainersReady", ready)],
    })
}

pub(crate) fn sockets(addresses: [IpAddr; 2], port: u16) -> [SocketAddr; 2] {
    addresses.map(|address| SocketAddr::new(address, port))
}

pub(crate) fn no_node(name: &str) -> Error {
    Error::Api {
        request: format!("find the node {name}"),
        reason: "there is none".into(),
    }
}

fn condition(kind: &str, holds: bool) -> Value {
    json!({ "type": kind, "status": if holds { "True" } else { "False" } })
}

/// kube-proxy's default.
const HEALTH_PORT: u16 = 10256;
const PATIENCE: Duration = Duration::from_secs(30);
