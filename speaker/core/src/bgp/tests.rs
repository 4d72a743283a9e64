//! A node and the routers it peers with, in virtual time: the routers are our own engine with a table of what they heard.

mod router;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::{Connection, State};
use ironlb_model::bgp::{Password, PeerEndpoint};
use ironlb_model::node::EXCLUDE_LABEL;
use ironlb_model::{BfdProfile, BgpPeer, Config, Link, Name, Node, Time};

use crate::fixtures::{bgp, config, ip, key, link, node, peer, pool, service, slice};
use crate::peers::{Distance, News, Passphrase, PeerInput, PeerOutput, Secret, Target};
use crate::{Input, Output, Settings, Speaker};
use router::Router;

/// One node, and a router behind each of its peers.
struct Rig {
    now: Time,
    speaker: Speaker,
    routers: BTreeMap<Name, Router>,
    /// Connections under way, and whose they are.
    open: BTreeMap<(Name, Connection), u64>,
    connections: u64,
    said: Vec<Output>,
}

impl Rig {
    /// A node that knows nothing yet.
    fn new(names: &[&str]) -> Self {
        let speaker = Speaker::new(Settings {
            node: "n1".into(),
            class: None,
            ignore_exclude_label: false,
            drain_taints: [DRAIN_TAINT.to_owned()].into(),
            excluded_interfaces: Vec::new(),
        });
        let routers = names.iter().map(|name| ((*name).into(), Router::new()));
        Self {
            now: Time::from_secs(100),
            speaker,
            routers: routers.collect(),
            open: BTreeMap::new(),
            connections: 0,
            said: Vec::new(),
        }
    }

    /// One with a Service that has an address and an endpoint here, announced to a router.
    fn announcing(config: Config) -> Self {
        let names: Vec<Name> = config.peers.keys().cloned().collect();
        let mut rig = Self::new(&names.iter().map(|name| &**name).collect::<Vec<_>>());
        rig.feed(Input::LinkApplied(link_to_peers()));
        rig.feed(Input::Config(Arc::new(config)));
        rig.feed(Input::NodeApplied(node("n1")));
        rig.feed(applied("web", "192.0.2.1"));
        rig.feed(Input::EndpointsApplied(slice("web", "web", &["n1"])));
        rig.feed(Input::Synced);
        rig.run(Duration::from_secs(1));
        rig
    }

    fn feed(&mut self, input: Input) {
        self.speaker.handle(self.now, input);
        self.settle();
    }

