//! Deletes the ServiceL2Statuses and ServiceBGPStatuses of Services that are gone.
//!
//! A speaker deletes its own within a second. But one that does not run when a Service is deleted cannot, and where none
//! runs any more nobody would. (The statuses of a node that is gone are the garbage collector's: the node owns them. A
//! Service cannot own them, for it is in another namespace.)
//!
//! That a Service is gone is believed after a second look, [`SECOND_LOOK`] after the first that missed it: a speaker
//! may have heard of a new Service before we did.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ironlb_model::ServiceKey;
use ironlb_watch::{Backoff, Uids};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Preconditions};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// What to look after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// All statuses: the Services have just been read.
    Everywhere,
    /// Those of this Service, which is gone.
    For(ServiceKey),
}

/// Deletes what is left over, as often as `looks` says so, until it is closed. `services` are those that there are.
pub(crate) async fn sweep(
    client: Client,
    namespace: &str,
    services: Uids,
    mut looks: mpsc::UnboundedReceiver<Look>,
) {
    let statuses = Statuses {
        apis: KINDS.map(|(kind, plural)| {
            let version = GroupVersionKind::gvk("metallb.io", "v1beta1", kind);
            let kind = ApiResource::from_gvk_with_plural(&version, plural);
            Api::namespaced_with(client.clone(), namespace, &kind)
        }),
        services,
    };
    let mut agenda = Agenda::default();
    let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    loop {
        let due = agenda.next();
        tokio::select! {
            look = looks.recv() => match look {
                Some(look) => agenda.add(look, Instant::now()),
                None => return,
            },
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let task = agenda.take(Instant::now());
                let looked = timeout(TIMEOUT, statuses.look(&task)).await;
                match looked {
                    Ok(Ok(suspects)) => {
                        backoff.succeeded();
                        for service in suspects {
                            agenda.add(Look::For(service), Instant::now());
                        }
                    }
                    failure => {
                        tracing::debug!(?failure, "statuses of Services that are gone not deleted");
                        agenda.put_back(task, Instant::now() + backoff.failed());
                    }
                }
            }
        }
    }
}

/// What to look after, and when.
#[derive(Debug, Default)]
struct Agenda {
    everywhere: Option<Instant>,
    gone: BTreeMap<ServiceKey, Instant>,
}

/// What to look after now.
#[derive(Debug, Default, PartialEq, Eq)]
struct Task {
    everywhere: bool,
    gone: BTreeSet<ServiceKey>,
}

impl Agenda {
    fn add(&mut self, look: Look, now: Instant) {
        match look {
            Look::Everywhere => self.everywhere = Some(now),
            Look::For(service) => {
                self.gone.insert(service, now + SECOND_LOOK);
            }
        }
    }

    fn put_back(&mut self, task: Task, when: Instant) {
        if task.everywhere {
            self.everywhere.get_or_insert(when);
        }
        for service in task.gone {
            self.gone.entry(service).or_insert(when);
        }
    }

    fn next(&self) -> Option<Instant> {
        self.everywhere
            .into_iter()
            .chain(self.gone.values().min().copied())
            .min()
    }

    /// What is due at `now`. Of the Services that are gone so many as fit into one request, and all that would be due
    /// soon are taken along: those of a namespace are deleted one after the other.
    fn take(&mut self, now: Instant) -> Task {
        let everywhere = self.everywhere.take_if(|when| *when <= now).is_some();
        if !self.gone.values().any(|when| *when <= now) {
            let gone = BTreeSet::new();
            return Task { everywhere, gone };
        }
        let soon = now + SECOND_LOOK / 2;
        let due = self.gone.iter().filter(|(_, when)| **when <= soon);
        let gone: BTreeSet<_> = due
            .map(|(service, _)| service.clone())
            .take(AT_ONCE)
            .collect();
        self.gone.retain(|service, _| !gone.contains(service));
        Task { everywhere, gone }
    }
}

struct Statuses {
    apis: [Api<DynamicObject>; 2],
    services: Uids,
}

impl Statuses {
    /// Deletes the statuses of the Services that are gone. Where all were looked at, gives those Services that seem to be.
    async fn look(&self, task: &Task) -> kube::Result<Vec<ServiceKey>> {
        let mut suspects = Vec::new();
        for api in &self.apis {
            suspects.extend(self.look_at(api, task).await?);
        }
        Ok(suspects)
    }

