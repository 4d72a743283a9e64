//! A LAN with a client and a few hosts that run `ironlb standalone`, each with a backend.

use std::cell::RefCell;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ironlb_lab::manifest::{endpoint_slice, file, l2_advertisement, node, pool};
use ironlb_lab::{Host, Lab, Link, Process, eventually, eventually_ok};

/// How long anything may take to come true.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

/// The lab, its hosts and their shared directory of manifests.
pub(crate) struct Site {
    pub(crate) client: Host,
    pub(crate) nodes: Vec<Host>,
    pub(crate) cables: Vec<Link>,
    backends: RefCell<Vec<Process>>,
    pub(crate) lab: Lab,
}

impl Site {
    /// A site of `count` nodes n1, n2, ... with a pool of 10.0.0.200-203 and fd00::200-203 and nothing running but the backends.
    pub(crate) fn new(name: &str, count: usize) -> Self {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let client = lab.host("client").unwrap();
        client
            .connect(&lan, "eth0", &["10.0.0.100/24", "fd00::100/64"])
            .unwrap();
        let (mut nodes, mut cables, mut backends) = (Vec::new(), Vec::new(), Vec::new());
        let program = crate::backend();
        for number in 1..=count {
            let host = lab.host(&format!("n{number}")).unwrap();
            let (four, six) = (format!("10.0.0.{number}/24"), format!("fd00::{number}/64"));
            cables.push(host.connect(&lan, "eth0", &[&four, &six]).unwrap());
            let addresses = [
                socket(&format!("10.0.0.{number}"), 8080),
                socket(&format!("fd00::{number}"), 8080),
            ];
            backends.push(host.backend(&program, host.name(), &addresses).unwrap());
            nodes.push(host);
        }
        let site = Self {
            client,
            nodes,
            cables,
            backends: RefCell::new(backends),
            lab,
        };
        fs::create_dir(site.manifests()).unwrap();
        site.pool("10.0.0.200-10.0.0.203");
        for number in 1..=count {
            site.node(number);
        }
        site
    }

    /// The shared directory.
    pub(crate) fn manifests(&self) -> PathBuf {
        self.lab.directory().join("manifests")
    }

    /// The shared state file.
    pub(crate) fn state(&self) -> PathBuf {
        self.lab.directory().join("state.json")
    }

    /// Puts a manifest there, as a careful writer does.
    pub(crate) fn write(&self, name: &str, text: &str) {
        replace(&self.manifests().join(name), text);
    }

    /// Removes a manifest.
    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.manifests().join(name)).unwrap();
    }

    /// The pool of IPv4 addresses, beside fd00::200-203, and an advertisement.
    pub(crate) fn pool(&self, addresses: &str) {
        let addresses = format!("'{addresses}', 'fd00::200-fd00::203'");
        let manifests = [pool("first", &addresses), l2_advertisement("all")];
        self.write("pool.yaml", &file(&manifests));
    }

    /// The manifest of a node.
    pub(crate) fn node(&self, number: usize) {
        let text = node(&format!("n{number}"), "");
        self.write(&format!("node{number}.yaml"), &text);
    }

    /// A Service of both families on port 80, TCP and UDP, with these nodes' backends; `extra` goes into its spec.
    pub(crate) fn service(&self, name: &str, endpoints: &[usize], extra: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec:\n  type: LoadBalancer\n  \
             ipFamilyPolicy: RequireDualStack\n  ports:\n  - {{name: t, port: 80}}\n  \
             - {{name: u, port: 80, protocol: UDP}}\n{extra}"
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
            let ports =
                "{name: t, port: 8080, protocol: TCP}, {name: u, port: 8080, protocol: UDP}";
            endpoint_slice(name, family, &endpoints, ports)
        };
        let slices = [slice("IPv4", "10.0.0."), slice("IPv6", "fd00::")];
        self.write(&format!("{name}-endpoints.yaml"), &file(&slices));
    }

    /// Starts ironlb on a node, with forwarding; the first allocates, the others follow.
    pub(crate) fn start(&self, number: usize) -> Process {
        let follow: &[&str] = if number == 1 { &[] } else { &["--follow"] };
        self.start_with(number, follow)
    }

    pub(crate) fn start_with(&self, number: usize, arguments: &[&str]) -> Process {
        let mut command = self.command(number);
        command.args(["--forward", "nftables"]).args(arguments);
        let process = self.nodes[number - 1].spawn_as("ironlb", command).unwrap();
        process.wait_for_line("started", LIMIT).unwrap();
        process
    }

    /// The message of an ironlb that refuses to start on the first node.
    pub(crate) fn refusal(&self) -> String {
        let output = self.nodes[0].run(&mut self.command(1)).unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }

    fn command(&self, number: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ironlb"));
        command.arg("standalone").arg("-f").arg(self.manifests());
        command.arg("--state").arg(self.state());
        command.args(["--node", &format!("n{number}")]);
        command
    }

    /// Ends a node's backend.
    pub(crate) fn end_backend(&self, number: usize) {
        self.backends.borrow()[number - 1].kill().unwrap();
    }

    /// The addresses of a Service by the state file, once it has some.
    pub(crate) fn addresses(&self, service: &str) -> Vec<IpAddr> {
        eventually_ok(&format!("{service} has addresses"), LIMIT, || {
            let found = allocations(&self.state())
                .into_iter()
                .find(|(name, _)| name == service);
            found
                .map(|(_, addresses)| addresses)
                .ok_or("not in the state file")
        })
        .unwrap()
    }

    /// Waits until the client is answered at an address, and gives the backend's name.
    pub(crate) fn reach(&self, address: IpAddr) -> String {
        let server = SocketAddr::new(address, 80);
        eventually_ok(&format!("{address} is served"), LIMIT, || {
            self.client.tcp_get(server)
        })
        .unwrap()
        .backend
    }

    /// Waits until nobody answers for an address on the wire.
    pub(crate) fn unheard(&self, address: IpAddr) {
        eventually(&format!("nobody answers for {address}"), LIMIT, || {
            self.client.forget_neighbour(address).is_ok()
                && self.client.who_has(address).unwrap().is_none()
        })
        .unwrap();
    }

    /// What nft says of a node's rules.
    pub(crate) fn rules(&self, number: usize) -> String {
        let output = self.nodes[number - 1]
            .run(Command::new("nft").args(["list", "ruleset"]))
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

/// What a state file says: Services of the default namespace and their addresses.
pub(crate) fn allocations(path: &Path) -> Vec<(String, Vec<IpAddr>)> {
    let Ok(bytes) = fs::read(path) else {
        return Vec::new();
    };
    let state: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
    let entry = |entry: &serde_json::Value| {
        let name = entry["service"]
            .as_str()
            .unwrap()
            .trim_start_matches("default/")
            .to_owned();
        let ips = entry["ips"].as_array().unwrap().iter();
        (
            name,
            ips.map(|ip| ip.as_str().unwrap().parse().unwrap())
                .collect(),
        )
    };
    state["allocations"]
        .as_array()
        .unwrap()
        .iter()
        .map(entry)
        .collect()
}

/// Writes beside the file and renames.
pub(crate) fn replace(path: &Path, text: &str) {
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text).unwrap();
    fs::rename(temporary, path).unwrap();
}

pub(crate) fn socket(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}
