//! The network of the demo: a client, three nodes and a router at a switch, each node with a backend and ironlb, and another
//! client behind the router.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use ironlb_lab::backend::Program;
use ironlb_lab::{Host, Lab, Link, eventually_ok};

use super::super::standalone;

/// The network, and the directory of manifests that the nodes share.
pub(crate) struct Site {
    pub(crate) client: Host,
    pub(crate) nodes: Vec<Node>,
    pub(crate) router: Host,
    /// The client behind the router.
    pub(crate) remote: Host,
    manifests: PathBuf,
    state: PathBuf,
    // Last: it ends the processes and removes the files.
    lab: Lab,
}

/// One node.
pub(crate) struct Node {
    pub(crate) number: u8,
    pub(crate) name: String,
    pub(crate) host: Host,
    pub(crate) cable: Link,
}

impl Site {
    /// Connects everything. Nothing runs yet.
    pub(crate) fn build() -> Result<Self> {
        let lab = Lab::new("demo")?;
        let switch = lab.switch("switch")?;
        let client = lab.host("client")?;
        client.connect(&switch, "eth0", &["192.0.2.100/24", "2001:db8::100/64"])?;
        let (router, remote) = (lab.router("router")?, lab.host("remote")?);
        router.connect(&switch, "eth0", &["192.0.2.254/24", "2001:db8::fe/64"])?;
        // By addresses and ports: each connection of a client is a flow of its own.
        router.sysctl("net/ipv4/fib_multipath_hash_policy", "1")?;
        router.sysctl("net/ipv6/fib_multipath_hash_policy", "1")?;
        let beyond = ["198.51.100.1/24", "2001:db8:1::1/64"];
        let far = ["198.51.100.100/24", "2001:db8:1::100/64"];
        router.connect_to(&remote, "eth1", &beyond, "eth0", &far)?;
        remote.add_route("0.0.0.0/0", "198.51.100.1")?;
        remote.add_route("::/0", "2001:db8:1::1")?;
        let nodes = (1..=NODES).map(|number| Node::connect(&lab, &switch, number));
        let nodes = nodes.collect::<Result<_>>()?;
        let manifests = lab.directory().join("manifests");
        let state = lab.directory().join("state.json");
        fs::create_dir(&manifests)?;
        let site = Self {
            client,
            nodes,
            router,
            remote,
            manifests,
            state,
            lab,
        };
        for node in &site.nodes {
            site.write(&node.file(), &node.manifest())?;
        }
        Ok(site)
    }

    /// Starts a backend and ironlb on every node, and waits until they are ready.
    pub(crate) fn start(&self) -> Result<()> {
        let program = std::env::current_exe().context("this program's own file")?;
        let backend = Program::new(&program).argument("demo").argument("--serve");
        let mut started = Vec::new();
        for node in &self.nodes {
            node.host.backend(&backend, &node.name, &node.backends())?;
            started.push(node.host.spawn_as("ironlb", self.command(&program, node))?);
        }
        for process in started {
            process.wait_for_line(standalone::FORWARDING, LIMIT)?;
        }
        Ok(())
    }

    /// Adds or changes a manifest, in one step.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.manifests.join(name);
        let temporary = path.with_extension("new");
        fs::write(&temporary, text)?;
        fs::rename(&temporary, &path).with_context(|| path.display().to_string())
    }

    /// Removes a manifest.
    pub(crate) fn remove(&self, name: &str) -> Result<()> {
        let path = self.manifests.join(name);
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }

    /// Writes which nodes' backends serve a Service.
    pub(crate) fn serve_from(&self, service: &str, nodes: &[&Node]) -> Result<()> {
        let name = format!("{service}-endpoints.yaml");
        self.write(&name, &endpoint_slices(service, nodes))
    }

    /// Waits until a Service has an address of each family, by the state file.
    pub(crate) fn addresses(&self, service: &str) -> Result<(IpAddr, IpAddr)> {
        let what = format!("the Service {service} has two addresses");
        let found = eventually_ok(&what, LIMIT, || {
            let allocations = standalone::allocations(&self.state)?;
            let ips = allocations
                .into_iter()
                .filter(|(key, _)| *key.name == *service)
                .flat_map(|(_, ips)| ips)
                .collect::<Vec<_>>();
            match *ips.as_slice() {
                [four @ IpAddr::V4(_), six @ IpAddr::V6(_)] => Ok((four, six)),
                _ => Err(format!("{ips:?}")),
            }
        })?;
        Ok(found)
    }

    /// The node that answers for an address on the wire.
    pub(crate) fn owner(&self, address: IpAddr) -> Result<&Node> {
        let mac = self.client.who_has(address)?;
        let mac = mac.with_context(|| format!("nobody answers for {address}"))?;
        let found = self.nodes.iter().find(|node| node.cable.mac() == mac);
        found.with_context(|| format!("{mac} answers for {address}, which is none of the nodes"))
    }

    /// The node that the client believes to have an address, when it believes anything.
    pub(crate) fn known_owner(&self, address: IpAddr) -> Result<Option<&Node>> {
        let mac = self.client.neighbour(address)?;
        Ok(self.nodes.iter().find(|node| Some(node.cable.mac()) == mac))
    }

    /// The directory with the manifests.
    pub(crate) fn manifests(&self) -> &Path {
        &self.manifests
    }

    /// The end of what every process printed.
    pub(crate) fn logs(&self) -> String {
        self.lab.log_tails(LINES)
    }

    /// Leaves everything running until the process is told to end.
    pub(crate) fn stay(self) -> ! {
        self.lab.stay()
    }

    fn command(&self, program: &Path, node: &Node) -> Command {
        let mut command = Command::new(program);
        command
            .arg("standalone")
            .arg("-f")
            .arg(&self.manifests)
            .arg("--state")
            .arg(&self.state);
        command.args(["--node", &node.name, "--forward", "nftables"]);
        // One allocates; the others read what it wrote.
        if node.number != 1 {
            command.arg("--follow");
        }
        command
    }
}

