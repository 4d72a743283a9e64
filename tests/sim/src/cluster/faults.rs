//! What goes wrong: crashes, outages, watches that break or lag, answers that are lost, strangers on the wire.

use std::net::IpAddr;
use std::time::Duration;

use super::{Cluster, Happening, Process};
use crate::api::Kind;
use crate::draw;
use crate::frame;
use crate::lan::Port;
use ironlb_model::Mac;

/// A fault that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The API server does not answer.
    Outage,
    /// A process does not reach the API server.
    CutOff(Process),
    /// Some answers to writes do not arrive.
    AnswersLost,
    /// Some writes are refused.
    WritesRefused,
    /// A second controller runs, though nobody is elected.
    SecondController,
    /// A controller's process stands still.
    Frozen(usize),
    /// Requests of a controller for the Lease, and no others, are slow or get lost.
    LeaseHeldUp(usize),
}

impl Cluster {
    pub(super) fn fault_strikes(&mut self) {
        let time = self.rng.millis(100, 12_000);
        match self.rng.below(20) {
            0 | 1 => {
                let controller = self.any_controller();
                self.crash(Process::Controller(controller));
            }
            2..=4 => {
                let speaker = self.any_speaker();
                self.crash(speaker);
            }
            5 | 6 => self.begin_fault(Fault::Outage, time),
            7 => {
                let process = self.any_process();
                self.begin_fault(Fault::CutOff(process), time);
            }
            8 => self.begin_fault(Fault::AnswersLost, time),
            9 => self.begin_fault(Fault::WritesRefused, time),
            10 if !self.profile.elected => self.begin_fault(Fault::SecondController, time),
            10 if self.profile.elected && self.rng.chance(50) => self.hold_up_the_lease(),
            10 | 11 if self.profile.elected => {
                let leader = self.leader().unwrap_or(0);
                let time = self.rng.millis(12_000, 40_000);
                self.begin_fault(Fault::Frozen(leader), time);
            }
            12 => {
                let controller = self.any_controller();
                self.retire(controller);
            }
            13 => self.lose_two_speakers(),
            14 | 15 => self.lose_the_leader(time),
            16 => self.edit_in_an_outage(time),
            17 | 18 => self.watch_trouble(time),
            _ => self.stranger(),
        }
    }

    fn begin_fault(&mut self, fault: Fault, time: Duration) {
        self.note(format_args!("fault {fault:?} for {time:?}"));
        match fault {
            Fault::Outage => {
                self.api_up = false;
                for process in self.processes() {
                    self.disconnect(process);
                }
            }
            Fault::CutOff(process) => {
                self.cut_off.insert(process);
                self.disconnect(process);
            }
            Fault::AnswersLost => self.answers_lost = true,
            Fault::WritesRefused => self.writes_refused = true,
            Fault::Frozen(controller) => self.freeze(controller),
            Fault::LeaseHeldUp(controller) => drop(self.lease_held_up.insert(controller)),
            Fault::SecondController => {
                let process = Process::Controller(1);
                if !self.is_running(process) {
                    self.after(Duration::ZERO, Happening::Start { process });
                }
            }
        }
        self.after(time, Happening::FaultEnds(fault));
    }

    pub(super) fn end_fault(&mut self, fault: Fault) {
        self.note(format_args!("fault {fault:?} ends"));
        match fault {
            Fault::Outage => self.api_up = true,
            Fault::CutOff(process) => drop(self.cut_off.remove(&process)),
            Fault::AnswersLost => self.answers_lost = false,
            Fault::WritesRefused => self.writes_refused = false,
            Fault::Frozen(controller) => self.thaw(controller),
            Fault::LeaseHeldUp(controller) => drop(self.lease_held_up.remove(&controller)),
            Fault::SecondController => self.kill(Process::Controller(1)),
        }
    }

    /// Ends a process at once; it starts again after a while.
    pub(super) fn crash(&mut self, process: Process) {
        if self.is_running(process) {
            self.kill(process);
            let rest = self.rng.millis(10, 8_000);
            self.after(rest, Happening::Start { process });
        }
    }

    /// Two nodes lose their speakers at once, and get them back at once.
    fn lose_two_speakers(&mut self) {
        let rest = self.rng.millis(10, 8_000);
        for process in [self.any_speaker(), self.any_speaker()] {
            if self.is_running(process) {
                self.kill(process);
                self.after(rest, Happening::Start { process });
            }
        }
    }

    /// The controller in office has trouble to keep its Lease, while there is much to write.
    fn hold_up_the_lease(&mut self) {
        let leader = self.leader().unwrap_or(0);
        let time = self.rng.millis(10_000, 30_000);
        self.begin_fault(Fault::LeaseHeldUp(leader), time);
        for _ in 0..20 {
            let at = self.rng.between(Duration::ZERO, time);
            self.after(at, Happening::UserActs);
        }
    }

