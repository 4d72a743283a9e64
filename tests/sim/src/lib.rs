//! A cluster in virtual time, driven by a seed.
//!
//! The simulator is the cores' second shell: it feeds the very [`Controller`](ironlb_controller_core::Controller) and
//! [`Speaker`](ironlb_speaker_core::Speaker) that ship, and the speaker's [BFD](ironlb_bfd::Sessions), from a modelled API
//! server, Ethernet segments and routers, and checks at every step and at rest that what must never happen has not. One seed decides everything; the same seed gives the
//! same run, to the byte.
//!
//! It has no socket, clock or thread, and none of the shells' code. It does not say what an allocator or an election
//! should choose, only what they may: the rules in [`allocation`], [`announcement`] and [`bgp::rules`] are written a second
//! time, slowly and plainly, and call nothing of the cores. So are the routers of [`bgp`].
//!
//! Start with [`run`]; then [`cluster`], in which things happen, and [`examine`], which looks at them at rest.
#![forbid(unsafe_code)]

pub mod allocation;
pub mod announcement;
pub mod api;
pub mod bgp;
pub mod client;
pub mod cluster;
pub mod draw;
pub mod examine;
pub mod frame;
pub mod history;
pub mod lan;
pub mod profile;
pub mod rng;
pub mod schedule;
pub mod watch;
pub mod written;

use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use cluster::{Cluster, Counts, Violation};
use history::History;

/// How a run that kept all the rules went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The hash of everything that happened.
    pub hash: u64,
    /// How many things happened.
    pub lines: u64,
    /// What was counted.
    pub counts: Counts,
}

/// A run that broke a rule.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// What was found; `None` when a core panicked.
    pub violation: Option<Violation>,
    /// The last things that happened.
    pub history: Vec<String>,
}

/// Runs a seed. `print` shows everything as it happens.
pub fn run(seed: u64, print: bool) -> Result<Summary, Box<Failure>> {
    let mut cluster = Cluster::new(seed, History::new(KEPT_LINES, print));
    let outcome = catch_unwind(AssertUnwindSafe(|| play(&mut cluster)));
    let violation = match outcome {
        Ok(Ok(())) => {
            return Ok(Summary {
                hash: cluster.history.hash(),
                lines: cluster.history.count(),
                counts: cluster.counts,
            });
        }
        Ok(Err(violation)) => Some(violation),
        Err(_) => None,
    };
    Err(Box::new(Failure {
        seed,
        violation,
        history: cluster.history.lines().map(str::to_owned).collect(),
    }))
}

fn play(cluster: &mut Cluster) -> Result<(), Violation> {
    cluster.run_for(START)?;
    for _ in 0..cluster.profile.rounds {
        let length = cluster.schedule_round();
        cluster.run_for(length)?;
        cluster.heal();
        cluster.repair();
        cluster.run_for(if cluster.bgp.is_on() {
            SETTLE_BGP
        } else {
            SETTLE
        })?;
        cluster.use_every_address();
        cluster.run_for(PROBES)?;
        examine::examine(cluster)?;
        examine::rest(cluster, REST)?;
    }
    Ok(())
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.history {
            writeln!(f, "{line}")?;
        }
        let seed = self.seed;
        match &self.violation {
            Some(violation) => writeln!(f, "\nseed {seed}: {violation}")?,
            None => writeln!(f, "\nseed {seed}: a core panicked")?,
        }
        f.write_str("replay with: SEED=")?;
        write!(
            f,
            "{seed} cargo test -p ironlb-sim --release replay -- --nocapture"
        )?;
        f.write_char('\n')
    }
}

/// How long after a start nothing is asked of the cluster.
const START: Duration = Duration::from_secs(5);
/// How long after the last change and the last fault everything must be in order.
const SETTLE: Duration = Duration::from_secs(120);
/// The same with BGP: an OPEN is waited for for four minutes (RFC 4271 §8.2.2), and a peer that has refused is left alone for two.
const SETTLE_BGP: Duration = Duration::from_secs(260);
/// How long a host that uses an address at which nobody answers takes to notice.
const PROBES: Duration = Duration::from_secs(10);
/// How long it must then stay so.
const REST: Duration = Duration::from_secs(60);
/// How many lines of its history a failing run shows.
const KEPT_LINES: usize = 400;
