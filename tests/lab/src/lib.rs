//! Topologies of network namespaces, processes in them, and a real cluster on top.
//!
//! ```no_run
//! use std::{process::Command, time::Duration};
//! use ironlb_lab::{Lab, backend::Program, eventually_ok};
//!
//! # fn main() -> ironlb_lab::Result<()> {
//! Lab::enter()?; // only in a `main`, before the first thread: lets it run without root
//! let lab = Lab::new("example")?;
//! let lan = lab.switch("lan")?;
//! let server = lab.host("server")?;
//! let client = lab.host("client")?;
//! let cable = server.connect(&lan, "eth0", &["10.0.0.1/24", "fd00::1/64"])?;
//! client.connect(&lan, "eth0", &["10.0.0.2/24", "fd00::2/64"])?;
//!
//! let address = "10.0.0.1:80".parse().expect("an address");
//! let process = server.backend(&Program::find()?, "web", &[address])?;
//! assert_eq!(client.tcp_get(address)?.backend, "web");
//! assert_eq!(client.who_has(address.ip())?, Some(cable.mac()));
//!
//! cable.unplug()?;
//! assert!(client.tcp_get(address).is_err());
//! cable.plug()?;
//! eventually_ok("the server is back", Duration::from_secs(5), || client.tcp_get(address))?;
//!
//! let arping = client.run(Command::new("arping").args(["-c1", "10.0.0.1"]))?;
//! assert!(arping.status.success());
//! process.pause()?;
//! # Ok(()) }
//! ```
//!
//! - [`Lab`] makes [`Host`]s and [`Switch`]es, and ends them all when it is dropped.
//! - [`Host::connect`] gives a [`Link`], whose cable can be pulled.
//! - [`Host::spawn`] gives a [`Process`] with its log; [`Host::run`] waits for a command's output; [`Host::in_namespace`]
//!   runs any code inside.
//! - [`Host::tcp_get`], [`Host::udp_exchange`] and [`Host::who_has`] are what a client does.
//! - [`router`] has the routing daemons of other projects, to peer with; [`route`] is what the kernel makes of what they learn;
//!   [`topology`] runs containerlab's files.
//! - [`eventually`] and [`holds_for`] wait for conditions; when a test panics, the end of the logs of the labs of its
//!   thread is shown.
//!
//! Tests need root: begin each with [`needs_the_lab!`], which says so and leaves where `./test` does not run it.
//!
//! It does not touch the namespace it is started in, needs no `ip`, `nft` or `bridge`, leaves nothing behind even when it is
//! killed, and knows nothing of what it is used to test. Interfaces cannot lose or delay packets at random: pull the cable or
//! pause a process instead.
//!
//! Start reading at [`Lab`]; then [`cluster`].

#![forbid(unsafe_code)]

pub mod backend;
pub mod cluster;
mod directory;
mod error;
mod host;
mod lab;
mod link;
pub mod manifest;
mod netlink;
mod process;
pub mod route;
pub mod router;
mod skip;
pub mod topology;
mod traffic;
mod wait;

pub use error::{Error, Result};
pub use host::Host;
pub use ironlb_sys::namespace::Signal;
pub use lab::Lab;
pub use link::{Link, Switch};
pub use process::Process;
pub use rtnetlink::packet_route::neighbour::NeighbourState;
pub use skip::{skip, skip_without_lab};
pub use traffic::{Neighbour, ask_again};
pub use wait::{eventually, eventually_ok, holds_for};

/// Leaves the test, saying so, unless `IRONLB_LAB` is set: what follows needs root and the programs that `./test` installs.
#[macro_export]
macro_rules! needs_the_lab {
    () => {
        if ::std::env::var_os("IRONLB_LAB").is_none() {
            $crate::skip_without_lab();
            return;
        }
    };
}
