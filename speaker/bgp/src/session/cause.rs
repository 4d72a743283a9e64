//! Why a session ended, or never came to be, in words.

use std::fmt;

use crate::wire::Notification;

/// Why. Prints as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// We closed it.
    Sent {
        /// What the peer was told.
        notification: Notification,
        /// What we found.
        why: String,
    },
    /// The peer closed it, and said why.
    Received(Notification),
    /// The connection broke, or the peer closed it without a word; what the system says, when it says something.
    Lost(Option<String>),
    /// There was no connection; what the system says.
    Unreachable(String),
    /// The peer has restarted, and its new connection takes the place of the old one (RFC 4724 §5).
    Replaced,
    /// We closed it without a NOTIFICATION, so that the peer keeps our routes until we are back (RFC 4724 §4.2).
    Upgrade,
}

/// Who made an error known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// We.
    Local,
    /// The peer.
    Remote,
}

impl Cause {
    /// We close, and tell the peer this.
    pub(crate) fn sent(notification: Notification, why: impl Into<String>) -> Self {
        Self::Sent {
            notification,
            why: why.into(),
        }
    }

    /// Whose word it is.
    pub const fn side(&self) -> Side {
        match self {
            Self::Received(_) => Side::Remote,
            Self::Lost(_)
            | Self::Sent { .. }
            | Self::Unreachable(_)
            | Self::Replaced
            | Self::Upgrade => Side::Local,
        }
    }

    /// The NOTIFICATION that went one way or the other.
    pub const fn notification(&self) -> Option<&Notification> {
        match self {
            Self::Sent { notification, .. } | Self::Received(notification) => Some(notification),
            Self::Lost(_) | Self::Unreachable(_) | Self::Replaced | Self::Upgrade => None,
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sent { notification, why } => {
                let reason = notification.cause().reason;
                write!(f, "closed by us ({reason}): {why}")
            }
            Self::Received(notification) => write!(f, "closed by the peer: {notification}"),
            Self::Lost(Some(error)) => write!(f, "connection lost: {error}"),
            Self::Lost(None) => f.write_str("connection closed by the peer without a NOTIFICATION"),
            Self::Unreachable(error) => write!(f, "no connection: {error}"),
            Self::Replaced => f.write_str("the peer has restarted and connected anew"),
            Self::Upgrade => {
                f.write_str("closed by us for a restart over which the peer keeps the routes")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Reason;

    #[test]
    fn a_cause_reads_as_a_sentence() {
        let shutdown = Notification::with_text(Reason::ADMIN_SHUTDOWN, "maintenance until 4");
        let told = [
            (
                Cause::Received(shutdown.clone()),
                "closed by the peer: administrative shutdown: maintenance until 4",
            ),
            (
                Cause::Received(shutdown.into_hard_reset()),
                "closed by the peer: hard reset: administrative shutdown: maintenance until 4",
            ),
            (
                Cause::sent(
                    Notification::new(Reason::HOLD_TIMER_EXPIRED),
                    "nothing heard for 9 s",
                ),
                "closed by us (hold timer expired): nothing heard for 9 s",
            ),
            (
                Cause::Lost(None),
                "connection closed by the peer without a NOTIFICATION",
            ),
            (
                Cause::Unreachable("refused".to_owned()),
                "no connection: refused",
            ),
        ];
        for (cause, sentence) in told {
            assert_eq!(cause.to_string(), sentence);
        }
    }

    #[test]
    fn the_side_is_whose_word_it_is() {
        let cease = Notification::new(Reason::CEASE);
        assert_eq!(Cause::Received(cease.clone()).side(), Side::Remote);
        assert_eq!(Cause::sent(cease, "").side(), Side::Local);
    }
}
