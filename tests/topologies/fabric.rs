//! A topology in the lab, and what its client sees.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ironlb_lab::backend::Answer;
use ironlb_lab::topology::{Deployment, Topology};
use ironlb_lab::{Error, Host, Lab, eventually_ok};

/// How long anything may take to come true.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// The Service of the topologies, by either family.
pub(crate) const IPV4: &str = "192.0.2.10";
pub(crate) const IPV6: &str = "2001:db8::10";

/// A topology that runs.
pub(crate) struct Fabric {
    pub(crate) nodes: Deployment,
    _lab: Lab,
}

/// How often each node answered.
pub(crate) type Answers = BTreeMap<String, usize>;

impl Fabric {
    /// Runs the file of this name.
    pub(crate) fn deploy(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/topologies");
        let topology = Topology::read(&folder.join(format!("{name}.clab.yml"))).unwrap();
        let lab = Lab::new(topology.name()).unwrap();
        let ironlb = Path::new(env!("CARGO_BIN_EXE_ironlb"));
        let nodes = topology.deploy(&lab, ironlb).unwrap();
        Self { nodes, _lab: lab }
    }

    pub(crate) fn host(&self, node: &str) -> &Host {
        self.nodes.host(node).unwrap()
    }

    /// One round of requests to an address, each from a port of its own.
    pub(crate) fn flows(&self, address: &str) -> Result<Answers, String> {
        let (client, server) = (self.host("client"), port_80(address));
        let mut answers = Answers::new();
        for _ in 0..FLOWS {
            let answer = client.tcp_get(server).map_err(|error| error.to_string())?;
            *answers.entry(answer.backend).or_default() += 1;
        }
        Ok(answers)
    }

    /// Waits until every flow is served, by these nodes and by all of them.
    pub(crate) fn wait_for_flows_to(&self, address: &str, nodes: &[&str]) -> Answers {
        let wanted = BTreeSet::from_iter(nodes.iter().copied());
        let what = format!("flows to {address} are served by {wanted:?}");
        let answers = eventually_ok(&what, LIMIT, || {
            let answers = self.flows(address)?;
            match answers
                .keys()
                .map(String::as_str)
                .eq(wanted.iter().copied())
            {
                true => Ok(answers),
                false => Err(format!("{answers:?}")),
            }
        });
        let answers = answers.unwrap();
        println!("{FLOWS} flows to {address}: {answers:?}");
        answers
    }

    /// Waits until a router's kernel divides what is for an address among as many next hops, and says how long that took.
    pub(crate) fn wait_for_paths(&self, router: &str, address: &str, count: usize) -> Duration {
        let family = if address.contains(':') { "-6" } else { "-4" };
        let begun = Instant::now();
        eventually_ok(
            &format!("{router}: {count} paths to {address}"),
            LIMIT,
            || {
                let mut command = Command::new("ip");
                command.args([family, "route", "show", address]);
                let output = self.host(router).run(&mut command).unwrap();
                let routes = String::from_utf8(output.stdout).unwrap();
                match routes.matches(" via ").count() {
                    found if found == count => Ok(()),
                    _ => Err(routes),
                }
            },
        )
        .unwrap();
        begun.elapsed()
    }

    /// Lets the client ask for an address all the time while `work` goes on, and the router divides anew `changes` times: over UDP,
    /// where every request must be answered; and over TCP, where the one connection that is under way may break at such a
    /// change, and asking again must be answered. Gives the answers over UDP.
    pub(crate) fn serves_while(
        &self,
        address: &str,
        changes: usize,
        work: impl FnOnce(),
    ) -> Answers {
        let (client, server) = (self.host("client"), port_80(address));
        let is_over = AtomicBool::new(false);
        let ask = |ask: &dyn Fn() -> Result<Answer, Error>| {
            let mut answers = Answers::new();
            while !is_over.load(Ordering::Relaxed) {
                let answer = ask().map_err(|error| format!("{error}, after {answers:?}"))?;
                *answers.entry(answer.backend).or_default() += 1;
            }
            Ok::<_, String>(answers)
        };
        let broken = AtomicUsize::new(0);
        let tcp = || {
            client.tcp_get(server).or_else(|error| {
                println!("asked again: {error}");
                broken.fetch_add(1, Ordering::Relaxed);
                client.tcp_get(server)
            })
        };
        thread::scope(|scope| {
            let by_udp = scope.spawn(|| ask(&|| client.udp_exchange(server)));
            let by_tcp = scope.spawn(|| ask(&tcp));
            // Also when the work panics, or the scope would wait for ever.
            let end = End(&is_over);
            work();
            drop(end);
            let by_udp = by_udp.join().unwrap().expect("no datagram is lost");
            let by_tcp = by_tcp.join().unwrap().expect("no request is lost");
            let broken = broken.load(Ordering::Relaxed);
            println!("{address} meanwhile: UDP {by_udp:?}, TCP {by_tcp:?}, {broken} broken");
            assert!(broken <= changes, "{broken} connections broken");
            by_udp
        })
    }

    /// Puts a label on a node, or takes it off, in the manifests of all nodes.
    pub(crate) fn label(&self, node: &str, labels: &str) {
        for lb in self.balancers() {
            let path = self.nodes.file(&lb, "/manifests/web/nodes.yaml").unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let (before, after) = text
                .split_once(&format!("name: {node}, labels: {{"))
                .unwrap();
            let (_, after) = after.split_once('}').unwrap();
            let changed = format!("{before}name: {node}, labels: {{{labels}}}{after}");
            let temporary = path.with_extension("tmp");
            fs::write(&temporary, changed).unwrap();
            fs::rename(temporary, path).unwrap();
        }
    }

    /// The nodes that run ironlb as a load balancer.
    fn balancers(&self) -> Vec<String> {
        let names = (1..).map(|number| format!("n{number}-lb"));
        names
            .take_while(|name| self.nodes.process(name).is_ok())
            .collect()
    }
}

/// Says that it is over when it goes.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) fn port_80(address: &str) -> SocketAddr {
    SocketAddr::new(address.parse().unwrap(), 80)
}

/// So many that none of a few nodes is left out by chance.
const FLOWS: usize = 60;
