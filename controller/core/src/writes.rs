//! Writes to the status of Services: one at a time for each, never on a version known to be old, and again when one fails.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::{Name, ServiceKey, Time};

use crate::controller::{Controller, deprecated, event};
use crate::io::{Output, StatusWrite, WriteOutcome};
use crate::record::{Pause, Record};

/// The writes under way, and when to try again.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) now: Time,
    under_way: BTreeMap<ServiceKey, Write>,
    timers: BTreeSet<(Time, ServiceKey)>,
}

/// A write under way.
#[derive(Debug)]
struct Write {
    uid: Arc<str>,
    version: Arc<str>,
    addresses: Vec<IpAddr>,
    pool: Option<Name>,
}

impl Writes {
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.timers.first().map(|(time, _)| *time)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.under_way.is_empty()
    }

    pub(crate) fn is_under_way(&self, service: &ServiceKey) -> bool {
        self.under_way.contains_key(service)
    }

    /// A newer object has arrived: a pause that was for that is over.
    pub(crate) fn resume_with_newer(&mut self, record: &mut Record) {
        if let Some(Pause::Outdated(until)) = record.pause {
            record.pause = None;
            self.timers.remove(&(until, record.service.key.clone()));
        }
    }

    pub(crate) fn cancel_pause(&mut self, service: &ServiceKey, record: &Record) {
        if let Some(pause) = record.pause {
            self.timers.remove(&(pause.until(), service.clone()));
        }
    }

    fn pause(&mut self, record: &mut Record, pause: Pause) {
        let service = record.service.key.clone();
        self.cancel_pause(&service, record);
        self.timers.insert((pause.until(), service));
        record.pause = Some(pause);
    }
}

impl Controller {
    /// Writes what is wanted of a Service, unless it is written already, or must wait.
    pub(crate) fn submit(&mut self, key: &ServiceKey) {
        let Some(record) = self.records.get_mut(key) else {
            return;
        };
        if record.pause.is_some() || self.writes.is_under_way(key) {
            return;
        }
        let Some((addresses, pool)) = record.unwritten() else {
            return;
        };
        let (addresses, pool) = (addresses.to_vec(), pool.cloned());
        record.attempt(&addresses);
        if let Some(notice) = deprecated(&record.service)
            && record.is_news(&notice)
        {
            self.outputs.push_back(event(key, &notice));
        }
        let version = Arc::clone(&record.service.resource_version);
        self.outputs.push_back(Output::Write(StatusWrite {
            service: key.clone(),
            resource_version: Arc::clone(&version),
            ips: addresses.clone(),
            pool: pool.clone(),
        }));
        let write = Write {
            uid: Arc::clone(&record.service.uid),
            version,
            addresses,
            pool,
        };
        self.writes.under_way.insert(key.clone(), write);
    }

    /// Takes in how a write went.
    ///
    /// Only success says for sure: the version was the current one, so what we asked for is in force and nothing that we
    /// asked for before ever will be. After anything else the write may have happened all the same (an answer lost on
    /// the way, a request repeated by a proxy), so its addresses count as published until a newer object shows.
    pub(crate) fn finish_write(&mut self, key: &ServiceKey, outcome: WriteOutcome) {
        let Some(write) = self.writes.under_way.remove(key) else {
            return;
        };
        let now = self.writes.now;
        if let Some(record) = self.records.get_mut(key)
            && record.service.uid == write.uid
        {
            let is_current = record.service.resource_version == write.version;
            match outcome {
                WriteOutcome::Done => {
                    record.written(&write.version, &write.addresses, write.pool.as_ref());
                    if record.is_superseded() {
                        self.writes
                            .pause(record, Pause::Outdated(now + WAIT_FOR_NEWER));
                    }
                }
                WriteOutcome::Conflict | WriteOutcome::Gone if is_current => {
                    self.writes
                        .pause(record, Pause::Outdated(now + WAIT_FOR_NEWER));
                }
                WriteOutcome::Conflict | WriteOutcome::Gone => {}
                WriteOutcome::Failed => {
                    let until = now + record.back_off();
                    self.writes.pause(record, Pause::Backoff(until));
                }
            }
        }
        self.publish(key);
        self.write_again(key);
    }

    /// Takes up the writes whose pause is over.
    pub(crate) fn resume_writes(&mut self) {
        while let Some((time, _)) = self.writes.timers.first()
            && *time <= self.writes.now
            && let Some((_, key)) = self.writes.timers.pop_first()
        {
            if let Some(record) = self.records.get_mut(&key) {
                record.pause = None;
            }
            self.write_again(&key);
        }
    }

    /// Writes what is not written yet, once it is sure that it is still right: meanwhile the address in the status may have
    /// become one that may stay.
    fn write_again(&mut self, key: &ServiceKey) {
        let record = self.records.get(key);
        if record.is_some_and(|record| record.unwritten().is_some()) {
            self.converge(key);
        }
    }
}

/// How long to wait for the newer object that a conflict promises. It takes milliseconds; this is for a conflict that was
/// none.
const WAIT_FOR_NEWER: Duration = Duration::from_secs(10);
