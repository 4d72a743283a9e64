//! What the manifests say, as changes: the difference from what they said before.
//!
//! What is new or different acts at once. What is missing is believed when it has been missing for a while: a file that
//! is written in place is short for a moment. The while is long for what an address hangs on, because one that was given
//! away by mistake does not come back; it is short for Nodes and endpoints, whose traffic should soon go elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ironlb_config::{Error, Objects, Subject, Surroundings};
use ironlb_model::{
    Config, EndpointSlice, Name, Namespace, Node, Service, ServiceKey, SliceKey, Time,
};

use super::directory::index::Difference;

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Config(Arc<Config>),
    NamespaceApplied(Namespace),
    NamespaceDeleted(Name),
    NodeApplied(Node),
    NodeDeleted(Name),
    EndpointsApplied(Arc<EndpointSlice>),
    EndpointsDeleted(SliceKey),
    ServiceApplied(Arc<Service>),
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
    /// All that is said of it, so that it can be judged again beside other nodes.
    objects: Objects,
    /// What is wrong with it.
    errors: Vec<Error>,
    services: Known<ServiceKey, Arc<Service>>,
    slices: Known<SliceKey, Arc<EndpointSlice>>,
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
            objects: Objects::default(),
            errors: Vec::new(),
            services: Known::new(GRACE),
            slices: Known::new(SHORT_GRACE),
            nodes: Known::new(SHORT_GRACE),
            namespaces: Known::new(GRACE),
            lesser_config: None,
        }
    }

    /// Takes in what the manifests say otherwise now, and all configuration where some of it may be different. Gives the changes that
    /// follow at once.
    pub(crate) fn take(
        &mut self,
        now: Time,
        differences: Vec<Difference>,
        configuration: Option<Objects>,
    ) -> Taken {
        let kinds = Kinds::sort(differences);
        let mut others = Vec::new();
        let changed = self.namespaces.take(now, kinds.namespaces);
        others.extend(changed.into_iter().map(Change::NamespaceApplied));
        let is_other_nodes = !kinds.nodes.is_empty();
        let changed = self.take_nodes(now, kinds.nodes);
        others.extend(changed.into_iter().map(Change::NodeApplied));
        let changed = self.slices.take(now, kinds.slices);
        others.extend(changed.into_iter().map(Change::EndpointsApplied));
        let changed = self.services.take(now, kinds.services);
        others.extend(changed.into_iter().map(Change::ServiceApplied));

        let mut taken = Taken {
            is_configuration_anew: is_other_nodes || configuration.is_some(),
            ..Taken::default()
        };
        if let Some(objects) = configuration {
            self.objects = objects;
        }
        if taken.is_configuration_anew {
            self.lower(now, &mut taken.changes);
        }
        taken.changes.append(&mut others);
        taken.changes.extend(self.tick(now));
        taken
    }

    /// What is wrong with the configuration.
    pub(crate) fn errors(&self) -> &[Error] {
        &self.errors
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

    fn lower(&mut self, now: Time, changes: &mut Vec<Change>) {
        let nodes: Vec<Node> = self
            .nodes
            .there()
            .filter(|_| !self.is_alone)
            .cloned()
            .collect();
        let around = Surroundings {
            nodes: &nodes,
            without_secrets: true,
        };
        let lowered = ironlb_config::lower_for(&self.objects, &self.config, around);
        self.errors = lowered.errors;
        self.take_config(now, Arc::new(lowered.config), changes);
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

    fn take_nodes(&mut self, now: Time, mut differences: Differences<Name, Node>) -> Vec<Node> {
        let is_there = |(_, node): &(Name, Option<Node>)| node.is_some();
        if self.is_alone && differences.iter().any(is_there) {
            self.is_alone = false;
            // Unless it is among them.
            differences.insert(0, (self.node.clone(), None));
        }
        self.nodes.take(now, differences)
    }

    fn own_node(&self) -> Node {
        Node {
            name: self.node.clone(),
            ..Node::default()
        }
    }
}

/// What came of a look at the manifests.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) changes: Vec<Change>,
    /// Configuration was judged: its errors may be others.
    pub(crate) is_configuration_anew: bool,
}

