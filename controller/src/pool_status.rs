//! Writes how full a pool is into the status of its IPAddressPool, and into the metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use ironlb_controller_core::{Count, Usage};
use ironlb_model::Name;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::metrics::{PoolMetrics, saturated};

/// Tells what `usage` says, until it is closed: at once to the metrics, and to the API where it changed, at most every
/// [`EVERY`]. A pool that is no IPAddressPool (it is in the ConfigMap) has no status and is left alone.
pub(crate) async fn write(
    client: Client,
    namespace: String,
    metrics: PoolMetrics,
    mut usage: watch::Receiver<BTreeMap<Name, Usage>>,
) {
    let kind = ApiResource::from_gvk_with_plural(
        &GroupVersionKind::gvk("metallb.io", "v1beta1", "IPAddressPool"),
        "ipaddresspools",
    );
    let api = Api::<DynamicObject>::namespaced_with(client, &namespace, &kind);
    let mut written = BTreeMap::<Name, Usage>::new();
    let mut unwritten = false;
    loop {
        let wait = if unwritten { RETRY } else { FOREVER };
        if let Ok(Err(_)) = timeout(wait, usage.changed()).await {
            return;
        }
        let now = usage.borrow_and_update().clone();
        metrics.show(&now);
        written.retain(|pool, _| now.contains_key(pool));
        unwritten = false;
        for (pool, usage) in now {
            if written.get(&pool) != Some(&usage) {
                match write_one(&api, &pool, &usage).await {
                    true => drop(written.insert(pool, usage)),
                    false => unwritten = true,
                }
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether it is written, or needs not be.
async fn write_one(api: &Api<DynamicObject>, pool: &str, usage: &Usage) -> bool {
    let patch = Patch::Merge(json!({ "status": status(usage) }));
    let parameters = PatchParams::default();
    match timeout(TIMEOUT, api.patch_status(pool, &parameters, &patch)).await {
        Ok(Ok(_)) => true,
        Ok(Err(kube::Error::Api(status))) if status.code == 404 => true,
        Ok(Err(error)) => {
            tracing::debug!(pool, %error, "status of the pool not written");
            false
        }
        Err(_) => false,
    }
}

fn status(usage: &Usage) -> Value {
    let available = |count: &Count| saturated(count.available());
    json!({
        "assignedIPv4": saturated(usage.v4.in_use),
        "assignedIPv6": saturated(usage.v6.in_use),
        "availableIPv4": available(&usage.v4),
        "availableIPv6": available(&usage.v6),
    })
}

const EVERY: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(10);
const FOREVER: Duration = Duration::from_secs(3_600);
const TIMEOUT: Duration = Duration::from_secs(30);
