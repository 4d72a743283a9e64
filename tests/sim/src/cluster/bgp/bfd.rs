//! BFD between nodes and routers. The nodes' sessions are those that ship; the simulator is their thread.

use std::time::Duration;

use ironlb_bfd::{Datagram, Input, Key, Output, Packet, Reason, Settings, State};
use ironlb_model::{Family, Time};
use ironlb_speaker_core::peers::PeerInput;

use super::{Cluster, Event};
use crate::bgp::bfd::{Change, Session};
use crate::bgp::draw;
use crate::bgp::router::NodeAddress;
use crate::bgp::tcp::Side;

/// A router's session with a node.
#[derive(Debug)]
pub(super) struct RouterBfd {
    session: Session,
    wake: Option<Time>,
}

/// What passes on a node's session, to judge it by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Heard {
    /// The router's last packet, and when it came.
    last: Option<(Time, Packet)>,
    /// The slowest that the node has said to take since the session is up.
    receive: Duration,
    is_up: bool,
}

impl Cluster {
    /// A speaker wants a peer watched.
    pub(super) fn watch(&mut self, machine: usize, key: Key, settings: Settings) {
        let seed = self.bgp.rng.next();
        let receive = settings.receive_interval;
        if let Some(node) = self.bgp.node_mut(machine) {
            node.bfd
                .get_or_insert_with(|| ironlb_bfd::Sessions::new(seed));
            let heard = node.bfd_heard.entry(key).or_insert(Heard {
                last: None,
                receive,
                is_up: false,
            });
            heard.receive = heard.receive.max(receive);
        }
        self.drive_bfd(machine, Input::Want(key, settings));
    }

    pub(super) fn unwatch(&mut self, machine: usize, key: Key) {
        self.drive_bfd(machine, Input::Unwant(key));
    }

    fn drive_bfd(&mut self, machine: usize, input: Input<'_>) {
        let now = self.now;
        let Some(bfd) = self
            .bgp
            .node_mut(machine)
            .and_then(|node| node.bfd.as_mut())
        else {
            return;
        };
        bfd.handle(now, input);
        let mut outputs = Vec::new();
        while let Some(output) = bfd.poll() {
            outputs.push(output);
        }
        let deadline = bfd.deadline();
        self.set_bfd_wake(machine, deadline);
        for output in outputs {
            self.bfd_does(machine, output);
        }
    }

    fn set_bfd_wake(&mut self, machine: usize, deadline: Option<Time>) {
        let now = self.now;
        let wake = deadline.map(|deadline| deadline.max(now));
        let life = self
            .speakers
            .get(machine)
            .map_or(0, |host| host.common.life);
        let Some(node) = self
            .bgp
            .node_mut(machine)
            .filter(|node| node.bfd_wake != wake)
        else {
            return;
        };
        node.bfd_wake = wake;
        if let Some(at) = wake {
            self.bgp_after(at.since(now), Event::BfdWakes { machine, life, at });
        }
    }

    pub(super) fn bfd_wakes(&mut self, machine: usize, life: u64, at: Time) {
        let same = self
            .speakers
            .get(machine)
            .is_some_and(|host| host.common.life == life);
        let Some(node) = self
            .bgp
            .node_mut(machine)
            .filter(|node| same && node.bfd_wake == Some(at))
        else {
            return;
        };
        node.bfd_wake = None;
        self.drive_bfd(machine, Input::Tick);
    }

    fn bfd_does(&mut self, machine: usize, output: Output) {
        match output {
            Output::Send(key, packet) => {
                if let Some(node) = self.bgp.node_mut(machine)
                    && let Some(heard) = node.bfd_heard.get_mut(&key)
                {
                    heard.receive = heard.receive.max(packet.required_min_rx);
                }
                if let Some(router) = self.bgp.router_at(key.peer) {
                    let node = (machine, Family::of(key.peer));
                    self.send_bfd(router, node, Side::Router, &packet);
                }
            }
            Output::Up(key) => self.bfd_is_up(machine, key),
            Output::Down(key, reason) => self.bfd_is_down(machine, key, reason),
            Output::Closed(key) => {
                if let Some(node) = self.bgp.node_mut(machine) {
                    node.bfd_heard.remove(&key);
                }
            }
            // No echo is asked for.
            Output::Overhear(..) | Output::Ignore(..) | Output::Echo(_) => {}
        }
    }

