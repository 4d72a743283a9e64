//! The uid of every known object.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ironlb_model::ServiceKey;

/// The uids of the known objects of a kind: `kubectl describe` shows no Event without one, and the garbage collector knows
/// an owner by it. Clones share it.
#[derive(Debug)]
pub struct Uids<K = ServiceKey>(Arc<Mutex<BTreeMap<K, Arc<str>>>>);

impl<K> Clone for Uids<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> Default for Uids<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Ord> Uids<K> {
    /// An object is there.
    pub fn insert(&self, object: K, uid: Arc<str>) {
        self.all().insert(object, uid);
    }

    /// An object is gone.
    pub fn remove(&self, object: &K) {
        self.all().remove(object);
    }

    /// The uid of an object; `None` when there is no such object, as far as is known.
    pub fn of(&self, object: &K) -> Option<Arc<str>> {
        self.all().get(object).cloned()
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<K, Arc<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