    /// Lets time pass.
    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let routers = self.routers.values().filter_map(|one| one.peer.deadline());
            let next = routers.chain(self.speaker.deadline()).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            for router in self.routers.values_mut() {
                router.peer.handle(self.now, ironlb_bgp::Input::Tick);
            }
            self.feed(Input::Tick);
        }
        self.now = until;
    }

    /// Carries everything until nothing moves.
    fn settle(&mut self) {
        loop {
            let mut moved = false;
            while let Some(output) = self.speaker.poll() {
                moved = true;
                if let Output::Peer(output) = &output {
                    self.carry(output);
                }
                self.said.push(output);
            }
            let names: Vec<Name> = self.routers.keys().cloned().collect();
            for name in names {
                while let Some(output) = self.routers.get_mut(&name).unwrap().peer.poll() {
                    moved = true;
                    self.carry_back(&name, output);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn carry(&mut self, output: &PeerOutput) {
        match output {
            PeerOutput::Connect {
                peer,
                connection,
                target,
            } => self.connect(peer, *connection, target),
            PeerOutput::Send {
                peer,
                connection,
                bytes,
            } => {
                let Some(number) = self.open.get(&(peer.clone(), *connection)) else {
                    return;
                };
                self.routers
                    .get_mut(peer)
                    .unwrap()
                    .hear(self.now, *number, bytes);
                let input = PeerInput::Drained {
                    peer: peer.clone(),
                    connection: *connection,
                };
                self.speaker.handle(self.now, Input::Peer(input));
            }
            PeerOutput::Close { peer, connection } => {
                if let Some(number) = self.open.remove(&(peer.clone(), *connection)) {
                    self.routers.get_mut(peer).unwrap().lose(self.now, number);
                }
            }
            _ => {}
        }
    }

    fn connect(&mut self, peer: &Name, connection: Connection, target: &Target) {
        let (local, remote) = (socket("198.51.100.10:40000"), target.remote);
        let router = self.routers.get_mut(peer).unwrap();
        self.connections += 1;
        let number = self.connections;
        self.open.insert((peer.clone(), connection), number);
        router.peer.handle(
            self.now,
            ironlb_bgp::Input::Accepted {
                number,
                local: remote,
                remote: local,
            },
        );
        let input = PeerInput::Connected {
            peer: peer.clone(),
            connection,
            local,
            remote,
        };
        self.speaker.handle(self.now, Input::Peer(input));
    }

    fn carry_back(&mut self, name: &Name, output: ironlb_bgp::Output) {
        let of = |connection: Connection| {
            let ours = self
                .open
                .iter()
                .find(|((peer, _), number)| peer == name && **number == connection.number);
            ours.map(|((_, ours), _)| *ours)
        };
        match output {
            ironlb_bgp::Output::Send { connection, bytes } => {
                if let Some(ours) = of(connection) {
                    self.speaker.receive(self.now, name, ours, &bytes);
                }
                let router = self.routers.get_mut(name).unwrap();
                let drained = ironlb_bgp::Input::Drained(connection);
                router.peer.handle(self.now, drained);
            }
            ironlb_bgp::Output::Close(connection) => {
                if let Some(ours) = of(connection) {
                    self.open.remove(&(name.clone(), ours));
                    let input = PeerInput::Closed {
                        peer: name.clone(),
                        connection: ours,
                        error: None,
                    };
                    self.speaker.handle(self.now, Input::Peer(input));
                }
            }
            ironlb_bgp::Output::Down(_) => self.routers.get_mut(name).unwrap().forget(),
            _ => {}
        }
    }

    /// The router's own BFD is up.
    fn reach(&mut self, name: &str) {
        let router = self.routers.get_mut(name).unwrap();
        router.peer.handle(self.now, ironlb_bgp::Input::BfdUp);
    }

    fn router(&self, name: &str) -> &Router {
        &self.routers[name]
    }

    /// What was said of sessions, and what else is for people; and forgets it.
    fn news(&mut self) -> Vec<News> {
        let said = std::mem::take(&mut self.said);
        let news = said.into_iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Session { news, .. }) => Some(news),
            _ => None,
        });
        news.collect()
    }

    /// The BFD session that was asked for.
    fn watch(&self) -> Option<ironlb_bfd::Key> {
        self.said.iter().find_map(|output| match output {
            Output::Peer(PeerOutput::Watch { key, .. }) => Some(*key),
            _ => None,
        })
    }

    /// The peers that the one Service was last said to be told to.
    fn reported(&self) -> BTreeSet<Name> {
        let mut statuses = self.said.iter().rev().filter_map(|output| match output {
            Output::Bgp(status) => Some(&status.peers),
            _ => None,
        });
        statuses.next().cloned().unwrap_or_default()
    }

    fn is_finished(&self) -> bool {
        let finished = |output: &Output| *output == Output::Peer(PeerOutput::Finished);
        self.said.iter().any(finished)
    }
}

