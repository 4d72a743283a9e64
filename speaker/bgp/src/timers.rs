//! The timers of a connection, and the randomness that keeps speakers from acting in step.

use std::collections::BTreeMap;
use std::time::Duration;

use ironlb_model::Time;

/// A timer of a connection (RFC 4271 §8, §10). Those of the peer live in the state that they belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// Nothing was heard for the hold time.
    Hold,
    /// The peer must hear from us.
    Keepalive,
    /// The peer has read nothing for the send hold time (RFC 9687).
    SendHold,
    /// BFD has not come up (draft-ietf-idr-bgp-bfd-strict-mode §3).
    BfdHold,
}

/// Those that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    running: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Starts it, or starts it again; a zero `after` stops it, as a hold time of zero does (RFC 4271 §4.2).
    pub(crate) fn set(&mut self, timer: Timer, now: Time, after: Duration) {
        if after.is_zero() {
            self.stop(timer);
        } else {
            self.running.insert(timer, now + after);
        }
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        self.running.remove(&timer);
    }

    pub(crate) fn is_running(&self, timer: Timer) -> bool {
        self.running.contains_key(&timer)
    }

    /// The one that goes off first, and when.
    pub(crate) fn next(&self) -> Option<(Time, Timer)> {
        let each = self.running.iter().map(|(timer, at)| (*at, *timer));
        each.min()
    }

    /// One that has gone off, which runs no longer.
    pub(crate) fn expired(&mut self, now: Time) -> Option<Timer> {
        let (at, timer) = self.next()?;
        (at <= now).then(|| {
            self.stop(timer);
            timer
        })
    }
}

/// A stream of numbers that the seed decides (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Between three quarters of `interval` and all of it (RFC 4271 §10).
    pub(crate) fn jitter(&mut self, interval: Duration) -> Duration {
        let share = u32::try_from(self.next() >> 32).unwrap_or(u32::MAX);
        let quarter = interval / 4;
        interval.saturating_sub(quarter.mul_f64(f64::from(share) / f64::from(u32::MAX)))
    }

    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_timer_goes_off_first_and_only_once() {
        let mut timers = Timers::default();
        timers.set(Timer::Hold, Time::ZERO, Duration::from_secs(90));
        timers.set(Timer::Keepalive, Time::ZERO, Duration::from_secs(30));
        assert_eq!(timers.next(), Some((Time::from_secs(30), Timer::Keepalive)));
        assert_eq!(timers.expired(Time::from_secs(29)), None);
        assert_eq!(timers.expired(Time::from_secs(95)), Some(Timer::Keepalive));
        assert_eq!(timers.expired(Time::from_secs(95)), Some(Timer::Hold));
        assert_eq!(timers.expired(Time::from_secs(95)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_time_of_zero_stops_a_timer() {
        let mut timers = Timers::default();
        timers.set(Timer::Hold, Time::ZERO, Duration::from_secs(90));
        timers.set(Timer::Hold, Time::ZERO, Duration::ZERO);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn jitter_is_between_three_quarters_and_all_and_differs() {
        let mut random = Random::new(1);
        let interval = Duration::from_secs(100);
        let drawn: Vec<_> = (0..1_000).map(|_| random.jitter(interval)).collect();
        let (least, most) = (drawn.iter().min().unwrap(), drawn.iter().max().unwrap());
        assert!(*least >= Duration::from_secs(75) && *least < Duration::from_secs(76));
        assert!(*most <= interval && *most > Duration::from_secs(99));
    }
}
