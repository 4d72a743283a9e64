//! A speaker in a cluster: the Kubernetes API is the source of what it announces, and hears what became of it.
//!
//! Losing the API changes nothing on the wire: the watches wait for it, and the speaker goes on with what it knew.

use std::env;

use anyhow::Context;
use ironlb_speaker_core::{DEFAULT_EXCLUDED_INTERFACES, Input, Layer2Status, Settings, Speaker};
use ironlb_watch::Metrics as ApiMetrics;
use ironlb_watch::admin::{Admin, AdminArgs, Refresh};
use ironlb_watch::sources::{CONFIGURATION, ENDPOINT_SLICE, NODE, SERVICE};
use ironlb_watch::{Access, Barrier, Component, Recorder, Reporter, Sources, Uids, Update};
use prometheus_client::registry::Registry;
use regex::Regex;
use tokio::sync::mpsc;

use crate::drive::{self, Report};
use crate::layer2_status;
use crate::metrics::{Metrics, Snapshot};

/// Answers for the addresses of Services on this node's networks
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    access: Access,

    /// The name of the node that this speaker runs on; without it METALLB_NODE_NAME or NODE_NAME
    #[arg(long, env = "IRONLB_NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,

    /// Announce Services with this loadBalancerClass; without it, those that have none
    #[arg(long, env = "IRONLB_LB_CLASS", value_name = "CLASS")]
    lb_class: Option<String>,

    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long, env = "IRONLB_IGNORE_EXCLUDE_LB")]
    ignore_exclude_lb: bool,

    /// Interfaces that nothing is announced on, as a regular expression; may be given more than once, and then takes the
    /// place of the list of container and tunnel interfaces
    #[arg(
        long,
        env = "IRONLB_EXCLUDE_INTERFACES",
        value_name = "REGEX",
        value_delimiter = ','
    )]
    exclude_interfaces: Vec<Regex>,

    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the speaker until `shutdown` completes. When this returns, nothing is answered any more.
///
/// # Errors
/// When it cannot start: no name of the node, no way to the API server, no right to open packet sockets, or the port for
/// metrics is taken. Once it runs, an API server that cannot be reached is no error; it waits.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let node = args.node()?;
    let client = args.access.client().await?;
    let namespace = args.access.namespace();
    let listener = args.admin.listen().await?;
    tracing::info!(
        node,
        namespace,
        class = args.lb_class.as_deref(),
        "speaker starts"
    );

    let mut registry = Registry::default();
    let api_metrics = ApiMetrics::register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let barrier = Barrier::new([CONFIGURATION, ENDPOINT_SLICE, NODE, SERVICE]);

    let uids = Uids::default();
    let reporter = Reporter {
        component: "metallb-speaker",
        instance: node.clone(),
    };
    let recorder = Recorder::start(client.clone(), reporter, uids.clone(), api_metrics.clone());

    let (listened, updates) = mpsc::channel(UPDATES);
    let mut sources = Sources::new(client.clone(), api_metrics, listened);
    sources.services(Some(LOAD_BALANCERS), uids);
    sources.endpoint_slices();
    sources.nodes();
    sources.configuration(&namespace, Component::Speaker(node.clone()));

    let (speaker_client, reports, ends) = drive::channels();
    let mut speaker = drive::start(Speaker::new(args.settings(&node)?), ends)?;
    let admin = Admin::new(registry, barrier.clone()).refreshed(refresh(
        speaker_client.clone(),
        metrics,
        node.clone(),
    ));
    let (announced, statuses) = mpsc::channel(UPDATES);
    tokio::spawn(layer2_status::keep(
        client,
        namespace,
        node,
        barrier.clone(),
        statuses,
    ));
    tokio::spawn(hand_on(reports, recorder, announced));

    let ended = tokio::select! {
        () = tell(updates, speaker_client, barrier) => Err(anyhow::anyhow!("the speaker's sources have ended")),
        () = sources.ended() => Err(anyhow::anyhow!("a watch has ended by itself")),
        result = speaker.ended() => return result.context("speaker"),
        result = admin.serve(listener) => result.context("metrics server"),
        () = shutdown => Ok(()),
    };
    speaker.stop().await.context("speaker")?;
    ended
}

