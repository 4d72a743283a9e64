//! What is sent on connections, on its way: packets that arrive, are lost and sent again, and connections that fail.

use std::net::SocketAddr;
use std::time::Duration;

use ironlb_model::{Family, Time};
use ironlb_speaker_core::peers::PeerInput;

use super::{Cluster, Event};
use crate::bgp::tcp::{Arrival, Side};

impl Cluster {
    /// A process has no use for a connection any more; `kept` bytes of what it wrote are its kernel's already.
    pub(super) fn let_go(&mut self, number: u64, side: Side, kept: usize) {
        if let Some(pipe) = self.bgp.pipes.get_mut(number) {
            pipe.finish(side, kept);
            self.transmit_on(number, side);
            self.bgp.pipes.sweep();
        }
    }

    /// Puts what a side has to send on its way.
    pub(super) fn transmit_on(&mut self, number: u64, from: Side) {
        let Some(pipe) = self
            .bgp
            .pipes
            .get_mut(number)
            .filter(|pipe| pipe.has_to_send(from))
        else {
            return;
        };
        pipe.end_mut(from).in_flight = true;
        let latency = self.latency(number);
        self.bgp_after(latency, Event::Flight { pipe: number, from });
    }

    pub(super) fn latency(&self, pipe: u64) -> Duration {
        let router = self.bgp.pipes.get(pipe).map(|pipe| pipe.router);
        let router = router.and_then(|router| self.bgp.routers.get(router));
        router.map_or(Duration::ZERO, |router| LATENCY + router.traits.latency)
    }

    /// The first packet of a connection goes out.
    pub(super) fn send_syn(&mut self, number: u64, attempt: u32) {
        let latency = self.latency(number);
        let wait = match attempt {
            0 => Duration::ZERO,
            attempt => Duration::from_secs(1 << attempt.min(3)),
        };
        if let Some(pipe) = self.bgp.pipes.get_mut(number) {
            let dialler = pipe.dialler;
            pipe.end_mut(dialler).in_flight = true;
            let event = Event::Syn {
                pipe: number,
                attempt,
            };
            self.bgp_after(latency + wait, event);
        }
    }

