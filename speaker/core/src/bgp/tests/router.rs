//! A router: our own engine, and a table of what it heard.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;
use ironlb_bgp::peer::Transport;
use ironlb_bgp::wire::{Framer, Message, NextHop, Update};
use ironlb_bgp::{Connection, Input, Peer, Settings};
use ironlb_model::bgp::{PeerAsn, PeerEndpoint};
use ironlb_model::{Family, Time};

use crate::fixtures::ip;

/// A router that waits for the node to connect.
pub(super) struct Router {
    pub(super) peer: Peer,
    /// End-of-RIBs.
    pub(super) ends: usize,
    /// UPDATEs that say anything of routes.
    pub(super) updates: usize,
    framer: Framer,
    table: BTreeMap<IpNet, (NextHop, Vec<String>)>,
}

impl Router {
    pub(super) fn new() -> Self {
        Self::with_restart_time(Some(Duration::from_secs(60)))
    }

    /// One that does not know graceful restart.
    pub(super) fn without_restart() -> Self {
        Self::with_restart_time(None)
    }

    fn with_restart_time(restart_time: Option<Duration>) -> Self {
        let settings = Settings {
            asn: 64513,
            local_asn: None,
            peer_asn: PeerAsn::Number(64512),
            router_id: "198.51.100.1".parse().unwrap(),
            families: BTreeSet::from(Family::ALL),
            transport: Transport {
                endpoint: PeerEndpoint::Address(ip("198.51.100.10")),
                port: 179,
                source: None,
                vrf: None,
            },
            hold_time: Duration::from_secs(90),
            keepalive_time: Duration::ZERO,
            connect_time: Duration::from_secs(1),
            passive: true,
            restart_time,
            // Where the node asks for it.
            bfd_strict: true,
            maximum_prefixes: None,
        };
        let mut peer = Peer::new(Time::ZERO, settings, 1, false);
        peer.handle(Time::ZERO, Input::Start);
        Self {
            peer,
            ends: 0,
            updates: 0,
            framer: Framer::new(),
            table: BTreeMap::new(),
        }
    }

    pub(super) fn hear(&mut self, now: Time, connection: u64, bytes: &[u8]) {
        self.peer
            .receive(now, Connection::inbound(connection), bytes);
        let agreement = self.peer.status().agreement;
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next().unwrap() {
            // Before the session is up there are no routes to read.
            let Some(agreement) = &agreement else {
                continue;
            };
            if let Message::Update(update) = Message::decode(frame, &agreement.wire).unwrap() {
                self.ends += usize::from(update.end_of_rib.is_some());
                self.updates += usize::from(update.end_of_rib.is_none());
                learn(&mut self.table, &update);
            }
        }
    }

    pub(super) fn lose(&mut self, now: Time, connection: u64) {
        let connection = Connection::inbound(connection);
        let closed = Input::Closed {
            connection,
            error: None,
        };
        self.peer.handle(now, closed);
    }

    /// The session is over.
    pub(super) fn forget(&mut self) {
        self.table.clear();
        self.framer = Framer::new();
    }

    pub(super) fn prefixes(&self) -> Vec<String> {
        self.table.keys().map(ToString::to_string).collect()
    }

    pub(super) fn next_hop(&self, prefix: &str) -> String {
        match &self.table[&prefix.parse().unwrap()].0 {
            NextHop::V4(address) => address.to_string(),
            other => format!("{other:?}"),
        }
    }

    pub(super) fn communities(&self, prefix: &str) -> Vec<String> {
        self.table[&prefix.parse().unwrap()].1.clone()
    }
}

fn learn(table: &mut BTreeMap<IpNet, (NextHop, Vec<String>)>, update: &Update<'_>) {
    assert!(update.faults.is_empty(), "{:?}", update.faults);
    for prefix in update.routes_withdrawn() {
        table.remove(&prefix);
    }
    let communities = update.attributes.communities.iter();
    let communities: Vec<String> = communities
        .map(|community| format!("{}:{}", community.0 >> 16, community.0 & 0xffff))
        .collect();
    let next_hop = update.attributes.next_hop.map(NextHop::V4);
    for prefix in update.routes_announced() {
        let next_hop = next_hop.or(update.next_hop).unwrap();
        table.insert(prefix, (next_hop, communities.clone()));
    }
}
