use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use ironlb_model::Mac;
use ironlb_sys::namespace::NetNamespace;

use crate::{Host, Result, netlink};

/// An Ethernet switch: a bridge in a namespace of its own. Clones are the same switch.
#[derive(Clone, Debug)]
pub struct Switch {
    host: Host,
    bridge: u32,
    ports: Arc<AtomicU32>,
}

impl Switch {
    pub(crate) fn new(host: Host) -> Result<Self> {
        // A switch has no address and says nothing of its own.
        host.sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
        let bridge = host.ask("add a bridge".into(), async |handle| {
            let index = netlink::add_bridge(&handle, "bridge").await?;
            netlink::set_up(&handle, index, true).await?;
            Ok(index)
        })?;
        Ok(Self {
            host,
            bridge,
            ports: Arc::default(),
        })
    }

    /// The switch's name.
    pub fn name(&self) -> &str {
        self.host.name()
    }

    /// The switch's own namespace: its interface `bridge` sees every frame that is flooded, and each port is
    /// an interface there, to capture on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    pub(crate) fn bridge(&self) -> u32 {
        self.bridge
    }

    pub(crate) fn free_port(&self) -> String {
        format!("port{}", self.ports.fetch_add(1, Ordering::Relaxed))
    }
}

/// One interface of a host and the cable in it. Clones are the same interface.
#[derive(Clone, Debug)]
pub struct Link {
    near: End,
    far: End,
    index: u32,
    mac: Mac,
}

impl Link {
    pub(crate) fn new(near: End, far: End) -> Result<Self> {
        let message = near.ask("look at", async |handle| {
            netlink::link_by_name(&handle, &near.interface).await
        })?;
        let mac = Mac(netlink::hardware_address(&message).unwrap_or_default());
        Ok(Self {
            near,
            far,
            index: message.header.index,
            mac,
        })
    }

    /// The interface's name on its host.
    pub fn interface(&self) -> &str {
        &self.near.interface
    }

    /// The interface's number on its host.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The interface's Ethernet address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The name of the other end: the port on the switch, or the interface of the other host.
    pub fn port(&self) -> &str {
        &self.far.interface
    }

    /// Switches the interface off, as its host's operator would. Its routes are gone, also after [`Self::up`].
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn down(&self) -> Result<()> {
        self.near.set_up(false)
    }

    /// Switches the interface on.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn up(&self) -> Result<()> {
        self.near.set_up(true)
    }

    /// Pulls the cable: the host sees its carrier go and keeps addresses and routes.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn unplug(&self) -> Result<()> {
        self.far.set_up(false)
    }

    /// Puts the cable in again.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn plug(&self) -> Result<()> {
        self.far.set_up(true)
    }
}

/// One end of a cable. It knows its namespace and not its [`Host`], which holds its links.
#[derive(Clone, Debug)]
pub(crate) struct End {
    host: String,
    namespace: Arc<NetNamespace>,
    interface: String,
}

impl End {
    pub(crate) fn new(host: &Host, interface: &str) -> Self {
        let (host, namespace) = (host.name().to_owned(), Arc::clone(host.shared_namespace()));
        Self {
            host,
            namespace,
            interface: interface.to_owned(),
        }
    }

    fn set_up(&self, up: bool) -> Result<()> {
        let doing = if up { "switch on" } else { "switch off" };
        self.ask(doing, async |handle| {
            let index = netlink::link_by_name(&handle, &self.interface)
                .await?
                .header
                .index;
            netlink::set_up(&handle, index, up).await
        })
    }

    fn ask<T: Send>(
        &self,
        doing: &str,
        work: impl AsyncFnOnce(rtnetlink::Handle) -> std::result::Result<T, rtnetlink::Error> + Send,
    ) -> Result<T> {
        let what = || format!("{doing} {}/{}", self.host, self.interface);
        netlink::ask(&self.namespace, what, work)
    }
}
