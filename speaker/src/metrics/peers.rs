//! What there is of each BGP peer.

use std::collections::BTreeMap;

use ironlb_bgp::{Counters, State};
use ironlb_speaker_core::peers::PeerView;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::registry::Registry;

use super::{Gauges, shown};

/// Gauges by peer, which is told by its address and port, as MetalLB has it.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerGauges(BTreeMap<&'static str, Gauges<PeerLabel>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    peer: String,
}

/// A BGP peer at one moment: its address and port, and the numbers of [`PEER_METRICS`] in their order.
pub(super) type PeerNumbers = (String, [u64; PEER_METRICS.len()]);

/// Name and meaning.
const PEER_METRICS: [(&str, &str); 13] = [
    ("session_up", "Whether the BGP session is established"),
    ("updates_total", "UPDATE messages sent"),
    ("announced_prefixes_total", "Prefixes that the peer is told"),
    (
        "pending_prefixes_total",
        "Prefixes that the peer has still to be told of",
    ),
    ("opens_sent", "OPEN messages sent"),
    ("opens_received", "OPEN messages received"),
    ("notifications_sent", "NOTIFICATION messages sent"),
    ("updates_total_received", "UPDATE messages received"),
    ("keepalives_sent", "KEEPALIVE messages sent"),
    ("keepalives_received", "KEEPALIVE messages received"),
    ("route_refresh_sent", "ROUTE-REFRESH messages sent"),
    ("total_sent", "Messages sent"),
    ("total_received", "Messages received"),
];

pub(super) fn peer_numbers(peer: &PeerView<'_>) -> Option<PeerNumbers> {
    let Counters { sent, received } = peer.status.counters;
    let up = peer.status.state == State::Established;
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let numbers = [
        up.into(),
        sent.updates,
        count(peer.announced),
        count(peer.pending),
        sent.opens,
        received.opens,
        sent.notifications,
        received.updates,
        sent.keepalives,
        received.keepalives,
        sent.route_refreshes,
        sent.total(),
        received.total(),
    ];
    Some((peer.remote?.to_string(), numbers))
}

impl PeerGauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let bgp = registry.sub_registry_with_prefix("metallb_bgp");
        let gauges = PEER_METRICS.map(|(name, help)| {
            let gauges = Gauges::default();
            bgp.register(name, help, Gauges::clone(&gauges));
            (name, gauges)
        });
        Self(gauges.into())
    }

    pub(super) fn show(&self, peers: &[PeerNumbers]) {
        for (index, (name, _)) in PEER_METRICS.iter().enumerate() {
            let Some(gauges) = self.0.get(name) else {
                continue;
            };
            gauges.clear();
            for (peer, numbers) in peers {
                let peer = peer.clone();
                let number = numbers.get(index).copied().unwrap_or_default();
                gauges.get_or_create(&PeerLabel { peer }).set(shown(number));
            }
        }
    }
}
