//! Says in the API what this node announces: one ServiceL2Status and one ServiceBGPStatus for each Service.
//!
//! For people and their tools; nothing reads it back. It is brought up to date in the background, in a few requests at a
//! time, and never holds an announcement up. A status says what is announced now, so each has an end: the speaker
//! deletes what it does not announce any more, all of them when it stops, and those that a speaker before it left
//! behind. A node that is gone takes its statuses along: it owns them, and the garbage collector sees to that. The
//! controller deletes those of a Service that was deleted while no speaker ran here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use ironlb_model::{Name, ServiceKey};
use ironlb_sys::memory;
use ironlb_watch::{Backoff, Barrier, Uids, jittered, owner};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

/// What is announced, by the names of interfaces or peers. No interface is all of them.
type Announced = BTreeMap<ServiceKey, BTreeSet<String>>;

/// A Service, and where it is announced now; `None` for nowhere.
pub(crate) type Report = (ServiceKey, Option<BTreeSet<String>>);

/// One of the two kinds of status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// ServiceL2Status, with interfaces.
    Layer2,
    /// ServiceBGPStatus, with peers.
    Bgp,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Layer2 => "ServiceL2Status",
            Self::Bgp => "ServiceBGPStatus",
        }
    }

    const fn plural(self) -> &'static str {
        match self {
            Self::Layer2 => "servicel2statuses",
            Self::Bgp => "servicebgpstatuses",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Layer2 => "l2-",
            Self::Bgp => "bgp-",
        }
    }

    /// The field of the status that lists the names.
    const fn field(self) -> &'static str {
        match self {
            Self::Layer2 => "interfaces",
            Self::Bgp => "peers",
        }
    }

    fn entry(self, name: &str) -> Value {
        match self {
            Self::Layer2 => json!({ "name": name }),
            Self::Bgp => name.into(),
        }
    }

    fn name_in(self, entry: &Value) -> Option<&str> {
        match self {
            Self::Layer2 => entry.get("name")?.as_str(),
            Self::Bgp => entry.as_str(),
        }
    }
}

/// Writes the statuses of one kind of a node.
pub(crate) struct Keeper {
    statuses: Statuses,
    nodes: Uids<Name>,
    announced: Announced,
    /// What the API has; `None` when it must be read.
    written: Option<BTreeMap<ServiceKey, Written>>,
    /// When to read it again all the same: somebody may have deleted one.
    read_again: Instant,
    backoff: Backoff,
}

impl Keeper {
    /// A keeper of what `node` announces, which has not looked yet.
    pub(crate) fn new(
        kind: Kind,
        client: Client,
        namespace: &str,
        node: Name,
        nodes: Uids<Name>,
    ) -> Self {
        Self {
            statuses: Statuses::new(kind, client, namespace, node),
            nodes,
            announced: Announced::new(),
            written: None,
            read_again: Instant::now(),
            backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
        }
    }

    /// Writes what `reports` says. Begins once `barrier` is lifted, and then removes what a speaker before this one left
    /// behind. When the reports end, nothing is announced any more, and all statuses are deleted.
    pub(crate) async fn run(mut self, barrier: Barrier, mut reports: mpsc::Receiver<Report>) {
        let mut wait = QUIET;
        loop {
            match timeout(wait, reports.recv()).await {
                Ok(None) => break,
                Ok(Some(report)) => {
                    note(&mut self.announced, report);
                    wait = QUIET;
                }
                Err(_) if !barrier.waiting().is_empty() => {}
                Err(_) => wait = self.pass().await,
            }
        }
        self.announced.clear();
        self.pass().await;
    }

    /// Brings the API up to date; gives the time after which to do so again.
    async fn pass(&mut self) -> Duration {
        let owner = self.nodes.of(&self.statuses.node);
        if owner != self.statuses.owner || Instant::now() >= self.read_again {
            self.statuses.owner = owner;
            self.written = None;
        }
        let is_known = self.written.is_some();
        let found = match self.written.take() {
            Some(written) => Ok(written),
            None => {
                self.read_again = Instant::now() + jittered(LOOK_AGAIN);
                self.statuses.list().await
            }
        };
        let (now, all) = match found {
            Ok(found) => self.statuses.bring_up_to_date(found, &self.announced).await,
            // The cluster does not have the kind.
            Err(kube::Error::Api(status)) if status.code == 404 => return jittered(ABSENT),
            Err(error) => {
                tracing::debug!(%error, kind = self.statuses.kind.name(), "statuses not read");
                return self.backoff.failed();
            }
        };
        if !all {
            return self.backoff.failed();
        }
        self.written = Some(now);
        if !is_known {
            // The most is over: lists, the reports of a start, and a request for each status.
            memory::give_back();
        }
        if self.statuses.owner.is_none() && !self.announced.is_empty() {
            return self.backoff.failed();
        }
        self.backoff.succeeded();
        self.read_again.saturating_duration_since(Instant::now())
    }
}

