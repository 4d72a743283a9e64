//! What an operator sees of the peers of a node.

use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{Process, eventually, needs_the_lab};

use super::fabric::{Fabric, LIMIT};
use crate::standalone::metrics::value;
use crate::standalone::site::socket;

/// A node that shows its metrics.
struct Observed {
    fabric: Fabric,
    running: Process,
}

impl Observed {
    fn start(fabric: Fabric) -> Self {
        let running = fabric.start_with(1, &["--metrics", "127.0.0.1:7472"]);
        Self { fabric, running }
    }

    fn metrics(&self) -> String {
        let server = socket("127.0.0.1", 7472);
        self.fabric.nodes[0].http_get(server, "/metrics").unwrap()
    }

    /// Waits until a metric is as wanted.
    fn becomes(&self, metric: &str, wanted: impl Fn(f64) -> bool) {
        eventually(&format!("{metric} is as wanted"), LIMIT, || {
            value(&self.metrics(), metric).is_some_and(&wanted)
        })
        .unwrap();
    }
}

/// FRR with the node as its peer and as its BFD's.
fn watched(name: &str) -> Fabric {
    let config = "bfd\n profile node\n  transmit-interval 100\n  receive-interval 100\n exit\nexit\n\
                  router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n \
                  neighbor 10.0.0.1 remote-as 64512\n neighbor 10.0.0.1 bfd profile node\n";
    let fabric = Fabric::with(name, 1, |tor, _| Router::start(tor, Frr, config).unwrap());
    let profile = "transmitInterval: 100, receiveInterval: 100, echoMode: true";
    fabric.bfd_profile("fast", profile);
    fabric
}

#[test]
fn bfd_is_counted_under_metallb_s_names_while_a_peer_is_watched() {
    needs_the_lab!();
    let fabric = watched("bgp-bfd-metrics");
    let place = "peerASN: 64513, peerAddress: 10.0.0.254";
    fabric.peer("tor", &format!("{place}, bfdProfile: fast"));
    let node = Observed::start(fabric);
    let metric = |name: &str| format!("metallb_bfd_{name}{{peer=\"10.0.0.254\"}}");
    // FRR begins its BFD session anew when that of BGP comes up.
    let bgp_up = "metallb_bgp_session_up{peer=\"10.0.0.254:179\"}";
    node.becomes(&metric("session_up_events"), |ups| ups >= 1.0);
    node.becomes(bgp_up, |up| up == 1.0);
    node.becomes(&metric("session_up"), |up| up == 1.0);
    for packets in [
        "control_packet_input",
        "control_packet_output",
        "echo_packet_input",
        "echo_packet_output",
    ] {
        node.becomes(&metric(packets), |count| count > 10.0);
    }

    let downs = metric("session_down_events");
    let before = value(&node.metrics(), &downs).unwrap();
    node.fabric.tor.process("bfdd").unwrap().kill().unwrap();
    node.becomes(&metric("session_up"), |up| up == 0.0);
    node.becomes(&downs, |downs| downs > before);

    node.fabric.peer("tor", place);
    eventually("nothing is watched any more", LIMIT, || {
        !node.metrics().contains(&metric("session_up"))
    })
    .unwrap();
    assert!(node.running.is_running());
}

#[test]
fn a_peer_that_cannot_be_spoken_with_says_what_is_missing() {
    needs_the_lab!();
    let config = "router bgp 64513\n bgp router-id 10.0.0.254\n no bgp ebgp-requires-policy\n";
    let fabric = Fabric::new("bgp-waiting", 1, config);
    fabric.peer("tor", "peerASN: 64513, interface: eth9");
    let node = Observed::start(fabric);
    let says = |what: &str| node.running.wait_for_line(what, LIMIT).unwrap();
    let up = |interface: &str| format!("metallb_bgp_session_up{{peer=\"{interface}:179\"}}");
    let line = says("BGP peer waits");
    assert!(
        line.contains("there is no interface \\\"eth9\\\""),
        "{line}"
    );
    node.becomes(&up("eth9"), |up| up == 0.0);

    node.fabric.peer("tor", "peerASN: 64513, interface: eth0");
    says("no router is heard on the interface \\\"eth0\\\"");
    node.becomes(&up("eth0"), |up| up == 0.0);

    node.fabric
        .tor
        .configure("router bgp 64513\n neighbor eth0 interface remote-as 64512\n")
        .unwrap();
    says("BGP peer waits no longer");
    node.becomes(&up("eth0"), |up| up == 1.0);
    assert!(!node.metrics().contains(&up("eth9")));
}
