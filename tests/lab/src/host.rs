use std::{
    fs, io,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex, atomic::Ordering},
};

use ipnet::IpNet;
use ironlb_sys::namespace::{NetNamespace, die_with_parent};

use crate::{
    Error, Link, Process, Result, Switch,
    error::Doing,
    lab::{self, IN_OWN_USER_NAMESPACE, involve, involved, locked},
    link::End,
    netlink,
};

/// A machine of the lab: a network namespace, its interfaces and its processes. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host {
    inner: Arc<Inner>,
}

impl Host {
    pub(crate) fn new(lab: Arc<lab::Inner>, name: &str) -> Result<Self> {
        let what = || format!("make a network namespace for {name}");
        let namespace = Arc::new(NetNamespace::new().doing(what)?);
        let name = name.to_owned();
        let host = Self {
            inner: Arc::new(Inner {
                lab,
                name,
                namespace,
                links: Mutex::default(),
            }),
        };
        host.prepare()?;
        Ok(host)
    }

    /// The host's name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Plugs a new interface into `switch` and gives it `addresses`, such as `10.0.0.1/24` or `fd00::1/64`.
    ///
    /// # Errors
    /// The kernel's refusal; an address that is none.
    pub fn connect(&self, switch: &Switch, interface: &str, addresses: &[&str]) -> Result<Link> {
        let port = switch.free_port();
        let bridge = Some(switch.bridge());
        let what = || format!("connect {}/{interface} to {}", self.name(), switch.name());
        netlink::ask(switch.host().namespace(), what, async |handle| {
            netlink::add_cable(&handle, &port, bridge, self.namespace(), interface).await
        })?;
        self.adopt(interface, addresses, End::new(switch.host(), &port))
    }

    /// Joins two hosts by a cable. The far end is an interface of `other` without an address; it is given back second.
    ///
    /// # Errors
    /// The kernel's refusal; an address that is none.
    pub fn connect_to(
        &self,
        other: &Self,
        interface: &str,
        addresses: &[&str],
        far_interface: &str,
        far_addresses: &[&str],
    ) -> Result<(Link, Link)> {
        let what = || {
            format!(
                "connect {}/{interface} to {}/{far_interface}",
                self.name(),
                other.name()
            )
        };
        netlink::ask(other.namespace(), what, async |handle| {
            netlink::add_cable(&handle, far_interface, None, self.namespace(), interface).await
        })?;
        let near = self.adopt(interface, addresses, End::new(other, far_interface))?;
        let far = other.adopt(far_interface, far_addresses, End::new(self, interface))?;
        Ok((near, far))
    }

    /// The interface that was connected under this name.
    ///
    /// # Errors
    /// [`Error::NoInterface`].
    pub fn link(&self, interface: &str) -> Result<Link> {
        let links = locked(&self.inner.links);
        let found = links.iter().find(|link| link.interface() == interface);
        found.cloned().ok_or_else(|| Error::NoInterface {
            host: self.name().to_owned(),
            interface: interface.to_owned(),
        })
    }

    /// Adds an address to an interface; `lo` will do for one that nobody else on the wire should reach directly.
    ///
    /// # Errors
    /// The kernel's refusal; an address that is none.
    pub fn add_address(&self, interface: &str, address: &str) -> Result<()> {
        let address = prefix(address)?;
        self.ask(format!("add {address} to {interface}"), async |handle| {
            let index = netlink::link_by_name(&handle, interface)
                .await?
                .header
                .index;
            netlink::add_address(&handle, index, address).await
        })
    }

    /// Takes an address away from an interface.
    ///
    /// # Errors
    /// The kernel's refusal; an address that is none.
    pub fn remove_address(&self, interface: &str, address: &str) -> Result<()> {
        let address = prefix(address)?;
        self.ask(
            format!("remove {address} from {interface}"),
            async |handle| {
                let index = netlink::link_by_name(&handle, interface)
                    .await?
                    .header
                    .index;
                netlink::remove_address(&handle, index, address).await
            },
        )
    }

    /// Sends what is for `destination` to `gateway`. The default route is `0.0.0.0/0` or `::/0`.
    /// A route that is there already for the same destination is replaced.
    ///
    /// # Errors
    /// The kernel's refusal; an address that is none.
    pub fn add_route(&self, destination: &str, gateway: &str) -> Result<()> {
        let (to, via) = (prefix(destination)?, address(gateway)?);
        self.ask(format!("add a route to {to} by {via}"), async |handle| {
            netlink::add_route(&handle, to, &[via]).await
        })
    }

    /// Removes a route.
    ///
    /// # Errors
    /// The kernel's refusal; an address that is none.
    pub fn remove_route(&self, destination: &str, gateway: &str) -> Result<()> {
        let (to, via) = (prefix(destination)?, address(gateway)?);
        self.ask(
            format!("remove the route to {to} by {via}"),
            async |handle| netlink::remove_route(&handle, to, via).await,
        )
    }

