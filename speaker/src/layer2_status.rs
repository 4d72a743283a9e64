//! Says in the API what this node announces by ARP and NDP: one ServiceL2Status for each Service.
//!
//! For people and their tools; nothing reads it back. It is brought up to date in the background, in a few requests at a
//! time, and never holds an announcement up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use ironlb_model::ServiceKey;
use ironlb_speaker_core::Layer2Status;
use ironlb_watch::{Backoff, Barrier};
use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What is announced, by interfaces; no interface for all of them.
type Announced = BTreeMap<ServiceKey, BTreeSet<String>>;

/// Writes the statuses of `node` until `reports` ends. Begins once `barrier` is lifted, and then removes what a speaker
/// before this one left behind.
pub(crate) async fn keep(
    client: Client,
    namespace: String,
    node: String,
    barrier: Barrier,
    mut reports: mpsc::Receiver<Layer2Status>,
) {
    let statuses = Statuses::new(client, &namespace, node);
    let mut announced = Announced::new();
    let mut written: Option<BTreeMap<ServiceKey, Written>> = None;
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    let mut wait = QUIET;
    loop {
        match timeout(wait, reports.recv()).await {
            Ok(None) => return,
            Ok(Some(report)) => {
                note(&mut announced, report);
                wait = QUIET;
                continue;
            }
            Err(_) if !barrier.waiting().is_empty() => continue,
            Err(_) => {}
        }
        let result = match written.take() {
            Some(written) => Ok(written),
            None => statuses.list().await,
        };
        let result = match result {
            Ok(found) => Ok(statuses.bring_up_to_date(found, &announced).await),
            Err(error) => Err(error),
        };
        wait = match result {
            Ok((now, true)) => {
                written = Some(now);
                backoff.succeeded();
                FOREVER
            }
            Ok((_, false)) => backoff.failed(),
            // The cluster does not have the kind.
            Err(kube::Error::Api(status)) if status.code == 404 => ABSENT,
            Err(error) => {
                tracing::debug!(%error, "ServiceL2Statuses not read");
                backoff.failed()
            }
        };
    }
}

fn note(announced: &mut Announced, report: Layer2Status) {
    match report.interfaces {
        Some(interfaces) => announced.insert(report.service, interfaces),
        None => announced.remove(&report.service),
    };
}

/// A status in the API.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    name: String,
    /// `None` when it is not known, so that it is written again.
    interfaces: Option<BTreeSet<String>>,
}

/// One thing to do.
enum Step {
    Create(ServiceKey, BTreeSet<String>),
    Update(ServiceKey, String, BTreeSet<String>),
    Delete(String),
}

struct Statuses {
    api: Api<DynamicObject>,
    kind: ApiResource,
    node: String,
}

impl Statuses {
    fn new(client: Client, namespace: &str, node: String) -> Self {
        let version = GroupVersionKind::gvk("metallb.io", "v1beta1", "ServiceL2Status");
        let kind = ApiResource::from_gvk_with_plural(&version, "servicel2statuses");
        Self {
            api: Api::namespaced_with(client, namespace, &kind),
            kind,
            node,
        }
    }

    /// What this node has in the API. A second status of one Service is deleted.
    async fn list(&self) -> kube::Result<BTreeMap<ServiceKey, Written>> {
        let mut page = ListParams::default()
            .labels(&format!("{NODE_LABEL}={}", self.node))
            .limit(PAGE);
        let mut found = BTreeMap::new();
        loop {
            let list = self.api.list(&page).await?;
            for object in list.items {
                let name = object.metadata.name.clone().unwrap_or_default();
                match service_of(&object).filter(|service| !found.contains_key(service)) {
                    Some(service) => {
                        let interfaces = Some(interfaces_of(&object));
                        found.insert(service, Written { name, interfaces });
                    }
                    None => drop(self.api.delete(&name, &DeleteParams::default()).await?),
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
                    tracing::debug!(%error, "ServiceL2Status not written");
                    all = false;
                }
            }
        }
        now.retain(|service, _| wanted.contains_key(service));
        (now, all)
    }

    async fn take(&self, step: Step) -> kube::Result<Option<(ServiceKey, Written)>> {
        let (service, name, interfaces) = match step {
            Step::Delete(name) => {
                return match self.api.delete(&name, &DeleteParams::default()).await {
                    Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
                    result => result.map(|_| None),
                };
            }
            Step::Update(service, name, interfaces) => (service, name, interfaces),
            Step::Create(service, interfaces) => {
                let created = self
                    .api
                    .create(&PostParams::default(), &self.object(&service))
                    .await?;
                (
                    service,
                    created.metadata.name.unwrap_or_default(),
                    interfaces,
                )
            }
        };
        let patch = Patch::Merge(self.status(&service, &interfaces));
        self.api
            .patch_status(&name, &PatchParams::default(), &patch)
            .await?;
        let interfaces = Some(interfaces);
        Ok(Some((service, Written { name, interfaces })))
    }

    fn object(&self, service: &ServiceKey) -> DynamicObject {
        let mut object = DynamicObject::new("", &self.kind);
        object.metadata.name = None;
        object.metadata.generate_name = Some("l2-".to_owned());
        object.metadata.labels = Some(BTreeMap::from([
            (NODE_LABEL.to_owned(), self.node.clone()),
            (NAME_LABEL.to_owned(), service.name.to_string()),
            (NAMESPACE_LABEL.to_owned(), service.namespace.to_string()),
        ]));
        object
    }

    fn status(&self, service: &ServiceKey, interfaces: &BTreeSet<String>) -> Value {
        let interfaces: Vec<Value> = interfaces
            .iter()
            .map(|name| json!({ "name": name }))
            .collect();
        json!({
            "status": {
                "node": self.node,
                "serviceName": &*service.name,
                "serviceNamespace": &*service.namespace,
                "interfaces": interfaces,
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
    for (service, interfaces) in wanted {
        match found.get(service) {
            None => steps.push(Step::Create(service.clone(), interfaces.clone())),
            Some(written) if written.interfaces.as_ref() != Some(interfaces) => {
                steps.push(Step::Update(
                    service.clone(),
                    written.name.clone(),
                    interfaces.clone(),
                ));
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

fn interfaces_of(object: &DynamicObject) -> BTreeSet<String> {
    let interfaces = object
        .data
        .pointer("/status/interfaces")
        .and_then(Value::as_array);
    let names = interfaces
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.get("name")?.as_str());
    names.map(str::to_owned).collect()
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
const FOREVER: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn written(name: &str, interfaces: &[&str]) -> Written {
        Written {
            name: name.to_owned(),
            interfaces: Some(set(interfaces)),
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
}
