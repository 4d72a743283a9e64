//! The configuration as users have written it, and what a process makes of it where something cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ironlb_model::config::PoolsInError;
use ironlb_model::{Config, Name, Pool};

/// The configuration as the API server has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// What it would be, could all of it be read.
    pub config: Arc<Config>,
    /// The objects that cannot be.
    pub errors: Errors,
}

/// Objects in error, by kind and name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors {
    /// Address pools.
    pub pools: BTreeSet<Name>,
    /// Layer 2 advertisements.
    pub l2_advertisements: BTreeSet<Name>,
    /// BGP advertisements.
    pub bgp_advertisements: BTreeSet<Name>,
}

impl Errors {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        let Self {
            pools,
            l2_advertisements,
            bgp_advertisements,
        } = self;
        pools.is_empty() && l2_advertisements.is_empty() && bgp_advertisements.is_empty()
    }

    /// Only objects that are as they were stay in error.
    pub fn follow(&mut self, before: &Config, after: &Config) {
        stay(&mut self.pools, &before.pools, &after.pools);
        let (then, now) = (&before.l2_advertisements, &after.l2_advertisements);
        stay(&mut self.l2_advertisements, then, now);
        let (then, now) = (&before.bgp_advertisements, &after.bgp_advertisements);
        stay(&mut self.bgp_advertisements, then, now);
    }
}

fn stay<T: PartialEq>(
    errors: &mut BTreeSet<Name>,
    before: &BTreeMap<Name, T>,
    after: &BTreeMap<Name, T>,
) {
    errors.retain(|name| after.contains_key(name) && before.get(name) == after.get(name));
}

impl Written {
    /// One without errors.
    pub fn sound(config: Arc<Config>) -> Self {
        Self {
            config,
            errors: Errors::default(),
        }
    }

    /// What a process goes by that went by `last` until now; by nothing when it has just started. An object in error is what it
    /// was last. One that the process has never read is not there; of a pool it knows that there is one.
    pub fn read(&self, last: Option<&Config>) -> Arc<Config> {
        if self.errors.is_empty() {
            return Arc::clone(&self.config);
        }
        let nothing = Config::default();
        let last = last.unwrap_or(&nothing);
        let mut config = (*self.config).clone();
        let Errors {
            pools,
            l2_advertisements,
            bgp_advertisements,
        } = &self.errors;
        let mut errors = pools.clone();
        restore(&mut config.pools, pools, &last.pools);
        give_way(&mut config.pools, &mut errors, &last.pools);
        let (l2, bgp) = (&last.l2_advertisements, &last.bgp_advertisements);
        restore(&mut config.l2_advertisements, l2_advertisements, l2);
        restore(&mut config.bgp_advertisements, bgp_advertisements, bgp);
        let unread = errors
            .iter()
            .filter(|name| !config.pools.contains_key(*name));
        let labels = unread.filter_map(|name| {
            let pool = self.config.pools.get(name)?;
            Some((name.clone(), pool.labels.clone()))
        });
        config.pools_in_error = PoolsInError {
            labels: labels.collect(),
            may_be_more: false,
        };
        Arc::new(config)
    }
}

/// Puts what was there last in the place of what is in error.
fn restore<T: Clone>(
    all: &mut BTreeMap<Name, T>,
    errors: &BTreeSet<Name>,
    last: &BTreeMap<Name, T>,
) {
    for name in errors {
        match last.get(name) {
            Some(value) => drop(all.insert(name.clone(), value.clone())),
            None => drop(all.remove(name)),
        }
    }
}

/// A pool that has an address of one that stays as it was is in error as well.
fn give_way(
    pools: &mut BTreeMap<Name, Pool>,
    errors: &mut BTreeSet<Name>,
    last: &BTreeMap<Name, Pool>,
) {
    let overlap = |one: &Pool, other: &Pool| {
        let mut ranges = one.ranges.iter();
        ranges.any(|range| other.ranges.iter().any(|another| range.overlaps(another)))
    };
    loop {
        let stays = |pool: &&Pool| last.get(&pool.name) == Some(*pool);
        let staying: Vec<&Pool> = pools.values().filter(stays).collect();
        let clashes = |pool: &&Pool| staying.iter().any(|other| overlap(pool, other));
        let mut changed = pools.values().filter(|pool| !stays(pool));
        let Some(name) = changed.find(clashes).map(|pool| pool.name.clone()) else {
            return;
        };
        errors.insert(name.clone());
        restore(pools, &BTreeSet::from([name]), last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ironlb_model::Range;

    fn pool(name: &str, last: u8) -> Pool {
        let first = [192, 0, 2, 0].into();
        let range = Range::new(first, [192, 0, 2, last].into()).unwrap();
        Pool::new(name, vec![range])
    }

    fn config(pools: &[Pool]) -> Config {
        let by_name = pools.iter().map(|pool| (pool.name.clone(), pool.clone()));
        Config {
            pools: by_name.collect(),
            ..Config::default()
        }
    }

    fn written(pools: &[Pool], errors: &[&str]) -> Written {
        Written {
            config: Arc::new(config(pools)),
            errors: Errors {
                pools: errors.iter().map(|name| (*name).into()).collect(),
                ..Errors::default()
            },
        }
    }

    #[test]
    fn what_is_in_error_is_what_it_was_last() {
        let last = config(&[pool("a", 9)]);
        let now = written(&[pool("a", 20)], &["a"]).read(Some(&last));
        assert_eq!(*now, last);
    }

    #[test]
    fn of_what_was_never_read_it_is_known_that_it_is_there() {
        let now = written(&[pool("a", 9)], &["a"]).read(None);
        assert!(now.pools.is_empty() && now.pools_in_error.has("a"));
    }

    #[test]
    fn what_is_new_gives_way_to_what_stays() {
        let last = config(&[pool("a", 9)]);
        let now = written(&[pool("a", 20), pool("b", 9)], &["a"]).read(Some(&last));
        assert_eq!(now.pools, last.pools);
        assert!(now.pools_in_error.has("b"));
    }
}
