//! BFD sessions with the routers that operators have.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use ironlb_bfd::{Key, Reason, Settings, Status};
use ironlb_lab::router::{Bird, Frr, Router};
use ironlb_lab::{Host, Lab, Link, eventually_ok, needs_the_lab};
use ironlb_model::BfdProfile;
use ironlb_speaker::bfd::{self, Client, Event, Punctuality, Running};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::UnboundedReceiver;

const NODE: [&str; 2] = ["10.0.0.1", "fd00::1"];
const TOR: [&str; 2] = ["10.0.0.2", "fd00::2"];
const LIMIT: Duration = Duration::from_secs(20);
const PEERS: &str = "show bfd peers json";

/// BFD as a speaker has it, on a host.
struct TestBfd {
    client: Client,
    events: UnboundedReceiver<Event>,
    running: Running,
    runtime: Runtime,
}

impl TestBfd {
    fn start(host: &Host) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (client, events, running) = host.in_namespace(bfd::start).unwrap().unwrap();
        Self {
            client,
            events,
            running,
            runtime,
        }
    }

    /// The next event, and how long it took from now.
    fn next(&mut self) -> (Event, Duration) {
        let start = Instant::now();
        let next = async { tokio::time::timeout(LIMIT, self.events.recv()).await };
        let event = self.runtime.block_on(next).expect("an event in time");
        (event.unwrap(), start.elapsed())
    }

    /// Waits until each of these sessions is up.
    fn wait_up(&mut self, keys: &[Key]) {
        let mut waiting = keys.to_vec();
        while !waiting.is_empty() {
            match self.next().0 {
                Event::Up(key) => waiting.retain(|other| *other != key),
                other => panic!("{other:?}"),
            }
        }
    }

    /// Waits until each of these sessions is down, and gives the longest time and the reasons.
    fn wait_down(&mut self, keys: &[Key]) -> (Duration, Vec<Reason>) {
        let start = Instant::now();
        let mut reasons = Vec::new();
        while reasons.len() < keys.len() {
            match self.next().0 {
                Event::Down(key, reason) if keys.contains(&key) => reasons.push(reason),
                other => panic!("{other:?}"),
            }
        }
        (start.elapsed(), reasons)
    }

    /// The detection time and the transmission interval of a session.
    fn intervals(&self, key: Key) -> (Duration, Duration) {
        self.ask(move |view| {
            (view.key == key).then(|| {
                let session = view.session;
                (session.detection_time(), session.transmit_interval())
            })
        })
    }

    /// What a question gives for the first session that it gives anything for.
    fn ask<T: Send + 'static>(
        &self,
        question: impl Fn(ironlb_bfd::View<'_>) -> Option<T> + Send + 'static,
    ) -> T {
        let answer = self
            .client
            .ask(move |_, sessions, _| sessions.views().find_map(question));
        self.runtime.block_on(answer).unwrap().unwrap()
    }

    fn punctuality(&self) -> Punctuality {
        let answer = self.client.ask(|_, _, punctuality| *punctuality);
        self.runtime.block_on(answer).unwrap()
    }

    fn no_event_for(&mut self, period: Duration) {
        let next = async { tokio::time::timeout(period, self.events.recv()).await };
        if let Ok(event) = self.runtime.block_on(next) {
            panic!("{event:?}");
        }
    }

    /// A planned stop, and how long it took.
    fn stop(self) -> Duration {
        let start = Instant::now();
        self.runtime.block_on(self.running.stop()).unwrap();
        start.elapsed()
    }
}

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

fn with_echo(profile: BfdProfile) -> Settings {
    let profile = BfdProfile {
        echo: true,
        ..profile
    };
    Settings::new(&profile, false)
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
    Router::start(tor, Frr, &config).unwrap()
}

