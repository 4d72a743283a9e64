//! The packet sockets of a speaker: those that its machine wants open, kept open.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use ironlb_l2::ethernet_group;
use ironlb_l2::ndp::ALL_NODES;
use ironlb_l2::ndp::router::ALL_ROUTERS;
use ironlb_model::Mac;
use ironlb_sys::packet::{Batch, Cover, PacketSocket, Protocol};
use tokio::time::Instant;
use tracing::{debug, info, warn};

/// The sockets wanted, by interface and protocol.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    wanted: BTreeMap<(u32, Protocol), Wanted>,
    cover: Cover,
    traffic: Traffic,
    retry_at: Option<Instant>,
    /// Which socket was last read, so that all get their turn.
    last: Option<(u32, Protocol)>,
}

/// Frames that went through the sockets since the start, of whatever kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Received: they have passed the filter in the kernel.
    pub received: u64,
    /// Handed to the kernel.
    pub sent: u64,
    /// Not sent, because a queue was full or an interface down.
    pub unsent: u64,
    /// Not received, because the socket's queue was full.
    pub overflows: u64,
}

#[derive(Debug)]
struct Wanted {
    name: String,
    groups: BTreeSet<Mac>,
    /// `None` while it cannot be opened.
    socket: Option<PacketSocket>,
}

impl Sockets {
    /// Has exactly these protocols open on `interface`.
    ///
    /// # Errors
    /// When this process may not open packet sockets at all. Other failures are tried again later.
    pub(crate) fn listen(
        &mut self,
        interface: u32,
        name: String,
        arp: bool,
        ndp: bool,
    ) -> io::Result<()> {
        for (protocol, want) in [(Protocol::Arp, arp), (Protocol::Ndp, ndp)] {
            if want {
                self.want(interface, protocol, &name, BTreeSet::new());
            } else {
                self.wanted.remove(&(interface, protocol));
            }
        }
        info!(interface = name, index = interface, arp, ndp, "listening");
        self.reopen()
    }

    /// Looks for routers on `interface` too.
    ///
    /// # Errors
    /// As [`listen`](Self::listen).
    pub(crate) fn discover(&mut self, interface: u32, name: &str) -> io::Result<()> {
        let groups = [ALL_NODES, ALL_ROUTERS].map(ethernet_group);
        self.want(interface, Protocol::RouterDiscovery, name, groups.into());
        info!(interface = name, index = interface, "looking for routers");
        self.reopen()
    }

    /// Undoes [`discover`](Self::discover).
    pub(crate) fn undiscover(&mut self, interface: u32) {
        self.wanted.remove(&(interface, Protocol::RouterDiscovery));
    }

    fn want(&mut self, interface: u32, protocol: Protocol, name: &str, groups: BTreeSet<Mac>) {
        let new = || Wanted {
            name: String::new(),
            groups,
            socket: None,
        };
        let wanted = self.wanted.entry((interface, protocol)).or_insert_with(new);
        name.clone_into(&mut wanted.name);
    }

    /// Closes what is open on `interface`.
    pub(crate) fn ignore(&mut self, interface: u32) {
        for protocol in [Protocol::Arp, Protocol::Ndp] {
            if let Some(wanted) = self.wanted.remove(&(interface, protocol)) {
                info!(interface = wanted.name, index = interface, %protocol, "no longer listening");
            }
        }
    }

    /// Receives only frames about addresses in `cover` from now on, and those of the sockets to come.
    pub(crate) fn narrow(&mut self, cover: Cover) {
        if self.cover == cover {
            return;
        }
        self.cover = cover;
        for ((_, protocol), wanted) in &mut self.wanted {
            let Some(Err(error)) = wanted
                .socket
                .as_ref()
                .map(|socket| socket.narrow(&self.cover))
            else {
                continue;
            };
            warn!(interface = wanted.name, %protocol, %error, "no filter, opening the socket anew");
            wanted.socket = None;
            self.retry_at = Some(Instant::now() + RETRY);
        }
    }

    /// Receives frames to `group` on `interface`, also when the socket has to be opened anew.
    pub(crate) fn join(&mut self, interface: u32, group: Mac) {
        let Some(wanted) = self.wanted.get_mut(&(interface, Protocol::Ndp)) else {
            return;
        };
        wanted.groups.insert(group);
        if let Some(socket) = &mut wanted.socket {
            join(&wanted.name, socket, group);
        }
    }

    /// Undoes [`join`](Self::join).
    pub(crate) fn leave(&mut self, interface: u32, group: Mac) {
        let Some(wanted) = self.wanted.get_mut(&(interface, Protocol::Ndp)) else {
            return;
        };
        wanted.groups.remove(&group);
        if let Some(Err(error)) = wanted.socket.as_mut().map(|socket| socket.leave(group)) {
            debug!(interface = wanted.name, %group, %error, "group is not left");
        }
    }

