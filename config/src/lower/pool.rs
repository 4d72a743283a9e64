//! Pools: each by itself, then that no two have an address in common.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ironlb_model::config::{OnRemoval, Pool, PoolsInError};
use ironlb_model::{Config, Labels, Name, Range, ServiceAllocation};

use super::number::{distinct, duration_within, number, quoted};
use super::table::{Keep, Settled, Table, settle};
use super::{addresses, selector};
use crate::crd::{self, IPAddressPoolSpec};
use crate::error::Error;
use crate::objects::{Draft, Objects, Spec};
use crate::place::{At, Report};

/// Puts the pools into `config`, and what is known of those in error that have no last good state.
pub(super) fn lower(
    drafts: &[&Draft],
    objects: &Objects,
    last_good: &Config,
    keep: Keep,
    config: &mut Config,
    errors: &mut Vec<Error>,
) {
    let table = settle(drafts, &last_good.pools, keep, errors, pool);
    let table = without_clashes(table, &last_good.pools, errors);
    config.pools_in_error = in_error(drafts, objects, last_good, keep, &table);
    config.pools = table
        .into_iter()
        .map(|(name, settled)| (name, settled.value))
        .collect();
}

/// The pools of which nobody can say what addresses they have, or had.
fn in_error(
    drafts: &[&Draft],
    objects: &Objects,
    last_good: &Config,
    keep: Keep,
    table: &Table<'_, Pool>,
) -> PoolsInError {
    let before = &last_good.pools_in_error;
    let stands = |draft: &Draft| {
        let winner = table.get(&draft.name).and_then(|settled| settled.draft);
        winner.is_some_and(|winner| std::ptr::eq(winner, draft))
    };
    let never_good = |name: &Name| before.has(name) || !last_good.pools.contains_key(name);
    let mut labels: BTreeMap<Name, Labels> = objects
        .undecodable_pools()
        .map(|(name, labels)| (name.into(), labels.clone()))
        .collect();
    let fallen = drafts.iter().filter(|draft| !stands(draft));
    labels.extend(fallen.map(|draft| (draft.name.clone(), draft.labels.clone())));
    if keep.everything {
        let unseen = before
            .labels
            .iter()
            .filter(|(name, _)| !table.contains_key(*name));
        for (name, of_before) in unseen {
            labels
                .entry(name.clone())
                .or_insert_with(|| of_before.clone());
        }
    }
    labels.retain(|name, _| never_good(name));
    let is_nameless = labels.remove("").is_some();
    // What was read once is in the last good configuration, whatever became of it.
    let never_read = before.may_be_more || *last_good == Config::default();
    PoolsInError {
        labels,
        may_be_more: is_nameless || (never_read && objects.hides_pools()),
    }
}

fn pool(draft: &Draft, report: &mut Report<'_>) -> Option<Pool> {
    let Spec::Pool(spec) = &draft.spec else {
        return None;
    };
    let at = At::ROOT.key("spec");
    let allocation = spec
        .service_allocation
        .as_ref()
        .map(|allocation| service_allocation(allocation, &at.key("serviceAllocation"), report));
    let cool_down = spec.cool_down.as_deref().and_then(|text| {
        let at = at.key("coolDown");
        duration_within(text, COOL_DOWN, "0s to 24h", &at, report)
    });
    Some(Pool {
        name: draft.name.clone(),
        labels: draft.labels.clone(),
        ranges: ranges(spec, &at.key("addresses"), report),
        auto_assign: spec.auto_assign,
        avoid_buggy_ips: spec.avoid_buggy_ips,
        allocation,
        on_removal: match spec.on_removal {
            Some(crd::OnRemoval::Hold) => OnRemoval::Hold,
            Some(crd::OnRemoval::Move) | None => OnRemoval::Move,
        },
        cool_down: cool_down.unwrap_or_default(),
    })
}

fn ranges(spec: &IPAddressPoolSpec, at: &At<'_>, report: &mut Report<'_>) -> Vec<Range> {
    if spec.addresses.is_empty() {
        let allowed = "is missing; it must have at least one prefix or range";
        report.add(at, allowed);
    }
    let mut ranges = Vec::with_capacity(spec.addresses.len());
    let mut found = Vec::with_capacity(spec.addresses.len());
    for (index, entry) in spec.addresses.iter().enumerate() {
        match addresses::parse(entry) {
            Ok(range) => {
                ranges.push(range);
                found.push((range, index));
            }
            Err(message) => report.add(&at.index(index), message),
        }
    }
    overlaps_within(found, spec, at, report);
    ranges
}

/// Reports entries of one pool that have an address in common, each at the later of the two.
fn overlaps_within(
    mut found: Vec<(Range, usize)>,
    spec: &IPAddressPoolSpec,
    at: &At<'_>,
    report: &mut Report<'_>,
) {
    found.sort_unstable();
    let mut widest: Option<(Range, usize)> = None;
    for (range, index) in found {
        if let Some((other, first)) = widest.filter(|(other, _)| other.overlaps(&range)) {
            let (first, second) = (first.min(index), first.max(index));
            let text = |index: usize| spec.addresses.get(index).map_or("", String::as_str);
            report.add(
                &at.index(second),
                format!(
                    "{} overlaps {} (item {first})",
                    quoted(text(second)),
                    quoted(text(first))
                ),
            );
            if other.last_number() >= range.last_number() {
                continue;
            }
        }
        widest = Some((range, index));
    }
}

