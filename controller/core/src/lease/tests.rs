//! Candidates, one Lease and an API that can be silent, in virtual time.

use super::*;

/// A Lease in the API and candidates that reach it at once.
struct Cluster {
    now: Time,
    lease: Option<Lease>,
    version: u32,
    candidates: Vec<Election>,
    cut_off: Option<usize>,
}

impl Cluster {
    fn new(candidates: usize) -> Self {
        let candidate = |n| Election::new(Settings::new(format!("c{n}"), n as u64));
        Self {
            now: Time::ZERO,
            lease: None,
            version: 0,
            candidates: (0..candidates).map(candidate).collect(),
            cut_off: None,
        }
    }

    fn leaders(&self) -> Vec<usize> {
        let all = self.candidates.iter().enumerate();
        all.filter(|(_, c)| c.is_leading())
            .map(|(n, _)| n)
            .collect()
    }

    /// Half a second at a time, everybody in turn. Never do two lead.
    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds * 2 {
            for n in 0..self.candidates.len() {
                self.give(n, Input::Tick);
                assert!(self.leaders().len() <= 1, "two leaders at {}", self.now);
            }
            self.now = self.now + Duration::from_millis(500);
        }
    }

    fn give(&mut self, n: usize, input: Input) {
        self.candidates[n].handle(self.now, input);
        while let Some(output) = self.candidates[n].poll() {
            let answer = match output {
                Output::Lead | Output::StopLeading => continue,
                Output::Read if self.cut_off == Some(n) => Input::ReadFailed,
                Output::Write(_) if self.cut_off == Some(n) => Input::Written(WriteOutcome::Failed),
                Output::Read => Input::Read(self.lease.clone()),
                Output::Write(write) => Input::Written(self.write(write)),
            };
            self.candidates[n].handle(self.now, answer);
        }
    }

    fn write(&mut self, write: LeaseWrite) -> WriteOutcome {
        let version = self.lease.as_ref().map(|l| Arc::clone(&l.resource_version));
        if version != write.resource_version {
            return WriteOutcome::Conflict;
        }
        self.version += 1;
        self.lease = Some(Lease {
            holder: write.holder,
            duration: write.duration,
            renewed: self.now.to_string().into(),
            transitions: write.transitions,
            resource_version: self.version.to_string().into(),
        });
        WriteOutcome::Done
    }
}

fn settings(identity: &str) -> Settings {
    Settings::new(identity, 0)
}

fn lease(holder: &str, version: &str) -> Lease {
    Lease {
        holder: holder.into(),
        duration: Duration::from_secs(15),
        renewed: version.into(),
        transitions: 3,
        resource_version: version.into(),
    }
}

#[test]
fn the_first_to_come_leads_and_goes_on_leading() {
    let mut cluster = Cluster::new(3);
    cluster.run(100);
    assert_eq!(cluster.leaders(), [0]);
    assert_eq!(cluster.lease.unwrap().transitions, 0);
}

#[test]
fn one_that_is_cut_off_stops_before_another_begins() {
    let mut cluster = Cluster::new(2);
    cluster.run(5);
    // Its last renewal is two seconds old at most.
    cluster.cut_off = Some(0);
    cluster.run(7);
    assert_eq!(cluster.leaders(), [0]);
    cluster.run(5);
    assert!(cluster.leaders().is_empty());
    cluster.run(8);
    assert_eq!(cluster.leaders(), [1]);
    assert_eq!(cluster.lease.unwrap().transitions, 1);
}

#[test]
fn one_that_leaves_is_followed_at_the_next_look() {
    let mut cluster = Cluster::new(2);
    cluster.run(5);
    cluster.give(0, Input::Leave);
    assert!(cluster.leaders().is_empty());
    cluster.run(3);
    assert_eq!(cluster.leaders(), [1]);
    assert_eq!(cluster.candidates[0].deadline(), None);
}

