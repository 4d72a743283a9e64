//! What a speaker knows of the cluster, indexed so that an event costs what it concerns.

#[cfg(test)]
mod pools_in_error;
mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ironlb_model::addr::address;
use ironlb_model::config::OnRemoval;
use ironlb_model::{Config, EndpointSlice, Name, Node, Pool, Range, Service, ServiceKey, SliceKey};

use crate::decide::Reason;
use crate::endpoints::Endpoints;
use crate::pools::{PoolIndex, changed_ranges};
use crate::retired::{is_retired, retain};
use crate::roster::Roster;

pub(crate) use record::Record;

/// Configuration, Services, endpoint counts and nodes.
///
/// Every method that changes it says for which Services the decision may be another one now. Of a Service it keeps
/// only what decides; of an EndpointSlice only counts by node.
#[derive(Clone, Debug)]
pub struct World {
    class: Option<String>,
    ignore_exclude_label: bool,
    drain_taints: BTreeSet<String>,
    config: Arc<Config>,
    pools: PoolIndex,
    nodes: BTreeMap<Name, Node>,
    roster: Roster,
    services: BTreeMap<ServiceKey, Record>,
    /// The Services that hold an address, ascending by age and key.
    sharers: BTreeMap<IpAddr, Vec<ServiceKey>>,
    endpoints: Endpoints,
}

/// Services whose decision may have changed, those that are gone included.
pub type Affected = BTreeSet<ServiceKey>;

impl World {
    /// An empty world. `class` is the loadBalancerClass whose Services are ours; with `ignore_exclude_label` a node
    /// labelled `node.kubernetes.io/exclude-from-external-load-balancers` is as good as another.
    pub fn new(class: Option<String>, ignore_exclude_label: bool) -> Self {
        Self {
            class,
            ignore_exclude_label,
            drain_taints: BTreeSet::new(),
            config: Arc::default(),
            pools: PoolIndex::default(),
            nodes: BTreeMap::new(),
            roster: Roster::default(),
            services: BTreeMap::new(),
            sharers: BTreeMap::new(),
            endpoints: Endpoints::default(),
        }
    }

    /// The same, where a node with a taint of one of these keys is none that announces.
    #[must_use]
    pub fn with_drain_taints(mut self, keys: BTreeSet<String>) -> Self {
        self.drain_taints = keys;
        self
    }

    /// Takes a configuration in place of the former. An address that a Service holds and that no pool has any more stays
    /// announced as it was, until the controller has moved it.
    pub fn set_config(&mut self, config: Arc<Config>) -> Affected {
        let kept_by_pool = |ip: &IpAddr| self.is_kept_by_pool(*ip, &config);
        let held = self.sharers.keys().filter(|ip| !kept_by_pool(ip));
        let held = held.filter_map(|ip| Some((*ip, self.former_pool_of(*ip)?)));
        let config = retain(&self.config, config.clone(), held);
        let outside = self.outside();
        let changed = changed_ranges(&self.config, &config);
        self.pools = PoolIndex::new(&config);
        self.config = config;
        self.roster = self.call_the_roll();
        let inside = changed.iter().flat_map(|range| self.holders_in(range));
        inside
            .cloned()
            .chain(self.outside())
            .chain(outside)
            .collect()
    }

    /// A node is there, or has changed.
    pub fn apply_node(&mut self, mut node: Node) -> Affected {
        // Taints come and go for many reasons; no other one matters.
        node.taints.retain(|key| self.drain_taints.contains(key));
        let former = self.nodes.insert(node.name.clone(), node.clone());
        if former.as_ref() == Some(&node) {
            return Affected::new();
        }
        let same_routes = former.is_some_and(|former| self.same_routes(&former, &node));
        self.roll_changed(same_routes)
    }

    /// A node is gone.
    pub fn delete_node(&mut self, node: &str) -> Affected {
        self.endpoints.forget_node(node);
        match self.nodes.remove(node) {
            Some(_) => self.roll_changed(false),
            None => Affected::new(),
        }
    }

