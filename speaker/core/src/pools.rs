//! Which pool an address is in, and what advertises that pool: computed once for a configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ironlb_model::addr::number;
use ironlb_model::{BgpAdvertisement, Config, Family, L2Advertisement, Labels, Name, Pool, Range};

use crate::retired::selects;

/// Addresses to pools, pools to advertisements.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolIndex {
    /// Every range of every pool, ascending; no two overlap.
    ranges: Vec<(Range, Name)>,
    advertised: BTreeMap<Name, Advertised>,
}

/// The advertisements that select a pool, by name, ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub(crate) layer2: Vec<Name>,
    pub(crate) bgp: Vec<Name>,
}

impl PoolIndex {
    pub(crate) fn new(config: &Config) -> Self {
        let of_pool = |pool: &Pool| {
            let name = pool.name.clone();
            pool.ranges
                .clone()
                .into_iter()
                .map(move |range| (range, name.clone()))
        };
        let mut ranges: Vec<(Range, Name)> = config.pools.values().flat_map(of_pool).collect();
        ranges.sort();
        let good = config.pools.values().map(|pool| (&pool.name, &pool.labels));
        // A good pool comes later, so that it counts where there is one of the same name.
        let all = config.pools_in_error.labels.iter().chain(good);
        let advertised =
            |(name, labels): (&Name, &_)| (name.clone(), Advertised::new(name, labels, config));
        Self {
            ranges,
            advertised: all.map(advertised).collect(),
        }
    }

    /// The pool that `ip` is in.
    pub(crate) fn pool_of(&self, ip: IpAddr) -> Option<&Name> {
        let wanted = (Family::of(ip), number(ip));
        let after = self
            .ranges
            .partition_point(|(range, _)| (range.family(), range.first_number()) <= wanted);
        let (range, pool) = self.ranges.get(after.checked_sub(1)?)?;
        range.contains(ip).then_some(pool)
    }

    /// What advertises `pool`.
    pub(crate) fn advertised(&self, pool: &str) -> Option<&Advertised> {
        self.advertised.get(pool)
    }
}

impl Advertised {
    fn new(pool: &Name, labels: &Labels, config: &Config) -> Self {
        let layer2 = |one: &&L2Advertisement| selects(&one.pools, pool, labels);
        let bgp = |one: &&BgpAdvertisement| selects(&one.pools, pool, labels);
        let l2 = config.l2_advertisements.values().filter(layer2);
        let routed = config.bgp_advertisements.values().filter(bgp);
        Self {
            layer2: l2.map(|advertisement| advertisement.name.clone()).collect(),
            bgp: routed
                .map(|advertisement| advertisement.name.clone())
                .collect(),
        }
    }
}

/// The ranges whose announcement may differ between the two configurations: those of pools that came, went or
/// changed, and of pools whose advertisements (or, for BGP, peers) did.
pub(crate) fn changed_ranges(old: &Config, new: &Config) -> Vec<Range> {
    let peers_differ = old.peers != new.peers;
    let same = |name: &Name| match (Facts::of(old, name), Facts::of(new, name)) {
        (Some(before), Some(after)) => before == after && (before.bgp.is_empty() || !peers_differ),
        _ => false,
    };
    let mut names: Vec<&Name> = old.pools.keys().chain(new.pools.keys()).collect();
    names.sort();
    names.dedup();
    let changed = names.into_iter().filter(|name| !same(name));
    let pools = changed.flat_map(|name| [old.pools.get(name), new.pools.get(name)]);
    pools
        .flatten()
        .flat_map(|pool| pool.ranges.iter().copied())
        .collect()
}

/// All of a configuration that decides how the addresses of one pool are announced, peers aside.
#[derive(PartialEq, Eq)]
struct Facts<'a> {
    ranges: &'a [Range],
    layer2: Vec<&'a L2Advertisement>,
    bgp: Vec<&'a BgpAdvertisement>,
}

impl<'a> Facts<'a> {
    fn of(config: &'a Config, pool: &str) -> Option<Self> {
        let pool = config.pools.get(pool)?;
        let layer2 = config.l2_advertisements.values();
        let bgp = config.bgp_advertisements.values();
        let selects = |selection| selects(selection, &pool.name, &pool.labels);
        Some(Self {
            ranges: &pool.ranges,
            layer2: layer2.filter(|one| selects(&one.pools)).collect(),
            bgp: bgp.filter(|one| selects(&one.pools)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{config, ip, pool};

    #[test]
    fn an_address_is_found_in_its_pool_and_not_in_the_gaps() {
        let config = config([
            pool("low", &["192.0.2.0/30", "192.0.2.8/30"]),
            pool("high", &["192.0.2.4/31", "2001:db8::/64"]),
        ]);
        let index = PoolIndex::new(&config);
        let name = |address| index.pool_of(ip(address)).map(|name| &**name);
        assert_eq!(name("192.0.2.3"), Some("low"));
        assert_eq!(name("192.0.2.5"), Some("high"));
        assert_eq!(name("192.0.2.6"), None);
        assert_eq!(name("192.0.2.8"), Some("low"));
        assert_eq!(name("192.0.1.255"), None);
        assert_eq!(name("192.0.2.12"), None);
        assert_eq!(name("2001:db8::1"), Some("high"));
        assert_eq!(name("::"), None);
    }

    #[test]
    fn only_the_ranges_of_a_changed_pool_change() {
        let before = config([pool("a", &["192.0.2.0/30"]), pool("b", &["192.0.2.8/30"])]);
        let mut after = before.clone();
        after
            .pools
            .insert("b".into(), pool("b", &["192.0.2.12/30"]));
        let changed: Vec<String> = changed_ranges(&before, &after)
            .iter()
            .map(Range::to_string)
            .collect();
        assert_eq!(changed, ["192.0.2.8/30", "192.0.2.12/30"]);
        assert!(changed_ranges(&before, &before).is_empty());
    }
}
