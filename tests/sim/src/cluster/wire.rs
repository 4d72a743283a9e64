//! Frames on their way, and the clients that use the addresses.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use super::{Cluster, Happening};
use crate::allocation::addresses;
use crate::api::Object;
use crate::client::Client;
use crate::frame;
use crate::lan::Port;

impl Cluster {
    /// A machine sends a frame on one of its interfaces.
    pub(super) fn transmit(&mut self, machine: usize, interface: u32, frame: &[u8]) {
        let segment = self
            .machines
            .get(machine)
            .and_then(|machine| machine.segment(interface));
        if let Some(segment) = segment {
            self.flood(segment, Port::Machine(machine, interface), frame);
        }
    }

    /// A frame goes to everybody else on a segment, as from a switch that has learnt nothing. Who it is not for drops it.
    pub(super) fn flood(&mut self, segment: usize, from: Port, frame: &[u8]) {
        let frame: Rc<[u8]> = frame.into();
        for to in self.ports(segment) {
            let lost = self.frames_lost && self.rng.below(100) < self.profile.loss;
            if to != from && !lost {
                let frame = Rc::clone(&frame);
                self.after(LATENCY, Happening::Frame { to, frame });
            }
        }
    }

    fn ports(&self, segment: usize) -> Vec<Port> {
        let mut ports = vec![Port::Examiner(segment)];
        let clients = self.clients.iter().enumerate();
        ports.extend(
            clients
                .filter(|(_, (at, _))| *at == segment)
                .map(|(client, _)| Port::Client(client)),
        );
        for (machine, interfaces) in self.machines.iter().enumerate() {
            ports.extend(
                interfaces
                    .ports(segment)
                    .map(|interface| Port::Machine(machine, interface)),
            );
        }
        ports
    }

    pub(super) fn frame_arrives(&mut self, to: Port, frame: &[u8]) {
        match to {
            Port::Machine(machine, interface) => {
                let connected = self
                    .machines
                    .get(machine)
                    .is_some_and(|machine| machine.segment(interface).is_some());
                if connected {
                    self.frame_for_speaker(machine, interface, frame);
                }
            }
            Port::Client(client) => {
                let now = self.now;
                if let Some((_, host)) = self.clients.get_mut(client) {
                    host.receive(now, frame);
                }
                self.wake_client(client);
            }
            Port::Examiner(segment) => {
                if let Some(claim) = frame::claim(frame) {
                    self.heard.push((segment, claim));
                }
            }
        }
    }

    pub(super) fn client_wakes(&mut self, client: usize) {
        let now = self.now;
        let Some((segment, host)) = self.clients.get_mut(client) else {
            return;
        };
        let segment = *segment;
        if host.deadline().is_some_and(|deadline| deadline <= now) {
            let questions = host.tick(now);
            self.client_asks(client, segment, &questions);
        }
    }

    /// A client's application sends something to one of the addresses in use.
    pub(super) fn client_sends(&mut self, client: usize) {
        let pause = self.rng.millis(50, 900);
        self.after(pause, Happening::ClientSends { client });
        let mut ips = self.held_addresses();
        if let Some((_, host)) = self.clients.get(client) {
            ips.extend(host.known());
        }
        let Some(ip) = self.rng.pick(&ips).copied() else {
            return;
        };
        let now = self.now;
        if let Some((segment, host)) = self.clients.get_mut(client) {
            let segment = *segment;
            let questions = host.send_to(now, ip);
            self.client_asks(client, segment, &questions);
        }
    }

    /// Every client sends something to every address that it knows, so that it finds out where nobody answers any more.
    pub fn use_every_address(&mut self) {
        let now = self.now;
        for number in 0..self.clients.len() {
            let Some((segment, host)) = self.clients.get_mut(number) else {
                continue;
            };
            let (segment, known) = (*segment, host.known().collect::<Vec<_>>());
            let questions: Vec<_> = known
                .into_iter()
                .flat_map(|ip| host.send_to(now, ip))
                .collect();
            self.client_asks(number, segment, &questions);
        }
    }

    fn client_asks(&mut self, client: usize, segment: usize, questions: &[Vec<u8>]) {
        for question in questions {
            self.flood(segment, Port::Client(client), question);
        }
        self.wake_client(client);
    }

    fn wake_client(&mut self, client: usize) {
        let deadline = self
            .clients
            .get(client)
            .and_then(|(_, host)| host.deadline());
        if let Some(at) = deadline {
            self.schedule
                .add(at.max(self.now), Happening::ClientWakes { client });
        }
    }

    fn held_addresses(&self) -> Vec<IpAddr> {
        let services = self.api.objects().filter_map(|object| match object {
            Object::Service(service) => Some(service),
            _ => None,
        });
        services.flat_map(|service| addresses(service)).collect()
    }

    /// Asks on every segment for every one of `ips`, as a host that knows nobody; [`heard`](Self::heard) has the answers.
    pub fn examine(&mut self, ips: &[IpAddr]) {
        let examiner = examiner();
        for segment in 0..self.profile.segments {
            for ip in ips {
                self.flood(segment, Port::Examiner(segment), &examiner.ask(*ip, None));
            }
        }
    }
}

/// The host from which the examiner asks.
pub fn examiner() -> Client {
    Client::new(50)
}

/// From one host on a segment to another. One value, because Ethernet keeps the order between two hosts.
const LATENCY: Duration = Duration::from_micros(150);