    /// A Service is there, or has changed.
    pub fn apply_service(&mut self, service: &Service) -> Affected {
        let record = self.admit(service).is_ok().then(|| Record::new(service));
        if self.services.get(&service.key) == record.as_ref() {
            return Affected::new();
        }
        let mut affected = self.delete_service(&service.key);
        if let Some(record) = record {
            self.hold(&service.key, &record);
            self.services.insert(service.key.clone(), record);
            affected.extend(self.with_sharers(&service.key));
        }
        affected
    }

    /// A Service is gone.
    pub fn delete_service(&mut self, key: &ServiceKey) -> Affected {
        let affected = self.with_sharers(key);
        let Some(record) = self.services.remove(key) else {
            return Affected::new();
        };
        for ip in &record.ips {
            if let Some(holders) = self.sharers.get_mut(ip) {
                holders.retain(|holder| holder != key);
                if holders.is_empty() {
                    self.sharers.remove(ip);
                }
            }
        }
        affected
    }

    /// An EndpointSlice is there, or has changed.
    pub fn apply_endpoints(&mut self, slice: &EndpointSlice) -> Affected {
        let changed = self.endpoints.apply(slice);
        changed
            .iter()
            .flat_map(|service| self.with_sharers(service))
            .collect()
    }

    /// An EndpointSlice is gone.
    pub fn delete_endpoints(&mut self, slice: &SliceKey) -> Affected {
        match self.endpoints.delete(slice) {
            Some(service) => self.with_sharers(&service),
            None => Affected::new(),
        }
    }

    /// Whether a Service is one to announce at all; if not, why.
    pub fn admit(&self, service: &Service) -> Result<(), Reason> {
        if !service.is_load_balancer {
            Err(Reason::NotLoadBalancer)
        } else if !service.is_ours(self.class.as_deref()) {
            let class = service.class.clone();
            Err(Reason::ForeignClass { class })
        } else {
            Ok(())
        }
    }

