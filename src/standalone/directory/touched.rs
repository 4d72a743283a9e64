//! Which files to look at: what the system says was touched, or all.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// What may be different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// Anything.
    All,
    /// These files or directories, and nothing else.
    Paths(BTreeSet<PathBuf>),
}

impl Touched {
    /// Nothing yet.
    pub(crate) const fn nothing() -> Self {
        Self::Paths(BTreeSet::new())
    }

    /// This too.
    pub(crate) fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Paths(paths), Self::Paths(others)) => paths.extend(others),
            _ => *self = Self::All,
        }
    }
}
