//! After any history every peer believes what is intended.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// A Service wants routes: audience, prefix and attributes by number.
    Want(u8, Vec<(u8, u8, u8)>),
    /// A peer's session is up: its audience, and what it can do this time.
    Up(u8, u8, u8),
    Down(u8),
    Refresh(u8, bool, bool),
    Retarget(u8, u8, u8),
    /// Our addresses on a peer's session are others.
    Relocate(u8, u8),
    /// All Services have said what they want.
    Ready,
    /// A peer reads so many times.
    Read(u8, u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let routes = prop::collection::vec((0..3_u8, 0..12_u8, 0..7_u8), 0..8);
    prop_oneof![
        5 => (0..4_u8, routes).prop_map(|(service, routes)| Step::Want(service, routes)),
        2 => (0..6_u8, 0..3_u8, 0..6_u8)
            .prop_map(|(peer, audience, kind)| Step::Up(peer, audience, kind)),
        1 => (0..6_u8).prop_map(Step::Down),
        1 => (0..6_u8, any::<bool>(), any::<bool>())
            .prop_map(|(peer, v6, framed)| Step::Refresh(peer, v6, framed)),
        2 => (0..6_u8, 0..3_u8, 0..3_u8)
            .prop_map(|(peer, audience, standing)| Step::Retarget(peer, audience, standing)),
        1 => (0..6_u8, 0..4_u8).prop_map(|(peer, local)| Step::Relocate(peer, local)),
        1 => Just(Step::Ready),
        4 => (0..6_u8, 0..4_u8).prop_map(|(peer, times)| Step::Read(peer, times)),
        4 => prop_oneof![0..30_u16, 0..15_000_u16].prop_map(Step::Wait),
    ]
}

/// Hosts and wider prefixes of both families.
fn prefix(number: u8) -> IpNet {
    match number % 3 {
        0 => host(number.into()),
        1 => net(&format!("10.{number}.0.0/16")),
        _ => net(&format!("2001:db8:{number}::/64")),
    }
}

/// With 6 they are too long for messages that are not extended.
fn attributes(number: u8) -> RouteAttributes {
    let number = match number {
        6 => 350,
        small => u32::from(small),
    };
    RouteAttributes {
        local_pref: if number == 1 { 70 } else { 100 },
        med: (number % 2 == 1).then_some(number),
        as_path_prepend: u8::from(number == 2),
        communities: (0..number)
            .map(|low| ironlb_model::Community::Large(65000, 1, low))
            .collect(),
        bandwidth: (number >= 3).then_some(u64::from(number) * 100),
        ..RouteAttributes::default()
    }
}

fn standing(number: u8) -> Standing {
    [Standing::Serving, Standing::Leaving, Standing::Gone][usize::from(number)]
}

/// What a session can do: mostly the same.
fn export(kind: u8) -> Export {
    let mut export = external();
    match kind {
        3 => export.max_length = 65535,
        4 => {
            export.negotiated.internal = true;
            export.max_length = 65535;
        }
        5 => export.negotiated.ipv4 = false,
        _ => {}
    }
    export
}

/// Our addresses: the usual ones, those of another interface, and such as are no next hop of one family.
fn local(number: u8) -> LocalAddresses {
    let usual = external().local;
    match number {
        0 => LocalAddresses {
            v4: Some(Ipv4Addr::new(192, 0, 2, 9)),
            ..usual
        },
        1 => LocalAddresses { v4: None, ..usual },
        2 => LocalAddresses { v6: None, ..usual },
        _ => usual,
    }
}

fn peer(number: u8) -> Name {
    name(&number.to_string())
}

fn told(number: u8) -> Audience {
    audience(&number.to_string())
}

/// The table as it was meant, computed in the most simple way.
#[derive(Default)]
struct Model {
    wanted: BTreeMap<u8, Vec<(u8, u8, u8)>>,
    sessions: BTreeMap<u8, (u8, Export, Router)>,
    is_ready: bool,
}