    /// The Services that are ours.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.services.keys()
    }

    /// The addresses in the status of a Service.
    pub(crate) fn addresses_of(&self, service: &ServiceKey) -> &[IpAddr] {
        let record = self.services.get(service);
        record.map_or(&[], |record| &record.ips)
    }

    /// The nodes that Kubernetes knows.
    pub fn nodes(&self) -> impl Iterator<Item = &Name> {
        self.nodes.keys()
    }

    pub(crate) const fn config(&self) -> &Arc<Config> {
        &self.config
    }

    pub(crate) const fn pools(&self) -> &PoolIndex {
        &self.pools
    }

    pub(crate) const fn roster(&self) -> &Roster {
        &self.roster
    }

    pub(crate) const fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    pub(crate) fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.get(name)
    }

    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&Record> {
        self.services.get(key)
    }

    /// The Services that hold `ip`, the oldest first.
    pub(crate) fn sharers(&self, ip: IpAddr) -> &[ServiceKey] {
        self.sharers.get(&ip).map_or(&[], Vec::as_slice)
    }

    /// The pool that an address of `record` is announced for: the one that has it; else the one that it was taken from,
    /// where that one says `onRemoval: Hold` or is in error; else what lives on of the one that had it.
    pub(crate) fn pool_of(&self, record: &Record, ip: IpAddr) -> Option<&Name> {
        match self.pools.pool_of(ip) {
            Some(pool) if !is_retired(pool) => Some(pool),
            retired => kept_by(record, &self.config).or(retired),
        }
    }

    /// The pool that an address is announced for, whichever Service holds it.
    fn former_pool_of(&self, ip: IpAddr) -> Option<&Name> {
        let kept = || {
            self.records_on(ip)
                .find_map(|one| kept_by(one, &self.config))
        };
        self.pools.pool_of(ip).or_else(kept)
    }

    /// Whether `ip` is announced for a Service although the configuration has no pool for it any more.
    pub(crate) fn is_outlived(&self, service: &ServiceKey, ip: IpAddr) -> bool {
        let record = self.services.get(service);
        let pool = record.and_then(|record| self.pool_of(record, ip));
        pool.is_some_and(|pool| is_retired(pool))
    }

    /// Why a node is taken out of load balancing, by its label or a taint; `None` when it is not.
    pub(crate) fn exclusion(&self, node: &Node) -> Option<Reason> {
        let name = || node.name.clone();
        if node.is_excluded() && !self.ignore_exclude_label {
            return Some(Reason::NodeLabeledExcludeBalancers { node: name() });
        }
        let taint = node.taints.first()?.clone();
        Some(Reason::NodeTainted {
            node: name(),
            taint,
        })
    }

    /// Whether a node is taken out of load balancing.
    pub(crate) fn is_excluded(&self, node: &Node) -> bool {
        self.exclusion(node).is_some()
    }

    /// Whether `config` lets a Service on `ip` keep it, wherever its pool's addresses are.
    fn is_kept_by_pool(&self, ip: IpAddr, config: &Config) -> bool {
        self.records_on(ip)
            .any(|record| kept_by(record, config).is_some())
    }

    fn records_on(&self, ip: IpAddr) -> impl Iterator<Item = &Record> {
        let sharers = self.sharers(ip).iter();
        sharers.filter_map(|key| self.services.get(key))
    }

    /// The Services with an address in no pool: any change of the configuration may concern them.
    fn outside(&self) -> Affected {
        let outside = |(ip, _): &(&IpAddr, _)| self.pools.pool_of(**ip).is_none();
        let held = self.sharers.iter().filter(outside);
        held.flat_map(|(_, holders)| holders).cloned().collect()
    }

    fn call_the_roll(&self) -> Roster {
        let eligible = |node: &&Node| !node.network_unavailable && !self.is_excluded(node);
        Roster::new(self.nodes.values().filter(eligible), &self.config)
    }

    /// Evaluates the nodes anew; every Service is affected unless nothing came of it.
    fn roll_changed(&mut self, same_routes: bool) -> Affected {
        let roster = self.call_the_roll();
        if roster == self.roster && same_routes {
            return Affected::new();
        }
        self.roster = roster;
        self.services.keys().cloned().collect()
    }

    /// Whether the BGP advertisements and peers that select the node are the same before and after, and so is its network: one that is
    /// excluded is in no roll, and has routes for as long as it takes its leave.
    fn same_routes(&self, before: &Node, after: &Node) -> bool {
        let mut advertisements = self.config.bgp_advertisements.values();
        let mut peers = self.config.peers.values();
        advertisements
            .all(|one| one.selects_node(&before.labels) == one.selects_node(&after.labels))
            && peers.all(|one| one.selects_node(&before.labels) == one.selects_node(&after.labels))
            && before.network_unavailable == after.network_unavailable
    }

    fn holders_in(&self, range: &Range) -> impl Iterator<Item = &ServiceKey> {
        let first = address(range.family(), range.first_number());
        let last = address(range.family(), range.last_number());
        self.sharers
            .range(first..=last)
            .flat_map(|(_, holders)| holders)
    }

    /// A Service that is ours, and those that share an address with it.
    fn with_sharers(&self, key: &ServiceKey) -> Affected {
        let ips = self
            .services
            .get(key)
            .into_iter()
            .flat_map(|record| &record.ips);
        ips.flat_map(|ip| self.sharers(*ip))
            .chain(self.services.get_key_value(key).map(|(key, _)| key))
            .cloned()
            .collect()
    }

    fn hold(&mut self, key: &ServiceKey, record: &Record) {
        let rank = |key: &ServiceKey, record: &Record| (record.created, key.clone());
        let mine = rank(key, record);
        for ip in &record.ips {
            let holders = self.sharers.entry(*ip).or_default();
            let services = &self.services;
            let older = |holder: &ServiceKey| {
                services
                    .get(holder)
                    .is_some_and(|other| rank(holder, other) < mine)
            };
            let position = holders.partition_point(older);
            if holders.get(position) != Some(key) {
                holders.insert(position, key.clone());
            }
            holders.shrink_to_fit();
        }
    }
}

/// The pool of `config` that lets a Service keep addresses which no pool has: the one that they were taken from, where that
/// says `onRemoval: Hold`, or is in error, so that nobody can say which addresses it has.
fn kept_by<'c>(record: &Record, config: &'c Config) -> Option<&'c Name> {
    let from = record.allocated_from.as_ref()?;
    let holds = |pool: &&Pool| pool.on_removal == OnRemoval::Hold;
    let holding = config.pools.get(from).filter(holds);
    let in_error = || config.pools_in_error.labels.get_key_value(from);
    holding
        .map(|pool| &pool.name)
        .or_else(|| in_error().map(|(name, _)| name))
}
