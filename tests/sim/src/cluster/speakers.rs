//! The speakers, and what they are told.

mod judge;
mod outputs;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::Connection;
use ironlb_model::{Link, Name, Range, ServiceKey, Time};
use ironlb_speaker_core::io::Input;
use ironlb_speaker_core::{Settings, Speaker};
use regex::Regex;

use super::{Cluster, Common, Happening, Process};
use crate::announcement::EXCLUDED_INTERFACES;
use crate::api::{Key, Kind, Object};
use crate::lan::{Machine, Socket};
use crate::watch::Notice;

/// A process that runs [`Speaker`].
#[derive(Debug)]
pub struct SpeakerHost {
    /// What all processes have.
    pub common: Common,
    /// What it says it announces, and since when.
    pub layer2: BTreeMap<ServiceKey, (BTreeSet<String>, Time)>,
    machine: Speaker,
    /// The interfaces that it was told of, and when last.
    links: BTreeMap<u32, Link>,
    sockets: BTreeMap<u32, Socket>,
    links_changed: Time,
    /// The addresses that it answers for, and since when.
    pub owned: BTreeMap<IpAddr, Time>,
    /// What the pools of any configuration had, or held on to, that it was told of.
    pooled: BTreeSet<Range>,
}

impl Cluster {
    /// Adds a machine with its speaker, not started.
    pub(super) fn add_machine(&mut self, machine: Machine) {
        self.speakers.push(SpeakerHost {
            common: Common::new(&[Kind::Config, Kind::Node, Kind::Service, Kind::Endpoints]),
            layer2: BTreeMap::new(),
            machine: Speaker::new(self.speaker_settings(&machine)),
            links: BTreeMap::new(),
            sockets: BTreeMap::new(),
            links_changed: Time::ZERO,
            owned: BTreeMap::new(),
            pooled: BTreeSet::new(),
        });
        self.machines.push(machine);
        self.bgp.nodes.push(super::bgp::Node::default());
    }

    fn speaker_settings(&self, machine: &Machine) -> Settings {
        let pattern = |name: &&str| Regex::new(&format!("^{name}")).ok();
        let flags = self.profile.flags.clone();
        Settings {
            node: machine.name.clone(),
            class: flags.class,
            ignore_exclude_label: flags.ignore_exclude_label,
            drain_taints: flags.drain_taints,
            excluded_interfaces: EXCLUDED_INTERFACES.iter().filter_map(pattern).collect(),
        }
    }

    pub(super) fn start_speaker(&mut self, index: usize) {
        let Some(machine) = self.machines.get(index) else {
            return;
        };
        let settings = self.speaker_settings(machine);
        let links: Vec<_> = machine.links.values().cloned().collect();
        let Some(host) = self.speakers.get_mut(index) else {
            return;
        };
        host.common.begin();
        host.machine = Speaker::new(settings);
        host.stop();
        self.bgp_speaker_starts(index);
        for link in links {
            self.tell_of_link(index, link.index, Some(link));
        }
    }

    /// The machine's kernel tells its speaker of a link: in order, and soon.
    pub(super) fn tell_of_link(&mut self, index: usize, link: u32, state: Option<Link>) {
        let Some(host) = self.speakers.get(index).filter(|host| host.common.alive) else {
            return;
        };
        let happening = Happening::LinkNews {
            machine: index,
            life: host.common.life,
            index: link,
            link: state.map(Box::new),
        };
        self.after(LINK_NEWS, happening);
    }

    pub(super) fn link_news(&mut self, index: usize, life: u64, link: u32, state: Option<&Link>) {
        let Some(host) = self.speakers.get_mut(index) else {
            return;
        };
        if !host.common.alive || host.common.life != life {
            return;
        }
        host.links_changed = self.now;
        self.remember_links(index);
        let Some(host) = self.speakers.get_mut(index) else {
            return;
        };
        let input = match state {
            Some(state) => {
                host.links.insert(link, state.clone());
                Input::LinkApplied(state.clone())
            }
            None => {
                host.links.remove(&link);
                Input::LinkDeleted(link)
            }
        };
        self.note(format_args!("speaker {index} sees link {link}: {state:?}"));
        self.drive_speaker(index, input);
        self.expect_routes(index);
    }

