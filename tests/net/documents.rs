//! The router configurations of docs/bgp.md: the real routers take them, and learn from ironlb what the text says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use ironlb_lab::manifest::{endpoint_slice, file, node};
use ironlb_lab::router::{Bird, Frr, Router, Software};
use ironlb_lab::{Host, Lab, eventually_ok, needs_the_lab};
use serde_json::Value;

const BGP: &str = include_str!("../../docs/bgp.md");
const LIMIT: Duration = Duration::from_secs(30);
const NAMES: [&str; 2] = ["minimal", "complete"];
const IPV4: &str = "192.0.2.0";
const IPV6: &str = "2001:db8::";
const DUAL: &str = "dualStackAddressFamily: true";

/// The text of the fenced block whose fence says `language name`.
fn block(language: &str, name: &str) -> &'static str {
    let fence = format!("```{language} {name}\n");
    let (_, after) = BGP.split_once(&fence).expect("such a block");
    after.split_once("```").expect("an end of the block").0
}

/// The router of the document, with its configuration `name`, and two nodes that run ironlb with that of the same name.
struct Rack {
    router: Router,
    lab: Lab,
}

impl Rack {
    fn new(software: impl Software + 'static, language: &str, name: &str) -> Self {
        let lab = Lab::new(&format!("documents-{language}-{name}")).unwrap();
        let switch = lab.switch("rack").unwrap();
        let host = lab.router("router").unwrap();
        host.connect(&switch, "eth0", &["10.0.0.254/24", "fd00::fe/64"])
            .unwrap();
        let router = Router::start(&host, software, block(language, name)).unwrap();
        let manifests = lab.directory().join("manifests");
        write_manifests(&manifests, block("yaml", name));
        for number in 1..=2 {
            let host = lab.host(&format!("n{number}")).unwrap();
            let addresses = [format!("10.0.0.{number}/24"), format!("fd00::{number}/64")];
            host.connect(&switch, "eth0", &addresses.each_ref().map(String::as_str))
                .unwrap();
            start(&host, &manifests, &lab.directory().join("state.json"));
        }
        Self { router, lab }
    }

    /// Has the nodes mark their routes as about to go.
    fn drain(&self) {
        let plain = block("yaml", "complete");
        let marked = plain.replacen(DUAL, &format!("{DUAL}\n  gracefulShutdown: true"), 1);
        assert_ne!(plain, marked);
        let path = self.lab.directory().join("manifests/configuration.yaml");
        fs::write(path, marked).unwrap();
    }

    /// Waits until the kernel of the router divides what is for `address` among as many next hops.
    fn wait_for_paths(&self, address: &str, count: usize) {
        eventually_ok(&format!("{count} paths to {address}"), LIMIT, || match self
            .kernel_paths(address)
        {
            table if table.matches("nexthop ").count() == count => Ok(()),
            table => Err(table),
        })
        .unwrap();
    }

    fn kernel_paths(&self, address: &str) -> String {
        let family = if address.contains(':') { "-6" } else { "-4" };
        let mut command = Command::new("ip");
        command.args([family, "route", "show", address]);
        let output = self.router.host().run(&mut command).unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

fn write_manifests(directory: &Path, configuration: &str) {
    fs::create_dir(directory).unwrap();
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
    write("configuration.yaml", configuration);
    write("nodes.yaml", &file(&[node("n1", ""), node("n2", "")]));
    let families = match configuration.contains(IPV6) {
        true => "RequireDualStack",
        false => "SingleStack",
    };
    write(
        "service.yaml",
        &format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web}}\nspec:\n  type: LoadBalancer\n  \
             ipFamilyPolicy: {families}\n  ports:\n  - {{name: t, port: 80}}\n"
        ),
    );
    let port = "{name: t, port: 8080, protocol: TCP}";
    let slice = |family, one: &str, two: &str| {
        let endpoints = [(one.to_owned(), "n1"), (two.to_owned(), "n2")];
        endpoint_slice("web", family, &endpoints, port)
    };
    let slices = [
        slice("IPv4", "10.0.0.1", "10.0.0.2"),
        slice("IPv6", "fd00::1", "fd00::2"),
    ];
    write("endpoints.yaml", &file(&slices));
}

fn start(node: &Host, manifests: &Path, state: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ironlb"));
    command.arg("standalone").arg("-f").arg(manifests);
    command
        .arg("--state")
        .arg(state)
        .args(["--node", node.name()]);
    if node.name() != "n1" {
        command.arg("--follow");
    }
    node.spawn_as("ironlb", command).unwrap();
}

#[test]
fn frr_takes_its_examples_and_divides_traffic_among_the_nodes() {
    needs_the_lab!();
    Rack::new(Frr, "frr", "minimal").wait_for_paths(IPV4, 2);
    let rack = Rack::new(Frr, "frr", "complete");
    rack.wait_for_paths(IPV4, 2);
    rack.wait_for_paths(IPV6, 2);
    rack.router
        .wait_for("BFD sessions", "show bfd peers json", LIMIT, |peers| {
            let peers = peers.as_array().unwrap();
            peers.len() == 2 && peers.iter().all(|peer| peer["status"] == "up")
        })
        .unwrap();
    rack.drain();
    let question = "show bgp ipv4 unicast 192.0.2.0/32 json";
    rack.router
        .wait_for("routes of no preference", question, LIMIT, |answer| {
            let paths = answer["paths"].as_array();
            paths.is_some_and(|all| all.len() == 2 && all.iter().all(|path| path["locPrf"] == 0))
        })
        .unwrap();
}

#[test]
fn bird_takes_its_examples_and_divides_traffic_among_the_nodes() {
    needs_the_lab!();
    Rack::new(Bird, "bird", "minimal").wait_for_paths(IPV4, 2);
    let rack = Rack::new(Bird, "bird", "complete");
    rack.wait_for_paths(IPV4, 2);
    rack.wait_for_paths(IPV6, 2);
    rack.router
        .wait_for("BFD sessions", "show bfd sessions", LIMIT, |peers| {
            let peers = peers.as_array().unwrap();
            peers.len() == 2 && peers.iter().all(|peer| peer["state"] == "Up")
        })
        .unwrap();
    rack.drain();
    rack.router
        .wait_for(
            "routes of no preference",
            "show route all",
            LIMIT,
            |routes| {
                let of_nodes = |route: &&Value| route["attributes"]["BGP.as_path"] == "64512";
                let routes: Vec<&Value> =
                    routes.as_array().unwrap().iter().filter(of_nodes).collect();
                let drained = |route: &&Value| route["attributes"]["BGP.local_pref"] == "0";
                routes.len() == 4 && routes.iter().all(drained)
            },
        )
        .unwrap();
}

#[test]
fn frr_refuses_an_example_with_a_line_that_it_does_not_know() {
    needs_the_lab!();
    let lab = Lab::new("documents-refused").unwrap();
    let host = lab.router("router").unwrap();
    let config = block("frr", "minimal").replace("maximum-paths", "most-paths");
    let error = Router::start(&host, Frr, &config).unwrap_err();
    assert!(error.to_string().contains("most-paths"), "{error}");
}

#[test]
fn every_example_for_frr_and_bird_is_one_that_is_tried() {
    for language in ["frr", "bird"] {
        let fence = format!("```{language}");
        let fences = BGP.lines().filter_map(|line| line.strip_prefix(&fence));
        let names: Vec<&str> = fences.map(str::trim).collect();
        assert_eq!(names, NAMES, "{language}");
    }
}
