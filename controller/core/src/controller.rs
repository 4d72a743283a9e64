//! The controller as a state machine.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use ironlb_model::{Name, ServiceKey, Time};

use crate::io::{Input, Output};
use crate::usage::Usage;

/// What is fixed for the life of a [`Controller`].
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The `loadBalancerClass` of the Services to care for (`--lb-class`); `None` for those without one.
    pub class: Option<String>,
}

/// Decides which Service gets which address.
///
/// Feed it with [`handle`](Self::handle), then drain [`poll`](Self::poll) until `None`, and call `handle` with
/// [`Input::Tick`] at [`deadline`](Self::deadline). Everything else asks and changes nothing.
#[derive(Debug, Default)]
pub struct Controller {
    settings: Settings,
    outputs: VecDeque<Output>,
}

impl Controller {
    /// A controller that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            ..Self::default()
        }
    }

    /// Takes in everything that happens.
    pub fn handle(&mut self, _now: Time, _input: Input) {
        let _ = &self.settings;
    }

    /// The next thing to do; drain until `None` after every [`handle`](Self::handle).
    #[must_use]
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle`](Self::handle) with [`Input::Tick`]; `None` when there is nothing to wait for.
    #[must_use]
    pub fn deadline(&self) -> Option<Time> {
        None
    }

    /// The addresses that a Service has, in the order of its status; empty for none.
    pub fn address_of(&self, _service: &ServiceKey) -> Vec<IpAddr> {
        Vec::new()
    }

    /// The pool that a Service's addresses come from.
    pub fn pool_of_service(&self, _service: &ServiceKey) -> Option<&Name> {
        None
    }

    /// The pool that has an address.
    pub fn pool_of(&self, _address: IpAddr) -> Option<&Name> {
        None
    }

    /// Why a Service has no address, or not the one that it asks for; `None` when all is well.
    pub fn explain(&self, _service: &ServiceKey) -> Option<String> {
        None
    }

    /// How full every pool is.
    pub fn pool_usage(&self) -> BTreeMap<Name, Usage> {
        BTreeMap::new()
    }
}