#[test]
fn one_that_leaves_while_it_reads_gives_the_lead_up_all_the_same() {
    let mut candidate = Election::new(Settings::new("me", 0));
    candidate.handle(Time::ZERO, Input::Tick);
    candidate.handle(Time::ZERO, Input::Read(None));
    candidate.handle(Time::ZERO, Input::Written(WriteOutcome::Done));
    candidate.handle(Time::from_secs(2), Input::Tick);
    candidate.handle(Time::from_secs(2), Input::Leave);
    candidate.handle(Time::from_secs(2), Input::Read(Some(lease("me", "5"))));
    let outputs: Vec<Output> = std::iter::from_fn(|| candidate.poll()).collect();
    let [.., Output::StopLeading, Output::Read, Output::Write(write)] = outputs.as_slice() else {
        panic!("{outputs:?}");
    };
    assert_eq!(
        (&*write.holder, write.resource_version.as_deref()),
        ("", Some("5"))
    );
}

#[test]
fn a_lease_that_was_never_seen_to_change_is_waited_for_in_full() {
    let mut candidate = Election::new(Settings::new("me", 0));
    let mut now = Time::from_secs(1_000);
    candidate.handle(now, Input::Tick);
    for _ in 0..8 {
        assert_eq!(candidate.poll(), Some(Output::Read));
        candidate.handle(now, Input::Read(Some(lease("other", "7"))));
        assert_eq!(candidate.poll(), None);
        now = now + Duration::from_secs(2);
        candidate.handle(now, Input::Tick);
    }
    candidate.handle(now, Input::Read(Some(lease("other", "7"))));
    assert_eq!(candidate.poll(), Some(Output::Read));
    let Some(Output::Write(write)) = candidate.poll() else {
        panic!("it does not take over");
    };
    assert!(write.acquires);
    assert_eq!(
        (write.transitions, write.resource_version),
        (4, Some("7".into()))
    );
    assert!(!candidate.is_leading());
}

/// The first time at which a candidate leads that finds a Lease of its own name when it starts.
fn leads_first(mut candidate: Election, start: Time) -> Time {
    let mut now = start;
    candidate.handle(now, Input::Tick);
    while !candidate.is_leading() {
        match candidate.poll() {
            Some(Output::Read) => candidate.handle(now, Input::Read(Some(lease("me", "1")))),
            Some(Output::Write(_)) => {
                candidate.handle(now, Input::Written(WriteOutcome::Done));
            }
            Some(output) => panic!("{output:?}"),
            None => {
                now = candidate.deadline().unwrap();
                candidate.handle(now, Input::Tick);
            }
        }
    }
    now
}

#[test]
fn a_predecessor_of_the_same_name_is_given_time_for_its_last_writes() {
    let start = Time::from_secs(100);
    let candidate = Election::new(settings("me"));
    assert_eq!(leads_first(candidate, start), Time::from_secs(105));
}

#[test]
fn one_that_has_lost_the_lead_waits_for_its_own_last_writes_before_it_leads_again() {
    let mut candidate = Election::new(settings("me"));
    candidate.handle(Time::ZERO, Input::Tick);
    candidate.handle(Time::ZERO, Input::Read(None));
    candidate.handle(Time::ZERO, Input::Written(WriteOutcome::Done));
    candidate.handle(Time::from_secs(9), Input::Tick);
    while candidate.poll().is_some() {}
    candidate.handle(Time::from_secs(10), Input::ReadFailed);
    assert_eq!(candidate.poll(), Some(Output::StopLeading));
    let led_again = leads_first(candidate, Time::from_secs(12));
    assert_eq!(led_again, Time::from_secs(15));
}

