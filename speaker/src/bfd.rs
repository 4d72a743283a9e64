//! The loop of BFD: what arrives goes into the [`Sessions`], what comes out is done.
//!
//! It has a thread of its own, which the kernel is asked to schedule before others, and a timer that is exact to microseconds: a
//! packet that is sent late can take a peer's routes down, and a large change of Services must not do that. The rest of the process
//! talks to it through [`Client`], and hears of it by [`Event`]s.
//!
//! What has arrived is handed in before time is said to have passed, so being late ourselves never makes a peer look dead.

mod sockets;

use std::fs;
use std::future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use ironlb_bfd::{Input, Key, Output, Reason, Sessions, Settings};
use ironlb_model::Time;
use ironlb_sys::timer::{Scheduling, Timer, be_on_time};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use crate::drive::{Clock, Stopped};
use sockets::{Arrival, Sockets};

/// Tells the BFD thread what is wanted, and asks it what it knows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    commands: mpsc::UnboundedSender<Command>,
}

impl Client {
    /// A session is wanted, or other settings for one that there is: without a flap. Whether this system sends echo packets back
    /// ([`Settings::reflect`]) is found out here, for a session that has echo.
    pub fn want(&self, key: Key, settings: Settings) {
        // Once it has stopped nothing is wanted any more.
        let _ = self.commands.send(Command::Want(key, settings));
    }

    /// A session is wanted no more. The peer is told; [`Event::Closed`] says when it knows, or has had time to.
    pub fn unwant(&self, key: Key) {
        let _ = self.commands.send(Command::Unwant(key));
    }

    /// Runs `question` on BFD's thread, between two events; it must not take long. The time is that of
    /// [`View::since`](ironlb_bfd::View::since).
    ///
    /// # Errors
    /// When BFD has stopped.
    pub async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(Time, &Sessions, &Punctuality) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (answer, answered) = oneshot::channel();
        let query: Query = Box::new(move |now, sessions, punctuality| {
            // Whoever asked may have lost interest.
            let _ = answer.send(question(now, sessions, punctuality));
        });
        let sent = self.commands.send(Command::Ask(query));
        sent.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

/// What a routing protocol is told of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is up.
    Up(Key),
    /// It was up and is no more; see [`Reason::ends_clients`].
    Down(Key, Reason),
    /// It is gone after [`Client::unwant`].
    Closed(Key),
}

/// How well the thread kept time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Punctuality {
    /// How often it was woken at a time that it had asked for.
    pub wakes: u64,
    /// How often that was more than 5 ms late.
    pub late: u64,
    /// The latest that it ever was.
    pub worst: Duration,
}

impl Punctuality {
    fn count(&mut self, late: Duration) {
        self.wakes = self.wakes.saturating_add(1);
        self.late = self.late.saturating_add(u64::from(late > LATE));
        self.worst = self.worst.max(late);
    }
}

/// BFD on a thread of its own. When it is dropped the sockets are closed without a word, as in a crash.
#[derive(Debug)]
pub struct Running {
    client: Client,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<io::Result<()>>,
}

impl Running {
    /// Waits until BFD ends by itself, which it does only when it cannot go on.
    ///
    /// # Errors
    /// When it could not.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.ended).await.unwrap_or_else(|_| Err(panicked()))
    }

    /// A planned stop: tells every peer (AdminDown), and returns when they know or have had time to: some milliseconds, or about a second where
    /// one does not answer.
    ///
    /// # Errors
    /// When it has ended before, for its reason.
    pub async fn stop(self) -> io::Result<()> {
        let Self {
            client,
            stop,
            mut ended,
        } = self;
        let _ = client.commands.send(Command::Leave);
        let result = (&mut ended).await.unwrap_or_else(|_| Err(panicked()));
        drop(stop);
        result
    }
}

/// Starts BFD on a new thread, in the network namespace of the calling one, without any session. Events have no bound: receive them
/// promptly.
///
/// # Errors
/// When no thread can be had.
pub fn start() -> io::Result<(Client, mpsc::UnboundedReceiver<Event>, Running)> {
    let (commands, received) = mpsc::unbounded_channel();
    let (events, reported) = mpsc::unbounded_channel();
    let (stop, stopped) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    thread::Builder::new()
        .name("bfd".to_owned())
        .spawn(move || {
            report(be_on_time());
            let shutdown = async {
                let _ = stopped.await;
            };
            let result = runtime.block_on(run(received, events, shutdown));
            drop(runtime);
            let _ = end.send(result);
        })?;
    let client = Client { commands };
    let running = Running {
        client: client.clone(),
        stop,
        ended,
    };
    Ok((client, reported, running))
}

enum Command {
    Want(Key, Settings),
    Unwant(Key),
    Ask(Query),
    Leave,
}

