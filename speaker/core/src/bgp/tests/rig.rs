//! One node and the routers that it peers with, in virtual time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::Connection;
use ironlb_model::node::EXCLUDE_LABEL;
use ironlb_model::{BfdProfile, BgpPeer, Config, Link, Name, Node, Time};

use super::router::Router;
use crate::fixtures::{bgp, config, ip, link, node, pool, service, slice};
use crate::peers::{News, PeerInput, PeerOutput, Target};
use crate::{Input, Output, Settings, Speaker};

/// One node, and a router behind each of its peers.
pub(super) struct Rig {
    pub(super) now: Time,
    pub(super) speaker: Speaker,
    pub(super) routers: BTreeMap<Name, Router>,
    /// Connections under way, and whose they are.
    open: BTreeMap<(Name, Connection), u64>,
    pub(super) connections: u64,
    pub(super) said: Vec<Output>,
    /// Whether routers read nothing.
    pub(super) stalled: bool,
}

impl Rig {
    /// A node that knows nothing yet.
    pub(super) fn new(names: &[&str]) -> Self {
        let speaker = Speaker::new(Settings {
            node: "n1".into(),
            class: None,
            ignore_exclude_label: false,
            drain_taints: [DRAIN_TAINT.to_owned()].into(),
            excluded_interfaces: Vec::new(),
        });
        let routers = names.iter().map(|name| ((*name).into(), Router::new()));
        Self {
            now: Time::from_secs(100),
            speaker,
            routers: routers.collect(),
            open: BTreeMap::new(),
            connections: 0,
            said: Vec::new(),
            stalled: false,
        }
    }

    /// One with a Service that has an address and an endpoint here, announced to a router.
    pub(super) fn announcing(config: Config) -> Self {
        let names: Vec<Name> = config.peers.keys().cloned().collect();
        let mut rig = Self::new(&names.iter().map(|name| &**name).collect::<Vec<_>>());
        rig.feed(Input::LinkApplied(link_to_peers()));
        rig.feed(Input::Config(Arc::new(config)));
        rig.feed(Input::NodeApplied(node("n1")));
        rig.feed(applied("web", "192.0.2.1"));
        rig.feed(Input::EndpointsApplied(slice("web", "web", &["n1"])));
        rig.feed(Input::Synced);
        rig.run(Duration::from_secs(1));
        rig
    }

