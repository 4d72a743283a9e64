//! BGP and BFD in the cluster: the routers, the nodes' ends of the sessions, and what goes between them.

mod bfd;
mod connections;
mod faults;
mod judge;
mod past;
mod routers;
mod transport;
mod users;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use ironlb_bgp::Connection;
use ironlb_model::bgp::Password;
use ironlb_model::{BgpPeer, Family, Name, ServiceKey, Time};
use ironlb_speaker_core::peers::{Door, Passphrase, PeerInput, Secret};

use super::{Cluster, Happening};
use crate::bgp::profile::Profile;
use crate::bgp::router::{NodeAddress, Router};
use crate::bgp::said::Said;
use crate::bgp::tcp::{Pipes, Side};
use crate::rng::Rng;

use bfd::{Heard, RouterBfd};
use faults::Fault;
use past::Before;

/// All that a cluster has of BGP; without routers nothing ever happens in it.
#[derive(Debug)]
pub struct Bgp {
    /// What it is about; `None` for a cluster without BGP.
    pub profile: Option<Profile>,
    /// The routers.
    pub routers: Vec<Router>,
    /// The nodes' ends, by machine.
    pub nodes: Vec<Node>,
    /// The passwords in the Secrets.
    pub secrets: BTreeMap<String, String>,
    pipes: Pipes,
    router_wakes: BTreeMap<usize, Time>,
    router_bfd: BTreeMap<(usize, NodeAddress), RouterBfd>,
    /// Machines and routers between which nothing gets through.
    cuts: BTreeSet<(usize, usize)>,
    /// When anything was the matter between a machine and a router last.
    trouble: BTreeMap<(usize, usize), Time>,
    rng: Rng,
}

/// What a machine has of BGP: what the speaker's shell holds, and what was said.
#[derive(Debug, Default)]
pub struct Node {
    /// Whether the machine has no power.
    pub is_off: bool,
    /// The peers whose sessions the speaker says are up.
    pub up: BTreeSet<Name>,
    /// The peers that it says are told of a Service.
    pub reported: BTreeMap<ServiceKey, BTreeSet<Name>>,
    connections: BTreeMap<(Name, Connection), u64>,
    by_pipe: BTreeMap<u64, (Name, Connection)>,
    said: BTreeMap<u64, Said>,
    accepted: u64,
    strangers: BTreeMap<u64, u64>,
    doors: BTreeMap<Door, BTreeMap<IpAddr, Option<Passphrase>>>,
    /// What it was told of Secrets.
    secrets: BTreeMap<String, String>,
    bfd: Option<ironlb_bfd::Sessions>,
    bfd_wake: Option<Time>,
    bfd_heard: BTreeMap<ironlb_bfd::Key, Heard>,
    /// How everything was before, the newest last.
    past: VecDeque<(Time, Before)>,
    /// Since when the node is excluded, as far as its speaker was told; zero when it was before anything was announced.
    excluded: Option<Time>,
    /// Since when the process is about to end.
    ending: Option<Time>,
    /// Whether the configuration was another one since.
    changed_while_ending: bool,
    /// Whether any session of this process was up.
    was_up: BTreeSet<Name>,
    /// The peers whose passwords it has known, or that had none, by any configuration.
    was_aimed: BTreeSet<Name>,
    check_is_due: bool,
    /// Whether it has read everything.
    is_ready: bool,
}

/// What can be scheduled.
#[derive(Debug)]
pub(super) enum Event {
    /// The first packet of a connection arrives.
    Syn {
        pipe: u64,
        attempt: u32,
    },
    /// Its answer does.
    SynAck {
        pipe: u64,
    },
    /// What a side has sent arrives.
    Flight {
        pipe: u64,
        from: Side,
    },
    /// What a process wrote has gone to its kernel.
    Drained {
        pipe: u64,
    },
    /// A connection that could not be had.
    Refused {
        pipe: u64,
    },
    /// A slow router reads some more.
    RouterReads {
        pipe: u64,
    },
    RouterWakes {
        router: usize,
        life: u64,
        at: Time,
    },
    /// It is to be seen whether a session is up without a word.
    Silence {
        machine: usize,
        life: u64,
        pipe: u64,
    },
    /// It is to be seen whether a speaker has told what it should.
    RoutesDue {
        machine: usize,
        life: u64,
    },
    Secret {
        machine: usize,
        life: u64,
        name: String,
    },
    BfdWakes {
        machine: usize,
        life: u64,
        at: Time,
    },
    RouterBfdWakes {
        router: usize,
        node: NodeAddress,
        at: Time,
    },
    /// A BFD packet arrives at a router, or at a node.
    BfdPacket {
        router: usize,
        node: NodeAddress,
        to: Side,
        bytes: Vec<u8>,
    },
    BfdSilence {
        machine: usize,
        life: u64,
        key: ironlb_bfd::Key,
    },
    /// A speaker that was told to end has had its time.
    GraceOver {
        machine: usize,
        life: u64,
    },
    /// A speaker has said all there was to say.
    Finished {
        machine: usize,
        life: u64,
    },
    UserActs,
    FaultStrikes,
    FaultEnds(Fault),
}

