//! How full a pool is.

use ironlb_model::Family;

/// The counters of one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Its IPv4 addresses.
    pub v4: Count,
    /// Its IPv6 addresses.
    pub v6: Count,
}

impl Usage {
    /// The counters of one family.
    pub const fn of(&self, family: Family) -> &Count {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    /// The same, to change.
    pub(crate) const fn of_mut(&mut self, family: Family) -> &mut Count {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// The counters of one family in a pool. An address that several Services share counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Addresses that may be given away at all; those that `avoidBuggyIPs` leaves out do not count. Saturates.
    pub total: u128,
    /// Of them, those that a Service has, or still has in its status.
    pub in_use: u128,
}

impl Count {
    /// Addresses that are free.
    pub const fn available(&self) -> u128 {
        self.total.saturating_sub(self.in_use)
    }
}
