//! The one machine of a node: keeps the [`World`], holds the addresses that this node owns, and tells of it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_bgp::Connection;
use ironlb_l2::{Conflict, Counters, Holding, Responder, Verdict};
use ironlb_model::config::Gratuitous;
use ironlb_model::{Event, EventKind, Link, Name, ServiceKey, Time};
use regex::Regex;

use crate::bgp::Bgp;
use crate::bgp::io::PeerView;
use crate::decide::{self, Reason};
use crate::elect::name_hash;
use crate::io::{Input, Output};
use crate::ports::{Change, Ports};
use crate::reports::{Report, Reports, Trouble};
use crate::world::{Affected, World};

/// Announces, from one node, what that node should.
///
/// Give it what happens ([`handle`](Self::handle), [`handle_frame`](Self::handle_frame)); after each, drain
/// [`poll`](Self::poll) until `None`; come back at [`deadline`](Self::deadline). It always works towards what
/// [`decide()`](crate::decide()) says of the world as it is now: events may come in any order, and more than once.
#[derive(Debug)]
pub struct Speaker {
    node: Name,
    world: World,
    synced: bool,
    ports: Ports,
    /// What each Service has announced here; none is empty.
    offers: BTreeMap<ServiceKey, Vec<(IpAddr, Offer)>>,
    /// What this node answers for: the offers of all Services, by address.
    held: BTreeMap<IpAddr, Offer>,
    responder: Responder,
    bgp: Bgp,
    reports: Reports,
    outputs: VecDeque<Output>,
}

/// What makes one speaker different from another.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of the node it runs on.
    pub node: Name,
    /// The loadBalancerClass whose Services are ours; `None` for those without one.
    pub class: Option<String>,
    /// Whether nodes with the label `node.kubernetes.io/exclude-from-external-load-balancers` announce all the same.
    pub ignore_exclude_label: bool,
    /// A node with a taint of one of these keys leaves as with that label.
    pub drain_taints: BTreeSet<String>,
    /// Interfaces that are never announced on, by name; see
    /// [`DEFAULT_EXCLUDED_INTERFACES`](crate::DEFAULT_EXCLUDED_INTERFACES).
    pub excluded_interfaces: Vec<Regex>,
}

/// How an address is announced on layer 2.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Offer {
    /// By name; `None` for all.
    interfaces: Option<BTreeSet<String>>,
    gratuitous: Gratuitous,
    refresh: Option<Duration>,
}

impl Speaker {
    /// One that knows nothing yet, and announces nothing before [`Input::Synced`].
    pub fn new(settings: Settings) -> Self {
        Self {
            world: World::new(settings.class, settings.ignore_exclude_label)
                .with_drain_taints(settings.drain_taints),
            synced: false,
            ports: Ports::new(settings.excluded_interfaces),
            offers: BTreeMap::new(),
            held: BTreeMap::new(),
            responder: Responder::new(name_hash(&settings.node)),
            bgp: Bgp::new(settings.node.clone()),
            reports: Reports::new(settings.node.clone()),
            outputs: VecDeque::new(),
            node: settings.node,
        }
    }

    /// Something happened.
    pub fn handle(&mut self, now: Time, input: Input) {
        let affected = match input {
            Input::Config(config) => {
                let affected = self.world.set_config(config);
                self.with_routes(now, affected)
            }
            Input::NodeApplied(node) => {
                let name = node.name.clone();
                let affected = self.world.apply_node(node);
                let affected = self.by_node(&name, affected);
                self.with_routes(now, affected)
            }
            Input::NodeDeleted(name) => {
                let affected = self.world.delete_node(&name);
                let affected = self.by_node(&name, affected);
                self.with_routes(now, affected)
            }
            Input::ServiceApplied(service) => self.world.apply_service(&service),
            Input::ServiceDeleted(key) => self.world.delete_service(&key),
            Input::EndpointsApplied(slice) => self.world.apply_endpoints(&slice),
            Input::EndpointsDeleted(key) => self.world.delete_endpoints(&key),
            Input::Synced => self.synced(now),
            Input::LinkApplied(link) => {
                self.bgp.apply_link(now, &self.world, &link);
                self.link(now, &link)
            }
            Input::LinkDeleted(index) => {
                self.bgp.delete_link(now, &self.world, index);
                self.link_gone(now, index)
            }
            Input::Peer(input) => {
                self.bgp.handle(now, &self.world, input);
                Affected::new()
            }
            Input::Tick => self.tick(now),
        };
        if self.synced {
            self.reconcile(now, &affected);
            self.bgp.set_ready(now);
        }
        self.collect();
        self.bgp.poll(now, &mut self.outputs);
    }

