//! Random objects: what users write.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ironlb_model::config::{Election, Gratuitous, OnRemoval, PreferredNodes};
use ironlb_model::endpoint::EndpointPort;
use ironlb_model::{
    Endpoint, EndpointSlice, Family, IpFamilyPolicy, L2Advertisement, LabelSelector, Labels, Name,
    Operator, Pool, PoolSelection, Port, Protocol, Range, Requirement, Service, ServiceAllocation,
    ServiceKey, SliceKey, TrafficPolicy,
};

use crate::profile::{Habits, Profile};
use crate::rng::Rng;

/// The namespaces; they are always there.
pub const NAMESPACES: [&str; 3] = ["default", "team-a", "team-b"];

/// The Service of this number.
pub fn service_key(number: u64) -> ServiceKey {
    let namespace = NAMESPACES
        .iter()
        .cycle()
        .nth(usize::try_from(number).unwrap_or(0));
    ServiceKey::new(*namespace.unwrap_or(&"default"), format!("s{number}"))
}

/// A label with one of two values, or none.
pub fn labels(rng: &mut Rng, key: &str, values: [&str; 2]) -> Labels {
    match rng.pick(&values) {
        Some(value) if rng.chance(85) => Labels::from([(key.to_owned(), (*value).to_owned())]),
        _ => Labels::new(),
    }
}

/// A selector over [`labels`].
pub fn selector(rng: &mut Rng, key: &str, values: [&str; 2]) -> LabelSelector {
    let value = (*rng.pick(&values).unwrap_or(&"")).to_owned();
    let mut selector = LabelSelector::default();
    let operator = match rng.below(6) {
        0 => Operator::In(BTreeSet::from([value])),
        1 => Operator::NotIn(BTreeSet::from([value])),
        2 => Operator::Exists,
        3 => Operator::DoesNotExist,
        _ => {
            selector.match_labels.insert(key.to_owned(), value);
            return selector;
        }
    };
    let key = key.to_owned();
    selector
        .match_expressions
        .push(Requirement { key, operator });
    selector
}

/// A Service as a user writes it, with cluster IPs as the API server gives them.
pub fn service(rng: &mut Rng, profile: &Profile, key: ServiceKey, now: i64) -> Service {
    let mut service = Service::new(key);
    service.created = Some(now);
    service.labels = labels(rng, "app", ["web", "db"]);
    service.selector = Labels::from([("app".to_owned(), service.key.name.to_string())]);
    service.class.clone_from(&profile.flags.class);
    service.ports = ports(rng);
    family_policy(rng, profile, &mut service);
    if rng.chance(30) {
        service.traffic_policy = TrafficPolicy::Local;
    }
    if rng.chance(profile.habits.sharing) {
        service.sharing_key = sharing_key(rng);
    }
    if rng.chance(8) {
        service.requested_pool = Some(format!("pool-{}", rng.below(5)));
    }
    if rng.chance(profile.habits.requests) {
        request(rng, &mut service);
    }
    service
}

/// Another family policy, with the cluster IPs that follow from it.
pub fn family_policy(rng: &mut Rng, profile: &Profile, service: &mut Service) {
    let (policy, count) = match rng.below(10) {
        0..=4 => (IpFamilyPolicy::SingleStack, 1),
        5..=7 => (IpFamilyPolicy::PreferDualStack, 2),
        _ if profile.families.len() > 1 || rng.chance(30) => (IpFamilyPolicy::RequireDualStack, 2),
        _ => (IpFamilyPolicy::SingleStack, 1),
    };
    let mut families = profile.families.clone();
    if rng.chance(30) {
        families.reverse();
    }
    families.truncate(count);
    let number = u8::try_from(rng.below(200)).unwrap_or(0);
    service.cluster_ips = families
        .iter()
        .map(|family| cluster_ip(*family, number))
        .collect();
    service.ip_families = families;
    service.ip_family_policy = policy;
    service.is_headless = rng.chance(3);
    if service.is_headless {
        service.cluster_ips.clear();
    }
}