impl Args {
    fn node(&self) -> anyhow::Result<String> {
        let others = ["METALLB_NODE_NAME", "NODE_NAME"]
            .into_iter()
            .filter_map(|name| env::var(name).ok());
        let named = self
            .node_name
            .clone()
            .into_iter()
            .chain(others)
            .find(|name| !name.is_empty());
        named.context("the node's name is not known: give --node-name or IRONLB_NODE_NAME")
    }

    fn settings(&self, node: &str) -> anyhow::Result<Settings> {
        let defaults = || {
            DEFAULT_EXCLUDED_INTERFACES
                .into_iter()
                .map(Regex::new)
                .collect::<Result<Vec<_>, _>>()
        };
        let excluded_interfaces = match &self.exclude_interfaces[..] {
            [] => defaults().context("default list of excluded interfaces")?,
            given => given.to_vec(),
        };
        Ok(Settings {
            node: node.into(),
            class: self.lb_class.clone(),
            ignore_exclude_label: self.ignore_exclude_lb,
            excluded_interfaces,
        })
    }
}

/// Tells the speaker what the API says, until one of them has ended.
async fn tell(mut updates: mpsc::Receiver<Update>, speaker: drive::Client, barrier: Barrier) {
    while let Some(update) = updates.recv().await {
        if let Some(input) = input(update, &barrier)
            && speaker.send(input).await.is_err()
        {
            return;
        }
    }
}

/// What the speaker is to hear of an update.
fn input(update: Update, barrier: &Barrier) -> Option<Input> {
    Some(match update {
        Update::Config(config) => Input::Config(config),
        Update::ServiceApplied(service) => Input::ServiceApplied(service),
        Update::ServiceDeleted(service) => Input::ServiceDeleted(service),
        Update::NodeApplied(node) => Input::NodeApplied(node),
        Update::NodeDeleted(node) => Input::NodeDeleted(node),
        Update::EndpointsApplied(slice) => Input::EndpointsApplied(slice),
        Update::EndpointsDeleted(slice) => Input::EndpointsDeleted(slice),
        Update::Read(source) if barrier.read(source) => {
            tracing::info!("everything has been read; announcing begins");
            Input::Synced
        }
        Update::Read(_) | Update::NamespaceApplied(_) | Update::NamespaceDeleted(_) => return None,
    })
}

/// Hands on what the speaker reports to those who tell the API.
async fn hand_on(
    mut reports: mpsc::UnboundedReceiver<Report>,
    recorder: Recorder,
    announced: mpsc::Sender<Layer2Status>,
) {
    while let Some(report) = reports.recv().await {
        match report {
            Report::Event(event) => {
                tracing::info!(service = %event.service, reason = event.reason, "{}", event.message);
                recorder.record(event);
            }
            Report::Layer2(status) => {
                let announced_here = status.interfaces.is_some();
                tracing::debug!(service = %status.service, announced_here, "layer 2");
                if announced.send(status).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Brings the gauges up to date before they are shown.
fn refresh(speaker: drive::Client, metrics: Metrics, node: String) -> Refresh {
    Box::new(move || {
        let (speaker, metrics, node) = (speaker.clone(), metrics.clone(), node.clone());
        Box::pin(async move {
            if let Ok(snapshot) = speaker.ask(Snapshot::of).await {
                metrics.show(&node, &snapshot);
            }
        })
    })
}

/// Services of other types have no address to announce; one that changes its type is then said to be deleted.
const LOAD_BALANCERS: &str = "spec.type=LoadBalancer";
/// Updates that may wait. The watches wait when there are more.
const UPDATES: usize = 1_024;
