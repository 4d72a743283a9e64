//! Which controller writes: the election by a Lease, driven as the controller's shell drives it.
//!
//! Every process has a clock of its own, which runs a little fast or slow. A process may be stopped for a while and then
//! hears of everything at once, in any order, so that it may believe that it leads when another does.

use std::time::Duration;

use ironlb_controller_core::io::WriteOutcome;
use ironlb_controller_core::lease::{Election, Input, LeaseWrite, Output, Settings};
use ironlb_model::Time;

use super::{Cluster, Happening, Process};

/// A controller's process as one that may lead.
#[derive(Debug)]
pub(super) struct Candidate {
    election: Election,
    clock: Clock,
    /// Counts requests for the Lease: an answer to any but the last is not listened to.
    request: u64,
    /// When it last asked for the Lease to be written, by its own clock.
    asked: Time,
    wake: Option<Time>,
}

/// A clock that does not keep time quite as the others do.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: Time,
    /// How far it gets in a second, in microseconds.
    rate: u64,
}

impl Cluster {
    /// Starts a controller's process. Where there is an election it stands in it; otherwise it takes office at once.
    pub(super) fn start_controller(&mut self, index: usize) {
        let (now, elected) = (self.now, self.profile.elected);
        let rate = SECOND - CLOCK_ERROR + self.rng.below(2 * CLOCK_ERROR);
        let (named, seed) = (self.rng.chance(60), self.rng.next());
        let Some(host) = self.controllers.get_mut(index) else {
            return;
        };
        host.process += 1;
        host.running = true;
        if !elected {
            return self.take_office(index);
        }
        // A container that is restarted is still the same pod, and has its name.
        let identity = match named {
            true => format!("controller-{index}"),
            false => format!("controller-{index}-{}", host.process),
        };
        host.candidate = Some(Candidate {
            election: Election::new(Settings::new(identity, seed)),
            clock: Clock { started: now, rate },
            request: 0,
            asked: Time::ZERO,
            wake: None,
        });
        self.drive_election(index, Input::Tick);
    }

    /// Ends a controller's process. What it sent is on its way all the same.
    pub(super) fn end_controller(&mut self, index: usize) {
        self.frozen.remove(&index);
        if let Some(host) = self.controllers.get_mut(index) {
            host.common.end();
            host.process += 1;
            host.running = false;
            host.candidate = None;
        }
    }

    /// The controller that is in office, or believes so.
    pub(super) fn leader(&self) -> Option<usize> {
        self.controllers.iter().position(|host| host.common.alive)
    }

    /// Whether a controller may begin a write: while its own clock says that it leads.
    pub(super) fn may_write(&self, index: usize) -> bool {
        let candidate = self.controllers.get(index).map(|host| &host.candidate);
        let Some(Some(candidate)) = candidate else {
            return true;
        };
        let now = candidate.clock.read(self.now);
        let until = candidate.election.leads_until();
        until.is_some_and(|until| now < until)
    }

    fn drive_election(&mut self, index: usize, input: Input) {
        let now = self.now;
        let woken = matches!(input, Input::Tick);
        let Some(candidate) = self.candidate(index) else {
            return;
        };
        candidate.election.handle(candidate.clock.read(now), input);
        while let Some(output) = self
            .candidate(index)
            .and_then(|candidate| candidate.election.poll())
        {
            match output {
                Output::Read => self.ask_for_lease(index, None),
                Output::Write(write) => self.ask_for_lease(index, Some(write)),
                Output::Lead => self.lead(index),
                Output::StopLeading => {
                    self.note(format_args!("controller {index} leads no more"));
                    self.leave_office(index);
                }
            }
        }
        self.check_lead(index);
        self.wake_candidate(index, woken);
    }

    /// Nobody believes that he leads for longer than the renewal that he asked for last can give him.
    fn check_lead(&mut self, index: usize) {
        let Some(candidate) = self.candidate(index) else {
            return;
        };
        let (until, asked) = (candidate.election.leads_until(), candidate.asked);
        if until.is_some_and(|until| until > asked + LONGEST_LEAD) {
            let detail = format!("controller {index} leads until {until:?}, and asked at {asked}");
            self.violated(
                "the lead counts from before the renewal was asked for",
                detail,
            );
        }
    }

