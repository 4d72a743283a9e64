//! What there is before a connection: Idle, Connect and Active, and how long they last.

use std::time::Duration;

use ironlb_model::Time;

use crate::io::Connection;
use crate::session::{Event, State};

/// The part of the peer that has no connection yet. Each state has its own timer, so that none is left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dial {
    /// Idle: the peer is not to be.
    Off,
    /// Idle: it has refused us, or we it (DampPeerOscillations, RFC 4271 §8.1.1).
    Held {
        /// Until then its connections are refused.
        until: Time,
        /// Then we dial.
        dial: Time,
    },
    /// Active: listening, and dialling again then; for ever where we are passive.
    Waiting(Option<Time>),
    /// Connect: dialling, until then at most.
    Connecting {
        /// What is dialled.
        connection: Connection,
        /// When it has taken too long.
        until: Time,
    },
    /// A session is there that makes another connection needless.
    Resting,
}

impl Dial {
    /// In the words of RFC 4271.
    pub(crate) const fn state(self) -> State {
        match self {
            Self::Off | Self::Held { .. } => State::Idle,
            Self::Waiting(_) | Self::Resting => State::Active,
            Self::Connecting { .. } => State::Connect,
        }
    }

    /// When its timer goes off, and what that is.
    pub(crate) const fn timer(self) -> Option<(Time, Event)> {
        match self {
            Self::Held { until, .. } => Some((until, Event::IdleHoldTimer)),
            Self::Waiting(Some(until)) | Self::Connecting { until, .. } => {
                Some((until, Event::ConnectRetryTimer))
            }
            Self::Off | Self::Waiting(None) | Self::Resting => None,
        }
    }
}

/// How often it went wrong in a row, and so how long to wait.
///
/// A peer that cannot be reached is tried often: a router that is back is to be met within seconds, and an attempt costs it
/// a packet. One that takes the connection and then refuses us is left alone for longer each time; only a session that has
/// been up for [`STABLE`] makes that forgotten. Its own connections are refused for [`MOST_HELD`] at most: long enough that it
/// cannot drag us into a loop, and short enough that one that was mended is met when it comes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    unreachable: u32,
    refused: u32,
}

impl Backoff {
    /// There was no connection. How long to wait, before jitter.
    pub(crate) fn unreachable(&mut self, base: Duration) -> Duration {
        self.unreachable = self.unreachable.saturating_add(1);
        doubled(base, self.unreachable, MOST_UNREACHABLE)
    }

    /// A connection was refused in words, or closed before it was of use for long.
    pub(crate) fn refused(&mut self, base: Duration) -> Duration {
        self.refused = self.refused.saturating_add(1);
        doubled(base, self.refused, MOST_REFUSED)
    }

    /// The peer can be reached.
    pub(crate) const fn reached(&mut self) {
        self.unreachable = 0;
    }

    /// A session was up for long enough, or everything is different now.
    pub(crate) const fn forget(&mut self) {
        self.unreachable = 0;
        self.refused = 0;
    }
}

/// `base`, doubled with each time after the first, up to `most` or `base`, whichever is longer.
fn doubled(base: Duration, times: u32, most: Duration) -> Duration {
    let doublings = times.saturating_sub(1).min(16);
    base.saturating_mul(1 << doublings).min(most.max(base))
}

/// How long to wait after a session that was stable, or was ended by us to begin anew: not for ever, not at once.
pub(crate) fn soon(base: Duration) -> Duration {
    base.min(Duration::from_secs(1))
}

/// How long a session must be up until earlier refusals are forgotten.
pub(crate) const STABLE: Duration = Duration::from_secs(60);
/// How long dialling may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the peer has on a connection of its own until we dial beside it.
pub(crate) const GRACE: Duration = Duration::from_secs(10);
/// How long connections of a peer that is left alone are refused, at most.
pub(crate) const MOST_HELD: Duration = Duration::from_secs(5);
const MOST_UNREACHABLE: Duration = Duration::from_secs(15);
const MOST_REFUSED: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(base: u64, next: impl Fn(&mut Backoff, Duration) -> Duration) -> Vec<u64> {
        let mut backoff = Backoff::default();
        let base = Duration::from_secs(base);
        (0..9).map(|_| next(&mut backoff, base).as_secs()).collect()
    }

    #[test]
    fn the_wait_doubles_up_to_a_bound() {
        assert_eq!(
            waits(1, Backoff::unreachable),
            [1, 2, 4, 8, 15, 15, 15, 15, 15]
        );
        assert_eq!(
            waits(1, Backoff::refused),
            [1, 2, 4, 8, 16, 32, 64, 120, 120]
        );
    }

    #[test]
    fn a_configured_connect_time_is_the_shortest_wait() {
        assert_eq!(waits(60, Backoff::refused)[..3], [60, 120, 120]);
        assert_eq!(waits(300, Backoff::refused)[..3], [300, 300, 300]);
        assert_eq!(waits(60, Backoff::unreachable)[..2], [60, 60]);
    }

    #[test]
    fn a_connection_alone_does_not_make_refusals_forgotten() {
        let mut backoff = Backoff::default();
        let base = Duration::from_secs(1);
        for _ in 0..3 {
            backoff.unreachable(base);
            backoff.refused(base);
            backoff.reached();
        }
        assert_eq!(backoff.refused(base), Duration::from_secs(8));
        assert_eq!(backoff.unreachable(base), base);
        backoff.forget();
        assert_eq!(backoff.refused(base), base);
    }

    #[test]
    fn a_state_without_something_to_wait_for_has_no_timer() {
        for dial in [Dial::Off, Dial::Waiting(None), Dial::Resting] {
            assert_eq!(dial.timer(), None);
        }
    }
}
