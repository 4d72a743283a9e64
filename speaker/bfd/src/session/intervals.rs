use std::time::Duration;

use crate::settings::Settings;

/// The intervals that we tell the peer, and those that we still go by until it has confirmed (§6.8.3).
#[derive(Clone, Debug)]
pub(super) struct Intervals {
    /// bfd.DesiredMinTxInterval.
    pub(super) desired_min_tx: Duration,
    /// bfd.RequiredMinRxInterval.
    pub(super) required_min_rx: Duration,
    /// Not above the former before the poll has ended: else the peer would miss packets that it waits for.
    pub(super) transmit: Duration,
    /// Not below the latter before the poll has ended: the peer still sends as slowly as before.
    pub(super) receive: Duration,
}

impl Intervals {
    /// Those of a session that is not up.
    pub(super) fn slow(settings: &Settings) -> Self {
        let transmit = settings.transmit_interval.max(SLOW);
        Self {
            desired_min_tx: transmit,
            required_min_rx: settings.receive_interval,
            transmit,
            receive: settings.receive_interval,
        }
    }

    /// Tells others from now on, and says whether they are others.
    pub(super) fn change(
        &mut self,
        up: bool,
        desired_min_tx: Duration,
        required_min_rx: Duration,
    ) -> bool {
        let before = (self.desired_min_tx, self.required_min_rx);
        self.desired_min_tx = desired_min_tx;
        self.required_min_rx = required_min_rx;
        if up {
            self.transmit = self.transmit.min(desired_min_tx);
            self.receive = self.receive.max(required_min_rx);
        } else {
            self.settle();
        }
        before != (desired_min_tx, required_min_rx)
    }

    /// Goes by what the peer was told.
    pub(super) const fn settle(&mut self) {
        self.transmit = self.desired_min_tx;
        self.receive = self.required_min_rx;
    }
}

/// §6.8.3: the least interval while not up, and that of control packets that have an echo function beside them.
pub(super) const SLOW: Duration = Duration::from_secs(1);