    /// The same for one kind of status.
    async fn look_at(
        &self,
        api: &Api<DynamicObject>,
        task: &Task,
    ) -> kube::Result<Vec<ServiceKey>> {
        let gone: BTreeSet<_> = task.gone.iter().filter(|key| self.is_gone(key)).collect();
        if !gone.is_empty() {
            let names: BTreeSet<&str> = gone.iter().map(|key| &*key.name).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(",");
            let is_left = |key: &ServiceKey| gone.contains(key) && self.is_gone(key);
            let selector = format!("{NAME_LABEL} in ({names})");
            let left = select(api, &selector, |status| {
                service_of(&status).filter(is_left).map(|_| status.metadata)
            });
            for status in left.await? {
                delete(api, &status).await?;
            }
        }
        if !task.everywhere {
            return Ok(Vec::new());
        }
        select(api, "", |status| {
            service_of(&status).filter(|key| self.is_gone(key))
        })
        .await
    }

    fn is_gone(&self, service: &ServiceKey) -> bool {
        self.services.of(service).is_none()
    }
}

/// What `pick` picks of the statuses that `selector` selects; nothing where the cluster does not have the kind.
async fn select<T>(
    api: &Api<DynamicObject>,
    selector: &str,
    pick: impl Fn(DynamicObject) -> Option<T>,
) -> kube::Result<Vec<T>> {
    let mut page = ListParams::default().labels(selector).limit(PAGE);
    let mut picked = Vec::new();
    loop {
        let list = match api.list(&page).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(picked),
            list => list?,
        };
        picked.extend(list.items.into_iter().filter_map(&pick));
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page.continue_token = Some(token),
            None => return Ok(picked),
        }
    }
}

async fn delete(api: &Api<DynamicObject>, status: &ObjectMeta) -> kube::Result<()> {
    let name = status.name.as_deref().unwrap_or_default();
    let precisely = Preconditions {
        uid: status.uid.clone(),
        resource_version: None,
    };
    let parameters = DeleteParams::default().preconditions(precisely);
    match api.delete(name, &parameters).await {
        Ok(_) => {
            tracing::info!(status = name, "status of a Service that is gone deleted");
            Ok(())
        }
        // Somebody else was quicker, or there is another one of its name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

fn service_of(status: &DynamicObject) -> Option<ServiceKey> {
    let labels = status.metadata.labels.as_ref()?;
    let label = |key| labels.get(key).map(String::as_str);
    Some(ServiceKey::new(label(NAMESPACE_LABEL)?, label(NAME_LABEL)?))
}

/// The kinds of status, and what a list of them is called.
const KINDS: [(&str, &str); 2] = [
    ("ServiceL2Status", "servicel2statuses"),
    ("ServiceBGPStatus", "servicebgpstatuses"),
];
const NAME_LABEL: &str = "metallb.io/service-name";
const NAMESPACE_LABEL: &str = "metallb.io/service-namespace";
/// Long enough for every speaker to have deleted its own, and for a new Service to be known.
const SECOND_LOOK: Duration = Duration::from_secs(10);
/// Services in one request.
const AT_ONCE: usize = 50;
const PAGE: u32 = 100;
const TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn gone(name: &str) -> ServiceKey {
        ServiceKey::new("default", name)
    }

    #[test]
    fn a_service_that_is_missed_is_looked_after_a_second_time_later() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.add(Look::For(gone("web")), now);
        assert_eq!(agenda.next(), Some(now + SECOND_LOOK));
        assert_eq!(agenda.take(now + SECOND_LOOK / 2), Task::default());
        let task = agenda.take(now + SECOND_LOOK);
        assert_eq!(task.gone, BTreeSet::from([gone("web")]));
        assert_eq!(agenda.next(), None);
    }

    #[test]
    fn those_that_went_soon_after_each_other_are_one_request_of_bounded_size() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        for number in 0..120_u32 {
            let later = now + Duration::from_millis(number.into());
            agenda.add(Look::For(gone(&format!("web-{number}"))), later);
        }
        let due = now + SECOND_LOOK;
        let sizes = [(); 4].map(|()| agenda.take(due + SECOND_LOOK).gone.len());
        assert_eq!(sizes, [50, 50, 20, 0]);
    }

    #[test]
    fn what_failed_is_tried_again_and_nothing_is_forgotten() {
        let (mut agenda, now) = (Agenda::default(), Instant::now());
        agenda.add(Look::Everywhere, now);
        let task = agenda.take(now);
        assert!(task.everywhere);
        agenda.put_back(task, now + Duration::from_secs(1));
        assert_eq!(agenda.next(), Some(now + Duration::from_secs(1)));
    }
}
