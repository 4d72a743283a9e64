//! One node without Kubernetes: the manifests, the status of their Services, and what the speaker and the kernel are
//! told of it. Each step is synchronous; what has to happen elsewhere comes out as values.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ironlb_config::Error;
use ironlb_controller_core::Usage;
use ironlb_forward::Ruleset;
use ironlb_model::{Config, EndpointSlice, Name, Service, ServiceKey, SliceKey, Time};
use ironlb_speaker_core::Input;

use super::catalog::{Catalog, Change, GRACE};
use super::directory::{Directory, Reading, Touched};
use super::follow::Follower;
use super::record::Record;
use super::state::{Allocations, StateError, StateFile};

/// Everything that is known of one node's site.
#[derive(Debug)]
pub(crate) struct Site {
    node: Name,
    class: Option<String>,
    directory: Directory,
    catalog: Catalog,
    status: Status,
    /// As announced, with their status.
    services: BTreeMap<ServiceKey, Arc<Service>>,
    slices: BTreeMap<SliceKey, Arc<EndpointSlice>>,
    /// For the speaker.
    inputs: Vec<Input>,
    /// What was forwarded last may be out of date.
    is_to_forward: bool,
    errors: Vec<Error>,
    /// How many changes the manifests brought.
    updates: u64,
    warned_of_node: bool,
    /// When a look first found less than the state file has.
    incomplete_since: Option<Time>,
    has_started: bool,
}

/// Where the status of Services comes from.
#[derive(Debug)]
enum Status {
    Ours(Box<Record>),
    Followed(Follower),
}

/// What makes one site different from another.
#[derive(Clone, Debug)]
pub(crate) struct Settings<'a> {
    /// The directory of manifests.
    pub(crate) directory: &'a Path,
    /// The state file.
    pub(crate) state: &'a Path,
    /// Whether another process writes the state file.
    pub(crate) follow: bool,
    /// The name of this node.
    pub(crate) node: &'a str,
    /// The `loadBalancerClass` of our Services.
    pub(crate) class: Option<String>,
}

impl Site {
    /// A site that has read its state and no manifest yet.
    pub(crate) fn open(settings: Settings<'_>) -> Result<Self, StateError> {
        let Settings {
            directory,
            state,
            follow,
            node,
            class,
        } = settings;
        let status = if follow {
            Status::Followed(Follower::new(class.clone(), state)?)
        } else {
            Status::Ours(Box::new(Record::new(
                class.clone(),
                StateFile::open(state)?,
            )))
        };
        let directory = Directory::new(directory, state, !follow);
        let remembered = directory.remembered();
        let last_good = ironlb_config::lower(&remembered, &Config::default());
        Ok(Self {
            node: node.into(),
            class,
            directory,
            catalog: Catalog::new(node.into(), last_good.config),
            status,
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            inputs: Vec::new(),
            is_to_forward: false,
            errors: Vec::new(),
            updates: 0,
            warned_of_node: false,
            incomplete_since: None,
            has_started: false,
        })
    }

    /// Looks at the manifests that were `touched`, and at a state file that is followed. `true` when it should look again soon.
    ///
    /// # Errors
    /// When the directory cannot be read. Then nothing changes.
    pub(crate) fn look(&mut self, now: Time, touched: &Touched) -> io::Result<bool> {
        if let Status::Followed(follower) = &mut self.status {
            follower.refresh();
        }
        let mut restless = false;
        match self.directory.read(touched)? {
            Some(reading) => {
                restless = reading.restless;
                let Reading {
                    differences,
                    configuration,
                    ..
                } = reading;
                let taken = self.catalog.take(now, differences, configuration);
                let errors = self.catalog.errors();
                self.directory.judge(errors, taken.is_configuration_anew);
                let errors = [&reading.errors, errors].concat();
                self.report(errors);
                self.take(now, taken.changes);
            }
            None => {
                let changes = self.catalog.tick(now);
                self.take(now, changes);
            }
        }
        self.settle(now, restless);
        Ok(restless)
    }

    /// Writes the copy of what is good. To be called when what a [`look`](Self::look) gave has been handed on: nobody waits for the
    /// copy, which is for a process that starts anew, and it may be large.
    pub(crate) fn keep(&mut self) {
        self.directory.keep();
    }

