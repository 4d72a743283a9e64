//! The nodes' ends of connections, as the speaker's shell holds them.

use std::time::Duration;

use ironlb_bgp::Connection;
use ironlb_model::{Family, Name};
use ironlb_speaker_core::io::Input;
use ironlb_speaker_core::peers::{News, PeerInput, PeerOutput, Target};

use super::{Cluster, Event, KERNEL_BUFFER, ephemeral};
use crate::bgp::said::Said;
use crate::bgp::tcp::{Pipe, Side};

impl Cluster {
    /// A speaker wants something done for one of its peers.
    pub(in crate::cluster) fn peer_does(&mut self, machine: usize, output: PeerOutput) {
        match output {
            PeerOutput::Connect {
                peer,
                connection,
                target,
            } => self.dial(machine, peer, connection, &target),
            PeerOutput::Send {
                peer,
                connection,
                bytes,
            } => self.speaker_says(machine, &(peer, connection), &bytes),
            PeerOutput::Close { peer, connection } => self.hang_up(machine, &(peer, connection)),
            PeerOutput::Adopt {
                number,
                peer,
                target,
            } => self.adopt(machine, number, peer, &target),
            PeerOutput::Refuse { number } => {
                let node = self.bgp.node_mut(machine);
                let pipe = node.and_then(|node| node.strangers.remove(&number));
                if let Some(pipe) = pipe {
                    self.let_go(pipe, Side::Node, 0);
                }
            }
            PeerOutput::Retarget { peer, target } => self.rekey(machine, &peer, &target),
            PeerOutput::Listen(doors) => {
                if let Some(node) = self.bgp.node_mut(machine) {
                    node.doors = doors;
                }
            }
            PeerOutput::Watch { key, settings } => self.watch(machine, key, settings),
            PeerOutput::Unwatch(key) => self.unwatch(machine, key),
            PeerOutput::Session { peer, news } => self.session_news(machine, &peer, &news),
            PeerOutput::Finished => {
                if let Some(host) = self.speakers.get(machine) {
                    let life = host.common.life;
                    self.note(format_args!("speaker {machine} has taken its leave"));
                    self.bgp_after(Duration::ZERO, Event::Finished { machine, life });
                }
            }
            // Nobody here has a peer without an address.
            PeerOutput::Discover { .. }
            | PeerOutput::Undiscover { .. }
            | PeerOutput::Frame { .. } => {}
        }
    }

    pub(super) fn drive_peer(&mut self, machine: usize, input: PeerInput) {
        self.drive_speaker(machine, Input::Peer(input));
    }

    fn dial(&mut self, machine: usize, peer: Name, connection: Connection, target: &Target) {
        self.check_target(machine, &peer, target);
        let family = Family::of(target.remote.ip());
        let router = self.bgp.router_at(target.remote.ip());
        let local = self.node_address(machine, family);
        let (Some(router), Some(local)) = (router, local) else {
            // The kernel has no way there.
            let input = PeerInput::Closed {
                peer,
                connection,
                error: Some("network is unreachable".to_owned()),
            };
            let pipe = Pipe::new(
                (machine, 0),
                Side::Node,
                (target.remote, target.remote),
                None,
            );
            let pipe = self.bgp.pipes.add(pipe);
            self.hold(machine, pipe, input);
            return self.bgp_after(Duration::ZERO, Event::Refused { pipe });
        };
        let key = target
            .password
            .as_ref()
            .map(|password| password.0.to_string());
        let local = ephemeral(local, connection.number);
        let pipe = Pipe::new((machine, router), Side::Node, (local, target.remote), key);
        let pipe = self.bgp.pipes.add(pipe);
        let input = PeerInput::Closed {
            peer,
            connection,
            error: None,
        };
        self.hold(machine, pipe, input);
        self.send_syn(pipe, 0);
    }

    /// The shell has a connection under the name that `input` has.
    fn hold(&mut self, machine: usize, pipe: u64, input: PeerInput) {
        let now = self.now;
        if let PeerInput::Closed {
            peer, connection, ..
        } = input
            && let Some(node) = self.bgp.node_mut(machine)
        {
            node.connections.insert((peer.clone(), connection), pipe);
            node.by_pipe.insert(pipe, (peer, connection));
            node.said.insert(pipe, Said::new(now));
        }
    }

    fn adopt(&mut self, machine: usize, number: u64, peer: Name, target: &Target) {
        self.check_target(machine, &peer, target);
        let node = self.bgp.node_mut(machine);
        let Some(pipe) = node.and_then(|node| node.strangers.remove(&number)) else {
            return;
        };
        let connection = Connection::inbound(number);
        let input = PeerInput::Closed {
            peer,
            connection,
            error: None,
        };
        self.hold(machine, pipe, input);
    }

