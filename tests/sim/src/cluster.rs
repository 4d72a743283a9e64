//! The whole: an API server, controllers, speakers on machines, clients on segments, and one virtual clock.
//!
//! Nothing here knows what is right; it only lets things happen, in an order that the seed decides. Every event of
//! every part goes through one [`Schedule`]. The checks that can be made at once are made where the event is handled;
//! those that need rest are in [`crate::examine`].

mod api_side;
mod bgp;
mod controllers;
mod faults;
mod leadership;
mod speakers;
mod users;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use ironlb_controller_core::io::WriteOutcome;
use ironlb_controller_core::lease;
use ironlb_model::{Link, ServiceKey, Time};

use crate::api::{Api, Kind};
use crate::client::Client;
use crate::history::History;
use crate::lan::{Machine, Port};
use crate::profile::Profile;
use crate::rng::Rng;
use crate::schedule::Schedule;
use crate::watch::Informer;

use controllers::Sent;

pub use controllers::ControllerHost;
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

/// A process of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Process {
    /// A controller.
    Controller(usize),
    /// The speaker of a machine.
    Speaker(usize),
}

/// What all processes have: a life, watches, and a time at which they want to be woken.
#[derive(Debug)]
pub struct Common {
    /// Counts the starts: what belongs to an earlier life is void.
    pub life: u64,
    /// Whether it runs.
    pub alive: bool,
    /// Its watches, and what they have told it.
    pub informer: Informer,
    wake: Option<Time>,
    wakes: u64,
}

/// Things that are counted, to see that a run was worth it and that rest is rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Status writes that were asked for.
    pub writes: u64,
    /// Status writes that conflicted.
    pub conflicts: u64,
    /// Status writes that were refused, or whose answer was lost.
    pub failures: u64,
    /// Events about Services.
    pub events: u64,
    /// Changes of what a speaker says it announces.
    pub layer2: u64,
    /// Gratuitous frames sent.
    pub gratuitous: u64,
    /// Answers sent.
    pub answers: u64,
    /// Times that a process was woken at its deadline.
    pub wakes: u64,
    /// Starts of processes.
    pub starts: u64,
    /// Lists read.
    pub lists: u64,
    /// Addresses that were examined at rest and answered for.
    pub answered: u64,
    /// Addresses that two Services shared at rest.
    pub shared: u64,
    /// Times that a controller began to lead when another still believed that it did.
    pub overlaps: u64,
    /// Writes that were not begun because their controller had the lead no more.
    pub withheld: u64,
    /// Routes told, and ends of routes.
    pub routes: u64,
    /// End-of-RIBs told.
    pub ends_of_rib: u64,
    /// KEEPALIVEs of speakers.
    pub keepalives: u64,
    /// BGP sessions that came up or went down, by speakers.
    pub sessions: u64,
    /// The same, by routers.
    pub router_sessions: u64,
    /// NOTIFICATIONs of speakers.
    pub endings: u64,
    /// BFD sessions that came up or went down, by speakers.
    pub bfd: u64,
    /// Speakers that took their leave.
    pub leaves: u64,
    /// Routes that routers had at rest.
    pub routed: u64,
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

/// What can be scheduled.
#[derive(Debug)]
enum Happening {
    Start {
        process: Process,
    },
    Wake {
        process: Process,
        life: u64,
        at: Time,
    },
    Connect {
        process: Process,
        kind: Kind,
        connection: u64,
    },
    ListArrives {
        process: Process,
        kind: Kind,
        connection: u64,
        revision: u64,
    },
    ChangeArrives {
        process: Process,
        kind: Kind,
        connection: u64,
        revision: u64,
    },
    WriteArrives {
        controller: usize,
        life: u64,
        write: Rc<Sent>,
        /// Whether the controller has been told already that it failed.
        told: bool,
    },
    Written {
        controller: usize,
        life: u64,
        service: ServiceKey,
        outcome: WriteOutcome,
    },
    LinkNews {
        machine: usize,
        life: u64,
        index: u32,
        link: Option<Box<Link>>,
    },
    Frame {
        to: Port,
        frame: Rc<[u8]>,
    },
    TakenOver {
        machine: usize,
        life: u64,
        since: Time,
        ip: IpAddr,
        links: BTreeSet<u32>,
    },
    ClientWakes {
        client: usize,
    },
    ClientSends {
        client: usize,
    },
    CandidateWakes {
        controller: usize,
        process: u64,
        at: Time,
    },
    LeaseArrives {
        controller: usize,
        process: u64,
        request: u64,
        write: Option<lease::LeaseWrite>,
    },
    LeaseAnswered {
        controller: usize,
        process: u64,
        request: u64,
        answer: Box<lease::Input>,
    },
    Retires {
        controller: usize,
        process: u64,
        until: Time,
    },
    Ends {
        controller: usize,
        process: u64,
    },
    Crash(Process),
    UserActs,
    FaultStrikes,
    FaultEnds(faults::Fault),
    Bgp(bgp::Event),
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

    fn common(&mut self, process: Process) -> Option<&mut Common> {
        match process {
            Process::Controller(index) => Some(&mut self.controllers.get_mut(index)?.common),
            Process::Speaker(index) => Some(&mut self.speakers.get_mut(index)?.common),
        }
    }

