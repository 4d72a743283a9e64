//! The echo function of a session: RFC 5880 §6.4, §6.8.8, §6.8.9.

use std::time::Duration;

use ironlb_model::Time;

use super::{Output, Session};
use crate::echo::{Echo, EchoPayload};
use crate::timers::Timer;
use crate::wire::State;

impl Session {
    /// §6.8.8, §6.8.9: echo packets are sent while the session is up here and there and the peer takes them.
    pub(super) fn settle_echo(&mut self, now: Time) {
        let interval = self.wanted_echo();
        if interval == self.echo.interval() {
            return;
        }
        let was_proven = self.echo.is_proven();
        self.echo = match (self.echo, interval) {
            (_, None) => Echo::Off,
            (Echo::Off, Some(interval)) => Echo::Trying {
                interval,
                since: now,
            },
            (Echo::Trying { since, .. }, Some(interval)) => Echo::Trying { interval, since },
            (Echo::Proven { returned, .. }, Some(interval)) => Echo::Proven { interval, returned },
        };
        match interval {
            Some(_) => self.timers.set(Timer::Echo, now),
            None => self.timers.stop(Timer::Echo),
        }
        self.expect_echo();
        // Going down sends a packet of its own.
        if was_proven != self.echo.is_proven() && self.settle_intervals() && self.state == State::Up
        {
            self.send(now, false);
        }
    }

    fn wanted_echo(&self) -> Option<Duration> {
        let packet = self.remote.packet.as_ref()?;
        let takes_them = !packet.required_min_echo_rx.is_zero();
        let up = self.state == State::Up && packet.state == State::Up;
        let wanted = self.settings.echo.filter(|_| up && takes_them);
        wanted.map(|interval| interval.max(packet.required_min_echo_rx))
    }

    pub(super) fn send_echo(&mut self, now: Time) {
        let Some(interval) = self.echo.interval() else {
            return;
        };
        self.echo_sequence = self.echo_sequence.wrapping_add(1);
        self.outputs.push_back(Output::Echo(EchoPayload {
            discriminator: self.discriminator,
            sequence: self.echo_sequence,
            nonce: self.nonce,
        }));
        let next = now + self.jittered(interval);
        self.timers.set(Timer::Echo, next);
    }

    /// One came back. Only one of the last few counts, so that no copy of an old one does.
    pub(super) fn echo_returned(&mut self, now: Time, payload: EchoPayload) {
        let age = self.echo_sequence.wrapping_sub(payload.sequence);
        let recent = age < u32::from(self.settings.detect_multiplier);
        let Some(interval) = self.echo.interval() else {
            return;
        };
        if payload.nonce != self.nonce || !recent {
            return;
        }
        let first = !self.echo.is_proven();
        self.echo_works = true;
        self.echo = Echo::Proven {
            interval,
            returned: now,
        };
        self.expect_echo();
        // §6.8.3: the peer's control packets may come more slowly now.
        if first && self.settle_intervals() {
            self.send(now, false);
        }
    }

    /// §6.8.5.
    fn expect_echo(&mut self) {
        let waiting = match self.echo {
            Echo::Proven { interval, returned } => Some((interval, returned)),
            Echo::Trying { interval, since } if self.echo_works => Some((interval, since)),
            Echo::Off | Echo::Trying { .. } => None,
        };
        match waiting {
            Some((interval, since)) => {
                let multiplier = u32::from(self.settings.detect_multiplier);
                let limit = since + interval.saturating_mul(multiplier);
                self.timers.set(Timer::EchoDetection, limit);
            }
            None => self.timers.stop(Timer::EchoDetection),
        }
    }
}
