//! The whole: an API server, controllers, speakers on machines, clients on segments, and one virtual clock.
//!
//! Nothing here knows what is right; it only lets things happen, in an order that the seed decides. Every event of
//! every part goes through one [`Schedule`]. The checks that can be made at once are made where the event is handled;
//! those that need rest are in [`crate::examine`].

mod api_side;
mod bgp;
mod controllers;
mod counts;
mod faults;
mod happening;
mod leadership;
mod process;
mod speakers;
mod users;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ironlb_model::{ServiceKey, Time};

use crate::api::Api;
use crate::client::Client;
use crate::history::History;
use crate::lan::Machine;
use crate::profile::Profile;
use crate::rng::Rng;
use crate::schedule::Schedule;

use controllers::Sent;
use happening::Happening;

pub use controllers::ControllerHost;
pub use counts::Counts;
pub use process::{Common, Process};
pub use speakers::SpeakerHost;
pub use wire::examiner;

/// A simulated cluster.
#[derive(Debug)]
pub struct Cluster {
    /// What kind of cluster it is.
    pub profile: Profile,
    /// What happened.
    pub history: History,
    /// The API server's store.
    pub api: Api,
    /// The machines; each runs a speaker.
    pub machines: Vec<Machine>,
    /// The speakers, by machine.
    pub speakers: Vec<SpeakerHost>,
    /// The controllers: two, of which one leads; or without an election one, and at times a second.
    pub controllers: Vec<ControllerHost>,
    /// The clients, with the segment that they are on.
    pub clients: Vec<(usize, Client)>,
    /// The claims that the examiner heard: the segment, and the claim.
    pub heard: Vec<(usize, crate::frame::Claim)>,
    /// What is to be counted.
    pub counts: Counts,
    /// Its BGP.
    pub bgp: bgp::Bgp,
    now: Time,
    rng: Rng,
    schedule: Schedule<Happening>,
    api_up: bool,
    /// Controllers whose requests for the Lease, and no others, are slow or get lost.
    lease_held_up: BTreeSet<usize>,
    /// Controllers that are stopped for a while, and what they will hear of then.
    frozen: BTreeMap<usize, Vec<Happening>>,
    /// The last write that was accepted for each Service.
    accepted: BTreeMap<ServiceKey, Rc<Sent>>,
    /// How often a controller took office.
    terms: u64,
    /// Processes that cannot reach the API server.
    cut_off: BTreeSet<Process>,
    answers_lost: bool,
    writes_refused: bool,
    frames_lost: bool,
    /// Whether some requests take their time.
    slow: bool,
    violation: Option<Violation>,
}
/// Something that must never be.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which of the rules it breaks.
    pub invariant: &'static str,
    /// When.
    pub at: Time,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.invariant, self.at, self.detail)
    }
}

impl Cluster {
    /// The cluster of a seed, before anything has started.
    pub fn new(seed: u64, history: History) -> Self {
        let mut rng = Rng::new(seed);
        let profile = Profile::draw(&mut rng);
        let mut cluster = Self {
            api: Api::new(profile.clears_status),
            profile,
            history,
            machines: Vec::new(),
            speakers: Vec::new(),
            controllers: Vec::new(),
            clients: Vec::new(),
            heard: Vec::new(),
            counts: Counts::default(),
            bgp: bgp::Bgp::draw(seed),
            now: Time::from_secs(1),
            rng,
            schedule: Schedule::default(),
            api_up: true,
            lease_held_up: BTreeSet::new(),
            frozen: BTreeMap::new(),
            accepted: BTreeMap::new(),
            terms: 0,
            cut_off: BTreeSet::new(),
            answers_lost: false,
            writes_refused: false,
            frames_lost: false,
            slow: false,
            violation: None,
        };
        cluster.history.note(
            cluster.now,
            format_args!("seed {seed}: {:?}", cluster.profile),
        );
        cluster
            .history
            .note(cluster.now, format_args!("{:?}", cluster.bgp.profile));
        cluster.set_up();
        cluster
    }

    /// The virtual time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Lets time pass until `until`, unless something goes wrong before.
    pub fn run_until(&mut self, until: Time) -> Result<(), Violation> {
        while self.violation.is_none()
            && let Some((at, happening)) = self.schedule.take(until)
        {
            self.now = self.now.max(at);
            self.happen(happening);
        }
        self.now = self.now.max(until);
        self.violation.clone().map_or(Ok(()), Err)
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) -> Result<(), Violation> {
        self.run_until(self.now + time)
    }

    /// Records that something is not as it must be; the first such finding ends the run.
    pub fn violated(&mut self, invariant: &'static str, detail: String) {
        self.note(format_args!("VIOLATED {invariant}: {detail}"));
        let at = self.now;
        self.violation.get_or_insert(Violation {
            invariant,
            at,
            detail,
        });
    }

    /// The first finding, if any.
    pub const fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    fn note(&mut self, what: fmt::Arguments<'_>) {
        self.history.note(self.now, what);
    }

    fn after(&mut self, delay: Duration, happening: Happening) {
        self.schedule.add(self.now + delay, happening);
    }
}