    pub(super) fn feed(&mut self, input: Input) {
        self.speaker.handle(self.now, input);
        self.settle();
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let routers = self.routers.values().filter_map(|one| one.peer.deadline());
            let next = routers.chain(self.speaker.deadline()).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            for router in self.routers.values_mut() {
                router.peer.handle(self.now, ironlb_bgp::Input::Tick);
            }
            self.feed(Input::Tick);
        }
        self.now = until;
    }

    /// Carries everything until nothing moves.
    pub(super) fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(output) = self.speaker.poll() {
                moved = true;
                if let Output::Peer(output) = &output {
                    self.carry(output);
                }
                self.said.push(output);
            }
            let names: Vec<Name> = self.routers.keys().cloned().collect();
            for name in names {
                while let Some(output) = self.routers.get_mut(&name).unwrap().peer.poll() {
                    moved = true;
                    self.carry_back(&name, output);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn carry(&mut self, output: &PeerOutput) {
        match output {
            PeerOutput::Connect {
                peer,
                connection,
                target,
            } => self.connect(peer, *connection, target),
            PeerOutput::Send {
                peer,
                connection,
                bytes,
            } => {
                if self.stalled {
                    return;
                }
                let Some(number) = self.open.get(&(peer.clone(), *connection)) else {
                    return;
                };
                self.routers
                    .get_mut(peer)
                    .unwrap()
                    .hear(self.now, *number, bytes);
                let input = PeerInput::Drained {
                    peer: peer.clone(),
                    connection: *connection,
                };
                self.speaker.handle(self.now, Input::Peer(input));
            }
            PeerOutput::Close { peer, connection } => {
                if let Some(number) = self.open.remove(&(peer.clone(), *connection)) {
                    self.routers.get_mut(peer).unwrap().lose(self.now, number);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, peer: &Name, connection: Connection, target: &Target) {
        let (local, remote) = (socket("198.51.100.10:40000"), target.remote);
        let router = self.routers.get_mut(peer).unwrap();
        self.connections += 1;
        let number = self.connections;
        self.open.insert((peer.clone(), connection), number);
        router.peer.handle(
            self.now,
            ironlb_bgp::Input::Accepted {
                number,
                local: remote,
                remote: local,
            },
        );
        let input = PeerInput::Connected {
            peer: peer.clone(),
            connection,
            local,
            remote,
        };
        self.speaker.handle(self.now, Input::Peer(input));
    }

    fn carry_back(&mut self, name: &Name, output: ironlb_bgp::Output) {
        let of = |connection: Connection| {
            let ours = self
                .open
                .iter()
                .find(|((peer, _), number)| peer == name && **number == connection.number);
            ours.map(|((_, ours), _)| *ours)
        };
        match output {
            ironlb_bgp::Output::Send { connection, bytes } => {
                if let Some(ours) = of(connection) {
                    self.speaker.receive(self.now, name, ours, &bytes);
                }
                let router = self.routers.get_mut(name).unwrap();
                let drained = ironlb_bgp::Input::Drained(connection);
                router.peer.handle(self.now, drained);
            }
            ironlb_bgp::Output::Close(connection) => {
                if let Some(ours) = of(connection) {
                    self.open.remove(&(name.clone(), ours));
                    let input = PeerInput::Closed {
                        peer: name.clone(),
                        connection: ours,
                        error: None,
                    };
                    self.speaker.handle(self.now, Input::Peer(input));
                }
            }
            ironlb_bgp::Output::Down(_) => self.routers.get_mut(name).unwrap().forget(),
            _ => {}
        }
    }

    /// The router fe80::1 advertises itself on an interface.
    pub(super) fn advertise(&mut self, interface: u32) {
        let mut other = ironlb_l2::Discovery::new(7);
        let identity = ironlb_l2::discovery::Identity {
            mac: ironlb_model::Mac([2, 0, 0, 0, 0, 99]),
            link_local: "fe80::1".parse().unwrap(),
        };
        other.start(self.now, 9, identity);
        while let Some(output) = other.poll() {
            if let ironlb_l2::discovery::Output::Send { frame, .. } = output {
                self.speaker
                    .handle_router_frame(self.now, interface, &frame);
            }
        }
        self.settle();
    }

    /// The router's own BFD is up.
    pub(super) fn reach(&mut self, name: &str) {
        let router = self.routers.get_mut(name).unwrap();
        router.peer.handle(self.now, ironlb_bgp::Input::BfdUp);
    }

    pub(super) fn router(&self, name: &str) -> &Router {
        &self.routers[name]
    }

    /// What was said of sessions, and what else is for people; and forgets it.
    pub(super) fn news(&mut self) -> Vec<News> {
        let said = std::mem::take(&mut self.said);
        let news = said.into_iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Session { news, .. }) => Some(news),
            _ => None,
        });
        news.collect()
    }

    /// The BFD session that was asked for.
    pub(super) fn watch(&self) -> Option<ironlb_bfd::Key> {
        self.said.iter().find_map(|output| match output {
            Output::Peer(PeerOutput::Watch { key, .. }) => Some(*key),
            _ => None,
        })
    }

    /// The peers that the one Service was last said to be told to.
    pub(super) fn reported(&self) -> BTreeSet<Name> {
        let mut statuses = self.said.iter().rev().filter_map(|output| match output {
            Output::Bgp(status) => Some(&status.peers),
            _ => None,
        });
        statuses.next().cloned().unwrap_or_default()
    }

    pub(super) fn is_finished(&self) -> bool {
        let finished = |output: &Output| *output == Output::Peer(PeerOutput::Finished);
        self.said.iter().any(finished)
    }
}

pub(super) fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(super) fn applied(name: &str, address: &str) -> Input {
    Input::ServiceApplied(Box::new(service(name, &[address])))
}

/// The interface next to the peers of [`peer`].
pub(super) fn link_to_peers() -> Link {
    let mut link = link(2, "eth0");
    link.addresses = vec![(ip("198.51.100.10"), 24), (ip("fe80::a"), 64)];
    link
}

/// A pool, an advertisement of it, and these peers.
pub(super) fn with_peers(peers: impl IntoIterator<Item = BgpPeer>) -> Config {
    let mut config = config([pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    config.bgp_advertisements.insert("all".into(), bgp("all"));
    let named = |peer: BgpPeer| (peer.name.clone(), peer);
    config.peers = peers.into_iter().map(named).collect();
    config
}

/// A BFDProfile.
pub(super) fn fast() -> BfdProfile {
    BfdProfile {
        name: "fast".into(),
        detect_multiplier: 3,
        receive_interval: Duration::from_millis(50),
        transmit_interval: Duration::from_millis(50),
        echo_interval: Duration::from_millis(50),
        echo: false,
        passive: false,
        minimum_ttl: 254,
    }
}

pub(super) fn excluded() -> Node {
    let mut node = node("n1");
    node.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
    node
}

pub(super) const DRAIN_TAINT: &str = "example.com/leaving";
pub(super) const GRACEFUL_SHUTDOWN: &str = "65535:0";
