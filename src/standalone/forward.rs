//! Puts the forwarding rules in force, on a thread of its own: the kernel takes its time over large changes, and
//! address resolution must not wait for it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ironlb_forward::conntrack::{self, Connection};
use ironlb_forward::{Batch, Ruleset};
use ironlb_model::Family;
use ironlb_sys::netfilter::{Error as NetfilterError, Netfilter};
use tokio::sync::oneshot;

/// The forwarding rules of this node. They go when this is dropped; when the process is killed, or after [`Self::keep`], they
/// stay, and the next one replaces them: what is forwarded goes on.
#[derive(Debug)]
pub(crate) struct Forwarder {
    wanted: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread is to do.
enum Order {
    /// What is wanted, and whom to tell when it has been tried.
    Set(Ruleset, oneshot::Sender<()>),
    /// Leave everything in place and end.
    Keep,
}

/// Why nothing can be forwarded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ForwardError {
    /// The kernel refused the rules.
    #[error(
        "the kernel refused the forwarding rules ({step}): {source}; --forward nftables needs CAP_NET_ADMIN and a kernel with \
         nf_tables and NAT, Linux 5.9 or later"
    )]
    Refused {
        /// What was refused.
        step: String,
        /// The refusal.
        source: NetfilterError,
    },
    /// There is no socket or no thread to be had.
    #[error("forwarding cannot start: {0}")]
    System(#[from] io::Error),
}

impl Forwarder {
    /// Puts `first` in force in place of whatever another process left, and starts the thread for what follows.
    pub(crate) fn start(first: Ruleset) -> Result<Self, ForwardError> {
        let mut table = Table {
            netfilter: Netfilter::open()?,
            current: None,
        };
        table.apply(first)?;
        let (wanted, next) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("forward".into())
            .spawn(move || table.follow(&next))?;
        Ok(Self {
            wanted: Some(wanted),
            thread: Some(thread),
        })
    }

    /// Puts `wanted` in force. Returns when that is so; or when it failed, which is said in the log and tried again.
    pub(crate) async fn set(&self, wanted: Ruleset) {
        let (done, tried) = oneshot::channel();
        if let Some(sender) = &self.wanted
            && sender.send(Order::Set(wanted, done)).is_ok()
        {
            // Without an answer there is nothing to wait for.
            let _ = tried.await;
        }
    }

    /// Leaves the rules in force for the next process.
    pub(crate) fn keep(self) {
        if let Some(sender) = &self.wanted {
            let _ = sender.send(Order::Keep);
        }
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.wanted = None;
        if let Some(thread) = self.thread.take() {
            // It has said what went wrong, if anything did.
            let _ = thread.join();
        }
    }
}

/// The table in the kernel.
struct Table {
    netfilter: Netfilter,
    /// What is in force; `None` when that is not known.
    current: Option<Ruleset>,
}

impl Table {
    fn follow(mut self, orders: &Receiver<Order>) {
        let mut latest: Option<Ruleset> = None;
        loop {
            // Whoever waits is told when this is dropped.
            let mut _waiting = None;
            match orders.recv_timeout(CHECK) {
                Ok(Order::Set(ruleset, done)) => (latest, _waiting) = (Some(ruleset), Some(done)),
                Ok(Order::Keep) => return,
                Err(RecvTimeoutError::Timeout) => self.check(&mut latest),
                Err(RecvTimeoutError::Disconnected) => return self.remove(),
            }
            let Some(ruleset) = latest.take() else {
                continue;
            };
            if let Err(error) = self.apply(ruleset.clone()) {
                tracing::error!(%error, "forwarding stays as it was; trying again");
                latest = Some(ruleset);
            }
        }
    }

    /// Others may flush all tables, as many firewall scripts do when they reload.
    fn check(&mut self, latest: &mut Option<Ruleset>) {
        let is_gone = match self.netfilter.send(&ironlb_forward::probe(), 1) {
            Err(NetfilterError::Refused(refusal)) => {
                refusal.source.kind() == io::ErrorKind::NotFound
            }
            _ => false,
        };
        if is_gone && let Some(current) = self.current.take() {
            tracing::warn!("the table inet ironlb was removed by someone else; it is put back");
            latest.get_or_insert(current);
        }
    }

    fn apply(&mut self, wanted: Ruleset) -> Result<(), ForwardError> {
        report_unusable(&wanted, self.current.as_ref());
        for family in wanted.forwarded(is_own_address) {
            allow_forwarding(family);
        }
        match &self.current {
            Some(current) => {
                let batch = ironlb_forward::update(current, &wanted);
                if !batch.is_empty() && self.send(&batch).is_err() {
                    // The table is not as it was left. Begin anew, in one step.
                    self.send(&ironlb_forward::replace(&wanted))?;
                }
            }
            None => self.send(&ironlb_forward::replace(&wanted))?,
        }
        let before = self.current.take().unwrap_or_default();
        self.forget_stale(&before, &wanted);
        if before.len() != wanted.len() {
            tracing::info!(destinations = wanted.len(), "forwarding rules in force");
        }
        self.current = Some(wanted);
        Ok(())
    }

