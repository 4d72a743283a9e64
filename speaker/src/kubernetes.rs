//! A speaker in a cluster: the Kubernetes API is the source of what it announces, and hears what became of it.
//!
//! Losing the API changes nothing on the wire: the watches wait for it, and the speaker goes on with what it knew.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ironlb_model::bgp::Password;
use ironlb_model::{Event, EventKind, Name};
use ironlb_speaker_core::peers::{Passphrase, PeerInput, Secret};
use ironlb_speaker_core::{Input, Speaker};
use ironlb_watch::Metrics as ApiMetrics;
use ironlb_watch::admin::{Admin, AdminArgs};
use ironlb_watch::sources::{CONFIGURATION, ENDPOINT_SLICE, NODE, SERVICE};
use ironlb_watch::{
    Access, Barrier, Component, Recorder, Reporter, Sources, Subject, Uids, Update,
};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::SpeakerArgs;
use crate::drive::{self, Report};
use crate::metrics;
use crate::statuses::{self, Keeper, Kind};

/// Answers for the addresses of Services on this node's networks
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    access: Access,

    #[command(flatten)]
    speaker: SpeakerArgs,

    #[command(flatten)]
    admin: AdminArgs,

    /// Keep the last good configuration in this file of the node, passwords included, so that what is in error when the speaker starts
    /// is announced as before; one for each speaker, best on a file system in memory. Without it, what is in error then is left out
    #[arg(long, env = "IRONLB_LAST_GOOD", value_name = "FILE")]
    last_good: Option<PathBuf>,
}

/// Runs the speaker until `shutdown` completes. When this returns, nothing is answered any more.
///
/// # Errors
/// When it cannot start: no name of the node, no way to the API server, no right to open packet sockets, or the port for
/// metrics is taken. Once it runs, an API server that cannot be reached is no error; it waits.
pub async fn run(args: Args, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
    let node = args.speaker.node()?;
    let client = args.access.client().await?;
    let namespace = args.access.namespace();
    let listener = args.admin.listen().await?;
    tracing::info!(
        node,
        namespace,
        class = args.speaker.lb_class.as_deref(),
        "speaker starts"
    );

    let mut registry = Registry::default();
    let api_metrics = ApiMetrics::register(&mut registry);
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
    sources.secrets(&namespace);
    let nodes = Uids::default();
    sources.nodes(nodes.clone());
    let component = Component::Speaker(node.as_str().into(), nodes.clone());
    let configured = sources.configuration(&namespace, component, args.last_good.clone());

    let (speaker_client, reports, ends) = drive::channels();
    let mut speaker = drive::start(Speaker::new(args.speaker.settings(&node)?), ends)?;
    let refresh = metrics::register(&mut registry, speaker_client.clone(), node.clone());
    let admin = Admin::new(registry, barrier.clone()).refreshed(refresh);
    let keep = |kind| {
        let (announced, statuses) = mpsc::channel(UPDATES);
        let node = node.as_str().into();
        let keeper = Keeper::new(kind, client.clone(), &namespace, node, nodes.clone());
        (
            announced,
            tokio::spawn(keeper.run(barrier.clone(), statuses)),
        )
    };
    let (layer2, layer2_keeper) = keep(Kind::Layer2);
    let (bgp, bgp_keeper) = keep(Kind::Bgp);
    let teller = Teller {
        recorder,
        namespace,
        node,
        configured,
    };
    tokio::spawn(hand_on(reports, teller, layer2, bgp));

    let ended = tokio::select! {
        () = tell(updates, speaker_client, barrier) => Err(anyhow::anyhow!("the speaker's sources have ended")),
        () = sources.ended() => Err(anyhow::anyhow!("a watch has ended by itself")),
        result = speaker.ended() => return result.context("speaker"),
        result = admin.serve(listener) => result.context("metrics server"),
        () = shutdown => Ok(()),
    };
    speaker.stop().await.context("speaker")?;
    // Nobody answers any more. Saying so must not take long: a successor waits for its turn, and it would say so too.
    let keepers = async { tokio::join!(layer2_keeper, bgp_keeper) };
    let _ = timeout(LEAVING, keepers).await;
    ended
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
        Update::Secret(name, password) => Input::Peer(PeerInput::Secret {
            name,
            secret: password.map(|password| match password {
                Password::Plain(text) => Secret::Password(Passphrase(text.into())),
                Password::None | Password::Secret(_) => Secret::Empty,
            }),
        }),
        Update::Read(source) if barrier.read(source) => {
            tracing::info!("everything has been read; announcing begins");
            Input::Synced
        }
        Update::Read(_) | Update::NamespaceApplied(_) | Update::NamespaceDeleted(_) => return None,
    })
}

/// Tells of Services and of BGP peers by Events.
struct Teller {
    recorder: Recorder,
    namespace: String,
    node: String,
    /// The uids of the configuration's objects.
    configured: Uids<String>,
}

impl Teller {
    fn event(&self, event: Event) {
        tracing::info!(service = %event.service, reason = event.reason, "{}", event.message);
        self.recorder.record(event);
    }

    /// A session with a peer cannot be tried, which the log has said. Only a BGPPeer has what a peer may wait for, not a legacy one.
    fn waiting(&self, peer: &Name, why: &str) {
        let kind = "BGPPeer";
        let uid = self.configured.of(&format!("{kind}/{peer}"));
        let subject = Subject::of_configuration(kind, &self.namespace, peer, uid);
        let message = format!("node {:?} has no session with this peer: {why}", self.node);
        self.recorder
            .record_about(subject, EventKind::Warning, "peerWaiting", message);
    }
}

/// Hands on what the speaker reports to those who tell the API.
async fn hand_on(
    mut reports: mpsc::UnboundedReceiver<Report>,
    teller: Teller,
    layer2: mpsc::Sender<statuses::Report>,
    bgp: mpsc::Sender<statuses::Report>,
) {
    while let Some(report) = reports.recv().await {
        let handed_on = match report {
            Report::Event(event) => {
                teller.event(event);
                continue;
            }
            Report::Waiting { peer, why } => {
                teller.waiting(&peer, &why);
                continue;
            }
            Report::Layer2(status) => {
                let announced_here = status.interfaces.is_some();
                tracing::debug!(service = %status.service, announced_here, "layer 2");
                layer2.send((status.service, status.interfaces)).await
            }
            Report::Bgp(status) => {
                tracing::debug!(service = %status.service, peers = ?status.peers, "BGP");
                let peers = status.peers.iter().map(ToString::to_string);
                let peers = Some(peers.collect()).filter(|_| !status.peers.is_empty());
                bgp.send((status.service, peers)).await
            }
        };
        if handed_on.is_err() {
            return;
        }
    }
}

/// Services of other types have no address to announce; one that changes its type is then said to be deleted.
const LOAD_BALANCERS: &str = "spec.type=LoadBalancer";
const LEAVING: Duration = Duration::from_secs(2);
/// Updates that may wait. The watches wait when there are more.
const UPDATES: usize = 1_024;
