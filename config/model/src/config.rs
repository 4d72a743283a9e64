//! The typed configuration: what the operator wants, whichever of the three sources said it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::labels::any_or_empty;
use crate::{BfdProfile, BgpAdvertisement, BgpPeer, LabelSelector, Labels, Name, Range};

/// Everything configured, valid as a whole: no two pools overlap, every reference that must resolve does.
///
/// `ironlb-config` makes it; nothing else checks it again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Address pools by name.
    pub pools: BTreeMap<Name, Pool>,
    /// What is known of pools that could not be read.
    pub pools_in_error: PoolsInError,
    /// Layer 2 advertisements by name.
    pub l2_advertisements: BTreeMap<Name, L2Advertisement>,
    /// BGP advertisements by name.
    pub bgp_advertisements: BTreeMap<Name, BgpAdvertisement>,
    /// BGP peers by name.
    pub peers: BTreeMap<Name, BgpPeer>,
    /// BFD profiles by name.
    pub bfd_profiles: BTreeMap<Name, BfdProfile>,
}

/// A pool of addresses (kind IPAddressPool, or an entry of `address-pools`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: Name,
    /// Its labels, for advertisements that select pools by label.
    pub labels: Labels,
    /// Its addresses, in the order written; no two overlap, here or in another pool.
    pub ranges: Vec<Range>,
    /// Whether a Service that asks for nothing may get an address from it.
    pub auto_assign: bool,
    /// Whether IPv4 addresses that end in .0 or .255 are left out.
    pub avoid_buggy_ips: bool,
    /// Whom it is for; `None` for everybody.
    pub allocation: Option<ServiceAllocation>,
    /// What becomes of an address that leaves the configuration while a Service holds it.
    pub on_removal: OnRemoval,
    /// How long an address that was freed is kept back while another is free; zero for not at all (an extension).
    pub cool_down: Duration,
}

impl Pool {
    /// One of `ranges` that nothing else is said of.
    pub fn new(name: impl Into<Name>, ranges: Vec<Range>) -> Self {
        Self {
            name: name.into(),
            labels: Labels::new(),
            ranges,
            auto_assign: true,
            avoid_buggy_ips: false,
            allocation: None,
            on_removal: OnRemoval::default(),
            cool_down: Duration::ZERO,
        }
    }
}

/// Pools that exist, though nobody can say which addresses they have: their objects are in error, and have been since the
/// process began, so that there is no earlier state of them to go on with.
///
/// A Service that has an address of such a pool keeps it until the pool can be read, or is gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolsInError {
    /// By name: their labels, as far as they are known. One of these names may be that of a good pool too, when two objects
    /// have the same name.
    pub labels: BTreeMap<Name, Labels>,
    /// Whether something could not be read at all, so that there may be others.
    pub may_be_more: bool,
}

impl PoolsInError {
    /// Whether everything could be read.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && !self.may_be_more
    }

    /// Whether a pool of this name is one of them, as far as is known.
    pub fn has(&self, name: &str) -> bool {
        self.labels.contains_key(name)
    }

    /// Whether an address that is in no pool may be of one of these. `from` is the pool that it was taken from, as the
    /// controller noted it.
    pub fn may_have_given(&self, from: Option<&str>) -> bool {
        self.may_be_more || from.map_or(!self.labels.is_empty(), |from| self.has(from))
    }
}

/// Whom a pool is for (`spec.serviceAllocation`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceAllocation {
    /// The lower wins; 0 comes last.
    pub priority: u32,
    /// Namespaces by name; together with `namespace_selectors` one set.
    pub namespaces: BTreeSet<String>,
    /// Namespaces by label; a namespace that any of them selects is in the set.
    pub namespace_selectors: Vec<LabelSelector>,
    /// Services by label; one of them must select the Service, when there are any.
    pub service_selectors: Vec<LabelSelector>,
}

