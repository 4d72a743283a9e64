//! What the manifests say, as changes: the difference from what they said before.
//!
//! What is new or different acts at once. What is missing is believed when it has been missing for a while: a file that
//! is written in place is short for a moment. The while is long for what an address hangs on, because one that was given
//! away by mistake does not come back; it is short for Nodes and endpoints, whose traffic should soon go elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ironlb_config::{Error, Manifests, Surroundings};
use ironlb_model::{
    Config, EndpointSlice, Name, Namespace, Node, Service, ServiceKey, SliceKey, Time,
};

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Config(Arc<Config>),
    NamespaceApplied(Namespace),
    NamespaceDeleted(Name),
    NodeApplied(Node),
    NodeDeleted(Name),
    EndpointsApplied(EndpointSlice),
    EndpointsDeleted(SliceKey),
    ServiceApplied(Box<Service>),
    ServiceDeleted(ServiceKey),
}

/// Everything that is in force.
#[derive(Debug)]
pub(crate) struct Catalog {
    node: Name,
    /// No manifest is about nodes: there is this one.
    is_alone: bool,
    config: Arc<Config>,
    has_told_config: bool,
    services: Known<ServiceKey, Service>,
    slices: Known<SliceKey, EndpointSlice>,
    nodes: Known<Name, Node>,
    namespaces: Known<Name, Namespace>,
    /// A configuration that lacks something the one in force has, and since when there is one.
    lesser_config: Option<(Arc<Config>, Time)>,
}

impl Catalog {
    /// One with nothing in it yet, for the node of this name. `config` was in force when the process before this one ended.
    pub(crate) fn new(node: Name, config: Config) -> Self {
        Self {
            node,
            is_alone: false,
            config: Arc::new(config),
            has_told_config: false,
            services: Known::new(GRACE),
            slices: Known::new(SHORT_GRACE),
            nodes: Known::new(SHORT_GRACE),
            namespaces: Known::new(GRACE),
            lesser_config: None,
        }
    }

    /// Takes in what the manifests say now. Gives the changes that follow at once, and what is wrong with the
    /// configuration.
    pub(crate) fn take(&mut self, now: Time, manifests: Manifests) -> (Vec<Change>, Vec<Error>) {
        let around = Surroundings {
            nodes: &manifests.nodes,
            without_secrets: true,
        };
        let lowered = ironlb_config::lower_for(&manifests.objects, &self.config, around);
        let mut changes = Vec::new();
        self.take_config(now, Arc::new(lowered.config), &mut changes);
        let keyed = by_key(manifests.namespaces, |it| it.name.clone());
        changes.extend(
            self.namespaces
                .take(now, keyed)
                .map(Change::NamespaceApplied),
        );
        let keyed = self.nodes_of(manifests.nodes);
        changes.extend(self.nodes.take(now, keyed).map(Change::NodeApplied));
        let keyed = by_key(manifests.endpoint_slices, |it| it.key.clone());
        changes.extend(self.slices.take(now, keyed).map(Change::EndpointsApplied));
        let keyed = by_key(manifests.services, |it| it.key.clone());
        let services = self.services.take(now, keyed);
        changes.extend(services.map(|service| Change::ServiceApplied(Box::new(service))));
        changes.extend(self.tick(now));
        (changes, lowered.errors)
    }

    /// What follows from the time alone: what was missing for long enough is gone.
    pub(crate) fn tick(&mut self, now: Time) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some((config, since)) = self.lesser_config.take() {
            if now.since(since) < GRACE {
                self.lesser_config = Some((config, since));
            } else {
                changes.push(Change::Config(Arc::clone(&config)));
                self.config = config;
            }
        }
        changes.extend(self.services.gone(now).map(Change::ServiceDeleted));
        changes.extend(self.slices.gone(now).map(Change::EndpointsDeleted));
        changes.extend(self.nodes.gone(now).map(Change::NodeDeleted));
        if self.nodes.current.is_empty() {
            self.is_alone = true;
            self.nodes
                .current
                .insert(self.node.clone(), self.own_node());
            changes.push(Change::NodeApplied(self.own_node()));
        }
        changes.extend(self.namespaces.gone(now).map(Change::NamespaceDeleted));
        changes
    }

    /// When to call [`tick`](Self::tick) next.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let deadlines = [
            self.lesser_config.as_ref().map(|(_, since)| *since + GRACE),
            self.services.deadline(),
            self.slices.deadline(),
            self.nodes.deadline(),
            self.namespaces.deadline(),
        ];
        deadlines.into_iter().flatten().min()
    }

    /// Whether these Services are all there, and the pools that they have addresses of.
    pub(crate) fn has<'a>(
        &self,
        held: impl IntoIterator<Item = (&'a ServiceKey, Option<&'a Name>)>,
    ) -> bool {
        held.into_iter().all(|(service, pool)| {
            self.services.current.contains_key(service)
                && pool.is_none_or(|pool| is_there(&self.config, pool))
        })
    }

    /// Whether the node itself is among the nodes.
    pub(crate) fn has_own_node(&self) -> bool {
        self.nodes.current.contains_key(&self.node)
    }

    fn take_config(&mut self, now: Time, config: Arc<Config>, changes: &mut Vec<Change>) {
        let is_first = !std::mem::replace(&mut self.has_told_config, true);
        let before = Arc::clone(&self.config);
        if lacks_something_of(&config, &self.config) {
            let since = self.lesser_config.as_ref().map_or(now, |(_, since)| *since);
            self.lesser_config = Some((config, since));
        } else {
            self.lesser_config = None;
            self.config = config;
        }
        if is_first || self.config != before {
            changes.push(Change::Config(Arc::clone(&self.config)));
        }
    }

    fn nodes_of(&mut self, mut nodes: Vec<Node>) -> BTreeMap<Name, Node> {
        self.is_alone &= nodes.is_empty();
        if self.is_alone {
            nodes.push(self.own_node());
        }
        by_key(nodes, |node| node.name.clone())
    }

    fn own_node(&self) -> Node {
        Node {
            name: self.node.clone(),
            ..Node::default()
        }
    }
}

