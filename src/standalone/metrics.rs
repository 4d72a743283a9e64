//! What the process shows to dashboards: what controller and speaker show in a cluster, under the same names.

use std::collections::BTreeMap;
use std::future;
use std::io;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use ironlb_controller::PoolMetrics;
use ironlb_controller_core::Usage;
use ironlb_model::Name;
use ironlb_speaker::drive::Client;
use ironlb_watch::Barrier;
use ironlb_watch::admin::Admin;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::site::Site;

/// The gauges, and the server that shows them where one is wanted.
pub(crate) struct Metrics {
    sources: ironlb_watch::Metrics,
    pools: PoolMetrics,
    usage: BTreeMap<Name, Usage>,
    barrier: Barrier,
    server: Option<JoinHandle<io::Result<()>>>,
}

impl Metrics {
    /// Serves them on `address`, with what `speaker` says of node `node`.
    ///
    /// # Errors
    /// When the address is not this host's, or taken.
    pub(crate) async fn serve(
        address: Option<SocketAddr>,
        speaker: &Client,
        node: &str,
    ) -> Result<Self> {
        let mut registry = Registry::default();
        let mut metrics = Self {
            sources: ironlb_watch::Metrics::register(&mut registry),
            pools: PoolMetrics::register(&mut registry),
            usage: BTreeMap::new(),
            barrier: Barrier::new(["manifests"]),
            server: None,
        };
        if let Some(address) = address {
            let refresh =
                ironlb_speaker::metrics::register(&mut registry, speaker.clone(), node.to_owned());
            let admin = Admin::new(registry, metrics.barrier.clone()).refreshed(refresh);
            let listener = TcpListener::bind(address).await;
            let listener = listener.with_context(|| format!("metrics on {address}"))?;
            tracing::info!(%address, "metrics are served");
            metrics.server = Some(tokio::spawn(admin.serve(listener)));
        }
        Ok(metrics)
    }

    /// Shows how things stand with `site`.
    pub(crate) fn show(&mut self, site: &mut Site) {
        if self.server.is_none() {
            return;
        }
        self.sources.updates.inc_by(site.take_updates());
        let waits_for = site.waits_for();
        let is_loaded = waits_for != Some("manifests");
        self.sources.config_loaded.set(is_loaded.into());
        self.sources.config_stale.set(site.is_stale().into());
        self.barrier.begin(waits_for);
        let usage = site.pool_usage();
        if usage != self.usage {
            self.pools.show(&usage);
            self.usage = usage;
        }
    }

    /// Waits until the server ends, which it does only when it cannot go on.
    pub(crate) async fn ended(&mut self) -> Result<()> {
        let Some(server) = &mut self.server else {
            return future::pending().await;
        };
        server
            .await
            .context("metrics server")?
            .context("metrics server")?;
        bail!("the metrics server has ended")
    }
}
