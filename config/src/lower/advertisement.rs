//! What both kinds of advertisement have: pools, and that no two say the same.

use std::collections::BTreeMap;

use ironlb_model::{Config, Name, PoolSelection};

use super::number::distinct;
use super::selector;
use super::table::{Settled, Table};
use crate::crd;
use crate::error::Error;
use crate::place::{At, Report};

/// Which pools an advertisement is for.
pub(super) fn pools(
    names: &[String],
    selectors: &[crd::LabelSelector],
    spec: &At<'_>,
    report: &mut Report<'_>,
) -> PoolSelection {
    distinct(names, &spec.key("ipAddressPools"), report);
    let at = spec.key("ipAddressPoolSelectors");
    PoolSelection {
        names: names.iter().map(|name| name.as_str().into()).collect(),
        selectors: selector::list(selectors, &at, report),
    }
}

/// The pools of `config` that `selection` selects, without looking at all of them where they are named.
pub(super) fn selected<'a>(selection: &'a PoolSelection, config: &'a Config) -> Vec<&'a Name> {
    let named = selection.names.iter().filter_map(|name| {
        let (name, _) = config.pools.get_key_value(name)?;
        Some(name)
    });
    if selection.selectors.is_empty() && !selection.names.is_empty() {
        return named.collect();
    }
    let pools = config.pools.values();
    pools
        .filter(|pool| selection.selects(pool))
        .map(|pool| &pool.name)
        .collect()
}

/// What the two kinds have in common.
pub(super) trait Advertisement: Clone + PartialEq {
    /// What it says, apart from its name and its pools.
    type Content: Ord;

    /// The pools that it is for.
    fn pools(&self) -> &PoolSelection;

    /// What it says of them.
    fn content(&self) -> Self::Content;
}

/// Refuses an advertisement that says of a pool what another one says already.
///
/// The one that is as in the last good configuration wins, else the first by name.
pub(super) fn refuse_identical<T: Advertisement>(
    table: &mut Table<'_, T>,
    last_good: &BTreeMap<Name, T>,
    config: &Config,
    errors: &mut Vec<Error>,
) {
    for twin in twins(table, last_good, config) {
        let message = format!(
            "says of pool \"{}\" what {} says already",
            twin.pool,
            known(table, &twin.first)
        );
        refuse(
            table,
            last_good,
            &twin.second,
            &At::ROOT.key("spec"),
            message,
            errors,
        );
    }
}

/// `name` is in error at `at`: it goes back to its last good state, or out.
pub(super) fn refuse<T: Clone>(
    table: &mut Table<'_, T>,
    last_good: &BTreeMap<Name, T>,
    name: &Name,
    at: &At<'_>,
    message: String,
    errors: &mut Vec<Error>,
) {
    // What is not from an object has been refused before, and is kept as it is.
    let Some(draft) = table.get(name).and_then(|settled| settled.draft) else {
        return;
    };
    let mut report = Report::new(&draft.place);
    report.add(at, message);
    errors.append(&mut report.into_errors());
    table.remove(name);
    if let Some(value) = last_good.get(name) {
        let value = value.clone();
        table.insert(name.clone(), Settled { value, draft: None });
    }
}

/// What to call `name` in an error about another object.
pub(super) fn known<T>(table: &Table<'_, T>, name: &Name) -> String {
    match table.get(name).and_then(|settled| settled.draft) {
        Some(draft) => draft.place.to_string(),
        None => format!("\"{name}\""),
    }
}

/// Two advertisements that say the same of a pool.
struct Twins {
    first: Name,
    second: Name,
    pool: Name,
}

fn twins<T: Advertisement>(
    table: &Table<'_, T>,
    last_good: &BTreeMap<Name, T>,
    config: &Config,
) -> Vec<Twins> {
    let is_changed = |name: &Name, value: &T| last_good.get(name) != Some(value);
    let mut order: Vec<_> = table.iter().collect();
    order.sort_by_key(|(name, settled)| is_changed(name, &settled.value));
    // A number for each content, so that it is compared only once for each advertisement.
    let mut numbers: BTreeMap<T::Content, usize> = BTreeMap::new();
    let mut first: BTreeMap<(&Name, usize), &Name> = BTreeMap::new();
    let mut twins = Vec::new();
    for (name, settled) in order {
        let next = numbers.len();
        let number = *numbers.entry(settled.value.content()).or_insert(next);
        let pools = selected(settled.value.pools(), config);
        let twice = pools.iter().find_map(|pool| {
            let other = first.get(&(*pool, number))?;
            Some(Twins {
                first: (*other).clone(),
                second: name.clone(),
                pool: (*pool).clone(),
            })
        });
        if twice.is_none() {
            first.extend(pools.into_iter().map(|pool| ((pool, number), name)));
        }
        twins.extend(twice);
    }
    twins
}
