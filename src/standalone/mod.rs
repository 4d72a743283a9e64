//! `ironlb standalone`: allocator and announcer of one node in one process, from files, without Kubernetes.
//!
//! ```text
//! directory ──► catalog ──► record (controller, state file) ──► site ──► speaker (ARP, NDP)
//!  (texts)      (changes)   (or follow: another's state file)      └───► forward (nftables)
//! ```
//!
//! This file is the wiring: it waits for changes, signals and deadlines, and hands on what [`site::Site`] gives.

mod catalog;
mod copy;
mod directory;
mod file;
mod follow;
mod forward;
mod metrics;
mod record;
mod site;
mod state;
mod watch;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use ironlb_model::ServiceKey;
use ironlb_speaker::SpeakerArgs;
use ironlb_speaker::drive::{self, Client, Clock, Report};
use ironlb_speaker_core::Speaker;
use tokio::time::{Instant, sleep_until};

use directory::Touched;
use forward::Forwarder;
use metrics::Metrics;
use site::Site;
use watch::Watch;

/// Allocate and announce on one host, from files, without Kubernetes
///
/// Reads Service, EndpointSlice, Node, Namespace and configuration manifests (*.yaml, *.yml, *.json) from a directory and those below it, and
/// follows its changes. Addresses are kept in the state file. Where there is no Node, this host is the only one.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Directory with the manifests
    #[arg(short = 'f', long = "filename", value_name = "DIR")]
    directory: PathBuf,

    /// File that says which Service holds which addresses; made where it does not exist
    #[arg(long, value_name = "FILE")]
    state: PathBuf,

    /// Take addresses from the state file of another process, and allocate none: for every host but one
    #[arg(long)]
    follow: bool,

    /// Carry the traffic that arrives to the Services' endpoints
    #[arg(long, value_enum, default_value_t = Forward::None)]
    forward: Forward,

    /// Serve metrics and health over HTTP there (/metrics, /healthz, /readyz), without encryption and to whoever asks; without
    /// this option, nowhere
    #[arg(long, env = "IRONLB_METRICS", value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,

    #[command(flatten)]
    speaker: SpeakerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Forward {
    /// By nftables, in a table of its own (inet ironlb) that goes when the process ends, unless BGP peers keep its routes over a restart
    Nftables,
    /// Not: something else does, such as kube-proxy, or the Service's address is on the host itself
    None,
}

/// The Services in a state file, and their addresses.
pub(crate) fn allocations(state: &Path) -> Result<Vec<(ServiceKey, Vec<IpAddr>)>, String> {
    let found = state::read(state)
        .map_err(|error| error.to_string())?
        .unwrap_or_default();
    Ok(found
        .into_iter()
        .map(|(service, held)| (service, held.ips))
        .collect())
}

/// Runs until `shutdown` completes. When this returns, nothing is answered any more.
pub(crate) async fn run(args: Args, shutdown: impl Future<Output = ()>) -> Result<()> {
    if !args.directory.is_dir() {
        bail!("{}: not a directory", args.directory.display());
    }
    let node = args.speaker.node()?;
    let clock = Clock::start();
    let followed = args.follow.then_some(&*args.state);
    let mut watch = Watch::start(&args.directory, followed);
    let mut site = Site::open(site_settings(&args, &node))?;
    let (client, mut reports, ends) = drive::channels();
    let mut metrics = Metrics::serve(args.metrics, &client, &node).await?;
    let speaker = Speaker::new(args.speaker.settings(&node)?);
    let mut speaker = drive::start(speaker, ends).context("the speaker cannot start")?;
    let mut forwarder = None;
    let mut schedule = Schedule::new(watch.poll());
    let mut shutdown = pin!(shutdown);

    tracing::info!(node, directory = %args.directory.display(), "started");
    loop {
        hand_on(&args, &mut site, &client, &mut forwarder).await?;
        site.keep();
        metrics.show(&mut site);
        let all = schedule.all(site.deadline().map(|time| clock.instant(time)));
        let looked_at = tokio::select! {
            () = &mut shutdown => break,
            ended = speaker.ended() => {
                ended.context("the speaker stopped")?;
                bail!("the speaker stopped");
            }
            result = metrics.ended() => {
                result?;
                continue;
            }
            Some(report) = reports.recv() => {
                log(report);
                continue;
            }
            Some(first) = watch.touched() => watch.burst(first).await,
            () = sleep_until(schedule.next(all)) => match Instant::now() >= all {
                true => Touched::All,
                false => Touched::nothing(),
            },
        };
        look(&mut site, &clock, &looked_at, &mut schedule);
    }
    let kept = client.ask(|speaker, _| speaker.would_leave_routes()).await;
    let ended = speaker.stop().await;
    // Only now: until its routes are withdrawn, traffic comes to this host.
    match forwarder {
        Some(forwarder) if kept == Ok(true) => forwarder.keep(),
        forwarder => drop(forwarder),
    }
    ended.context("the speaker stopped badly")
}

