//! Why a peer cannot be spoken with, as an operator is told it.

use ironlb_model::Time;
use thiserror::Error;

use crate::reports::PATIENCE;

use super::io::News;

/// What a peer waits for: what is missing, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum Obstacle {
    /// Its Secret is not there, or is one of another type, which is not read.
    #[error(
        "there is no Secret {0:?} of type kubernetes.io/basic-auth beside the BGPPeer; create it, with the password under the key \
         \"password\""
    )]
    NoSecret(String),
    /// Its Secret holds no password.
    #[error(
        "the Secret {0:?} has no password; put one, text of 1 to 80 bytes, under the key \"password\""
    )]
    NoPassword(String),
    /// The node has no interface of its name.
    #[error(
        "there is no interface {0:?} on this node; correct its name in the BGPPeer, or have spec.nodeSelectors select only nodes that have it"
    )]
    NoInterface(String),
    /// Its interface is down.
    #[error("the interface {0:?} is down; set it up, or look at its cable")]
    InterfaceDown(String),
    /// Its interface is none on which routers advertise themselves.
    #[error("the interface {0:?} has no Ethernet address; an unnumbered peer needs one")]
    NoEthernet(String),
    /// Its interface has no address to speak from.
    #[error("the interface {0:?} has no IPv6 link-local address; enable IPv6 on it")]
    NoLinkLocal(String),
    /// Nobody is there.
    #[error(
        "no router is heard on the interface {0:?}; have it send IPv6 router advertisements there"
    )]
    NobodyHeard(String),
}

/// What a peer waits for, and whether that has been said.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    obstacle: Option<Obstacle>,
    /// When to say it; `None` when there is nothing to say, or it has been said.
    due: Option<Time>,
}

impl Waiting {
    /// Another obstacle, or none any more. Gives what to say at once.
    pub(super) fn set(&mut self, now: Time, obstacle: Option<Obstacle>) -> Option<News> {
        if self.obstacle == obstacle {
            return None;
        }
        let was_said = self.obstacle.is_some() && self.due.is_none();
        self.due = obstacle.as_ref().map(|_| now + PATIENCE);
        self.obstacle = obstacle;
        (was_said && self.obstacle.is_none()).then_some(News::Found)
    }

    /// Gives what to say when it has lasted. A session that `is_up` goes on without what is missing: it is said when it has ended.
    pub(super) fn tick(&mut self, now: Time, is_up: bool) -> Option<News> {
        self.due.filter(|due| *due <= now)?;
        self.due = is_up.then(|| now + PATIENCE);
        let obstacle = self.obstacle.as_ref().filter(|_| !is_up)?;
        Some(News::Waiting(obstacle.to_string()))
    }

    /// What is missing.
    pub(super) const fn obstacle(&self) -> Option<&Obstacle> {
        self.obstacle.as_ref()
    }

    /// When to call [`tick`](Self::tick).
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> Option<Obstacle> {
        Some(Obstacle::NoSecret("tor".to_owned()))
    }

    fn other() -> Option<Obstacle> {
        Some(Obstacle::NoPassword("tor".to_owned()))
    }

    const LATER: Time = Time::from_secs(60);

    #[test]
    fn what_is_missing_is_said_once_when_it_lasts_and_again_when_it_is_something_else() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.set(Time::ZERO, missing()), None);
        assert_eq!(waiting.tick(Time::from_secs(4), false), None);
        assert_eq!(waiting.deadline(), Some(Time::ZERO + PATIENCE));
        assert_eq!(waiting.set(Time::from_secs(4), missing()), None);
        let said = waiting.tick(Time::from_secs(5), false);
        assert!(matches!(said, Some(News::Waiting(why)) if why.contains("no Secret \"tor\"")));
        assert_eq!(
            (waiting.tick(LATER, false), waiting.deadline()),
            (None, None)
        );
        assert_eq!(waiting.set(LATER, other()), None);
        let said = waiting.tick(LATER + PATIENCE, false);
        assert!(matches!(said, Some(News::Waiting(why)) if why.contains("has no password")));
        assert_eq!(waiting.set(LATER + PATIENCE, None), Some(News::Found));
    }

    #[test]
    fn what_is_missing_for_a_moment_is_not_said() {
        let mut waiting = Waiting::default();
        waiting.set(Time::ZERO, missing());
        assert_eq!(waiting.set(Time::from_secs(1), None), None);
        assert_eq!(
            (waiting.tick(LATER, false), waiting.deadline()),
            (None, None)
        );
    }

    #[test]
    fn a_session_that_is_up_is_not_said_to_wait_until_it_ends() {
        let mut waiting = Waiting::default();
        waiting.set(Time::ZERO, missing());
        assert_eq!(waiting.tick(LATER, true), None);
        let due = waiting.deadline().unwrap();
        assert!(due > LATER);
        assert!(waiting.tick(due, false).is_some());
    }
}
