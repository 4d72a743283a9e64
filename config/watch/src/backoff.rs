//! How long to wait before trying again.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Delays that double from `first` to `longest`, each shortened at random by up to a half, so that a thousand speakers
/// do not come back to a restarted API server in step.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    /// A back-off that has not failed yet.
    pub fn new(first: Duration, longest: Duration) -> Self {
        let random = RandomState::new().build_hasher().finish() | 1;
        Self {
            first,
            longest,
            next: first,
            random,
        }
    }

    /// Another failure: how long to wait now. At least half of what the doubling says, at most all of it.
    pub fn failed(&mut self) -> Duration {
        let whole = self.next.min(self.longest);
        self.next = whole.saturating_mul(2).min(self.longest);
        whole.mul_f64(1.0 - self.fraction() / 2.0)
    }

    /// It worked: the next failure is the first again.
    pub fn succeeded(&mut self) {
        self.next = self.first;
    }

    /// A number from 0 to 1 (xorshift64).
    fn fraction(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        f64::from(u32::try_from(self.random >> 32).unwrap_or(0)) / f64::from(u32::MAX)
    }
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
}