type Query = Box<dyn FnOnce(Time, &Sessions, &Punctuality) + Send>;

async fn run(
    mut commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::UnboundedSender<Event>,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let clock = Clock::start();
    let timer = Timer::new()?;
    let mut shutdown = pin!(shutdown);
    let mut sessions = Sessions::new(RandomState::new().build_hasher().finish());
    let mut sockets = Sockets::default();
    let mut punctuality = Punctuality::default();
    let mut armed = None;
    let mut leaving = false;
    loop {
        while let Some(output) = sessions.poll() {
            perform(output, &mut sockets, &events);
        }
        if leaving && sessions.views().next().is_none() {
            return Ok(());
        }
        let deadline = sessions.deadline();
        if armed != deadline {
            let now = clock.now();
            timer.set(deadline.map(|deadline| deadline.since(now)))?;
            armed = deadline;
        }
        let retry = sockets.retry_at();
        tokio::select! {
            biased;
            () = &mut shutdown => return Ok(()),
            expired = future::poll_fn(|cx| timer.poll_expired(cx)) => {
                expired?;
                let due = armed.take().unwrap_or_default();
                punctuality.count(clock.now().since(due));
                // A flood from the same segment is not let through to the end: what we send has its time as well.
                for _ in 0..ARRIVALS {
                    let Some(arrival) = sockets.arrived() else {
                        break;
                    };
                    take_in(&mut sessions, clock.now(), &arrival);
                }
                sessions.handle(clock.now(), Input::Tick);
            }
            arrival = sockets.receive() => take_in(&mut sessions, clock.now(), &arrival),
            command = commands.recv() => match command {
                Some(Command::Want(key, settings)) => {
                    sockets.want(key);
                    let reflect = settings.echo.filter(|_| reflects(key.peer));
                    let settings = Settings { reflect, ..settings };
                    sessions.handle(clock.now(), Input::Want(key, settings));
                }
                Some(Command::Unwant(key)) => sessions.handle(clock.now(), Input::Unwant(key)),
                Some(Command::Ask(query)) => query(clock.now(), &sessions, &punctuality),
                Some(Command::Leave) => {
                    leaving = true;
                    let keys: Vec<Key> = sessions.views().map(|view| view.key).collect();
                    for key in keys {
                        sessions.handle(clock.now(), Input::Unwant(key));
                    }
                }
                None => return Ok(()),
            },
            () = sleep_until(retry) => sockets.complete(),
        }
    }
}

async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => time::sleep_until(instant).await,
        None => future::pending().await,
    }
}

fn take_in(sessions: &mut Sessions, now: Time, arrival: &Arrival<'_>) {
    let input = match *arrival {
        Arrival::Datagram(datagram) => Input::Datagram(datagram),
        Arrival::Overheard(interface, mac, packet) => Input::Overheard(interface, mac, packet),
    };
    sessions.handle(now, input);
}

fn perform(output: Output, sockets: &mut Sockets, events: &mpsc::UnboundedSender<Event>) {
    let event = match output {
        Output::Send(key, packet) => return sockets.send(key, &packet),
        Output::Echo(frame) => return sockets.send_echo(&frame),
        Output::Overhear(interface, family) => return sockets.overhear(interface, family),
        Output::Ignore(interface, family) => return sockets.ignore(interface, family),
        Output::Up(key) => {
            info!(peer = %key.peer, multihop = key.multihop, "BFD session is up");
            Event::Up(key)
        }
        Output::Down(key, reason) => {
            warn!(peer = %key.peer, multihop = key.multihop, %reason, "BFD session is down");
            Event::Down(key, reason)
        }
        Output::Closed(key) => {
            sockets.close(key);
            Event::Closed(key)
        }
    };
    // Whoever does not listen misses it.
    let _ = events.send(event);
}

/// Whether this kernel sends back what a peer addresses to itself: where it forwards. Not told of IPv6, where FRR takes it for a promise to
/// answer packets that are addressed to us.
fn reflects(peer: IpAddr) -> bool {
    peer.is_ipv4()
        && fs::read_to_string(IP_FORWARD).is_ok_and(|setting| setting.trim_ascii() == "1")
}

fn report(scheduling: Scheduling) {
    match scheduling {
        Scheduling::RealTime => info!("BFD runs before other threads"),
        Scheduling::Favoured => info!("BFD runs before most other threads"),
        Scheduling::Ordinary => info!(
            "BFD runs like any other thread; with CAP_SYS_NICE it would run before them on a busy node"
        ),
    }
}

fn panicked() -> io::Error {
    io::Error::other("BFD's thread has panicked")
}

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";
/// A tenth of the shortest detection time that is of use in practice.
const LATE: Duration = Duration::from_millis(5);
/// More than the peers of a node send between two wakes; a millisecond's work.
const ARRIVALS: u32 = 1_000;
