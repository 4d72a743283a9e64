//! Writes the status of Services: many at once, never two of one Service.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use http::Request as HttpRequest;
use ironlb_config::kinds;
use ironlb_controller_core::{StatusWrite, WriteOutcome};
use ironlb_model::ServiceKey;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Client, Resource};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::lease::Lead;

/// How writes went.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    written: Counter,
    conflicts: Counter,
    failed: Counter,
}

impl Counters {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let counters = Self::default();
        registry.register(
            "ironlb_status_writes",
            "Service statuses written",
            counters.written.clone(),
        );
        registry.register(
            "ironlb_status_write_conflicts",
            "Service statuses not written, because the Service had changed meanwhile",
            counters.conflicts.clone(),
        );
        registry.register(
            "ironlb_status_write_failures",
            "Service statuses not written, because the API server refused or could not be reached",
            counters.failed.clone(),
        );
        counters
    }
}

/// Writes under way, and those that wait for their turn. There is no limit but [`AT_ONCE`]: an API server that wants fewer
/// says so (429), and the client then waits as it is told.
pub(crate) struct Writer {
    client: Client,
    led: watch::Receiver<Lead>,
    counters: Counters,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Written> + Send>>>,
    waiting: VecDeque<StatusWrite>,
}

type Written = (ServiceKey, WriteOutcome);

