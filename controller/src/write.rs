//! Writes the status of Services: many at once, never two of one Service.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use ironlb_config::kinds;
use ironlb_controller_core::{StatusWrite, WriteOutcome};
use ironlb_model::ServiceKey;
use kube::api::{Patch, PatchParams};
use kube::core::Request;
use kube::{Client, Resource};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::timeout;

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
    counters: Counters,
    under_way: FuturesUnordered<Pin<Box<dyn Future<Output = Written> + Send>>>,
    waiting: VecDeque<StatusWrite>,
}

type Written = (ServiceKey, WriteOutcome);

impl Writer {
    pub(crate) fn new(client: Client, counters: Counters) -> Self {
        Self {
            client,
            counters,
            under_way: FuturesUnordered::new(),
            waiting: VecDeque::new(),
        }
    }

    /// Begins a write, now or when there is room.
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
            let client = self.client.clone();
            self.under_way.push(Box::pin(async move {
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
    let request = match Request::new(url).patch_subresource(
        "status",
        &write.service.name,
        &parameters,
        &patch,
    ) {
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
const TIMEOUT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    fn write(ips: &[&str], pool: Option<&str>) -> StatusWrite {
        StatusWrite {
            service: ServiceKey::new("default", "web"),
            resource_version: "7".into(),
            ips: ips.iter().map(|ip| ip.parse().unwrap()).collect(),
            pool: pool.map(Into::into),
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