fn socket(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn applied(name: &str, address: &str) -> Input {
    Input::ServiceApplied(Box::new(service(name, &[address])))
}

/// The interface next to the peers of [`peer`].
fn link_to_peers() -> Link {
    let mut link = link(2, "eth0");
    link.addresses = vec![(ip("198.51.100.10"), 24), (ip("fe80::a"), 64)];
    link
}

/// A pool, an advertisement of it, and these peers.
fn with_peers(peers: impl IntoIterator<Item = BgpPeer>) -> Config {
    let mut config = config([pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    config.bgp_advertisements.insert("all".into(), bgp("all"));
    let named = |peer: BgpPeer| (peer.name.clone(), peer);
    config.peers = peers.into_iter().map(named).collect();
    config
}

/// A BFDProfile.
fn fast() -> BfdProfile {
    BfdProfile {
        name: "fast".into(),
        detect_multiplier: 3,
        receive_interval: Duration::from_millis(50),
        transmit_interval: Duration::from_millis(50),
        echo_interval: Duration::from_millis(50),
        echo: false,
        passive: false,
        minimum_ttl: 254,
    }
}

fn excluded() -> Node {
    let mut node = node("n1");
    node.labels.insert(EXCLUDE_LABEL.to_owned(), String::new());
    node
}

const DRAIN_TAINT: &str = "example.com/leaving";
const GRACEFUL_SHUTDOWN: &str = "65535:0";

#[test]
fn a_router_is_told_of_a_service_and_of_the_end_of_the_table() {
    let rig = Rig::announcing(with_peers([peer("tor")]));
    let tor = rig.router("tor");
    assert_eq!(tor.prefixes(), ["192.0.2.1/32"]);
    assert_eq!(tor.next_hop("192.0.2.1/32"), "198.51.100.10");
    assert_eq!(tor.ends, 1);
}

#[test]
fn nobody_is_spoken_with_before_everything_is_known() {
    let mut rig = Rig::new(&["tor"]);
    rig.feed(Input::LinkApplied(link_to_peers()));
    rig.feed(Input::Config(Arc::new(with_peers([peer("tor")]))));
    rig.feed(Input::NodeApplied(node("n1")));
    rig.run(Duration::from_secs(60));
    assert_eq!(rig.router("tor").peer.state(), State::Active);
    rig.feed(Input::Synced);
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("tor").peer.state(), State::Established);
}

#[test]
fn a_service_comes_and_goes_within_ten_milliseconds() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(applied("db", "192.0.2.2"));
    rig.feed(Input::EndpointsApplied(slice("db", "db", &["n9"])));
    rig.run(Duration::from_millis(10));
    let both = ["192.0.2.1/32", "192.0.2.2/32"];
    assert_eq!(rig.router("tor").prefixes(), both);
    rig.feed(Input::ServiceDeleted(key("web")));
    rig.run(Duration::from_millis(10));
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.2/32"]);
    rig.feed(Input::EndpointsDeleted(slice("db", "db", &[]).key));
    rig.run(Duration::from_millis(10));
    assert!(rig.router("tor").prefixes().is_empty());
}

#[test]
fn a_local_service_is_announced_from_nodes_with_an_endpoint() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    let mut local = service("web", &["192.0.2.1"]);
    local.traffic_policy = ironlb_model::TrafficPolicy::Local;
    rig.feed(Input::ServiceApplied(Box::new(local)));
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);
    rig.feed(Input::EndpointsApplied(slice("web", "web", &["n2"])));
    rig.run(Duration::from_millis(10));
    assert!(rig.router("tor").prefixes().is_empty());
}

#[test]
fn each_peer_is_told_what_its_advertisements_are_for() {
    let mut config = with_peers([peer("one"), peer("two")]);
    let mut only = bgp("only");
    only.peers.insert("two".into());
    only.communities
        .insert(ironlb_model::Community::Standard(65000, 7));
    config.bgp_advertisements.insert("only".into(), only);
    let mut rig = Rig::announcing(config.clone());
    assert!(rig.router("one").communities("192.0.2.1/32").is_empty());
    assert_eq!(rig.router("two").communities("192.0.2.1/32"), ["65000:7"]);
    config.bgp_advertisements.remove("only");
    rig.feed(Input::Config(Arc::new(config)));
    rig.run(Duration::from_millis(10));
    assert!(rig.router("two").communities("192.0.2.1/32").is_empty());
    assert!(rig.news().iter().all(|news| *news == News::Up), "in place");
}

