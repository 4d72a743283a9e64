//! Between the API server and its clients: connections, lists, changes and status writes, with delays and failures.

use std::rc::Rc;
use std::time::Duration;

use ironlb_controller_core::io::WriteOutcome;
use ironlb_model::{ServiceKey, Time};

use super::{Cluster, Happening, Process, Sent};
use crate::api::{Key, Kind, Object};
use crate::watch::Notice;

impl Cluster {
    /// A user's change, if it changes anything.
    pub(super) fn put(&mut self, object: Object) {
        let key = object.key();
        if self.api.put(object) {
            self.note(format_args!("r{} user writes {key:?}", self.api.revision()));
            self.announce_change();
        }
    }

    /// A user's deletion.
    pub(super) fn remove(&mut self, key: &Key) {
        if self.api.remove(key) {
            self.note(format_args!(
                "r{} user deletes {key:?}",
                self.api.revision()
            ));
            self.announce_change();
        }
    }

    /// Opens every watch of a process that has just started.
    pub(super) fn connect_all(&mut self, process: Process) {
        let kinds = self.common(process).map(|common| common.informer.kinds());
        for kind in kinds.unwrap_or_default() {
            self.reconnect(process, kind, false);
        }
    }

    /// Breaks a watch; it connects again after a while, and resumes or reads everything anew.
    pub(super) fn reconnect(&mut self, process: Process, kind: Kind, resume: bool) {
        let delay = self.rng.millis(1, 2_000);
        let Some(stream) = self
            .common(process)
            .and_then(|common| common.informer.stream(kind))
        else {
            return;
        };
        stream.connection += 1;
        stream.connected = false;
        if !resume {
            stream.place = None;
        }
        let connection = stream.connection;
        self.after(
            delay,
            Happening::Connect {
                process,
                kind,
                connection,
            },
        );
    }

    /// Breaks all watches of a process.
    pub(super) fn disconnect(&mut self, process: Process) {
        let kinds = self.common(process).map(|common| common.informer.kinds());
        for kind in kinds.unwrap_or_default() {
            let resume = self.rng.chance(50);
            self.reconnect(process, kind, resume);
        }
    }

    pub(super) fn connect(&mut self, process: Process, kind: Kind, connection: u64) {
        let reachable = self.api_up && !self.cut_off.contains(&process);
        let alive = self.common(process).is_some_and(|common| common.alive);
        let newest = self.api.revision();
        let revision = self.snapshot_for(process, newest);
        let Some(stream) = self
            .common(process)
            .and_then(|common| common.informer.stream(kind))
        else {
            return;
        };
        if !alive || stream.connection != connection {
            return;
        }
        if !reachable {
            let again = self.rng.millis(200, 4_000);
            self.after(
                again,
                Happening::Connect {
                    process,
                    kind,
                    connection,
                },
            );
            return;
        }
        stream.connected = true;
        let from = match stream.place {
            Some(place) => place,
            None => {
                self.schedule_list(process, kind, connection, revision);
                revision
            }
        };
        for missed in from + 1..=newest {
            self.schedule_change(process, kind, missed);
        }
    }

    /// What revision a list shows: usually the newest. A speaker may be served an old one, and a controller where
    /// nothing protects it from that.
    fn snapshot_for(&mut self, process: Process, newest: u64) -> u64 {
        let may_be_old = matches!(process, Process::Speaker(_)) || !self.profile.elected;
        if may_be_old && self.rng.chance(20) {
            newest.saturating_sub(self.rng.below(15))
        } else {
            newest
        }
    }

    fn schedule_list(&mut self, process: Process, kind: Kind, connection: u64, revision: u64) {
        let happening = Happening::ListArrives {
            process,
            kind,
            connection,
            revision,
        };
        let due = self.due(process, kind);
        self.schedule.add(due, happening);
    }

    fn schedule_change(&mut self, process: Process, kind: Kind, revision: u64) {
        if self
            .api
            .change(revision)
            .is_none_or(|change| change.key.kind() != kind)
        {
            return;
        }
        let due = self.due(process, kind);
        let Some(stream) = self
            .common(process)
            .and_then(|common| common.informer.stream(kind))
        else {
            return;
        };
        let connection = stream.connection;
        let happening = Happening::ChangeArrives {
            process,
            kind,
            connection,
            revision,
        };
        self.schedule.add(due, happening);
    }

    /// When the next delivery of a watch arrives: after a delay, and not before an earlier one.
    fn due(&mut self, process: Process, kind: Kind) -> Time {
        let lag = match self.rng.below(20) {
            0 => self.rng.between(Duration::ZERO, self.profile.lag * 4),
            1..=6 => self.rng.between(Duration::ZERO, self.profile.lag),
            _ => self.rng.millis(1, 20),
        };
        let earliest = (self.now + lag).as_nanos();
        match self
            .common(process)
            .and_then(|common| common.informer.stream(kind))
        {
            Some(stream) => {
                stream.last_due = stream.last_due.max(earliest);
                Time::from_nanos(stream.last_due)
            }
            None => self.now,
        }
    }

    /// Holds back everything that a watch delivers from now on.
    pub(super) fn hold_back(&mut self, process: Process, kind: Kind, time: Duration) {
        let until = (self.now + time).as_nanos();
        if let Some(stream) = self
            .common(process)
            .and_then(|common| common.informer.stream(kind))
        {
            stream.last_due = stream.last_due.max(until);
        }
    }