impl ServiceAllocation {
    /// Whether it restricts by namespace at all. A selector that matches no namespace still restricts.
    pub fn restricts_namespaces(&self) -> bool {
        !self.namespaces.is_empty() || !self.namespace_selectors.is_empty()
    }
}

/// What becomes of an address that a Service holds when its pool stops having it (an extension; MetalLB always moves).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRemoval {
    /// The Service gets another address at once.
    #[default]
    Move,
    /// The Service keeps it, and an event says that it is outside of every pool.
    Hold,
}

/// Which pools an advertisement is for: those named, and those that a selector selects. With neither, every pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolSelection {
    /// Pools by name.
    pub names: BTreeSet<Name>,
    /// Pools by label.
    pub selectors: Vec<LabelSelector>,
}

impl PoolSelection {
    /// Whether `pool` is one of them.
    pub fn selects(&self, pool: &Pool) -> bool {
        self.selects_by(&pool.name, &pool.labels)
    }

    /// Whether a pool of this name and with these labels is one of them.
    pub fn selects_by(&self, name: &Name, labels: &Labels) -> bool {
        let everything = self.names.is_empty() && self.selectors.is_empty();
        let mut selectors = self.selectors.iter();
        everything
            || self.names.contains(name)
            || selectors.any(|selector| selector.matches(labels))
    }
}

/// Announce addresses by ARP and NDP (kind L2Advertisement).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct L2Advertisement {
    /// Its name.
    pub name: Name,
    /// The pools whose addresses it announces.
    pub pools: PoolSelection,
    /// The nodes that may announce; empty for all.
    pub nodes: Vec<LabelSelector>,
    /// The Services it is for; empty for all.
    pub services: Vec<LabelSelector>,
    /// The interfaces to announce on; empty for all.
    pub interfaces: BTreeSet<String>,
    /// Nodes that come first in the election, by the sum of the weights of the selectors that select them.
    pub preferred_nodes: Vec<PreferredNodes>,
    /// How the owner is elected (an extension).
    pub election: Election,
    /// The burst of gratuitous announcements at takeover (an extension).
    pub gratuitous: Gratuitous,
    /// How often the owner repeats a gratuitous announcement; `None` for never (an extension).
    pub refresh: Option<Duration>,
}

impl L2Advertisement {
    /// One of every address, from every node and interface, that nothing else is said of.
    pub fn new(name: impl Into<Name>) -> Self {
        Self {
            name: name.into(),
            pools: PoolSelection::default(),
            nodes: Vec::new(),
            services: Vec::new(),
            interfaces: BTreeSet::new(),
            preferred_nodes: Vec::new(),
            election: Election::default(),
            gratuitous: Gratuitous::default(),
            refresh: None,
        }
    }
}

impl L2Advertisement {
    /// Whether `node` may announce for it.
    pub fn selects_node(&self, labels: &Labels) -> bool {
        any_or_empty(&self.nodes, labels)
    }

    /// Whether it is for a Service with these labels.
    pub fn selects_service(&self, labels: &Labels) -> bool {
        any_or_empty(&self.services, labels)
    }
}

/// Nodes that an election prefers, and how much (`spec.preferredNodeSelectors`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreferredNodes {
    /// 1 to 100.
    pub weight: u8,
    /// The nodes.
    pub nodes: LabelSelector,
}

/// How the owner of an address is elected among the eligible nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Election {
    /// Rendezvous hashing, each address of a Service by itself.
    #[default]
    Rendezvous,
    /// The order that MetalLB uses, for a cluster where both run during a migration.
    MetallbCompat,
}

/// A burst of gratuitous ARP or unsolicited neighbour advertisements, spaced for switches that limit their rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gratuitous {
    /// How many times; at least 1, the first at once.
    pub count: u8,
    /// The time between two of them.
    pub interval: Duration,
}

impl Default for Gratuitous {
    /// Five, 1.1 s apart: MetalLB's schedule.
    fn default() -> Self {
        Self {
            count: 5,
            interval: Duration::from_millis(1_100),
        }
    }
}