#[test]
fn an_excluded_node_says_that_it_leaves_and_then_withdraws_and_keeps_the_session() {
    leaves_and_comes_back(excluded());
}

#[test]
fn a_node_with_a_drain_taint_leaves_in_the_same_way() {
    let mut tainted = node("n1");
    tainted.taints = vec!["other".to_owned(), DRAIN_TAINT.to_owned()];
    leaves_and_comes_back(tainted);
}

fn leaves_and_comes_back(leaving: Node) {
    let mut asked = peer("tor");
    asked.graceful_restart = true;
    let mut rig = Rig::announcing(with_peers([asked]));
    rig.feed(Input::NodeApplied(leaving));
    assert!(!rig.speaker.would_leave_routes());
    rig.run(Duration::from_secs(4));
    assert_eq!(
        rig.router("tor").communities("192.0.2.1/32"),
        [GRACEFUL_SHUTDOWN]
    );
    rig.run(Duration::from_secs(2));
    assert!(rig.router("tor").prefixes().is_empty());
    assert_eq!(rig.router("tor").peer.state(), State::Established);
    rig.feed(Input::NodeApplied(node("n1")));
    rig.run(Duration::from_secs(1));
    assert!(rig.router("tor").communities("192.0.2.1/32").is_empty());
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);
}

#[test]
fn peers_of_which_leave_was_taken_are_reported_no_more() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(Input::NodeApplied(excluded()));
    rig.run(Duration::from_secs(4));
    assert_eq!(rig.reported(), BTreeSet::from(["tor".into()]));
    rig.run(Duration::from_secs(2));
    assert!(rig.reported().is_empty());
    rig.feed(Input::NodeApplied(node("n1")));
    assert_eq!(rig.reported(), BTreeSet::from(["tor".into()]));
}

#[test]
fn a_node_that_leaves_and_loses_its_network_withdraws_at_once() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(Input::NodeApplied(excluded()));
    rig.run(Duration::from_secs(1));
    let mut unreachable = excluded();
    unreachable.network_unavailable = true;
    rig.feed(Input::NodeApplied(unreachable));
    rig.run(Duration::from_millis(10));
    assert!(rig.router("tor").prefixes().is_empty());
}

#[test]
fn a_node_without_network_withdraws_at_once() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    let mut unreachable = node("n1");
    unreachable.network_unavailable = true;
    rig.feed(Input::NodeApplied(unreachable));
    rig.run(Duration::from_millis(10));
    assert!(rig.router("tor").prefixes().is_empty());
}

#[test]
fn a_process_that_ends_takes_leave_and_says_why() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(Input::Peer(PeerInput::Shutdown));
    rig.run(Duration::from_secs(4));
    assert_eq!(
        rig.router("tor").communities("192.0.2.1/32"),
        [GRACEFUL_SHUTDOWN]
    );
    assert!(!rig.is_finished());
    rig.run(Duration::from_secs(2));
    assert!(rig.is_finished());
    let last = rig.router("tor").peer.status().last_remote_error.unwrap();
    let told = last.cause.to_string();
    assert!(told.contains("node n1 stops announcing"), "{told}");
}

#[test]
fn a_process_without_peers_ends_at_once() {
    let mut rig = Rig::announcing(with_peers([]));
    rig.feed(Input::Peer(PeerInput::Shutdown));
    assert!(rig.is_finished());
}

#[test]
fn a_peer_that_was_asked_to_keeps_the_routes_of_a_process_that_ends() {
    let mut restarting = peer("tor");
    restarting.graceful_restart = true;
    let mut rig = Rig::announcing(with_peers([restarting]));
    assert!(rig.speaker.would_leave_routes());
    let before = rig.router("tor").updates;
    rig.feed(Input::Peer(PeerInput::Shutdown));
    assert!(rig.is_finished());
    assert_eq!(rig.router("tor").updates, before, "nothing is withdrawn");
}