/// Addresses asked for: mostly sensible, sometimes not.
pub fn request(rng: &mut Rng, service: &mut Service) {
    service.requested_ips = None;
    service.load_balancer_ip = None;
    let wanted: Vec<_> = service.ip_families.clone();
    let text = match rng.below(10) {
        0 => "192.0.2".to_owned(),
        1 => any_address(rng, Family::V4).to_string(),
        _ => {
            let text = |family: &Family| any_address(rng, *family).to_string();
            wanted.iter().map(text).collect::<Vec<_>>().join(", ")
        }
    };
    match rng.below(20) {
        0 => {
            service.load_balancer_ip = Some(text.clone());
            service.requested_ips = Some(text);
        }
        1..=5 if wanted.len() == 1 => service.load_balancer_ip = Some(text),
        _ => service.requested_ips = Some(text),
    }
}

/// A sharing key of few, so that Services meet.
pub fn sharing_key(rng: &mut Rng) -> Option<String> {
    rng.pick(&["red", "red", "red", "blue", ""])
        .map(|key| (*key).to_owned())
}

/// One or two ports of few, so that Services clash.
pub fn ports(rng: &mut Rng) -> Vec<Port> {
    let all = [
        (Protocol::Tcp, 80),
        (Protocol::Tcp, 443),
        (Protocol::Udp, 53),
        (Protocol::Tcp, 53),
        (Protocol::Sctp, 80),
    ];
    let chosen: BTreeSet<_> = (0..=rng.below(2))
        .filter_map(|_| rng.pick(&all).copied())
        .collect();
    let port = |(protocol, port)| Port {
        name: format!("{protocol}-{port}").to_lowercase(),
        protocol,
        port,
    };
    chosen.into_iter().map(port).collect()
}

/// A slice of a Service's endpoints on some of `nodes`.
pub fn slice(rng: &mut Rng, service: &ServiceKey, number: u64, nodes: &[Name]) -> EndpointSlice {
    let count = if rng.chance(12) { 0 } else { 1 + rng.below(4) };
    let endpoints = (0..count).map(|number| Endpoint {
        // Of the last of many it is not said where it is.
        node: rng.pick(nodes).filter(|_| number < 3).cloned(),
        serving: rng.chance(80),
        addresses: vec![cluster_ip(Family::V4, u8::try_from(number).unwrap_or(0))],
    });
    let endpoints = endpoints.collect();
    EndpointSlice {
        key: SliceKey::new(
            service.namespace.clone(),
            format!("{}-{number}", service.name),
        ),
        service: service.clone(),
        endpoints,
        ports: vec![EndpointPort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: 8080,
        }],
    }
}

/// Runs of addresses that no two pools may have at once.
pub fn blocks() -> Vec<Range> {
    let v4 = [
        (0, 0, 3),
        (0, 16, 16),
        (0, 20, 24),
        (0, 32, 33),
        (0, 254, 255),
        (1, 0, 5),
        (1, 40, 40),
    ];
    let v6 = [
        (0, 0, 2),
        (0, 0x10, 0x10),
        (0, 0xff, 0x101),
        (1, 0, 4),
        (2, 7, 8),
    ];
    let v4 = v4.into_iter().map(|(net, first, last)| {
        let address = |last| IpAddr::from(Ipv4Addr::new(192, 0, 2 + net, last));
        Range::new(address(first), address(last))
    });
    let v6 = v6.into_iter().map(|(net, first, last)| {
        let address = |last| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, last));
        Range::new(address(first), address(last))
    });
    v4.chain(v6).flatten().collect()
}

/// Every address that a pool may ever have.
pub fn universe() -> Vec<IpAddr> {
    let numbers = |range: Range| {
        (range.first_number()..=range.last_number())
            .map(move |number| ironlb_model::addr::address(range.family(), number))
    };
    blocks().into_iter().flat_map(numbers).collect()
}