    /// Whether a speaker's BFD with a router is up.
    pub(super) fn watches(&self, machine: usize, router: std::net::IpAddr) -> bool {
        let node = self.bgp.node(machine);
        let mut heard = node.into_iter().flat_map(|node| &node.bfd_heard);
        heard.any(|(key, heard)| key.peer == router && heard.is_up)
    }

    fn bfd_is_up(&mut self, machine: usize, key: Key) {
        self.counts.bfd += 1;
        self.note(format_args!(
            "speaker {machine}: BFD with {} is up",
            key.peer
        ));
        let life = self
            .speakers
            .get(machine)
            .map_or(0, |host| host.common.life);
        if let Some(heard) = self
            .bgp
            .node_mut(machine)
            .and_then(|node| node.bfd_heard.get_mut(&key))
        {
            heard.is_up = true;
        }
        self.bgp_after(
            Duration::from_secs(1),
            Event::BfdSilence { machine, life, key },
        );
        self.drive_peer(machine, PeerInput::Bfd { key, up: true });
    }

    fn bfd_is_down(&mut self, machine: usize, key: Key, reason: Reason) {
        self.counts.bfd += 1;
        self.note(format_args!(
            "speaker {machine}: BFD with {} is down: {reason}",
            key.peer
        ));
        let now = self.now;
        let heard = self
            .bgp
            .node_mut(machine)
            .and_then(|node| node.bfd_heard.get_mut(&key));
        if let Some(heard) = heard {
            heard.is_up = false;
            let (heard, reason) = (*heard, reason);
            let early = heard.detection().is_some_and(|(least, _)| now < least);
            if reason == Reason::DetectionTimeExpired && early {
                let detail = format!("speaker {machine}, {}: {heard:?}", key.peer);
                self.violated("BFD gives nobody up before the detection time", detail);
            }
        }
        if !reason.ends_clients() {
            return;
        }
        self.drive_peer(machine, PeerInput::Bfd { key, up: false });
        let Some(node) = self.bgp.node(machine) else {
            return;
        };
        let mut open = node.by_pipe.iter().filter(|(pipe, _)| {
            let to_peer = self
                .bgp
                .pipes
                .get(**pipe)
                .is_some_and(|pipe| pipe.remote.ip() == key.peer);
            to_peer
                && node
                    .said
                    .get(pipe)
                    .is_some_and(|said| said.is_open() && !said.ended.is_empty())
        });
        if let Some((_, (peer, _))) = open.next() {
            let detail = format!("speaker {machine}, {peer}");
            self.violated("a session ends with its BFD at once", detail);
        }
    }

    fn send_bfd(&mut self, router: usize, node: NodeAddress, to: Side, packet: &Packet) {
        let latency = self
            .bgp
            .routers
            .get(router)
            .map_or(Duration::ZERO, |router| router.traits.latency);
        let lost = self.frames_lost && self.bgp.rng.below(100) < self.profile.loss;
        let (machine, family) = node;
        if lost || !self.path(machine, router, family) {
            return self.note_trouble(machine, router);
        }
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        let event = Event::BfdPacket {
            router,
            node,
            to,
            bytes,
        };
        self.bgp_after(latency, event);
    }

    pub(super) fn bfd_packet(&mut self, router: usize, node: NodeAddress, to: Side, bytes: &[u8]) {
        match to {
            Side::Router => self.bfd_at_router(router, node, bytes),
            Side::Node => self.bfd_at_node(router, node, bytes),
        }
    }

