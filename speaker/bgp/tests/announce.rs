//! Routes on a session: what the RIB has to say goes out as there is room, and arrives.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use ironlb_bgp::peer::{Settings, Transport};
use ironlb_bgp::wire::{Framer, Message, NextHop, RefreshKind, RouteRefresh};
use ironlb_bgp::{
    Agreement, Audience, Connection, Export, Input, LocalAddresses, Output, Peer, Rib, Route,
    RouteAttributes, Standing, State,
};
use ironlb_model::bgp::{PeerAsn, PeerEndpoint};
use ironlb_model::{Family, Name, ServiceKey, Time};

/// We and a router, which is our own engine and a table of what it heard.
struct Pair {
    now: Time,
    rib: Rib,
    ours: Peer,
    theirs: Peer,
    /// What we have sent that the other side has not read.
    wire: Vec<Arc<[u8]>>,
    heard: Table,
}

/// What came, read a second time beside the router's own count.
struct Table {
    framer: Framer,
    agreement: Option<Agreement>,
    routes: BTreeMap<IpNet, NextHop>,
    ends: Vec<Family>,
    marks: Vec<RefreshKind>,
}

const OURS: Connection = Connection::inbound(1);

impl Pair {
    /// Established, with all routes told, unless the router reads nothing.
    fn new(rib: Rib, internal: bool) -> Self {
        let asns = if internal { [65000; 2] } else { [65000, 65001] };
        let mut pair = Self {
            now: Time::from_secs(1),
            rib,
            ours: Peer::new(Time::from_secs(1), settings(asns, 1, 2), 1, false),
            theirs: Peer::new(
                Time::from_secs(1),
                settings([asns[1], asns[0]], 2, 1),
                2,
                false,
            ),
            wire: Vec::new(),
            heard: Table {
                framer: Framer::new(),
                agreement: None,
                routes: BTreeMap::new(),
                ends: Vec::new(),
                marks: Vec::new(),
            },
        };
        for (peer, own, other) in [(&mut pair.ours, 1, 2), (&mut pair.theirs, 2, 1)] {
            peer.handle(pair.now, Input::Start);
            let (local, remote) = (socket(own), socket(other));
            let number = 1;
            let accepted = Input::Accepted {
                number,
                local,
                remote,
            };
            peer.handle(pair.now, accepted);
        }
        pair.carry(true);
        assert_eq!(pair.ours.state(), State::Established);
        pair
    }

    /// Carries messages until nothing moves. A router that does not read leaves what we send where it is.
    fn carry(&mut self, reads: bool) {
        loop {
            let mut moved = false;
            while let Some(output) = self.ours.poll() {
                moved = true;
                self.ours_says(output);
            }
            if reads {
                for bytes in std::mem::take(&mut self.wire) {
                    moved = true;
                    self.heard.framer.push(&bytes);
                    self.theirs.receive(self.now, OURS, &bytes);
                    self.ours.handle(self.now, Input::Drained(OURS));
                }
            }
            while let Some(output) = self.theirs.poll() {
                moved = true;
                self.theirs_says(output);
            }
            self.heard.read();
            self.rib.tick(self.now);
            while self.ours.has_room()
                && let Some(bytes) = self.rib.poll(&name())
            {
                moved = true;
                self.ours.send(self.now, bytes);
            }
            if !moved {
                return;
            }
        }
    }

    fn ours_says(&mut self, output: Output) {
        match output {
            Output::Send { connection, bytes } if connection == OURS => self.wire.push(bytes),
            Output::Up { agreement, .. } => {
                let local = LocalAddresses {
                    transport: Family::V4,
                    v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
                    v6: None,
                    link_local: None,
                };
                let export = Export::new(&agreement, local);
                self.rib.up(self.now, &name(), everybody(), export);
                self.heard.framer.set_extended(agreement.max_length > 4096);
                self.heard.agreement = Some(*agreement);
            }
            Output::Resend { family, framed } => self.rib.refresh(&name(), family, framed),
            Output::Down(cause) => panic!("{cause}"),
            _ => {}
        }
    }

    fn theirs_says(&mut self, output: Output) {
        match output {
            Output::Send { connection, bytes } if connection == OURS => {
                self.ours.receive(self.now, OURS, &bytes);
                self.theirs.handle(self.now, Input::Drained(OURS));
            }
            Output::Down(cause) => panic!("{cause}"),
            _ => {}
        }
    }

    fn counted(&self) -> usize {
        let received = self.theirs.status().received;
        received.values().map(|count| count.prefixes).sum()
    }
}

