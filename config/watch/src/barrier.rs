//! What must have been read before anything is decided.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The sources that have not been read yet. Clones share it: the driver lifts it, `/readyz` shows it.
#[derive(Clone, Debug)]
pub struct Barrier(Arc<Mutex<BTreeSet<&'static str>>>);

impl Barrier {
    /// A barrier that waits for these sources.
    pub fn new(sources: impl IntoIterator<Item = &'static str>) -> Self {
        Self(Arc::new(Mutex::new(sources.into_iter().collect())))
    }

    /// Waits for these sources, from the start.
    pub fn begin(&self, sources: impl IntoIterator<Item = &'static str>) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *waiting = sources.into_iter().collect();
    }

    /// `source` has been read once. True when it was the last one to wait for.
    pub fn read(&self, source: &str) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(source) && waiting.is_empty()
    }

    /// What is still to be read, in the order of names; empty when everything has been.
    pub fn waiting(&self) -> Vec<&'static str> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_source_lifts_it_and_only_once() {
        let barrier = Barrier::new(["Service", "Node"]);
        assert!(!barrier.read("Service"));
        assert!(!barrier.read("Service"));
        assert_eq!(barrier.waiting(), ["Node"]);
        assert!(barrier.read("Node"));
        assert!(!barrier.read("Node"));
        assert!(barrier.waiting().is_empty());
    }
}
