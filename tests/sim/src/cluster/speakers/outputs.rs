//! What a speaker does: the frames that it sends, the groups that it joins, and what it reports.

use ironlb_model::Mac;
use ironlb_speaker_core::io::{BgpStatus, Layer2Status, Output};

use super::super::{Cluster, Process};
use crate::frame;

impl Cluster {
    pub(in crate::cluster) fn drain_speaker(&mut self, index: usize, woken: bool) {
        let mut drained = 0;
        while let Some(output) = self
            .speakers
            .get_mut(index)
            .and_then(|host| host.machine.poll())
        {
            self.speaker_does(index, output);
            drained += 1;
            if drained > MOST_OUTPUTS {
                self.violated("outputs come to an end", format!("speaker {index}"));
                return;
            }
        }
        self.check_connections(index);
        let deadline = self
            .speakers
            .get(index)
            .and_then(|host| host.machine.deadline());
        self.set_wake(Process::Speaker(index), deadline, woken);
    }

    fn speaker_does(&mut self, index: usize, output: Output) {
        match output {
            Output::Send { interface, frame } => self.speaker_sends(index, interface, frame),
            Output::Event(event) => {
                self.counts.events += 1;
                self.note(format_args!(
                    "speaker {index} event {} {}: {}",
                    event.service, event.reason, event.message
                ));
            }
            Output::Layer2(status) => self.speaker_reports(index, status),
            Output::Bgp(status) => self.speaker_reports_routes(index, status),
            Output::Peer(output) => self.peer_does(index, output),
            Output::Listen {
                interface,
                arp,
                ndp,
                ..
            } => {
                if let Some(host) = self.speakers.get_mut(index) {
                    let socket = host.sockets.entry(interface).or_default();
                    (socket.arp, socket.ndp) = (arp, ndp);
                }
            }
            Output::Ignore { interface } => {
                if let Some(host) = self.speakers.get_mut(index) {
                    host.sockets.remove(&interface);
                }
            }
            Output::Join { interface, group } => self.group(index, interface, group, true),
            Output::Leave { interface, group } => self.group(index, interface, group, false),
        }
    }

    fn group(&mut self, index: usize, interface: u32, group: Mac, join: bool) {
        let sockets = self.speakers.get_mut(index).map(|host| &mut host.sockets);
        let changed = match sockets.and_then(|sockets| sockets.get_mut(&interface)) {
            Some(socket) if join => socket.groups.insert(group),
            Some(socket) => socket.groups.remove(&group),
            None => false,
        };
        if !changed {
            let detail = format!("speaker {index}, interface {interface}, {group}, join {join}");
            self.violated(
                "groups are joined once and left once, on open sockets",
                detail,
            );
        }
    }

    fn speaker_reports(&mut self, index: usize, status: Layer2Status) {
        self.counts.layer2 += 1;
        let Layer2Status {
            service,
            interfaces,
        } = status;
        self.note(format_args!(
            "speaker {index} announces {service}: {interfaces:?}"
        ));
        let now = self.now;
        let Some(host) = self.speakers.get_mut(index) else {
            return;
        };
        let former = host.layer2.get(&service).cloned();
        let same = former.as_ref().map(|(interfaces, _)| interfaces) == interfaces.as_ref();
        match interfaces {
            Some(interfaces) => {
                let since = former.map_or(now, |(_, since)| since);
                host.layer2.insert(service.clone(), (interfaces, since));
            }
            None => drop(host.layer2.remove(&service)),
        }
        if same {
            self.violated(
                "what is announced is said when it changes",
                format!("speaker {index}, {service}"),
            );
        }
    }

    fn speaker_reports_routes(&mut self, index: usize, status: BgpStatus) {
        self.counts.layer2 += 1;
        let BgpStatus { service, peers } = status;
        self.note(format_args!(
            "speaker {index} announces {service} to {peers:?}"
        ));
        let Some(node) = self.bgp.nodes.get_mut(index) else {
            return;
        };
        match peers.is_empty() {
            true => drop(node.reported.remove(&service)),
            false => drop(node.reported.insert(service, peers)),
        }
    }

    fn speaker_sends(&mut self, index: usize, interface: u32, frame: Vec<u8>) {
        let Some(claim) = frame::claim(&frame) else {
            let detail = format!("speaker {index}: {frame:02x?}");
            self.violated("every frame sent is one that a client understands", detail);
            return;
        };
        if claim.to.is_group() {
            self.counts.gratuitous += 1;
        } else {
            self.counts.answers += 1;
        }
        let ip = claim.ip;
        self.note(format_args!(
            "speaker {index} claims {ip} on {interface} to {}",
            claim.to
        ));
        match self.judge_claim(index, interface, &claim) {
            Ok(()) => self.transmit(index, interface, &frame),
            Err(reason) => {
                let detail = format!("speaker {index} claims {ip} on {interface}: {reason}");
                self.violated(
                    "nothing is announced but what is the node's to announce",
                    detail,
                );
            }
        }
    }
}

/// More outputs to one input than any input can cause here.
const MOST_OUTPUTS: u32 = 10_000;