/// Objects of one kind: what is in force, and what of it is missing since when.
#[derive(Debug)]
struct Known<K, T> {
    current: BTreeMap<K, T>,
    missing: BTreeMap<K, Time>,
    /// How long something must be missing to be gone.
    grace: Duration,
}

impl<K: Ord + Clone, T: Clone + PartialEq> Known<K, T> {
    const fn new(grace: Duration) -> Self {
        Self {
            current: BTreeMap::new(),
            missing: BTreeMap::new(),
            grace,
        }
    }

    /// Gives what is new or different.
    fn take(&mut self, now: Time, found: BTreeMap<K, T>) -> impl Iterator<Item = T> {
        self.missing.retain(|key, _| !found.contains_key(key));
        for key in self.current.keys().filter(|key| !found.contains_key(key)) {
            self.missing.entry(key.clone()).or_insert(now);
        }
        let mut changed = Vec::new();
        for (key, object) in found {
            if self.current.get(&key) != Some(&object) {
                self.current.insert(key, object.clone());
                changed.push(object);
            }
        }
        changed.into_iter()
    }

    /// Forgets, and gives, what has been missing for long enough.
    fn gone(&mut self, now: Time) -> impl Iterator<Item = K> {
        let is_gone = |since: &Time| now.since(*since) >= self.grace;
        let gone: BTreeSet<K> = self
            .missing
            .iter()
            .filter(|(_, since)| is_gone(since))
            .map(|(key, _)| key.clone())
            .collect();
        self.missing.retain(|key, _| !gone.contains(key));
        self.current.retain(|key, _| !gone.contains(key));
        gone.into_iter()
    }

    fn deadline(&self) -> Option<Time> {
        self.missing.values().min().map(|since| *since + self.grace)
    }
}

/// The first of each key counts, as with an object that is there already.
fn by_key<K: Ord, T>(objects: Vec<T>, key: impl Fn(&T) -> K) -> BTreeMap<K, T> {
    let mut keyed = BTreeMap::new();
    for object in objects {
        keyed.entry(key(&object)).or_insert(object);
    }
    keyed
}

/// Whether there is a pool of this name, if only in error.
fn is_there(config: &Config, pool: &Name) -> bool {
    config.pools.contains_key(pool) || config.pools_in_error.has(pool)
}

/// Whether an object, or a part of a pool, that `before` has is not in `after`.
fn lacks_something_of(after: &Config, before: &Config) -> bool {
    fn lacks<T>(after: &BTreeMap<Name, T>, before: &BTreeMap<Name, T>) -> bool {
        before.keys().any(|name| !after.contains_key(name))
    }
    let mut pools = before
        .pools
        .keys()
        .chain(before.pools_in_error.labels.keys());
    pools.any(|pool| !is_there(after, pool))
        || lacks(&after.l2_advertisements, &before.l2_advertisements)
        || lacks(&after.bgp_advertisements, &before.bgp_advertisements)
        || lacks(&after.peers, &before.peers)
}

