//! What the API client counts.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges of the API client, under MetalLB's names where it has them. Cheap to clone; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Changes that the watches delivered.
    pub updates: Counter,
    /// Changes that could not be made use of.
    pub update_errors: Counter,
    /// 1 once a configuration is in force.
    pub config_loaded: Gauge<i64, AtomicI64>,
    /// 1 while part of the configuration is in error, and what was good last is in force for it.
    pub config_stale: Gauge<i64, AtomicI64>,
    /// Events about Services that were not sent, because too many waited or the API server refused them.
    pub events_dropped: Counter,
    interruptions: Family<Interruption, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Interruption {
    kind: &'static str,
    reason: &'static str,
}

impl Metrics {
    /// Metrics that `registry` shows.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let client = registry.sub_registry_with_prefix("metallb_k8s_client");
        client.register(
            "updates",
            "Changes delivered by the Kubernetes API",
            metrics.updates.clone(),
        );
        client.register(
            "update_errors",
            "Changes delivered by the Kubernetes API that could not be made use of",
            metrics.update_errors.clone(),
        );
        client.register(
            "config_loaded_bool",
            "1 once a configuration is in force",
            metrics.config_loaded.clone(),
        );
        client.register(
            "config_stale_bool",
            "1 while part of the configuration is in error and its last good state is in force",
            metrics.config_stale.clone(),
        );
        registry.register(
            "ironlb_watch_interruptions",
            "Watches that were interrupted, by kind and reason",
            metrics.interruptions.clone(),
        );
        registry.register(
            "ironlb_events_dropped",
            "Kubernetes Events not sent",
            metrics.events_dropped.clone(),
        );
        metrics
    }

    /// A watch of `kind` was interrupted.
    pub(crate) fn interrupted(&self, kind: &'static str, reason: &'static str) {
        self.interruptions
            .get_or_create(&Interruption { kind, reason })
            .inc();
    }
}