impl Bgp {
    /// For a cluster of this seed.
    pub(super) fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ SALT);
        let profile = rng.chance(SHARE).then(|| Profile::draw(&mut rng));
        let traits = profile.iter().flat_map(|profile| profile.routers.clone());
        let routers = traits.enumerate().map(|(number, traits)| {
            let number = u8::try_from(number).unwrap_or(0);
            Router::new(number, traits)
        });
        Self {
            routers: routers.collect(),
            profile,
            nodes: Vec::new(),
            secrets: BTreeMap::new(),
            pipes: Pipes::default(),
            router_wakes: BTreeMap::new(),
            router_bfd: BTreeMap::new(),
            cuts: BTreeSet::new(),
            trouble: BTreeMap::new(),
            rng,
        }
    }

    /// Whether the cluster has BGP.
    pub const fn is_on(&self) -> bool {
        self.profile.is_some()
    }

    fn node(&self, machine: usize) -> Option<&Node> {
        self.nodes.get(machine)
    }

    fn node_mut(&mut self, machine: usize) -> Option<&mut Node> {
        self.nodes.get_mut(machine)
    }

    /// The router that has an address.
    fn router_at(&self, address: IpAddr) -> Option<usize> {
        let has = |router: &Router| router.addresses.contains(&address);
        self.routers.iter().position(has)
    }
}

impl Node {
    /// The password of a peer as far as it is known; the outer `None` says that it is not.
    fn password(&self, peer: &BgpPeer) -> Option<Option<String>> {
        match &peer.password {
            Password::None => Some(None),
            Password::Plain(text) => Some(Some(text.clone())),
            Password::Secret(name) => self.secrets.get(name).cloned().map(Some),
        }
    }

    /// What its speaker has said on the connection with a peer whose session is up, and the connection's number.
    pub fn said_to(&self, peer: &Name) -> Option<(u64, &Said)> {
        let of_peer = |pipe: &u64| self.by_pipe.get(pipe).is_some_and(|(name, _)| name == peer);
        let mut said = self.said.iter();
        let found = said.find(|(pipe, said)| of_peer(pipe) && said.is_open());
        found.map(|(pipe, said)| (*pipe, said))
    }
}

impl Cluster {
    pub(super) fn bgp_after(&mut self, delay: std::time::Duration, event: Event) {
        self.after(delay, Happening::Bgp(event));
    }

    pub(super) fn bgp_happens(&mut self, event: Event) {
        match event {
            Event::Syn { pipe, attempt } => self.syn(pipe, attempt),
            Event::SynAck { pipe } => self.syn_ack(pipe),
            Event::Flight { pipe, from } => self.flight(pipe, from),
            Event::Drained { pipe } => self.drained(pipe),
            Event::Refused { pipe } => self.connection_fails(pipe, Side::Node, "refused"),
            Event::RouterReads { pipe } => self.router_reads(pipe),
            Event::RouterWakes { router, life, at } => self.router_wakes(router, life, at),
            Event::Silence {
                machine,
                life,
                pipe,
            } => self.check_silence(machine, life, pipe),
            Event::RoutesDue { machine, life } => self.check_routes(machine, life),
            Event::Secret {
                machine,
                life,
                name,
            } => self.secret_arrives(machine, life, name),
            Event::BfdWakes { machine, life, at } => self.bfd_wakes(machine, life, at),
            Event::RouterBfdWakes { router, node, at } => self.router_bfd_wakes(router, node, at),
            Event::BfdPacket {
                router,
                node,
                to,
                bytes,
            } => self.bfd_packet(router, node, to, &bytes),
            Event::BfdSilence { machine, life, key } => {
                self.check_bfd_silence(machine, life, key);
            }
            Event::GraceOver { machine, life } => self.grace_over(machine, life),
            Event::Finished { machine, life } => self.finished(machine, life),
            Event::UserActs => self.bgp_user_acts(),
            Event::FaultStrikes => self.bgp_fault_strikes(),
            Event::FaultEnds(fault) => self.end_bgp_fault(fault),
        }
    }

