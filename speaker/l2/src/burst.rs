//! When each address is announced unasked: a burst at takeover, then perhaps a refresh for ever.
//!
//! One schedule for all addresses on all interfaces, so that the cost of a step does not depend on how many are held, and
//! so that a takeover of thousands at once is spread over milliseconds and does not overrun the transmit queue.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::Time;
use ironlb_model::config::Gratuitous;

/// All announcements to come.
#[derive(Debug)]
pub(crate) struct Bursts {
    seed: u64,
    queue: BTreeSet<(Time, Place)>,
    runs: BTreeMap<Place, Run>,
    /// Start of the current step and how many were announced in it.
    step: (Time, u32),
}

/// An address on an interface, ordered by interface.
pub(crate) type Place = (u32, IpAddr);

impl Bursts {
    /// `seed` varies the jitter between nodes.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            queue: BTreeSet::new(),
            runs: BTreeMap::new(),
            step: (Time::ZERO, 0),
        }
    }

    /// Begins a burst at `now`, in place of one that runs.
    pub(crate) fn start(
        &mut self,
        now: Time,
        place: Place,
        gratuitous: Gratuitous,
        refresh: Option<Duration>,
    ) {
        self.stop(place);
        let run = Run {
            due: now,
            left: gratuitous.count.max(1),
            interval: gratuitous.interval,
            refresh,
            round: 0,
        };
        self.queue.insert((now, place));
        self.runs.insert(place, run);
    }

    /// A new refresh time, without a new burst.
    pub(crate) fn refresh(&mut self, now: Time, place: Place, refresh: Option<Duration>) {
        let seed = self.seed;
        let run = self.runs.entry(place).or_insert_with(|| Run::finished(now));
        self.queue.remove(&(run.due, place));
        run.refresh = refresh;
        if run.left == 0 {
            match run.next(now, seed, place) {
                Some(due) => run.due = due,
                None => {
                    self.runs.remove(&place);
                    return;
                }
            }
        }
        self.queue.insert((run.due, place));
    }

    /// Nothing more is announced for this place.
    pub(crate) fn stop(&mut self, place: Place) {
        if let Some(run) = self.runs.remove(&place) {
            self.queue.remove(&(run.due, place));
        }
    }

    /// The next place to announce now; call again until `None`.
    pub(crate) fn due(&mut self, now: Time) -> Option<Place> {
        let (due, place) = *self.queue.first()?;
        if due > now || !self.admit(now) {
            return None;
        }
        self.advance(now, due, place);
        Some(place)
    }

    /// Whether to announce this one place now.
    pub(crate) fn is_due(&mut self, now: Time, place: Place) -> bool {
        let due = self.runs.get(&place).map(|run| run.due);
        let Some(due) = due.filter(|due| *due <= now) else {
            return false;
        };
        let admitted = self.admit(now);
        if admitted {
            self.advance(now, due, place);
        }
        admitted
    }

    /// From one announcement to the next.
    fn advance(&mut self, now: Time, due: Time, place: Place) {
        self.queue.remove(&(due, place));
        let Some(run) = self.runs.get_mut(&place) else {
            return;
        };
        run.left = run.left.saturating_sub(1);
        match run.next(now, self.seed, place) {
            Some(next) => {
                run.due = next;
                self.queue.insert((next, place));
            }
            None => {
                self.runs.remove(&place);
            }
        }
    }

    /// When to call [`due`](Self::due) next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let (due, _) = *self.queue.first()?;
        let (start, used) = self.step;
        let full = used >= STEP_LIMIT;
        Some(if full { due.max(start + STEP) } else { due })
    }

    /// Whether the current step has room for one more.
    fn admit(&mut self, now: Time) -> bool {
        let (start, used) = &mut self.step;
        if now >= *start + STEP {
            (*start, *used) = (now, 0);
        }
        let admitted = *used < STEP_LIMIT;
        *used = used.saturating_add(u32::from(admitted));
        admitted
    }
}

/// What remains to be done at one place.
#[derive(Debug)]
struct Run {
    due: Time,
    /// Announcements of the burst still to come.
    left: u8,
    interval: Duration,
    refresh: Option<Duration>,
    /// How many refreshes there were.
    round: u64,
}

impl Run {
    fn finished(now: Time) -> Self {
        Self {
            due: now,
            left: 0,
            interval: Duration::ZERO,
            refresh: None,
            round: 0,
        }
    }

    /// When the next announcement is due, now that one is done.
    fn next(&mut self, now: Time, seed: u64, place: Place) -> Option<Time> {
        if self.left > 0 {
            return Some(now + self.interval);
        }
        let refresh = self.refresh?;
        self.round = self.round.wrapping_add(1);
        Some(now + refresh - jitter(refresh, (seed, place, self.round)))
    }
}

/// Up to a quarter of `interval`: what is asked for is the longest time between two refreshes.
fn jitter(interval: Duration, of: impl Hash) -> Duration {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    let share = u32::try_from(hasher.finish() & 0xffff).unwrap_or(0);
    (interval / 4).mul_f64(f64::from(share) / 65_536.0)
}

