//! What the rules say about announcing, written apart from the speaker: slow, and plain to read.
//!
//! It does not elect. It says which nodes may answer for an address, and why another may not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ironlb_model::config::OnRemoval;
use ironlb_model::{
    EndpointSlice, Family, L2Advertisement, Labels, Link, Name, Node, Pool, Service, TrafficPolicy,
};

use crate::allocation::addresses;
use crate::watch::Seen;

/// What the processes are started with, as far as it decides.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    /// `--lb-class` of controller and speakers.
    pub class: Option<String>,
    /// `--ignore-exclude-lb` of the speakers.
    pub ignore_exclude_label: bool,
    /// `--drain-taint` of the speakers.
    pub drain_taints: BTreeSet<String>,
}

/// The rules, as they follow from what was seen.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    seen: &'a Seen,
    flags: &'a Flags,
}

/// The pool that an address is from, as far as advertisements see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source<'a> {
    /// Its name.
    pub name: &'a Name,
    /// Its labels.
    pub labels: &'a Labels,
}

impl Flags {
    /// Whether a node is taken out of load balancing, by its label or by a taint.
    pub fn exclude(&self, node: &Node) -> bool {
        let labelled = node.is_excluded() && !self.ignore_exclude_label;
        let mut taints = node.taints.iter();
        labelled || taints.any(|taint| self.drain_taints.contains(taint))
    }
}

impl<'a> Rules<'a> {
    /// The rules of a world.
    pub const fn of(seen: &'a Seen, flags: &'a Flags) -> Self {
        Self { seen, flags }
    }

