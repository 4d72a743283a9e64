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
use ironlb_lab::{Error, Host, Lab, Link, Signal, eventually_ok};
use serde_json::Value;

/// How long anything may take to come true.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// The Service of the topologies, by either family.
pub(crate) const IPV4: &str = "192.0.2.10";
pub(crate) const IPV6: &str = "2001:db8::10";
/// The nodes of every topology.
pub(crate) const ALL: [&str; 3] = ["n1", "n2", "n3"];

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

    /// What a router's kernel does with what is for an address.
    pub(crate) fn routes(&self, router: &str, address: &str) -> String {
        let family = if address.contains(':') { "-6" } else { "-4" };
        let mut command = Command::new("ip");
        command.args([family, "route", "show", address]);
        let output = self.host(router).run(&mut command).unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until a router's kernel divides what is for an address among as many next hops, and says how long that took.
    pub(crate) fn wait_for_paths(&self, router: &str, address: &str, count: usize) -> Duration {
        let begun = Instant::now();
        let what = format!("{router}: {count} paths to {address}");
        eventually_ok(&what, LIMIT, || {
            let routes = self.routes(router, address);
            match routes.matches(" via ").count() {
                found if found == count => Ok(()),
                _ => Err(routes),
            }
        })
        .unwrap();
        begun.elapsed()
    }

    /// Waits until a router watches all nodes by BFD.
    pub(crate) fn wait_for_bfd(&self, router: &str) {
        let router = self.nodes.router(router).unwrap();
        let question = "show bfd peers json";
        let all_up = |peers: &Value| {
            let peers = peers.as_array().unwrap();
            peers.len() == ALL.len() && peers.iter().all(|peer| peer["status"] == "up")
        };
        router
            .wait_for("BFD sessions", question, LIMIT, all_up)
            .unwrap();
    }

    /// Takes a router's power away: these are all its interfaces.
    pub(crate) fn switch_off(&self, router: &str, interfaces: &[&str]) {
        for interface in interfaces {
            let link = self.host(router).link(interface).unwrap();
            link.down().unwrap();
        }
    }

    /// Pulls the only cable of n2, and waits until `router` sends its flows to these addresses elsewhere.
    pub(crate) fn lose_n2(&self, router: &str, addresses: &[&str]) -> Link {
        let cable = self.host("n2").link("eth1").unwrap();
        cable.unplug().unwrap();
        let missed = self.wait_for_paths(router, addresses[0], 2);
        println!("cable pulled: two paths are left after {missed:?}");
        for address in addresses {
            self.wait_for_paths(router, address, 2);
            self.wait_for_flows_to(address, &["n1", "n3"]);
        }
        cable
    }

    /// The same, and puts the cable in again.
    pub(crate) fn lose_and_find_n2(&self, router: &str, addresses: &[&str]) {
        self.lose_n2(router, addresses).plug().unwrap();
        for address in addresses {
            self.wait_for_paths(router, address, 3);
            self.wait_for_flows_to(address, &ALL);
        }
    }

    /// Tells the speaker of a node to stop, and waits until it has, and `routers` have `paths` left. No request is lost meanwhile.
    pub(crate) fn stop_without_loss(
        &self,
        node: &str,
        address: &str,
        routers: &[&str],
        paths: usize,
    ) {
        // Each router divides anew once.
        self.serves_while(address, routers.len(), || {
            let speaker = self.nodes.process(&format!("{node}-lb")).unwrap();
            speaker.signal(Signal::Terminate).unwrap();
            for router in routers {
                self.wait_for_paths(router, address, paths);
            }
            let status = speaker.wait(LIMIT).unwrap();
            assert!(status.success(), "{status}");
        });
        let others: Vec<&str> = ALL.into_iter().filter(|other| *other != node).collect();
        self.wait_for_flows_to(address, &others);
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