fn note(announced: &mut Announced, (service, names): Report) {
    match names {
        Some(names) => announced.insert(service, names),
        None => announced.remove(&service),
    };
}

/// A status in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    name: String,
    /// `None` when it is not known, so that it is written again.
    names: Option<BTreeSet<String>>,
}

/// One thing to do.
enum Step {
    Create(ServiceKey, BTreeSet<String>),
    Update(ServiceKey, String, BTreeSet<String>),
    Delete(String),
}

struct Statuses {
    kind: Kind,
    api: Api<DynamicObject>,
    resource: ApiResource,
    node: Name,
    /// The node's uid; `None` while it is not known.
    owner: Option<Arc<str>>,
}

impl Statuses {
    fn new(kind: Kind, client: Client, namespace: &str, node: Name) -> Self {
        let version = GroupVersionKind::gvk("metallb.io", "v1beta1", kind.name());
        let resource = ApiResource::from_gvk_with_plural(&version, kind.plural());
        Self {
            kind,
            api: Api::namespaced_with(client, namespace, &resource),
            resource,
            node,
            owner: None,
        }
    }

    /// What this node has in the API. A second status of one Service is deleted, and one that the node does not own: it
    /// would outlive it, or belongs to another of its name and is about to go.
    async fn list(&self) -> kube::Result<BTreeMap<ServiceKey, Written>> {
        let mut page = ListParams::default()
            .labels(&format!("{NODE_LABEL}={}", self.node))
            .limit(PAGE);
        let mut found = BTreeMap::new();
        loop {
            let list = self.api.list(&page).await?;
            for object in list.items {
                let name = object.metadata.name.clone().unwrap_or_default();
                let service = service_of(&object).filter(|_| self.owns(&object));
                match service.filter(|service| !found.contains_key(service)) {
                    Some(service) => {
                        let names = names_of(self.kind, &object);
                        found.insert(service, Written { name, names });
                    }
                    None => self.delete(&name).await?,
                }
            }
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    /// Makes the API say `wanted`, and whether all of it worked. When not, what the API has must be read again.
    async fn bring_up_to_date(
        &self,
        found: BTreeMap<ServiceKey, Written>,
        wanted: &Announced,
    ) -> (BTreeMap<ServiceKey, Written>, bool) {
        let steps = steps(&found, wanted);
        let mut results = iter(steps)
            .map(|step| self.take(step))
            .buffer_unordered(AT_ONCE);
        let (mut now, mut all) = (found, true);
        while let Some(result) = results.next().await {
            match result {
                Ok(Some((service, written))) => drop(now.insert(service, written)),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, kind = self.kind.name(), "status not written");
                    all = false;
                }
            }
        }
        now.retain(|service, _| wanted.contains_key(service));
        (now, all)
    }

    async fn take(&self, step: Step) -> kube::Result<Option<(ServiceKey, Written)>> {
        let (service, name, names) = match step {
            Step::Delete(name) => return self.delete(&name).await.map(|()| None),
            Step::Update(service, name, names) => (service, name, names),
            Step::Create(service, names) => {
                let created = self
                    .api
                    .create(&PostParams::default(), &self.object(&service))
                    .await?;
                (service, created.metadata.name.unwrap_or_default(), names)
            }
        };
        let patch = Patch::Merge(self.status(&service, &names));
        self.api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await?;
        let names = Some(names);
        Ok(Some((service, Written { name, names })))
    }

    async fn delete(&self, name: &str) -> kube::Result<()> {
        match self.api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            result => result.map(drop),
        }
    }

    fn owns(&self, object: &DynamicObject) -> bool {
        let owners = object.metadata.owner_references.iter().flatten();
        owners
            .map(|owner| owner.uid.as_str())
            .eq(self.owner.as_deref())
    }

    fn object(&self, service: &ServiceKey) -> DynamicObject {
        let mut object = DynamicObject::new("", &self.resource);
        object.metadata.name = None;
        object.metadata.generate_name = Some(self.kind.prefix().to_owned());
        object.metadata.labels = Some(BTreeMap::from([
            (NODE_LABEL.to_owned(), self.node.to_string()),
            (NAME_LABEL.to_owned(), service.name.to_string()),
            (NAMESPACE_LABEL.to_owned(), service.namespace.to_string()),
        ]));
        let owners = self.owner.iter().map(|uid| owner(&self.node, uid));
        object.metadata.owner_references = serde_json::from_value(owners.collect()).ok();
        object
    }

    fn status(&self, service: &ServiceKey, names: &BTreeSet<String>) -> Value {
        let entries: Vec<Value> = names.iter().map(|name| self.kind.entry(name)).collect();
        json!({
            "status": {
                "node": &*self.node,
                "serviceName": &*service.name,
                "serviceNamespace": &*service.namespace,
                self.kind.field(): entries,
            },
        })
    }
}

