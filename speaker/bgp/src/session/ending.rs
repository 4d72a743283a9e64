//! How a session ends by our own will: always with a NOTIFICATION.

use ironlb_model::Time;

use super::received::Exceeded;
use super::table::{self, Action, Event, action};
use super::{
    BFD_HOLD_TIME, Cause, OPEN_HOLD_TIME, Outbox, Outcome, Session, State, send_hold_time,
};
use crate::restart;
use crate::timers::Timer;
use crate::wire::{Error, Kind, Notification, Reason};

impl Session {
    /// Closes it with `notification`, for the reason of our own that `why` gives.
    pub(crate) fn end(
        &mut self,
        now: Time,
        notification: Notification,
        why: impl Into<String>,
        out: &mut Outbox,
    ) -> Outcome {
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        self.send(now, bytes.into(), out);
        out.close(self.connection);
        Outcome::Ended(Cause::sent(notification, why))
    }

    pub(super) fn malformed(&mut self, now: Time, error: &Error, out: &mut Outbox) -> Outcome {
        match action(self.state(), Event::Malformed) {
            Action::RefuseFault => self.end(now, error.notification(), error.to_string(), out),
            _ => Outcome::Continue,
        }
    }

    /// RFC 6608 §4: the data is the type of the message.
    pub(super) fn unexpected(
        &mut self,
        now: Time,
        reason: Reason,
        kind: Kind,
        out: &mut Outbox,
    ) -> Outcome {
        let data = vec![table::number(kind)];
        let why = format!(
            "a message of type {kind:?} is not expected in state {}",
            self.state()
        );
        self.end(now, Notification { reason, data }, why, out)
    }

    pub(super) fn exceeded(&mut self, now: Time, exceeded: Exceeded, out: &mut Outbox) -> Outcome {
        let notification = Notification {
            reason: Reason::MAX_PREFIXES,
            data: exceeded.data(),
        };
        let notification = restart::hard(notification, self.agreement());
        self.end(now, notification, exceeded.sentence(), out)
    }

    /// What a timer that ends the session has waited for.
    pub(super) fn silence(&self, timer: Timer) -> String {
        let agreed = self.agreement().map(|agreed| agreed.hold_time);
        let hold_time = agreed
            .filter(|time| !time.is_zero())
            .unwrap_or(OPEN_HOLD_TIME);
        match timer {
            Timer::SendHold => format!(
                "the peer has read nothing for {:?}",
                send_hold_time(hold_time)
            ),
            Timer::BfdHold => format!("BFD has not come up within {BFD_HOLD_TIME:?}"),
            Timer::Hold if self.state() == State::BfdUpPending => {
                format!("BFD has not come up within {hold_time:?}")
            }
            Timer::Hold | Timer::Keepalive => format!("nothing was heard for {hold_time:?}"),
        }
    }
}
