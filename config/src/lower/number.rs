//! Numbers, durations and texts within limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::crd::parse_duration;
use crate::place::{At, Report};

/// `value` as a `T`, when it is `allowed`.
pub(super) fn number<T: TryFrom<i64>>(
    value: i64,
    allowed: RangeInclusive<i64>,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<T> {
    let found = allowed
        .contains(&value)
        .then(|| T::try_from(value).ok())
        .flatten();
    if found.is_none() {
        let (first, last) = allowed.into_inner();
        report.add(
            at,
            format!("{value} is not allowed; it must be {first} to {last}"),
        );
    }
    found
}

/// The duration that `text` says.
pub(super) fn duration(text: &str, at: &At<'_>, report: &mut Report<'_>) -> Option<Duration> {
    let found = parse_duration(text);
    if found.is_none() {
        report.add(
            at,
            format!(
                "{} is no duration; write it as 90s, 1m30s or 500ms",
                quoted(text)
            ),
        );
    }
    found
}

/// The duration that `text` says, when it is within `allowed`.
pub(super) fn duration_within(
    text: &str,
    allowed: (Duration, Duration),
    limits: &str,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Option<Duration> {
    let found = duration(text, at, report)?;
    if found < allowed.0 || found > allowed.1 {
        report.add(at, format!("{text} is not allowed; it must be {limits}"));
        return None;
    }
    Some(found)
}

/// `text` in quotes, cut where it is long.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("\"{short}\"")
}

/// `text`, unless it is absent or empty, which mean the same.
pub(super) fn filled(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

/// Reports items of `list` that are empty or have been there before.
pub(super) fn distinct(list: &[String], at: &At<'_>, report: &mut Report<'_>) {
    let mut seen = std::collections::BTreeMap::new();
    for (index, item) in list.iter().enumerate() {
        if item.is_empty() {
            report.add(&at.index(index), "must not be empty");
        } else if let Some(first) = seen.insert(item, index) {
            report.add(
                &at.index(index),
                format!("{} is there twice; the first is item {first}", quoted(item)),
            );
        }
    }
}

const LONGEST: usize = 80;
