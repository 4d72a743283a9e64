//! The router of the demo: FRR where it is installed and starts, or else ironlb's own engine, which takes in routes here.

pub(super) mod passive;

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result};
use ipnet::IpNet;
use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{Host, Process, eventually_ok, route};
use serde_json::Value;

use super::site::{self, LIMIT};

/// The routing daemon: it learns routes by BGP, for the kernel to use.
pub(crate) struct Daemon {
    host: Host,
    engine: Engine,
}

enum Engine {
    Frr(Router),
    Passive(Process),
}

impl Daemon {
    /// Starts one that lets the nodes connect to it, and says which it is and why.
    ///
    /// # Errors
    /// When neither starts.
    pub(crate) fn start(host: &Host, neighbours: &[IpAddr]) -> Result<(Self, String)> {
        let (engine, which) = match Router::start(host, Frr, FRR) {
            Ok(router) => {
                let version = router.ask("show version")?;
                // FRRouting 8.4.4 (host) on ...
                let version: Vec<&str> = version.split_whitespace().take(2).collect();
                (Engine::Frr(router), version.join(" "))
            }
            Err(error) => {
                let reason = error.to_string();
                let reason = reason.lines().next().unwrap_or_default();
                let which = format!("ironlb's own engine as a passive peer (no FRR: {reason})");
                (Engine::Passive(start_passive(host, neighbours)?), which)
            }
        };
        let host = host.clone();
        Ok((Self { host, engine }, which))
    }

    /// Waits until the kernel divides packets to `address` among so many next hops, and gives them.
    pub(crate) fn wait_for_next_hops(&self, address: IpAddr, count: usize) -> Result<Vec<IpAddr>> {
        let what = format!("the router has {count} next hops to {address}");
        let found = eventually_ok(&what, LIMIT, || {
            let next_hops = route::next_hops(self.host.namespace(), address.into());
            match next_hops.map_err(|error| error.to_string())? {
                next_hops if next_hops.len() == count => Ok(next_hops),
                other => Err(format!("{other:?}")),
            }
        })?;
        Ok(found)
    }

    /// Waits until a neighbour has taken back its route to `address`.
    pub(crate) fn wait_for_withdrawal(&self, address: IpAddr, neighbour: IpAddr) -> Result<()> {
        let prefix = IpNet::from(address).to_string();
        match &self.engine {
            Engine::Frr(router) => {
                let question = format!("show bgp ipv4 unicast {prefix} json");
                let is_gone = |answer: &Value| {
                    let paths = answer.get("paths").and_then(Value::as_array);
                    let from = neighbour.to_string();
                    let is_from =
                        |path: &Value| path.pointer("/peer/peerId").is_some_and(|id| *id == *from);
                    paths.is_some_and(|paths| !paths.iter().any(is_from))
                };
                router.wait_for("the route is withdrawn", &question, LIMIT, is_gone)?;
            }
            Engine::Passive(process) => {
                process.wait_for_line(&passive::withdrawn(&prefix, neighbour), LIMIT)?;
            }
        }
        Ok(())
    }

    /// What to type on the host to see its table.
    pub(crate) fn look(&self) -> String {
        match &self.engine {
            Engine::Frr(router) => {
                let directory = router.directory().display();
                format!(
                    "vtysh --vty_socket {directory} --config_dir {directory} -c 'show bgp ipv4 unicast'"
                )
            }
            Engine::Passive(process) => format!("cat {}", process.log_path().display()),
        }
    }
}

fn start_passive(host: &Host, neighbours: &[IpAddr]) -> Result<Process> {
    let program = std::env::current_exe().context("this program's own file")?;
    let mut command = Command::new(program);
    command.args([
        "demo",
        "--route",
        &site::ROUTER_ASN.to_string(),
        site::ROUTER,
    ]);
    command.args(neighbours.iter().map(ToString::to_string));
    let process = host.spawn_as("router", command)?;
    process.wait_for_line(passive::LISTENING, LIMIT)?;
    Ok(process)
}

/// Nodes are met as they connect; equal routes are used together, by their global next hops.
const FRR: &str = "\
route-map global permit 10
 set ipv6 next-hop prefer-global
!
router bgp 64513
 bgp router-id 192.0.2.254
 neighbor nodes peer-group
 neighbor nodes remote-as 64512
 bgp listen range 192.0.2.0/24 peer-group nodes
 no bgp ebgp-requires-policy
 address-family ipv4 unicast
  maximum-paths 8
 exit-address-family
 address-family ipv6 unicast
  neighbor nodes activate
  neighbor nodes route-map global in
  maximum-paths 8
 exit-address-family
";
