//! The controller against Kubernetes: watches in, Service status out.
//!
//! This shell feeds [`ironlb_controller_core::Controller`] with what the watches say and carries out what it decides:
//! patches of `services/status`, each conditional on the resource version that the decision was made on, and Events.
//! It decides nothing itself. Start at [`run`], then read `drive.rs`.
//!
//! It holds nothing that it could not read again: the record of what is allocated is the status of the Services.
#![forbid(unsafe_code)]

mod drive;
mod lease;
mod leftovers;
mod metrics;
mod pool_status;
mod write;

use std::collections::BTreeMap;

use anyhow::Context;
use ironlb_controller_core::{Controller, Settings, Usage};
use ironlb_model::Name;
use ironlb_watch::admin::{Admin, AdminArgs};
use ironlb_watch::sources::{CONFIGURATION, NAMESPACE, SERVICE};
use ironlb_watch::{Access, Barrier, Component, Metrics, Recorder, Reporter, Sources, Uids};
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::drive::Drive;
use crate::lease::Candidate;
use crate::write::Writer;

pub use crate::metrics::PoolMetrics;

/// Gives addresses to Services of type LoadBalancer
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    access: Access,

    /// Care for Services with this loadBalancerClass; without it, for those that have none
    #[arg(long, env = "IRONLB_LB_CLASS", value_name = "CLASS")]
    lb_class: Option<String>,

    /// Whether to wait for the Lease ironlb-controller before allocating, so that of several controllers one allocates
    #[arg(long, env = "IRONLB_LEADER_ELECT", default_value_t = true, action = clap::ArgAction::Set)]
    leader_elect: bool,

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
    let counters = write::Counters::register(&mut registry);
    // A controller that waits for the lead has nothing to read, and is ready.
    let barrier = Barrier::new([]);
    let admin = Admin::new(registry, barrier.clone());

    let identity = lease::identity();
    let uids = Uids::default();
    let reporter = Reporter {
        component: "metallb-controller",
        instance: identity.to_string(),
    };
    let recorder = Recorder::start(client.clone(), reporter, uids.clone(), metrics.clone());
    let (usage, used) = watch::channel(BTreeMap::new());
    tokio::spawn(pool_status::write(
        client.clone(),
        namespace.clone(),
        pool_metrics,
        used,
    ));

    let (leading, led) = watch::channel(!args.leader_elect);
    let mut candidate = Candidate::new(client.clone(), &namespace, &identity, leading);
    let office = Office {
        client,
        namespace,
        class: args.lb_class,
        metrics,
        counters,
        barrier,
        uids,
        recorder,
        usage,
    };
    let ended = tokio::select! {
        error = office.hold(led) => Err(error),
        () = candidate.run(), if args.leader_elect => Ok(()),
        result = admin.serve(listener) => result.context("metrics server"),
        () = shutdown => Ok(()),
    };
    // What was under way has been dropped with the office: only now may another lead.
    candidate.leave().await;
    ended
}

/// What a leader works with, term after term.
struct Office {
    client: Client,
    namespace: String,
    class: Option<String>,
    metrics: Metrics,
    counters: write::Counters,
    barrier: Barrier,
    uids: Uids,
    recorder: Recorder,
    usage: watch::Sender<BTreeMap<Name, Usage>>,
}

impl Office {
    /// Allocates whenever `led` says that this controller leads. Each term begins with reading everything.
    async fn hold(self, mut led: watch::Receiver<bool>) -> anyhow::Error {
        loop {
            if led.wait_for(|leads| *leads).await.is_err() {
                return anyhow::anyhow!("the election has ended");
            }
            tokio::select! {
                error = self.term() => return error,
                _ = led.wait_for(|leads| !*leads) => self.barrier.begin([]),
            }
        }
    }

    /// Allocates. When this is dropped, nothing is written any more, not even what was under way.
    async fn term(&self) -> anyhow::Error {
        self.barrier.begin([CONFIGURATION, NAMESPACE, SERVICE]);
        let (listened, updates) = mpsc::channel(UPDATES);
        let mut sources = Sources::new(self.client.clone(), self.metrics.clone(), listened);
        sources.services(None, self.uids.clone());
        sources.namespaces();
        sources.configuration(
            &self.namespace,
            Component::Controller(self.recorder.clone()),
        );
        let (look, looks) = mpsc::unbounded_channel();
        let leftovers = leftovers::sweep(
            self.client.clone(),
            &self.namespace,
            self.uids.clone(),
            looks,
        );
        let drive = Drive::new(
            Controller::new(Settings {
                class: self.class.clone(),
            }),
            Writer::new(self.client.clone(), self.counters.clone()),
            self.recorder.clone(),
            self.barrier.clone(),
            self.usage.clone(),
            look,
        );
        tokio::select! {
            ((), ()) = async { tokio::join!(drive.run(updates), leftovers) } => {
                anyhow::anyhow!("the controller's sources have ended")
            }
            () = sources.ended() => anyhow::anyhow!("a watch has ended by itself"),
        }
    }
}

/// Updates that may wait. The watches wait when there are more.
const UPDATES: usize = 1_024;