    /// The controller in office goes while answers to what it wrote are being lost.
    fn lose_the_leader(&mut self, time: Duration) {
        self.begin_fault(Fault::AnswersLost, time);
        for _ in 0..3 {
            self.change_service();
        }
        let leader = Process::Controller(self.leader().unwrap_or(0));
        let soon = self.rng.millis(1, 800);
        self.after(soon, Happening::Crash(leader));
    }

    /// The configuration and Services change while the API server answers nobody else.
    fn edit_in_an_outage(&mut self, time: Duration) {
        self.begin_fault(Fault::Outage, time);
        for _ in 0..=self.rng.below(3) {
            self.change_config();
            self.change_service();
        }
    }

    fn is_running(&self, process: Process) -> bool {
        match process {
            Process::Controller(index) => {
                self.controllers.get(index).is_some_and(|host| host.running)
            }
            Process::Speaker(index) => {
                let host = self.speakers.get(index);
                host.is_some_and(|host| host.common.alive)
            }
        }
    }

    pub(super) fn kill(&mut self, process: Process) {
        self.note(format_args!("{process} dies"));
        match process {
            Process::Controller(index) => self.end_controller(index),
            Process::Speaker(index) => {
                if let Some(host) = self.speakers.get_mut(index) {
                    host.common.end();
                    host.stop();
                }
                self.bgp_speaker_ends(index, false);
            }
        }
    }

    fn watch_trouble(&mut self, time: Duration) {
        let process = self.any_process();
        let kinds = self
            .common(process)
            .map(|common| common.informer.kinds())
            .unwrap_or_default();
        let Some(kind) = self.rng.pick::<Kind>(&kinds).copied() else {
            return;
        };
        if self.rng.chance(50) {
            self.note(format_args!(
                "{process}: the watch of {kind:?} lags by {time:?}"
            ));
            self.hold_back(process, kind, time);
        } else {
            let resume = self.rng.chance(40);
            self.note(format_args!(
                "{process}: the watch of {kind:?} breaks, resume {resume}"
            ));
            self.reconnect(process, kind, resume);
        }
    }

    /// Somebody who should not sends something: a claim for one of our addresses, or a frame that must be dropped.
    fn stranger(&mut self) {
        let universe = draw::universe();
        let Some(ip) = self.rng.pick(&universe).copied() else {
            return;
        };
        let segment = 0;
        let frame = match ip {
            IpAddr::V4(ip) => frame::gratuitous_arp(STRANGER, ip),
            IpAddr::V6(ip) => {
                let from = std::net::Ipv6Addr::new(0xfe80, 0, 0, 0, 0xdead, 0, 0, 1);
                frame::solicitation(STRANGER, from, ip, None)
            }
        };
        let broken = self.rng.chance(60);
        let frame = if broken {
            self.break_frame(frame)
        } else {
            frame
        };
        self.note(format_args!(
            "a stranger sends a frame about {ip}, broken {broken}"
        ));
        self.flood(segment, Port::Examiner(segment), &frame);
    }

    /// Cuts a frame short, tags it for a VLAN, or turns bits.
    fn break_frame(&mut self, mut frame: Vec<u8>) -> Vec<u8> {
        let place = usize::try_from(self.rng.below(frame.len() as u64)).unwrap_or(0);
        match self.rng.below(3) {
            0 => frame.truncate(place),
            1 => drop(frame.splice(12..12, [0x81, 0, 0, 7])),
            _ => {
                if let Some(byte) = frame.get_mut(place) {
                    *byte ^= 0x41;
                }
            }
        }
        frame
    }

    /// Ends every fault, and has everything run that should. (Only who stands still does so until its time is over.)
    pub fn heal(&mut self) {
        self.note(format_args!("all faults end"));
        self.api_up = true;
        self.cut_off.clear();
        self.lease_held_up.clear();
        self.answers_lost = false;
        self.writes_refused = false;
        self.frames_lost = false;
        self.slow = false;
        self.heal_bgp();
        if !self.profile.elected && self.is_running(Process::Controller(1)) {
            self.kill(Process::Controller(1));
        }
    }

    /// Mostly the one in office.
    fn any_controller(&mut self) -> usize {
        match self.leader() {
            Some(leader) if self.rng.chance(75) => leader,
            _ if self.profile.elected => usize::from(self.rng.chance(50)),
            _ => 0,
        }
    }

    fn any_speaker(&mut self) -> Process {
        let index = self.rng.below(self.speakers.len() as u64);
        Process::Speaker(usize::try_from(index).unwrap_or(0))
    }

    fn any_process(&mut self) -> Process {
        match self.rng.chance(35) {
            true => Process::Controller(self.any_controller()),
            false => self.any_speaker(),
        }
    }
}

/// A host that is none of ours.
const STRANGER: Mac = Mac([2, 0xee, 0, 0, 0, 1]);