    /// Sends a frame of ARP or neighbour discovery if it can be sent now.
    pub(crate) fn send(&mut self, interface: u32, frame: &[u8]) {
        let protocol = match frame.get(12..14) {
            Some([0x08, 0x06]) => Protocol::Arp,
            _ => Protocol::Ndp,
        };
        self.send_by(interface, protocol, frame);
    }

    /// Sends a frame by the socket of `protocol` if it can be sent now.
    pub(crate) fn send_by(&mut self, interface: u32, protocol: Protocol, frame: &[u8]) {
        let wanted = self.wanted.get(&(interface, protocol));
        let result = match wanted.and_then(|wanted| wanted.socket.as_ref()) {
            Some(socket) => socket.send(frame),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match result {
            Ok(()) => self.traffic.sent = self.traffic.sent.saturating_add(1),
            Err(error) => {
                self.traffic.unsent = self.traffic.unsent.saturating_add(1);
                debug!(index = interface, %error, "a frame is not sent");
            }
        }
    }

    /// Waits for frames and puts them into `batch`; gives the interface that they came in on, and by which socket. The batch is
    /// empty when a socket has failed. Safe to drop at any point.
    pub(crate) async fn receive(&mut self, batch: &mut Batch) -> (u32, Protocol) {
        let (interface, protocol) = poll_fn(|cx| self.poll_receive(cx, batch)).await;
        self.last = Some((interface, protocol));
        let frames = u64::try_from(batch.frames().count()).unwrap_or(0);
        self.traffic.received = self.traffic.received.saturating_add(frames);
        (interface, protocol)
    }

    /// When to [`reopen`](Self::reopen).
    pub(crate) const fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Opens what is wanted and not open.
    ///
    /// # Errors
    /// When this process may not open packet sockets at all.
    pub(crate) fn reopen(&mut self) -> io::Result<()> {
        self.retry_at = None;
        for ((interface, protocol), wanted) in &mut self.wanted {
            if wanted.socket.is_some() {
                continue;
            }
            match open(*interface, *protocol, wanted, &self.cover) {
                Ok(socket) => wanted.socket = Some(socket),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(io::Error::new(
                        error.kind(),
                        format!("may not open a packet socket (is CAP_NET_RAW missing?): {error}"),
                    ));
                }
                Err(error) => {
                    warn!(interface = wanted.name, %protocol, %error, "no packet socket, trying again");
                    self.retry_at = Some(Instant::now() + RETRY);
                }
            }
        }
        Ok(())
    }

    /// What went through so far.
    pub(crate) fn traffic(&mut self) -> &Traffic {
        let sockets = self
            .wanted
            .values()
            .filter_map(|wanted| wanted.socket.as_ref());
        for socket in sockets {
            let overflows = socket.take_overflows().unwrap_or(0);
            self.traffic.overflows = self.traffic.overflows.saturating_add(overflows.into());
        }
        &self.traffic
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<(u32, Protocol)> {
        let keys = self.wanted.keys().copied();
        let last = self.last;
        let after = keys.clone().filter(|key| Some(*key) > last);
        let before = keys.filter(|key| Some(*key) <= last);
        let order: Vec<_> = after.chain(before).collect();
        for key in order {
            if self.poll_one(key, cx, batch).is_ready() {
                return Poll::Ready(key);
            }
        }
        Poll::Pending
    }

    /// Ready when the socket had frames, or failed: then it is closed, to be opened anew later.
    fn poll_one(
        &mut self,
        key: (u32, Protocol),
        cx: &mut Context<'_>,
        batch: &mut Batch,
    ) -> Poll<()> {
        let Some(wanted) = self.wanted.get_mut(&key) else {
            return Poll::Pending;
        };
        while let Some(socket) = &wanted.socket {
            match socket.poll_receive(cx, batch) {
                Poll::Ready(Ok(())) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
                // Said once: frames come again when the interface is up again, if it ever is.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NetworkDown => {
                    debug!(interface = wanted.name, protocol = %key.1, "interface is down");
                }
                Poll::Ready(Err(error)) => {
                    warn!(interface = wanted.name, protocol = %key.1, %error, "packet socket failed");
                    wanted.socket = None;
                    self.retry_at = Some(Instant::now() + RETRY);
                    // With an empty batch, so that the caller sees the new time.
                    return Poll::Ready(());
                }
            }
        }
        Poll::Pending
    }
}

fn open(
    interface: u32,
    protocol: Protocol,
    wanted: &Wanted,
    cover: &Cover,
) -> io::Result<PacketSocket> {
    let mut socket = PacketSocket::open(interface, protocol)?;
    socket.narrow(cover)?;
    for group in &wanted.groups {
        join(&wanted.name, &mut socket, *group);
    }
    Ok(socket)
}

fn join(name: &str, socket: &mut PacketSocket, group: Mac) {
    if let Err(error) = socket.join(group) {
        warn!(interface = name, %group, %error, "group is not joined, solicitations to it may be missed");
    }
}

const RETRY: Duration = Duration::from_secs(1);