#[test]
fn a_peer_that_is_configured_no_longer_is_told_so() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.feed(Input::Config(Arc::new(with_peers([]))));
    let last = rig.router("tor").peer.status().last_remote_error.unwrap();
    let told = last.cause.to_string().to_lowercase();
    assert!(told.contains("configured"), "{told}");
}

#[test]
fn a_node_selector_decides_who_peers() {
    let mut selective = peer("tor");
    selective.nodes = vec![crate::fixtures::selector(&[("rack", "a")])];
    let mut rig = Rig::announcing(with_peers([selective]));
    assert_eq!(rig.router("tor").peer.state(), State::Active);
    let mut labelled = node("n1");
    labelled.labels.insert("rack".into(), "a".into());
    rig.feed(Input::NodeApplied(labelled));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);
}

#[test]
fn a_node_that_the_api_has_lost_keeps_its_peers() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.news();
    rig.feed(Input::NodeDeleted("n1".into()));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("tor").peer.state(), State::Established);
    assert!(rig.news().is_empty());
}

#[test]
fn a_peer_whose_password_is_not_there_waits_for_it() {
    let mut secret = peer("tor");
    secret.password = Password::Secret("bgp".to_owned());
    let mut rig = Rig::announcing(with_peers([secret]));
    assert_eq!(rig.router("tor").peer.state(), State::Active);
    assert!(rig.news().is_empty(), "it may come in a moment");
    rig.run(Duration::from_secs(60));
    assert_waits(&rig.news(), "no Secret \"bgp\"");
    let secret = |secret| {
        Input::Peer(PeerInput::Secret {
            name: "bgp".to_owned(),
            secret,
        })
    };
    rig.feed(secret(Some(Secret::Empty)));
    rig.run(Duration::from_secs(60));
    assert_waits(&rig.news(), "has no password");
    assert_eq!(rig.router("tor").peer.state(), State::Active);
    let password = Passphrase("hunter2".into());
    rig.feed(secret(Some(Secret::Password(password.clone()))));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);
    let asked = rig.said.iter().find_map(|output| match output {
        Output::Peer(PeerOutput::Connect { target, .. }) => target.password.clone(),
        _ => None,
    });
    assert_eq!(asked, Some(password));
    assert_eq!(rig.news(), [News::Found, News::Up]);

    rig.feed(secret(None));
    rig.run(Duration::from_secs(60));
    assert!(rig.news().is_empty(), "its session goes on");
}

#[test]
fn a_peer_that_is_to_have_a_password_from_now_on_is_not_connected_to_without() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    let mut secret = peer("tor");
    secret.password = Password::Secret("bgp".to_owned());
    rig.feed(Input::Config(Arc::new(with_peers([secret]))));
    rig.run(Duration::from_secs(60));
    assert_eq!(rig.router("tor").peer.state(), State::Established);
    rig.said.clear();
    let router = rig.routers.get_mut("tor").unwrap();
    router
        .peer
        .handle(rig.now, ironlb_bgp::Input::Reset(String::new()));
    rig.run(Duration::from_secs(60));
    let asked = |rig: &Rig| {
        let connects = rig.said.iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Connect { target, .. }) => Some(target.password.clone()),
            _ => None,
        });
        connects.collect::<Vec<_>>()
    };
    assert_eq!(asked(&rig), []);
    let password = Passphrase("hunter2".into());
    rig.feed(Input::Peer(PeerInput::Secret {
        name: "bgp".to_owned(),
        secret: Some(Secret::Password(password.clone())),
    }));
    rig.run(Duration::from_secs(60));
    assert_eq!(asked(&rig), [Some(password)]);
    assert_eq!(rig.router("tor").peer.state(), State::Established);
}

/// One peer is said to wait, once, for this.
fn assert_waits(news: &[News], what: &str) {
    let [News::Waiting(why)] = news else {
        panic!("{news:?}");
    };
    assert!(why.contains(what), "{why}");
}

