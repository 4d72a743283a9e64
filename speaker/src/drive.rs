//! The loop of a speaker: what arrives goes into the [`Speaker`], what comes out is done.
//!
//! One thread owns the machine, so no lock is held anywhere; the rest of the process talks to it through [`Client`] and hears of
//! it by [`Report`]s. There are no decisions in here: those are `ironlb-speaker-core`'s. When the loop ends its sockets are closed,
//! and from that moment nothing is answered.

use std::future;
use std::io;
use std::mem;
use std::pin::pin;
use std::thread;

use ironlb_model::{Event, Name, Time};
use ironlb_speaker_core::peers::{News, PeerInput, PeerOutput};
use ironlb_speaker_core::{BgpStatus, Input, Layer2Status, Output, Speaker};
use ironlb_sys::link::{self, LinkEvent};
use ironlb_sys::packet::{Batch, Cover, Protocol};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use crate::bfd;
use crate::peers::{self, Peers};
use crate::sockets::{Sockets, Traffic};

/// Tells a running speaker what happened, and asks it what it knows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inputs: mpsc::Sender<Input>,
    queries: mpsc::Sender<Query>,
}

impl Client {
    /// Something happened. Waits while the speaker is behind.
    ///
    /// # Errors
    /// When the speaker has stopped.
    pub async fn send(&self, input: Input) -> Result<(), Stopped> {
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// Runs `question` on the speaker's thread, between two events; it should not take long.
    ///
    /// # Errors
    /// When the speaker has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Speaker, &Traffic) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let query = Query::Machine(Box::new(move |speaker, traffic| {
            // Whoever asked may have lost interest.
            let _ = answer.send(question(speaker, traffic));
        }));
        self.queries.send(query).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }

    /// How to ask BFD, which keeps its sessions on a thread of its own; `None` while no peer is watched.
    ///
    /// # Errors
    /// When the speaker has stopped.
    pub async fn bfd(&self) -> Result<Option<bfd::Client>, Stopped> {
        let (answer, answered) = oneshot::channel();
        let sent = self.queries.send(Query::Bfd(answer)).await;
        sent.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

/// The speaker has stopped, so nothing can be told to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the speaker has stopped")]
pub struct Stopped;

/// What a speaker has to say to operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// An Event about a Service.
    Event(Event),
    /// Where a Service is announced on layer 2 from here.
    Layer2(Layer2Status),
    /// To which BGP peers a Service is announced from here.
    Bgp(BgpStatus),
    /// A session with a BGP peer cannot be tried.
    Waiting {
        /// The peer.
        peer: Name,
        /// What is missing, and what the operator can do about it.
        why: String,
    },
}

/// The speaker's ends of its channels.
pub struct Ends {
    inputs: mpsc::Receiver<Input>,
    queries: mpsc::Receiver<Query>,
    reports: mpsc::UnboundedSender<Report>,
}

enum Query {
    Machine(Question),
    Bfd(oneshot::Sender<Option<bfd::Client>>),
}

type Question = Box<dyn FnOnce(&Speaker, &Traffic) + Send>;

/// The channels of one speaker.
///
/// Reports have no bound, so that nothing outside can hold up the loop: receive them promptly, and keep only the last status of
/// each Service. Without a receiver they are dropped.
pub fn channels() -> (Client, mpsc::UnboundedReceiver<Report>, Ends) {
    let (inputs, inputs_end) = mpsc::channel(INPUTS);
    let (queries, queries_end) = mpsc::channel(QUERIES);
    let (reports, reports_end) = mpsc::unbounded_channel();
    let ends = Ends {
        inputs: inputs_end,
        queries: queries_end,
        reports,
    };
    (Client { inputs, queries }, reports_end, ends)
}

/// A speaker on a thread of its own.
#[derive(Debug)]
pub struct Running {
    /// Stops the loop when dropped.
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Running {
    /// Waits until the speaker ends by itself, which it does only when it cannot go on.
    ///
    /// # Errors
    /// Those of [`run`].
    pub async fn ended(&mut self) -> io::Result<()> {
        match (&mut self.ended).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the speaker's thread has panicked")),
        }
    }

    /// Stops it. When this returns nothing is answered any more.
    ///
    /// # Errors
    /// Those of [`run`], when it has ended before.
    pub async fn stop(self) -> io::Result<()> {
        let Self { stop, mut ended } = self;
        drop(stop);
        match (&mut ended).await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("the speaker's thread has panicked")),
        }
    }
}

/// Runs `speaker` on a new thread, in the network namespace of the calling one, so that nothing else the process does delays an
/// answer. It stops when [`Running`] is dropped.
///
/// # Errors
/// When no thread can be had.
pub fn start(speaker: Speaker, ends: Ends) -> io::Result<Running> {
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("speaker".to_owned())
        .spawn(move || {
            let shutdown = async {
                let _ = stopped.await;
            };
            let result = runtime.block_on(run(speaker, ends, shutdown));
            // Closes the sockets of tasks too, before anyone is told.
            drop(runtime);
            let _ = end.send(result);
        })?;
    Ok(Running { stop, ended })
}