#[test]
fn frr_and_we_agree_on_intervals_and_change_them_without_a_flap() {
    needs_the_lab!();
    let segment = Segment::new("bfd-frr");
    let lines = "  transmit-interval 120\n  receive-interval 150\n  detect-multiplier 4\n";
    let tor = frr(&segment.tor, lines);
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(100, 200, 5));
    }
    node.wait_up(&keys());
    let seen = |transmit: u64, receive: u64, multiplier: u64| {
        move |peers: &Value| {
            NODE.iter().all(|address| {
                let peer = peer(peers, address);
                peer["status"] == "up"
                    && peer["remote-transmit-interval"] == transmit
                    && peer["remote-receive-interval"] == receive
                    && peer["remote-detect-multiplier"] == multiplier
            })
        }
    };
    tor.wait_for("it sees our intervals", PEERS, LIMIT, seen(100, 200, 5))
        .unwrap();
    let ms = Duration::from_millis;
    for key in keys() {
        // FRR's multiplier times the slower of its and our rate; the slower of our and its rate.
        agreed(&node, key, ms(4 * 200), ms(150));
        node.client.want(key, every(300, 250, 3));
    }
    tor.wait_for("it sees the new ones", PEERS, LIMIT, seen(300, 250, 3))
        .unwrap();
    for key in keys() {
        agreed(&node, key, ms(4 * 250), ms(300));
    }
    tor.configure("bfd\n profile node\n  transmit-interval 400\n  receive-interval 500\n")
        .unwrap();
    for key in keys() {
        agreed(&node, key, ms(4 * 400), ms(500));
        node.client.want(key, every(50, 50, 3));
    }
    tor.wait_for("and the fastest", PEERS, LIMIT, seen(50, 50, 3))
        .unwrap();
    node.no_event_for(Duration::from_secs(3));
}

/// Waits until a session goes by these intervals.
fn agreed(node: &TestBfd, key: Key, detection: Duration, transmit: Duration) {
    eventually_ok("both agree", LIMIT, || {
        let intervals = node.intervals(key);
        let expected = intervals == (detection, transmit);
        expected
            .then_some(())
            .ok_or_else(|| format!("{intervals:?}"))
    })
    .unwrap();
}

#[test]
fn a_dead_frr_and_a_cut_cable_are_noticed_within_the_detection_time() {
    needs_the_lab!();
    let segment = Segment::new("bfd-cut");
    let lines = "  transmit-interval 50\n  receive-interval 50\n  detect-multiplier 3\n";
    let tor = frr(&segment.tor, lines);
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(50, 50, 3));
    }
    node.wait_up(&keys());
    settle(&node);
    let expired = vec![Reason::DetectionTimeExpired; 2];

    segment.cable.unplug().unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("cable cut: down after {after:?} at 50 ms x 3");
    assert_eq!(reasons, expired);
    assert!(after < Duration::from_millis(250), "{after:?}");
    tor.wait_for("it has noticed too", PEERS, LIMIT, |peers| {
        peer(peers, NODE[0])["status"] == "down"
    })
    .unwrap();
    segment.cable.plug().unwrap();
    node.wait_up(&keys());
    settle(&node);

    tor.process("bfdd").unwrap().kill().unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("bfdd killed: down after {after:?} at 50 ms x 3");
    assert_eq!(reasons, expired);
    assert!(after < Duration::from_millis(250), "{after:?}");
}

/// Waits until both sides have gone over to the fast rate.
fn settle(node: &TestBfd) {
    for key in keys() {
        agreed(
            node,
            key,
            Duration::from_millis(150),
            Duration::from_millis(50),
        );
    }
}

#[test]
fn a_planned_stop_is_told_to_frr_and_frr_s_to_us() {
    needs_the_lab!();
    let segment = Segment::new("bfd-stop");
    let tor = frr(&segment.tor, "");
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(300, 300, 3));
    }
    node.wait_up(&keys());
    tor.configure(&format!(
        "bfd\n peer {} interface eth0\n  shutdown\n",
        TOR_SEES_V4
    ))
    .unwrap();
    let (_, reasons) = node.wait_down(&[key(TOR[0])]);
    assert_eq!(reasons, [Reason::NeighborAdminDown]);
    assert!(!reasons[0].ends_clients());
    tor.configure(&format!(
        "bfd\n peer {} interface eth0\n  no shutdown\n",
        TOR_SEES_V4
    ))
    .unwrap();
    node.wait_up(&[key(TOR[0])]);

    let took = node.stop();
    println!("planned stop of two sessions: {took:?}");
    tor.wait_for("it was told", PEERS, LIMIT, |peers| {
        NODE.iter().all(|address| {
            let peer = peer(peers, address);
            peer["status"] == "down"
                && peer["remote-diagnostic"] == "administratively down"
                && peer["diagnostic"] == "neighbor signaled session down"
        })
    })
    .unwrap();
}