fn steps(found: &BTreeMap<ServiceKey, Written>, wanted: &Announced) -> Vec<Step> {
    let gone = found
        .iter()
        .filter(|(service, _)| !wanted.contains_key(service));
    let mut steps: Vec<Step> = gone
        .map(|(_, written)| Step::Delete(written.name.clone()))
        .collect();
    for (service, names) in wanted {
        match found.get(service) {
            None => steps.push(Step::Create(service.clone(), names.clone())),
            Some(written) if written.names.as_ref() != Some(names) => {
                let step = Step::Update(service.clone(), written.name.clone(), names.clone());
                steps.push(step);
            }
            Some(_) => {}
        }
    }
    steps
}

fn service_of(object: &DynamicObject) -> Option<ServiceKey> {
    let labels = object.metadata.labels.as_ref()?;
    Some(ServiceKey::new(
        labels.get(NAMESPACE_LABEL)?.as_str(),
        labels.get(NAME_LABEL)?.as_str(),
    ))
}

/// `None` where the status was never written, as when that failed after the object had been created.
fn names_of(kind: Kind, object: &DynamicObject) -> Option<BTreeSet<String>> {
    let status = object.data.get("status")?;
    status.get("node")?;
    let entries = status.get(kind.field()).and_then(Value::as_array);
    let entries = entries.into_iter().flatten();
    let names = entries.filter_map(|entry| kind.name_in(entry));
    Some(names.map(str::to_owned).collect())
}

const NODE_LABEL: &str = "metallb.io/node";
const NAME_LABEL: &str = "metallb.io/service-name";
const NAMESPACE_LABEL: &str = "metallb.io/service-namespace";
/// Requests under way at once.
const AT_ONCE: usize = 4;
/// Statuses in a page of a list. A page is in memory whole, and the allocator keeps what it held.
const PAGE: u32 = 100;
/// Changes that come closer together than this are written together.
const QUIET: Duration = Duration::from_millis(300);
const ABSENT: Duration = Duration::from_secs(60);
/// How often to see whether the API still has what was written.
const LOOK_AGAIN: Duration = Duration::from_secs(1_800);

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn written(name: &str, names: &[&str]) -> Written {
        Written {
            name: name.to_owned(),
            names: Some(set(names)),
        }
    }

    #[test]
    fn only_what_differs_is_written() {
        let web = ServiceKey::new("default", "web");
        let dns = ServiceKey::new("default", "dns");
        let mail = ServiceKey::new("default", "mail");
        let found = BTreeMap::from([
            (web.clone(), written("l2-a", &[])),
            (dns.clone(), written("l2-b", &["eth0"])),
        ]);
        let wanted = Announced::from([(web, set(&[])), (mail.clone(), set(&["eth1"]))]);
        let steps = steps(&found, &wanted);
        assert!(matches!(&steps[0], Step::Delete(name) if name == "l2-b"));
        assert!(matches!(&steps[1], Step::Create(service, _) if *service == mail));
        assert_eq!(steps.len(), 2);
    }

    #[test]
    fn other_interfaces_are_an_update() {
        let web = ServiceKey::new("default", "web");
        let found = BTreeMap::from([(web.clone(), written("l2-a", &["eth0"]))]);
        let steps = steps(&found, &Announced::from([(web, set(&["eth1"]))]));
        assert!(matches!(&steps[..], [Step::Update(_, name, _)] if name == "l2-a"));
    }

    #[test]
    fn a_status_that_was_created_and_never_written_is_written() {
        let web = ServiceKey::new("default", "web");
        let mut object: DynamicObject = serde_json::from_value(json!({
            "metadata": {"labels": {NAME_LABEL: "web", NAMESPACE_LABEL: "default"}},
        }))
        .unwrap();
        let wanted = Announced::from([(web.clone(), set(&[]))]);
        let found = |object: &DynamicObject| {
            let (name, names) = ("l2-a".to_owned(), names_of(Kind::Layer2, object));
            BTreeMap::from([(service_of(object).unwrap(), Written { name, names })])
        };
        assert!(
            matches!(&steps(&found(&object), &wanted)[..], [Step::Update(service, ..)] if *service == web)
        );
        object.data = json!({ "status": { "node": "n1" } });
        assert!(steps(&found(&object), &wanted).is_empty());
    }

    #[test]
    fn each_kind_reads_the_names_that_it_writes() {
        for kind in [Kind::Layer2, Kind::Bgp] {
            let entries = [kind.entry("one"), kind.entry("two")];
            let mut object: DynamicObject = serde_json::from_value(json!({})).unwrap();
            object.data = json!({ "status": { "node": "n1", kind.field(): entries } });
            assert_eq!(names_of(kind, &object), Some(set(&["one", "two"])));
        }
    }
}
