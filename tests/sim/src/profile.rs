//! What kind of cluster a seed is about: how large, how slow, how unlucky.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_model::Family;

use crate::announcement::Flags;
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
    /// What the processes are started with.
    pub flags: Flags,
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
    /// Whether the controllers elect one that writes, by a Lease, and read nothing old. Without, a double allocation cannot
    /// be avoided by anybody and must be mended instead.
    pub elected: bool,
    /// Frames lost, per cent.
    pub loss: u64,
    /// Whether the API server clears the status of a Service that ceases to be a LoadBalancer.
    pub clears_status: bool,
    /// Whether its users write pools and advertisements that cannot be read. Not where two controllers write: they do not read the
    /// same then, and neither would ever give in.
    pub breaks: bool,
    /// What its users like to write.
    pub habits: Habits,
}

/// How often, per cent, users write what not everybody writes.
#[derive(Clone, Debug)]
pub struct Habits {
    /// How many Services there may be.
    pub services: u64,
    /// Services with a sharing key.
    pub sharing: u64,
    /// Services that ask for addresses.
    pub requests: u64,
    /// Pools that hold on to what they have given (`onRemoval: Hold`).
    pub hold: u64,
    /// Pools that are not for everybody, or have a priority.
    pub reserved: u64,
    /// Advertisements with MetalLB's election.
    pub compat: u64,
}

impl Habits {
    fn draw(rng: &mut Rng) -> Self {
        let mut often = |usual, often| if rng.chance(20) { often } else { usual };
        Self {
            services: often(12, 30),
            sharing: often(45, 85),
            requests: often(12, 45),
            hold: often(10, 50),
            reserved: often(20, 60),
            compat: often(20, 100),
        }
    }
}

impl Profile {
    /// The profile of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let elected = rng.chance(80);
        Self {
            machines: 3 + usize::try_from(rng.below(3)).unwrap_or(0),
            segments: 1 + usize::from(rng.chance(45)) + usize::from(rng.chance(20)),
            families: draw_families(rng),
            flags: draw_flags(rng),
            rounds: 3,
            changes: 25 + rng.below(60),
            faults: if rng.chance(25) {
                8 + rng.below(20)
            } else {
                rng.below(9)
            },
            pause: rng.millis(200, 4_000),
            lag: rng.millis(5, 1_500),
            elected,
            loss: if rng.chance(20) { 1 + rng.below(15) } else { 0 },
            clears_status: rng.chance(50),
            breaks: elected && rng.chance(50),
            habits: Habits::draw(rng),
        }
    }
}

fn draw_flags(rng: &mut Rng) -> Flags {
    Flags {
        class: rng.chance(25).then(|| "ironlb.example/lan".to_owned()),
        ignore_exclude_label: rng.chance(10),
        drain_taints: match rng.chance(50) {
            true => BTreeSet::from([DRAIN_TAINT.to_owned()]),
            false => BTreeSet::new(),
        },
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

/// The key of a taint by which a node is drained, where the speakers are told so.
pub const DRAIN_TAINT: &str = "node.example/drain";
