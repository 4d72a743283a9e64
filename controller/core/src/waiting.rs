//! Services that wait for an address, grouped so that one of a kind is asked for all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ironlb_model::{Name, Service, ServiceKey};

use crate::alloc::{Allocator, Request};
use crate::refusal::Families;
use crate::share::Sharing;

/// Everything that decides whether a request can be met: when one of a class is refused, so are all the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class {
    families: Families,
    pool: Option<String>,
    addresses: Vec<IpAddr>,
    sharing: Option<Sharing>,
    pinned: Vec<Name>,
}

impl Class {
    /// The class of a request that was refused though the pools that it may use have what it needs.
    pub(crate) fn of(allocator: &Allocator, request: &Request<'_>) -> Self {
        let chooses = request.pool.is_none() && request.addresses.is_empty();
        Self {
            families: request.families,
            pool: request.pool.map(str::to_owned),
            addresses: request.addresses.to_vec(),
            sharing: request.sharing.clone(),
            pinned: if chooses {
                allocator.pinned(request)
            } else {
                Vec::new()
            },
        }
    }
}

/// When a Service's turn comes: the oldest first, one of unknown age after all others; then the first to arrive.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    undated: bool,
    created: i64,
    arrival: u64,
    pub(crate) service: ServiceKey,
}

impl Turn {
    pub(crate) fn new(service: &Service, arrival: u64) -> Self {
        Self {
            undated: service.created.is_none(),
            created: service.created.unwrap_or_default(),
            arrival,
            service: service.key.clone(),
        }
    }
}

/// The Services that wait, by class and turn.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    classes: BTreeMap<Arc<Class>, BTreeSet<Turn>>,
    by_service: BTreeMap<ServiceKey, Arc<Class>>,
}

impl Waiting {
    /// Notes what a Service waits for now; `None` for nothing.
    pub(crate) fn set(&mut self, turn: &Turn, class: Option<Class>) {
        let before = self.by_service.get(&turn.service);
        if before.map(|class| &**class) == class.as_ref() {
            return;
        }
        if let Some(before) = self.by_service.remove(&turn.service)
            && let Some(turns) = self.classes.get_mut(&before)
        {
            turns.remove(turn);
            if turns.is_empty() {
                self.classes.remove(&before);
            }
        }
        if let Some(class) = class {
            let class = self.intern(class);
            self.by_service
                .insert(turn.service.clone(), Arc::clone(&class));
            self.classes.entry(class).or_default().insert(turn.clone());
        }
    }

    fn intern(&self, class: Class) -> Arc<Class> {
        match self.classes.get_key_value(&class) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::new(class),
        }
    }

    /// The first of every class.
    pub(crate) fn heads(&self) -> BTreeMap<Turn, Arc<Class>> {
        let head = |(class, turns): (&Arc<Class>, &BTreeSet<Turn>)| {
            Some((turns.first()?.clone(), Arc::clone(class)))
        };
        self.classes.iter().filter_map(head).collect()
    }

    /// The first of one class.
    pub(crate) fn head(&self, class: &Arc<Class>) -> Option<&Turn> {
        self.classes.get(class)?.first()
    }
}
