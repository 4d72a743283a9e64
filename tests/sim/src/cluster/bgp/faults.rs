//! What goes wrong with routers, paths and sessions; and speakers that are told to end.

use std::time::Duration;

use ironlb_bgp::wire::Reason;
use ironlb_model::Family;
use ironlb_speaker_core::peers::PeerInput;

use super::{Cluster, Event};
use crate::bgp::router::Router;
use crate::bgp::tcp::Side;
use crate::cluster::{Happening, Process};

/// A fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cluster) enum Fault {
    /// A router's process is gone.
    RouterDown(usize),
    /// A router has no power.
    RouterOff(usize),
    /// A machine has no power.
    MachineOff(usize),
    /// Nothing gets from a machine to a router.
    Cut(usize, usize),
    /// A router takes its time to read.
    Slow(usize),
    /// A router announces many prefixes.
    Flood(usize),
    /// A router takes connections and says nothing on them, and goes on connecting itself.
    Silent(usize),
}

impl Cluster {
    pub(super) fn bgp_fault_strikes(&mut self) {
        let router = self.any_router();
        let machine = self.any_machine();
        let time = self.bgp.rng.millis(200, 25_000);
        match self.bgp.rng.below(21) {
            0..=2 => self.begin_bgp_fault(Fault::RouterDown(router), time),
            3 | 4 => self.begin_bgp_fault(Fault::RouterOff(router), time),
            5 | 6 => self.begin_bgp_fault(Fault::MachineOff(machine), time),
            7..=9 => self.begin_bgp_fault(Fault::Cut(machine, router), time),
            10 | 11 => self.begin_bgp_fault(Fault::Slow(router), time),
            12 => self.begin_bgp_fault(Fault::Flood(router), time),
            13 | 14 => self.reset_connection(),
            15 | 16 => self.tell_to_end(machine),
            17 => self.router_says(router, |cluster, pipe| {
                let reasons = [
                    Reason::ADMIN_RESET,
                    Reason::ADMIN_SHUTDOWN,
                    Reason::CONNECTION_REJECTED,
                ];
                let reason = cluster.bgp.rng.pick(&reasons).copied();
                let now = cluster.now;
                if let (Some(router), Some(reason)) = (cluster.bgp.routers.get_mut(router), reason)
                {
                    router.reset(now, pipe, reason);
                }
            }),
            18 => self.router_says(router, |cluster, pipe| cluster.ask_again(router, pipe)),
            19 => self.begin_bgp_fault(Fault::Silent(router), time + SILENCE),
            _ => self.router_says(router, |cluster, pipe| cluster.send_malformed(router, pipe)),
        }
    }

    fn begin_bgp_fault(&mut self, fault: Fault, time: Duration) {
        self.note(format_args!("fault {fault:?} for {time:?}"));
        match fault {
            Fault::RouterDown(router) => self.stop_router(router, false),
            Fault::RouterOff(router) => self.stop_router(router, true),
            Fault::MachineOff(machine) => self.switch_off(machine),
            Fault::Cut(machine, router) => drop(self.bgp.cuts.insert((machine, router))),
            Fault::Slow(router) => self.set_slow(router, true),
            Fault::Flood(router) => self.flood_prefixes(router, FLOOD),
            Fault::Silent(router) => self.silence(router),
        }
        self.bgp_after(time, Event::FaultEnds(fault));
    }

    pub(super) fn end_bgp_fault(&mut self, fault: Fault) {
        match fault {
            Fault::RouterDown(router) | Fault::RouterOff(router) => self.start_router(router),
            Fault::MachineOff(machine) => self.switch_on(machine),
            Fault::Cut(machine, router) => {
                self.bgp.cuts.remove(&(machine, router));
                self.note_trouble(machine, router);
            }
            Fault::Slow(router) => self.set_slow(router, false),
            Fault::Flood(router) => self.flood_prefixes(router, 0),
            Fault::Silent(router) => self.end_silence(router),
        }
    }

    /// Ends every fault of routers, paths and machines.
    pub(in crate::cluster) fn heal_bgp(&mut self) {
        let cuts = std::mem::take(&mut self.bgp.cuts);
        for (machine, router) in cuts {
            self.note_trouble(machine, router);
        }
        for router in 0..self.bgp.routers.len() {
            self.end_silence(router);
            self.start_router(router);
            self.set_slow(router, false);
            self.flood_prefixes(router, 0);
        }
        for machine in 0..self.bgp.nodes.len() {
            self.switch_on(machine);
        }
    }

