//! What all processes have in common: a life, watches, and a time at which they want to be woken.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::{Config, Time};

use super::{Cluster, Happening};
use crate::api::Kind;
use crate::watch::Informer;

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

impl Cluster {
    pub(super) fn common(&mut self, process: Process) -> Option<&mut Common> {
        match process {
            Process::Controller(index) => Some(&mut self.controllers.get_mut(index)?.common),
            Process::Speaker(index) => Some(&mut self.speakers.get_mut(index)?.common),
        }
    }

    /// The configuration as a process reads it.
    pub(super) fn config_seen(&mut self, process: Process) -> Arc<Config> {
        let seen = self.common(process).map(|common| &common.informer.seen);
        seen.and_then(|seen| seen.config.clone())
            .unwrap_or_default()
    }

    /// Whether a speaker still has the life that something belongs to.
    pub(super) fn lives(&self, machine: usize, life: u64) -> bool {
        let host = self.speakers.get(machine);
        host.is_some_and(|host| host.common.alive && host.common.life == life)
    }

    pub(super) fn processes(&self) -> Vec<Process> {
        let controllers = (0..self.controllers.len()).map(Process::Controller);
        controllers
            .chain((0..self.speakers.len()).map(Process::Speaker))
            .collect()
    }

    pub(super) fn start(&mut self, process: Process) {
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

    pub(super) fn wake(&mut self, process: Process, life: u64, at: Time) {
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
    pub(super) fn set_wake(&mut self, process: Process, deadline: Option<Time>, was_woken: bool) {
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

impl Common {
    pub(super) fn new(kinds: &[Kind]) -> Self {
        Self {
            life: 0,
            alive: false,
            informer: Informer::new(kinds),
            wake: None,
            wakes: 0,
        }
    }

    /// Begins a new life that knows nothing.
    pub(super) fn begin(&mut self) {
        self.end();
        self.alive = true;
        self.informer.restart();
    }

    pub(super) fn end(&mut self) {
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

/// How often it is looked whether a machine has power again.
const POWER: Duration = Duration::from_millis(500);
