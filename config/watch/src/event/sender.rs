//! Sends Events, a few at a time.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, unfold};
use ironlb_model::EventKind;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event as KubeEvent, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::series::{Book, Order, Outcome};
use super::{Reporter, Statement};
use crate::Metrics;

/// What takes Events to the API server.
pub(super) struct Sender {
    client: Client,
    reporter: Reporter,
    metrics: Metrics,
    book: Book,
}

impl Sender {
    pub(super) fn new(client: Client, reporter: Reporter, metrics: Metrics) -> Self {
        Self {
            client,
            reporter,
            metrics,
            book: Book::default(),
        }
    }

    /// Sends what `statements` says, until it is closed and everything is sent.
    pub(super) async fn run(mut self, statements: mpsc::Receiver<Statement>) {
        let stream = unfold(statements, |mut statements| async {
            statements
                .recv()
                .await
                .map(|statement| (statement, statements))
        });
        let mut stream = std::pin::pin!(stream.fuse());
        let mut under_way = FuturesUnordered::new();
        loop {
            let (statement, order) = tokio::select! {
                Some(statement) = stream.next(), if under_way.len() < AT_ONCE => {
                    let order = self.book.say(&statement, Instant::now(), unique());
                    (statement, order)
                }
                Some((statement, outcome)) = under_way.next() => {
                    let order = self.book.done(&statement, outcome, unique());
                    if outcome != Outcome::Done && order.is_none() {
                        self.metrics.events_dropped.inc();
                    }
                    (statement, order)
                }
                else => return,
            };
            if let Some(order) = order {
                under_way.push(send(
                    self.client.clone(),
                    self.reporter.clone(),
                    statement,
                    order,
                ));
            }
        }
    }
}

async fn send(
    client: Client,
    reporter: Reporter,
    statement: Statement,
    order: Order,
) -> (Statement, Outcome) {
    let api = Api::<KubeEvent>::namespaced(client, &statement.subject.namespace);
    let sent = async {
        match order {
            Order::Create(name, count) => {
                let event = event(&reporter, &statement, name, count);
                api.create(&PostParams::default(), &event).await
            }
            Order::Count(name, count) => {
                let change = json!({"count": count, "lastTimestamp": Time(Timestamp::now())});
                api.patch(&name, &PatchParams::default(), &Patch::Merge(change))
                    .await
            }
        }
    };
    let outcome = match timeout(TIMEOUT, sent).await {
        Ok(Ok(_)) => Outcome::Done,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => Outcome::Gone,
        failure => {
            let (object, reason) = (&statement.subject.name, statement.reason);
            tracing::debug!(object, reason, ?failure, "Event not sent");
            Outcome::Failed
        }
    };
    (statement, outcome)
}

fn event(reporter: &Reporter, statement: &Statement, name: String, count: i32) -> KubeEvent {
    let (now, subject) = (Timestamp::now(), &statement.subject);
    KubeEvent {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: Some(subject.namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some(subject.api_version.to_owned()),
            kind: Some(subject.kind.clone()),
            namespace: Some(subject.namespace.clone()),
            name: Some(subject.name.clone()),
            uid: subject.uid.as_deref().map(str::to_owned),
            ..ObjectReference::default()
        },
        type_: Some(kind(statement.kind).to_owned()),
        reason: Some(statement.reason.to_owned()),
        message: Some(shortened(&statement.message)),
        count: Some(count),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        source: Some(EventSource {
            component: Some(reporter.component.to_owned()),
            host: Some(reporter.instance.clone()),
        }),
        reporting_component: Some(reporter.component.to_owned()),
        reporting_instance: Some(reporter.instance.clone()),
        ..KubeEvent::default()
    }
}

fn unique() -> i128 {
    Timestamp::now().as_nanosecond()
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

/// Requests under way at once: few, for what the controller writes comes first.
const AT_ONCE: usize = 4;
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
