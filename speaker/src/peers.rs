//! The TCP connections with BGP peers: those that the machine wants, and what they bring.
//!
//! Each connection is a task on the speaker's own thread. It reads and writes bytes; what they mean is `ironlb-bgp`'s. A peer that
//! reads slowly holds up nobody but itself: what is to be sent waits here, and the machine is told when it has gone.

mod connection;
mod listener;
mod watch;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ironlb_bgp::Connection;
use ironlb_model::Name;
use ironlb_speaker_core::peers::{Distance, Door, Passphrase, PeerInput, PeerOutput, Target};
use ironlb_sys::tcp::{self, Key, Options};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, yield_now};
use tracing::{debug, warn};

use crate::bfd;
use connection::Handle;
use listener::Listening;
use watch::Watches;

/// Everything that is open towards peers.
pub(crate) struct Peers {
    connections: BTreeMap<(Name, Connection), Handle>,
    listening: BTreeMap<Door, Listening>,
    /// Accepted, and nobody's yet.
    strangers: BTreeMap<u64, TcpStream>,
    accepted: u64,
    events: mpsc::Receiver<Event>,
    sender: mpsc::Sender<Event>,
    tasks: JoinSet<()>,
    watches: Watches,
}

/// What a task has to say.
pub(crate) enum Event {
    /// For the machine, as it is.
    Input(PeerInput),
    /// Bytes came in.
    Received {
        /// The peer.
        peer: Name,
        /// On which connection.
        connection: Connection,
        /// They.
        bytes: Vec<u8>,
    },
    /// Somebody has connected to us.
    Accepted {
        /// The connection.
        stream: TcpStream,
        /// Our end.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
        /// The VRF.
        device: Option<String>,
    },
}

impl Default for Peers {
    fn default() -> Self {
        let (sender, events) = mpsc::channel(EVENTS);
        Self {
            connections: BTreeMap::new(),
            listening: BTreeMap::new(),
            strangers: BTreeMap::new(),
            accepted: 0,
            events,
            sender,
            tasks: JoinSet::new(),
            watches: Watches::default(),
        }
    }
}