impl Model {
    fn intended(&self, number: u8, export: &Export) -> BTreeMap<IpNet, RouteAttributes> {
        let mut all: BTreeMap<IpNet, RouteAttributes> = BTreeMap::new();
        if export.standing == Standing::Gone {
            return all;
        }
        for routes in self.wanted.values() {
            let mut own: BTreeMap<IpNet, RouteAttributes> = BTreeMap::new();
            for (_, prefix_number, route) in routes.iter().filter(|one| one.0 == number) {
                let prefix = prefix(*prefix_number);
                if export.negotiated.exchanges(group::family_of(prefix)) {
                    let new = attributes(*route);
                    own.entry(prefix)
                        .and_modify(|one| one.merge(&new))
                        .or_insert(new);
                }
            }
            for (prefix, new) in own {
                all.entry(prefix)
                    .and_modify(|one| one.aggregate(&new))
                    .or_insert(new);
            }
        }
        all
    }

    fn play(&mut self, rib: &mut Rib, now: &mut Time, step: &Step) {
        match step {
            Step::Want(service, routes) => {
                let one = |(told_by, prefix_number, route): &(u8, u8, u8)| {
                    let attributes = Arc::new(attributes(*route));
                    let prefix = prefix(*prefix_number);
                    (told(*told_by), Route { prefix, attributes })
                };
                let key = ServiceKey::new("default", service.to_string());
                rib.set_routes(*now, &key, routes.iter().map(one));
                self.wanted.insert(*service, routes.clone());
            }
            Step::Up(number, audience, kind) => {
                let export = export(*kind);
                rib.up(*now, &peer(*number), told(*audience), export.clone());
                let router = Router::of(&export);
                self.sessions.insert(*number, (*audience, export, router));
            }
            Step::Down(number) => {
                rib.down(&peer(*number));
                self.sessions.remove(number);
            }
            Step::Refresh(number, v6, framed) => {
                rib.refresh(&peer(*number), Family::ALL[usize::from(*v6)], *framed);
            }
            Step::Retarget(number, audience, number_of_standing) => {
                let standing = standing(*number_of_standing);
                rib.retarget(*now, &peer(*number), told(*audience), standing);
                if let Some((heard, export, _)) = self.sessions.get_mut(number) {
                    (*heard, export.standing) = (*audience, standing);
                }
            }
            Step::Relocate(number, number_of_local) => {
                let local = local(*number_of_local);
                rib.relocate(*now, &peer(*number), local);
                if let Some((_, export, _)) = self.sessions.get_mut(number) {
                    export.local = local;
                }
            }
            Step::Ready => {
                self.is_ready = true;
                rib.set_ready(*now);
            }
            Step::Read(number, times) => {
                if let Some((_, _, router)) = self.sessions.get_mut(number) {
                    for bytes in (0..*times).map_while(|_| rib.poll(&peer(*number))) {
                        assert!(self.is_ready);
                        router.read(&bytes);
                    }
                }
            }
            Step::Wait(milliseconds) => {
                *now = *now + std::time::Duration::from_millis((*milliseconds).into());
            }
        }
        rib.tick(*now);
    }

    /// Lets everything come to rest, and compares.
    fn check(&mut self, rib: &mut Rib, now: Time) {
        let mut now = now;
        self.play(rib, &mut now, &Step::Ready);
        // Weights may be held back, one after another.
        while let Some(due) = rib.deadline() {
            now = now.max(due);
            rib.tick(now);
        }
        let numbers: Vec<u8> = self.sessions.keys().copied().collect();
        for number in numbers {
            let (audience, export, router) = self.sessions.get_mut(&number).unwrap();
            router.catch_up(rib, &peer(number));
            let (audience, export) = (*audience, export.clone());
            let intended = self.intended(audience, &export);
            // What is intended, as far as it can be told.
            let (told, not): (BTreeMap<_, _>, BTreeMap<_, _>) =
                intended.into_iter().partition(|(prefix, route)| {
                    let family = group::family_of(*prefix);
                    export.encode(family, route).is_ok()
                });
            let unsendable: BTreeSet<IpNet> = rib
                .unsendable(&peer(number))
                .map(|(prefix, _)| prefix)
                .collect();
            assert_eq!(unsendable, not.into_keys().collect());
            let (_, _, router) = &self.sessions[&number];
            let families = Family::ALL.into_iter();
            let families: Vec<_> = families
                .filter(|family| export.negotiated.exchanges(*family))
                .collect();
            assert_eq!(router.complete, families);
            assert!(rib.is_up_to_date(&peer(number)));
            let expected: BTreeMap<IpNet, _> = told
                .iter()
                .map(|(prefix, route)| (*prefix, on_the_wire(&export, *prefix, route)))
                .collect();
            assert_eq!(believed(router), expected, "peer {number}");
            let said: BTreeMap<IpNet, RouteAttributes> = rib
                .routes(&peer(number))
                .map(|(prefix, route)| (prefix, route.clone()))
                .collect();
            assert_eq!(said, told);
        }
    }
}