/// What is different of one kind, in order: the object now, or `None` where there is none any more.
type Differences<K, T> = Vec<(K, Option<T>)>;

/// Differences by kind.
#[derive(Default)]
struct Kinds {
    services: Differences<ServiceKey, Arc<Service>>,
    slices: Differences<SliceKey, Arc<EndpointSlice>>,
    nodes: Differences<Name, Node>,
    namespaces: Differences<Name, Namespace>,
}

impl Kinds {
    fn sort(differences: Vec<Difference>) -> Self {
        let mut kinds = Self::default();
        for Difference { before, now } in differences {
            let Some(either) = now.as_ref().or(before.as_ref()) else {
                continue;
            };
            let is_there = now.is_some();
            match either.subject() {
                Subject::Service(it) => {
                    let object = is_there.then(|| Arc::clone(it));
                    kinds.services.push((it.key.clone(), object));
                }
                Subject::EndpointSlice(it) => {
                    let object = is_there.then(|| Arc::clone(it));
                    kinds.slices.push((it.key.clone(), object));
                }
                Subject::Node(it) => {
                    let object = is_there.then(|| it.clone());
                    kinds.nodes.push((it.name.clone(), object));
                }
                Subject::Namespace(it) => {
                    let object = is_there.then(|| it.clone());
                    kinds.namespaces.push((it.name.clone(), object));
                }
                Subject::Configuration => {}
            }
        }
        kinds
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
    fn take(&mut self, now: Time, differences: Differences<K, T>) -> Vec<T> {
        let mut changed = Vec::new();
        for (key, object) in differences {
            let Some(object) = object else {
                if self.current.contains_key(&key) {
                    self.missing.entry(key).or_insert(now);
                }
                continue;
            };
            self.missing.remove(&key);
            let former = self.current.insert(key, object.clone());
            if former.as_ref() != Some(&object) {
                changed.push(object);
            }
        }
        changed
    }

    /// What is in force and not missing.
    fn there(&self) -> impl Iterator<Item = &T> {
        let known = self.current.iter();
        known
            .filter(|(key, _)| !self.missing.contains_key(*key))
            .map(|(_, object)| object)
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
        for key in &gone {
            self.missing.remove(key);
            self.current.remove(key);
        }
        gone.into_iter()
    }

    fn deadline(&self) -> Option<Time> {
        self.missing.values().min().map(|since| *since + self.grace)
    }
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
    use super::super::directory::index::Index;
    use super::super::file::{File, Look};
    use super::*;

    const POOL: &str = "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: first}\n\
                        spec: {addresses: [192.0.2.0/24]}\n---\n";
    const WEB: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n\
                       spec: {type: LoadBalancer}\n---\n";
    const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n2}\n---\n";

    /// A catalog, and what the one file of its manifests said last.
    struct Fixture {
        catalog: Catalog,
        index: Index,
        file: File,
        has_looked: bool,
    }

    impl Fixture {
        fn new() -> Self {
            Self {
                catalog: Catalog::new("n1".into(), Config::default()),
                index: Index::default(),
                file: File::default(),
                has_looked: false,
            }
        }

        fn read(&mut self, milliseconds: u64, texts: &[&str]) -> Vec<Change> {
            let look = Look::Text(texts.concat(), None);
            if let Some(news) = self.file.take("test", look) {
                self.index.set("test", news.before, self.file.claims());
            }
            let settled = self.index.settle();
            let is_first = !std::mem::replace(&mut self.has_looked, true);
            let configuration = (is_first || settled.is_configuration_touched)
                .then(|| self.index.configuration(false));
            let now = Time::from_millis(milliseconds);
            let taken = self.catalog.take(now, settled.differences, configuration);
            taken.changes
        }

        fn take(&mut self, milliseconds: u64, texts: &[&str]) -> Vec<Change> {
            let changes = self.read(milliseconds, texts);
            assert_eq!(self.catalog.errors(), []);
            changes
        }
    }

