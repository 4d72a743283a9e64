//! All pools, and the ways to find one: by address, by who may use it, by what it has left.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ironlb_model::addr::number;
use ironlb_model::{Family, Labels, Name, Namespace, Pool, ServiceKey, Time};

use crate::avoid::Avoided;
use crate::pool::PoolState;
use crate::refusal::Fence;

/// The pools, indexed.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    by_name: BTreeMap<Name, PoolState>,
    spans: Spans,
    /// Open to everybody and to automatic choice, with a free address of the family.
    open_v4: BTreeSet<Name>,
    open_v6: BTreeSet<Name>,
    /// The same with an address that is kept back.
    spare_v4: BTreeSet<Name>,
    spare_v6: BTreeSet<Name>,
    avoided: Avoided,
    /// With a `serviceAllocation`, and open to automatic choice: by namespace where it only names some.
    pinned_by_namespace: BTreeMap<String, BTreeSet<Rank>>,
    pinned: BTreeSet<Rank>,
    namespaces: BTreeMap<Name, Labels>,
}

/// Where a pinned pool comes in the order of choice: by priority, 0 last, then by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    last: bool,
    priority: u32,
    pool: Name,
}

/// How far automatic choice goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To free addresses that nothing speaks against.
    Free,
    /// To those that are kept back, too, where there is no other.
    KeptBack,
}

/// By family and first address.
type Spans = BTreeMap<(Family, u128), Span>;

/// A run of addresses that belongs to a pool.
#[derive(Debug)]
struct Span {
    last: u128,
    entry: u32,
    pool: Name,
}

impl Pools {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&PoolState> {
        self.by_name.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &PoolState)> {
        self.by_name.iter()
    }

    /// The pool that has `address`, whether or not it gives it away.
    pub(crate) fn of_address(&self, address: IpAddr) -> Option<&Name> {
        span_of(&self.spans, address).map(|span| &span.pool)
    }

    /// Marks an address as used; one of no pool is nobody's business here.
    pub(crate) fn take(&mut self, address: IpAddr) {
        self.avoided.warm(address);
        self.change(address, |state, entry, _| state.take(entry, address));
    }

    /// Marks an address as free.
    pub(crate) fn give_back(&mut self, address: IpAddr) {
        self.change(address, |state, entry, avoided| {
            let cool_down = state.pool.cool_down;
            if !cool_down.is_zero() {
                avoided.cool(address, cool_down);
            }
            state.give_back(entry, address);
            if avoided.has(address) {
                state.keep_back(entry, address);
            }
        });
    }

    /// A node has exactly these addresses now: they are given last. Gives those that no node had before.
    pub(crate) fn set_node(&mut self, node: &Name, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let (new, gone) = self.avoided.set_node(node, addresses);
        for address in &new {
            self.change(*address, |state, entry, _| state.keep_back(entry, *address));
        }
        for address in gone {
            self.reconsider(address);
        }
        new
    }

    /// The first of the nodes that have `address`, by name.
    pub(crate) fn node_of(&self, address: IpAddr) -> Option<&Name> {
        self.avoided.node_of(address)
    }

    /// The time is now this: what has cooled down is free like others.
    pub(crate) fn advance(&mut self, now: Time) {
        for address in self.avoided.advance(now) {
            self.reconsider(address);
        }
    }

    /// Keeps an address back no longer, unless something speaks against it still.
    fn reconsider(&mut self, address: IpAddr) {
        self.change(address, |state, entry, avoided| {
            if !avoided.has(address) {
                state.release(entry, address);
            }
        });
    }

    fn change(&mut self, address: IpAddr, change: impl FnOnce(&mut PoolState, u32, &mut Avoided)) {
        let Some(span) = span_of(&self.spans, address) else {
            return;
        };
        if let Some(state) = self.by_name.get_mut(&span.pool) {
            let family = Family::of(address);
            let has = |state: &PoolState| (state.has_free(family), state.has_kept_back(family));
            let before = has(state);
            change(state, span.entry, &mut self.avoided);
            if before != has(state) {
                let pool = span.pool.clone();
                self.note_open(&pool);
            }
        }
    }

    /// Puts a pool in that was not there.
    pub(crate) fn insert(&mut self, mut state: PoolState) {
        let name = state.pool.name.clone();
        for (entry, range) in (0..).zip(state.pool.ranges.clone()) {
            for address in self.avoided.within(&range) {
                state.keep_back(entry, address);
            }
            let span = Span {
                last: range.last_number(),
                entry,
                pool: name.clone(),
            };
            self.spans
                .insert((range.family(), range.first_number()), span);
        }
        for namespace in pinned_to(&state.pool) {
            let rank = Rank::of(&state.pool);
            match namespace {
                Some(namespace) => self
                    .pinned_by_namespace
                    .entry(namespace.clone())
                    .or_default()
                    .insert(rank),
                None => self.pinned.insert(rank),
            };
        }
        self.by_name.insert(name.clone(), state);
        self.note_open(&name);
    }

