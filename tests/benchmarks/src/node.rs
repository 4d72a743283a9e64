//! A speaker on a host of the lab, with the loop and the thread that it has in a process of its own.

use std::net::Ipv4Addr;
use std::sync::Arc;

use ironlb_lab::Host;
use ironlb_model::{Config, Endpoint, EndpointSlice, Ingress, Node, Service, ServiceKey, SliceKey};
use ironlb_speaker::drive::{self, Client, Running};
use ironlb_speaker_core::{Input, Settings, Speaker};
use tokio::runtime::Runtime;

/// Starts the speaker of the node [`NODE`] with this configuration, and with a Service for each of these addresses.
pub(crate) fn start(
    host: &Host,
    runtime: &Runtime,
    config: Config,
    addresses: impl Iterator<Item = Ipv4Addr>,
) -> anyhow::Result<(Client, Running)> {
    let speaker = Speaker::new(Settings {
        node: NODE.into(),
        class: None,
        ignore_exclude_label: false,
        drain_taints: Default::default(),
        excluded_interfaces: Vec::new(),
    });
    let (client, _reports, ends) = drive::channels();
    let running = host.in_namespace(move || drive::start(speaker, ends))??;
    let node = Node {
        name: NODE.into(),
        ..Node::default()
    };
    let mut inputs = vec![
        Input::Config(Arc::new(config)),
        Input::NodeApplied(node),
        Input::Synced,
    ];
    for (number, address) in addresses.enumerate() {
        inputs.push(endpoint(number, true));
        inputs.push(Input::ServiceApplied(Box::new(service(number, address))));
    }
    runtime.block_on(async {
        for input in inputs {
            client.send(input).await?;
        }
        anyhow::Ok(())
    })?;
    Ok((client, running))
}

/// The Service of this number, with an address in its status.
pub(crate) fn service(number: usize, address: Ipv4Addr) -> Service {
    let ingress = Ingress {
        ip: address.to_string(),
        hostname: String::new(),
    };
    Service {
        ingress: vec![ingress],
        ..Service::new(key(number))
    }
}

/// An endpoint of the Service of this number on the node, which serves or does not.
pub(crate) fn endpoint(number: usize, serving: bool) -> Input {
    Input::EndpointsApplied(EndpointSlice {
        key: SliceKey::new("default", key(number).name),
        service: key(number),
        endpoints: vec![Endpoint {
            node: Some(NODE.into()),
            serving,
            addresses: Vec::new(),
        }],
        ports: Vec::new(),
    })
}

pub(crate) fn key(number: usize) -> ServiceKey {
    ServiceKey::new("default", format!("service-{number}"))
}

pub(crate) const NODE: &str = "n1";
/// What the kernel calls the speaker's thread.
pub(crate) const THREAD: &str = "speaker";
