//! The controller against Kubernetes: watches in, Service status out.
//!
//! This shell feeds [`ironlb_controller_core::Controller`] with what the watches say and carries out what it decides:
//! patches of `services/status`, each conditional on the resource version that the decision was made on, and Events.
//! It decides nothing itself. Start at [`run`], then read `drive.rs`.
//!
//! It holds nothing that it could not read again: the record of what is allocated is the status of the Services.
#![forbid(unsafe_code)]

mod drive;
mod metrics;
mod pool_status;
mod write;

use std::collections::BTreeMap;

use anyhow::Context;
use ironlb_controller_core::{Controller, Settings};
use ironlb_watch::admin::{Admin, AdminArgs};
use ironlb_watch::sources::{CONFIGURATION, NAMESPACE, SERVICE};
use ironlb_watch::{Access, Barrier, Component, Metrics, Recorder, Reporter, Sources, Uids};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::drive::Drive;
use crate::metrics::PoolMetrics;
use crate::write::Writer;

/// Gives addresses to Services of type LoadBalancer
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    access: Access,

    /// Care for Services with this loadBalancerClass; without it, for those that have none
    #[arg(long, env = "IRONLB_LB_CLASS", value_name = "CLASS")]
    lb_class: Option<String>,

    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the controller until `shutdown` completes.
///
/// # Errors
///
/// When it cannot start: no way to the API server, or the port for metrics is taken. Once it runs, an API server that
/// cannot be reached is no error; it waits.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let client = args.access.client().await?;
    let namespace = args.access.namespace();
    let listener = args.admin.listen().await?;
    tracing::info!(
        namespace,
        class = args.lb_class.as_deref(),
        "controller starts"
    );

    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let pool_metrics = PoolMetrics::register(&mut registry);
    let writer = Writer::new(client.clone(), write::Counters::register(&mut registry));
    let barrier = Barrier::new([CONFIGURATION, NAMESPACE, SERVICE]);
    let admin = Admin::new(registry, barrier.clone());

    let uids = Uids::default();
    let reporter = Reporter {
        component: "metallb-controller",
        instance: std::env::var("HOSTNAME").unwrap_or_default(),
    };
    let recorder = Recorder::start(client.clone(), reporter, uids.clone(), metrics.clone());

    let (listened, updates) = mpsc::channel(UPDATES);
    let mut sources = Sources::new(client.clone(), metrics.clone(), listened);
    sources.services(None, uids);
    sources.namespaces();
    sources.configuration(&namespace, Component::Controller(recorder.clone()));

    let (usage, used) = watch::channel(BTreeMap::new());
    tokio::spawn(pool_status::write(client, namespace, pool_metrics, used));

    let settings = Settings {
        class: args.lb_class,
    };
    let drive = Drive::new(Controller::new(settings), writer, recorder, barrier, usage);
    tokio::select! {
        () = drive.run(updates) => anyhow::bail!("the controller's sources have ended"),
        () = sources.ended() => anyhow::bail!("a watch has ended by itself"),
        result = admin.serve(listener) => result.context("metrics server"),
        () = shutdown => Ok(()),
    }
}

/// Updates that may wait. The watches wait when there are more.
const UPDATES: usize = 1_024;
