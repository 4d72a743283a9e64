//! The routers' ends of connections.

use std::net::SocketAddr;
use std::time::Duration;

use ironlb_model::bgp::Password;
use ironlb_model::{BgpPeer, Family, Time};

use super::{Cluster, Event, KERNEL_BUFFER, ephemeral};
use crate::bgp::draw;
use crate::bgp::router::{Act, NodeAddress};
use crate::bgp::tcp::{Pipe, Side};

impl Cluster {
    /// Does what a router does, until it does nothing more.
    pub(super) fn router_acts(&mut self, router: usize) {
        while let Some(acts) = self
            .bgp
            .routers
            .get_mut(router)
            .map(|router| router.take_acts())
        {
            if acts.is_empty() {
                break;
            }
            for act in acts {
                self.router_does(router, act);
            }
        }
        self.set_router_wake(router);
    }

    fn router_does(&mut self, router: usize, act: Act) {
        match act {
            Act::Send(number, bytes) => {
                if let Some(pipe) = self.bgp.pipes.get_mut(number) {
                    let end = pipe.end_mut(Side::Router);
                    if end.known {
                        end.outgoing.extend(bytes);
                    }
                    self.transmit_on(number, Side::Router);
                }
            }
            Act::Close(number) => self.let_go(number, Side::Router, KERNEL_BUFFER),
            Act::Dial(node, port) => self.router_dials(router, node, port),
            Act::Session((machine, family), up) => {
                self.counts.router_sessions += 1;
                self.note(format_args!(
                    "router {router}, node {machine} {family}: session up {up}"
                ));
            }
            Act::Silence((machine, family), heard) => {
                let trouble = self.bgp.trouble.get(&(machine, router)).copied();
                if trouble.is_none_or(|trouble| trouble + FADING < heard) {
                    let detail =
                        format!("router {router}, node {machine} {family}: heard at {heard}");
                    self.violated("a router hears of a node within the hold time", detail);
                }
            }
            Act::Found(invariant, detail) => self.violated(invariant, detail),
        }
    }

    fn set_router_wake(&mut self, number: usize) {
        let now = self.now;
        let Some(router) = self.bgp.routers.get(number) else {
            return;
        };
        let life = router.life;
        let wake = router.deadline().map(|deadline| deadline.max(now));
        if self.bgp.router_wakes.get(&number).copied() == wake {
            return;
        }
        match wake {
            Some(at) => {
                self.bgp.router_wakes.insert(number, at);
                let event = Event::RouterWakes {
                    router: number,
                    life,
                    at,
                };
                self.bgp_after(at.since(now), event);
            }
            None => drop(self.bgp.router_wakes.remove(&number)),
        }
    }

    pub(super) fn router_wakes(&mut self, number: usize, life: u64, at: Time) {
        let now = self.now;
        if self.bgp.router_wakes.get(&number).copied() != Some(at) {
            return;
        }
        self.bgp.router_wakes.remove(&number);
        if let Some(router) = self.bgp.routers.get_mut(number)
            && router.life == life
            && router.running
        {
            router.tick(now);
        }
        self.router_acts(number);
    }

    fn router_dials(&mut self, number: usize, (machine, family): NodeAddress, port: u16) {
        let Some(address) = self.node_address(machine, family) else {
            return;
        };
        let Some(router) = self.bgp.routers.get(number) else {
            return;
        };
        let local = SocketAddr::new(address, port);
        let remote = ephemeral(router.address(family), self.now.as_nanos() / 1_000_000);
        let pipe = Pipe::new((machine, number), Side::Router, (local, remote), None);
        let pipe = self.bgp.pipes.add(pipe);
        self.send_syn(pipe, 0);
    }