    /// Takes a pool out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Pool> {
        let state = self.by_name.remove(name)?;
        for range in &state.pool.ranges {
            self.spans.remove(&(range.family(), range.first_number()));
        }
        let rank = Rank::of(&state.pool);
        for namespace in pinned_to(&state.pool) {
            let Some(namespace) = namespace else {
                self.pinned.remove(&rank);
                continue;
            };
            if let Some(ranks) = self.pinned_by_namespace.get_mut(namespace) {
                ranks.remove(&rank);
                if ranks.is_empty() {
                    self.pinned_by_namespace.remove(namespace);
                }
            }
        }
        for names in [
            &mut self.open_v4,
            &mut self.open_v6,
            &mut self.spare_v4,
            &mut self.spare_v6,
        ] {
            names.remove(name);
        }
        Some(state.pool)
    }

    fn note_open(&mut self, name: &Name) {
        let Some(state) = self.by_name.get(name) else {
            return;
        };
        let open = state.pool.auto_assign && state.pool.allocation.is_none();
        for (has, names) in [
            (state.has_free(Family::V4), &mut self.open_v4),
            (state.has_free(Family::V6), &mut self.open_v6),
            (state.has_kept_back(Family::V4), &mut self.spare_v4),
            (state.has_kept_back(Family::V6), &mut self.spare_v6),
        ] {
            if open && has {
                names.insert(name.clone());
            } else {
                names.remove(name);
            }
        }
    }

    /// The pools for everybody that have a free address of every one of `families`, those kept back aside, in order of name.
    pub(crate) fn open<'a>(
        &'a self,
        families: &'a [Family],
    ) -> impl Iterator<Item = &'a Name> + use<'a> {
        let of = |family| match family {
            Family::V4 => &self.open_v4,
            Family::V6 => &self.open_v6,
        };
        let first = families.first().map(|family| of(*family));
        let rest = move |name: &&Name| families.iter().skip(1).all(|f| of(*f).contains(*name));
        first.into_iter().flatten().filter(rest)
    }

    /// The same, where addresses that are kept back count too.
    pub(crate) fn open_to_the_last<'a>(
        &'a self,
        families: &'a [Family],
    ) -> impl Iterator<Item = &'a Name> + use<'a> {
        let of = |family| match family {
            Family::V4 => (&self.open_v4, &self.spare_v4),
            Family::V6 => (&self.open_v6, &self.spare_v6),
        };
        let has = move |name: &Name, family| {
            let (free, spare) = of(family);
            free.contains(name) || spare.contains(name)
        };
        let first = families.first().map(|family| of(*family));
        let first = first
            .into_iter()
            .flat_map(|(free, spare)| free.union(spare));
        first.filter(move |name| families.iter().skip(1).all(|family| has(name, *family)))
    }

    /// Whether one of the pools for everybody has an address that is kept back.
    pub(crate) fn open_keep_back(&self) -> bool {
        !self.spare_v4.is_empty() || !self.spare_v6.is_empty()
    }

    /// The pools meant for this Service that automatic choice may use, best first.
    pub(crate) fn pinned(&self, service: &ServiceKey, labels: &Labels) -> Vec<Name> {
        let named = self.pinned_by_namespace.get(&*service.namespace);
        let mut ranks: Vec<&Rank> = self
            .pinned
            .iter()
            .chain(named.into_iter().flatten())
            .collect();
        ranks.sort_unstable();
        ranks.dedup();
        let admits = |rank: &&&Rank| {
            let state = self.by_name.get(&rank.pool);
            state.is_some_and(|state| self.admits(&state.pool, service, labels).is_ok())
        };
        ranks
            .iter()
            .filter(admits)
            .map(|rank| rank.pool.clone())
            .collect()
    }

    /// Whether the pool's `serviceAllocation` lets a Service in. A selector that matches no namespace lets none in.
    pub(crate) fn admits(
        &self,
        pool: &Pool,
        service: &ServiceKey,
        labels: &Labels,
    ) -> Result<(), Fence> {
        let Some(allocation) = &pool.allocation else {
            return Ok(());
        };
        let selected = || {
            let labels = self.namespaces.get(&service.namespace)?;
            let mut selectors = allocation.namespace_selectors.iter();
            selectors.find(|selector| selector.matches(labels))
        };
        if allocation.restricts_namespaces()
            && !allocation.namespaces.contains(&*service.namespace)
            && selected().is_none()
        {
            return Err(Fence::Namespace);
        }
        let selectors = &allocation.service_selectors;
        if selectors.is_empty() || selectors.iter().any(|selector| selector.matches(labels)) {
            Ok(())
        } else {
            Err(Fence::Labels)
        }
    }

    /// Whether any pool chooses namespaces by their labels.
    pub(crate) fn select_namespaces(&self) -> bool {
        let selects = |state: &PoolState| {
            let allocation = state.pool.allocation.as_ref();
            allocation.is_some_and(|allocation| !allocation.namespace_selectors.is_empty())
        };
        self.by_name.values().any(selects)
    }

    /// Takes a namespace's labels in; `true` when they are new.
    pub(crate) fn apply_namespace(&mut self, namespace: Namespace) -> bool {
        let before = self
            .namespaces
            .insert(namespace.name.clone(), namespace.labels);
        before.as_ref() != self.namespaces.get(&namespace.name)
    }

    /// Forgets a namespace; `true` when it was known.
    pub(crate) fn delete_namespace(&mut self, name: &str) -> bool {
        self.namespaces.remove(name).is_some()
    }
}

impl Rank {
    fn of(pool: &Pool) -> Self {
        let priority = pool.allocation.as_ref().map_or(0, |a| a.priority);
        Self {
            last: priority == 0,
            priority,
            pool: pool.name.clone(),
        }
    }
}

fn span_of(spans: &Spans, address: IpAddr) -> Option<&Span> {
    let (family, number) = (Family::of(address), number(address));
    let (_, span) = spans.range((family, 0)..=(family, number)).next_back()?;
    (number <= span.last).then_some(span)
}

/// Under which namespaces to index a pinned pool; `None` for all, when only looking at the Service can tell.
fn pinned_to(pool: &Pool) -> Vec<Option<&String>> {
    let Some(allocation) = pool.allocation.as_ref().filter(|_| pool.auto_assign) else {
        return Vec::new();
    };
    if allocation.namespaces.is_empty() || !allocation.namespace_selectors.is_empty() {
        vec![None]
    } else {
        allocation.namespaces.iter().map(Some).collect()
    }
}
