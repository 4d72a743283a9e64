//! Kubernetes Events about Services, for `kubectl describe`.
//!
//! Events are a courtesy: they never hold anything up. They wait in a bounded queue, are dropped (and counted) when it
//! is full or the API server refuses them, and the same sentence about the same Service is one Event with a count.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, unfold};
use ironlb_model::{Event, EventKind, ServiceKey};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as KubeEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::Metrics;

/// The uid of every known Service: without it `kubectl describe` would not show an Event. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Uids(Arc<Mutex<BTreeMap<ServiceKey, Arc<str>>>>);

impl Uids {
    /// A Service is there.
    pub fn insert(&self, service: ServiceKey, uid: Arc<str>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(service, uid);
    }

    /// A Service is gone.
    pub fn remove(&self, service: &ServiceKey) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(service);
    }

    /// The uid of a Service.
    pub fn of(&self, service: &ServiceKey) -> Option<Arc<str>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(service)
            .cloned()
    }
}

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    api_version: &'static str,
    kind: String,
    namespace: String,
    name: String,
    uid: Option<Arc<str>>,
}

impl Subject {
    /// A Service, with the uid that it had last.
    pub fn of_service(service: &ServiceKey, uids: &Uids) -> Self {
        Self {
            api_version: "v1",
            kind: "Service".to_owned(),
            namespace: service.namespace.to_string(),
            name: service.name.to_string(),
            uid: uids.of(service),
        }
    }

    /// A configuration object.
    pub fn of_configuration(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            api_version: match kind {
                "ConfigMap" => "v1",
                "BGPPeer" => "metallb.io/v1beta2",
                _ => "metallb.io/v1beta1",
            },
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: None,
        }
    }
}

/// What is said about a [`Subject`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Statement {
    subject: Subject,
    kind: EventKind,
    reason: &'static str,
    message: String,
}

/// Who says something.
#[derive(Clone, Debug)]
pub struct Reporter {
    /// The component, as operators know it: `metallb-controller` or `metallb-speaker`.
    pub component: &'static str,
    /// Which one: the node or pod.
    pub instance: String,
}

/// Takes Events and sends them in its own time.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Statement>,
    uids: Uids,
    metrics: Metrics,
}

impl Recorder {
    /// A recorder whose Events go to the API server, by a task of its own that ends with the last clone.
    pub fn start(client: Client, reporter: Reporter, uids: Uids, metrics: Metrics) -> Self {
        let (queue, events) = mpsc::channel(QUEUE);
        let sender = Sender {
            client,
            reporter,
            metrics: metrics.clone(),
            series: BTreeMap::new(),
            named: 0,
        };
        tokio::spawn(sender.run(events));
        Self {
            queue,
            uids,
            metrics,
        }
    }

    /// Sends an Event soon, or never; does not wait.
    pub fn record(&self, event: Event) {
        let subject = Subject::of_service(&event.service, &self.uids);
        self.record_about(subject, event.kind, event.reason, event.message);
    }

