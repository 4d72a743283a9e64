//! BFD sessions with the routers that operators have.

use std::process::Command;
use std::time::Duration;

use ironlb_bfd::{Key, Settings};
use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{Host, Lab, Link};
use ironlb_model::BfdProfile;
use node::TestBfd;
use serde_json::Value;

mod agreement;
mod bird;
mod echo;
mod failure;
mod leaving;
mod multihop;
mod node;
mod pace;

const NODE: [&str; 2] = ["10.0.0.1", "fd00::1"];
const TOR: [&str; 2] = ["10.0.0.2", "fd00::2"];
const LIMIT: Duration = Duration::from_secs(20);
/// Far sooner than a session comes down in any other way, and what a busy machine may need to tell the test.
const SOON: Duration = Duration::from_secs(1);
const PEERS: &str = "show bfd peers json";

/// A node and a router on one segment.
struct Segment {
    node: Host,
    cable: Link,
    tor: Host,
    // Ends everything in it when dropped, so it comes last.
    _lab: Lab,
}

impl Segment {
    fn new(name: &str) -> Self {
        let lab = Lab::new(name).unwrap();
        let lan = lab.switch("lan").unwrap();
        let (node, tor) = (lab.router("node").unwrap(), lab.router("tor").unwrap());
        let [v4, v6] = NODE;
        let cable = node
            .connect(&lan, "eth0", &[&format!("{v4}/24"), &format!("{v6}/64")])
            .unwrap();
        let [v4, v6] = TOR;
        tor.connect(&lan, "eth0", &[&format!("{v4}/24"), &format!("{v6}/64")])
            .unwrap();
        Self {
            node,
            cable,
            tor,
            _lab: lab,
        }
    }
}

/// A session of each family with an FRR whose profile has these lines, up; ours are by these settings.
fn watched(name: &str, lines: &str, settings: Settings) -> (Segment, Router, TestBfd) {
    let segment = Segment::new(name);
    let tor = frr(&segment.tor, lines);
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, settings.clone());
    }
    node.wait_up(&keys());
    (segment, tor, node)
}

fn key(peer: &str) -> Key {
    Key {
        peer: peer.parse().unwrap(),
        local: None,
        interface: None,
        vrf: None,
        multihop: false,
    }
}

fn keys() -> [Key; 2] {
    TOR.map(key)
}

fn every(transmit: u64, receive: u64, detect_multiplier: u8) -> Settings {
    Settings::new(&profile(transmit, receive, detect_multiplier), false)
}

fn passive(settings: Settings) -> Settings {
    Settings {
        passive: true,
        ..settings
    }
}

fn profile(transmit: u64, receive: u64, detect_multiplier: u8) -> BfdProfile {
    BfdProfile {
        name: "fast".into(),
        detect_multiplier,
        receive_interval: Duration::from_millis(receive),
        transmit_interval: Duration::from_millis(transmit),
        echo_interval: Duration::from_millis(50),
        echo: false,
        passive: false,
        minimum_ttl: 254,
    }
}

/// What FRR says of one of its peers.
fn peer<'a>(peers: &'a Value, address: &str) -> &'a Value {
    let all = peers.as_array().unwrap();
    let found = all.iter().find(|peer| peer["peer"] == address);
    found.unwrap_or(&Value::Null)
}

/// FRR with the node as its peer by both families, and these lines in the profile.
fn frr(tor: &Host, lines: &str) -> Router {
    let [v4, v6] = NODE;
    let config = format!(
        "bfd\n profile node\n{lines} exit\n peer {v4} interface eth0\n  profile node\n exit\n \
         peer {v6} interface eth0\n  profile node\n exit\n"
    );
    let router = Router::start(tor, Frr, &config).unwrap();
    // The router's BFD is not what is tested: it would run on a machine of its own. Where it may not come first it has to do without.
    let id = router.process("bfdd").unwrap().id().to_string();
    let _ = tor.run(Command::new("chrt").args(["--rr", "--pid", "1", &id]));
    router
}