impl Writer {
    pub(crate) fn new(client: Client, led: watch::Receiver<Lead>, counters: Counters) -> Self {
        Self {
            client,
            led,
            counters,
            under_way: FuturesUnordered::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Begins a write, now or when there is room; never once the lead has ended, which also ends the term and the writer
    /// with it.
    pub(crate) fn write(&mut self, write: StatusWrite) {
        self.waiting.push_back(write);
        self.fill();
    }

    /// The next write to come to its end; `None` when none is under way.
    pub(crate) async fn next(&mut self) -> Option<Written> {
        let (service, outcome) = self.under_way.next().await?;
        match outcome {
            WriteOutcome::Done => self.counters.written.inc(),
            WriteOutcome::Conflict => self.counters.conflicts.inc(),
            WriteOutcome::Failed => self.counters.failed.inc(),
            WriteOutcome::Gone => 0,
        };
        self.fill();
        Some((service, outcome))
    }

    fn fill(&mut self) {
        while self.under_way.len() < AT_ONCE
            && let Some(write) = self.waiting.pop_front()
        {
            let (client, led) = (self.client.clone(), self.led.clone());
            self.under_way.push(Box::pin(async move {
                // Asked as late as can be: a process may stand still between any two of its steps.
                let leads = led.borrow().holds();
                if !leads {
                    return std::future::pending().await;
                }
                let outcome = send(client, &write).await;
                (write.service, outcome)
            }));
        }
    }
}

async fn send(client: Client, write: &StatusWrite) -> WriteOutcome {
    let url = kinds::Service::url_path(&(), Some(&write.service.namespace));
    let parameters = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(patch(write));
    let request = Request::new(url)
        .patch_subresource("status", &write.service.name, &parameters, &patch)
        .map_err(|error| error.to_string())
        .and_then(in_time);
    let request = match request {
        Ok(request) => request,
        Err(error) => {
            tracing::error!(service = %write.service, %error, "status cannot be written");
            return WriteOutcome::Failed;
        }
    };
    let outcome = match timeout(TIMEOUT, client.request_text(request)).await {
        Ok(Ok(_)) => WriteOutcome::Done,
        Ok(Err(kube::Error::Api(status))) if status.code == 409 => WriteOutcome::Conflict,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => WriteOutcome::Gone,
        Ok(Err(error)) => {
            tracing::warn!(service = %write.service, %error, "status not written; it will be tried again");
            WriteOutcome::Failed
        }
        Err(_) => {
            tracing::warn!(service = %write.service, "no answer to a status write; it will be tried again");
            WriteOutcome::Failed
        }
    };
    tracing::debug!(service = %write.service, ?outcome, ips = ?write.ips, "status write");
    outcome
}

/// Asks the API server to carry a request out soon or not at all: when the lead has ended, there is only so much time until
/// another's begins.
fn in_time(mut request: HttpRequest<Vec<u8>>) -> Result<HttpRequest<Vec<u8>>, String> {
    let uri = request.uri();
    let separator = if uri.query().is_some() { '&' } else { '?' };
    let uri = format!("{uri}{separator}timeout={}s", IN_FORCE.as_secs());
    *request.uri_mut() = uri.parse().map_err(|error| format!("{error}"))?;
    Ok(request)
}

/// A merge patch (RFC 7396) of the annotation and the status together, which the API server applies to no other version of
/// the Service than that which the decision was made on.
fn patch(write: &StatusWrite) -> Value {
    let ingress: Vec<Value> = write.ips.iter().map(|ip| json!({ "ip": ip })).collect();
    json!({
        "metadata": {
            "resourceVersion": &*write.resource_version,
            "annotations": { POOL_ANNOTATION: write.pool.as_deref() },
        },
        "status": { "loadBalancer": { "ingress": if ingress.is_empty() { Value::Null } else { ingress.into() } } },
    })
}

/// Where the controller says which pool an address is from.
const POOL_ANNOTATION: &str = "metallb.io/ip-allocated-from-pool";
const FIELD_MANAGER: &str = "ironlb-controller";
/// Writes under way at once.
const AT_ONCE: usize = 64;
/// How long to wait for an answer, with all the waiting that the API server may ask for.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the API server may take to carry a write out. Less than what is left of a Lease when its holder stops leading.
const IN_FORCE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use kube::client::Body;
    use tokio::sync::mpsc;

    use super::*;

    fn write(ips: &[&str], pool: Option<&str>) -> StatusWrite {
        StatusWrite {
            service: ServiceKey::new("default", "web"),
            resource_version: "7".into(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            pool: pool.map(Into::into),
        }
    }

    /// An API server that notes the query of every request and answers none.
    fn writer(lead: Lead) -> (Writer, mpsc::UnboundedReceiver<String>) {
        let (asked, queries) = mpsc::unbounded_channel();
        let client = Client::new(
            tower::service_fn(move |request: HttpRequest<Body>| {
                let query = request.uri().query().unwrap_or_default().to_owned();
                asked.send(query).unwrap();
                std::future::pending::<Result<http::Response<Body>, Infallible>>()
            }),
            "default",
        );
        let (_, led) = watch::channel(lead);
        (Writer::new(client, led, Counters::default()), queries)
    }

    #[tokio::test(start_paused = true)]
    async fn the_api_server_is_asked_to_write_soon_or_never() {
        let (mut writer, mut queries) = writer(Lead::Always);
        writer.write(write(&["192.0.2.1"], Some("first")));
        let query = tokio::select! {
            query = queries.recv() => query.unwrap(),
            written = writer.next() => panic!("{written:?}"),
        };
        assert_eq!(query, "&fieldManager=ironlb-controller&timeout=4s");
    }

    #[tokio::test(start_paused = true)]
    async fn no_write_is_begun_when_the_lead_has_ended() {
        let now = tokio::time::Instant::now();
        for lead in [Lead::No, Lead::Until(now)] {
            let (mut writer, mut queries) = writer(lead);
            writer.write(write(&["192.0.2.1"], Some("first")));
            let ended = timeout(Duration::from_secs(1), writer.next()).await;
            assert!(ended.is_err(), "{ended:?}");
            assert!(queries.try_recv().is_err());
        }
        let later = tokio::time::Instant::now() + Duration::from_secs(1);
        let (mut writer, mut queries) = writer(Lead::Until(later));
        writer.write(write(&["192.0.2.1"], Some("first")));
        tokio::select! {
            query = queries.recv() => assert!(query.is_some()),
            written = writer.next() => panic!("{written:?}"),
        }
    }

    #[test]
    fn one_patch_carries_addresses_pool_and_the_version_it_is_for() {
        let wanted = json!({
            "metadata": {"resourceVersion": "7", "annotations": {"metallb.io/ip-allocated-from-pool": "first"}},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}]}},
        });
        assert_eq!(
            patch(&write(&["192.0.2.1", "2001:db8::1"], Some("first"))),
            wanted
        );
    }

    #[test]
    fn a_cleared_service_loses_addresses_and_annotation() {
        let patch = patch(&write(&[], None));
        assert_eq!(
            patch["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"],
            Value::Null
        );
        assert_eq!(patch["status"]["loadBalancer"]["ingress"], Value::Null);
    }
}