    /// Lets connections begin anew that would otherwise go on to where nobody answers.
    fn forget_stale(&self, before: &Ruleset, now: &Ruleset) {
        let changed: BTreeSet<_> = now
            .differing(before)
            .filter(|destination| conntrack::outlives_its_endpoint(destination.protocol))
            .collect();
        if changed.is_empty() {
            return;
        }
        let mut stale = Vec::new();
        let listed = self.netfilter.list(&conntrack::dump(), |message| {
            let connection = Connection::decode(message);
            stale.extend(connection.filter(|connection| connection.is_stale(now, &changed)));
        });
        if let Err(error) = listed {
            tracing::warn!(%error, "connections cannot be listed; UDP clients of endpoints that are gone must begin anew");
        }
        for connection in stale {
            // It may have ended meanwhile.
            let _ = self.netfilter.send(&connection.delete(), 1);
        }
    }

    fn send(&self, batch: &Batch) -> Result<(), ForwardError> {
        self.netfilter
            .send(batch.bytes(), batch.acknowledged())
            .map_err(|source| {
                let step = match &source {
                    NetfilterError::Refused(refusal) => batch.step(refusal.sequence),
                    _ => None,
                };
                ForwardError::Refused {
                    step: step.unwrap_or("all of them").to_owned(),
                    source,
                }
            })
    }

    fn remove(self) {
        if let Err(error) = self.send(&ironlb_forward::remove()) {
            tracing::warn!(%error, "the forwarding rules are left in place");
        }
    }
}

fn report_unusable(wanted: &Ruleset, current: Option<&Ruleset>) {
    let known = current.map(Ruleset::unusable);
    let is_new = |it: &&_| known.is_none_or(|known| !known.contains(*it));
    for (service, endpoint) in wanted.unusable().iter().filter(is_new) {
        tracing::warn!(
            %service, %endpoint,
            "an endpoint is left out: traffic cannot be forwarded to a loopback, link-local or multicast address"
        );
    }
}

/// Whether an address is one of this host's: what goes there is delivered, not forwarded.
fn is_own_address(address: IpAddr) -> bool {
    // Where the host may bind to any address, binding proves nothing.
    let family = match address {
        IpAddr::V4(_) => "ipv4",
        IpAddr::V6(_) => "ipv6",
    };
    let any = setting(&format!("net/{family}/ip_nonlocal_bind")).is_ok_and(|value| value != "0");
    !any && UdpSocket::bind((address, 0)).is_ok()
}

/// Makes the host pass packets on. It stays so afterwards: others may have come to need it.
fn allow_forwarding(family: Family) {
    let name = match family {
        Family::V4 => "net/ipv4/ip_forward",
        Family::V6 => "net/ipv6/conf/all/forwarding",
    };
    match setting(name) {
        Ok(value) if value == "0" => {}
        // On, or unknown: then the kernel has its reasons.
        _ => return,
    }
    if family == Family::V6 {
        keep_router_advertisements();
    }
    match set(name, "1") {
        Ok(()) => tracing::info!(setting = name, "turned on: endpoints are on other hosts"),
        Err(error) => tracing::error!(
            setting = name, %error,
            "is off and cannot be turned on: endpoints on other hosts get no {family} traffic; set it to 1"
        ),
    }
}

/// A host that forwards stops listening to router advertisements, and would lose its own addresses and routes, unless an
/// interface is told to listen all the same.
fn keep_router_advertisements() {
    let Ok(interfaces) = fs::read_dir(Path::new(SETTINGS).join("net/ipv6/conf")) else {
        return;
    };
    for interface in interfaces.flatten() {
        let path = interface.path().join("accept_ra");
        if fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1")
            && let Err(error) = fs::write(&path, "2")
        {
            let path = path.display();
            tracing::warn!(%path, %error, "cannot be set to 2: the interface will ignore router advertisements");
        }
    }
}

fn setting(name: &str) -> io::Result<String> {
    Ok(fs::read_to_string(Path::new(SETTINGS).join(name))?
        .trim()
        .to_owned())
}

fn set(name: &str, value: &str) -> io::Result<()> {
    fs::write(Path::new(SETTINGS).join(name), value)
}

/// How often to look whether the table is still there, and to try again what failed.
const CHECK: Duration = Duration::from_secs(2);
const SETTINGS: &str = "/proc/sys";
