//! The loop that drives the controller: no decision is made here.

use std::collections::BTreeMap;
use std::time::Duration;

use ironlb_controller_core::{Controller, Input, Output, Usage};
use ironlb_model::{Name, Time};
use ironlb_watch::{Barrier, Recorder, Update};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::leftovers::Look;
use crate::write::Writer;

/// The controller with its hands.
pub(crate) struct Drive {
    controller: Controller,
    writer: Writer,
    recorder: Recorder,
    barrier: Barrier,
    usage: watch::Sender<BTreeMap<Name, Usage>>,
    leftovers: mpsc::UnboundedSender<Look>,
    origin: Instant,
    counted: Instant,
    /// Whether something was decided since the pools' usage was last told.
    uncounted: bool,
    /// Whether the process is about to end.
    closing: watch::Receiver<bool>,
}

impl Drive {
    pub(crate) fn new(
        controller: Controller,
        writer: Writer,
        recorder: Recorder,
        barrier: Barrier,
        usage: watch::Sender<BTreeMap<Name, Usage>>,
        leftovers: mpsc::UnboundedSender<Look>,
        closing: watch::Receiver<bool>,
    ) -> Self {
        let now = Instant::now();
        Self {
            controller,
            writer,
            recorder,
            barrier,
            usage,
            leftovers,
            origin: now,
            counted: now,
            uncounted: false,
            closing,
        }
    }

    /// Runs until the process is about to end and no write is under way, or may still come into force.
    ///
    /// # Errors
    ///
    /// When no source is left.
    pub(crate) async fn run(mut self, mut updates: mpsc::Receiver<Update>) -> anyhow::Result<()> {
        loop {
            let closing = *self.closing.borrow();
            if closing && self.controller.is_settled() {
                return Ok(());
            }
            let wake = self.wake();
            let input = tokio::select! {
                update = updates.recv() => match update {
                    Some(update) => self.input(update),
                    None => anyhow::bail!("the controller's sources have ended"),
                },
                Some((service, outcome)) = self.writer.next() => Some(Input::Written { service, outcome }),
                () = tokio::time::sleep_until(wake) => Some(Input::Tick),
                _ = self.closing.changed(), if !closing => None,
            };
            if let Some(input) = input {
                self.uncounted |= !matches!(input, Input::Tick);
                self.controller.handle(self.now(), input);
                self.carry_out();
            }
            self.count();
        }
    }

    /// What the controller is to hear of an update.
    fn input(&self, update: Update) -> Option<Input> {
        Some(match update {
            Update::Config(config) => Input::Config(config),
            Update::ServiceApplied(service) => Input::ServiceApplied(service),
            Update::ServiceDeleted(service) => {
                self.look(Look::For(service.clone()));
                Input::ServiceDeleted(service)
            }
            Update::NamespaceApplied(namespace) => Input::NamespaceApplied(namespace),
            Update::NamespaceDeleted(namespace) => Input::NamespaceDeleted(namespace),
            Update::NodeApplied(node) => Input::NodeApplied(node),
            Update::NodeDeleted(node) => Input::NodeDeleted(node),
            Update::Read(source) if self.barrier.read(source) => {
                tracing::info!("everything has been read; allocation begins");
                self.look(Look::Everywhere);
                Input::Synced
            }
            Update::Read(_)
            | Update::EndpointsApplied(_)
            | Update::EndpointsDeleted(_)
            | Update::Secret(..) => {
                return None;
            }
        })
    }

    fn look(&self, look: Look) {
        // Nobody looks when the term is ending.
        let _ = self.leftovers.send(look);
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.controller.poll() {
            match output {
                Output::Write(write) => self.writer.write(write),
                Output::Event(event) => {
                    tracing::info!(service = %event.service, reason = event.reason, "{}", event.message);
                    self.recorder.record(event);
                }
            }
        }
    }

    /// Tells how full the pools are, not more often than [`COUNT_EVERY`].
    fn count(&mut self) {
        if self.uncounted && self.counted.elapsed() >= COUNT_EVERY {
            let usage = self.controller.pool_usage();
            self.usage.send_if_modified(|told| {
                let changed = *told != usage;
                *told = usage;
                changed
            });
            self.counted = Instant::now();
            self.uncounted = false;
        }
    }

    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// When to wake up without being woken: at the controller's deadline, or to count.
    fn wake(&self) -> Instant {
        let deadline = self
            .controller
            .deadline()
            .map(|time| self.origin + time.since(Time::ZERO));
        let count = self.uncounted.then(|| self.counted + COUNT_EVERY);
        let never = Instant::now() + Duration::from_secs(3_600);
        [deadline, count]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(never)
    }
}

const COUNT_EVERY: Duration = Duration::from_secs(1);