#[test]
fn an_unnumbered_peer_is_spoken_with_once_it_was_heard() {
    let mut unnumbered = peer("tor");
    unnumbered.endpoint = PeerEndpoint::Interface("eth0".to_owned());
    let mut rig = Rig::announcing(with_peers([unnumbered]));
    assert_eq!(rig.router("tor").peer.state(), State::Active);
    rig.run(Duration::from_secs(60));
    assert_waits(&rig.news(), "no router is heard on the interface \"eth0\"");
    let mut other = ironlb_l2::Discovery::new(7);
    let identity = ironlb_l2::discovery::Identity {
        mac: ironlb_model::Mac([2, 0, 0, 0, 0, 99]),
        link_local: "fe80::1".parse().unwrap(),
    };
    other.start(rig.now, 9, identity);
    while let Some(output) = other.poll() {
        if let ironlb_l2::discovery::Output::Send { frame, .. } = output {
            rig.speaker.handle_router_frame(rig.now, 2, &frame);
        }
    }
    rig.settle();
    rig.run(Duration::from_secs(1));
    let asked = rig.said.iter().find_map(|output| match output {
        Output::Peer(PeerOutput::Connect { target, .. }) => Some(target.clone()),
        _ => None,
    });
    let target = asked.unwrap();
    assert_eq!(target.remote, socket("[fe80::1%2]:179"));
    assert_eq!(target.distance, Distance::Connected);
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);
}

#[test]
fn a_link_local_peer_is_spoken_with_on_its_interface_once_that_is_there() {
    let mut config = with_peers([]);
    let mut next_door = peer("tor");
    next_door.endpoint = PeerEndpoint::LinkLocal("fe80::1".parse().unwrap(), "eth1".to_owned());
    next_door.listen_port = Some(1790);
    next_door.bfd_profile = Some("fast".into());
    // Anywhere, if it were not for the address.
    next_door.peer_asn = ironlb_model::bgp::PeerAsn::Internal;
    config.bfd_profiles.insert("fast".into(), fast());
    config.peers.insert("tor".into(), next_door);
    let mut rig = Rig::announcing(config);
    assert_eq!(rig.router("tor").peer.state(), State::Active);
    let mut link = link(7, "eth1");
    link.addresses = vec![(ip("fe80::b"), 64)];
    rig.feed(Input::LinkApplied(link));
    let asked = rig.said.iter().find_map(|output| match output {
        Output::Peer(PeerOutput::Connect { target, .. }) => Some(target.clone()),
        _ => None,
    });
    let target = asked.unwrap();
    assert_eq!(target.remote, socket("[fe80::1%7]:179"));
    assert_eq!(target.distance, Distance::Connected);
    let key = rig.watch().unwrap();
    assert_eq!((key.interface, key.multihop), (Some(7), false));
    for (number, from, expected) in [(1, "[fe80::1%2]:9", false), (2, "[fe80::1%7]:9", true)] {
        let (local, remote) = (socket("[fe80::b%7]:1790"), socket(from));
        rig.said.clear();
        rig.feed(Input::Peer(PeerInput::Accepted {
            number,
            local,
            remote,
        }));
        let adopted = |output: &Output| matches!(output, Output::Peer(PeerOutput::Adopt { .. }));
        assert_eq!(rig.said.iter().any(adopted), expected, "{from}");
    }
}

#[test]
fn a_stranger_is_refused_and_a_peer_that_may_connect_is_let_in() {
    let mut passive = peer("tor");
    passive.passive = true;
    passive.listen_port = Some(179);
    let mut rig = Rig::announcing(with_peers([passive]));
    let mut accept = |number, from: &str| {
        rig.feed(Input::Peer(PeerInput::Accepted {
            number,
            local: socket("198.51.100.10:179"),
            remote: socket(from),
        }));
        let said = std::mem::take(&mut rig.said);
        let answers = said.into_iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Adopt { number, .. }) => Some((number, true)),
            Output::Peer(PeerOutput::Refuse { number }) => Some((number, false)),
            _ => None,
        });
        answers.collect::<Vec<_>>()
    };
    assert_eq!(accept(1, "198.51.100.66:1234"), [(1, false)]);
    assert_eq!(accept(2, "198.51.100.1:1234"), [(2, true)]);
}