impl Peers {
    /// What happened next; only [`Event::Input`] and [`Event::Received`]. Safe to drop at any point.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                Some(_) = self.tasks.join_next() => continue,
                input = self.watches.next() => Some(Event::Input(input)),
            };
            match event {
                Some(event) => return self.take_in(event),
                // Never: a sender is kept here.
                None => std::future::pending().await,
            }
        }
    }

    /// What connections have brought by now, for when time has passed without a look at them: a KEEPALIVE that waits to be read is
    /// as good as one that was. Does not wait for more.
    pub(crate) async fn arrived(&mut self) -> Vec<Event> {
        // The first time the system is asked what has come, the second time tasks that it has come for read it.
        for _ in 0..2 {
            yield_now().await;
        }
        let mut arrived = Vec::new();
        while arrived.len() < EVENTS
            && let Ok(event) = self.events.try_recv()
        {
            arrived.push(self.take_in(event));
        }
        arrived
    }

    /// Keeps an accepted connection until it is known whose it is.
    fn take_in(&mut self, event: Event) -> Event {
        let Event::Accepted {
            stream,
            local,
            remote,
            device,
        } = event
        else {
            return event;
        };
        self.accepted = self.accepted.saturating_add(1);
        let number = self.accepted;
        self.strangers.insert(number, stream);
        Event::Input(PeerInput::Accepted {
            number,
            local,
            remote,
            device,
        })
    }

    /// Does what the machine says, as far as it is about connections.
    pub(crate) fn perform(&mut self, output: PeerOutput) {
        match output {
            PeerOutput::Connect {
                peer,
                connection,
                target,
            } => self.connect(peer, connection, &target),
            PeerOutput::Adopt {
                number,
                peer,
                target,
            } => self.adopt(number, peer, &target),
            PeerOutput::Refuse { number } => {
                self.strangers.remove(&number);
            }
            PeerOutput::Send {
                peer,
                connection,
                bytes,
            } => {
                if let Some(handle) = self.connections.get(&(peer, connection)) {
                    handle.send(bytes);
                }
            }
            // The task sends what is left, and ends by itself.
            PeerOutput::Close { peer, connection } => {
                self.connections.remove(&(peer, connection));
            }
            PeerOutput::Retarget { peer, target } => self.retarget(&peer, &target),
            PeerOutput::Listen(doors) => self.listen(doors),
            PeerOutput::Watch { key, settings } => {
                if let Err(error) = self.watches.want(key, settings) {
                    warn!(peer = %key.peer, %error, "not watched by BFD");
                }
            }
            PeerOutput::Unwatch(key) => self.watches.unwant(key),
            PeerOutput::Discover { .. }
            | PeerOutput::Undiscover { .. }
            | PeerOutput::Frame { .. }
            | PeerOutput::Session { .. }
            | PeerOutput::Finished => {}
        }
    }

    /// How to ask BFD, where it runs.
    pub(crate) fn bfd(&self) -> Option<bfd::Client> {
        self.watches.client()
    }

    /// Closes everything, and waits for a moment until what was still to be sent has gone.
    pub(crate) async fn close(mut self) {
        self.connections.clear();
        self.listening.clear();
        // Tasks that wait to say something have nobody to say it to.
        drop(self.events);
        while self.tasks.join_next().await.is_some() {}
        self.watches.stop().await;
    }

    fn connect(&mut self, peer: Name, connection: Connection, target: &Target) {
        let events = self.sender.clone();
        let options = match options(target) {
            Ok(options) => options,
            Err(error) => {
                warn!(peer = &*peer, %error, "no connection");
                let input = PeerInput::Closed {
                    peer,
                    connection,
                    error: Some(error.to_string()),
                };
                self.tasks.spawn(async move {
                    let _ = events.send(Event::Input(input)).await;
                });
                return;
            }
        };
        let key = (peer.clone(), connection);
        let handle = Handle::dial(&mut self.tasks, peer, connection, options, events);
        self.connections.insert(key, handle);
    }

    fn adopt(&mut self, number: u64, peer: Name, target: &Target) {
        let connection = Connection::inbound(number);
        let Some(stream) = self.strangers.remove(&number) else {
            return;
        };
        match options(target).and_then(|options| tcp::adopt(&stream, &options)) {
            Ok(()) => {}
            Err(error) => {
                debug!(peer = &*peer, %error, "an accepted connection is not as asked for")
            }
        }
        let key = (peer.clone(), connection);
        let events = self.sender.clone();
        let handle = Handle::accepted(&mut self.tasks, peer, connection, stream, events);
        self.connections.insert(key, handle);
    }

    fn retarget(&self, peer: &Name, target: &Target) {
        let Ok(options) = options(target) else {
            return;
        };
        let of_peer = self
            .connections
            .iter()
            .filter(|((name, _), _)| name == peer);
        for (_, handle) in of_peer {
            handle.retarget(options.clone());
        }
    }

    fn listen(&mut self, doors: BTreeMap<Door, BTreeMap<IpAddr, Option<Passphrase>>>) {
        self.listening.retain(|door, _| doors.contains_key(door));
        for (door, peers) in doors {
            let keys = peers.into_iter().filter_map(|(peer, password)| {
                let key = password.map(|password| Key::new(password.0.as_bytes())).transpose();
                match key {
                    Ok(key) => Some((peer, key)),
                    Err(error) => {
                        warn!(%peer, %error, "connections from this peer are not authenticated as asked for");
                        None
                    }
                }
            });
            let keys = keys.collect();
            match self.listening.get(&door) {
                Some(listening) => listening.set_keys(keys),
                None => {
                    let listening = Listening::start(door.clone(), keys, self.sender.clone());
                    self.listening.insert(door, listening);
                }
            }
        }
    }
}

fn options(target: &Target) -> std::io::Result<Options> {
    let password = target.password.as_ref();
    Ok(Options {
        remote: target.remote,
        source: target.source,
        device: target.device.clone(),
        distance: match target.distance {
            Distance::Connected => tcp::Distance::Connected,
            Distance::Any => tcp::Distance::Any,
            Distance::Secured(hops) => tcp::Distance::Secured(hops),
        },
        key: password
            .map(|password| Key::new(password.0.as_bytes()))
            .transpose()?,
        user_timeout: USER_TIMEOUT,
    })
}

/// What tasks have to say before they wait.
const EVENTS: usize = 256;
/// The hold time ends a dead session; this only sees to it that the system lets go of its socket as well.
const USER_TIMEOUT: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
