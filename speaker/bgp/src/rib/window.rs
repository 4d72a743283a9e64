//! When changes go out: at once after a quiet time, and otherwise together.

use std::time::Duration;

use ironlb_model::Time;

/// Changes that come one after another within this time go out together. The first after a quiet time does not wait.
pub(super) const COALESCE: Duration = Duration::from_millis(10);

/// Whether there are changes, and when they go out.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// When changes went out last.
    last: Option<Time>,
    due: Option<Time>,
}

impl Window {
    /// There is a change.
    pub(super) fn open(&mut self, now: Time) {
        let rested = self.last.map_or(now, |last| now.max(last + COALESCE));
        self.due.get_or_insert(rested);
    }

    /// When changes are to go out.
    pub(super) const fn due(&self) -> Option<Time> {
        self.due
    }

    /// All changes have gone out.
    pub(super) fn close(&mut self, now: Time) {
        if self.due.take().is_some() {
            self.last = Some(now);
        }
    }
}