    /// When to [`look`](Self::look) though nothing seems to happen: what is missing is believed gone only when another look finds
    /// it missing still.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let status = match &self.status {
            Status::Ours(record) if !record.is_synced() => {
                self.incomplete_since.map(|since| since + GRACE)
            }
            Status::Ours(record) => record.deadline(),
            Status::Followed(_) => None,
        };
        [status, self.catalog.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// What the speaker is to be told, in order.
    pub(crate) fn take_inputs(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.inputs)
    }

    /// What is to be forwarded, when that may have changed since the last call.
    pub(crate) fn take_ruleset(&mut self) -> Option<Ruleset> {
        if !self.has_started || !std::mem::take(&mut self.is_to_forward) {
            return None;
        }
        let ours = self
            .services
            .values()
            .map(|it| &**it)
            .filter(|it| it.is_ours(self.class.as_deref()));
        let slices = self.slices.values().map(|it| &**it);
        Some(Ruleset::wanted(ours, slices, &self.node))
    }

    /// Whether what was decided could not be written to the state file.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(&self.status, Status::Ours(record) if record.is_behind())
    }

    /// How many changes came from the manifests since the last call.
    pub(crate) const fn take_updates(&mut self) -> u64 {
        std::mem::replace(&mut self.updates, 0)
    }

    /// Whether something is wrong with the manifests, and its last good state is in force.
    pub(crate) const fn is_stale(&self) -> bool {
        !self.errors.is_empty()
    }

    /// What has not been read yet, in words; nothing when everything in force is.
    pub(crate) fn waits_for(&self) -> Option<&'static str> {
        let is_synced = match &self.status {
            Status::Ours(record) => record.is_synced(),
            Status::Followed(_) => true,
        };
        match (self.has_started, is_synced) {
            (false, _) => Some("manifests"),
            (true, false) => Some("Services and pools that the state file has"),
            (true, true) => None,
        }
    }

    /// How full the pools are; nothing where another process allocates.
    pub(crate) fn pool_usage(&self) -> BTreeMap<Name, Usage> {
        match &self.status {
            Status::Ours(record) => record.pool_usage(),
            Status::Followed(_) => BTreeMap::new(),
        }
    }

    fn allocations(&self) -> &Allocations {
        match &self.status {
            Status::Ours(record) => record.allocations(),
            Status::Followed(follower) => follower.allocations(),
        }
    }

    fn take(&mut self, now: Time, changes: Vec<Change>) {
        for change in changes {
            self.updates += 1;
            self.apply(now, change);
        }
    }

    fn apply(&mut self, now: Time, change: Change) {
        match change {
            Change::Config(config) => {
                if let Status::Ours(record) = &mut self.status {
                    record.config(now, &config);
                }
                self.inputs.push(Input::Config(config));
            }
            Change::NamespaceApplied(namespace) => {
                if let Status::Ours(record) = &mut self.status {
                    record.namespace(now, namespace);
                }
            }
            Change::NamespaceDeleted(name) => {
                if let Status::Ours(record) = &mut self.status {
                    record.namespace_gone(now, name);
                }
            }
            Change::NodeApplied(node) => {
                if let Status::Ours(record) = &mut self.status {
                    record.node(now, node.clone());
                }
                self.inputs.push(Input::NodeApplied(node));
            }
            Change::NodeDeleted(name) => {
                if let Status::Ours(record) = &mut self.status {
                    record.node_gone(now, name.clone());
                }
                self.inputs.push(Input::NodeDeleted(name));
            }
            Change::EndpointsApplied(slice) => {
                self.is_to_forward = true;
                self.slices.insert(slice.key.clone(), Arc::clone(&slice));
                self.inputs
                    .push(Input::EndpointsApplied(EndpointSlice::clone(&slice)));
            }
            Change::EndpointsDeleted(key) => {
                self.is_to_forward = true;
                self.slices.remove(&key);
                self.inputs.push(Input::EndpointsDeleted(key));
            }
            Change::ServiceApplied(service) => match &mut self.status {
                Status::Ours(record) => record.service(now, &service),
                Status::Followed(follower) => follower.service(service),
            },
            Change::ServiceDeleted(key) => match &mut self.status {
                Status::Ours(record) => record.service_gone(now, &key),
                Status::Followed(follower) => follower.service_gone(&key),
            },
        }
    }

    /// Lets the status follow, and shows what came of it.
    fn settle(&mut self, now: Time, restless: bool) {
        // It goes through all that the state file has.
        let is_awaited = matches!(&self.status, Status::Ours(record) if !record.is_synced());
        let is_whole = is_awaited && !restless && self.is_whole(now);
        let changes = match &mut self.status {
            Status::Ours(record) => {
                if record.is_synced() {
                    record.settle(now);
                } else if is_whole {
                    record.synced(now);
                }
                record.take_changes()
            }
            Status::Followed(follower) => follower.take_changes(),
        };
        for (key, service) in changes {
            self.show(key, service);
        }
        if !self.has_started && !restless {
            self.has_started = true;
            self.is_to_forward = true;
            self.inputs.push(Input::Synced);
        }
        self.warn_of_node();
    }

    /// Whether everything that the state file has is there. What is not there is believed after a while, counted from
    /// the look that missed it: how long this process takes to start says nothing.
    fn is_whole(&mut self, now: Time) -> bool {
        let held = self
            .allocations()
            .iter()
            .map(|(key, held)| (key, held.pool.as_ref()));
        self.catalog.has(held) || {
            let since = *self.incomplete_since.get_or_insert(now);
            now.since(since) >= GRACE
        }
    }

    fn show(&mut self, key: ServiceKey, service: Option<Arc<Service>>) {
        match service {
            Some(service) if self.services.get(&key) == Some(&service) => {}
            Some(service) => {
                self.is_to_forward = true;
                let told = Box::new(Service::clone(&service));
                self.inputs.push(Input::ServiceApplied(told));
                self.services.insert(key, service);
            }
            None => {
                if self.services.remove(&key).is_some() {
                    self.is_to_forward = true;
                    self.inputs.push(Input::ServiceDeleted(key));
                }
            }
        }
    }

    fn report(&mut self, errors: Vec<Error>) {
        for error in errors.iter().filter(|error| !self.errors.contains(error)) {
            tracing::error!("{error}; what it said before stays in force");
        }
        if errors.is_empty() && !self.errors.is_empty() {
            tracing::info!("the manifests are without an error again");
        }
        self.errors = errors;
    }

    fn warn_of_node(&mut self) {
        let is_missing = !self.catalog.has_own_node();
        if is_missing && !self.warned_of_node {
            let node = &self.node;
            tracing::warn!(
                %node,
                "no Node of this name is among the manifests, so nothing is announced from here; add one, or give the right --node"
            );
        }
        self.warned_of_node = is_missing;
    }
}

#[cfg(test)]
mod tests;
