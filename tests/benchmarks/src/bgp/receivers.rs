//! The routers that learn the routes, and what they say of their tables.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use ironlb_lab::router::{Frr, Router, program};
use ironlb_lab::{Host, Lab, eventually_ok};

use super::{RECEIVER_ASN, SENDER_ASN};

/// A router that learns, and waits for its neighbours to connect.
pub(crate) trait Receiver {
    fn name(&self) -> &'static str;
    fn address(&self) -> Ipv4Addr;
    /// How many routes it has from this neighbour, as its command line says.
    fn routes(&self, neighbour: Ipv4Addr) -> anyhow::Result<u64>;
    /// Whether the session with this neighbour is over and done with.
    fn is_idle(&self, neighbour: Ipv4Addr) -> anyhow::Result<bool>;
}

/// FRR. What bgpd learns goes no further than its own table.
pub(crate) struct FrrReceiver {
    router: Router,
    address: Ipv4Addr,
}

impl FrrReceiver {
    pub(crate) fn start(
        host: &Host,
        address: Ipv4Addr,
        neighbours: &[Ipv4Addr],
    ) -> anyhow::Result<Self> {
        let each = neighbours.iter().map(|neighbour| {
            format!(" neighbor {neighbour} remote-as {SENDER_ASN}\n neighbor {neighbour} passive\n")
        });
        let config = format!(
            "route-map NONE deny 10\nexit\nrouter bgp {RECEIVER_ASN}\n bgp router-id {address}\n no bgp ebgp-requires-policy\n{} \
             address-family ipv4 unicast\n  table-map NONE\n",
            each.collect::<String>()
        );
        Ok(Self {
            router: Router::start(host, Frr, &config)?,
            address,
        })
    }

    fn neighbour(&self, neighbour: Ipv4Addr) -> anyhow::Result<serde_json::Value> {
        let summary = self.router.show("show bgp ipv4 unicast summary json")?;
        Ok(summary["peers"][neighbour.to_string()].clone())
    }
}

impl Receiver for FrrReceiver {
    fn name(&self) -> &'static str {
        "FRR"
    }

    fn address(&self) -> Ipv4Addr {
        self.address
    }

    fn routes(&self, neighbour: Ipv4Addr) -> anyhow::Result<u64> {
        Ok(self.neighbour(neighbour)?["pfxRcd"].as_u64().unwrap_or(0))
    }

    fn is_idle(&self, neighbour: Ipv4Addr) -> anyhow::Result<bool> {
        let neighbour = self.neighbour(neighbour)?;
        let state = &neighbour["state"];
        Ok((*state == "Active" || *state == "Idle") && neighbour["pfxRcd"] == 0)
    }
}

/// GoBGP.
pub(crate) struct GoBgpReceiver {
    host: Host,
    address: Ipv4Addr,
}

impl GoBgpReceiver {
    pub(crate) fn start(
        lab: &Lab,
        host: &Host,
        address: Ipv4Addr,
        neighbours: &[Ipv4Addr],
    ) -> anyhow::Result<Self> {
        let each = neighbours.iter().map(|neighbour| {
            format!(
                "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{neighbour}\"\npeer-as = {SENDER_ASN}\n\
                 [neighbors.transport.config]\npassive-mode = true\n\
                 [neighbors.timers.config]\nidle-hold-time-after-reset = 1\n"
            )
        });
        start_gobgp(lab, host, RECEIVER_ASN, address, &each.collect::<String>())?;
        Ok(Self {
            host: host.clone(),
            address,
        })
    }
}

impl Receiver for GoBgpReceiver {
    fn name(&self) -> &'static str {
        "GoBGP"
    }

    fn address(&self) -> Ipv4Addr {
        self.address
    }

    fn routes(&self, _only_one_at_a_time: Ipv4Addr) -> anyhow::Result<u64> {
        gobgp_routes(&self.host)
    }

    fn is_idle(&self, neighbour: Ipv4Addr) -> anyhow::Result<bool> {
        let answer = gobgp(&self.host, &["-j", "neighbor", &neighbour.to_string()])?;
        let answer: serde_json::Value = serde_json::from_str(&answer)?;
        // ACTIVE in the enumeration of its API.
        Ok(answer["state"]["session_state"] == 3 && gobgp_routes(&self.host)? == 0)
    }
}

/// Starts gobgpd with these neighbours, written in its own language.
pub(crate) fn start_gobgp(
    lab: &Lab,
    host: &Host,
    asn: u32,
    address: Ipv4Addr,
    neighbours: &str,
) -> anyhow::Result<()> {
    let config = lab.directory().join(format!("{}.toml", host.name()));
    let text = format!("[global.config]\nas = {asn}\nrouter-id = \"{address}\"\n{neighbours}");
    std::fs::write(&config, text)?;
    let mut command = Command::new(program("gobgpd", &[], "gobgpd")?);
    command.arg("-f").arg(&config).args(["-l", "warn"]);
    command.args(["--api-hosts", "127.0.0.1:50051"]);
    let process = host.spawn_as("gobgpd", command)?;
    // It answers before it has read the configuration.
    process.wait_until("GoBGP answers", START, || {
        let answer = gobgp(host, &["global"]).map_err(|error| error.to_string())?;
        answer.contains("Router-ID").then_some(()).ok_or(answer)
    })?;
    Ok(())
}

/// What GoBGP's command line says to these words.
pub(crate) fn gobgp(host: &Host, words: &[&str]) -> anyhow::Result<String> {
    let output = host.run(Command::new("gobgp").args(words))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(
        output.status.success(),
        "gobgp {words:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// How many routes are in GoBGP's table.
pub(crate) fn gobgp_routes(host: &Host) -> anyhow::Result<u64> {
    let summary = gobgp(host, &["global", "rib", "summary"])?;
    let path = summary.split("Path:").nth(1).context("no path count")?;
    let digits = path.trim().split(|c: char| !c.is_ascii_digit()).next();
    Ok(digits.unwrap_or_default().parse()?)
}

/// Waits until a receiver has forgotten a neighbour's routes.
pub(crate) fn wait_until_idle(receiver: &dyn Receiver, neighbour: Ipv4Addr) -> anyhow::Result<()> {
    let what = format!("{} has forgotten {neighbour}", receiver.name());
    eventually_ok(&what, START, || match receiver.is_idle(neighbour) {
        Ok(true) => Ok(()),
        Ok(false) => Err("it has not".to_owned()),
        Err(error) => Err(error.to_string()),
    })?;
    Ok(())
}

const START: Duration = Duration::from_secs(60);