    fn bfd_at_node(&mut self, router: usize, (machine, family): NodeAddress, bytes: &[u8]) {
        let now = self.now;
        let (Some(from), Some(host)) = (
            self.bgp
                .routers
                .get(router)
                .map(|router| router.address(family)),
            self.machines.get(machine),
        ) else {
            return;
        };
        let Some((interface, to)) = host.address_on(0, family) else {
            return;
        };
        let Some(node) = self.bgp.node_mut(machine) else {
            return;
        };
        let mut keys = node.bfd_heard.keys();
        let Some(key) = keys.find(|key| key.peer == from).copied() else {
            return;
        };
        let own = node.bfd.as_ref().and_then(|bfd| {
            let mut views = bfd.views().filter(|view| view.key == key);
            views.next().map(|view| view.session.discriminator())
        });
        if let (Ok(packet), Some(heard)) = (Packet::decode(bytes), node.bfd_heard.get_mut(&key)) {
            let unknown = packet.your_discriminator == 0 && packet.state <= State::Down;
            if unknown || Some(packet.your_discriminator) == own {
                heard.last = Some((now, packet));
            }
        }
        let datagram = Datagram {
            from,
            to,
            interface,
            vrf: None,
            multihop: key.multihop,
            ttl: 255,
            payload: bytes,
        };
        self.drive_bfd(machine, Input::Datagram(datagram));
    }

    fn bfd_at_router(&mut self, router: usize, node: NodeAddress, bytes: &[u8]) {
        let now = self.now;
        let Ok(packet) = Packet::decode(bytes) else {
            let detail = format!("node {node:?}: {bytes:02x?}");
            return self.violated("every BFD packet is one that a router understands", detail);
        };
        let Some(bfd) = self.bgp.router_bfd.get_mut(&(router, node)) else {
            return;
        };
        let (sent, change) = bfd.session.receive(now, &packet);
        for packet in sent {
            self.send_bfd(router, node, Side::Node, &packet);
        }
        self.router_bfd_changes(router, node, change);
        self.set_router_bfd_wake(router, node);
    }

    fn router_bfd_changes(&mut self, router: usize, node: NodeAddress, change: Option<Change>) {
        let now = self.now;
        if let Some(here) = self.bgp.routers.get_mut(router) {
            match change {
                Some(Change::Up) => here.bfd_up(now, node),
                Some(Change::Down | Change::Off) => drop(here.watched.remove(&node)),
                None => {}
            }
        }
        if change == Some(Change::Up) {
            self.router_acts(router);
        }
        if change == Some(Change::Down) {
            self.note(format_args!(
                "router {router}: BFD with node {node:?} is down"
            ));
            if let Some(router) = self.bgp.routers.get_mut(router) {
                router.bfd_down(now, node);
            }
            self.router_acts(router);
        }
    }

    fn set_router_bfd_wake(&mut self, router: usize, node: NodeAddress) {
        let now = self.now;
        let Some(bfd) = self.bgp.router_bfd.get_mut(&(router, node)) else {
            return;
        };
        let at = bfd.session.deadline().max(now);
        if bfd.wake != Some(at) {
            bfd.wake = Some(at);
            self.bgp_after(at.since(now), Event::RouterBfdWakes { router, node, at });
        }
    }

    pub(super) fn router_bfd_wakes(&mut self, router: usize, node: NodeAddress, at: Time) {
        let now = self.now;
        let Some(bfd) = self.bgp.router_bfd.get_mut(&(router, node)) else {
            return;
        };
        if bfd.wake != Some(at) {
            return;
        }
        bfd.wake = None;
        let (packet, change) = bfd.session.tick(now);
        if let Some(packet) = packet {
            self.send_bfd(router, node, Side::Node, &packet);
        }
        self.router_bfd_changes(router, node, change);
        self.set_router_bfd_wake(router, node);
    }