    pub(super) fn tell_speaker(&mut self, index: usize, notice: Notice) {
        let is_config = matches!(notice, Notice::Applied(Object::Config(_)));
        let before = is_config.then(|| self.owned_by(index));
        self.follow_exclusion(index, false);
        if is_config {
            self.note_change_while_ending(index);
        }
        self.inform_speaker(index, notice);
        if is_config {
            self.note_aimed(index);
        }
        self.expect_routes(index);
        if let Some(before) = before {
            self.check_outlived(index, &before);
        }
    }

    fn inform_speaker(&mut self, index: usize, notice: Notice) {
        let input = match notice {
            Notice::Applied(Object::Config(_)) => {
                let config = self.config_seen(Process::Speaker(index));
                if let Some(host) = self.speakers.get_mut(index) {
                    let ranges = config.pools.values().flat_map(|pool| &pool.ranges);
                    host.pooled.extend(ranges);
                }
                Input::Config(config)
            }
            Notice::Applied(Object::Node(node)) => Input::NodeApplied(node),
            Notice::Applied(Object::Service(service)) => Input::ServiceApplied(service),
            Notice::Applied(Object::Endpoints(slice)) => Input::EndpointsApplied(slice),
            Notice::Deleted(Key::Node(name)) => Input::NodeDeleted(name),
            Notice::Deleted(Key::Service(key)) => Input::ServiceDeleted(key),
            Notice::Deleted(Key::Endpoints(key)) => Input::EndpointsDeleted(key),
            Notice::Deleted(Key::Config) => Input::Config(Arc::default()),
            _ => return,
        };
        self.drive_speaker(index, input);
    }

    pub(super) fn sync_speaker(&mut self, index: usize) {
        self.follow_exclusion(index, true);
        self.drive_speaker(index, Input::Synced);
        self.expect_routes(index);
    }

    pub(super) fn tick_speaker(&mut self, index: usize) {
        self.drive_speaker(index, Input::Tick);
    }

    /// A frame that the kernel passes to the speaker.
    pub(super) fn frame_for_speaker(&mut self, index: usize, interface: u32, frame: &[u8]) {
        let now = self.now;
        let (Some(machine), Some(host)) = (self.machines.get(index), self.speakers.get_mut(index))
        else {
            return;
        };
        let Some(socket) = host.sockets.get(&interface) else {
            return;
        };
        if host.common.alive && machine.hears(interface, socket, frame) {
            host.machine.handle_frame(now, interface, frame);
            self.drain_speaker(index, false);
        }
    }

    pub(super) fn drive_speaker(&mut self, index: usize, input: Input) {
        let now = self.now;
        let woken = matches!(input, Input::Tick);
        let Some(host) = self.speakers.get_mut(index) else {
            return;
        };
        host.machine.handle(now, input);
        self.drain_speaker(index, woken);
        self.follow_ownership(index);
    }
}

impl SpeakerHost {
    /// Forgets what the process had: its sockets close with it.
    pub(super) fn stop(&mut self) {
        self.layer2.clear();
        self.links.clear();
        self.sockets.clear();
        self.owned.clear();
        self.pooled.clear();
    }

    /// The links that it was told of.
    pub(super) const fn links(&self) -> &BTreeMap<u32, Link> {
        &self.links
    }

    /// Bytes have come on a BGP connection.
    pub(super) fn receive(&mut self, now: Time, peer: &Name, connection: Connection, bytes: &[u8]) {
        self.machine.receive(now, peer, connection, bytes);
    }

    fn had_a_pool(&self, ip: IpAddr) -> bool {
        self.pooled.iter().any(|range| range.contains(ip))
    }
}

/// How long netlink takes.
const LINK_NEWS: Duration = Duration::from_millis(2);
