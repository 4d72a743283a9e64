//! The speakers: what they are told, and what is checked of each frame that they send.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::Connection;
use ironlb_model::{Family, Link, Mac, Name, Range, Service, ServiceKey, Time};
use ironlb_speaker_core::io::{BgpStatus, Input, Layer2Status, Output};
use ironlb_speaker_core::{Settings, Speaker};
use regex::Regex;

use super::{Cluster, Common, Happening, Process};
use crate::allocation::addresses;
use crate::announcement::{EXCLUDED_INTERFACES, Rules, announcing_links, can_announce};
use crate::api::{Key, Kind, Object};
use crate::frame;
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
        Settings {
            node: machine.name.clone(),
            class: self.profile.class.clone(),
            ignore_exclude_label: self.profile.ignore_exclude_label,
            drain_taints: Default::default(),
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

    /// Takes down which addresses have a pool before another configuration comes.
    pub(super) fn note_pooled(&mut self, index: usize) {
        let class = self.profile.class.as_deref();
        let Some(host) = self.speakers.get_mut(index) else {
            return;
        };
        let seen = &host.common.informer.seen;
        let rules = Rules::of(seen, class, self.profile.ignore_exclude_label);
        for service in seen.services.values() {
            let held = addresses(service).into_iter();
            let pooled = held.filter(|ip| rules.pool_of(service, *ip).is_some());
            host.pooled
                .extend(pooled.filter_map(|ip| Range::new(ip, ip)));
        }
    }

    fn owned_by(&self, index: usize) -> BTreeSet<IpAddr> {
        let host = self.speakers.get(index);
        host.into_iter()
            .flat_map(|host| host.owned.keys().copied())
            .collect()
    }

    /// A configuration that takes an address out of every pool changes nothing about who answers for it: that is the
    /// controller's, which moves the Service.
    fn check_outlived(&mut self, index: usize, before: &BTreeSet<IpAddr>) {
        let after = self.owned_by(index);
        let Some(host) = self.speakers.get(index) else {
            return;
        };
        if !host.common.informer.is_synced() {
            return;
        }
        let class = self.profile.class.as_deref();
        let rules = Rules::of(
            &host.common.informer.seen,
            class,
            self.profile.ignore_exclude_label,
        );
        let outlived = |ip: &&IpAddr| {
            let mut holders = rules.holders(**ip).peekable();
            holders.peek().is_some()
                && holders.all(|service| rules.pool_of(service, **ip).is_none())
        };
        let changed = before.symmetric_difference(&after).find(outlived).copied();
        if let Some(ip) = changed {
            let detail = format!(
                "speaker {index}, {ip}, answered before: {}",
                before.contains(&ip)
            );
            self.violated("an address that loses its pool stays where it is", detail);
        }
    }

    fn inform_speaker(&mut self, index: usize, notice: Notice) {
        let input = match notice {
            Notice::Applied(Object::Config(config)) => {
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

    /// Takes down what a speaker owns now, and whether it may.
    fn follow_ownership(&mut self, index: usize) {
        let now = self.now;
        let (Some(machine), Some(host)) = (self.machines.get(index), self.speakers.get_mut(index))
        else {
            return;
        };
        let class = self.profile.class.as_deref();
        let seen = &host.common.informer.seen;
        let rules = Rules::of(seen, class, self.profile.ignore_exclude_label);
        let mut wrong = None;
        for (key, ip) in host.machine.announced() {
            let service = seen.services.get(key).ok_or("the Service is gone");
            let kept = host.had_a_pool(ip);
            let verdict =
                service.and_then(|service| rules.permit(&machine.name, service, ip, kept));
            wrong = wrong.or_else(|| verdict.err().map(|reason| (key.clone(), ip, reason)));
        }
        let owned: BTreeSet<_> = host.machine.announced().map(|(_, ip)| ip).collect();
        host.owned.retain(|ip, _| owned.contains(ip));
        let life = host.common.life;
        for ip in owned {
            if host.owned.contains_key(&ip) {
                continue;
            }
            host.owned.insert(ip, now);
            let happening = Happening::TakenOver {
                machine: index,
                life,
                since: now,
                ip,
                links: announced_on(&rules, &machine.name, ip, &host.links),
            };
            self.schedule.add(now + BURST, happening);
        }
        if let Some((key, ip, reason)) = wrong {
            let detail = format!("speaker {index} owns {ip} of {key}: {reason}");
            self.violated(
                "nothing is announced but what is the node's to announce",
                detail,
            );
        }
    }

    /// The burst of a takeover is over: no client may still believe what it knew before. (Where frames are lost, or
    /// the node's links changed meanwhile, it may.)
    pub(super) fn check_takeover(
        &mut self,
        index: usize,
        life: u64,
        since: Time,
        ip: IpAddr,
        links: &BTreeSet<u32>,
    ) {
        let (Some(machine), Some(host)) = (self.machines.get(index), self.speakers.get(index))
        else {
            return;
        };
        let stays =
            host.common.alive && host.common.life == life && host.owned.get(&ip) == Some(&since);
        if !stays || self.profile.loss > 0 || host.links_changed > since {
            return;
        }
        let class = self.profile.class.as_deref();
        let rules = Rules::of(
            &host.common.informer.seen,
            class,
            self.profile.ignore_exclude_label,
        );
        let mut stale = Vec::new();
        for link in announced_on(&rules, &machine.name, ip, &host.links).intersection(links) {
            let mac = host.links.get(link).and_then(|link| link.mac);
            let segment = machine.segment(*link);
            let clients = self.clients.iter().filter(|(at, _)| Some(*at) == segment);
            let known = clients.filter_map(|(_, client)| client.neighbour(ip));
            let old = known.filter(|known| known.updated < since);
            stale.extend(
                old.filter(|known| known.mac.is_some() && known.mac != mac)
                    .copied(),
            );
        }
        if !stale.is_empty() {
            let detail = format!("speaker {index} has {ip} since {since}; {stale:?}");
            self.violated("a takeover reaches every client", detail);
        }
    }

    pub(super) fn drain_speaker(&mut self, index: usize, woken: bool) {
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

    /// Whether a claim is right, given what the speaker has been told.
    fn judge_claim(
        &self,
        index: usize,
        interface: u32,
        claim: &frame::Claim,
    ) -> Result<(), String> {
        let (Some(machine), Some(host)) = (self.machines.get(index), self.speakers.get(index))
        else {
            return Ok(());
        };
        if !host.common.informer.is_synced() {
            return Err("not everything was read yet".to_owned());
        }
        let link = host
            .links
            .get(&interface)
            .ok_or("it has not been told of the interface")?;
        if Some(claim.at) != link.mac || claim.from != claim.at {
            return Err(format!(
                "the interface has {:?}, the frame says {} from {}",
                link.mac, claim.at, claim.from
            ));
        }
        if !can_announce(link, Family::of(claim.ip)) {
            return Err(format!("{} is not an interface to announce on", link.name));
        }
        let class = self.profile.class.as_deref();
        let rules = Rules::of(
            &host.common.informer.seen,
            class,
            self.profile.ignore_exclude_label,
        );
        if host.machine.announced().all(|(_, ip)| ip != claim.ip) {
            return Err("it does not own it".to_owned());
        }
        let kept = host.had_a_pool(claim.ip);
        let mut reason = "no Service holds the address".to_owned();
        for service in rules.holders(claim.ip) {
            match rules.permit(&machine.name, service, claim.ip, kept) {
                Err(why) => reason = format!("{}: {why}", service.key),
                Ok(()) => match rules.interfaces(&machine.name, service, claim.ip) {
                    Some(names)
                        if !names.contains(&link.name)
                            && rules.pool_of(service, claim.ip).is_some() =>
                    {
                        reason = format!("{}: not on {}", service.key, link.name);
                    }
                    _ => return Ok(()),
                },
            }
        }
        Err(reason)
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

/// The links on which a node announces an address for any of its Services.
fn announced_on(
    rules: &Rules<'_>,
    node: &str,
    ip: IpAddr,
    links: &BTreeMap<u32, Link>,
) -> BTreeSet<u32> {
    let mut indexes = BTreeSet::new();
    // Where the pool has gone, what counts are its former advertisements; and not for every Service that shares an address
    // may every node announce it.
    let announced = |service: &&Service| {
        rules.pool_of(service, ip).is_some() && rules.permit(node, service, ip, false).is_ok()
    };
    for service in rules.holders(ip).filter(announced) {
        let names = rules.interfaces(node, service, ip);
        let carrying = announcing_links(links, names.as_ref(), Family::of(ip));
        indexes.extend(carrying.map(|link| link.index));
    }
    indexes
}

/// How long netlink takes.
const LINK_NEWS: Duration = Duration::from_millis(2);
/// When the usual burst of five, 1.1 s apart, is over for sure.
const BURST: Duration = Duration::from_secs(6);
/// More outputs to one input than any input can cause here.
const MOST_OUTPUTS: u32 = 10_000;
