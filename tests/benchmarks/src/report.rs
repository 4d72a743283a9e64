//! Measuring, and saying what was measured.

use std::time::Instant;

use serde::Serialize;

/// Prints the measurements of one benchmark as they come.
pub(crate) struct Report {
    bench: &'static str,
    json: bool,
}

/// One measurement. A figure is better the lower it is.
#[derive(Serialize)]
pub(crate) struct Measurement {
    bench: &'static str,
    case: String,
    /// How many of them `value` is about.
    n: u64,
    value: f64,
    unit: &'static str,
    goal: Option<f64>,
    ok: Option<bool>,
    /// The same work at the physical limit, in the same run.
    limit: Option<f64>,
    /// The same work by something comparable, in the same run.
    peer: Option<f64>,
}

impl Measurement {
    pub(crate) fn new(case: impl Into<String>, n: u64, value: f64, unit: &'static str) -> Self {
        Self {
            bench: "",
            case: case.into(),
            n,
            value,
            unit,
            goal: None,
            ok: None,
            limit: None,
            peer: None,
        }
    }

    /// The goal is to be at or below this.
    pub(crate) fn at_most(self, goal: f64) -> Self {
        Self {
            ok: Some(self.value <= goal),
            goal: Some(goal),
            ..self
        }
    }

    pub(crate) fn limit(self, value: f64) -> Self {
        Self {
            limit: Some(value),
            ..self
        }
    }

    pub(crate) fn peer(self, value: f64) -> Self {
        Self {
            peer: Some(value),
            ..self
        }
    }
}

impl Report {
    pub(crate) fn new(bench: &'static str, json: bool) -> Self {
        Self { bench, json }
    }

    pub(crate) fn say(&self, measurement: Measurement) -> anyhow::Result<()> {
        let measurement = Measurement {
            bench: self.bench,
            ..measurement
        };
        if self.json {
            println!("{}", serde_json::to_string(&measurement)?);
            return Ok(());
        }
        let verdict = match (measurement.ok, measurement.goal) {
            (Some(true), Some(goal)) => format!("ok, goal {}", readable(goal, measurement.unit)),
            (Some(false), Some(goal)) => {
                format!("MISSED, goal {}", readable(goal, measurement.unit))
            }
            _ => String::new(),
        };
        let beside = |what, value: Option<f64>| {
            value.map_or_else(String::new, |value| {
                format!("{what} {}  ", readable(value, measurement.unit))
            })
        };
        let (limit, peer) = (
            beside("limit", measurement.limit),
            beside("peer", measurement.peer),
        );
        println!(
            "{:10} {:62} {:>8}  {:>12}  {limit}{peer}{verdict}",
            measurement.bench,
            measurement.case,
            measurement.n,
            readable(measurement.value, measurement.unit),
        );
        Ok(())
    }
}

/// The median duration, in seconds, of `work` over `runs` runs, each with what `prepare` makes. Neither preparing nor
/// dropping what `work` leaves counts.
pub(crate) fn median_seconds<P, R>(
    runs: usize,
    mut prepare: impl FnMut() -> P,
    mut work: impl FnMut(&mut P) -> R,
) -> f64 {
    let seconds = (0..runs)
        .map(|_| {
            let mut prepared = prepare();
            let start = Instant::now();
            let left = std::hint::black_box(work(&mut prepared));
            let took = start.elapsed().as_secs_f64();
            drop(left);
            took
        })
        .collect();
    median(seconds)
}

/// The value in the middle of those measured, of which there is at least one.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

fn readable(value: f64, unit: &str) -> String {
    match unit {
        "s" if value < 1e-6 => format!("{:.0} ns", value * 1e9),
        "s" if value < 1e-3 => format!("{:.2} us", value * 1e6),
        "s" if value < 1.0 => format!("{:.2} ms", value * 1e3),
        "s" => format!("{value:.2} s"),
        "MB" => format!("{value:.1} MB"),
        "B" if value < 100.0 => format!("{value:.2} B"),
        "%" => format!("{value:.2} %"),
        _ => format!("{value:.0} {unit}"),
    }
}