    /// Bytes came in on a connection with a BGP peer.
    pub fn receive(&mut self, now: Time, peer: &Name, connection: Connection, bytes: &[u8]) {
        self.bgp.receive(now, peer, connection, bytes);
        self.bgp.poll(now, &mut self.outputs);
    }

    /// A frame came in on a socket for router discovery. One that cannot be read is dropped.
    pub fn handle_router_frame(&mut self, now: Time, interface: u32, frame: &[u8]) {
        // Any host may send what it likes; it is counted nowhere because nothing depends on it.
        let _ = self.bgp.handle_frame(now, &self.world, interface, frame);
        self.bgp.poll(now, &mut self.outputs);
    }

    /// A frame came in on an interface. Says what became of it; the answer, if any, comes by [`poll`](Self::poll).
    pub fn handle_frame(&mut self, now: Time, interface: u32, frame: &[u8]) -> Verdict {
        let verdict = self.responder.handle_frame(now, interface, frame);
        self.collect();
        verdict
    }

    /// What to do next, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to give it [`Input::Tick`]; `None` for never.
    pub fn deadline(&self) -> Option<Time> {
        let all = [
            self.responder.deadline(),
            self.reports.deadline(),
            self.bgp.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    /// What it knows of the cluster.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// The addresses that this node answers for, by Service.
    pub fn announced(&self) -> impl Iterator<Item = (&ServiceKey, IpAddr)> {
        let services = self.offers.iter();
        services.flat_map(|(key, offers)| ips(offers).map(move |ip| (key, ip)))
    }

    /// Whether BGP peers would keep routes to this node over a restart (RFC 4724), were the process to end now: then traffic goes on to
    /// come, and should be forwarded, until the next process takes over.
    pub fn would_leave_routes(&self) -> bool {
        self.bgp.would_leave_routes()
    }

    /// How the BGP peers of this node are.
    pub fn peers(&self) -> impl Iterator<Item = PeerView<'_>> {
        self.bgp.peers()
    }

    /// The Services that BGP peers are told of, with the addresses in their statuses.
    pub fn routed(&self) -> impl Iterator<Item = (&ServiceKey, IpAddr)> {
        let services = self.reports.routed();
        services.flat_map(|key| {
            self.world
                .addresses_of(key)
                .iter()
                .map(move |ip| (key, *ip))
        })
    }

    /// What was received and sent for each address that this node answers for.
    pub fn counters(&self) -> BTreeMap<IpAddr, Counters> {
        self.responder.counters()
    }

    fn synced(&mut self, now: Time) -> Affected {
        self.synced = true;
        self.with_routes(now, Affected::new());
        self.world.services().cloned().collect()
    }

    /// Configures BGP; every Service is affected where peers are told something else as a whole.
    fn with_routes(&mut self, now: Time, affected: Affected) -> Affected {
        if self.synced && self.bgp.configure(now, &self.world) {
            return self.world.services().cloned().collect();
        }
        affected
    }

    fn tick(&mut self, now: Time) -> Affected {
        self.responder.tick(now);
        let told_otherwise = self.bgp.tick(now);
        while let Some(output) = self.reports.tick(now) {
            self.outputs.push_back(output);
        }
        if told_otherwise {
            return self.world.services().cloned().collect();
        }
        Affected::new()
    }

    fn link(&mut self, now: Time, link: &Link) -> Affected {
        let interface = link.index;
        match self.ports.apply(link) {
            Change::None => Affected::new(),
            Change::Unusable => self.deaf(now, interface),
            Change::Usable { port, listen } => {
                self.resolve_names(now);
                if listen {
                    self.outputs.push_back(Output::Listen {
                        interface,
                        name: link.name.clone(),
                        arp: port.arp,
                        ndp: port.ndp,
                    });
                }
                self.responder.set_port(now, interface, port);
                self.offers.keys().cloned().collect()
            }
        }
    }

    fn link_gone(&mut self, now: Time, interface: u32) -> Affected {
        match self.ports.delete(interface) {
            Change::Unusable => self.deaf(now, interface),
            Change::None | Change::Usable { .. } => Affected::new(),
        }
    }

    fn deaf(&mut self, now: Time, interface: u32) -> Affected {
        self.responder.remove_port(interface);
        self.outputs.push_back(Output::Ignore { interface });
        self.resolve_names(now);
        self.offers.keys().cloned().collect()
    }

    /// Names may mean other interfaces now. Before a new port is set, so that it never answers for what is meant for
    /// one that had its index earlier.
    fn resolve_names(&mut self, now: Time) {
        for (ip, offer) in self
            .held
            .iter()
            .filter(|(_, offer)| offer.interfaces.is_some())
        {
            self.responder.hold(now, *ip, offer.holding(&self.ports));
        }
    }

    /// Brings what is announced in line with what should be, for these Services: first what is lost, then what is won.
    fn reconcile(&mut self, now: Time, affected: &Affected) {
        let mut touched = BTreeSet::new();
        let mut refused = BTreeMap::new();
        for key in affected {
            let (offers, refusal) = self.wanted(key);
            let former = match offers.is_empty() {
                true => self.offers.remove(key),
                false => self.offers.insert(key.clone(), offers),
            };
            touched.extend(ips(former.as_deref().unwrap_or(&[])));
            touched.extend(ips(self.offers_of(key)));
            refused.extend(refusal.map(|refusal| (key, refusal)));
        }
        self.hold(now, &touched);
        for key in affected {
            let mut report = self.report(key, refused.remove(key));
            match self.bgp.set_service(now, &self.world, key) {
                Ok(peers) => report.peers = peers,
                Err(reason) => report.trouble = report.trouble.or_else(|| conflict(&reason)),
            }
            self.outputs.extend(self.reports.update(now, key, report));
        }
    }

    /// Of the Services that a change of a node may affect, those that are affected here. What this node announces by BGP is its own
    /// affair, and of the many elections on layer 2 that another node may sway, those that this one neither won nor wins are as
    /// they were.
    fn by_node(&self, node: &Name, mut affected: Affected) -> Affected {
        if self.synced && *node != self.node {
            affected.retain(|key| {
                let (offers, refusal) = self.wanted(key);
                offers != self.offers_of(key) || refusal.is_some() || self.reports.in_trouble(key)
            });
        }
        affected
    }

    /// What this node should announce of a Service, and why another of its addresses stays behind.
    fn wanted(&self, key: &ServiceKey) -> (Vec<(IpAddr, Offer)>, Option<Reason>) {
        let owners = decide::layer2_of(&self.world, key, &self.node);
        let mut offers = Vec::new();
        let mut refusal = None;
        for (ip, owner) in owners.unwrap_or_default() {
            match owner {
                Ok(owned) => offers.push((ip, Offer::from(owned))),
                Err(reason) => refusal = Some(reason),
            }
        }
        (offers, refusal)
    }

    /// Has the responder answer for these addresses, or not, as the offers say.
    fn hold(&mut self, now: Time, touched: &BTreeSet<IpAddr>) {
        let mut won = Vec::new();
        for ip in touched {
            match self.offer(*ip) {
                Some(offer) => won.push((*ip, offer)),
                None => {
                    self.held.remove(ip);
                    self.responder.release(*ip);
                }
            }
        }
        for (ip, offer) in won {
            self.responder.hold(now, ip, offer.holding(&self.ports));
            self.held.insert(ip, offer);
        }
    }

    /// How `ip` is announced for all Services that share it together.
    fn offer(&self, ip: IpAddr) -> Option<Offer> {
        let sharers = self.world.sharers(ip).iter();
        let offers = sharers
            .flat_map(|key| self.offers_of(key))
            .filter(|(own, _)| *own == ip);
        offers.map(|(_, offer)| offer.clone()).reduce(Offer::merge)
    }

    fn offers_of(&self, key: &ServiceKey) -> &[(IpAddr, Offer)] {
        self.offers.get(key).map_or(&[], Vec::as_slice)
    }

    fn report(&self, key: &ServiceKey, refusal: Option<Reason>) -> Report {
        let mut report = Report::default();
        let mut on_all = false;
        for (ip, offer) in self.offers_of(key) {
            let names = offer.interfaces.as_ref();
            let mut carrying = self.ports.carrying(*ip, names).peekable();
            if carrying.peek().is_none() {
                report.trouble = Some(self.no_interface(*ip, names));
                continue;
            }
            on_all |= names.is_none();
            let interfaces = report.interfaces.get_or_insert_default();
            interfaces.extend(carrying.map(str::to_owned));
            if self.world.is_outlived(key, *ip) {
                report.trouble = Some(outlived(*ip));
            }
        }
        if on_all {
            report.interfaces = Some(BTreeSet::new());
        }
        report.trouble = report.trouble.or_else(|| self.trouble(refusal?));
        report
    }

    fn no_interface(&self, ip: IpAddr, names: Option<&BTreeSet<String>>) -> Trouble {
        let needs = match ip {
            IpAddr::V4(_) => "up, not excluded, with an Ethernet address and broadcast",
            IpAddr::V6(_) => "up, not excluded, with an Ethernet and an IPv6 link-local address",
        };
        let of = match names {
            None => "none of its interfaces".to_owned(),
            Some(names) => {
                let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
                format!("none of the interfaces {}", quoted.join(", "))
            }
        };
        let node = &self.node;
        Trouble {
            reason: "announceFailed",
            message: format!("node {node:?} should answer for {ip}, but {of} is {needs}"),
        }
    }

    /// What a refusal means to the operator, where this node is the one to say it.
    fn trouble(&self, refusal: Reason) -> Option<Trouble> {
        match &refusal {
            Reason::NoNodeInCommon { ip, .. } if self.held.contains_key(ip) => Some(Trouble {
                reason: "announceFailed",
                message: refusal.to_string(),
            }),
            _ => None,
        }
    }

    /// Takes over what the responder wants done.
    fn collect(&mut self) {
        use ironlb_l2::responder::Output as Wanted;
        while let Some(output) = self.responder.poll() {
            let output = match output {
                Wanted::Join { interface, group } => Output::Join { interface, group },
                Wanted::Leave { interface, group } => Output::Leave { interface, group },
                Wanted::Send { interface, frame } => Output::Send { interface, frame },
                Wanted::Conflict(conflict) => {
                    self.conflict(&conflict);
                    continue;
                }
            };
            self.outputs.push_back(output);
        }
    }

    fn conflict(&mut self, conflict: &Conflict) {
        let Conflict {
            address,
            mac,
            interface,
        } = *conflict;
        let node = &self.node;
        let name = self.ports.name(interface);
        for service in self.world.sharers(address) {
            self.outputs.push_back(Output::Event(Event {
                service: service.clone(),
                kind: EventKind::Warning,
                reason: "addressConflict",
                message: format!(
                    "another host, {mac} on interface {name:?}, says that it has {address}, which node \
                     {node:?} announces; announced it again. Take the address from that host, or from the pool"
                ),
            }));
        }
    }
}

impl Offer {
    fn holding(&self, ports: &Ports) -> Holding {
        Holding {
            interfaces: ports.resolve(self.interfaces.as_ref()),
            gratuitous: self.gratuitous,
            refresh: self.refresh,
        }
    }

