//! What kind of cluster a seed is about: how large, how slow, how unlucky.

use std::time::Duration;

use ironlb_model::Family;

use crate::rng::Rng;

/// Drawn once, before anything happens.
#[derive(Clone, Debug)]
pub struct Profile {
    /// How many machines run a speaker.
    pub machines: usize,
    /// How many Ethernet segments there are; every machine is on the first, some on the second.
    pub segments: usize,
    /// The families of cluster IPs, the primary one first.
    pub families: Vec<Family>,
    /// `--lb-class` of controller and speakers.
    pub class: Option<String>,
    /// `--ignore-exclude-lb` of the speakers.
    pub ignore_exclude_label: bool,
    /// How often: changes and faults, then rest, then the examination.
    pub rounds: u64,
    /// Changes by users in a round.
    pub changes: u64,
    /// Faults in a round.
    pub faults: u64,
    /// The longest time between two changes.
    pub pause: Duration,
    /// The longest usual delay of a watch.
    pub lag: Duration,
    /// Whether a controller starts only when no write of a former one can still arrive, and reads nothing old when
    /// it does. Without, a double allocation cannot be avoided by anybody and must be mended instead.
    pub fenced: bool,
    /// Frames lost, per cent.
    pub loss: u64,
    /// Whether the API server clears the status of a Service that ceases to be a LoadBalancer.
    pub clears_status: bool,
}

impl Profile {
    /// The profile of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        Self {
            machines: 3 + usize::try_from(rng.below(3)).unwrap_or(0),
            segments: 1 + usize::from(rng.chance(40)),
            families: draw_families(rng),
            class: rng.chance(25).then(|| "ironlb.example/lan".to_owned()),
            ignore_exclude_label: rng.chance(10),
            rounds: 3,
            changes: 25 + rng.below(60),
            faults: rng.below(9),
            pause: rng.millis(200, 4_000),
            lag: rng.millis(5, 1_500),
            fenced: rng.chance(80),
            loss: if rng.chance(20) { 1 + rng.below(15) } else { 0 },
            clears_status: rng.chance(50),
        }
    }
}

fn draw_families(rng: &mut Rng) -> Vec<Family> {
    match rng.below(6) {
        0 => vec![Family::V4],
        1 => vec![Family::V6],
        2 => vec![Family::V6, Family::V4],
        _ => vec![Family::V4, Family::V6],
    }
}
