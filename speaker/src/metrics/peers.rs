//! What there is of each BGP peer, and of the BFD session that watches it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use ironlb_bfd::{Key, State as BfdState, View};
use ironlb_bgp::{Counters, State};
use ironlb_model::BgpPeer;
use ironlb_model::bgp::PeerEndpoint;
use ironlb_speaker_core::peers::PeerView;
use prometheus_client::registry::Registry;

use super::{Gauges, shown};
use crate::drive::Client;

/// The gauges of BGP and BFD.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerGauges {
    bgp: Table<BGP>,
    bfd: Table<BFD>,
}

impl PeerGauges {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            bgp: Table::register(registry, "metallb_bgp", &BGP_METRICS),
            bfd: Table::register(registry, "metallb_bfd", &BFD_METRICS),
        }
    }

    /// Shows these peers and what watches them, and nothing else.
    pub(super) fn show(&self, peers: &[PeerSnapshot], watches: &[WatchRow]) {
        self.bgp.show(peers.iter().map(|peer| &peer.row));
        self.bfd.show(watches);
    }
}

/// A BGP peer at one moment.
pub(super) struct PeerSnapshot {
    row: Row<BGP>,
    /// Of BFD there is only which session it is: its numbers are on another thread.
    watch: Option<(Key, Labels)>,
}

impl PeerSnapshot {
    pub(super) fn of(peer: &PeerView<'_>) -> Self {
        let Counters { sent, received } = peer.status.counters;
        let up = peer.status.state == State::Established;
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        let numbers = [
            up.into(),
            sent.updates,
            count(peer.announced),
            count(peer.pending),
            count(peer.unsendable),
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
        Self {
            row: (labels(peer.config, place_and_port(peer.config)), numbers),
            watch: peer
                .watch
                .map(|key| (key, labels(peer.config, peer.config.endpoint.to_string()))),
        }
    }
}

/// What BFD counts for the sessions that watch `peers`. One that BFD does not know, or no longer, is down.
pub(super) async fn watches(speaker: &Client, peers: &[PeerSnapshot]) -> Vec<WatchRow> {
    let watched = peers.iter().filter_map(|peer| peer.watch.clone());
    // Peers of one address that differ by port share a session.
    let watched: BTreeMap<Key, Labels> = watched.collect();
    if watched.is_empty() {
        return Vec::new();
    }
    let mut known = match speaker.bfd().await {
        Ok(Some(bfd)) => {
            let numbers = bfd.ask(|_, sessions, _| sessions.views().map(numbers).collect());
            numbers.await.unwrap_or_default()
        }
        Ok(None) | Err(_) => BTreeMap::new(),
    };
    let rows = watched.into_iter();
    rows.map(|(key, labels)| (labels, known.remove(&key).unwrap_or_default()))
        .collect()
}

fn numbers(view: View<'_>) -> (Key, [u64; BFD]) {
    let up = view.session.state() == BfdState::Up;
    let counters = view.counters;
    let numbers = [
        up.into(),
        counters.received,
        counters.sent,
        counters.echo_received,
        counters.echo_sent,
        counters.ups,
        counters.downs,
    ];
    (view.key, numbers)
}

/// One peer or session: what tells it from others, and its numbers in the order of their metrics.
type Row<const N: usize> = (Labels, [u64; N]);

/// A BFD session.
pub(super) type WatchRow = Row<BFD>;

type Labels = Vec<(&'static str, String)>;

/// `peer`, and `vrf` where there is one.
fn labels(config: &BgpPeer, peer: String) -> Labels {
    let vrf = config.vrf.clone().map(|vrf| ("vrf", vrf));
    [("peer", peer)].into_iter().chain(vrf).collect()
}

/// A peer and its port as they are configured, so that a series goes on when an unnumbered one is found, lost and replaced.
fn place_and_port(config: &BgpPeer) -> String {
    match &config.endpoint {
        PeerEndpoint::Address(address) => SocketAddr::new(*address, config.port).to_string(),
        PeerEndpoint::LinkLocal(..) => format!("[{}]:{}", config.endpoint, config.port),
        PeerEndpoint::Interface(name) => format!("{name}:{}", config.port),
    }
}

/// Metrics that all have a value for each row.
#[derive(Clone, Debug, Default)]
struct Table<const N: usize>(Vec<Gauges<Labels>>);

impl<const N: usize> Table<N> {
    /// One of these metrics, each with its name and meaning.
    fn register(registry: &mut Registry, prefix: &str, metrics: &[(&str, &str); N]) -> Self {
        let registry = registry.sub_registry_with_prefix(prefix);
        let register = |(name, help): &(&str, &str)| {
            let gauges = Gauges::default();
            registry.register(*name, *help, Gauges::clone(&gauges));
            gauges
        };
        Self(metrics.iter().map(register).collect())
    }

    /// Shows these rows and nothing else.
    fn show<'a>(&self, rows: impl IntoIterator<Item = &'a Row<N>> + Clone) {
        for (index, gauges) in self.0.iter().enumerate() {
            gauges.clear();
            for (labels, numbers) in rows.clone() {
                let number = numbers.get(index).copied().unwrap_or_default();
                gauges.get_or_create(labels).set(shown(number));
            }
        }
    }
}

/// Name and meaning, in the order of [`PeerSnapshot::of`].
const BGP_METRICS: [(&str, &str); BGP] = [
    ("session_up", "Whether the BGP session is established"),
    ("updates_total", "UPDATE messages sent"),
    ("announced_prefixes_total", "Prefixes that the peer is told"),
    (
        "pending_prefixes_total",
        "Prefixes that the peer has still to be told of",
    ),
    (
        "unsendable_prefixes_total",
        "Prefixes that the peer should be told and cannot be",
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

/// Name and meaning, in the order of [`numbers`].
const BFD_METRICS: [(&str, &str); BFD] = [
    ("session_up", "Whether the BFD session is up"),
    ("control_packet_input", "Control packets received"),
    ("control_packet_output", "Control packets sent"),
    ("echo_packet_input", "Echo packets that came back"),
    ("echo_packet_output", "Echo packets sent"),
    ("session_up_events", "How often the session came up"),
    ("session_down_events", "How often the session went down"),
];

const BGP: usize = 14;
const BFD: usize = 7;