impl Table {
    fn read(&mut self) {
        let Some(agreement) = &self.agreement else {
            while self.framer.next().unwrap().is_some() {}
            return;
        };
        while let Some(frame) = self.framer.next().unwrap() {
            match Message::decode(frame, &agreement.wire).unwrap() {
                Message::Update(update) => {
                    self.ends.extend(update.end_of_rib);
                    for prefix in update.routes_withdrawn() {
                        assert!(self.routes.remove(&prefix).is_some());
                    }
                    let next_hop = update.attributes.next_hop.map(NextHop::V4);
                    for prefix in update.routes_announced() {
                        self.routes.insert(prefix, next_hop.unwrap());
                    }
                }
                Message::RouteRefresh(RouteRefresh { kind, .. }) => self.marks.push(kind),
                _ => {}
            }
        }
    }
}

fn settings([own, other]: [u32; 2], own_id: u8, other_id: u8) -> Settings {
    Settings {
        asn: own,
        local_asn: None,
        peer_asn: PeerAsn::Number(other),
        router_id: Ipv4Addr::new(192, 0, 2, own_id),
        families: [Family::V4].into(),
        transport: Transport {
            endpoint: PeerEndpoint::Address(Ipv4Addr::new(192, 0, 2, other_id).into()),
            port: 179,
            source: None,
            vrf: None,
        },
        hold_time: Duration::from_secs(90),
        keepalive_time: Duration::from_secs(30),
        connect_time: Duration::from_secs(1),
        passive: true,
        restart_time: None,
        bfd_strict: false,
        maximum_prefixes: None,
    }
}

fn socket(id: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, id], 179))
}

fn name() -> Name {
    "router".into()
}

fn everybody() -> Audience {
    Audience::of(&name(), [])
}

/// So many host routes from this number on.
fn hosts(first: u32, count: u32) -> impl Iterator<Item = (Audience, Route)> {
    let attributes = Arc::new(RouteAttributes::default());
    (first..first + count).map(move |number| {
        let address = Ipv4Addr::from(0x0a00_0000 + number);
        let route = Route {
            prefix: Ipv4Net::from(address).into(),
            attributes: Arc::clone(&attributes),
        };
        (everybody(), route)
    })
}

fn service(text: &str) -> ServiceKey {
    ServiceKey::new("default", text)
}

fn ready() -> Rib {
    let mut rib = Rib::new();
    rib.set_ready(Time::ZERO);
    rib
}

#[test]
fn the_router_counts_what_was_wanted_and_then_the_end() {
    for internal in [false, true] {
        let mut rib = ready();
        rib.set_routes(Time::ZERO, &service("a"), hosts(0, 16_000));
        let pair = Pair::new(rib, internal);
        assert_eq!(pair.counted(), 16_000);
        assert_eq!(pair.heard.routes.len(), 16_000);
        assert_eq!(pair.heard.ends, [Family::V4]);
        let ours = NextHop::V4(Ipv4Addr::new(192, 0, 2, 1));
        assert!(pair.heard.routes.values().all(|next_hop| *next_hop == ours));
        assert!(pair.rib.is_up_to_date(&name()));
    }
}

#[test]
fn what_a_router_asks_for_again_comes_between_its_marks() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), hosts(0, 100));
    let mut pair = Pair::new(rib, false);
    let mut request = Vec::new();
    let family = ironlb_bgp::wire::AfiSafi::IPV4_UNICAST;
    let kind = RefreshKind::Request;
    RouteRefresh { family, kind }.encode(&mut request);
    pair.ours.receive(pair.now, OURS, &request);
    pair.carry(true);
    assert_eq!(pair.heard.marks, [RefreshKind::Begin, RefreshKind::End]);
    assert_eq!(pair.heard.routes.len(), 100);
}

#[test]
fn a_router_that_does_not_read_is_told_the_latest_when_it_does() {
    let mut pair = Pair::new(ready(), false);
    // What it would have been told by and by is several times what may wait.
    for step in 0..2_000 {
        pair.now = pair.now + Duration::from_millis(10);
        let routes = hosts(step * 100, 100);
        pair.rib.set_routes(pair.now, &service("a"), routes);
        pair.carry(false);
        let waiting: usize = pair.wire.iter().map(|bytes| bytes.len()).sum();
        assert!(waiting < 256 * 1024, "{waiting} bytes wait");
    }
    pair.now = pair.now + Duration::from_millis(10);
    pair.carry(true);
    assert_eq!(pair.heard.routes.len(), 100);
    assert_eq!(pair.counted(), 100);
    assert!(pair.rib.is_up_to_date(&name()));
}

#[test]
fn a_node_that_leaves_says_so_before_it_withdraws() {
    let mut rib = ready();
    rib.set_routes(Time::ZERO, &service("a"), hosts(0, 10));
    let mut pair = Pair::new(rib, true);
    for (standing, left) in [(Standing::Leaving, 10), (Standing::Gone, 0)] {
        pair.now = pair.now + Duration::from_secs(5);
        pair.rib.retarget(pair.now, &name(), everybody(), standing);
        pair.carry(true);
        assert!(pair.rib.is_up_to_date(&name()));
        assert_eq!(pair.counted(), left);
    }
}
