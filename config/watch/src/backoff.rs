//! How long to wait before trying again, and how not to do so in step with everybody else.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Delays that double from `first` to `longest`, each [`jittered`], so that a thousand speakers do not come back to a
/// restarted API server in step.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    /// A back-off that has not failed yet.
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// Another failure: how long to wait now. At least half of what the doubling says, at most all of it.
    pub fn failed(&mut self) -> Duration {
        let whole = self.next.min(self.longest);
        self.next = whole.saturating_mul(2).min(self.longest);
        jittered(whole)
    }

    /// It worked: the next failure is the first again.
    pub fn succeeded(&mut self) {
        self.next = self.first;
    }
}

/// `whole`, shortened at random by up to a half: what many begin at the same moment they then do at different ones.
pub fn jittered(whole: Duration) -> Duration {
    whole.mul_f64(1.0 - fraction() / 2.0)
}

/// A number from 0 to 1, another each time.
pub(crate) fn fraction() -> f64 {
    f64::from(u32::try_from(random() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

/// A random number, another each time and in each process. Not for secrets.
pub fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_begin_again_after_success() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for whole in [100, 200, 400, 800, 1_000, 1_000].map(Duration::from_millis) {
            let delay = backoff.failed();
            assert!(
                whole / 2 <= delay && delay <= whole,
                "{delay:?} for {whole:?}"
            );
        }
        backoff.succeeded();
        assert!(backoff.failed() <= Duration::from_millis(100));
    }

    #[test]
    fn two_back_offs_do_not_walk_in_step() {
        let delays = || {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(64));
            [(); 6].map(|()| backoff.failed())
        };
        assert_ne!(delays(), delays());
    }

    #[test]
    fn a_thousand_who_wait_for_the_same_time_come_back_all_over_its_second_half() {
        let mut by_tenth = [0; 10];
        for _ in 0..1_000 {
            let millis = jittered(Duration::from_secs(2)).as_millis() - 1_000;
            by_tenth[usize::try_from(millis / 100).unwrap().min(9)] += 1;
        }
        assert!(
            by_tenth.iter().all(|count| (40..200).contains(count)),
            "{by_tenth:?}"
        );
    }
}