/// MED, LOCAL_PREF, length of the path, numbers of communities, weight, next hop.
type Seen = (
    Option<u32>,
    Option<u32>,
    usize,
    usize,
    bool,
    Option<f32>,
    IpAddr,
);

fn on_the_wire(export: &Export, prefix: IpNet, route: &RouteAttributes) -> Seen {
    let leaving = export.standing == Standing::Leaving;
    let internal = export.negotiated.internal;
    let local_pref = match (internal, leaving) {
        (false, _) => None,
        (true, true) => Some(0),
        (true, false) => Some(route.local_pref),
    };
    let next_hop = match prefix {
        IpNet::V4(_) => IpAddr::V4(export.local.v4.unwrap()),
        IpNet::V6(_) => IpAddr::V6(export.local.v6.unwrap()),
    };
    let times = if internal {
        0
    } else {
        1 + usize::from(route.as_path_prepend)
    };
    let weight = route.bandwidth.map(|megabits| megabits as f32);
    (
        route.med,
        local_pref,
        times,
        route.communities.len(),
        leaving,
        weight,
        next_hop,
    )
}

fn believed(router: &Router) -> BTreeMap<IpNet, Seen> {
    let seen = |(prefix, (attributes, next_hop)): (&IpNet, &(Attributes, Option<NextHop>))| {
        let path: usize = attributes.as_path.segments.iter().map(length).sum();
        let weight = attributes.extended_communities.first().map(|community| {
            let crate::wire::ExtendedCommunity([.., a, b, c, d]) = *community;
            f32::from_be_bytes([a, b, c, d]) / 125_000.0
        });
        let next_hop = match (attributes.next_hop, next_hop) {
            (_, Some(NextHop::V6(address))) => IpAddr::V6(*address),
            (Some(address), _) => IpAddr::V4(address),
            other => panic!("{other:?}"),
        };
        let seen = (
            attributes.med,
            attributes.local_pref,
            path,
            attributes.large_communities.len(),
            !attributes.communities.is_empty(),
            weight,
            next_hop,
        );
        (*prefix, seen)
    };
    router.routes.iter().map(seen).collect()
}

fn length(segment: &crate::wire::Segment) -> usize {
    match segment {
        crate::wire::Segment::Sequence(numbers) => numbers.len(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn after_any_history_every_peer_believes_what_is_intended(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let (mut rib, mut model, mut now) = (Rib::new(), Model::default(), Time::from_secs(1));
        for step in &steps {
            model.play(&mut rib, &mut now, step);
        }
        model.check(&mut rib, now);
    }

    #[test]
    fn who_keeps_up_is_never_told_what_it_knows(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let (mut rib, mut model, mut now) = (ready(), Model::default(), Time::from_secs(1));
        for step in &steps {
            let steps = match step {
                // It is for telling again.
                Step::Refresh(..) => continue,
                // Changes of the table that a peer comes to, at the same moment, are told even when they bring back what
                // it knows.
                Step::Retarget(..) | Step::Relocate(..) => vec![Step::Wait(10), step.clone(), Step::Wait(10)],
                _ => vec![step.clone()],
            };
            for step in &steps {
                model.play(&mut rib, &mut now, step);
                for (number, (_, _, router)) in &mut model.sessions {
                    router.catch_up(&mut rib, &peer(*number));
                    prop_assert_eq!(router.idle, 0, "peer {} at {}", number, now);
                }
            }
        }
        model.check(&mut rib, now);
    }
}