    fn wake_candidate(&mut self, index: usize, was_woken: bool) {
        let now = self.now;
        let late = if self.rng.chance(5) {
            self.rng.millis(1, 80)
        } else {
            Duration::ZERO
        };
        let Some(candidate) = self.candidate(index) else {
            return;
        };
        let deadline = candidate.election.deadline();
        let wake = deadline.map(|deadline| candidate.clock.when(deadline));
        if was_woken && wake.is_some_and(|wake| wake <= now) {
            let detail = format!("candidate {index} was woken at {now} and wants it again");
            return self.violated("a deadline that was met is over", detail);
        }
        let wake = wake.map(|wake| wake.max(now));
        if candidate.wake == wake {
            return;
        }
        candidate.wake = wake;
        let Some(process) = self.controllers.get(index).map(|host| host.process) else {
            return;
        };
        if let Some(at) = wake {
            let happening = Happening::CandidateWakes {
                controller: index,
                process,
                at,
            };
            self.schedule.add(at + late, happening);
        }
    }

    pub(super) fn candidate_wakes(&mut self, index: usize, process: u64, at: Time) {
        let current = self.process_of(index) == process;
        let Some(candidate) = self.candidate(index) else {
            return;
        };
        if current && candidate.wake == Some(at) {
            candidate.wake = None;
            self.drive_election(index, Input::Tick);
        }
    }

    fn lead(&mut self, index: usize) {
        self.note(format_args!("controller {index} leads"));
        let rival = (0..self.controllers.len())
            .filter(|other| *other != index)
            .find(|other| self.candidate(*other).is_some() && self.may_write(*other));
        if let Some(rival) = rival {
            self.violated(
                "one leads at a time",
                format!("controllers {index} and {rival}"),
            );
        }
        if self.leader().is_some() {
            self.counts.overlaps += 1;
        }
        self.take_office(index);
    }

    fn ask_for_lease(&mut self, index: usize, write: Option<LeaseWrite>) {
        let dropped = self.lease_held_up.contains(&index) && self.rng.chance(60);
        let reachable =
            self.api_up && !dropped && !self.cut_off.contains(&Process::Controller(index));
        let (now, process) = (self.now, self.process_of(index));
        let travel = self.travel();
        let Some(candidate) = self.candidate(index) else {
            return;
        };
        candidate.request += 1;
        if write.is_some() {
            candidate.asked = candidate.clock.read(now);
        }
        let request = candidate.request;
        let given_up = failed(write.is_some());
        if reachable {
            let happening = Happening::LeaseArrives {
                controller: index,
                process,
                request,
                write,
            };
            self.after(travel, happening);
        }
        self.answer_lease(index, process, request, given_up, LEASE_TIMEOUT);
    }

    fn answer_lease(
        &mut self,
        controller: usize,
        process: u64,
        request: u64,
        answer: Input,
        delay: Duration,
    ) {
        let happening = Happening::LeaseAnswered {
            controller,
            process,
            request,
            answer: Box::new(answer),
        };
        self.after(delay, happening);
    }

    pub(super) fn lease_arrives(
        &mut self,
        controller: usize,
        process: u64,
        request: u64,
        write: Option<&LeaseWrite>,
    ) {
        let refused = self.writes_refused && self.rng.chance(50);
        let lost = self.answers_lost && self.rng.chance(50);
        let answer = match write {
            _ if !self.api_up || refused => failed(write.is_some()),
            None => Input::Read(self.api.lease().cloned()),
            Some(write) => Input::Written(self.api.write_lease(write)),
        };
        if let Some(write) = write {
            let holder = &write.holder;
            self.note(format_args!("API: the Lease is {holder:?}'s: {answer:?}"));
        }
        if !lost {
            let delay = match self.lease_held_up.contains(&controller) {
                true => self.rng.between(Duration::ZERO, LEASE_TIMEOUT),
                false => self.travel(),
            };
            self.answer_lease(controller, process, request, answer, delay);
        }
    }

    pub(super) fn lease_answered(
        &mut self,
        index: usize,
        process: u64,
        request: u64,
        answer: Input,
    ) {
        let current = self.process_of(index) == process;
        let Some(candidate) = self.candidate(index) else {
            return;
        };
        if current && candidate.request == request {
            // Of its two ends, the answer and the end of patience, only the first counts.
            candidate.request += 1;
            self.drive_election(index, answer);
        }
    }

    /// A controller is asked to end. It waits until no write of its is under way, for a moment, and gives the lead up.
    pub(super) fn retires(&mut self, index: usize, process: u64, until: Time) {
        let now = self.now;
        let Some(host) = self.controllers.get(index) else {
            return;
        };
        if host.process != process {
            return;
        }
        if !host.common.alive || host.machine.is_settled() {
            self.note(format_args!("controller {index} gives its lead up"));
            if let Some(candidate) = self.candidate(index) {
                candidate.request += 1;
            }
            self.drive_election(index, Input::Leave);
            self.after(
                PATIENCE,
                Happening::Ends {
                    controller: index,
                    process,
                },
            );
        } else if now < until {
            let happening = Happening::Retires {
                controller: index,
                process,
                until,
            };
            self.after(Duration::from_millis(20), happening);
        } else {
            self.crash(Process::Controller(index));
        }
    }