/// At most [`STEP_LIMIT`] announcements in each.
const STEP: Duration = Duration::from_millis(1);
/// 32,000 addresses a second: 10,000 take a third of a second, and a gigabit link is used to a few percent.
const STEP_LIMIT: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place = (2, IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));

    /// Every announcement until `end`, woken exactly at each deadline.
    fn run(bursts: &mut Bursts, end: Time) -> Vec<(Time, Place)> {
        let mut announced = Vec::new();
        while let Some(now) = bursts.deadline().filter(|deadline| *deadline <= end) {
            while let Some(place) = bursts.due(now) {
                announced.push((now, place));
            }
        }
        announced
    }

    #[test]
    fn the_default_burst_is_five_announcements_1_1_s_apart() {
        let mut bursts = Bursts::new(1);
        bursts.start(Time::from_secs(10), PLACE, Gratuitous::default(), None);
        let times: Vec<_> = run(&mut bursts, Time::from_secs(100))
            .iter()
            .map(|(time, _)| time.since(Time::from_secs(10)).as_millis())
            .collect();
        assert_eq!(times, [0, 1_100, 2_200, 3_300, 4_400]);
        assert_eq!(bursts.deadline(), None);
        assert!(bursts.runs.is_empty());
    }

    #[test]
    fn a_loss_stops_the_burst_at_once() {
        let mut bursts = Bursts::new(1);
        bursts.start(
            Time::ZERO,
            PLACE,
            Gratuitous::default(),
            Some(Duration::from_secs(60)),
        );
        assert_eq!(bursts.due(Time::ZERO), Some(PLACE));
        bursts.stop(PLACE);
        assert_eq!(run(&mut bursts, Time::from_secs(1_000)), []);
    }

    #[test]
    fn a_refresh_comes_at_latest_when_asked_for_and_not_always_at_the_same_time() {
        let refresh = Duration::from_secs(60);
        let mut bursts = Bursts::new(7);
        let once = Gratuitous {
            count: 1,
            ..Gratuitous::default()
        };
        bursts.start(Time::ZERO, PLACE, once, Some(refresh));
        let times: Vec<_> = run(&mut bursts, Time::from_secs(1_000))
            .into_iter()
            .map(|(time, _)| time)
            .collect();
        let gaps: Vec<_> = times
            .windows(2)
            .map(|pair| pair[1].since(pair[0]))
            .collect();
        assert!(gaps.len() >= 16, "{gaps:?}");
        assert!(
            gaps.iter()
                .all(|gap| *gap <= refresh && *gap >= refresh * 3 / 4)
        );
        assert!(gaps.iter().any(|gap| *gap != gaps[0]));
    }

    #[test]
    fn the_jitter_is_the_same_for_the_same_seed_and_differs_between_seeds() {
        let history = |seed| {
            let mut bursts = Bursts::new(seed);
            let refresh = Some(Duration::from_secs(30));
            bursts.start(Time::ZERO, PLACE, Gratuitous::default(), refresh);
            run(&mut bursts, Time::from_secs(300))
        };
        assert_eq!(history(1), history(1));
        assert_ne!(history(1), history(2));
    }

    #[test]
    fn a_refresh_asked_for_later_begins_without_a_burst() {
        let mut bursts = Bursts::new(1);
        bursts.refresh(Time::ZERO, PLACE, Some(Duration::from_secs(60)));
        assert_eq!(bursts.due(Time::ZERO), None);
        assert!(bursts.deadline().unwrap() <= Time::from_secs(60));
        bursts.refresh(Time::ZERO, PLACE, None);
        assert_eq!(bursts.deadline(), None);
        assert!(bursts.runs.is_empty());
    }

    #[test]
    fn ten_thousand_takeovers_are_spread_and_each_gets_its_whole_burst() {
        let mut bursts = Bursts::new(1);
        for number in 0..10_000u32 {
            let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
            bursts.start(Time::ZERO, (2, address.into()), Gratuitous::default(), None);
        }
        let announced = run(&mut bursts, Time::from_secs(10));
        assert_eq!(announced.len(), 50_000);
        let mut per_step = BTreeMap::<u64, u32>::new();
        for (time, _) in &announced {
            *per_step.entry(time.as_nanos() / 1_000_000).or_default() += 1;
        }
        assert!(per_step.values().all(|count| *count <= STEP_LIMIT));
        let first_round = announced.iter().take(10_000).map(|(time, _)| *time).max();
        assert!(first_round.unwrap() <= Time::from_millis(313));
    }

    #[test]
    fn a_new_takeover_does_not_wait_for_the_rest_of_another_one_s_burst() {
        let mut bursts = Bursts::new(1);
        bursts.start(Time::ZERO, PLACE, Gratuitous::default(), None);
        assert_eq!(bursts.due(Time::ZERO), Some(PLACE));
        let other = (3, PLACE.1);
        bursts.start(Time::from_millis(5), other, Gratuitous::default(), None);
        assert_eq!(bursts.due(Time::from_millis(5)), Some(other));
    }
}