/// A pool of these ranges.
pub fn pool(rng: &mut Rng, habits: &Habits, name: Name, ranges: Vec<Range>) -> Pool {
    Pool {
        name,
        labels: labels(rng, "tier", ["gold", "lead"]),
        ranges,
        auto_assign: rng.chance(93),
        avoid_buggy_ips: rng.chance(20),
        allocation: rng.chance(habits.reserved).then(|| allocation(rng)),
        on_removal: match rng.chance(habits.hold) {
            true => OnRemoval::Hold,
            false => OnRemoval::Move,
        },
        cool_down: match rng.chance(30) {
            true => Duration::from_secs(*rng.pick(&[2, 10, 40]).unwrap_or(&10)),
            false => Duration::ZERO,
        },
    }
}

/// Whom a pool is for.
pub fn allocation(rng: &mut Rng) -> ServiceAllocation {
    let mut allocation = ServiceAllocation {
        priority: u32::try_from(rng.below(3)).unwrap_or(0),
        ..ServiceAllocation::default()
    };
    if rng.chance(40) {
        let namespace = rng.pick(&NAMESPACES).unwrap_or(&"default");
        allocation.namespaces.insert((*namespace).to_owned());
    }
    if rng.chance(30) {
        allocation
            .namespace_selectors
            .push(selector(rng, "env", ["prod", "dev"]));
    }
    if rng.chance(30) {
        allocation
            .service_selectors
            .push(selector(rng, "app", ["web", "db"]));
    }
    allocation
}

/// An L2Advertisement.
pub fn advertisement(rng: &mut Rng, habits: &Habits, name: Name) -> L2Advertisement {
    let mut pools = PoolSelection::default();
    match rng.below(10) {
        0 | 1 => drop(pools.names.insert(format!("pool-{}", rng.below(5)).into())),
        2 => pools
            .selectors
            .push(selector(rng, "tier", ["gold", "lead"])),
        _ => {}
    }
    let mut some = |percent, key, values| {
        let chosen = rng.chance(percent);
        chosen
            .then(|| selector(rng, key, values))
            .into_iter()
            .collect()
    };
    let nodes = some(25, "zone", ["a", "b"]);
    let services = some(10, "app", ["web", "db"]);
    let interfaces = match rng.below(10) {
        0 => BTreeSet::from(["eth0".to_owned()]),
        1 => BTreeSet::from(["eth1".to_owned()]),
        _ => BTreeSet::new(),
    };
    L2Advertisement {
        name,
        pools,
        nodes,
        services,
        interfaces,
        preferred_nodes: preferred_nodes(rng),
        election: match rng.chance(habits.compat) {
            true => Election::MetallbCompat,
            false => Election::Rendezvous,
        },
        gratuitous: Gratuitous::default(),
        refresh: rng.chance(10).then(|| Duration::from_secs(20)),
    }
}

fn preferred_nodes(rng: &mut Rng) -> Vec<PreferredNodes> {
    if !rng.chance(20) {
        return Vec::new();
    }
    vec![PreferredNodes {
        weight: u8::try_from(1 + rng.below(100)).unwrap_or(1),
        nodes: selector(rng, "zone", ["a", "b"]),
    }]
}

/// What a node says of its addresses: nothing, or one that a pool may have.
pub fn node_addresses(rng: &mut Rng) -> Vec<IpAddr> {
    let families = Family::ALL.into_iter().filter(|_| rng.chance(25));
    let families: Vec<Family> = families.collect();
    families
        .into_iter()
        .map(|family| any_address(rng, family))
        .collect()
}

fn any_address(rng: &mut Rng, family: Family) -> IpAddr {
    let mut addresses = universe();
    addresses.retain(|ip| Family::of(*ip) == family);
    rng.pick(&addresses)
        .copied()
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

fn cluster_ip(family: Family, number: u8) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::new(10, 96, 0, number).into(),
        Family::V6 => Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, u16::from(number)).into(),
    }
}
