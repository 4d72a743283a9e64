//! What a router has of a node, and keeps while the node's speaker restarts (RFC 4724 §4.2).

use std::collections::BTreeMap;

use ipnet::IpNet;
use ironlb_model::{Family, Time};

use crate::bgp::told::{self, Told};

/// What it has of a node.
#[derive(Debug, Default)]
pub struct Neighbour {
    /// What it was told, and whether that is stale.
    pub routes: BTreeMap<IpNet, (Told, bool)>,
    /// When what is stale goes.
    pub(super) stale_until: Option<Time>,
}

impl Neighbour {
    /// The prefixes that are stale.
    pub fn stale(&self) -> impl Iterator<Item = IpNet> {
        let stale = self.routes.iter().filter(|(_, (_, stale))| *stale);
        stale.map(|(prefix, _)| *prefix)
    }

    pub(super) fn mark(&mut self, of: impl Fn(IpNet) -> bool) {
        for (prefix, (_, stale)) in &mut self.routes {
            *stale |= of(*prefix);
        }
    }

    /// Everything of a family has been said again.
    pub(super) fn sweep(&mut self, family: Family) {
        self.routes
            .retain(|prefix, (_, stale)| !*stale || told::family_of(*prefix) != family);
        if self.stale().next().is_none() {
            self.stale_until = None;
        }
    }

    pub(super) fn forget(&mut self) {
        self.routes.clear();
        self.stale_until = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_again_goes_with_the_end_of_its_family() {
        let mut neighbour = Neighbour::default();
        for prefix in ["192.0.2.1/32", "192.0.2.2/32", "2001:db8::1/128"] {
            let route = (Told::default(), false);
            neighbour.routes.insert(prefix.parse().unwrap(), route);
        }
        neighbour.mark(|_| true);
        let again = (Told::default(), false);
        neighbour
            .routes
            .insert("192.0.2.1/32".parse().unwrap(), again);
        neighbour.sweep(Family::V4);
        let left: Vec<String> = neighbour.routes.keys().map(ToString::to_string).collect();
        assert_eq!(left, ["192.0.2.1/32", "2001:db8::1/128"]);
        assert_eq!(neighbour.stale().count(), 1);
    }
}
