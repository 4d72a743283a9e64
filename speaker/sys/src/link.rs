//! Network interfaces and their addresses, as rtnetlink(7) reports them.
//!
//! Subscribes first and then asks for everything, so that no change falls in between. When the kernel has had to drop
//! notifications it asks again, and so it does once a minute, for messages that could not be read. The difference to what was
//! known is what is told.

mod table;

use std::io;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use ironlb_model::Link;
use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::sys::AsyncSocket;
use rtnetlink::{Handle, MulticastGroup};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{self, Instant};
use tracing::{debug, warn};

use table::Table;

/// A change of the interfaces of this network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// An interface is there, or it or its addresses have changed.
    Applied(Link),
    /// The interface with this index is gone.
    Deleted(u32),
}

/// Follows the interfaces of the network namespace that the calling thread is in, until the receiver is dropped. First come all
/// that there are. Needs a tokio runtime with I/O and time, and a thread that stays in this namespace.
///
/// # Errors
/// When no netlink socket can be had. Later failures are logged, and mended by a new socket.
pub fn follow() -> io::Result<mpsc::Receiver<LinkEvent>> {
    let (events, receiver) = mpsc::channel(EVENTS);
    let connection = Connection::open()?;
    tokio::spawn(async move {
        tokio::select! {
            () = keep_following(connection, &events) => {}
            () = events.closed() => {}
        }
    });
    Ok(receiver)
}

async fn keep_following(mut connection: Connection, events: &mpsc::Sender<LinkEvent>) {
    let mut table = Table::default();
    loop {
        let Err(error) = connection.follow(&mut table, events).await else {
            return;
        };
        warn!(%error, "interfaces are not followed at the moment");
        connection = loop {
            time::sleep(RETRY).await;
            match Connection::open() {
                Ok(connection) => break connection,
                Err(error) => warn!(%error, "no netlink socket"),
            }
        };
    }
}

/// A netlink socket that is subscribed to what [`Table`] takes.
struct Connection {
    handle: Handle,
    notifications: Notifications,
    task: AbortHandle,
}

type Notifications = futures_util::stream::BoxStream<'static, NetlinkMessage<RouteNetlinkMessage>>;

impl Connection {
    fn open() -> io::Result<Self> {
        let groups = [
            MulticastGroup::Link,
            MulticastGroup::Ipv4Ifaddr,
            MulticastGroup::Ipv6Ifaddr,
        ];
        let (mut connection, handle, notifications) = rtnetlink::new_multicast_connection(&groups)?;
        let socket = connection.socket_mut().socket_mut();
        if let Err(error) = socket.set_rx_buf_sz(RECEIVE_BUFFER) {
            debug!(%error, "receive buffer of the netlink socket stays small");
        }
        Ok(Self {
            handle,
            notifications: notifications.map(|(message, _)| message).boxed(),
            task: tokio::spawn(connection).abort_handle(),
        })
    }

    /// Returns `Ok` when nobody listens any more.
    async fn follow(
        &mut self,
        table: &mut Table,
        events: &mpsc::Sender<LinkEvent>,
    ) -> Result<(), rtnetlink::Error> {
        loop {
            let everything = everything(&self.handle).await?;
            if tell(events, table.replace(everything)).await.is_none() {
                return Ok(());
            }
            let again = Instant::now() + RESYNCHRONIZE;
            while let Some(message) = self.notification(again).await? {
                if tell(events, table.apply(&message)).await.is_none() {
                    return Ok(());
                }
            }
        }
    }

    /// The next change; `None` when it is time to ask for everything again.
    async fn notification(
        &mut self,
        again: Instant,
    ) -> Result<Option<RouteNetlinkMessage>, rtnetlink::Error> {
        loop {
            let Ok(message) = time::timeout_at(again, self.notifications.next()).await else {
                return Ok(None);
            };
            match message.ok_or(rtnetlink::Error::RequestFailed)?.payload {
                NetlinkPayload::InnerMessage(message) => return Ok(Some(message)),
                NetlinkPayload::Overrun(_) => {
                    debug!("notifications were dropped, asking for everything again");
                    return Ok(None);
                }
                _ => {}
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Every interface and every address. One after the other: the kernel refuses a second dump on a socket that has one running.
async fn everything(handle: &Handle) -> Result<Vec<RouteNetlinkMessage>, rtnetlink::Error> {
    let links = handle.link().get().execute();
    let links = links.map_ok(RouteNetlinkMessage::NewLink);
    let mut everything: Vec<_> = links.try_collect().await?;
    let addresses = handle.address().get().execute();
    let addresses = addresses.map_ok(RouteNetlinkMessage::NewAddress);
    everything.append(&mut addresses.try_collect().await?);
    Ok(everything)
}

/// Sends each; `None` when nobody listens any more.
async fn tell(events: &mpsc::Sender<LinkEvent>, changes: Vec<LinkEvent>) -> Option<()> {
    for change in changes {
        events.send(change).await.ok()?;
    }
    Some(())
}

/// Changes that may wait for the receiver.
const EVENTS: usize = 256;
/// Bytes; bounded by net.core.rmem_max.
const RECEIVE_BUFFER: u32 = 1 << 20;
const RESYNCHRONIZE: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_secs(1);
