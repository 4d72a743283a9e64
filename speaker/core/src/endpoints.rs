//! How many serving endpoints a Service has, and on which nodes. Slices are counted and let go.

use std::collections::{BTreeMap, BTreeSet};

use ironlb_model::{EndpointSlice, Family, Name, ServiceKey, SliceKey};

/// Counts of serving endpoints, of all Services.
#[derive(Clone, Debug, Default)]
pub(crate) struct Endpoints {
    slices: BTreeMap<SliceKey, Counts>,
    of_service: BTreeMap<ServiceKey, Vec<SliceKey>>,
    /// Names of nodes, each kept once however many slices name it.
    names: BTreeSet<Name>,
}

/// The serving endpoints of one slice.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    service: ServiceKey,
    /// `None` where no address says.
    family: Option<Family>,
    /// By node, ascending.
    nodes: Box<[(Name, u32)]>,
    /// Those that name no node.
    elsewhere: u32,
}

impl Endpoints {
    /// Takes a slice in place of an earlier one of its name. Says which Services' counts changed.
    pub(crate) fn apply(&mut self, slice: &EndpointSlice) -> Vec<ServiceKey> {
        let counts = self.count(slice);
        if self.slices.get(&slice.key) == Some(&counts) {
            return Vec::new();
        }
        let mut changed: Vec<ServiceKey> = self.delete(&slice.key).into_iter().collect();
        if !changed.contains(&counts.service) {
            changed.push(counts.service.clone());
        }
        let slices = self.of_service.entry(counts.service.clone()).or_default();
        slices.push(slice.key.clone());
        slices.shrink_to_fit();
        self.slices.insert(slice.key.clone(), counts);
        changed
    }

    /// Lets go of a slice. Says which Service's counts changed.
    pub(crate) fn delete(&mut self, key: &SliceKey) -> Option<ServiceKey> {
        let counts = self.slices.remove(key)?;
        if let Some(slices) = self.of_service.get_mut(&counts.service) {
            slices.retain(|slice| slice != key);
            if slices.is_empty() {
                self.of_service.remove(&counts.service);
            }
        }
        Some(counts.service)
    }

    /// Lets go of a node's name: its endpoints come as changed slices.
    pub(crate) fn forget_node(&mut self, node: &str) {
        self.names.remove(node);
    }

    /// Whether any endpoint serves, wherever it is.
    pub(crate) fn any(&self, service: &ServiceKey) -> bool {
        self.of(service)
            .any(|counts| counts.elsewhere > 0 || !counts.nodes.is_empty())
    }

    /// Whether any endpoint serves on `node`.
    pub(crate) fn any_on(&self, service: &ServiceKey, node: &str) -> bool {
        self.of(service).any(|counts| {
            counts
                .nodes
                .binary_search_by(|(name, _)| (**name).cmp(node))
                .is_ok()
        })
    }

    /// How many endpoints serve on `node` in a family: those of a Service of both are in a slice of each.
    pub(crate) fn count_on(&self, service: &ServiceKey, node: &str, family: Family) -> u32 {
        let slices = self.of(service);
        let slices = slices.filter(|counts| counts.family.is_none_or(|of| of == family));
        let counts = slices.filter_map(|counts| {
            let by_name = |(name, _): &(Name, u32)| (**name).cmp(node);
            let place = counts.nodes.binary_search_by(by_name).ok()?;
            counts.nodes.get(place).map(|(_, count)| *count)
        });
        counts.fold(0, u32::saturating_add)
    }

    /// The nodes with a serving endpoint; one may come more than once.
    pub(crate) fn nodes(&self, service: &ServiceKey) -> impl Iterator<Item = &Name> {
        self.of(service)
            .flat_map(|counts| counts.nodes.iter().map(|(name, _)| name))
    }

    fn of(&self, service: &ServiceKey) -> impl Iterator<Item = &Counts> {
        let slices = self.of_service.get(service).into_iter().flatten();
        slices.filter_map(|slice| self.slices.get(slice))
    }

    fn count(&mut self, slice: &EndpointSlice) -> Counts {
        let mut nodes: BTreeMap<Name, u32> = BTreeMap::new();
        let mut elsewhere = 0_u32;
        for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.serving) {
            let count = match &endpoint.node {
                Some(node) => nodes.entry(self.intern(node)).or_default(),
                None => &mut elsewhere,
            };
            *count = count.saturating_add(1);
        }
        let mut addresses = slice.endpoints.iter().flat_map(|one| &one.addresses);
        Counts {
            service: slice.service.clone(),
            family: addresses.next().copied().map(Family::of),
            nodes: nodes.into_iter().collect(),
            elsewhere,
        }
    }

    fn intern(&mut self, name: &Name) -> Name {
        if let Some(known) = self.names.get(name) {
            return known.clone();
        }
        self.names.insert(name.clone());
        name.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{key, slice};

    #[test]
    fn an_endpoint_counts_when_it_serves() {
        let mut endpoints = Endpoints::default();
        let mut only = slice("web", "web-1", &["n1"]);
        only.endpoints[0].serving = false;
        endpoints.apply(&only);
        assert!(!endpoints.any(&key("web")));
        only.endpoints[0].serving = true;
        assert_eq!(endpoints.apply(&only), [key("web")]);
        assert!(endpoints.any(&key("web")) && endpoints.any_on(&key("web"), "n1"));
        assert!(!endpoints.any_on(&key("web"), "n2"));
    }

    #[test]
    fn an_endpoint_of_both_families_is_counted_once_in_each() {
        let mut endpoints = Endpoints::default();
        for (name, address) in [("web-4", "10.0.0.1"), ("web-6", "fd00::1")] {
            let mut one = slice("web", name, &["n1"]);
            one.endpoints[0].addresses = vec![address.parse().unwrap()];
            endpoints.apply(&one);
        }
        for family in [Family::V4, Family::V6] {
            assert_eq!(endpoints.count_on(&key("web"), "n1", family), 1);
        }
    }

    #[test]
    fn an_endpoint_without_node_serves_but_on_no_node() {
        let mut endpoints = Endpoints::default();
        let mut only = slice("web", "web-1", &["n1"]);
        only.endpoints[0].node = None;
        endpoints.apply(&only);
        assert!(endpoints.any(&key("web")));
        assert_eq!(endpoints.nodes(&key("web")).count(), 0);
    }

    #[test]
    fn the_same_slice_again_changes_nothing() {
        let mut endpoints = Endpoints::default();
        let one = slice("web", "web-1", &["n1", "n1", "n2"]);
        assert_eq!(endpoints.apply(&one), [key("web")]);
        assert!(endpoints.apply(&one).is_empty());
    }

    #[test]
    fn a_slice_that_moves_to_another_service_changes_both() {
        let mut endpoints = Endpoints::default();
        endpoints.apply(&slice("web", "s", &["n1"]));
        assert_eq!(
            endpoints.apply(&slice("db", "s", &["n1"])),
            [key("web"), key("db")]
        );
        assert!(!endpoints.any(&key("web")) && endpoints.any(&key("db")));
        assert_eq!(
            endpoints.delete(&slice("db", "s", &[]).key),
            Some(key("db"))
        );
        assert!(!endpoints.any(&key("db")) && endpoints.of_service.is_empty());
    }
}
