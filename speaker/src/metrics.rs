//! What a speaker shows to dashboards, under MetalLB's names. Start with [`register`].

mod peers;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::AtomicI64;

use ironlb_l2::Counters;
use ironlb_model::ServiceKey;
use ironlb_speaker_core::Speaker;
use ironlb_watch::admin::Refresh;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::Traffic;
use crate::drive::Client;
use peers::{PeerGauges, PeerSnapshot, WatchRow};

/// Has `registry` show what `speaker` announces and counts, as that of node `node`. The gauges are brought up to date by the
/// refresh that is returned.
pub fn register(registry: &mut Registry, speaker: Client, node: String) -> Refresh {
    let metrics = Metrics::register(registry);
    Box::new(move || {
        let (speaker, metrics, node) = (speaker.clone(), metrics.clone(), node.clone());
        Box::pin(async move {
            // One that has stopped has nothing to say.
            let Ok(snapshot) = speaker.ask(Snapshot::of).await else {
                return;
            };
            let watches = peers::watches(&speaker, &snapshot.peers).await;
            metrics.show(&node, &snapshot, &watches);
        })
    })
}

type Gauges<L> = Family<L, Gauge<i64, AtomicI64>>;

/// The speaker's gauges. MetalLB's counters by address end with the address, so gauges they are.
#[derive(Clone, Debug, Default)]
struct Metrics {
    announced: Gauges<Announced>,
    requests: Gauges<Address>,
    responses: Gauges<Address>,
    gratuitous: Gauges<Address>,
    peers: PeerGauges,
    frames_received: Gauge,
    frames_sent: Gauge,
    frames_unsent: Gauge,
    overflows: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Announced {
    service: String,
    protocol: &'static str,
    node: String,
    ip: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Address {
    ip: String,
}

/// What a speaker says of itself at one moment.
struct Snapshot {
    announced: Vec<(ServiceKey, IpAddr)>,
    routed: Vec<(ServiceKey, IpAddr)>,
    peers: Vec<PeerSnapshot>,
    counters: BTreeMap<IpAddr, Counters>,
    traffic: Traffic,
}

impl Snapshot {
    fn of(speaker: &Speaker, traffic: &Traffic) -> Self {
        let owned = |(service, ip): (&ServiceKey, IpAddr)| (service.clone(), ip);
        Self {
            announced: speaker.announced().map(owned).collect(),
            routed: speaker.routed().map(owned).collect(),
            peers: speaker
                .peers()
                .map(|peer| PeerSnapshot::of(&peer))
                .collect(),
            counters: speaker.counters(),
            traffic: *traffic,
        }
    }
}

impl Metrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            peers: PeerGauges::register(registry),
            ..Self::default()
        };
        registry.register(
            "metallb_speaker_announced",
            "Services announced from this node, by address",
            metrics.announced.clone(),
        );
        let layer2 = registry.sub_registry_with_prefix("metallb_layer2");
        layer2.register(
            "requests_received",
            "ARP and NDP requests for an address",
            metrics.requests.clone(),
        );
        layer2.register(
            "responses_sent",
            "ARP and NDP responses for an address",
            metrics.responses.clone(),
        );
        layer2.register(
            "gratuitous_sent",
            "Gratuitous announcements of an address",
            metrics.gratuitous.clone(),
        );
        let frames = registry.sub_registry_with_prefix("ironlb_frames");
        frames.register(
            "received",
            "ARP and NDP frames received",
            metrics.frames_received.clone(),
        );
        frames.register(
            "sent",
            "ARP and NDP frames sent",
            metrics.frames_sent.clone(),
        );
        frames.register(
            "unsent",
            "Frames not sent: a queue full, an interface down",
            metrics.frames_unsent.clone(),
        );
        frames.register(
            "overflows",
            "Frames lost before they were read",
            metrics.overflows.clone(),
        );
        metrics
    }

    /// Shows `snapshot` and `watches`, and nothing else.
    fn show(&self, node: &str, snapshot: &Snapshot, watches: &[WatchRow]) {
        self.announced.clear();
        let layer2 = snapshot.announced.iter().map(|one| ("layer2", one));
        let bgp = snapshot.routed.iter().map(|one| ("bgp", one));
        for (protocol, (service, ip)) in layer2.chain(bgp) {
            let labels = Announced {
                service: service.to_string(),
                protocol,
                node: node.to_owned(),
                ip: ip.to_string(),
            };
            self.announced.get_or_create(&labels).set(1);
        }
        self.peers.show(&snapshot.peers, watches);
        for gauges in [&self.requests, &self.responses, &self.gratuitous] {
            gauges.clear();
        }
        for (ip, counters) in &snapshot.counters {
            let labels = Address { ip: ip.to_string() };
            self.requests
                .get_or_create(&labels)
                .set(shown(counters.requests_received));
            self.responses
                .get_or_create(&labels)
                .set(shown(counters.responses_sent));
            self.gratuitous
                .get_or_create(&labels)
                .set(shown(counters.gratuitous_sent));
        }
        self.frames_received.set(shown(snapshot.traffic.received));
        self.frames_sent.set(shown(snapshot.traffic.sent));
        self.frames_unsent.set(shown(snapshot.traffic.unsent));
        self.overflows.set(shown(snapshot.traffic.overflows));
    }
}

fn shown(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
