//! Whole clusters, seed by seed.
//!
//! `IRONLB_SIM_SEEDS=500` says how many seeds, `IRONLB_SIM_FIRST=1000` where to begin; `SEED=123` with the test `replay`
//! shows all that happens in one.

#![allow(clippy::unwrap_used, reason = "a wrong variable is to stop the test")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use ironlb_sim::cluster::Counts;
use ironlb_sim::run;

#[test]
fn five_hundred_seeds() {
    let first = number("IRONLB_SIM_FIRST").unwrap_or(0);
    let count = number("IRONLB_SIM_SEEDS").unwrap_or(DEFAULT_SEEDS);
    let next = AtomicU64::new(first);
    let started = Instant::now();
    let failed: Vec<String> = thread::scope(|scope| {
        let worker = || {
            let mut failed = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    return failed;
                }
                if let Err(failure) = run(seed, false) {
                    failed.push((seed, failure.to_string()));
                }
            }
        };
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(worker)).collect();
        let mut failed: Vec<_> = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect();
        failed.sort();
        failed.into_iter().map(|(_, text)| text).collect()
    });
    println!("{count} seeds from {first} in {:?}", started.elapsed());
    for text in &failed {
        let last = text.lines().rev().nth(1).unwrap_or_default();
        println!("{last}");
    }
    if let Some(text) = failed.first() {
        panic!("{text}\n{} of {count} seeds failed", failed.len());
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..5 {
        let (one, other) = (run(seed, false), run(seed, false));
        match (one, other) {
            (Ok(one), Ok(other)) => assert_eq!(one, other),
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
            _ => panic!("seed {seed} failed once and passed once"),
        }
    }
}

#[test]
fn few_seeds_see_all_that_can_go_wrong() {
    let runs: Vec<_> = (0..100)
        .filter_map(|seed| run(seed, false).ok())
        .map(|run| run.counts)
        .collect();
    let total = |count: fn(&Counts) -> u64| runs.iter().map(count).sum::<u64>();
    for (what, count) in [
        ("status writes", total(|counts| counts.writes)),
        ("conflicts", total(|counts| counts.conflicts)),
        ("failed writes", total(|counts| counts.failures)),
        ("events", total(|counts| counts.events)),
        ("changes of ownership", total(|counts| counts.layer2)),
        ("gratuitous frames", total(|counts| counts.gratuitous)),
        ("answers", total(|counts| counts.answers)),
        ("wake-ups", total(|counts| counts.wakes)),
        ("lists", total(|counts| counts.lists)),
        (
            "addresses answered for at rest",
            total(|counts| counts.answered),
        ),
        (
            "addresses of pools in error answered for at rest",
            total(|counts| counts.in_error),
        ),
        ("addresses shared at rest", total(|counts| counts.shared)),
        (
            "controllers that led while another believed it did",
            total(|counts| counts.overlaps),
        ),
        (
            "writes withheld for want of the lead",
            total(|counts| counts.withheld),
        ),
        ("routes told", total(|counts| counts.routes)),
        ("ends of RIB", total(|counts| counts.ends_of_rib)),
        ("keepalives", total(|counts| counts.keepalives)),
        (
            "BGP sessions up or down",
            total(|counts| counts.sessions.min(counts.router_sessions)),
        ),
        (
            "sessions that speakers ended",
            total(|counts| counts.endings),
        ),
        ("BFD sessions up or down", total(|counts| counts.bfd)),
        (
            "sessions that waited for BFD",
            total(|counts| counts.strict),
        ),
        ("speakers that took leave", total(|counts| counts.leaves)),
        ("routes at rest", total(|counts| counts.routed)),
    ] {
        println!("{what}: {count}");
        assert!(count > 1, "{what}: {count}");
    }
}

#[test]
fn replay() {
    let Some(seed) = number("SEED") else {
        println!("set SEED to the number of a run");
        return;
    };
    match run(seed, true) {
        Ok(summary) => println!("{summary:#?}"),
        Err(failure) => panic!(
            "{}",
            failure.to_string().lines().rev().nth(1).unwrap_or_default()
        ),
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|text| text.parse().unwrap())
}

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Without optimisation a seed takes ten times as long.
const DEFAULT_SEEDS: u64 = if cfg!(debug_assertions) { 40 } else { 500 };