    pub(super) fn syn(&mut self, number: u64, attempt: u32) {
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return;
        };
        let dialler = pipe.dialler;
        pipe.end_mut(dialler).in_flight = false;
        if !pipe.end(dialler).held {
            return self.bgp.pipes.sweep();
        }
        let (router, family) = (pipe.router, pipe.family);
        let key = self.router_password(router, family);
        if let Some(pipe) = self.bgp.pipes.get_mut(number) {
            pipe.router_key = key;
        }
        if !self.gets_through(number) {
            return self.send_syn(number, attempt + 1);
        }
        let taken = match dialler {
            Side::Node => self.router_takes(number),
            Side::Router => self.node_takes(number),
        };
        if !taken {
            let latency = self.latency(number);
            match dialler {
                Side::Node => self.bgp_after(latency, Event::Refused { pipe: number }),
                Side::Router => self.connection_fails(number, Side::Router, "refused"),
            }
        }
    }

    /// A node is dialled. Gives whether anybody listens there.
    fn node_takes(&mut self, number: u64) -> bool {
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return false;
        };
        let (machine, local, remote) = (pipe.machine, pipe.local, pipe.remote);
        let running = self
            .speakers
            .get(machine)
            .is_some_and(|host| host.common.alive);
        let Some(node) = self.bgp.nodes.get_mut(machine).filter(|_| running) else {
            return false;
        };
        let mut doors = node.doors.iter();
        let is_for = |local: SocketAddr| {
            move |port: u16, family: Family| {
                port == local.port() && family == Family::of(local.ip())
            }
        };
        let fits = is_for(local);
        let door = doors.find(|(door, _)| fits(door.port, door.family));
        let Some((_, keys)) = door else {
            return false;
        };
        pipe.key = keys
            .get(&remote.ip())
            .and_then(|key| key.as_ref().map(|key| key.0.to_string()));
        if pipe.key != pipe.router_key {
            // Dropped without a word; it will be dialled again.
            return false;
        }
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return false;
        };
        pipe.accept();
        let Some(node) = self.bgp.nodes.get_mut(machine) else {
            return false;
        };
        node.accepted += 1;
        let accepted = node.accepted;
        node.strangers.insert(accepted, number);
        let latency = self.latency(number);
        self.bgp_after(latency, Event::SynAck { pipe: number });
        let input = PeerInput::Accepted {
            number: accepted,
            local,
            remote,
            device: None,
        };
        self.drive_peer(machine, input);
        true
    }

    pub(super) fn syn_ack(&mut self, number: u64) {
        let Some(pipe) = self.bgp.pipes.get(number) else {
            return;
        };
        let (machine, local, remote) = (pipe.machine, pipe.local, pipe.remote);
        match pipe.dialler {
            Side::Router => self.router_is_connected(number),
            Side::Node => {
                if let Some((_, (peer, connection))) = self.holder(number) {
                    let input = PeerInput::Connected {
                        peer,
                        connection,
                        local,
                        remote,
                    };
                    self.drive_peer(machine, input);
                    // The router may have spoken already.
                    self.read_at_node(number);
                }
            }
        }
    }

    /// Whether a packet of a connection arrives: there is a path, both sides have one password, and it is not lost.
    fn gets_through(&mut self, number: u64) -> bool {
        let Some(pipe) = self.bgp.pipes.get(number) else {
            return false;
        };
        let (machine, router, family) = (pipe.machine, pipe.router, pipe.family);
        let dialled_by_router = pipe.dialler == Side::Router && !pipe.end(Side::Node).known;
        let same_address = self.node_address(machine, family) == Some(pipe.local.ip());
        let same_key = dialled_by_router || pipe.key == pipe.router_key;
        let open = same_address && same_key && self.path(machine, router, family);
        let lost = self.frames_lost && self.bgp.rng.below(100) < self.profile.loss;
        if !open || lost {
            self.note_trouble(machine, router);
        }
        open && !lost
    }

    pub(super) fn flight(&mut self, number: u64, from: Side) {
        let now = self.now;
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return;
        };
        pipe.end_mut(from).in_flight = false;
        if !pipe.end(from).known {
            return self.bgp.pipes.sweep();
        }
        if !self.gets_through(number) {
            return self.send_again(now, number, from);
        }
        let router = self.bgp.pipes.get(number).map(|pipe| pipe.router);
        let router = router.and_then(|router| self.bgp.routers.get(router));
        let window = match from {
            Side::Node => router.map_or(0, |router| router.traits.window),
            Side::Router => WINDOW,
        };
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return;
        };
        match pipe.arrive(from, window) {
            Arrival::Reset => self.connection_fails(number, from, "connection reset by peer"),
            Arrival::NoRoom => {}
            Arrival::Data => {
                self.transmit_on(number, from);
                self.tell_of_room(number);
                match from {
                    Side::Node => self.read_at_router(number),
                    Side::Router => self.read_at_node(number),
                }
            }
        }
        self.bgp.pipes.sweep();
    }

    fn send_again(&mut self, now: Time, number: u64, from: Side) {
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return;
        };
        match pipe.lose(now, from) {
            Some(wait) => {
                pipe.end_mut(from).in_flight = true;
                self.bgp_after(wait, Event::Flight { pipe: number, from });
            }
            None => self.connection_fails(number, from, "timed out"),
        }
    }

    /// A side's kernel gives a connection up.
    pub(super) fn connection_fails(&mut self, number: u64, side: Side, why: &str) {
        match side {
            Side::Router => self.router_loses(number),
            Side::Node => {
                let Some((machine, (peer, connection))) = self.holder(number) else {
                    return;
                };
                let input = PeerInput::Closed {
                    peer,
                    connection,
                    error: Some(why.to_owned()),
                };
                self.drive_peer(machine, input);
            }
        }
    }
}

/// Between a node and a router next door.
const LATENCY: Duration = Duration::from_micros(200);
/// What a node's kernel keeps unread.
const WINDOW: usize = 65_536;