const TOR_SEES_V4: &str = NODE[0];

#[test]
fn a_session_that_is_taken_away_is_told_and_the_other_stays() {
    needs_the_lab!();
    let segment = Segment::new("bfd-unwant");
    let tor = frr(&segment.tor, "");
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(300, 300, 3));
    }
    node.wait_up(&keys());
    let [v4, v6] = keys();
    node.client.unwant(v4);
    assert_eq!(node.next().0, Event::Down(v4, Reason::AdminDown));
    let (event, after) = node.next();
    assert_eq!(event, Event::Closed(v4));
    println!("session closed after {after:?}");
    tor.wait_for("it was told", PEERS, LIMIT, |peers| {
        peer(peers, NODE[0])["status"] == "down" && peer(peers, NODE[1])["status"] == "up"
    })
    .unwrap();
    node.no_event_for(Duration::from_secs(1));
    assert_eq!(
        node.ask(move |view| (view.key == v6).then_some(view.session.status())),
        Status::Up
    );
    node.client.want(v4, every(300, 300, 3));
    node.wait_up(&[v4]);
}

#[test]
fn the_passive_side_waits_for_the_other_to_begin() {
    needs_the_lab!();
    let segment = Segment::new("bfd-passive");
    let tor = frr(&segment.tor, "  passive-mode\n");
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        let passive = Settings {
            passive: true,
            ..every(100, 100, 3)
        };
        node.client.want(key, passive);
    }
    node.no_event_for(Duration::from_secs(3));
    assert_eq!(node.ask(|view| Some(view.counters.sent)), 0);
    tor.configure("bfd\n profile node\n  no passive-mode\n")
        .unwrap();
    node.wait_up(&keys());
}

#[test]
fn link_local_peers_are_found_by_their_interface() {
    needs_the_lab!();
    let segment = Segment::new("bfd-link-local");
    let (near, far) = ("fe80::a:1", "fe80::a:2");
    for (host, address) in [(&segment.node, near), (&segment.tor, far)] {
        host.add_address("eth0", &format!("{address}/64")).unwrap();
    }
    let config = format!("bfd\n peer {near} local-address {far} interface eth0\n");
    let tor = Router::start(&segment.tor, Frr, &config).unwrap();
    let mut node = TestBfd::start(&segment.node);
    let key = Key {
        local: Some(near.parse().unwrap()),
        interface: Some(segment.cable.index()),
        ..key(far)
    };
    node.client.want(key, every(100, 100, 3));
    node.wait_up(&[key]);
    tor.process("bfdd").unwrap().kill().unwrap();
    let (_, reasons) = node.wait_down(&[key]);
    assert_eq!(reasons, [Reason::DetectionTimeExpired]);
}

#[test]
fn a_port_that_another_process_has_is_taken_when_it_is_free() {
    needs_the_lab!();
    let segment = Segment::new("bfd-port");
    let occupied = segment
        .node
        .in_namespace(|| std::net::UdpSocket::bind("0.0.0.0:3784").unwrap())
        .unwrap();
    let _tor = frr(&segment.tor, "");
    let mut node = TestBfd::start(&segment.node);
    let [v4, v6] = keys();
    // The other family is served, often enough that nothing waits for a quiet moment.
    node.client.want(v6, every(20, 20, 10));
    node.client.want(v4, every(300, 300, 3));
    node.wait_up(&[v6]);
    node.no_event_for(Duration::from_secs(2));
    drop(occupied);
    node.wait_up(&[v4]);
}