    /// Whether a packet gets from a machine to a router and back, by their addresses of a family.
    fn path(&self, machine: usize, router: usize, family: Family) -> bool {
        let powered = |router: &Router| router.powered;
        let has_power = self.bgp.routers.get(router).is_some_and(powered)
            && self.bgp.node(machine).is_some_and(|node| !node.is_off);
        let cut = self.bgp.cuts.contains(&(machine, router));
        has_power && !cut && self.node_address(machine, family).is_some()
    }

    /// A machine's address of a family on the segment that it shares with the routers, while it is up.
    fn node_address(&self, machine: usize, family: Family) -> Option<IpAddr> {
        let machine = self.machines.get(machine)?;
        machine.address_on(0, family).map(|(_, address)| address)
    }

    /// Takes down that something is the matter between a machine and a router.
    fn note_trouble(&mut self, machine: usize, router: usize) {
        self.bgp.trouble.insert((machine, router), self.now);
    }

    /// A speaker begins: it has no connections, and will be told of Secrets.
    pub(super) fn bgp_speaker_starts(&mut self, machine: usize) {
        let Some(host) = self.speakers.get(machine) else {
            return;
        };
        let life = host.common.life;
        if let Some(node) = self.bgp.node_mut(machine) {
            let is_off = node.is_off;
            *node = Node {
                is_off,
                accepted: node.accepted,
                ..Node::default()
            };
        }
        let names: Vec<String> = self.bgp.secrets.keys().cloned().collect();
        for name in names {
            let delay = self.bgp.rng.millis(5, 6_000);
            self.bgp_after(
                delay,
                Event::Secret {
                    machine,
                    life,
                    name,
                },
            );
        }
    }

    /// A speaker's process ends: its kernel sends what it has, and closes its connections. With `silently` the machine has
    /// lost its memory.
    pub(super) fn bgp_speaker_ends(&mut self, machine: usize, silently: bool) {
        let Some(node) = self.bgp.node_mut(machine) else {
            return;
        };
        let pipes: Vec<u64> = node.by_pipe.keys().copied().collect();
        *node = Node {
            is_off: node.is_off,
            accepted: node.accepted,
            ..Node::default()
        };
        for pipe in pipes {
            if silently {
                if let Some(pipe) = self.bgp.pipes.get_mut(pipe) {
                    pipe.forget(Side::Node);
                }
            } else {
                self.let_go(pipe, Side::Node, KERNEL_BUFFER);
            }
        }
        for router in 0..self.bgp.routers.len() {
            self.note_trouble(machine, router);
        }
    }

    fn secret_arrives(&mut self, machine: usize, life: u64, name: String) {
        let Some(password) = self.bgp.secrets.get(&name).cloned() else {
            return;
        };
        let alive = self.lives(machine, life);
        let Some(node) = self.bgp.node_mut(machine).filter(|_| alive) else {
            return;
        };
        node.secrets.insert(name.clone(), password.clone());
        self.note(format_args!("speaker {machine} is told of {name}"));
        let secret = Some(Secret::Password(Passphrase(password.into())));
        self.drive_peer(machine, PeerInput::Secret { name, secret });
        self.note_aimed(machine);
    }
}

impl Said {
    /// Whether the session is up, as far as its own side has said so.
    pub const fn is_open(&self) -> bool {
        self.confirmed && self.notification.is_none()
    }
}

/// A port of a node's own.
const fn ephemeral(address: IpAddr, number: u64) -> SocketAddr {
    // Only to tell connections apart.
    let port = 32_768 + (number % 28_000) as u16;
    SocketAddr::new(address, port)
}

/// What a kernel takes of what is written, before the process has to wait.
const KERNEL_BUFFER: usize = 16_384;
/// How many of a hundred clusters have BGP.
const SHARE: u64 = 55;
/// Another sequence than that of the rest of the cluster.
const SALT: u64 = 0xb69f_0179;
