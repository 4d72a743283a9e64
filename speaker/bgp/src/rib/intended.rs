//! What is to be announced, before it is anybody's message: the wishes of all Services, merged by prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use ironlb_model::{ServiceKey, Time};

use super::intern::Interner;
use crate::route::RouteAttributes;

/// What one audience is to be told.
#[derive(Debug, Default)]
pub(super) struct Intended {
    prefixes: BTreeMap<IpNet, Wanted>,
    /// Those that may not be as they are wanted.
    changed: BTreeSet<IpNet>,
    /// Those whose weight may change from some time on.
    held: BTreeSet<(Time, IpNet)>,
}

/// A route that comes or changes, or, without attributes, goes.
pub(super) struct Change {
    pub(super) prefix: IpNet,
    pub(super) attributes: Option<Arc<RouteAttributes>>,
}

impl Intended {
    /// What `service` wants of `prefix` from now on; `None` for nothing. Says whether that is new.
    pub(super) fn set(
        &mut self,
        service: &ServiceKey,
        prefix: IpNet,
        attributes: Option<Arc<RouteAttributes>>,
    ) -> bool {
        if attributes.is_none() && !self.prefixes.contains_key(&prefix) {
            return false;
        }
        let wanted = self.prefixes.entry(prefix).or_default();
        let found = wanted.by.binary_search_by(|(key, _)| key.cmp(service));
        match (found, attributes) {
            (Ok(index), Some(attributes)) => {
                let Some((_, current)) = wanted.by.get_mut(index) else {
                    return false;
                };
                if *current == attributes {
                    return false;
                }
                *current = attributes;
            }
            (Ok(index), None) => {
                wanted.by.remove(index);
            }
            (Err(index), Some(attributes)) => {
                wanted.by.insert(index, (service.clone(), attributes));
            }
            (Err(_), None) => return false,
        }
        self.changed.insert(prefix);
        true
    }

    /// What is to be told now, in order of prefix.
    pub(super) fn routes(&self) -> impl Iterator<Item = (IpNet, &Arc<RouteAttributes>)> {
        let all = self.prefixes.iter();
        all.filter_map(|(prefix, wanted)| {
            let settled = wanted.settled.as_ref()?;
            Some((*prefix, &settled.attributes))
        })
    }

    /// When a weight that is held back may change.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.held.first().map(|(due, _)| *due)
    }

    /// Whether nothing is wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Makes what is wanted what is to be told, and says what differs.
    pub(super) fn settle(
        &mut self,
        now: Time,
        interner: &mut Interner<RouteAttributes>,
    ) -> Vec<Change> {
        while self.deadline().is_some_and(|due| due <= now) {
            let due = self.held.pop_first();
            self.changed.extend(due.map(|(_, prefix)| prefix));
        }
        let changed = std::mem::take(&mut self.changed);
        let settle = |prefix| self.settle_one(now, prefix, interner);
        changed.into_iter().filter_map(settle).collect()
    }

    fn settle_one(
        &mut self,
        now: Time,
        prefix: IpNet,
        interner: &mut Interner<RouteAttributes>,
    ) -> Option<Change> {
        let wanted = self.prefixes.get_mut(&prefix)?;
        let Some(mut merged) = wanted.merged() else {
            let wanted = self.prefixes.remove(&prefix)?;
            // Nobody knows of it when it never was settled.
            wanted.settled?;
            let attributes = None;
            return Some(Change { prefix, attributes });
        };
        let mut weighed = now;
        if let Some(settled) = &wanted.settled {
            let (before, after) = (settled.attributes.bandwidth, merged.bandwidth);
            let due = settled.weighed + WEIGHT_HOLD;
            if before == after {
                weighed = settled.weighed;
            } else if before.is_some() && after.is_some() && now < due {
                weighed = settled.weighed;
                self.held.insert((due, prefix));
                Arc::make_mut(&mut merged).bandwidth = before;
            }
        }
        let attributes = interner.intern(&merged);
        let settled = Settled {
            attributes: Arc::clone(&attributes),
            weighed,
        };
        let before = wanted.settled.replace(settled);
        let same = before.is_some_and(|before| before.attributes == attributes);
        let attributes = Some(attributes);
        (!same).then_some(Change { prefix, attributes })
    }
}

/// A prefix, and who wants what of it.
#[derive(Debug, Default)]
struct Wanted {
    /// In order of Service.
    by: Vec<(ServiceKey, Arc<RouteAttributes>)>,
    settled: Option<Settled>,
}

#[derive(Debug)]
struct Settled {
    attributes: Arc<RouteAttributes>,
    /// Since when the weight is what it is.
    weighed: Time,
}

impl Wanted {
    /// What all want together; `None` when nobody wants it.
    fn merged(&self) -> Option<Arc<RouteAttributes>> {
        let ((_, first), rest) = self.by.split_first()?;
        let mut merged = Arc::clone(first);
        for (_, other) in rest {
            Arc::make_mut(&mut merged).aggregate(other);
        }
        Some(merged)
    }
}

/// How long a weight stays at least: endpoints come one by one, and each change moves flows on every router.
const WEIGHT_HOLD: Duration = Duration::from_secs(10);
