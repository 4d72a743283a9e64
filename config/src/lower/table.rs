//! Objects of one kind by name: which one wins, and what takes the place of one in error.

use std::collections::BTreeMap;

use ironlb_model::Name;

use crate::error::Error;
use crate::objects::Draft;
use crate::place::{At, Report};

/// What of the last good configuration stays although no object asks for it.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// Everything: a source cannot be read, so what is missing may only be unreadable.
    pub(super) everything: bool,
}

/// What came out for a name.
#[derive(Clone)]
pub(super) struct Settled<'a, T> {
    pub(super) value: T,
    /// The object that it was made of; `None` when it is what the last good configuration had.
    pub(super) draft: Option<&'a Draft>,
}

/// Objects of one kind by name.
pub(super) type Table<'a, T> = BTreeMap<Name, Settled<'a, T>>;

/// Judges each draft by itself with `judge`, which reports what is wrong and returns `None` where nothing can be
/// made of it.
///
/// Of two objects of one name, the one that the last good configuration has wins, else the first.
pub(super) fn settle<'a, T: Clone + PartialEq>(
    drafts: &[&'a Draft],
    last_good: &BTreeMap<Name, T>,
    keep: Keep,
    errors: &mut Vec<Error>,
    mut judge: impl FnMut(&'a Draft, &mut Report<'_>) -> Option<T>,
) -> Table<'a, T> {
    let mut table = Table::new();
    let mut broken = Vec::new();
    for draft in drafts {
        let mut report = Report::new(&draft.place);
        name(draft, &mut report);
        let value = judge(draft, &mut report);
        let sound = report.len() == 0 && draft.place.tainted.is_empty();
        errors.append(&mut report.into_errors());
        match value {
            Some(value) if sound => enter(&mut table, draft, value, last_good, errors),
            _ => broken.push(&draft.name),
        }
    }
    for name in broken {
        restore(&mut table, name, last_good);
    }
    if keep.everything {
        last_good
            .keys()
            .for_each(|name| restore(&mut table, name, last_good));
    }
    table
}

/// What the last good configuration has under `name` is there again, unless an object took its place.
fn restore<T: Clone>(table: &mut Table<'_, T>, name: &Name, last_good: &BTreeMap<Name, T>) {
    if table.contains_key(name) {
        return;
    }
    if let Some(value) = last_good.get(name) {
        let value = value.clone();
        table.insert(name.clone(), Settled { value, draft: None });
    }
}

fn enter<'a, T: PartialEq>(
    table: &mut Table<'a, T>,
    draft: &'a Draft,
    value: T,
    last_good: &BTreeMap<Name, T>,
    errors: &mut Vec<Error>,
) {
    let settled = Settled {
        value,
        draft: Some(draft),
    };
    let Some(first) = table.get_mut(&draft.name) else {
        table.insert(draft.name.clone(), settled);
        return;
    };
    let known = last_good.get(&draft.name);
    let challenger_wins = known == Some(&settled.value) && known != Some(&first.value);
    let loser = if challenger_wins {
        std::mem::replace(first, settled).draft
    } else {
        Some(draft)
    };
    let (Some(loser), Some(winner)) = (loser, first.draft) else {
        return;
    };
    let mut report = Report::new(&loser.place);
    let metadata = At::ROOT.key("metadata");
    report.add(
        &metadata.key("name"),
        format!(
            "\"{}\" is there twice; the other is {}",
            loser.name, winner.place
        ),
    );
    errors.append(&mut report.into_errors());
}

/// A name must be one that the API server takes; the legacy format has no such rule.
fn name(draft: &Draft, report: &mut Report<'_>) {
    let metadata = At::ROOT.key("metadata");
    let at = metadata.key("name");
    if draft.place.legacy.is_some() {
        if draft.name.is_empty() {
            report.add(&at, "is missing");
        }
        return;
    }
    let label = |label: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !label.is_empty()
            && label.chars().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if draft.name.len() > 253 || !draft.name.split('.').all(label) {
        report.add(
            &at,
            format!(
                "\"{}\" is no name; small letters, digits, - and . are allowed, 253 at most, \
                 and a letter or digit at both ends",
                draft.name.chars().take(60).collect::<String>()
            ),
        );
    }
}