    /// Announces for both: everywhere, as long and as often as either asks for.
    fn merge(self, other: Self) -> Self {
        let both = self.interfaces.zip(other.interfaces);
        Self {
            interfaces: both.map(|(a, b)| a.union(&b).cloned().collect()),
            gratuitous: Gratuitous {
                count: self.gratuitous.count.max(other.gratuitous.count),
                interval: self.gratuitous.interval.max(other.gratuitous.interval),
            },
            refresh: [self.refresh, other.refresh].into_iter().flatten().min(),
        }
    }
}

impl From<decide::Owned<'_>> for Offer {
    fn from(owned: decide::Owned<'_>) -> Self {
        Self {
            interfaces: owned.interfaces,
            gratuitous: owned.gratuitous,
            refresh: owned.refresh,
        }
    }
}

fn outlived(ip: IpAddr) -> Trouble {
    Trouble {
        reason: "announceFailed",
        message: format!(
            "{ip} is in no address pool any more; it stays announced as it was until the controller gives the \
             Service another one, but not after a restart of the speaker"
        ),
    }
}

/// Advertisements that contradict each other announce nothing, and only the operator can say which is right.
fn conflict(reason: &Reason) -> Option<Trouble> {
    let is_conflict = matches!(reason, Reason::ConflictingAdvertisements { .. });
    is_conflict.then(|| Trouble {
        reason: "announceFailed",
        message: reason.to_string(),
    })
}

fn ips(offers: &[(IpAddr, Offer)]) -> impl Iterator<Item = IpAddr> {
    offers.iter().map(|(ip, _)| *ip)
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