    /// The Services of ours whose status has `ip`.
    pub fn holders(&self, ip: IpAddr) -> impl Iterator<Item = &'a Service> {
        let class = self.flags.class.as_deref();
        let services = self.seen.services.values();
        services.filter(move |service| service.is_ours(class) && addresses(service).contains(&ip))
    }

    /// Whether `node` may answer for `ip` on behalf of `service`, or why not.
    ///
    /// `kept` is for an address that was in a pool when the Service came to hold it, as far as the speaker knows: until
    /// the controller has moved it, it still is the Service's, and may be answered for.
    pub fn permit(
        &self,
        node: &str,
        service: &Service,
        ip: IpAddr,
        kept: bool,
    ) -> Result<(), &'static str> {
        if !self.is_ours(service) {
            return Err("the Service is not ours");
        }
        if !addresses(service).contains(&ip) {
            return Err("the Service does not hold the address");
        }
        let known = self.seen.nodes.get(node).ok_or("the node is unknown")?;
        self.permit_node(known)?;
        self.permit_endpoints(node, service)?;
        match self.pool_of(service, ip) {
            None if kept => Ok(()),
            None => Err("the address is in no pool"),
            Some(pool) => self.permit_advertisement(known, service, pool),
        }
    }

    /// The nodes that may answer for `ip` on behalf of `service`.
    pub fn candidates(&self, service: &Service, ip: IpAddr) -> BTreeSet<Name> {
        let nodes = self.seen.nodes.keys();
        nodes
            .filter(|node| self.permit(node, service, ip, false).is_ok())
            .cloned()
            .collect()
    }

    /// The interfaces on which `node` announces `ip` for `service`; `None` for all.
    pub fn interfaces(
        &self,
        node: &str,
        service: &Service,
        ip: IpAddr,
    ) -> Option<BTreeSet<String>> {
        let labels = &self.seen.nodes.get(node)?.labels;
        let pool = self.pool_of(service, ip)?;
        let advertisements: Vec<_> = self
            .advertisements(pool, service)
            .filter(|advertisement| advertisement.selects_node(labels))
            .collect();
        if advertisements
            .iter()
            .any(|advertisement| advertisement.interfaces.is_empty())
        {
            return None;
        }
        let named = advertisements
            .iter()
            .flat_map(|advertisement| &advertisement.interfaces);
        Some(named.cloned().collect())
    }

    /// How much the advertisements prefer `node` for `ip`.
    pub fn preference(&self, node: &str, service: &Service, ip: IpAddr) -> u32 {
        let (Some(node), Some(pool)) = (self.seen.nodes.get(node), self.pool_of(service, ip))
        else {
            return 0;
        };
        self.advertisements(pool, service)
            .flat_map(|advertisement| &advertisement.preferred_nodes)
            .filter(|preferred| preferred.nodes.matches(&node.labels))
            .map(|preferred| u32::from(preferred.weight))
            .sum()
    }

    /// The pool that `service` has `ip` from: the one that has the address; else the one that the Service was given it
    /// from, when that holds on to what it has given (`onRemoval: Hold`), or could never be read.
    pub fn pool_of(&self, service: &Service, ip: IpAddr) -> Option<Source<'a>> {
        let config = self.seen.config.as_deref()?;
        let pools = &config.pools;
        let has = |pool: &&Pool| pool.ranges.iter().any(|range| range.contains(ip));
        let from = service.allocated_from.as_deref();
        let holds = |pool: &&Pool| pool.on_removal == OnRemoval::Hold;
        let holding = || pools.get(from?).filter(holds);
        let unread = || config.pools_in_error.labels.get_key_value(from?);
        let pool = pools.values().find(has).or_else(holding);
        let read = pool.map(|pool| (&pool.name, &pool.labels));
        let source = read.or_else(unread);
        source.map(|(name, labels)| Source { name, labels })
    }

    /// The L2Advertisements for the addresses of `pool` that `service` holds.
    pub fn advertisements(
        &self,
        pool: Source<'a>,
        service: &Service,
    ) -> impl Iterator<Item = &'a L2Advertisement> {
        let all = self
            .seen
            .config
            .iter()
            .flat_map(|config| config.l2_advertisements.values());
        all.filter(move |advertisement| {
            advertisement.pools.selects_by(pool.name, pool.labels)
                && advertisement.selects_service(&service.labels)
        })
    }

    fn permit_node(&self, node: &Node) -> Result<(), &'static str> {
        if self.flags.exclude(node) {
            return Err("the node is to be left out, by its label or a taint");
        }
        if node.network_unavailable {
            return Err("the node's network is unavailable");
        }
        Ok(())
    }

    /// Whether a Service is ours to announce.
    pub fn is_ours(&self, service: &Service) -> bool {
        service.is_ours(self.flags.class.as_deref())
    }

    /// The nodes on which an endpoint of `service` serves; `None` among them for one of which it is not known.
    pub fn serving(&self, service: &Service) -> BTreeSet<Option<&'a str>> {
        endpoints_by_node(self.seen.endpoints.values(), service)
    }

    /// How many endpoints of `service` serve on `node` in a family, by the first address of their slice.
    pub fn count_on(&self, node: &str, service: &Service, family: Family) -> u64 {
        let of_family = |slice: &&EndpointSlice| {
            let mut addresses = slice.endpoints.iter().flat_map(|one| &one.addresses);
            let first = addresses.next();
            first.is_none_or(|first| Family::of(*first) == family)
        };
        let slices = self.seen.endpoints.values();
        let slices = slices
            .filter(|slice| slice.service == service.key)
            .filter(of_family);
        let endpoints = slices.flat_map(|slice| &slice.endpoints);
        let serving = endpoints.filter(|one| one.serving && one.node.as_deref() == Some(node));
        serving.count() as u64
    }

    /// Whether an endpoint of `service` takes what comes to `node`, or why not.
    pub fn permit_endpoints(&self, node: &str, service: &Service) -> Result<(), &'static str> {
        let serving = self.serving(service);
        if serving.is_empty() {
            return Err("no endpoint serves");
        }
        if service.traffic_policy == TrafficPolicy::Local && !serving.contains(&Some(node)) {
            return Err("no endpoint on the node serves a Local Service");
        }
        Ok(())
    }

    fn permit_advertisement(
        &self,
        node: &Node,
        service: &Service,
        pool: Source<'a>,
    ) -> Result<(), &'static str> {
        let labels: &Labels = &node.labels;
        let advertisements: Vec<_> = self.advertisements(pool, service).collect();
        if !advertisements
            .iter()
            .any(|advertisement| advertisement.selects_node(labels))
        {
            return Err("no advertisement is for the Service, its pool and the node");
        }
        let by_service = advertisements
            .iter()
            .any(|advertisement| !advertisement.services.is_empty());
        if service.sharing_key.is_some() && by_service {
            return Err("a Service that may share is selected by service selectors");
        }
        Ok(())
    }
}

/// The nodes on which an endpoint of `service` serves; `None` among them for one of which it is not known.
fn endpoints_by_node<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    service: &Service,
) -> BTreeSet<Option<&'a str>> {
    slices
        .filter(|slice| slice.service == service.key)
        .flat_map(|slice| &slice.endpoints)
        .filter(|endpoint| endpoint.serving)
        .map(|endpoint| endpoint.node.as_deref())
        .collect()
}

/// Whether a node can announce addresses of `family` on a link at all.
pub fn can_announce(link: &Link, family: Family) -> bool {
    let excluded = EXCLUDED_INTERFACES
        .iter()
        .any(|prefix| link.name.starts_with(prefix));
    let able = match family {
        Family::V4 => link.broadcast,
        Family::V6 => link.link_local().next().is_some(),
    };
    link.up && link.mac.is_some() && !link.has_master && !link.no_arp && !excluded && able
}

/// The links of a node on which it should announce an address.
pub fn announcing_links<'a>(
    links: &'a BTreeMap<u32, Link>,
    named: Option<&'a BTreeSet<String>>,
    family: Family,
) -> impl Iterator<Item = &'a Link> {
    links.values().filter(move |link| {
        can_announce(link, family) && named.is_none_or(|names| names.contains(&link.name))
    })
}

/// What the simulated speakers are told to leave out, by the beginning of the name.
pub const EXCLUDED_INTERFACES: [&str; 2] = ["docker", "veth"];
