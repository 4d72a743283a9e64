use ironlb_model::Time;

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The detection time passes without a packet.
    Detection,
    /// Too many echo packets have not come back.
    EchoDetection,
    /// The next periodic control packet.
    Transmit,
    /// The next echo packet.
    Echo,
    /// The peer has had time enough to learn that the session is over.
    Close,
}

/// One time for each [`Timer`], or none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timers {
    due: [Option<Time>; 5],
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        *self.slot(timer) = Some(at);
    }

    pub(crate) fn stop(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    pub(crate) const fn is_set(&self, timer: Timer) -> bool {
        let [detection, echo_detection, transmit, echo, close] = &self.due;
        match timer {
            Timer::Detection => detection.is_some(),
            Timer::EchoDetection => echo_detection.is_some(),
            Timer::Transmit => transmit.is_some(),
            Timer::Echo => echo.is_some(),
            Timer::Close => close.is_some(),
        }
    }

    /// Stops the timer when it is due, and says whether it was.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Time) -> bool {
        self.slot(timer).take_if(|at| *at <= now).is_some()
    }

    /// The first to come.
    pub(crate) fn next(&self) -> Option<Time> {
        self.due.iter().flatten().min().copied()
    }

    const fn slot(&mut self, timer: Timer) -> &mut Option<Time> {
        let [detection, echo_detection, transmit, echo, close] = &mut self.due;
        match timer {
            Timer::Detection => detection,
            Timer::EchoDetection => echo_detection,
            Timer::Transmit => transmit,
            Timer::Echo => echo,
            Timer::Close => close,
        }
    }
}