    fn web() -> ServiceKey {
        ServiceKey::new("default", "web")
    }

    #[test]
    fn without_a_manifest_of_a_node_there_is_this_one() {
        let mut site = Fixture::new();
        let changes = site.take(0, &[WEB]);
        assert!(changes.contains(&Change::NodeApplied(Node {
            name: "n1".into(),
            ..Node::default()
        })));
        assert!(site.catalog.has_own_node());

        let mut site = Fixture::new();
        site.take(0, &[WEB, NODE]);
        assert!(!site.catalog.has_own_node());
    }

    #[test]
    fn the_same_manifests_again_change_nothing() {
        let mut site = Fixture::new();
        assert!(!site.take(0, &[POOL, WEB, NODE]).is_empty());
        assert_eq!(site.take(1, &[POOL, WEB, NODE]), []);
        assert_eq!(site.catalog.deadline(), None);
    }

    #[test]
    fn a_service_is_gone_when_it_was_missing_for_a_while() {
        let mut site = Fixture::new();
        site.take(0, &[WEB]);
        assert_eq!(site.take(100, &[]), []);
        assert_eq!(site.take(500, &[]), []);
        assert_eq!(site.catalog.deadline(), Some(Time::from_millis(1_100)));
        assert_eq!(
            site.catalog.tick(Time::from_millis(1_100)),
            [Change::ServiceDeleted(web())]
        );
        assert_eq!(site.catalog.deadline(), None);
    }

    #[test]
    fn a_service_that_comes_back_in_time_was_never_gone() {
        let mut site = Fixture::new();
        site.take(0, &[WEB]);
        site.take(100, &[]);
        assert_eq!(site.take(900, &[WEB]), []);
        assert_eq!(site.catalog.tick(Time::from_secs(9)), []);
    }

    #[test]
    fn a_node_is_gone_sooner_than_a_service() {
        let mut site = Fixture::new();
        site.take(
            0,
            &[
                WEB,
                NODE,
                "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n",
            ],
        );
        assert_eq!(
            site.take(100, &["apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n"]),
            []
        );
        assert_eq!(
            site.catalog.tick(Time::from_millis(200)),
            [Change::NodeDeleted("n2".into())]
        );
        assert_eq!(site.catalog.deadline(), Some(Time::from_millis(1_100)));
    }

    #[test]
    fn a_pool_is_gone_when_it_was_missing_for_a_while_and_new_ones_come_at_once() {
        let mut site = Fixture::new();
        assert!(matches!(site.take(0, &[POOL])[0], Change::Config(_)));
        assert_eq!(site.take(100, &[]), []);
        let changes = site.catalog.tick(Time::from_millis(1_100));
        assert_eq!(changes, [Change::Config(Arc::default())]);
        assert!(matches!(site.take(1_200, &[POOL])[..], [Change::Config(_)]));
    }

    #[test]
    fn a_pool_in_error_is_there_and_gone_when_it_was_missing_for_a_while() {
        let broken = POOL.replace("/24", "/99");
        let mut site = Fixture::new();
        site.read(0, &[WEB, &broken]);
        let (key, pool) = (web(), Name::from("first"));
        assert!(site.catalog.has([(&key, Some(&pool))]));
        let is_config = |change: &Change| matches!(change, Change::Config(_));
        assert!(!site.take(100, &[WEB]).iter().any(is_config));
        let changes = site.catalog.tick(Time::from_millis(1_100));
        assert!(changes.iter().any(is_config));
        assert!(!site.catalog.has([(&key, Some(&pool))]));
    }

    #[test]
    fn what_the_state_needs_is_there_when_its_services_and_pools_are() {
        let mut site = Fixture::new();
        let (key, pool) = (web(), Name::from("first"));
        let held = || [(&key, Some(&pool))];
        assert!(!site.catalog.has(held()));
        site.take(0, &[WEB]);
        assert!(!site.catalog.has(held()));
        site.take(1, &[WEB, POOL]);
        assert!(site.catalog.has(held()));
        assert!(site.catalog.has([]));
    }
}
