//! The controller against Kubernetes: watches in, Service status out.
//!
//! This shell feeds [`ironlb_controller_core::Controller`] with what the watches say and carries out what it decides:
//! patches of `services/status`, each conditional on the resource version that the decision was made on, and Events.
//! It decides nothing itself. Start at [`run`], then read `drive.rs`. Beside that, one controller leads (`lease.rs`), tells
//! how full the pools are (`pool_status.rs`), and deletes what Services that are gone have left behind (`leftovers.rs`).
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
use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use ironlb_controller_core::{Controller, Settings, Usage};
use ironlb_model::Name;
use ironlb_watch::admin::{Admin, AdminArgs};
use ironlb_watch::sources::{CONFIGURATION, NAMESPACE, NODE, SERVICE};
use ironlb_watch::{Access, Barrier, Component, Metrics, Recorder, Reporter, Sources, Uids};
use kube::Client;
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::drive::Drive;
use crate::lease::{Candidate, Lead};
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

    let (leading, led) = watch::channel(if args.leader_elect {
        Lead::No
    } else {
        Lead::Always
    });
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
    let (close, closing) = watch::channel(false);
    let mut held = Box::pin(office.hold(led, closing));
    let (ended, in_office) = tokio::select! {
        ended = &mut held => (ended, false),
        () = candidate.run(), if args.leader_elect => (Ok(()), true),
        result = admin.serve(listener) => (result.context("metrics server"), true),
        () = shutdown => (Ok(()), true),
    };
    close.send_replace(true);
    // Only when none of our writes can come into force any more may another lead.
    let settled = in_office && matches!(timeout(SETTLING, &mut held).await, Ok(Ok(())));
    drop(held);
    if settled {
        candidate.leave().await;
    } else {
        tracing::info!("the outcome of a write is not known; the Lease is left to expire");
    }
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
    /// Allocates whenever `led` says that this controller leads, until `closing` says that the process is about to end and
    /// no write is under way. Each term begins with reading everything.
    async fn hold(
        self,
        mut led: watch::Receiver<Lead>,
        mut closing: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        loop {
            tokio::select! {
                lead = led.wait_for(|lead| lead.holds()) => {
                    lead.context("the election has ended")?;
                }
                _ = closing.wait_for(|closing| *closing) => return Ok(()),
            }
            let mut ended = led.clone();
            tokio::select! {
                result = self.term(led.clone(), closing.clone()) => return result,
                _ = ended.wait_for(|lead| *lead == Lead::No) => self.barrier.begin([]),
            }
        }
    }

    /// Allocates. When this is dropped, nothing more is begun; what was under way may still come into force for a moment.
    async fn term(
        &self,
        led: watch::Receiver<Lead>,
        closing: watch::Receiver<bool>,
    ) -> anyhow::Result<()> {
        self.barrier
            .begin([CONFIGURATION, NAMESPACE, NODE, SERVICE]);
        let (listened, updates) = mpsc::channel(UPDATES);
        let mut sources = Sources::new(self.client.clone(), self.metrics.clone(), listened);
        sources.services(None, self.uids.clone());
        sources.namespaces();
        sources.node_addresses();
        sources.configuration(
            &self.namespace,
            Component::Controller(self.recorder.clone()),
            None,
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
            Writer::new(self.client.clone(), led, self.counters.clone()),
            self.recorder.clone(),
            self.barrier.clone(),
            self.usage.clone(),
            look,
            closing,
        );
        let leftovers = async {
            leftovers.await;
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            ended = drive.run(updates) => ended,
            never = leftovers => match never {},
            () = sources.ended() => Err(anyhow::anyhow!("a watch has ended by itself")),
        }
    }
}

/// Updates that may wait. The watches wait when there are more.
const UPDATES: usize = 1_024;
/// How long to wait for the writes under way when the process is to end.
const SETTLING: Duration = Duration::from_secs(2);
