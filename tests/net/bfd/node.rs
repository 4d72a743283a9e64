//! BFD as a speaker has it.

use std::time::{Duration, Instant};

use ironlb_bfd::{Key, Reason};
use ironlb_lab::{Host, eventually_ok};
use ironlb_speaker::bfd::{self, Client, Event, Punctuality, Running};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;

use super::LIMIT;

/// BFD as a speaker has it, on a host.
pub(super) struct TestBfd {
    pub(super) client: Client,
    events: UnboundedReceiver<Event>,
    running: Running,
    runtime: Runtime,
}

impl TestBfd {
    pub(super) fn start(host: &Host) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (client, events, running) = host.in_namespace(bfd::start).unwrap().unwrap();
        Self {
            client,
            events,
            running,
            runtime,
        }
    }

    /// The next event, and how long it took from now.
    pub(super) fn next(&mut self) -> (Event, Duration) {
        let start = Instant::now();
        let next = async { tokio::time::timeout(LIMIT, self.events.recv()).await };
        let event = self.runtime.block_on(next).expect("an event in time");
        (event.unwrap(), start.elapsed())
    }

    /// Waits until each of these sessions is up.
    pub(super) fn wait_up(&mut self, keys: &[Key]) {
        let mut waiting = keys.to_vec();
        while !waiting.is_empty() {
            match self.next().0 {
                Event::Up(key) => waiting.retain(|other| *other != key),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until each of these sessions is down, and gives the longest time and the reasons.
    pub(super) fn wait_down(&mut self, keys: &[Key]) -> (Duration, Vec<Reason>) {
        let start = Instant::now();
        let mut reasons = Vec::new();
        while reasons.len() < keys.len() {
            match self.next().0 {
                Event::Down(key, reason) if keys.contains(&key) => reasons.push(reason),
                other => panic!("{other:?}"),
            }
        }
        (start.elapsed(), reasons)
    }

    /// The detection time and the transmission interval of a session.
    pub(super) fn intervals(&self, key: Key) -> (Duration, Duration) {
        self.ask(move |view| {
            (view.key == key).then(|| {
                let session = view.session;
                (session.detection_time(), session.transmit_interval())
            })
        })
    }

    /// Waits until a session goes by these intervals.
    pub(super) fn agrees(&self, key: Key, detection: Duration, transmit: Duration) {
        eventually_ok("both agree", LIMIT, || {
            let intervals = self.intervals(key);
            let expected = intervals == (detection, transmit);
            expected
                .then_some(())
                .ok_or_else(|| format!("{intervals:?}"))
        })
        .unwrap();
    }

    /// What a question gives for the first session that it gives anything for.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(ironlb_bfd::View<'_>) -> Option<T> + Send + 'static,
    ) -> T {
        let answer = self
            .client
            .ask(move |_, sessions, _| sessions.views().find_map(question));
        self.runtime.block_on(answer).unwrap().unwrap()
    }

    pub(super) fn punctuality(&self) -> Punctuality {
        let answer = self.client.ask(|_, _, punctuality| *punctuality);
        self.runtime.block_on(answer).unwrap()
    }

    pub(super) fn no_event_for(&mut self, period: Duration) {
        assert_eq!(self.event_within(period), None);
    }

    /// The next event, if there is one in time.
    pub(super) fn event_within(&mut self, period: Duration) -> Option<Event> {
        let next = async { tokio::time::timeout(period, self.events.recv()).await };
        let event = self.runtime.block_on(next).ok()?;
        Some(event.expect("BFD runs"))
    }

    /// A planned stop, and how long it took.
    pub(super) fn stop(self) -> Duration {
        let start = Instant::now();
        self.runtime.block_on(self.running.stop()).unwrap();
        start.elapsed()
    }
}