#[test]
fn an_address_that_an_interface_gets_later_becomes_a_next_hop() {
    let mut dual = peer("tor");
    dual.dual_stack = true;
    let mut rig = Rig::announcing(with_peers([dual]));
    rig.feed(Input::ServiceApplied(Box::new(service(
        "web",
        &["192.0.2.1", "2001:db8::1"],
    ))));
    rig.run(Duration::from_millis(20));
    let mut link = link_to_peers();
    link.addresses.push((ip("2001:db8:ffff::a"), 64));
    rig.feed(Input::LinkApplied(link));
    rig.run(Duration::from_millis(20));
    let next_hop = rig.router("tor").next_hop("2001:db8::1/128");
    assert!(next_hop.contains("2001:db8:ffff::a"), "{next_hop}");
}

#[test]
fn routes_that_cannot_be_told_are_named_once_with_the_reason() {
    let mut dual = peer("tor");
    dual.dual_stack = true;
    let mut rig = Rig::announcing(with_peers([dual]));
    let mut link = link_to_peers();
    link.addresses.truncate(1);
    rig.feed(Input::LinkApplied(link));
    rig.news();
    for (name, number) in [("web", 1), ("db", 2), ("dns", 3)] {
        let addresses = [format!("192.0.2.{number}"), format!("2001:db8::{number}")];
        let both = service(name, &[&addresses[0], &addresses[1]]);
        rig.feed(Input::ServiceApplied(Box::new(both)));
        rig.feed(Input::EndpointsApplied(slice(name, name, &["n1"])));
    }
    rig.run(Duration::from_secs(1));
    let why = "we have no address on the session that could be the next hop of IPv6 routes";
    let expected = News::Unsendable {
        prefix: "2001:db8::1/128".parse().unwrap(),
        others: 2,
        why: why.to_owned(),
    };
    assert_eq!(rig.news(), [expected]);
    let missing = |rig: &Rig| {
        rig.speaker
            .peers()
            .map(|peer| peer.unsendable)
            .sum::<usize>()
    };
    assert_eq!(missing(&rig), 3);
    rig.feed(applied("web", "192.0.2.9"));
    rig.run(Duration::from_secs(1));
    assert_eq!((rig.news(), missing(&rig)), (Vec::new(), 2));
    rig.feed(Input::LinkApplied(link_to_peers()));
    rig.run(Duration::from_secs(1));
    assert_eq!((rig.news(), missing(&rig)), (Vec::new(), 0));
    assert_eq!(rig.router("tor").prefixes().len(), 5);
}

#[test]
fn a_link_local_next_hop_goes_when_the_peer_may_be_farther_away() {
    let mut dual = peer("tor");
    dual.dual_stack = true;
    let mut rig = Rig::announcing(with_peers([dual.clone()]));
    let mut link = link_to_peers();
    link.addresses.push((ip("2001:db8:ffff::a"), 64));
    rig.feed(Input::LinkApplied(link));
    rig.feed(Input::ServiceApplied(Box::new(service(
        "web",
        &["192.0.2.1", "2001:db8::1"],
    ))));
    rig.run(Duration::from_millis(20));
    let before = rig.router("tor").next_hop("2001:db8::1/128");
    assert!(before.contains("fe80::"), "{before}");
    dual.ebgp_multihop = true;
    rig.feed(Input::Config(Arc::new(with_peers([dual]))));
    rig.run(Duration::from_millis(20));
    let after = rig.router("tor").next_hop("2001:db8::1/128");
    assert!(!after.contains("fe80::"), "{after}");
    assert!(rig.news().iter().all(|news| *news == News::Up), "in place");
}