    /// The same about anything.
    pub fn record_about(
        &self,
        subject: Subject,
        kind: EventKind,
        reason: &'static str,
        message: String,
    ) {
        let statement = Statement {
            subject,
            kind,
            reason,
            message,
        };
        if self.queue.try_send(statement).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}

struct Sender {
    client: Client,
    reporter: Reporter,
    metrics: Metrics,
    /// Events sent lately, to count repetitions on.
    series: BTreeMap<Statement, Series>,
    named: u64,
}

struct Series {
    name: String,
    count: i32,
    last: Instant,
}

/// One request.
enum Request {
    Create(Box<KubeEvent>),
    Repeat {
        namespace: String,
        name: String,
        count: i32,
    },
}

impl Sender {
    async fn run(mut self, events: mpsc::Receiver<Statement>) {
        let stream = unfold(events, |mut events| async {
            events.recv().await.map(|statement| (statement, events))
        });
        let mut stream = std::pin::pin!(stream.fuse());
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(statement) = stream.next(), if under_way.len() < AT_ONCE => {
                    let request = self.request(statement.clone());
                    under_way.push(send(self.client.clone(), statement, request));
                }
                Some((statement, result)) = under_way.next() => self.sent(&statement, result),
                else => return,
            }
        }
    }

    fn sent(&mut self, statement: &Statement, result: Result<(), kube::Error>) {
        let Err(error) = result else { return };
        // Gone, most likely: the API server forgets Events after an hour. The next one begins anew.
        self.series.remove(statement);
        self.metrics.events_dropped.inc();
        tracing::debug!(object = statement.subject.name, reason = statement.reason, %error, "Event not sent");
    }

    fn request(&mut self, statement: Statement) -> Request {
        let now = Instant::now();
        if self.series.len() >= SERIES {
            self.series
                .retain(|_, series| now.duration_since(series.last) < REPEATED_WITHIN / 10);
            // A flood of different sentences: then nothing is worth counting.
            if self.series.len() >= SERIES {
                self.series.clear();
            }
        }
        let found = self
            .series
            .get_mut(&statement)
            .filter(|series| now.duration_since(series.last) < REPEATED_WITHIN);
        if let Some(series) = found {
            series.count = series.count.saturating_add(1);
            series.last = now;
            return Request::Repeat {
                namespace: statement.subject.namespace.clone(),
                name: series.name.clone(),
                count: series.count,
            };
        }
        let created = self.event(&statement);
        let name = created.metadata.name.clone().unwrap_or_default();
        let series = Series {
            name,
            count: 1,
            last: now,
        };
        self.series.insert(statement, series);
        Request::Create(Box::new(created))
    }

    fn event(&mut self, statement: &Statement) -> KubeEvent {
        let now = Timestamp::now();
        self.named = self.named.wrapping_add(1);
        let unique = now.as_nanosecond().wrapping_add(i128::from(self.named));
        KubeEvent {
            metadata: ObjectMeta {
                name: Some(format!("{}.{unique:x}", statement.subject.name)),
                namespace: Some(statement.subject.namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: ObjectReference {
                api_version: Some(statement.subject.api_version.to_owned()),
                kind: Some(statement.subject.kind.clone()),
                namespace: Some(statement.subject.namespace.clone()),
                name: Some(statement.subject.name.clone()),
                uid: statement.subject.uid.as_deref().map(str::to_owned),
                ..ObjectReference::default()
            },
            type_: Some(kind(statement.kind).to_owned()),
            reason: Some(statement.reason.to_owned()),
            message: Some(shortened(&statement.message)),
            count: Some(1),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            source: Some(EventSource {
                component: Some(self.reporter.component.to_owned()),
                host: Some(self.reporter.instance.clone()),
            }),
            reporting_component: Some(self.reporter.component.to_owned()),
            reporting_instance: Some(self.reporter.instance.clone()),
            ..KubeEvent::default()
        }
    }
}

async fn send(
    client: Client,
    statement: Statement,
    request: Request,
) -> (Statement, Result<(), kube::Error>) {
    let sent = async {
        match request {
            Request::Create(created) => {
                let namespace = created.metadata.namespace.clone().unwrap_or_default();
                let api = Api::<KubeEvent>::namespaced(client, &namespace);
                api.create(&PostParams::default(), &created).await.map(drop)
            }
            Request::Repeat {
                namespace,
                name,
                count,
            } => {
                let api = Api::<KubeEvent>::namespaced(client, &namespace);
                let change = json!({"count": count, "lastTimestamp": Time(Timestamp::now())});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(change))
                    .await
                    .map(drop)
            }
        }
    };
    let result = timeout(TIMEOUT, sent).await;
    (
        statement,
        result.unwrap_or_else(|late| Err(kube::Error::Service(late.into()))),
    )
}

const fn kind(kind: EventKind) -> &'static str {
    match kind {
        EventKind::Normal => "Normal",
        EventKind::Warning => "Warning",
    }
}

/// The API server takes messages of up to 1,024 bytes.
fn shortened(message: &str) -> String {
    if message.len() <= LONGEST {
        return message.to_owned();
    }
    let end = message.floor_char_boundary(LONGEST - '…'.len_utf8());
    format!("{}…", message.get(..end).unwrap_or_default())
}

/// Events that may wait.
const QUEUE: usize = 4_096;
/// Requests under way at once: few, for what the controller writes comes first.
const AT_ONCE: usize = 4;
/// Events remembered for counting.
const SERIES: usize = 4_096;
/// The same sentence within this time is a repetition.
const REPEATED_WITHIN: Duration = Duration::from_secs(600);
const TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let message = "ä".repeat(1_000);
        let cut = shortened(&message);
        assert!(cut.len() <= LONGEST && cut.ends_with("ä…"), "{}", cut.len());
        assert_eq!(shortened("short"), "short");
    }
}