    fn start_router(&mut self, index: usize) {
        let now = self.now;
        let Some(router) = self
            .bgp
            .routers
            .get_mut(index)
            .filter(|router| !router.running)
        else {
            return;
        };
        router.powered = true;
        router.start(now);
        self.note(format_args!("router {index} starts"));
        self.follow_config_at_routers();
        self.router_acts(index);
        for machine in 0..self.machines.len() {
            self.note_trouble(machine, index);
        }
    }

    fn set_slow(&mut self, index: usize, slow: bool) {
        let was = self
            .bgp
            .routers
            .get_mut(index)
            .map(|router| std::mem::replace(&mut router.slow, slow));
        if was == Some(true) || slow {
            for machine in 0..self.machines.len() {
                self.note_trouble(machine, index);
            }
        }
        if was == Some(true) && !slow {
            let pipes = self
                .bgp
                .pipes
                .iter()
                .filter(|(_, pipe)| pipe.router == index);
            let pipes: Vec<u64> = pipes.map(|(number, _)| number).collect();
            for pipe in pipes {
                self.read_at_router(pipe);
            }
        }
    }

    /// A router's process is another one, with which something is the matter.
    fn silence(&mut self, index: usize) {
        self.stop_router(index, false);
        if let Some(router) = self.bgp.routers.get_mut(index) {
            router.silent = true;
        }
        self.start_router(index);
    }

    /// Its operator starts it anew.
    fn end_silence(&mut self, index: usize) {
        let silent = |router: &Router| router.silent;
        if self.bgp.routers.get(index).is_some_and(silent) {
            self.stop_router(index, false);
            self.start_router(index);
        }
    }

    fn flood_prefixes(&mut self, index: usize, flood: u32) {
        if let Some(router) = self.bgp.routers.get_mut(index)
            && router.flood != flood
        {
            router.announce_again(flood);
            self.router_acts(index);
        }
    }

    /// A machine loses power: its speaker is gone, and no connection was closed.
    fn switch_off(&mut self, machine: usize) {
        let process = Process::Speaker(machine);
        let running = self
            .speakers
            .get(machine)
            .is_some_and(|host| host.common.alive);
        if let Some(node) = self.bgp.node_mut(machine) {
            if node.is_off {
                return;
            }
            node.is_off = true;
        }
        if running {
            self.bgp_speaker_ends(machine, true);
            self.kill(process);
            self.after(Duration::from_millis(100), Happening::Start { process });
        }
    }

    fn switch_on(&mut self, machine: usize) {
        if let Some(node) = self.bgp.node_mut(machine).filter(|node| node.is_off) {
            node.is_off = false;
            for router in 0..self.bgp.routers.len() {
                self.note_trouble(machine, router);
            }
        }
    }

    /// Whether a machine has power; a process that wants to start there is tried again later.
    pub(in crate::cluster) fn is_off(&self, process: Process) -> bool {
        match process {
            Process::Speaker(machine) => self.bgp.node(machine).is_some_and(|node| node.is_off),
            Process::Controller(_) => false,
        }
    }

    fn reset_connection(&mut self) {
        let pipes: Vec<u64> = self.bgp.pipes.iter().map(|(number, _)| number).collect();
        let Some(number) = self.bgp.rng.pick(&pipes).copied() else {
            return;
        };
        self.note(format_args!("connection {number} is reset"));
        for side in [Side::Node, Side::Router] {
            if let Some(pipe) = self.bgp.pipes.get_mut(number) {
                let (machine, router) = (pipe.machine, pipe.router);
                let held = pipe.end(side).held;
                pipe.reset(side);
                self.note_trouble(machine, router);
                if held {
                    self.connection_fails(number, side, "connection reset by peer");
                }
            }
        }
        self.bgp.pipes.sweep();
    }

    /// A speaker gets SIGTERM, as when its pod is replaced.
    fn tell_to_end(&mut self, machine: usize) {
        let now = self.now;
        let Some(host) = self.speakers.get(machine).filter(|host| host.common.alive) else {
            return;
        };
        let life = host.common.life;
        // What was configured while the node was unknown never was.
        let name = self.machines.get(machine).map(|machine| &machine.name);
        let nodes = &host.common.informer.seen.nodes;
        let known = name.is_some_and(|name| nodes.contains_key(name));
        let Some(node) = self
            .bgp
            .node_mut(machine)
            .filter(|node| node.ending.is_none())
        else {
            return;
        };
        node.ending = Some(now);
        node.changed_while_ending = !known;
        self.note(format_args!("speaker {machine} is told to end"));
        self.bgp_after(GRACE, Event::GraceOver { machine, life });
        self.drive_peer(machine, PeerInput::Shutdown);
    }