    /// Another password counts at once where there was one before; else from the next connection on.
    fn rekey(&mut self, machine: usize, peer: &Name, target: &Target) {
        let Some(new) = target.password.as_ref().map(|new| new.0.to_string()) else {
            return;
        };
        let Some(node) = self.bgp.nodes.get(machine) else {
            return;
        };
        for (pipe, (name, _)) in &node.by_pipe {
            let pipe = self.bgp.pipes.get_mut(*pipe).filter(|_| name == peer);
            if let Some(pipe) = pipe.filter(|pipe| pipe.key.is_some()) {
                pipe.key = Some(new.clone());
            }
        }
    }

    fn speaker_says(&mut self, machine: usize, who: &(Name, Connection), bytes: &[u8]) {
        let node = self.bgp.node(machine);
        let Some(pipe) = node.and_then(|node| node.connections.get(who).copied()) else {
            return;
        };
        self.judge_said(machine, &who.0, pipe, bytes);
        let Some(end) = self
            .bgp
            .pipes
            .get_mut(pipe)
            .map(|pipe| pipe.end_mut(Side::Node))
        else {
            return;
        };
        if !end.known {
            return;
        }
        end.outgoing.extend(bytes);
        end.waits_for_room = true;
        self.transmit_on(pipe, Side::Node);
        self.tell_of_room(pipe);
    }

    /// The process is told when all that it wrote has gone to its kernel.
    pub(super) fn tell_of_room(&mut self, number: u64) {
        let Some(pipe) = self.bgp.pipes.get_mut(number) else {
            return;
        };
        let end = pipe.end_mut(Side::Node);
        if end.held && end.waits_for_room && end.outgoing.len() <= KERNEL_BUFFER {
            end.waits_for_room = false;
            self.bgp_after(Duration::ZERO, Event::Drained { pipe: number });
        }
    }

    pub(super) fn drained(&mut self, pipe: u64) {
        let Some((machine, (peer, connection))) = self.holder(pipe) else {
            return;
        };
        self.drive_peer(machine, PeerInput::Drained { peer, connection });
    }

    /// Whose a connection is, and what the speaker calls it.
    pub(super) fn holder(&self, pipe: u64) -> Option<(usize, (Name, Connection))> {
        let machine = self.bgp.pipes.get(pipe)?.machine;
        let who = self.bgp.node(machine)?.by_pipe.get(&pipe)?;
        Some((machine, who.clone()))
    }

    fn hang_up(&mut self, machine: usize, who: &(Name, Connection)) {
        let Some(node) = self.bgp.node_mut(machine) else {
            return;
        };
        let Some(pipe) = node.connections.remove(who) else {
            let detail = format!("speaker {machine}, {who:?}");
            return self.violated("a connection is closed once", detail);
        };
        node.by_pipe.remove(&pipe);
        node.said.remove(&pipe);
        self.let_go(pipe, Side::Node, usize::MAX);
    }

    /// A speaker reads at once, sometimes in two pieces.
    pub(super) fn read_at_node(&mut self, number: u64) {
        let now = self.now;
        let Some((machine, (peer, connection))) = self.holder(number) else {
            return;
        };
        let Some(end) = self
            .bgp
            .pipes
            .get_mut(number)
            .map(|pipe| pipe.end_mut(Side::Node))
        else {
            return;
        };
        let bytes: Vec<u8> = end.unread.drain(..).collect();
        let ended = end.ended;
        if let Some(said) = self
            .bgp
            .node_mut(machine)
            .and_then(|node| node.said.get_mut(&number))
            && !bytes.is_empty()
        {
            said.heard = now;
        }
        let cut = self.bgp.rng.below(bytes.len() as u64 * 4);
        let cut = usize::try_from(cut).unwrap_or(0).min(bytes.len());
        let (first, rest) = bytes.split_at(cut);
        for piece in [first, rest] {
            if let Some(host) = self.speakers.get_mut(machine).filter(|_| !piece.is_empty()) {
                host.receive(now, &peer, connection, piece);
                self.drain_speaker(machine, false);
            }
        }
        self.check_received(machine, &peer, number);
        if ended && self.holder(number).is_some() {
            let input = PeerInput::Closed {
                peer,
                connection,
                error: None,
            };
            self.drive_peer(machine, input);
        }
    }

    fn session_news(&mut self, machine: usize, peer: &Name, news: &News) {
        self.note(format_args!("speaker {machine}, {peer}: {news:?}"));
        let Some(host) = self.speakers.get(machine) else {
            return;
        };
        let life = host.common.life;
        let Some(node) = self.bgp.node_mut(machine) else {
            return;
        };
        match news {
            News::Failed(_) | News::Unsendable { .. } | News::Waiting(_) | News::Found => {}
            News::Down(_) => {
                node.up.remove(peer);
                self.counts.sessions += 1;
            }
            News::Up => {
                node.up.insert(peer.clone());
                node.was_up.insert(peer.clone());
                self.counts.sessions += 1;
                let pipe = self.bgp.node(machine).and_then(|node| node.said_to(peer));
                if let Some((pipe, _)) = pipe {
                    let event = Event::Silence {
                        machine,
                        life,
                        pipe,
                    };
                    self.bgp_after(Duration::from_secs(1), event);
                }
            }
        }
    }
}
