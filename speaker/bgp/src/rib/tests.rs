use std::net::Ipv4Addr;

use super::*;
use crate::policy::LocalAddresses;
use crate::wire::{Attributes, Framer, Message, Negotiated, NextHop, RefreshKind};

mod delivery;
mod groups;
mod history;
mod merging;

/// A peer, and what it believes.
struct Router {
    negotiated: Negotiated,
    max_length: usize,
    framer: Framer,
    routes: BTreeMap<IpNet, (Attributes, Option<NextHop>)>,
    /// Families in the order of their End-of-RIB.
    complete: Vec<Family>,
    /// BoRR and EoRR, with the number of announcements before.
    marks: Vec<(RefreshKind, usize)>,
    updates: usize,
    announcements: usize,
    bytes: usize,
    /// Announcements of what was believed already, and withdrawals of what was not.
    idle: usize,
}

impl Router {
    fn of(export: &Export) -> Self {
        let mut framer = Framer::new();
        framer.set_extended(export.max_length > 4096);
        Self {
            negotiated: export.negotiated,
            max_length: export.max_length,
            framer,
            routes: BTreeMap::new(),
            complete: Vec::new(),
            marks: Vec::new(),
            updates: 0,
            announcements: 0,
            bytes: 0,
            idle: 0,
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.framer.push(bytes);
        while let Some(frame) = self.framer.next().unwrap() {
            assert!(frame.body.len() + 19 <= self.max_length);
            match Message::decode(frame, &self.negotiated).unwrap() {
                Message::Update(update) => {
                    assert_eq!(update.faults, []);
                    self.updates += 1;
                    self.complete.extend(update.end_of_rib);
                    for prefix in update.routes_withdrawn() {
                        let believed = self.routes.remove(&prefix).is_some();
                        self.idle += usize::from(!believed);
                    }
                    for prefix in update.routes_announced() {
                        let route = (update.attributes.clone(), update.next_hop);
                        let former = self.routes.insert(prefix, route.clone());
                        self.idle += usize::from(former == Some(route));
                        self.announcements += 1;
                    }
                }
                Message::RouteRefresh(refresh) => {
                    self.marks.push((refresh.kind, self.announcements));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads all that there is for it.
    fn catch_up(&mut self, rib: &mut Rib, peer: &Name) {
        while let Some(bytes) = rib.poll(peer) {
            self.read(&bytes);
        }
    }

    fn prefixes(&self) -> Vec<String> {
        self.routes.keys().map(ToString::to_string).collect()
    }

    fn attributes(&self, prefix: &str) -> &Attributes {
        &self.routes[&net(prefix)].0
    }
}

fn external() -> Export {
    Export {
        asn: 64512,
        negotiated: Negotiated {
            four_octet_as: true,
            internal: false,
            ipv4: true,
            ipv6: true,
            extended_next_hop: false,
        },
        max_length: 4096,
        local: LocalAddresses {
            transport: Family::V4,
            v4: Some(Ipv4Addr::new(192, 0, 2, 1)),
            v6: Some("2001:db8::1".parse().unwrap()),
            link_local: None,
        },
        standing: Standing::Serving,
    }
}

fn internal() -> Export {
    let mut export = external();
    export.negotiated.internal = true;
    export
}

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// The `number`th host route.
fn host(number: u32) -> IpNet {
    IpNet::from(std::net::IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number)))
}

fn name(text: &str) -> Name {
    text.into()
}

fn service(text: &str) -> ServiceKey {
    ServiceKey::new("default", text)
}

/// Those told by advertisements of which one is named so.
fn audience(advertisement: &str) -> Audience {
    let all = ironlb_model::BgpAdvertisement::new(advertisement);
    Audience::of(&name("any"), [&all])
}

fn everybody() -> Audience {
    audience("everybody")
}

fn route(prefix: IpNet, attributes: RouteAttributes) -> (Audience, Route) {
    let attributes = Arc::new(attributes);
    (everybody(), Route { prefix, attributes })
}

fn plain(prefix: IpNet) -> (Audience, Route) {
    route(prefix, RouteAttributes::default())
}

fn med(med: u32) -> RouteAttributes {
    RouteAttributes {
        med: Some(med),
        ..RouteAttributes::default()
    }
}

/// With nothing to announce, and all known.
fn ready() -> Rib {
    let mut rib = Rib::new();
    rib.set_ready(Time::ZERO);
    rib
}

/// Establishes a session, and reads what there is.
fn connect(rib: &mut Rib, peer: &str, export: Export) -> Router {
    let mut router = Router::of(&export);
    rib.up(Time::ZERO, &name(peer), everybody(), export);
    router.catch_up(rib, &name(peer));
    router
}
