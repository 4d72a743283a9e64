//! Reading and validating.

use std::fmt::Write;

use ironlb_config::{Source, lower, read};
use ironlb_model::Config;

use crate::report::{Measurement, Report, median_seconds};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    for pools in [1_000, 2_000] {
        let legacy = [legacy(pools)];
        let resources = [resources(pools)];
        for (form, sources) in [("ConfigMap", &legacy), ("custom resources", &resources)] {
            let lowered = lower(&read(sources).objects, &Config::default());
            anyhow::ensure!(lowered.errors.is_empty(), "invalid: {:?}", lowered.errors);
            anyhow::ensure!(lowered.config.pools.len() == pools);
            let seconds = median_seconds(
                7,
                || (),
                |()| lower(&read(sources).objects, &Config::default()),
            );
            let case = format!("parse and validate {pools} pools of 10 entries, {form}");
            let measurement = Measurement::new(case, pools as u64, seconds, "s");
            report.say(if pools == 1_000 {
                measurement.at_most(0.020)
            } else {
                measurement
            })?;
        }
    }
    Ok(())
}

/// Ten entries for pool `pool`, none beside another.
fn entries(pool: usize) -> impl Iterator<Item = String> {
    (0..10).map(move |entry| format!("10.{}.{}.{}/32", pool / 250, pool % 250, entry * 20 + 1))
}

fn legacy(pools: usize) -> Source {
    let mut text = String::from("address-pools:\n");
    for pool in 0..pools {
        let _ = write!(
            text,
            "- name: pool-{pool}\n  protocol: layer2\n  addresses:\n"
        );
        for entry in entries(pool) {
            let _ = writeln!(text, "  - {entry}");
        }
    }
    Source {
        name: "config.yaml".to_owned(),
        text,
    }
}

fn resources(pools: usize) -> Source {
    let mut text = String::new();
    for pool in 0..pools {
        let _ = write!(
            text,
            "---\napiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata:\n  name: pool-{pool}\n  \
             namespace: metallb-system\nspec:\n  addresses:\n"
        );
        for entry in entries(pool) {
            let _ = writeln!(text, "  - {entry}");
        }
    }
    Source {
        name: "pools.yaml".to_owned(),
        text,
    }
}
