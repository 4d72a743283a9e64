//! The programs that announce the routes, each with all of them before a session comes up.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ironlb_lab::manifest::{endpoint_slice, file, node, pool, service};
use ironlb_lab::router::{Bird, Router, program};
use ironlb_lab::{Host, Lab, Process, eventually_ok};

use super::mrt;
use super::receivers::{gobgp, gobgp_routes, start_gobgp};
use super::{RECEIVER_ASN, SENDER_ASN};

/// A sender's host, and the relay that it takes for a router.
pub(crate) struct Place<'a> {
    pub(crate) lab: &'a Lab,
    pub(crate) host: &'a Host,
    pub(crate) address: Ipv4Addr,
    pub(crate) relay: Ipv4Addr,
}

/// BIRD, with static routes.
pub(crate) fn start_bird(place: &Place<'_>, routes: &[Ipv4Addr]) -> anyhow::Result<()> {
    let Place { address, relay, .. } = place;
    let each = routes
        .iter()
        .map(|route| format!("route {route}/32 blackhole;\n"));
    let config = format!(
        "router id {address};\nlog stderr all;\nprotocol device {{}}\nprotocol static {{ ipv4;\n{}}}\n\
         protocol bgp relay {{\n local {address} as {SENDER_ASN};\n neighbor {relay} as {RECEIVER_ASN};\n direct;\n \
         passive;\n error wait time 1, 2;\n ipv4 {{ import none; export all; next hop self; }};\n}}\n",
        each.collect::<String>()
    );
    Router::start(place.host, Bird, &config)?;
    Ok(())
}

/// GoBGP, given the routes by its command line.
pub(crate) fn start_gobgp_sender(place: &Place<'_>, routes: &[Ipv4Addr]) -> anyhow::Result<()> {
    let Place { address, relay, .. } = place;
    let neighbour = format!(
        "[[neighbors]]\n[neighbors.config]\nneighbor-address = \"{relay}\"\npeer-as = {RECEIVER_ASN}\n\
         [neighbors.transport.config]\npassive-mode = true\n\
         [neighbors.timers.config]\nidle-hold-time-after-reset = 1\n"
    );
    start_gobgp(place.lab, place.host, SENDER_ASN, *address, &neighbour)?;
    let dump = place.lab.directory().join("routes.mrt");
    // The command ends before GoBGP has read all that it was sent: what is lost is there twice.
    fs::write(&dump, mrt::dump(*address, &[routes, routes].concat()))?;
    gobgp(
        place.host,
        &["mrt", "inject", "global", &dump.to_string_lossy()],
    )?;
    eventually_ok("GoBGP has the routes", START, || {
        match gobgp_routes(place.host) {
            Ok(count) if count == routes.len() as u64 => Ok(()),
            Ok(count) => Err(format!("{count}")),
            Err(error) => Err(error.to_string()),
        }
    })?;
    Ok(())
}

/// ExaBGP, with the routes in its configuration.
pub(crate) fn start_exabgp(place: &Place<'_>, routes: &[Ipv4Addr]) -> anyhow::Result<()> {
    let Place { address, relay, .. } = place;
    let each = routes
        .iter()
        .map(|route| format!("route {route}/32 next-hop self;\n"));
    let config = format!(
        "neighbor {relay} {{\n router-id {address};\n local-address {address};\n local-as {SENDER_ASN};\n peer-as {RECEIVER_ASN};\n \
         passive;\n listen 179;\n family {{ ipv4 unicast; }}\n static {{\n{}}}\n}}\n",
        each.collect::<String>()
    );
    let path = place.lab.directory().join("exabgp.conf");
    fs::write(&path, config)?;
    let mut command = Command::new(program("exabgp", &[], "exabgp")?);
    command.arg(path).envs([
        ("exabgp.daemon.user", "root"),
        ("exabgp.daemon.drop", "false"),
        ("exabgp.log.destination", "stdout"),
        ("exabgp.log.level", "WARNING"),
        ("exabgp.api.cli", "false"),
    ]);
    place.host.spawn_as("exabgp", command)?;
    Ok(())
}

/// ironlb, with a Service for each route.
pub(crate) struct Ironlb {
    manifests: PathBuf,
    pub(crate) process: Process,
}

impl Ironlb {
    /// Starts `ironlb standalone` with these peers, as many Services as there are to be routes, and a pool with room for more.
    /// `spec` adds to what is said of each peer, in flow style.
    pub(crate) fn start(
        lab: &Lab,
        host: &Host,
        binary: &Path,
        peers: &[Ipv4Addr],
        spec: &str,
        services: usize,
    ) -> anyhow::Result<Self> {
        let manifests = lab.directory().join("manifests");
        fs::create_dir(&manifests)?;
        let peers = peers.iter().enumerate().map(|(number, peer)| {
            format!(
                "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: peer-{number}, namespace: metallb-system}}\n\
                 spec: {{myASN: {SENDER_ASN}, peerASN: {RECEIVER_ASN}, peerAddress: {peer}, {spec}}}\n"
            )
        });
        let advertisement = "apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\n\
                             metadata: {name: all, namespace: metallb-system}\n";
        let others = [
            pool("pool", &format!("{}/16", super::FIRST_ROUTE)),
            advertisement.to_owned(),
            node(NODE, ""),
        ];
        let all: Vec<String> = others.into_iter().chain(peers).collect();
        fs::write(manifests.join("site.yaml"), file(&all))?;
        let numbers: Vec<usize> = (0..services).collect();
        for (part, numbers) in numbers.chunks(IN_A_FILE).enumerate() {
            let objects = numbers.iter().flat_map(|number| objects(*number));
            let text = file(&objects.collect::<Vec<_>>());
            fs::write(manifests.join(format!("services-{part}.yaml")), text)?;
        }
        let mut command = Command::new(binary);
        command.arg("standalone").arg("-f").arg(&manifests);
        command
            .arg("--state")
            .arg(lab.directory().join("state.json"));
        command.args(["--node", NODE]);
        command.env("IRONLB_LOG", "warn");
        let process = host.spawn_as("ironlb", command)?;
        Ok(Self { manifests, process })
    }

    /// Adds the Service of this number, as a careful writer does: a file that is renamed into place.
    pub(crate) fn add(&self, number: usize) -> anyhow::Result<()> {
        let path = self.manifests.join(format!("one-{number}.yaml"));
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, file(&objects(number)))?;
        Ok(fs::rename(temporary, path)?)
    }
}

/// A Service, and an EndpointSlice with an endpoint on the node.
fn objects(number: usize) -> [String; 2] {
    let name = format!("service-{number}");
    let endpoints = [("10.200.0.1".to_owned(), NODE)];
    let slice = endpoint_slice(
        &name,
        "IPv4",
        &endpoints,
        "{name: http, port: 8080, protocol: TCP}",
    );
    [service(&name, "ports: [{name: http, port: 80}]"), slice]
}

const NODE: &str = "n1";
/// Services in a file.
const IN_A_FILE: usize = 1_000;
const START: Duration = Duration::from_secs(240);