fn service_allocation(
    allocation: &crd::ServiceAllocation,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> ServiceAllocation {
    distinct(&allocation.namespaces, &at.key("namespaces"), report);
    let priority = allocation.priority.and_then(|priority| {
        let allowed = 0..=i64::from(i32::MAX);
        number(priority, allowed, &at.key("priority"), report)
    });
    ServiceAllocation {
        priority: priority.unwrap_or(0),
        namespaces: allocation.namespaces.iter().cloned().collect(),
        namespace_selectors: selector::list(
            &allocation.namespace_selectors,
            &at.key("namespaceSelectors"),
            report,
        ),
        service_selectors: selector::list(
            &allocation.service_selectors,
            &at.key("serviceSelectors"),
            report,
        ),
    }
}

/// Takes out of `table` what clashes with something that comes before it.
///
/// What is as in the last good configuration comes first, then what had another state there, then what is new; in
/// order of name. The loser of a clash goes back to its last good state, or out when it has none. That may clash
/// with what was let in because the loser was to move away, so it is done again until nothing clashes; each round
/// settles at least one object for good.
fn without_clashes<'a>(
    mut table: Table<'a, Pool>,
    last_good: &BTreeMap<Name, Pool>,
    errors: &mut Vec<Error>,
) -> Table<'a, Pool> {
    loop {
        let clashes = clashes(&table, last_good);
        if clashes.is_empty() {
            return table;
        }
        let mut losers = BTreeSet::new();
        for clash in clashes {
            errors.extend(clash.error(&table));
            losers.insert(clash.loser);
        }
        for name in losers {
            let was_restored = table.get(&name).is_some_and(|pool| pool.draft.is_none());
            table.remove(&name);
            if let (Some(value), false) = (last_good.get(&name), was_restored) {
                let value = value.clone();
                table.insert(name, Settled { value, draft: None });
            }
        }
    }
}

/// Two pools that have an address in common.
struct Clash {
    winner: (Name, Range),
    loser: Name,
    lost: Range,
}

impl Clash {
    /// What to tell about it; nothing when the loser is not what the operator wrote.
    fn error(&self, table: &Table<'_, Pool>) -> Vec<Error> {
        let Some((pool, draft)) = table
            .get(&self.loser)
            .and_then(|loser| Some((&loser.value, loser.draft?)))
        else {
            return Vec::new();
        };
        let index = pool.ranges.iter().position(|range| *range == self.lost);
        let (name, range) = &self.winner;
        let winner = match table.get(name).and_then(|winner| winner.draft) {
            Some(winner) => winner.place.to_string(),
            None => format!("IPAddressPool/{name} as it was before"),
        };
        let mut report = Report::new(&draft.place);
        let spec = At::ROOT.key("spec");
        let addresses = spec.key("addresses");
        let message = format!("{} overlaps {range} of {winner}", self.lost);
        report.add(&addresses.index(index.unwrap_or(0)), message);
        report.into_errors()
    }
}

/// Pairs of overlapping ranges of different pools; at least one for every pool that is in the way of another.
///
/// One pass over the ranges in order. The widest range that stays is compared with the next; of two that overlap
/// only the winner stays.
fn clashes(table: &Table<'_, Pool>, last_good: &BTreeMap<Name, Pool>) -> Vec<Clash> {
    let mut ranges: Vec<(Range, Rank, &Name)> = Vec::new();
    for (name, settled) in table {
        let rank = Rank::of(settled, last_good.get(name));
        ranges.extend(
            settled
                .value
                .ranges
                .iter()
                .map(|range| (*range, rank, name)),
        );
    }
    ranges.sort_unstable();
    let mut clashes = Vec::new();
    let mut widest: Option<(Range, Rank, &Name)> = None;
    for current in ranges {
        let Some(other) = widest.filter(|other| other.0.overlaps(&current.0)) else {
            widest = Some(current);
            continue;
        };
        let (winner, loser) = if (current.1, current.2) < (other.1, other.2) {
            (current, other)
        } else {
            (other, current)
        };
        if winner.2 != loser.2 {
            clashes.push(Clash {
                winner: (winner.2.clone(), winner.0),
                loser: loser.2.clone(),
                lost: loser.0,
            });
        }
        widest = Some(winner);
    }
    clashes
}

/// Who comes first in a clash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// As in the last good configuration.
    Unchanged,
    /// Had another state there.
    Changed,
    /// Was not there, and is a custom resource.
    New,
    /// Was not there, and is in the ConfigMap.
    NewInConfigMap,
}

impl Rank {
    fn of(settled: &Settled<'_, Pool>, last_good: Option<&Pool>) -> Self {
        match last_good {
            Some(before) if before.ranges == settled.value.ranges => Self::Unchanged,
            Some(_) => Self::Changed,
            None if settled
                .draft
                .is_some_and(|draft| draft.place.legacy.is_some()) =>
            {
                Self::NewInConfigMap
            }
            None => Self::New,
        }
    }
}

const COOL_DOWN: (Duration, Duration) = (Duration::ZERO, Duration::from_secs(86_400));