#[test]
fn a_peer_that_bfd_has_lost_is_left_at_once() {
    let mut config = with_peers([]);
    let mut watched = peer("tor");
    watched.bfd_profile = Some("fast".into());
    config.bfd_profiles.insert("fast".into(), fast());
    config.peers.insert("tor".into(), watched);
    let mut rig = Rig::announcing(config);
    let key = rig.watch().unwrap();
    assert_eq!(key.peer, ip("198.51.100.1"));
    assert!(!key.multihop);
    rig.news();
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: true }));
    assert!(rig.news().is_empty());
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: false }));
    let news = rig.news();
    assert!(matches!(&news[..], [News::Down(_)]), "{news:?}");
}

#[test]
fn peers_at_one_place_are_watched_by_one_session_until_the_last_of_them_goes() {
    let watched = |name: &str, port| BgpPeer {
        port,
        bfd_profile: Some("fast".into()),
        ..peer(name)
    };
    let config = |peers: &[(&str, u16)]| {
        let peers = peers.iter().map(|(name, port)| watched(name, *port));
        let mut config = with_peers(peers);
        config.bfd_profiles.insert("fast".into(), fast());
        config
    };
    let mut rig = Rig::announcing(config(&[("tor", 179), ("tor-again", 1790)]));
    let asked = |rig: &mut Rig| {
        let said = std::mem::take(&mut rig.said);
        let watches = said.into_iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Watch { key, .. }) => Some((key.peer, true)),
            Output::Peer(PeerOutput::Unwatch(key)) => Some((key.peer, false)),
            _ => None,
        });
        watches.collect::<Vec<_>>()
    };
    let place = ip("198.51.100.1");
    assert_eq!(asked(&mut rig), [(place, true)]);
    rig.feed(Input::Config(Arc::new(config(&[("tor-again", 1790)]))));
    assert_eq!(asked(&mut rig), []);
    rig.feed(Input::Config(Arc::new(config(&[]))));
    assert_eq!(asked(&mut rig), [(place, false)]);
}

#[test]
fn a_strict_peer_is_told_nothing_before_bfd_is_up_and_a_second_one_knows_that_it_is() {
    let mut config = with_peers([]);
    let mut strict = peer("tor");
    strict.bfd_profile = Some("fast".into());
    strict.bfd_strict = true;
    config.bfd_profiles.insert("fast".into(), fast());
    config.peers.insert("tor".into(), strict.clone());
    let mut rig = Rig::announcing(config.clone());
    rig.run(Duration::from_secs(30));
    assert_eq!(rig.router("tor").peer.state(), State::BfdUpPending);
    let key = rig.watch().unwrap();
    rig.reach("tor");
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: true }));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);

    // At the same place, behind another port.
    let mut second = strict;
    second.name = "second".into();
    second.port = 1790;
    config.peers.insert("second".into(), second);
    rig.routers.insert("second".into(), Router::new());
    rig.reach("second");
    rig.feed(Input::Config(Arc::new(config)));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("second").prefixes(), ["192.0.2.1/32"]);
}

#[test]
fn a_peer_that_cannot_keep_routes_is_taken_leave_of_although_it_was_asked_to() {
    let mut asked = peer("tor");
    asked.graceful_restart = true;
    let mut rig = Rig::new(&["tor"]);
    rig.routers.insert("tor".into(), Router::without_restart());
    rig.feed(Input::LinkApplied(link_to_peers()));
    rig.feed(Input::Config(Arc::new(with_peers([asked]))));
    rig.feed(Input::NodeApplied(node("n1")));
    rig.feed(applied("web", "192.0.2.1"));
    rig.feed(Input::EndpointsApplied(slice("web", "web", &["n1"])));
    rig.feed(Input::Synced);
    rig.run(Duration::from_secs(1));
    assert!(!rig.speaker.would_leave_routes());
    rig.feed(Input::Peer(PeerInput::Shutdown));
    rig.run(Duration::from_secs(4));
    assert!(!rig.is_finished());
    let communities = rig.router("tor").communities("192.0.2.1/32");
    assert_eq!(communities, [GRACEFUL_SHUTDOWN]);
}
