//! BFD profiles.

use std::collections::BTreeMap;
use std::time::Duration;

use ironlb_model::{BfdProfile, Name};

use super::number::number;
use super::table::{Keep, settle};
use crate::error::Error;
use crate::objects::{Draft, Spec};
use crate::place::{At, Report};

/// The profiles by name.
pub(super) fn lower(
    drafts: &[&Draft],
    last_good: &BTreeMap<Name, BfdProfile>,
    keep: Keep,
    errors: &mut Vec<Error>,
) -> BTreeMap<Name, BfdProfile> {
    settle(drafts, last_good, keep, errors, profile)
        .into_iter()
        .map(|(name, settled)| (name, settled.value))
        .collect()
}

fn profile(draft: &Draft, report: &mut Report<'_>) -> Option<BfdProfile> {
    let Spec::Bfd(spec) = &draft.spec else {
        return None;
    };
    let at = At::ROOT.key("spec");
    let mut interval = |value: Option<i64>, default: u64, name| {
        let given = value.and_then(|value| number(value, 10..=60_000, &at.key(name), report));
        Duration::from_millis(given.unwrap_or(default))
    };
    let receive_interval = interval(spec.receive_interval, 300, "receiveInterval");
    let transmit_interval = interval(spec.transmit_interval, 300, "transmitInterval");
    let echo_interval = interval(spec.echo_interval, 50, "echoInterval");
    let mut small = |value: Option<i64>, allowed, default: u8, name| {
        let given = value.and_then(|value| number(value, allowed, &at.key(name), report));
        given.unwrap_or(default)
    };
    Some(BfdProfile {
        name: draft.name.clone(),
        detect_multiplier: small(spec.detect_multiplier, 2..=255, 3, "detectMultiplier"),
        receive_interval,
        transmit_interval,
        echo_interval,
        echo: spec.echo_mode,
        passive: spec.passive_mode,
        minimum_ttl: small(spec.minimum_ttl, 1..=254, 254, "minimumTtl"),
    })
}
