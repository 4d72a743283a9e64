//! Why a Service does not get what it asks for.

use std::fmt;
use std::net::IpAddr;

use ironlb_model::config::PoolsInError;
use ironlb_model::{Family, Name};

use crate::share::Conflict;

/// Why a Service has no address, or not the one that it asks for: the reason, the objects, the next step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing is configured.
    #[error("there is no address pool; create an IPAddressPool")]
    NoPools,
    /// What is configured can not be used.
    #[error("no address pool can be used: {0}; correct that first ({SAYS})")]
    NoPoolInOrder(InError),
    /// The family that it needs can not be known.
    #[error(
        "it has no cluster IP, which tells the IP family that it needs; a headless Service can not have an address"
    )]
    NoClusterIps,
    /// `ipFamilyPolicy: RequireDualStack` on a Service with one cluster IP.
    #[error("it requires dual stack but has the cluster IPs {} only", List(.0))]
    NotDualStack(Vec<IpAddr>),
    /// Two ways to ask at once.
    #[error(
        "it has both the annotation metallb.io/loadBalancerIPs and spec.loadBalancerIP; remove one of them"
    )]
    AskedTwice,
    /// What it asks for is not an address.
    #[error("{field} asks for {text:?}, and {part:?} in it is not an IP address")]
    Malformed {
        /// The annotation or field.
        field: &'static str,
        /// All of it.
        text: String,
        /// What is wrong in it.
        part: String,
    },
    /// More than two addresses.
    #[error("it asks for {} addresses ({}); one of each IP family is allowed", .0.len(), List(.0))]
    TooMany(Vec<IpAddr>),
    /// Two addresses of one family.
    #[error("it asks for two addresses of the same IP family ({}); one of each is allowed", List(.0))]
    SameFamily(Vec<IpAddr>),
    /// The families asked for are not those of the cluster IPs.
    #[error("it asks for {}, which does not match the IP family of its cluster IPs ({needed})", List(.addresses))]
    OtherFamily {
        /// What it asks for.
        addresses: Vec<IpAddr>,
        /// What its cluster IPs say.
        needed: Families,
    },
    /// An address of no pool.
    #[error("{0} is in no address pool; add it to one, or ask for an address of a pool")]
    OutsidePools(IpAddr),
    /// An address of no pool that could be read.
    #[error(
        "{address} is in no address pool that could be read, and {in_error}; correct that first ({SAYS})"
    )]
    OutsidePoolsInOrder {
        /// The address.
        address: IpAddr,
        /// What could not be read.
        in_error: InError,
    },
    /// Two addresses of two pools.
    #[error("{} are of two pools ({}); both addresses of a Service must be of one pool", List(.addresses), List(.pools))]
    TwoPools {
        /// What it asks for, or has.
        addresses: Vec<IpAddr>,
        /// Where they are.
        pools: Vec<Name>,
    },
    /// An address that ends in .0 or .255, of a pool with `avoidBuggyIPs`.
    #[error("{address} ends in .0 or .255, which pool {pool} leaves out (avoidBuggyIPs)")]
    Buggy {
        /// The address.
        address: IpAddr,
        /// Its pool.
        pool: Name,
    },
    /// A pool of this name does not exist.
    #[error("it asks for pool {pool:?}, which does not exist; there {} {known}", .known.verb())]
    UnknownPool {
        /// What it asks for.
        pool: String,
        /// Which there are.
        known: Names,
    },
    /// The pool of this name is in error.
    #[error("it asks for pool {pool:?}, which is in error; correct that first ({SAYS})")]
    PoolInError {
        /// What it asks for.
        pool: String,
    },
    /// There may be a pool of this name where nothing could be read.
    #[error(
        "it asks for pool {pool:?}, which is none of those that could be read, and {in_error}; correct that first ({SAYS})"
    )]
    PoolNotRead {
        /// What it asks for.
        pool: String,
        /// What could not be read.
        in_error: InError,
    },
    /// It has addresses of a pool that is in error, as far as can be known.
    #[error("{}; it keeps {} until that is mended ({SAYS})", why_in_doubt(.addresses, .from.as_ref(), .in_error), List(.addresses))]
    InDoubt {
        /// What it keeps.
        addresses: Vec<IpAddr>,
        /// The pool in error that it has them from; `None` where that is not known.
        from: Option<Name>,
        /// What could not be read.
        in_error: InError,
    },
    /// The pool is not for this Service.
    #[error("pool {pool} is not for this Service: its serviceAllocation does not select {fence}")]
    Fenced {
        /// The pool.
        pool: Name,
        /// What it does not select.
        fence: Fence,
    },
    /// The addresses asked for are not of the pool asked for.
    #[error("it asks for {}, which is of pool {actual}, and for pool {asked:?}; remove one of the two", List(.addresses))]
    OtherPool {
        /// What it asks for.
        addresses: Vec<IpAddr>,
        /// The pool that it asks for.
        asked: String,
        /// The pool that they are of.
        actual: Name,
    },
    /// The pool has none of the family.
    #[error(
        "pool {pool} has no {family} addresses, which this Service needs; add some, or ask for another pool"
    )]
    NoFamily {
        /// The pool.
        pool: Name,
        /// The family.
        family: Family,
    },
    /// The pool has none left.
    #[error(
        "all {total} {family} addresses of pool {pool} are in use; add some, or delete a Service"
    )]
    Full {
        /// The pool.
        pool: Name,
        /// The family.
        family: Family,
        /// How many it has.
        total: u128,
    },
    /// No pool that automatic choice may use has an address left.
    #[error(
        "no {families} address is free in {pools}; add addresses to a pool, or delete a Service"
    )]
    Exhausted {
        /// What was needed.
        families: Families,
        /// Where it was looked for.
        pools: Names,
    },
    /// No pool may be used without being asked for.
    #[error(
        "no pool is for this Service: every one has autoAssign: false, or a serviceAllocation that does not select it; \
         ask for one with the annotation metallb.io/address-pool, or change a pool"
    )]
    NoPoolForIt,
    /// Somebody else has the address.
    #[error("{address} {conflict}")]
    Taken {
        /// The address.
        address: IpAddr,
        /// Who, and why that does not go together.
        conflict: Conflict,
    },
}