    /// Whether a speaker still has the life that something belongs to.
    fn lives(&self, machine: usize, life: u64) -> bool {
        let host = self.speakers.get(machine);
        host.is_some_and(|host| host.common.alive && host.common.life == life)
    }

    fn processes(&self) -> Vec<Process> {
        let controllers = (0..self.controllers.len()).map(Process::Controller);
        controllers
            .chain((0..self.speakers.len()).map(Process::Speaker))
            .collect()
    }

    fn happen(&mut self, happening: Happening) {
        let frozen = happening
            .controller()
            .and_then(|index| self.frozen.get_mut(&index));
        if let Some(held) = frozen {
            return held.push(happening);
        }
        match happening {
            Happening::Start { process } => self.start(process),
            Happening::Wake { process, life, at } => self.wake(process, life, at),
            Happening::Connect {
                process,
                kind,
                connection,
            } => self.connect(process, kind, connection),
            Happening::ListArrives {
                process,
                kind,
                connection,
                revision,
            } => {
                self.list_arrives(process, kind, connection, revision);
            }
            Happening::ChangeArrives {
                process,
                kind,
                connection,
                revision,
            } => {
                self.change_arrives(process, kind, connection, revision);
            }
            Happening::WriteArrives {
                controller,
                life,
                write,
                told,
            } => {
                self.write_arrives(controller, life, &write, told);
            }
            Happening::Written {
                controller,
                life,
                service,
                outcome,
            } => {
                self.written(controller, life, service, outcome);
            }
            Happening::LinkNews {
                machine,
                life,
                index,
                link,
            } => {
                self.link_news(machine, life, index, link.as_deref());
            }
            Happening::Frame { to, frame } => self.frame_arrives(to, &frame),
            Happening::TakenOver {
                machine,
                life,
                since,
                ip,
                links,
            } => self.check_takeover(machine, life, since, ip, &links),
            Happening::ClientWakes { client } => self.client_wakes(client),
            Happening::ClientSends { client } => self.client_sends(client),
            Happening::CandidateWakes {
                controller,
                process,
                at,
            } => self.candidate_wakes(controller, process, at),
            Happening::LeaseArrives {
                controller,
                process,
                request,
                write,
            } => {
                self.lease_arrives(controller, process, request, write.as_ref());
            }
            Happening::LeaseAnswered {
                controller,
                process,
                request,
                answer,
            } => {
                self.lease_answered(controller, process, request, *answer);
            }
            Happening::Retires {
                controller,
                process,
                until,
            } => self.retires(controller, process, until),
            Happening::Ends {
                controller,
                process,
            } => self.ends(controller, process),
            Happening::Crash(process) => self.crash(process),
            Happening::UserActs => self.user_acts(),
            Happening::FaultStrikes => self.fault_strikes(),
            Happening::FaultEnds(fault) => self.end_fault(fault),
            Happening::Bgp(event) => self.bgp_happens(event),
        }
    }

    fn start(&mut self, process: Process) {
        if self.is_off(process) {
            return self.after(POWER, Happening::Start { process });
        }
        self.counts.starts += 1;
        self.note(format_args!("{process} starts"));
        match process {
            Process::Controller(index) => self.start_controller(index),
            Process::Speaker(index) => {
                self.start_speaker(index);
                self.connect_all(process);
            }
        }
    }

    fn wake(&mut self, process: Process, life: u64, at: Time) {
        let Some(common) = self.common(process) else {
            return;
        };
        if !common.alive || common.life != life || common.wake != Some(at) {
            return;
        }
        common.wake = None;
        common.wakes += 1;
        self.counts.wakes += 1;
        match process {
            Process::Controller(index) => self.tick_controller(index),
            Process::Speaker(index) => self.tick_speaker(index),
        }
    }

    /// Schedules the next wake-up of a process. One that has just been woken must not want it again at once.
    fn set_wake(&mut self, process: Process, deadline: Option<Time>, was_woken: bool) {
        let now = self.now;
        if was_woken && deadline.is_some_and(|deadline| deadline <= now) {
            let detail = format!("{process} was woken at {now} and wants it again at {deadline:?}");
            self.violated("a deadline that was met is over", detail);
            return;
        }
        let late = match self.rng.below(10) {
            0 => self.rng.millis(1, 80),
            _ => Duration::ZERO,
        };
        let Some(common) = self.common(process) else {
            return;
        };
        let wake = deadline.map(|deadline| deadline.max(now));
        if common.wake == wake {
            return;
        }
        common.wake = wake;
        let life = common.life;
        if let Some(at) = wake {
            self.schedule
                .add(at + late, Happening::Wake { process, life, at });
        }
    }
}

/// How often it is looked whether a machine has power again.
const POWER: Duration = Duration::from_millis(500);

impl Common {
    fn new(kinds: &[Kind]) -> Self {
        Self {
            life: 0,
            alive: false,
            informer: Informer::new(kinds),
            wake: None,
            wakes: 0,
        }
    }

    /// Begins a new life that knows nothing.
    fn begin(&mut self) {
        self.end();
        self.alive = true;
        self.informer.restart();
    }

    fn end(&mut self) {
        self.life += 1;
        self.alive = false;
        self.wake = None;
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Controller(index) => write!(f, "controller {index}"),
            Self::Speaker(index) => write!(f, "speaker {index}"),
        }
    }
}