    /// A node's connection. Gives whether BGP runs here.
    pub(super) fn router_takes(&mut self, number: u64) -> bool {
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return false;
        };
        let router = pipe.router;
        if !self
            .bgp
            .routers
            .get(router)
            .is_some_and(|router| router.running)
        {
            return false;
        }
        pipe.accept();
        let latency = self.latency(number);
        self.bgp_after(latency, Event::SynAck { pipe: number });
        self.router_speaks(number, false);
        true
    }

    /// A node has taken a router's connection.
    pub(super) fn router_is_connected(&mut self, number: u64) {
        let held = self
            .bgp
            .pipes
            .get(number)
            .is_some_and(|pipe| pipe.end(Side::Router).held);
        if held {
            self.router_speaks(number, true);
            self.read_at_router(number);
        }
    }

    fn router_speaks(&mut self, number: u64, dialled: bool) {
        let now = self.now;
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return;
        };
        let (index, node) = (pipe.router, (pipe.machine, pipe.family));
        let Some(router) = self.bgp.routers.get_mut(index) else {
            return;
        };
        if router.silent {
            if dialled {
                self.let_go(number, Side::Router, 0);
            }
            return;
        }
        router.connected(now, number, node, dialled);
        pipe.end_mut(Side::Router).open = router.open_on(number).cloned();
        self.router_acts(index);
    }

    /// What has arrived at a router is read at once, or where it is slow in small pieces.
    pub(super) fn read_at_router(&mut self, number: u64) {
        let Some(pipe) = self.bgp.pipes.get(number) else {
            return;
        };
        let slow = self
            .bgp
            .routers
            .get(pipe.router)
            .is_some_and(|router| router.slow);
        if slow {
            let wait = self.bgp.rng.millis(50, 400);
            self.bgp_after(wait, Event::RouterReads { pipe: number });
        } else {
            self.router_takes_in(number, usize::MAX);
        }
    }

    pub(super) fn router_reads(&mut self, number: u64) {
        self.router_takes_in(number, SLOW_READ);
        let left = self.bgp.pipes.get(number);
        if left.is_some_and(|pipe| !pipe.end(Side::Router).unread.is_empty()) {
            self.read_at_router(number);
        }
    }

    fn router_takes_in(&mut self, number: u64, most: usize) {
        let now = self.now;
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return;
        };
        let index = pipe.router;
        let end = pipe.end_mut(Side::Router);
        if !end.held {
            return;
        }
        let count = most.min(end.unread.len());
        let bytes: Vec<u8> = end.unread.drain(..count).collect();
        let over = end.ended && end.unread.is_empty();
        // There is room again.
        self.transmit_on(number, Side::Node);
        let Some(router) = self.bgp.routers.get_mut(index) else {
            return;
        };
        router.receive(now, number, &bytes);
        if over {
            router.lost(now, number);
        }
        self.router_acts(index);
    }

    /// The router's kernel gives a connection up.
    pub(super) fn router_loses(&mut self, number: u64) {
        let now = self.now;
        let Some(index) = self.bgp.pipes.get(number).map(|pipe| pipe.router) else {
            return;
        };
        if let Some(router) = self.bgp.routers.get_mut(index) {
            router.lost(now, number);
        }
        self.router_acts(index);
    }

    /// Ends a router's process, or with `silently` its host.
    pub(super) fn stop_router(&mut self, index: usize, silently: bool) {
        let pipes: Vec<u64> = self
            .bgp
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.router == index)
            .map(|(number, _)| number)
            .collect();
        if let Some(router) = self.bgp.routers.get_mut(index) {
            router.stop();
            router.powered &= !silently;
        }
        self.bgp.router_wakes.remove(&index);
        self.bgp
            .router_bfd
            .retain(|(router, _), _| *router != index);
        for number in pipes {
            if silently {
                if let Some(pipe) = self.bgp.pipes.get_mut(number) {
                    pipe.forget(Side::Router);
                }
            } else {
                self.let_go(number, Side::Router, KERNEL_BUFFER);
            }
        }
        for machine in 0..self.machines.len() {
            self.note_trouble(machine, index);
        }
    }

    /// The routers' operators follow what is configured: whom they dial, whom they watch, which passwords they use.
    pub(super) fn follow_config_at_routers(&mut self) {
        let now = self.now;
        let config = self.api.config();
        let machines = self.machines.len();
        for (index, router) in self.bgp.routers.iter_mut().enumerate() {
            let mut dials = std::collections::BTreeMap::new();
            for family in Family::ALL {
                let peer = config.peers.get(&draw::peer_name(index, family));
                let port = peer.and_then(|peer| peer.listen_port);
                for machine in 0..machines {
                    if let Some(port) = port {
                        let next = router
                            .dials
                            .get(&(machine, family))
                            .map_or(now, |(_, next)| *next);
                        dials.insert((machine, family), (port, next));
                    }
                }
            }
            router.dials = dials;
        }
        for index in 0..self.bgp.routers.len() {
            self.set_router_wake(index);
        }
        self.follow_config_of_bfd();
        self.rekey_routers();
    }

    /// Another password counts at once where there was one before.
    pub(super) fn rekey_routers(&mut self) {
        let numbers: Vec<(u64, usize, Family)> = self
            .bgp
            .pipes
            .iter()
            .map(|(number, pipe)| (number, pipe.router, pipe.family))
            .collect();
        for (number, router, family) in numbers {
            let Some(password) = self.router_password(router, family) else {
                continue;
            };
            let pipe = self.bgp.pipes.get_mut(number);
            if let Some(pipe) = pipe.filter(|pipe| pipe.router_key.is_some()) {
                pipe.router_key = Some(password);
            }
        }
    }

    /// The password that a router has for nodes, by its address of a family: its operator knows the configuration.
    pub(super) fn router_password(&self, router: usize, family: Family) -> Option<String> {
        let config = self.api.config();
        let peer: &BgpPeer = config.peers.get(&draw::peer_name(router, family))?;
        match &peer.password {
            Password::None => None,
            Password::Plain(text) => Some(text.clone()),
            Password::Secret(name) => Some(self.bgp.secrets.get(name).cloned().unwrap_or_default()),
        }
    }
}

/// For how long trouble on a path may be felt: retransmissions come at longer and longer intervals.
const FADING: Duration = Duration::from_secs(20);
/// What a slow router reads at once.
const SLOW_READ: usize = 300;
