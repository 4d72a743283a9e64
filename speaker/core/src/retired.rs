//! Addresses that a changed configuration has no pool for, while Services still hold them.
//!
//! Such an address is its Service's until the controller has moved it, so it stays announced as it was: its former
//! pool lives on for that address alone, with copies of the advertisements that selected it. Everything else of the
//! new configuration is in force at once.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::config::OnRemoval;
use ironlb_model::{Config, Labels, Name, Pool, PoolSelection, Range};

use crate::pools::PoolIndex;

/// `next`, and what `current` says of those `held` addresses that `next` has no pool for; each comes with the pool that it
/// is announced for by `current`.
pub(crate) fn retain<'a>(
    current: &Config,
    next: Arc<Config>,
    held: impl Iterator<Item = (IpAddr, &'a Name)>,
) -> Arc<Config> {
    let next_pools = PoolIndex::new(&next);
    let mut orphans: BTreeMap<&Name, Vec<Range>> = BTreeMap::new();
    for (ip, pool) in held.filter(|(ip, _)| next_pools.pool_of(*ip).is_none()) {
        let ranges = orphans.entry(pool).or_default();
        ranges.extend(Range::new(ip, ip));
    }
    if orphans.is_empty() {
        return next;
    }
    let mut merged = Arc::unwrap_or_clone(next);
    for (name, ranges) in orphans {
        if let Some(pool) = former(current, name) {
            retire(&mut merged, current, pool, ranges);
        }
    }
    Arc::new(merged)
}

/// The pool `name` of `current`, if only by its name and labels.
fn former(current: &Config, name: &Name) -> Option<Pool> {
    let in_error = || {
        let labels = current.pools_in_error.labels.get(name)?;
        Some(Pool {
            name: name.clone(),
            labels: labels.clone(),
            ranges: Vec::new(),
            auto_assign: false,
            avoid_buggy_ips: false,
            allocation: None,
            on_removal: OnRemoval::Move,
            cool_down: Duration::ZERO,
        })
    };
    current.pools.get(name).cloned().or_else(in_error)
}

/// Whether a pool is one that lives on for addresses still held. No object of Kubernetes has such a name.
pub(crate) fn is_retired(pool: &str) -> bool {
    pool.ends_with(SUFFIX)
}

/// Whether an advertisement with this selection is for a pool of this name and with these labels. A retired pool has only
/// its own.
pub(crate) fn selects(selection: &PoolSelection, pool: &Name, labels: &Labels) -> bool {
    match is_retired(pool) {
        true => selection.names.contains(pool),
        false => selection.selects_by(pool, labels),
    }
}

/// Adds `pool` to `merged`, cut down to `ranges`, with the advertisements that `current` has for it.
fn retire(merged: &mut Config, current: &Config, pool: Pool, ranges: Vec<Range>) {
    let mut name = pool.name.clone();
    while !is_retired(&name) || merged.pools.contains_key(&name) {
        name = format!("{name}{SUFFIX}").into();
    }
    let only = PoolSelection {
        names: [name.clone()].into(),
        selectors: Vec::new(),
    };
    let prefix = format!("{name}/");
    let renamed = |advertisement: &Name| match advertisement.starts_with(&prefix) {
        true => advertisement.clone(),
        false => format!("{prefix}{advertisement}").into(),
    };
    for former in current
        .l2_advertisements
        .values()
        .filter(|one| selects(&one.pools, &pool.name, &pool.labels))
    {
        let mut copy = former.clone();
        copy.name = renamed(&former.name);
        copy.pools = only.clone();
        merged.l2_advertisements.insert(copy.name.clone(), copy);
    }
    for former in current
        .bgp_advertisements
        .values()
        .filter(|one| selects(&one.pools, &pool.name, &pool.labels))
    {
        let mut copy = former.clone();
        copy.name = renamed(&former.name);
        copy.pools = only.clone();
        merged.bgp_advertisements.insert(copy.name.clone(), copy);
    }
    let retired = Pool {
        name: name.clone(),
        ranges,
        ..pool
    };
    merged.pools.insert(name, retired);
}

const SUFFIX: &str = "/removed";