#[test]
fn a_renewal_that_is_answered_when_the_lead_has_ended_does_not_bring_it_back_at_once() {
    let mut candidate = Election::new(settings("me"));
    candidate.handle(Time::ZERO, Input::Tick);
    candidate.handle(Time::ZERO, Input::Read(None));
    candidate.handle(Time::ZERO, Input::Written(WriteOutcome::Done));
    candidate.handle(Time::from_secs(8), Input::Tick);
    candidate.handle(Time::from_secs(8), Input::Read(Some(lease("me", "1"))));
    candidate.handle(Time::from_secs(10), Input::Tick);
    assert!(!candidate.is_leading());
    candidate.handle(Time::from_secs(11), Input::Written(WriteOutcome::Done));
    assert!(!candidate.is_leading());
    while candidate.poll().is_some() {}
    assert_eq!(
        leads_first(candidate, Time::from_secs(13)),
        Time::from_secs(15)
    );
}

#[test]
fn a_lease_that_was_deleted_is_waited_for_as_one_that_expires() {
    let mut candidate = Election::new(settings("me"));
    candidate.handle(Time::ZERO, Input::Tick);
    candidate.handle(Time::ZERO, Input::Read(Some(lease("other", "7"))));
    for (seconds, takes_over) in [(5, false), (12, false), (15, true)] {
        while candidate.poll().is_some() {}
        let now = Time::from_secs(seconds);
        candidate.handle(now, Input::Tick);
        candidate.handle(now, Input::Read(None));
        let outputs: Vec<Output> = std::iter::from_fn(|| candidate.poll()).collect();
        let wrote = matches!(outputs.as_slice(), [Output::Read, Output::Write(_)]);
        assert_eq!(wrote, takes_over, "at {now}: {outputs:?}");
    }
}

#[test]
fn a_write_that_took_too_long_does_not_make_a_leader() {
    let mut candidate = Election::new(Settings::new("me", 0));
    candidate.handle(Time::ZERO, Input::Tick);
    candidate.handle(Time::ZERO, Input::Read(None));
    candidate.handle(Time::from_secs(10), Input::Written(WriteOutcome::Done));
    assert!(!candidate.is_leading());
}

#[test]
fn one_whose_lease_was_taken_stops_at_once() {
    let mut cluster = Cluster::new(1);
    cluster.run(5);
    assert_eq!(cluster.leaders(), [0]);
    cluster.lease = Some(lease("other", "99"));
    cluster.run(3);
    assert!(cluster.leaders().is_empty());
}

#[test]
fn a_silent_api_does_not_keep_a_leader_in_office() {
    let mut candidate = Election::new(Settings::new("me", 0));
    candidate.handle(Time::ZERO, Input::Tick);
    candidate.handle(Time::ZERO, Input::Read(None));
    candidate.handle(Time::ZERO, Input::Written(WriteOutcome::Done));
    candidate.handle(Time::from_secs(2), Input::Tick);
    assert!(candidate.is_leading());
    assert_eq!(candidate.deadline(), Some(Time::from_secs(10)));
    candidate.handle(Time::from_secs(10), Input::Tick);
    assert!(!candidate.is_leading());
}

/// When a candidate that only ever hears that another leads looks again, time after time.
fn looks(seed: u64) -> Vec<Duration> {
    let mut candidate = Election::new(Settings::new("me", seed));
    let mut now = Time::ZERO;
    let delays = (0..50).map(|_| {
        candidate.handle(now, Input::Tick);
        candidate.handle(now, Input::ReadFailed);
        let next = candidate.deadline().unwrap();
        let delay = next.since(now);
        now = next;
        delay
    });
    delays.collect()
}

#[test]
fn candidates_that_begin_together_do_not_go_on_together() {
    let (one, other) = (looks(1), looks(2));
    assert_ne!(one, other);
    assert_eq!(one, looks(1));
    for delay in one.iter().chain(&other) {
        assert!((1_000..=2_000).contains(&delay.as_millis()), "{delay:?}");
    }
    let distinct: std::collections::BTreeSet<_> = one.iter().collect();
    assert!(distinct.len() > 40, "{one:?}");
}
