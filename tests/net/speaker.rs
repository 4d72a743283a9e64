//! The loop of `ironlb speaker` on a host of the lab, with the cluster told by the test instead of by an API server.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_l2::Counters;
use ironlb_lab::Host;
use ironlb_model::{
    Config, Endpoint, EndpointSlice, Event, Ingress, L2Advertisement, Node, Pool, Range, Service,
    ServiceKey, SliceKey,
};
use ironlb_speaker::drive::{self, Client, Report, Running};
use ironlb_speaker_core::{Input, Settings, Speaker};
use regex::Regex;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;

/// A speaker that runs on a host until it is dropped.
pub(crate) struct TestSpeaker {
    client: Client,
    reports: RefCell<UnboundedReceiver<Report>>,
    running: Option<Running>,
    runtime: Runtime,
}

impl TestSpeaker {
    /// One on node `n1`, alone in its cluster, that has read it all; `excluded` are interfaces by regular expression.
    pub(crate) fn start(host: &Host, excluded: &[&str]) -> Self {
        let speaker = Speaker::new(Settings {
            node: "n1".into(),
            class: None,
            ignore_exclude_label: false,
            drain_taints: Default::default(),
            excluded_interfaces: excluded
                .iter()
                .map(|pattern| Regex::new(pattern).unwrap())
                .collect(),
        });
        let (client, reports, ends) = drive::channels();
        let running = host
            .in_namespace(move || drive::start(speaker, ends))
            .unwrap()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let speaker = Self {
            client,
            reports: RefCell::new(reports),
            running: Some(running),
            runtime,
        };
        speaker.tell(Input::Config(Arc::new(config())));
        speaker.tell(Input::NodeApplied(Node {
            name: "n1".into(),
            ..Node::default()
        }));
        speaker.tell(Input::Synced);
        speaker
    }

    pub(crate) fn tell(&self, input: Input) {
        self.runtime.block_on(self.client.send(input)).unwrap();
    }

    /// Has it announce `ips` as those of Service `name`.
    pub(crate) fn serve(&self, name: &str, ips: &[&str]) {
        let key = ServiceKey::new("default", name);
        let ingress = |ip: &&str| Ingress {
            ip: (*ip).to_owned(),
            hostname: String::new(),
        };
        let service = Service {
            is_load_balancer: true,
            ingress: ips.iter().map(ingress).collect(),
            ..Service::new(key.clone())
        };
        self.tell(Input::EndpointsApplied(EndpointSlice {
            key: SliceKey::new("default", name),
            service: key,
            endpoints: vec![Endpoint {
                node: Some("n1".into()),
                serving: true,
                addresses: Vec::new(),
            }],
            ports: Vec::new(),
        }));
        self.tell(Input::ServiceApplied(Box::new(service)));
    }

    /// Deletes Service `name`.
    pub(crate) fn withdraw(&self, name: &str) {
        self.tell(Input::ServiceDeleted(ServiceKey::new("default", name)));
    }

    /// What it counts for an address.
    pub(crate) fn counters(&self, ip: IpAddr) -> Counters {
        let ask = self.client.ask(|speaker, _| speaker.counters());
        let counters = self.runtime.block_on(ask).unwrap();
        counters.get(&ip).copied().unwrap_or_default()
    }

    /// The next Event with this reason, which must come within `limit`.
    pub(crate) fn event(&self, reason: &str, limit: Duration) -> Event {
        let mut reports = self.reports.borrow_mut();
        let wait = async {
            loop {
                match reports.recv().await {
                    Some(Report::Event(event)) if event.reason == reason => return event,
                    Some(_) => {}
                    None => panic!("the speaker has ended"),
                }
            }
        };
        self.runtime
            .block_on(async { tokio::time::timeout(limit, wait).await })
            .unwrap_or_else(|_| panic!("no event {reason} within {limit:?}"))
    }

    /// Stops it as SIGTERM does.
    pub(crate) fn stop(mut self) {
        let running = self.running.take().unwrap();
        self.runtime.block_on(running.stop()).unwrap();
    }
}

/// Two pools, every node announces them.
fn config() -> Config {
    let pool = |name: &str, net: &str| Pool::new(name, vec![Range::from_net(net.parse().unwrap())]);
    let advertisement = L2Advertisement::new("all");
    let pools = [pool("v4", "10.0.0.96/27"), pool("v6", "fd00::100/120")];
    Config {
        pools: pools.map(|pool| (pool.name.clone(), pool)).into(),
        l2_advertisements: [(advertisement.name.clone(), advertisement)].into(),
        ..Config::default()
    }
}