    /// Sends the newest change to every watch that is connected.
    fn announce_change(&mut self) {
        let revision = self.api.revision();
        let Some(kind) = self.api.change(revision).map(|change| change.key.kind()) else {
            return;
        };
        for process in self.processes() {
            let connected = self
                .common(process)
                .filter(|common| common.alive)
                .and_then(|common| common.informer.stream(kind))
                .is_some_and(|stream| stream.connected);
            if connected {
                self.schedule_change(process, kind, revision);
            }
        }
    }

    pub(super) fn list_arrives(
        &mut self,
        process: Process,
        kind: Kind,
        connection: u64,
        revision: u64,
    ) {
        let objects = self.api.list(kind, revision);
        let Some(common) = self.common(process).filter(|common| common.alive) else {
            return;
        };
        let Some(stream) = common.informer.stream(kind) else {
            return;
        };
        if stream.connection != connection {
            return;
        }
        stream.place = Some(revision);
        let notices = common.informer.list(kind, objects);
        let synced = common.informer.becomes_synced();
        self.counts.lists += 1;
        self.note(format_args!("{process} lists {kind:?} at r{revision}"));
        for notice in notices {
            self.tell(process, notice);
        }
        if synced {
            self.note(format_args!("{process} is synced"));
            self.tell_synced(process);
        }
    }

    pub(super) fn change_arrives(
        &mut self,
        process: Process,
        kind: Kind,
        connection: u64,
        revision: u64,
    ) {
        let Some(change) = self.api.change(revision).cloned() else {
            return;
        };
        // A burst of edits of the configuration is read as one.
        let later = kind == Kind::Config && self.config_changed_after(revision);
        let skip = later && self.rng.chance(30);
        let Some(common) = self.common(process).filter(|common| common.alive) else {
            return;
        };
        let Some(stream) = common.informer.stream(kind) else {
            return;
        };
        if stream.connection != connection || stream.place.is_none() {
            return;
        }
        stream.place = Some(revision);
        if skip {
            return;
        }
        self.note(format_args!("{process} sees r{revision}"));
        self.tell(process, Notice::from(change));
    }

    /// Whether a newer configuration is on its way: then the watch may report only that one.
    fn config_changed_after(&self, revision: u64) -> bool {
        let later = revision + 1..=self.api.revision();
        later.into_iter().any(|revision| {
            let change = self.api.change(revision);
            change.is_some_and(|change| change.key == Key::Config)
        })
    }

    fn tell(&mut self, process: Process, notice: Notice) {
        if self.violation.is_some() {
            return;
        }
        if let (Process::Speaker(index), Notice::Applied(Object::Config(_))) = (process, &notice) {
            self.note_pooled(index);
        }
        if let Process::Speaker(index) = process {
            self.remember_seen(index, &notice);
        }
        if let Some(common) = self.common(process) {
            common.informer.take(&notice);
        }
        match process {
            Process::Controller(index) => self.tell_controller(index, notice),
            Process::Speaker(index) => self.tell_speaker(index, notice),
        }
    }

    fn tell_synced(&mut self, process: Process) {
        match process {
            Process::Controller(index) => self.sync_controller(index),
            Process::Speaker(index) => self.sync_speaker(index),
        }
    }

    /// Puts a write on its way.
    pub(super) fn send_write(&mut self, controller: usize, life: u64, write: Sent) {
        let reachable = self.api_up && !self.cut_off.contains(&Process::Controller(controller));
        let service = write.status.service.clone();
        // The connection may break under a write that comes into force all the same.
        let told = !reachable || (self.answers_lost && self.rng.chance(25));
        let delay = self.travel();
        if reachable {
            let happening = Happening::WriteArrives {
                controller,
                life,
                write: Rc::new(write),
                told,
            };
            self.after(delay, happening);
        }
        if told {
            self.answer_write(controller, life, service, WriteOutcome::Failed);
        }
    }

    pub(super) fn write_arrives(
        &mut self,
        controller: usize,
        life: u64,
        write: &Rc<Sent>,
        told: bool,
    ) {
        let service = write.status.service.clone();
        let outcome = self.accept_write(controller, write);
        let lost = self.answers_lost && self.rng.chance(50);
        if !told {
            let heard = if lost { WriteOutcome::Failed } else { outcome };
            self.answer_write(controller, life, service, heard);
        }
    }

    fn accept_write(&mut self, controller: usize, write: &Rc<Sent>) -> WriteOutcome {
        let service = &write.status.service;
        let refused = self.writes_refused && self.rng.chance(50);
        if !self.api_up || refused {
            self.note(format_args!("API refuses the write for {service}"));
            return WriteOutcome::Failed;
        }
        let before = self.api.service(service).cloned();
        let revision = self.api.revision();
        let outcome = self.api.write_status(&write.status);
        let ips = &write.status.ips;
        self.note(format_args!(
            "r{} API: {service} := {ips:?}: {outcome:?}",
            self.api.revision()
        ));
        if outcome == WriteOutcome::Done
            && let Some(before) = before
        {
            self.check_written(controller, &before, write);
            self.accepted.insert(service.clone(), Rc::clone(write));
        }
        if self.api.revision() > revision {
            self.announce_change();
        }
        outcome
    }

    fn answer_write(
        &mut self,
        controller: usize,
        life: u64,
        service: ServiceKey,
        outcome: WriteOutcome,
    ) {
        let delay = match outcome {
            WriteOutcome::Failed => self.rng.millis(1, 5_000),
            _ => self.rng.millis(1, 300),
        };
        self.after(
            delay,
            Happening::Written {
                controller,
                life,
                service,
                outcome,
            },
        );
    }
}
