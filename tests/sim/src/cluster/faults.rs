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
    /// A second controller runs.
    SecondController,
}

impl Cluster {
    pub(super) fn fault_strikes(&mut self) {
        let time = self.rng.millis(100, 12_000);
        match self.rng.below(13) {
            0..=2 => self.crash(Process::Controller(0)),
            3 | 4 => {
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
            10 if !self.profile.fenced => self.begin_fault(Fault::SecondController, time),
            10 | 11 => self.watch_trouble(time),
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
            Fault::SecondController => {
                let process = Process::Controller(1);
                if self.common(process).is_some_and(|common| !common.alive) {
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
            Fault::SecondController => self.kill(Process::Controller(1)),
        }
    }

    /// Ends a process at once; it starts again after a while.
    fn crash(&mut self, process: Process) {
        if self.common(process).is_none_or(|common| !common.alive) {
            return;
        }
        self.kill(process);
        // A controller that comes back while its last writes are still under way could give their addresses away.
        let controller = matches!(process, Process::Controller(_));
        let rest = match controller && self.profile.fenced {
            true => self.rng.millis(1_000, 8_000),
            false => self.rng.millis(10, 8_000),
        };
        self.after(rest, Happening::Start { process });
    }

    pub(super) fn kill(&mut self, process: Process) {
        self.note(format_args!("{process} dies"));
        match process {
            Process::Controller(index) => {
                if let Some(host) = self.controllers.get_mut(index) {
                    host.common.end();
                }
            }
            Process::Speaker(index) => {
                if let Some(host) = self.speakers.get_mut(index) {
                    host.common.end();
                    host.stop();
                }
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

    /// Ends every fault, and has everything run that should.
    pub fn heal(&mut self) {
        self.note(format_args!("all faults end"));
        self.api_up = true;
        self.cut_off.clear();
        self.answers_lost = false;
        self.writes_refused = false;
        self.frames_lost = false;
        if self
            .common(Process::Controller(1))
            .is_some_and(|common| common.alive)
        {
            self.kill(Process::Controller(1));
        }
    }

    fn any_speaker(&mut self) -> Process {
        let index = self.rng.below(self.speakers.len() as u64);
        Process::Speaker(usize::try_from(index).unwrap_or(0))
    }

    fn any_process(&mut self) -> Process {
        match self.rng.chance(35) {
            true => Process::Controller(0),
            false => self.any_speaker(),
        }
    }
}

/// A host that is none of ours.
const STRANGER: Mac = Mac([2, 0xee, 0, 0, 0, 1]);
