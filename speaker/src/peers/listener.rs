//! A port that peers connect to.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ironlb_model::Family;
use ironlb_speaker_core::peers::Door;
use ironlb_sys::tcp::{Key, Listener};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::{info, warn};

use super::Event;

/// The passwords of those who may connect; without one, who connects without.
type Keys = BTreeMap<IpAddr, Option<Key>>;

/// A task that accepts connections until this is dropped.
pub(crate) struct Listening {
    keys: watch::Sender<Keys>,
    task: AbortHandle,
}

impl Listening {
    pub(crate) fn start(door: Door, keys: Keys, events: mpsc::Sender<Event>) -> Self {
        let (keys, wanted) = watch::channel(keys);
        let task = tokio::spawn(run(door, wanted, events)).abort_handle();
        Self { keys, task }
    }

    /// Has the same port listened on with other passwords.
    pub(crate) fn set_keys(&self, keys: Keys) {
        self.keys.send_if_modified(|current| {
            let changed = *current != keys;
            *current = keys;
            changed
        });
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(door: Door, mut wanted: watch::Receiver<Keys>, events: mpsc::Sender<Event>) {
    let address = match door.family {
        Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::from(Ipv6Addr::UNSPECIFIED),
    };
    let local = SocketAddr::new(address, door.port);
    loop {
        let error = match Listener::bind(local, door.device.as_deref()) {
            Ok(listener) => match serve(&listener, local, &door, &mut wanted, &events).await {
                Ok(()) => return,
                Err(error) => error,
            },
            Err(error) => error,
        };
        warn!(%local, device = door.device, %error, "not listening for BGP peers, trying again");
        sleep(RETRY).await;
    }
}

/// Accepts connections until nobody wants to hear of them.
async fn serve(
    listener: &Listener,
    local: SocketAddr,
    door: &Door,
    wanted: &mut watch::Receiver<Keys>,
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    let mut keys = Keys::new();
    rekey(listener, &mut keys, &wanted.borrow_and_update());
    info!(%local, "listening for BGP peers");
    loop {
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                rekey(listener, &mut keys, &wanted.borrow_and_update());
            }
            accepted = listener.accept() => {
                let (stream, remote) = accepted?;
                // One that is gone already is nobody's.
                let Ok(local) = stream.local_addr() else { continue };
                let device = door.device.clone();
                let event = Event::Accepted { stream, local, remote, device };
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Goes from the passwords in force to those wanted.
fn rekey(listener: &Listener, keys: &mut Keys, wanted: &Keys) {
    let gone = keys.keys().filter(|peer| !wanted.contains_key(*peer));
    let gone: Vec<IpAddr> = gone.copied().collect();
    let gone = gone.iter().map(|peer| (peer, &None));
    for (peer, key) in gone.chain(wanted) {
        if keys.get(peer).unwrap_or(&None) == key {
            continue;
        }
        if let Err(error) = listener.set_key(*peer, key.as_ref()) {
            warn!(%peer, %error, "connections from this peer are not authenticated as asked for");
        }
    }
    keys.clone_from(wanted);
}

const RETRY: Duration = Duration::from_secs(5);
