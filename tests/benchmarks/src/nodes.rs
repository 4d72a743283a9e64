//! A node that comes or goes, as the speaker of another one sees it.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::ensure;
use ironlb_model::{
    Config, Endpoint, EndpointSlice, Ingress, L2Advertisement, Link, Mac, Name, Node, Pool, Range,
    Service, ServiceKey, SliceKey, Time,
};
use ironlb_speaker_core::{Input, Settings, Speaker};

use crate::report::{Measurement, Report, median_seconds};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    let mut speaker = speaker()?;
    let announced = speaker.announced().count();
    ensure!(announced > 0, "the node announces nothing");
    let gone = name(NODES / 2);
    let seconds = median_seconds(
        RUNS,
        || (),
        |()| {
            speaker.handle(Time::ZERO, Input::NodeDeleted(gone.clone()));
            speaker.handle(Time::ZERO, Input::NodeApplied(node(gone.clone())));
        },
    );
    ensure!(
        speaker.announced().count() == announced,
        "the node lost some"
    );
    let case = format!("another of {NODES} nodes goes and comes back, layer 2, one of both");
    report.say(Measurement::new(case, SERVICES.into(), seconds / 2.0, "s").at_most(0.020))
}

/// One that knows all there is. Every node is a candidate for each Service.
fn speaker() -> anyhow::Result<Speaker> {
    let mut speaker = Speaker::new(Settings {
        node: name(0),
        class: None,
        ignore_exclude_label: false,
        excluded_interfaces: Vec::new(),
        drain_taints: Default::default(),
    });
    let pool = Pool::new("first", vec![Range::from_net("198.18.0.0/15".parse()?)]);
    let advertisement = L2Advertisement::new("all");
    let config = Config {
        pools: [(pool.name.clone(), pool)].into(),
        l2_advertisements: [(advertisement.name.clone(), advertisement)].into(),
        ..Config::default()
    };
    let link = Link {
        index: 2,
        name: "eth0".to_owned(),
        mac: Some(Mac([2, 0, 0, 0, 0, 1])),
        up: true,
        has_master: false,
        broadcast: true,
        no_arp: false,
        addresses: vec![("10.0.0.1".parse()?, 8)],
    };
    let mut inputs = vec![Input::Config(Arc::new(config)), Input::LinkApplied(link)];
    inputs.extend((0..NODES).map(|number| Input::NodeApplied(node(name(number)))));
    inputs.extend((0..SERVICES).flat_map(service));
    inputs.push(Input::Synced);
    for input in inputs {
        speaker.handle(Time::ZERO, input);
        while speaker.poll().is_some() {}
    }
    Ok(speaker)
}

fn name(number: u32) -> Name {
    format!("node-{number:03}").into()
}

fn node(name: Name) -> Node {
    Node {
        name,
        ..Node::default()
    }
}

/// A Service with an address, and three endpoints.
fn service(number: u32) -> [Input; 2] {
    let key = ServiceKey::new("default", format!("service-{number}"));
    let address = Ipv4Addr::from_bits(Ipv4Addr::new(198, 18, 0, 0).to_bits() + number);
    let endpoint = |other| Endpoint {
        node: Some(name((number + other) % NODES)),
        serving: true,
        addresses: Vec::new(),
    };
    let slice = EndpointSlice {
        key: SliceKey::new("default", key.name.clone()),
        service: key.clone(),
        endpoints: (0..3).map(endpoint).collect(),
        ports: Vec::new(),
    };
    let ingress = Ingress {
        ip: address.to_string(),
        hostname: String::new(),
    };
    let service = Service {
        ingress: vec![ingress],
        ..Service::new(key)
    };
    [
        Input::EndpointsApplied(slice),
        Input::ServiceApplied(Box::new(service)),
    ]
}

const NODES: u32 = 500;
const SERVICES: u32 = 10_000;
const RUNS: usize = 21;