#[test]
fn over_several_hops_the_least_ttl_decides() {
    needs_the_lab!();
    let lab = Lab::new("bfd-multihop").unwrap();
    let (left, right) = (lab.switch("left").unwrap(), lab.switch("right").unwrap());
    let node = lab.host("node").unwrap();
    let (middle, tor) = (lab.router("middle").unwrap(), lab.router("tor").unwrap());
    node.connect(&left, "eth0", &["10.1.0.1/24", "fd01::1/64"])
        .unwrap();
    middle
        .connect(&left, "eth0", &["10.1.0.254/24", "fd01::254/64"])
        .unwrap();
    middle
        .connect(&right, "eth1", &["10.2.0.254/24", "fd02::254/64"])
        .unwrap();
    tor.connect(&right, "eth0", &["10.2.0.2/24", "fd02::2/64"])
        .unwrap();
    for (host, net) in [(&node, 1), (&tor, 2)] {
        let other = 3 - net;
        host.add_route(&format!("10.{other}.0.0/24"), &format!("10.{net}.0.254"))
            .unwrap();
        host.add_route(&format!("fd0{other}::/64"), &format!("fd0{net}::254"))
            .unwrap();
    }
    let config = "bfd\n peer 10.1.0.1 multihop local-address 10.2.0.2\n exit\n \
                  peer fd01::1 multihop local-address fd02::2\n exit\n";
    let frr = Router::start(&tor, Frr, config).unwrap();
    let mut bfd = TestBfd::start(&node);
    let keys = [("10.2.0.2", "10.1.0.1"), ("fd02::2", "fd01::1")].map(|(peer, local)| Key {
        local: Some(local.parse::<IpAddr>().unwrap()),
        multihop: true,
        ..key(peer)
    });
    // One router between: 254 arrives.
    for key in keys {
        bfd.client.want(key, every(100, 100, 3));
    }
    bfd.wait_up(&keys);
    frr.wait_for("it is up", PEERS, LIMIT, |peers| {
        peers
            .as_array()
            .unwrap()
            .iter()
            .all(|peer| peer["status"] == "up" && peer["multihop"] == true)
    })
    .unwrap();
    for key in keys {
        let nearer = Settings {
            minimum_ttl: 255,
            ..every(100, 100, 3)
        };
        bfd.client.want(key, nearer);
    }
    let (_, reasons) = bfd.wait_down(&keys);
    assert_eq!(reasons, [Reason::DetectionTimeExpired; 2]);
    for key in keys {
        bfd.client.want(key, every(100, 100, 3));
    }
    bfd.wait_up(&keys);
}

#[test]
fn echo_packets_come_back_from_frr_s_kernel_and_a_router_that_forwards_no_more_is_down() {
    needs_the_lab!();
    let segment = Segment::new("bfd-echo");
    let lines = "  transmit-interval 100\n  receive-interval 100\n";
    let tor = frr(&segment.tor, lines);
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, with_echo(profile(100, 100, 3)));
    }
    node.wait_up(&keys());
    for key in keys() {
        eventually_ok("echo packets come back", LIMIT, || {
            let echo = node.ask(move |view| (view.key == key).then(|| view.session.echo()));
            let proven = echo == Some((Duration::from_millis(50), true));
            proven.then_some(()).ok_or_else(|| format!("{echo:?}"))
        })
        .unwrap();
    }
    // Control packets are slow now, both sides agreed on that.
    tor.wait_for("it sends slowly", PEERS, LIMIT, |peers| {
        NODE.iter()
            .all(|address| peer(peers, address)["remote-receive-interval"] == 1_000)
    })
    .unwrap();
    node.no_event_for(Duration::from_secs(3));
    let counters = node.ask(|view| Some(view.counters));
    println!(
        "echo packets: {} sent, {} came back",
        counters.echo_sent, counters.echo_received
    );
    assert!(counters.echo_received > 50);

    segment.tor.sysctl("net/ipv4/ip_forward", "0").unwrap();
    segment
        .tor
        .sysctl("net/ipv6/conf/all/forwarding", "0")
        .unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("forwarding switched off: down after {after:?} at echo 50 ms x 3");
    assert_eq!(reasons, [Reason::EchoFailed; 2]);
    assert!(after < Duration::from_millis(500), "{after:?}");
    segment.tor.forward().unwrap();
    node.wait_up(&keys());
    node.no_event_for(Duration::from_secs(1));
}

#[test]
fn frr_s_echo_packets_are_sent_back_by_our_kernel() {
    needs_the_lab!();
    let segment = Segment::new("bfd-reflect");
    let [v4, _] = NODE;
    let config = format!(
        "bfd\n profile node\n  echo-mode\n  echo transmit-interval 50\n exit\n \
         peer {v4} interface eth0\n  profile node\n exit\n"
    );
    let tor = Router::start(&segment.tor, Frr, &config).unwrap();
    let mut node = TestBfd::start(&segment.node);
    let echo = with_echo(profile(300, 300, 3));
    node.client.want(key(TOR[0]), echo);
    node.wait_up(&[key(TOR[0])]);
    tor.wait_for(
        "its echo packets return",
        "show bfd peers counters json",
        LIMIT,
        |peers| {
            let peer = peer(peers, v4);
            peer["echo-packet-input"].as_u64() > Some(60)
        },
    )
    .unwrap();
    node.no_event_for(Duration::from_secs(2));
}