    /// Forwards packets of others, IPv4 and IPv6.
    ///
    /// # Errors
    /// When the kernel's settings cannot be written.
    pub fn forward(&self) -> Result<()> {
        self.sysctl("net/ipv4/ip_forward", "1")?;
        self.sysctl("net/ipv6/conf/all/forwarding", "1")
    }

    /// Sets one of the kernel's settings of this namespace, such as `net/ipv4/ip_forward`.
    ///
    /// # Errors
    /// When there is none of that name or the value is refused.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(name);
        self.in_namespace(|| fs::write(&path, value))?
            .map_err(|source| Error::File { path, source })
    }

    /// Starts a process on the host. It ends with the lab at the latest. What it prints goes to a log file.
    /// It is called by its program's file name; see [`Self::spawn_as`].
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self, command: Command) -> Result<Process> {
        let program = Path::new(command.get_program());
        let name = program
            .file_name()
            .unwrap_or(program.as_os_str())
            .to_string_lossy()
            .into_owned();
        self.spawn_as(&name, command)
    }

    /// Starts a process on the host under a name for people.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_as(&self, name: &str, mut command: Command) -> Result<Process> {
        let what = || format!("start {name} on {}", self.name());
        self.namespace().start_inside(&mut command).doing(what)?;
        self.inner.lab.start(self.name(), name, command)
    }

    /// Runs a command on the host to its end. It has no time limit but its own.
    ///
    /// # Errors
    /// When it cannot be started. That it failed is in the output's status.
    pub fn run(&self, command: &mut Command) -> Result<Output> {
        die_with_parent(command);
        self.in_namespace(|| command.output())?.doing(|| {
            format!(
                "run {} on {}",
                command.get_program().to_string_lossy(),
                self.name()
            )
        })
    }

    /// Runs `work` inside the host's namespace. Sockets made there stay there and may be given back.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn in_namespace<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let labs = involved();
        let work = move || {
            involve(labs);
            work()
        };
        self.namespace()
            .run(work)
            .doing(|| format!("enter {}", self.name()))
    }

    /// The namespace itself, for example to start a thread that stays inside.
    pub fn namespace(&self) -> &NetNamespace {
        &self.inner.namespace
    }

    /// A new directory for files of something on the host that is called `name`.
    pub(crate) fn directory_for(&self, name: &str) -> Result<PathBuf> {
        self.inner.lab.new_directory(self.name(), name)
    }

    pub(crate) fn shared_namespace(&self) -> &Arc<NetNamespace> {
        &self.inner.namespace
    }

    /// A shell command that looks inside while this program runs: put any other command behind it.
    pub fn shell_prefix(&self) -> String {
        use std::os::fd::{AsFd, AsRawFd};
        let (id, fd) = (std::process::id(), self.namespace().as_fd().as_raw_fd());
        // One cannot enter the user namespace that one is in.
        let user = if IN_OWN_USER_NAMESPACE.load(Ordering::Relaxed) {
            format!("--user=/proc/{id}/ns/user --preserve-credentials ")
        } else {
            String::new()
        };
        format!("nsenter {user}--net=/proc/{id}/fd/{fd}")
    }

    pub(crate) fn ask<T: Send>(
        &self,
        what: String,
        work: impl AsyncFnOnce(rtnetlink::Handle) -> std::result::Result<T, rtnetlink::Error> + Send,
    ) -> Result<T> {
        netlink::ask(
            self.namespace(),
            || format!("{what} on {}", self.name()),
            work,
        )
    }

    fn adopt(&self, interface: &str, addresses: &[&str], far: End) -> Result<Link> {
        let link = Link::new(End::new(self, interface), far)?;
        link.up()?;
        for address in addresses {
            self.add_address(interface, address)?;
        }
        locked(&self.inner.links).push(link.clone());
        Ok(link)
    }

    /// The same on every machine, whatever its own settings are, of which a new namespace inherits some.
    fn prepare(&self) -> Result<()> {
        self.ask("set lo up".into(), async |handle| {
            netlink::set_up(&handle, LOOPBACK, true).await
        })?;
        for scope in ["all", "default"] {
            self.sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
            // Duplicate address detection would keep addresses unusable for a second or more.
            self.sysctl_if_there(&format!("net/ipv6/conf/{scope}/accept_dad"), "0")?;
            // Addresses survive when an interface goes down, as an operator's configuration does.
            self.sysctl_if_there(&format!("net/ipv6/conf/{scope}/keep_addr_on_down"), "1")?;
        }
        Ok(())
    }

    /// Kernels without IPv6 have none of its settings.
    fn sysctl_if_there(&self, name: &str, value: &str) -> Result<()> {
        match self.sysctl(name, value) {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

#[derive(Debug)]
struct Inner {
    lab: Arc<lab::Inner>,
    name: String,
    namespace: Arc<NetNamespace>,
    links: Mutex<Vec<Link>>,
}

fn prefix(text: &str) -> Result<IpNet> {
    text.parse().map_err(|_| Error::Prefix {
        text: text.to_owned(),
    })
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().map_err(|source| Error::Address {
        text: text.to_owned(),
        source,
    })
}

/// The loopback interface is the first in every namespace.
const LOOPBACK: u32 = 1;
