//! A top-of-rack router with a client behind it, and hosts that run `ironlb standalone`, each with a backend.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ironlb_lab::manifest::{bgp_peer, configuration, endpoint_slice, file, node, pool};
use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{Host, Lab, Process, eventually_ok};

/// How long anything may take to come true.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The AS number of the hosts.
pub(crate) const OUR_ASN: u32 = 64_512;

/// The lab and its hosts.
pub(crate) struct Fabric {
    pub(crate) client: Host,
    pub(crate) tor: Router,
    /// Forwards, wherever the router is.
    _gateway: Host,
    pub(crate) nodes: Vec<Host>,
    pub(crate) lab: Lab,
}

impl Fabric {
    /// Nodes n1, n2, ... at 10.0.0.1, ... and fd00::1, ...; the router at .254 and ::fe, with `peers` in its BGP; the client behind
    /// it at 10.1.0.100 and fd01::100. A pool of 192.0.2.0/28 and 2001:db8::/124.
    pub(crate) fn new(name: &str, count: usize, peers: &str) -> Self {
        Self::with(name, count, |tor, _| {
            Router::start(tor, Frr, peers).unwrap()
        })
    }

    /// The same with another router, which `start` starts on the host in the rack or on that of the client.
    pub(crate) fn with(
        name: &str,
        count: usize,
        start: impl FnOnce(&Host, &Host) -> Router,
    ) -> Self {
        let lab = Lab::new(name).unwrap();
        let (rack, beyond) = (lab.switch("rack").unwrap(), lab.switch("beyond").unwrap());
        let client = lab.host("client").unwrap();
        client
            .connect(&beyond, "eth0", &["10.1.0.100/24", "fd01::100/64"])
            .unwrap();
        let gateway = lab.router("tor").unwrap();
        gateway
            .connect(&rack, "eth0", &["10.0.0.254/24", "fd00::fe/64"])
            .unwrap();
        gateway
            .connect(&beyond, "eth1", &["10.1.0.254/24", "fd01::fe/64"])
            .unwrap();
        client.add_route("0.0.0.0/0", "10.1.0.254").unwrap();
        client.add_route("::/0", "fd01::fe").unwrap();
        let mut nodes = Vec::new();
        let program = crate::backend();
        for number in 1..=count {
            let host = lab.host(&format!("n{number}")).unwrap();
            let addresses = [format!("10.0.0.{number}"), format!("fd00::{number}")];
            let networks = [
                format!("{}/24", addresses[0]),
                format!("{}/64", addresses[1]),
            ];
            host.connect(&rack, "eth0", &[&networks[0], &networks[1]])
                .unwrap();
            host.add_route("0.0.0.0/0", "10.0.0.254").unwrap();
            host.add_route("::/0", "fd00::fe").unwrap();
            let sockets = addresses.map(|address| SocketAddr::new(address.parse().unwrap(), 8080));
            host.backend(&program, host.name(), &sockets).unwrap();
            nodes.push(host);
        }
        let tor = start(&gateway, &client);
        let fabric = Self {
            client,
            tor,
            _gateway: gateway,
            nodes,
            lab,
        };
        fs::create_dir(fabric.manifests()).unwrap();
        let pool = pool("first", "192.0.2.0/28, '2001:db8::/124'");
        fabric.write("pool.yaml", &file(&[pool]));
        for number in 1..=count {
            let text = node(&format!("n{number}"), "");
            fabric.write(&format!("node{number}.yaml"), &text);
        }
        fabric
    }

    pub(crate) fn manifests(&self) -> PathBuf {
        self.lab.directory().join("manifests")
    }

    fn state(&self) -> PathBuf {
        self.lab.directory().join("state.json")
    }

    /// Puts a manifest there, as a careful writer does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        crate::standalone::site::replace(&self.manifests().join(name), text);
    }

    /// Takes a manifest away.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.manifests().join(name)).unwrap();
    }

    /// A peer of all nodes; `spec` in flow style.
    pub(crate) fn peer(&self, name: &str, spec: &str) {
        self.peer_as(OUR_ASN, name, spec);
    }

    /// The same, for nodes that have another AS number.
    pub(crate) fn peer_as(&self, asn: u32, name: &str, spec: &str) {
        let text = bgp_peer(name, &format!("myASN: {asn}, {spec}"));
        self.write(&format!("peer-{name}.yaml"), &text);
    }

    /// An advertisement of the pool; `spec` in flow style.
    pub(crate) fn advertise(&self, name: &str, spec: &str) {
        self.configure("BGPAdvertisement", name, spec);
    }

    /// A BFDProfile; `spec` in flow style.
    pub(crate) fn bfd_profile(&self, name: &str, spec: &str) {
        self.configure("BFDProfile", name, spec);
    }

    /// An object of a kind of version v1beta1; `spec` in flow style.
    pub(crate) fn configure(&self, kind: &str, name: &str, spec: &str) {
        let text = configuration(kind, name, spec);
        self.write(&format!("{kind}-{name}.yaml"), &text);
    }

    /// A Service of both families on port 80 with these nodes' backends; `extra` goes into its spec.
    pub(crate) fn service(&self, name: &str, endpoints: &[usize], extra: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: LoadBalancer\n  \
             ipFamilyPolicy: RequireDualStack\n  ports:\n  - {{name: t, port: 80}}\n{extra}"
        );
        self.write(&format!("{name}.yaml"), &text);
        self.endpoints(name, endpoints);
    }

    /// The EndpointSlices of a Service.
    pub(crate) fn endpoints(&self, name: &str, endpoints: &[usize]) {
        let slice = |family: &str, prefix: &str| {
            let names: Vec<String> = endpoints
                .iter()
                .map(|number| format!("n{number}"))
                .collect();
            let address = |(number, name)| (format!("{prefix}{number}"), name);
            let names = names.iter().map(String::as_str);
            let endpoints: Vec<_> = endpoints.iter().zip(names).map(address).collect();
            endpoint_slice(
                name,
                family,
                &endpoints,
                "{name: t, port: 8080, protocol: TCP}",
            )
        };
        let slices = [slice("IPv4", "10.0.0."), slice("IPv6", "fd00::")];
        self.write(&format!("{name}-endpoints.yaml"), &file(&slices));
    }

    /// Starts ironlb on a node, with forwarding; the first allocates, the others follow.
    pub(crate) fn start(&self, number: usize) -> Process {
        self.start_with(number, &[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(&self, number: usize, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ironlb"));
        command.arg("standalone").arg("-f").arg(self.manifests());
        command.arg("--state").arg(self.state());
        command.args(["--node", &format!("n{number}"), "--forward", "nftables"]);
        command.args(arguments);
        if number > 1 {
            command.arg("--follow");
        }
        let process = self.nodes[number - 1].spawn_as("ironlb", command).unwrap();
        process.wait_for_line("started", LIMIT).unwrap();
        process
    }

    /// Runs nft on the router's host, and gives what it prints.
    pub(crate) fn nft(&self, command: &str) -> String {
        let output = self.tor.host().run(Command::new("nft").arg(command));
        let output = output.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Waits until the client is answered at an address, and gives the backend's name.
    pub(crate) fn reach(&self, address: &str) -> String {
        let address: IpAddr = address.parse().unwrap();
        let server = SocketAddr::new(address, 80);
        eventually_ok(&format!("{address} is served"), LIMIT, || {
            self.client.tcp_get(server)
        })
        .unwrap()
        .backend
    }
}