/// How long something that an address hangs on must be missing to be gone.
pub(crate) const GRACE: Duration = Duration::from_secs(1);
/// The same for where traffic goes.
const SHORT_GRACE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use ironlb_config::Source;

    use super::*;

    const POOL: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: first}\n\
                        spec: {addresses: [192.0.2.0/24]}\n---\n";
    const WEB: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                       spec: {type: LoadBalancer}\n---\n";
    const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n---\n";

    fn manifests(texts: &[&str]) -> Manifests {
        ironlb_config::read(&[Source {
            name: "test".into(),
            text: texts.concat(),
        }])
    }

    fn take(catalog: &mut Catalog, milliseconds: u64, texts: &[&str]) -> Vec<Change> {
        let (changes, errors) = catalog.take(Time::from_millis(milliseconds), manifests(texts));
        assert!(errors.is_empty(), "{errors:?}");
        changes
    }

    fn web() -> ServiceKey {
        ServiceKey::new("default", "web")
    }

    #[test]
    fn without_a_manifest_of_a_node_there_is_this_one() {
        let mut catalog = Catalog::new("n1".into(), Config::default());
        let changes = take(&mut catalog, 0, &[WEB]);
        assert!(changes.contains(&Change::NodeApplied(Node {
            name: "n1".into(),
            ..Node::default()
        })));
        assert!(catalog.has_own_node());

        let mut catalog = Catalog::new("n1".into(), Config::default());
        take(&mut catalog, 0, &[WEB, NODE]);
        assert!(!catalog.has_own_node());
    }

    #[test]
    fn the_same_manifests_again_change_nothing() {
        let mut catalog = Catalog::new("n1".into(), Config::default());
        assert!(!take(&mut catalog, 0, &[POOL, WEB, NODE]).is_empty());
        assert_eq!(take(&mut catalog, 1, &[POOL, WEB, NODE]), []);
        assert_eq!(catalog.deadline(), None);
    }

    #[test]
    fn a_service_is_gone_when_it_was_missing_for_a_while() {
        let mut catalog = Catalog::new("n1".into(), Config::default());
        take(&mut catalog, 0, &[WEB]);
        assert_eq!(take(&mut catalog, 100, &[]), []);
        assert_eq!(take(&mut catalog, 500, &[]), []);
        assert_eq!(catalog.deadline(), Some(Time::from_millis(1_100)));
        assert_eq!(
            catalog.tick(Time::from_millis(1_100)),
            [Change::ServiceDeleted(web())]
        );
        assert_eq!(catalog.deadline(), None);
    }

    #[test]
    fn a_service_that_comes_back_in_time_was_never_gone() {
        let mut catalog = Catalog::new("n1".into(), Config::default());
        take(&mut catalog, 0, &[WEB]);
        take(&mut catalog, 100, &[]);
        assert_eq!(take(&mut catalog, 900, &[WEB]), []);
        assert_eq!(catalog.tick(Time::from_secs(9)), []);
    }

    #[test]
    fn a_node_is_gone_sooner_than_a_service() {
        let mut catalog = Catalog::new("n1".into(), Config::default());
        take(
            &mut catalog,
            0,
            &[
                WEB,
                NODE,
                "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n",
            ],
        );
        assert_eq!(
            take(
                &mut catalog,
                100,
                &["apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"]
            ),
            []
        );
        assert_eq!(
            catalog.tick(Time::from_millis(200)),
            [Change::NodeDeleted("n2".into())]
        );
        assert_eq!(catalog.deadline(), Some(Time::from_millis(1_100)));
    }

    #[test]
    fn a_pool_is_gone_when_it_was_missing_for_a_while_and_new_ones_come_at_once() {
        let mut catalog = Catalog::new("n1".into(), Config::default());
        assert!(matches!(
            take(&mut catalog, 0, &[POOL])[0],
            Change::Config(_)
        ));
        assert_eq!(take(&mut catalog, 100, &[]), []);
        let changes = catalog.tick(Time::from_millis(1_100));
        assert_eq!(changes, [Change::Config(Arc::default())]);
        assert!(matches!(
            take(&mut catalog, 1_200, &[POOL])[..],
            [Change::Config(_)]
        ));
    }

    #[test]
    fn a_pool_in_error_is_there_and_gone_when_it_was_missing_for_a_while() {
        let broken = POOL.replace("/24", "/99");
        let mut catalog = Catalog::new("n1".into(), Config::default());
        catalog.take(Time::ZERO, manifests(&[WEB, &broken]));
        let (key, pool) = (web(), Name::from("first"));
        assert!(catalog.has([(&key, Some(&pool))]));
        let is_config = |change: &Change| matches!(change, Change::Config(_));
        assert!(!take(&mut catalog, 100, &[WEB]).iter().any(is_config));
        let changes = catalog.tick(Time::from_millis(1_100));
        assert!(changes.iter().any(is_config));
        assert!(!catalog.has([(&key, Some(&pool))]));
    }

    #[test]
    fn what_the_state_needs_is_there_when_its_services_and_pools_are() {
        let mut catalog = Catalog::new("n1".into(), Config::default());
        let (key, pool) = (web(), Name::from("first"));
        let held = || [(&key, Some(&pool))];
        assert!(!catalog.has(held()));
        take(&mut catalog, 0, &[WEB]);
        assert!(!catalog.has(held()));
        take(&mut catalog, 1, &[WEB, POOL]);
        assert!(catalog.has(held()));
        assert!(catalog.has([]));
    }
}