    pub(super) fn grace_over(&mut self, machine: usize, life: u64) {
        if !self.lives(machine, life) {
            return;
        }
        let node = self.bgp.node(machine);
        let waits = node.is_some_and(|node| {
            node.by_pipe.keys().any(|pipe| {
                let pipe = self.bgp.pipes.get(*pipe);
                pipe.is_some_and(|pipe| pipe.end(Side::Node).waits_for_room)
            })
        });
        if !waits {
            let detail = format!("speaker {machine}");
            self.violated("a speaker that is told to end does so in time", detail);
        }
        self.crash(Process::Speaker(machine));
    }

    pub(super) fn finished(&mut self, machine: usize, life: u64) {
        if !self.lives(machine, life) {
            return;
        }
        self.counts.leaves += 1;
        self.check_farewell(machine);
        self.stop_bfd(machine);
        self.crash(Process::Speaker(machine));
    }

    /// Of every peer leave was taken.
    fn check_farewell(&mut self, machine: usize) {
        let Some(node) = self.bgp.node(machine) else {
            return;
        };
        let open = node
            .said
            .iter()
            .find(|(_, said)| said.is_open() && !said.ended.is_empty());
        if let Some((pipe, _)) = open {
            let detail = format!("speaker {machine}, {:?}", node.by_pipe.get(pipe));
            self.violated("who ends has taken leave of everybody", detail);
        }
    }

    /// A router's operator does something on one of its sessions.
    fn router_says(&mut self, router: usize, act: impl FnOnce(&mut Self, u64)) {
        let sessions = self.bgp.routers.get(router);
        let sessions: Vec<u64> = sessions
            .into_iter()
            .flat_map(|router| router.sessions().map(|(pipe, _)| pipe))
            .collect();
        if let Some(pipe) = self.bgp.rng.pick(&sessions).copied() {
            self.note(format_args!(
                "router {router} does something on connection {pipe}"
            ));
            act(self, pipe);
            self.router_acts(router);
        }
    }

    fn ask_again(&mut self, router: usize, pipe: u64) {
        let family = if self.bgp.rng.chance(50) {
            Family::V4
        } else {
            Family::V6
        };
        let machine = self.bgp.pipes.get(pipe).map(|pipe| pipe.machine);
        let node = machine.and_then(|machine| self.bgp.node_mut(machine));
        if let Some(said) = node.and_then(|node| node.said.get_mut(&pipe)) {
            said.again.insert(family);
        }
        if let Some(router) = self.bgp.routers.get_mut(router) {
            router.ask_again(pipe, family);
        }
    }

    /// An UPDATE that is to be taken for a withdrawal (RFC 7606 §2), or in which an attribute is to be left out.
    fn send_malformed(&mut self, router: usize, pipe: u64) {
        let malformed: &[u8] = match self.bgp.rng.below(2) {
            // ORIGIN 9, and a route.
            0 => &[0x40, 1, 1, 9, 0x40, 2, 0, 0x40, 3, 4, 198, 51, 100, 201],
            // ATOMIC_AGGREGATE with a byte in it.
            _ => &[
                0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, 198, 51, 100, 201, 0x40, 6, 1, 0,
            ],
        };
        let prefix = [24, 10, 99, 99];
        let length = u8::try_from(23 + malformed.len() + prefix.len()).unwrap_or(0);
        let mut bytes = vec![0xff; 16];
        bytes.extend([0, length, 2, 0, 0, 0]);
        bytes.extend(u8::try_from(malformed.len()));
        bytes.extend(malformed);
        bytes.extend(prefix);
        if let Some(router) = self.bgp.routers.get_mut(router) {
            router.send(pipe, bytes);
        }
        let who = self.bgp.pipes.get(pipe).map(|pipe| pipe.machine);
        let node = who.and_then(|machine| self.bgp.node_mut(machine));
        if let Some(said) = node.and_then(|node| node.said.get_mut(&pipe)) {
            said.borne += 1;
        }
    }

    fn any_router(&mut self) -> usize {
        let count = self.bgp.routers.len() as u64;
        usize::try_from(self.bgp.rng.below(count)).unwrap_or(0)
    }

    fn any_machine(&mut self) -> usize {
        let count = self.machines.len() as u64;
        usize::try_from(self.bgp.rng.below(count)).unwrap_or(0)
    }
}

/// More than any peer takes that says how many.
const FLOOD: u32 = 20;
/// How long a router is silent at least: until a speaker that dials again beside a connection of its own would have done so.
const SILENCE: Duration = Duration::from_secs(20);
/// `terminationGracePeriodSeconds` of deploy/speaker.yaml.
const GRACE: Duration = Duration::from_secs(30);