impl Node {
    fn connect(lab: &Lab, switch: &ironlb_lab::Switch, number: u8) -> Result<Self> {
        let name = format!("node{number}");
        let host = lab.host(&name)?;
        let (four, six) = (
            format!("192.0.2.{number}/24"),
            format!("2001:db8::{number}/64"),
        );
        let cable = host.connect(switch, "eth0", &[&four, &six])?;
        host.add_route("0.0.0.0/0", ROUTER)?;
        host.add_route("::/0", "2001:db8::fe")?;
        Ok(Self {
            number,
            name,
            host,
            cable,
        })
    }

    /// Its IPv4 address.
    pub(crate) fn address(&self) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, self.number).into()
    }

    /// Where its backend listens.
    fn backends(&self) -> [SocketAddr; 2] {
        let six = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self.number.into());
        [
            SocketAddr::new(self.address(), 8080),
            SocketAddr::new(six.into(), 8080),
        ]
    }

    /// The file of its manifest.
    pub(crate) fn file(&self) -> String {
        format!("{}.yaml", self.name)
    }

    /// Its manifest.
    pub(crate) fn manifest(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Node\nmetadata:\n  name: {}\n",
            self.name
        )
    }

    /// The same with the label that takes it out of service.
    pub(crate) fn drained_manifest(&self) -> String {
        format!(
            "{}  labels:\n    node.kubernetes.io/exclude-from-external-load-balancers: ''\n",
            self.manifest()
        )
    }
}

fn endpoint_slices(service: &str, nodes: &[&Node]) -> String {
    let slice = |family: &str, index: usize| {
        let endpoint = |node: &&Node| {
            let address = node.backends().get(index).map(|it| it.ip().to_string());
            format!(
                "- addresses: ['{}']\n  nodeName: {}\n",
                address.unwrap_or_default(),
                node.name
            )
        };
        let endpoints: String = nodes.iter().map(endpoint).collect();
        format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-{}\n  labels:\n    \
             kubernetes.io/service-name: {service}\naddressType: {family}\nports:\n- port: 8080\nendpoints:\n{endpoints}---\n",
            family.to_lowercase()
        )
    };
    slice("IPv4", 0) + &slice("IPv6", 1)
}

/// The addresses that Services may have.
pub(crate) const POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: first
spec:
  addresses:
  - 192.0.2.200-192.0.2.220
  - 2001:db8::200-2001:db8::220
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata:
  name: first
spec:
  ipAddressPools: [first]
";

/// The Service that the client reaches.
pub(crate) const SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  ports:
  - port: 80
";

/// Addresses on no network, for those who ask for them: the router learns where they are.
pub(crate) const ROUTED_POOL: &str = "\
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata:
  name: routed
spec:
  addresses:
  - 203.0.113.10-203.0.113.19
  - 2001:db8:2::10-2001:db8:2::19
  autoAssign: false
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata:
  name: router
spec:
  myASN: 64512
  peerASN: 64513
  peerAddress: 192.0.2.254
  dualStackAddressFamily: true
  drainTime: 1s
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata:
  name: routed
spec:
  ipAddressPools: [routed]
";

/// The Service that the client behind the router reaches, on the nodes that the router chooses.
pub(crate) const ROUTED_SERVICE: &str = "\
apiVersion: v1
kind: Service
metadata:
  name: api
  annotations:
    metallb.io/address-pool: routed
spec:
  type: LoadBalancer
  ipFamilyPolicy: RequireDualStack
  externalTrafficPolicy: Local
  ports:
  - port: 80
";

/// The router's address at the switch, and its BGP identifier.
pub(crate) const ROUTER: &str = "192.0.2.254";
/// The router's AS number.
pub(crate) const ROUTER_ASN: u32 = 64_513;
const NODES: u8 = 3;
/// How long anything may take to come true.
pub(crate) const LIMIT: Duration = Duration::from_secs(15);
/// Of each log, when something went wrong.
const LINES: usize = 8;