    /// The routers watch the nodes whose peers are to be watched.
    pub(super) fn follow_config_of_bfd(&mut self) {
        let now = self.now;
        let timing = self.bgp.profile.as_ref().and_then(|profile| profile.bfd);
        let Some(timing) = timing else {
            return;
        };
        let config = self.api.config();
        let mut wanted = std::collections::BTreeSet::new();
        for (router, here) in self.bgp.routers.iter().enumerate() {
            for family in Family::ALL {
                let peer = config.peers.get(&draw::peer_name(router, family));
                let watched = peer.is_some_and(|peer| peer.bfd_profile.is_some());
                if watched && here.running {
                    wanted.extend(
                        (0..self.machines.len()).map(|machine| (router, (machine, family))),
                    );
                }
            }
        }
        self.bgp.router_bfd.retain(|key, _| wanted.contains(key));
        for (router, here) in self.bgp.routers.iter_mut().enumerate() {
            here.watched
                .retain(|node| wanted.contains(&(router, *node)));
        }
        for (router, node) in wanted {
            if !self.bgp.router_bfd.contains_key(&(router, node)) {
                let discriminator = u32::try_from(self.bgp.rng.below(1 << 31)).unwrap_or(0) + 1;
                let session = Session::new(now, timing, discriminator);
                let bfd = RouterBfd {
                    session,
                    wake: None,
                };
                self.bgp.router_bfd.insert((router, node), bfd);
                self.set_router_bfd_wake(router, node);
            }
        }
    }

    /// Whether a BFD session that is up has heard of its router within the detection time.
    pub(super) fn check_bfd_silence(&mut self, machine: usize, life: u64, key: Key) {
        let lives = self
            .speakers
            .get(machine)
            .is_some_and(|host| host.common.life == life);
        let node = self.bgp.node(machine).filter(|_| lives);
        let Some(heard) = node.and_then(|node| node.bfd_heard.get(&key)) else {
            return;
        };
        let Some((_, most)) = heard.detection().filter(|_| heard.is_up) else {
            return;
        };
        if self.now < most {
            let event = Event::BfdSilence { machine, life, key };
            return self.bgp_after(most.since(self.now), event);
        }
        let detail = format!("speaker {machine}, {}: {heard:?}", key.peer);
        self.violated("BFD notices silence within the detection time", detail);
    }

    /// Tells all routers that a node's BFD is switched off.
    pub(super) fn stop_bfd(&mut self, machine: usize) {
        let keys: Vec<Key> = self
            .bgp
            .node(machine)
            .into_iter()
            .flat_map(|node| node.bfd_heard.keys().copied())
            .collect();
        for key in keys {
            self.unwatch(machine, key);
        }
    }

    /// Whether BFD is up between a node and a router, on both sides.
    pub fn bfd_is_whole(&self, router: usize, node: NodeAddress) -> bool {
        let (machine, family) = node;
        let address = self
            .bgp
            .routers
            .get(router)
            .map(|router| router.address(family));
        let host = self.bgp.node(machine);
        let sessions = host.into_iter().flat_map(|host| host.bfd.iter());
        let up = sessions
            .flat_map(|sessions| sessions.views())
            .any(|view| Some(view.key.peer) == address && view.session.state() == State::Up);
        up && self
            .bgp
            .router_bfd
            .get(&(router, node))
            .is_some_and(|bfd| bfd.session.is_up())
    }
}

impl Heard {
    /// Between which times the router counts as lost when nothing more comes (RFC 5880 §6.8.4).
    fn detection(&self) -> Option<(Time, Time)> {
        let (at, packet) = self.last?;
        let times = u32::from(packet.detect_multiplier);
        let least = packet.desired_min_tx * times;
        let most = packet.desired_min_tx.max(self.receive) * times;
        Some((at + least, at + most + PUNCTUAL))
    }
}

/// How late a thread may be that is scheduled before others.
const PUNCTUAL: Duration = Duration::from_millis(20);
