//! Equal values kept once.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Values that are shared, so that equal ones take the room of one. Those that nobody has any more are thrown out when the
/// set has doubled.
#[derive(Debug)]
pub(super) struct Interner<T> {
    values: BTreeSet<Arc<T>>,
    sweep_at: usize,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Self {
            values: BTreeSet::new(),
            sweep_at: FEW,
        }
    }
}

impl<T: Ord> Interner<T> {
    pub(super) const fn new() -> Self {
        Self {
            values: BTreeSet::new(),
            sweep_at: FEW,
        }
    }

    /// The shared one that equals `value`.
    pub(super) fn intern(&mut self, value: &Arc<T>) -> Arc<T> {
        if let Some(known) = self.values.get(value) {
            return Arc::clone(known);
        }
        if self.values.len() >= self.sweep_at {
            self.values.retain(|value| Arc::strong_count(value) > 1);
            self.sweep_at = self.values.len().saturating_mul(2).max(FEW);
        }
        self.values.insert(Arc::clone(value));
        Arc::clone(value)
    }
}

const FEW: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one() {
        let mut interner = Interner::new();
        let first = interner.intern(&Arc::new(7));
        assert!(Arc::ptr_eq(&first, &interner.intern(&Arc::new(7))));
    }

    #[test]
    fn what_nobody_has_does_not_pile_up() {
        let mut interner = Interner::new();
        let kept = interner.intern(&Arc::new(0));
        for number in 1..10_000 {
            interner.intern(&Arc::new(number));
        }
        assert!(interner.values.len() <= FEW + 1);
        assert!(Arc::ptr_eq(&kept, &interner.intern(&Arc::new(0))));
    }
}