impl Refusal {
    /// Whether it may end without anything else than another Service letting go of an address, or sharing one.
    pub(crate) const fn waits(&self) -> bool {
        matches!(
            self,
            Self::Full { .. } | Self::Exhausted { .. } | Self::Taken { .. }
        )
    }
}

/// What could not be read of the pools, for a sentence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InError {
    pools: Names,
    more: bool,
}

impl InError {
    pub(crate) fn of(pools: &PoolsInError) -> Self {
        Self {
            pools: Names::of(pools.labels.keys()),
            more: pools.may_be_more,
        }
    }
}

impl fmt::Display for InError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pools = &self.pools;
        if !pools.is_empty() {
            let verb = if pools.first.len() > 1 { "are" } else { "is" };
            write!(f, "{pools} {verb} in error")?;
        }
        match self.more {
            true if pools.is_empty() => f.write_str(NOT_READ),
            true => write!(f, ", and {NOT_READ}"),
            false => Ok(()),
        }
    }
}

fn why_in_doubt(addresses: &[IpAddr], from: Option<&Name>, in_error: &InError) -> String {
    match from {
        Some(pool) => format!(
            "pool {pool}, which {} came from, is in error",
            List(addresses)
        ),
        None => format!(
            "{} is in no address pool that could be read, and {in_error}",
            List(addresses)
        ),
    }
}

/// What a pool's `serviceAllocation` does not select.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// The Service's namespace.
    Namespace,
    /// The Service's labels.
    Labels,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespace => "its namespace",
            Self::Labels => "its labels",
        })
    }
}

/// The addresses that a Service needs, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Families {
    /// One address of this family.
    One(Family),
    /// One of each.
    Both,
    /// One of each where a pool has both; else one, preferably of this family.
    PreferBoth(Family),
}

impl Families {
    /// What to try, best first.
    pub(crate) const fn attempts(self) -> &'static [&'static [Family]] {
        use Family::{V4, V6};
        match self {
            Self::One(V4) => &[&[V4]],
            Self::One(V6) => &[&[V6]],
            Self::Both => &[&[V4, V6]],
            Self::PreferBoth(V4) => &[&[V4, V6], &[V4], &[V6]],
            Self::PreferBoth(V6) => &[&[V4, V6], &[V6], &[V4]],
        }
    }

    /// Whether a Service that has these addresses has what it needs, if not all that it prefers.
    pub(crate) fn accept(self, addresses: &[IpAddr]) -> bool {
        match (self, addresses) {
            (Self::One(family), [one]) => Family::of(*one) == family,
            (Self::PreferBoth(_), [_]) => true,
            (Self::Both | Self::PreferBoth(_), [one, two]) => Family::of(*one) != Family::of(*two),
            _ => false,
        }
    }
}

impl fmt::Display for Families {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(family) => family.fmt(f),
            Self::Both => f.write_str("IPv4 and IPv6"),
            Self::PreferBoth(_) => f.write_str("IPv4 or IPv6"),
        }
    }
}

/// Names of pools for a sentence: the first few, and how many more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    first: Vec<Name>,
    more: usize,
}

impl Names {
    /// The names of `pools`.
    pub(crate) fn of<'a>(mut pools: impl Iterator<Item = &'a Name>) -> Self {
        Self {
            first: pools.by_ref().take(3).cloned().collect(),
            more: pools.count(),
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    const fn verb(&self) -> &'static str {
        if self.first.len() == 1 { "is" } else { "are" }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.first.len() > 1 { "s" } else { "" };
        write!(f, "pool{plural} {}", List(&self.first))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

/// A list in a sentence.
pub(crate) struct List<'a, T>(pub(crate) &'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, item) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            write!(f, "{comma}{item}")?;
        }
        Ok(())
    }
}

const NOT_READ: &str = "a part of the configuration can not be read";
const SAYS: &str = "`ironlb validate`, and the Event on the object, say what is wrong";
