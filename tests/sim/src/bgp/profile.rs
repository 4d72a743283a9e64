//! What kind of BGP a seed is about.

use std::collections::BTreeSet;
use std::time::Duration;

use ironlb_model::Family;

use super::bfd::Timing;
use super::router::Traits;
use crate::rng::Rng;

/// Drawn once, for those clusters that have BGP.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The AS of the nodes.
    pub asn: u32,
    /// The routers.
    pub routers: Vec<Traits>,
    /// Whether both sides do BFD.
    pub bfd: Option<Timing>,
    /// Faults of routers and paths in a round.
    pub faults: u64,
    /// Changes of peers, advertisements and profiles in a round.
    pub changes: u64,
    /// What its users like to write.
    pub habits: Habits,
}

/// How often, per cent, users write what not everybody writes.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Peers with graceful restart.
    pub graceful_restart: u64,
    /// Peers of both families.
    pub dual_stack: u64,
    /// Peers that connect to us, alone or as well.
    pub listening: u64,
    /// Peers with a password.
    pub passwords: u64,
    /// Advertisements with many communities.
    pub verbose: u64,
}

impl Profile {
    /// That of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let asn = if rng.chance(80) {
            64_512
        } else {
            4_200_000_000
        };
        let mut often = |usual, often| if rng.chance(25) { often } else { usual };
        let habits = Habits {
            graceful_restart: often(40, 100),
            dual_stack: often(40, 90),
            listening: often(15, 70),
            passwords: often(15, 80),
            verbose: often(0, 60),
        };
        let count = 1 + rng.below(2) + u64::from(rng.chance(15));
        Self {
            asn,
            routers: (0..count).map(|_| draw_router(rng, asn)).collect(),
            bfd: rng.chance(35).then(|| draw_timing(rng)),
            faults: rng.below(12),
            changes: 4 + rng.below(20),
            habits,
        }
    }
}

fn draw_router(rng: &mut Rng, asn: u32) -> Traits {
    let families = match rng.below(8) {
        0 => BTreeSet::from([Family::V4]),
        1 => BTreeSet::from([Family::V6]),
        _ => BTreeSet::from(Family::ALL),
    };
    let four_octet_as = rng.chance(85);
    let external = if four_octet_as && rng.chance(20) {
        4_200_000_001
    } else {
        64_513
    };
    // Who does not know large AS numbers cannot be in one.
    let internal = rng.chance(35) && (four_octet_as || asn < 65_536);
    Traits {
        asn: if internal { asn } else { external },
        hold_time: *rng.pick(&[9, 9, 15, 30, 90]).unwrap_or(&9),
        families,
        restart_time: rng.chance(70).then_some(30),
        keeps_over_notification: rng.chance(50),
        extended_message: rng.chance(50),
        four_octet_as,
        enhanced_refresh: rng.chance(50),
        bfd_strict: rng.chance(60),
        prefixes: u32::try_from(rng.below(4)).unwrap_or(0),
        latency: rng.millis(0, 3) * if rng.chance(20) { 10 } else { 1 },
        window: *rng.pick(&[1_500, 20_000, 60_000]).unwrap_or(&20_000),
    }
}

/// Slow enough that most of what happens in a run is not BFD.
pub fn draw_timing(rng: &mut Rng) -> Timing {
    let interval =
        |rng: &mut Rng| Duration::from_millis(*rng.pick(&[300, 500, 1_000]).unwrap_or(&500));
    Timing {
        multiplier: u8::try_from(2 + rng.below(3)).unwrap_or(3),
        transmit: interval(rng),
        receive: interval(rng),
    }
}