/// Runs `speaker` until `shutdown` is ready and BGP peers have been told. Needs a tokio runtime of one thread that stays in its network namespace.
///
/// # Errors
/// Without the right to open packet sockets (CAP_NET_RAW), or when interfaces cannot be followed.
pub async fn run(
    mut speaker: Speaker,
    mut ends: Ends,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let clock = Clock::start();
    let mut shutdown = pin!(shutdown);
    let mut links = link::follow()?;
    let mut sockets = Sockets::default();
    let mut peers = Peers::default();
    let mut batch = Batch::new();
    let mut inputs = Vec::new();
    let mut changed = true;
    let mut ending = false;
    loop {
        if mem::take(&mut changed) {
            sockets.narrow(Cover::of(speaker.announced().map(|(_, address)| address)));
        }
        while let Some(output) = speaker.poll() {
            if output == Output::Peer(PeerOutput::Finished) {
                peers.close().await;
                return Ok(());
            }
            perform(output, &mut sockets, &mut peers, &ends.reports)?;
        }
        let deadline = speaker.deadline().map(|deadline| clock.instant(deadline));
        let retry = sockets.retry_at();
        tokio::select! {
            () = &mut shutdown, if !ending => {
                ending = true;
                speaker.handle(clock.now(), Input::Peer(PeerInput::Shutdown));
            }
            (interface, protocol) = sockets.receive(&mut batch) => {
                let now = clock.now();
                for frame in batch.frames() {
                    match protocol {
                        Protocol::RouterDiscovery => speaker.handle_router_frame(now, interface, frame),
                        Protocol::Arp | Protocol::Ndp => drop(speaker.handle_frame(now, interface, frame)),
                    }
                }
            }
            event = peers.next() => hear(&mut speaker, clock.now(), event),
            event = links.recv() => {
                let event = event.ok_or_else(|| io::Error::other("interfaces are not followed any more"))?;
                speaker.handle(clock.now(), input(event));
                changed = true;
            }
            1.. = ends.inputs.recv_many(&mut inputs, INPUTS_AT_ONCE) => {
                for input in inputs.drain(..) {
                    speaker.handle(clock.now(), input);
                }
                changed = true;
            }
            Some(query) = ends.queries.recv() => match query {
                Query::Machine(question) => question(&speaker, sockets.traffic()),
                // Whoever asked may have lost interest.
                Query::Bfd(answer) => drop(answer.send(peers.bfd())),
            },
            () = sleep_until(deadline) => {
                for event in peers.arrived().await {
                    hear(&mut speaker, clock.now(), event);
                }
                speaker.handle(clock.now(), Input::Tick);
            }
            () = sleep_until(retry) => sockets.reopen()?,
        }
    }
}

fn hear(speaker: &mut Speaker, now: Time, event: peers::Event) {
    match event {
        peers::Event::Received {
            peer,
            connection,
            bytes,
        } => speaker.receive(now, &peer, connection, &bytes),
        peers::Event::Input(input) => speaker.handle(now, Input::Peer(input)),
        // Has been made an input.
        peers::Event::Accepted { .. } => {}
    }
}

fn perform(
    output: Output,
    sockets: &mut Sockets,
    peers: &mut Peers,
    reports: &mpsc::UnboundedSender<Report>,
) -> io::Result<()> {
    match output {
        Output::Listen {
            interface,
            name,
            arp,
            ndp,
        } => return sockets.listen(interface, name, arp, ndp),
        Output::Ignore { interface } => sockets.ignore(interface),
        Output::Join { interface, group } => sockets.join(interface, group),
        Output::Leave { interface, group } => sockets.leave(interface, group),
        Output::Send { interface, frame } => sockets.send(interface, &frame),
        // Whoever does not listen misses it.
        Output::Event(event) => drop(reports.send(Report::Event(event))),
        Output::Layer2(status) => drop(reports.send(Report::Layer2(status))),
        Output::Bgp(status) => drop(reports.send(Report::Bgp(status))),
        Output::Peer(PeerOutput::Discover { interface, name }) => {
            return sockets.discover(interface, &name);
        }
        Output::Peer(PeerOutput::Undiscover { interface }) => sockets.undiscover(interface),
        Output::Peer(PeerOutput::Frame { interface, frame }) => {
            sockets.send_by(interface, Protocol::RouterDiscovery, &frame);
        }
        Output::Peer(PeerOutput::Session { peer, news }) => {
            log(&peer, &news);
            if let News::Waiting(why) = news {
                drop(reports.send(Report::Waiting { peer, why }));
            }
        }
        Output::Peer(output) => peers.perform(output),
    }
    Ok(())
}

fn log(peer: &Name, news: &News) {
    match news {
        News::Up => info!(peer = &**peer, "BGP session is up"),
        News::Down(why) => warn!(peer = &**peer, why, "BGP session is down"),
        News::Failed(why) => info!(peer = &**peer, why, "no BGP session"),
        News::Unsendable {
            prefix,
            others,
            why,
        } => warn!(peer = &**peer, %prefix, others, why, "a route cannot be told to the peer"),
        News::Waiting(why) => warn!(peer = &**peer, why, "BGP peer waits"),
        News::Found => info!(peer = &**peer, "BGP peer waits no longer"),
    }
}

fn input(event: LinkEvent) -> Input {
    match event {
        LinkEvent::Applied(link) => Input::LinkApplied(link),
        LinkEvent::Deleted(index) => Input::LinkDeleted(index),
    }
}

/// Relates the cores' time to the monotonic clock.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// One that begins now, at [`Time::ZERO`].
    pub fn start() -> Self {
        Self {
            origin: Instant::now(),
        }
    }

    /// The time that it is.
    pub fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// When the clock says `time`.
    pub fn instant(&self, time: Time) -> Instant {
        self.origin + time.since(Time::ZERO)
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => time::sleep_until(instant).await,
        None => future::pending().await,
    }
}

/// Inputs that wait before the sender does.
const INPUTS: usize = 1024;
/// Inputs handled before frames are looked at again, and before the filters are made anew.
const INPUTS_AT_ONCE: usize = 64;
const QUERIES: usize = 16;