#[test]
fn bird_comes_up_changes_and_goes() {
    needs_the_lab!();
    let segment = Segment::new("bfd-bird");
    let config = |interval: u32| {
        format!(
            "router id 10.0.0.2;\nprotocol device {{}}\nprotocol bfd {{\n \
             interface \"eth0\" {{ min rx interval {interval} ms; min tx interval {interval} ms; multiplier 3; }};\n \
             neighbor {} dev \"eth0\";\n neighbor {} dev \"eth0\";\n}}\n",
            NODE[0], NODE[1]
        )
    };
    let bird = Router::start(&segment.tor, Bird, &config(100)).unwrap();
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(50, 80, 5));
    }
    node.wait_up(&keys());
    let sessions = "show bfd sessions";
    let all = |interval: &'static str, timeout: &'static str| {
        move |sessions: &Value| {
            let sessions = sessions.as_array().unwrap();
            sessions.len() == 2
                && sessions.iter().all(|session| {
                    session["state"] == "Up"
                        && session["interval"] == interval
                        && session["timeout"] == timeout
                })
        }
    };
    // The slower of both rates; our multiplier times the slower of ours and its.
    bird.wait_for("both are up", sessions, LIMIT, all("0.100", "0.500"))
        .unwrap();
    for key in keys() {
        agreed(
            &node,
            key,
            Duration::from_millis(300),
            Duration::from_millis(100),
        );
        node.client.want(key, every(200, 150, 3));
    }
    bird.wait_for("the new ones", sessions, LIMIT, all("0.150", "0.600"))
        .unwrap();
    bird.configure(&config(300)).unwrap();
    for key in keys() {
        agreed(
            &node,
            key,
            Duration::from_millis(900),
            Duration::from_millis(300),
        );
    }
    node.no_event_for(Duration::from_secs(2));

    bird.kill().unwrap();
    let (after, reasons) = node.wait_down(&keys());
    println!("bird killed: down after {after:?} at 300 ms x 3");
    assert_eq!(reasons, [Reason::DetectionTimeExpired; 2]);
    assert!(after < Duration::from_millis(1_000), "{after:?}");

    let bird = Router::start(&segment.tor, Bird, &config(100)).unwrap();
    node.wait_up(&keys());
    node.stop();
    bird.wait_for("it was told", sessions, LIMIT, |sessions| {
        let sessions = sessions.as_array().unwrap();
        sessions.iter().all(|session| session["state"] == "Down")
    })
    .unwrap();
}

#[test]
fn a_busy_machine_makes_no_session_flap() {
    needs_the_lab!();
    let segment = Segment::new("bfd-busy");
    let lines = "  transmit-interval 50\n  receive-interval 50\n  detect-multiplier 3\n";
    let tor = frr(&segment.tor, lines);
    let mut node = TestBfd::start(&segment.node);
    for key in keys() {
        node.client.want(key, every(50, 50, 3));
    }
    node.wait_up(&keys());
    let cores = std::thread::available_parallelism().unwrap().get();
    let burners: Vec<_> = (0..cores)
        .map(|_| {
            let mut command = std::process::Command::new("nice");
            command.args(["-n", "10", "sh", "-c", "while :; do :; done"]);
            segment.node.spawn(command).unwrap()
        })
        .collect();
    // The router's BFD is not what is tested here: it would run on a machine of its own.
    let id = tor.process("bfdd").unwrap().id().to_string();
    let mut favour = std::process::Command::new("chrt");
    favour.args(["--rr", "--pid", "1", &id]);
    assert!(segment.tor.run(&mut favour).unwrap().status.success());
    node.no_event_for(Duration::from_secs(10));
    let punctuality = node.punctuality();
    println!("{} burners: {punctuality:?}", burners.len());
    assert!(punctuality.wakes > 300);
    assert!(
        punctuality.worst < Duration::from_millis(50),
        "{punctuality:?}"
    );
    tor.wait_for(
        "it saw no flap",
        "show bfd peers counters json",
        LIMIT,
        |peers| {
            NODE.iter()
                .all(|address| peer(peers, address)["session-down"] == 0)
        },
    )
    .unwrap();
}
