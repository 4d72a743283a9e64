//! Layer 2 advertisements.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_model::config::{Election, Gratuitous, PreferredNodes};
use ironlb_model::{Config, L2Advertisement, LabelSelector, PoolSelection};

use super::advertisement::{self, Advertisement, refuse_identical};
use super::number::{distinct, duration_within, number};
use super::selector;
use super::table::{Keep, settle};
use crate::crd;
use crate::error::Error;
use crate::objects::{Draft, Spec};
use crate::place::{At, Report};

/// Puts the advertisements into `config`, which has its pools.
pub(super) fn lower(
    drafts: &[&Draft],
    last_good: &Config,
    keep: Keep,
    config: &mut Config,
    errors: &mut Vec<Error>,
) {
    let last = &last_good.l2_advertisements;
    let mut table = settle(drafts, last, keep, errors, l2_advertisement);
    refuse_identical(&mut table, last, config, errors);
    config.l2_advertisements = table
        .into_iter()
        .map(|(name, settled)| (name, settled.value))
        .collect();
}

fn l2_advertisement(draft: &Draft, report: &mut Report<'_>) -> Option<L2Advertisement> {
    let Spec::L2(spec) = &draft.spec else {
        return None;
    };
    let at = At::ROOT.key("spec");
    let pools = advertisement::pools(
        &spec.ip_address_pools,
        &spec.ip_address_pool_selectors,
        &at,
        report,
    );
    distinct(&spec.interfaces, &at.key("interfaces"), report);
    Some(L2Advertisement {
        name: draft.name.clone(),
        pools,
        nodes: selector::list(&spec.node_selectors, &at.key("nodeSelectors"), report),
        services: selector::list(&spec.service_selectors, &at.key("serviceSelectors"), report),
        interfaces: spec.interfaces.iter().cloned().collect(),
        preferred_nodes: preferred_nodes(spec, &at.key("preferredNodeSelectors"), report),
        election: match spec.election {
            None | Some(crd::Election::Rendezvous) => Election::Rendezvous,
            Some(crd::Election::MetallbCompat | crd::Election::MetallbCompatKebab) => {
                Election::MetallbCompat
            }
        },
        gratuitous: gratuitous(spec.gratuitous.as_ref(), &at.key("gratuitous"), report),
        refresh: spec.refresh_interval.as_deref().and_then(|text| {
            let at = at.key("refreshInterval");
            duration_within(text, REFRESH, "1s to 24h", &at, report)
        }),
    })
}

fn preferred_nodes(
    spec: &crd::L2AdvertisementSpec,
    at: &At<'_>,
    report: &mut Report<'_>,
) -> Vec<PreferredNodes> {
    let mut preferred = Vec::new();
    for (index, term) in spec.preferred_node_selectors.iter().enumerate() {
        let at = at.index(index);
        let nodes = match &term.preference {
            Some(preference) => Some(selector::one(preference, &at.key("preference"), report)),
            None => {
                report.add(&at.key("preference"), "is missing");
                None
            }
        };
        let weight = match term.weight {
            Some(weight) => number(weight, 1..=100, &at.key("weight"), report),
            None => {
                report.add(&at.key("weight"), "is missing; it must be 1 to 100");
                None
            }
        };
        if let (Some(weight), Some(nodes)) = (weight, nodes) {
            preferred.push(PreferredNodes { weight, nodes });
        }
    }
    preferred
}

fn gratuitous(burst: Option<&crd::Gratuitous>, at: &At<'_>, report: &mut Report<'_>) -> Gratuitous {
    let default = Gratuitous::default();
    let Some(burst) = burst else { return default };
    let count = burst
        .count
        .and_then(|count| number(count, 1..=60, &at.key("count"), report));
    let interval = burst.interval.as_deref().and_then(|text| {
        duration_within(text, INTERVAL, "100ms to 60s", &at.key("interval"), report)
    });
    Gratuitous {
        count: count.unwrap_or(default.count),
        interval: interval.unwrap_or(default.interval),
    }
}

impl Advertisement for L2Advertisement {
    type Content = (
        [Vec<LabelSelector>; 2],
        Vec<(u8, LabelSelector)>,
        BTreeSet<String>,
        Election,
        (u8, Duration, Option<Duration>),
    );

    fn pools(&self) -> &PoolSelection {
        &self.pools
    }

    fn content(&self) -> Self::Content {
        let preferred = self.preferred_nodes.iter();
        (
            [self.nodes.clone(), self.services.clone()],
            preferred
                .map(|term| (term.weight, term.nodes.clone()))
                .collect(),
            self.interfaces.clone(),
            self.election,
            (
                self.gratuitous.count,
                self.gratuitous.interval,
                self.refresh,
            ),
        )
    }
}

const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(86_400));
const INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));