    /// Asks a controller to end, as a rolling update does.
    pub(super) fn retire(&mut self, index: usize) {
        self.note(format_args!("controller {index} is asked to end"));
        let happening = Happening::Retires {
            controller: index,
            process: self.process_of(index),
            until: self.now + PATIENCE,
        };
        self.after(Duration::ZERO, happening);
    }

    pub(super) fn ends(&mut self, index: usize, process: u64) {
        if self.process_of(index) == process {
            self.crash(Process::Controller(index));
        }
    }

    /// Stops a controller's process, as when its machine is paused. What it is to hear waits.
    pub(super) fn freeze(&mut self, index: usize) {
        self.frozen.entry(index).or_default();
    }

    /// Lets it go on: it hears at once of all that has happened, of the Lease first or of the rest first.
    pub(super) fn thaw(&mut self, index: usize) {
        let held = self.frozen.remove(&index).unwrap_or_default();
        let (lease, rest): (Vec<_>, Vec<_>) = held
            .into_iter()
            .partition(|happening| happening.is_of_the_lease());
        let lease_first = self.rng.chance(50);
        let (first, second) = if lease_first {
            (lease, rest)
        } else {
            (rest, lease)
        };
        for happening in first.into_iter().chain(second) {
            self.schedule.add(self.now, happening);
        }
    }

    /// How long a request is on its way to the API server's store: not long, as a rule.
    pub(super) fn travel(&mut self) -> Duration {
        match self.rng.below(25) {
            0 if self.slow => self.rng.between(Duration::ZERO, LONGEST_WRITE),
            _ => self.rng.millis(1, 300),
        }
    }

    fn candidate(&mut self, index: usize) -> Option<&mut Candidate> {
        self.controllers.get_mut(index)?.candidate.as_mut()
    }

    fn process_of(&self, index: usize) -> u64 {
        self.controllers.get(index).map_or(0, |host| host.process)
    }
}

impl Happening {
    /// The controller that it happens to, if it does to one.
    pub(super) const fn controller(&self) -> Option<usize> {
        match self {
            Self::Wake { process, .. }
            | Self::Connect { process, .. }
            | Self::ListArrives { process, .. }
            | Self::ChangeArrives { process, .. } => match process {
                Process::Controller(index) => Some(*index),
                Process::Speaker(_) => None,
            },
            Self::Written { controller, .. }
            | Self::CandidateWakes { controller, .. }
            | Self::LeaseAnswered { controller, .. }
            | Self::Retires { controller, .. } => Some(*controller),
            _ => None,
        }
    }

    const fn is_of_the_lease(&self) -> bool {
        matches!(
            self,
            Self::CandidateWakes { .. } | Self::LeaseAnswered { .. }
        )
    }
}

impl Clock {
    fn read(self, now: Time) -> Time {
        let elapsed = now.since(self.started).as_micros() * u128::from(self.rate);
        let micros = u64::try_from(elapsed / u128::from(SECOND)).unwrap_or(u64::MAX);
        Time::ZERO + Duration::from_micros(micros)
    }

    /// When it will show `time`, or a little more.
    fn when(self, time: Time) -> Time {
        let micros = time.since(Time::ZERO).as_micros() * u128::from(SECOND);
        let elapsed = u64::try_from(micros / u128::from(self.rate)).unwrap_or(u64::MAX);
        self.started + Duration::from_micros(elapsed.saturating_add(3))
    }
}

const fn failed(write: bool) -> Input {
    match write {
        true => Input::Written(WriteOutcome::Failed),
        false => Input::ReadFailed,
    }
}

/// In microseconds.
const SECOND: u64 = 1_000_000;
/// A fiftieth: no clock of a computer is as bad.
const CLOCK_ERROR: u64 = SECOND / 50;
/// For how long a leader may go on after the renewal that it asked for last.
const LONGEST_LEAD: Duration = Duration::from_secs(10);
/// How long the shell waits for an answer about the Lease.
const LEASE_TIMEOUT: Duration = Duration::from_secs(4);
/// How long the shell waits for its writes when it is asked to end, and then for the Lease.
const PATIENCE: Duration = Duration::from_secs(2);
/// What the shell asks of the API server: that a write be in force by then, or never.
const LONGEST_WRITE: Duration = Duration::from_secs(4);