/// When to look at the files though nothing seems to happen.
struct Schedule {
    poll: Duration,
    looked: Instant,
    /// When to look at all of them.
    all: Instant,
    /// When to look at those that were being written, or to write the state file again.
    soon: Option<Instant>,
}

impl Schedule {
    /// All at once, and then each `poll`.
    fn new(poll: Duration) -> Self {
        let now = Instant::now();
        Self {
            poll,
            looked: now,
            all: now,
            soon: None,
        }
    }

    /// When to look at all, where something is `due` then.
    fn all(&self, due: Option<Instant>) -> Instant {
        // Not at once again, should the last look have failed.
        let due = due.map(|due| due.max(self.looked + file::REST));
        due.map_or(self.all, |due| due.min(self.all))
    }

    fn next(&self, all: Instant) -> Instant {
        self.soon.map_or(all, |soon| soon.min(all))
    }
}

/// Looks at the files that were touched.
fn look(site: &mut Site, clock: &Clock, touched: &Touched, schedule: &mut Schedule) {
    let looked = site.look(clock.now(), touched);
    let now = Instant::now();
    schedule.looked = now;
    if *touched == Touched::All {
        schedule.all = now + schedule.poll;
    }
    schedule.soon = match looked {
        Ok(true) => Some(now + file::REST),
        Ok(false) => site.is_behind().then(|| now + RETRY),
        Err(error) => {
            tracing::error!(%error, "the directory of manifests cannot be read; everything stays as it is");
            None
        }
    };
}

/// Tells the speaker and the kernel what is new.
async fn hand_on(
    args: &Args,
    site: &mut Site,
    client: &Client,
    forwarder: &mut Option<Forwarder>,
) -> Result<()> {
    // Forward first: who is invited should be let in.
    if args.forward == Forward::Nftables
        && let Some(ruleset) = site.take_ruleset()
    {
        match forwarder {
            Some(forwarder) => forwarder.set(ruleset).await,
            None => {
                *forwarder = Some(Forwarder::start(ruleset)?);
                tracing::info!("{FORWARDING}");
            }
        }
    }
    for input in site.take_inputs() {
        client.send(input).await?;
    }
    Ok(())
}

fn log(report: Report) {
    match report {
        Report::Event(event) => record::log(&event),
        // Has been logged.
        Report::Waiting { .. } => {}
        Report::Layer2(status) => {
            let service = status.service;
            match status.interfaces {
                Some(interfaces) if interfaces.is_empty() => {
                    tracing::info!(%service, "announced on layer 2 from here");
                }
                Some(interfaces) => {
                    tracing::info!(%service, ?interfaces, "announced on layer 2 from here");
                }
                None => tracing::info!(%service, "no longer announced on layer 2 from here"),
            }
        }
        Report::Bgp(status) if status.peers.is_empty() => {
            tracing::info!(service = %status.service, "no longer announced by BGP from here");
        }
        Report::Bgp(status) => {
            tracing::info!(service = %status.service, peers = ?status.peers, "announced by BGP from here");
        }
    }
}

fn site_settings<'a>(args: &'a Args, node: &'a str) -> site::Settings<'a> {
    site::Settings {
        directory: &args.directory,
        state: &args.state,
        follow: args.follow,
        node,
        class: args.speaker.lb_class.clone(),
    }
}

/// The log line that says that rules are in force.
pub(crate) const FORWARDING: &str = "forwarding by nftables, in the table inet ironlb";
/// How soon to try again to write the state file.
const RETRY: Duration = Duration::from_secs(1);
