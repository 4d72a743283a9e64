//! Kubernetes Events about Services and configuration objects, for `kubectl describe`.
//!
//! Events are a courtesy: they never hold anything up. They wait in a bounded queue, are dropped (and counted) when it
//! is full or the API server refuses them, and the same sentence about the same object is one Event with a count.

mod sender;
mod series;

use std::sync::Arc;

use ironlb_model::{Event, EventKind, ServiceKey};
use kube::Client;
use tokio::sync::mpsc;

use self::sender::Sender;
use crate::{Metrics, Uids};

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

    /// A configuration object. Without its uid the Event is there, but `kubectl describe` does not find it.
    pub fn of_configuration(
        kind: &str,
        namespace: &str,
        name: &str,
        uid: Option<Arc<str>>,
    ) -> Self {
        Self {
            api_version: match kind {
                "ConfigMap" => "v1",
                "BGPPeer" => "metallb.io/v1beta2",
                _ => "metallb.io/v1beta1",
            },
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid,
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
        let (queue, statements) = mpsc::channel(QUEUE);
        let sender = Sender::new(client, reporter, metrics.clone());
        tokio::spawn(sender.run(statements));
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

/// Events that may wait.
const QUEUE: usize = 4_096;
