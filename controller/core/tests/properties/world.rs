//! Small random configurations and Services.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::config::OnRemoval;
use ironlb_model::{
    Family, IpFamilyPolicy, LabelSelector, Labels, Name, Node, Pool, Port, Protocol, Range,
    Service, ServiceAllocation, ServiceKey, TrafficPolicy,
};
use proptest::prelude::*;

/// Every range that a pool may have; no two overlap.
const RANGES: [(&str, &str); 8] = [
    ("10.0.0.254", "10.0.1.1"),
    ("10.0.2.1", "10.0.2.2"),
    ("10.0.3.1", "10.0.3.1"),
    ("10.0.2.5", "10.0.2.6"),
    ("2001:db8::1", "2001:db8::2"),
    ("2001:db8::10", "2001:db8::11"),
    ("2001:db8:1::ff", "2001:db8:1::ff"),
    ("10.0.4.1", "10.0.4.3"),
];

/// Addresses to ask for: some of every range, and some of none.
const WISHES: [&str; 9] = [
    "10.0.0.255",
    "10.0.1.1",
    "10.0.2.1",
    "10.0.3.1",
    "10.0.4.2",
    "192.0.2.1",
    "2001:db8::1",
    "2001:db8::11",
    "2001:db8:1::ff",
];

pub(crate) type Pools = BTreeMap<Name, Pool>;

/// One of three nodes, and some of those addresses.
pub(crate) fn node() -> impl Strategy<Value = Node> {
    let addresses = prop::collection::btree_set(0..WISHES.len(), 0..4);
    (0u8..3, addresses).prop_map(|(n, addresses)| Node {
        name: format!("n{n}").into(),
        addresses: addresses
            .iter()
            .map(|n| WISHES[*n].parse().unwrap())
            .collect(),
        ..Node::default()
    })
}

/// Up to four pools, among which the ranges are dealt out.
pub(crate) fn pools() -> impl Strategy<Value = Pools> {
    let deal = prop::collection::vec((0usize..5, any::<u8>()), RANGES.len());
    (deal, prop::collection::vec(traits(), 4)).prop_map(|(mut deal, traits)| {
        let mut pools: Vec<Pool> = (0..).zip(traits).map(|(n, pool)| named(n, pool)).collect();
        let mut ranges: Vec<_> = RANGES.iter().zip(deal.drain(..)).collect();
        ranges.sort_by_key(|(_, (_, order))| *order);
        for ((first, last), (to, _)) in ranges {
            let range = Range::new(first.parse().unwrap(), last.parse().unwrap()).unwrap();
            if let Some(pool) = pools.get_mut(to) {
                pool.ranges.push(range);
            }
        }
        let filled = pools.into_iter().filter(|pool| !pool.ranges.is_empty());
        filled.map(|pool| (pool.name.clone(), pool)).collect()
    })
}

fn named(n: usize, pool: Pool) -> Pool {
    Pool {
        name: format!("p{n}").into(),
        ..pool
    }
}

fn traits() -> impl Strategy<Value = Pool> {
    let allocation = (0u32..3, 0u8..8, any::<bool>());
    let allocation = prop::option::weighted(0.3, allocation);
    let rare = || prop::bool::weighted(0.2);
    let flags = (rare(), rare(), rare());
    (allocation, flags, 0u64..3).prop_map(|(allocation, (manual, avoid, hold), cool)| Pool {
        name: "".into(),
        labels: Labels::new(),
        ranges: Vec::new(),
        auto_assign: !manual,
        avoid_buggy_ips: avoid,
        allocation: allocation.map(|(priority, namespaces, web)| ServiceAllocation {
            priority,
            namespaces: ["x", "y"]
                .iter()
                .zip([1, 2])
                .filter(|(_, bit)| namespaces & bit != 0)
                .map(|(name, _)| (*name).to_owned())
                .collect(),
            namespace_selectors: (namespaces & 4 != 0)
                .then(|| selector("team", "y"))
                .into_iter()
                .collect(),
            service_selectors: web.then(|| selector("tier", "web")).into_iter().collect(),
        }),
        on_removal: if hold {
            OnRemoval::Hold
        } else {
            OnRemoval::Move
        },
        cool_down: Duration::from_secs(10 * cool),
    })
}

fn selector(key: &str, value: &str) -> LabelSelector {
    LabelSelector {
        match_labels: Labels::from([(key.to_owned(), value.to_owned())]),
        ..LabelSelector::default()
    }
}

/// One of ten keys in two namespaces.
pub(crate) fn key() -> impl Strategy<Value = ServiceKey> {
    (0u8..10).prop_map(|n| ServiceKey::new(if n < 6 { "x" } else { "y" }, format!("s{n}")))
}

pub(crate) fn service() -> impl Strategy<Value = Service> {
    let wish = prop::option::weighted(0.25, prop::collection::btree_set(0..WISHES.len(), 1..3));
    let pool = prop::option::weighted(0.2, 0u8..5);
    let sharing = prop::option::weighted(0.5, (0u8..2, any::<bool>()));
    let ports = prop::collection::btree_set(0u16..4, 0..3);
    (key(), 0u8..5, wish, pool, sharing, ports, any::<bool>()).prop_map(
        |(key, stack, wish, pool, sharing, ports, web)| {
            let (cluster_ips, policy): (&[&str], _) = match stack {
                0 => (&["fd00::1"], IpFamilyPolicy::SingleStack),
                1 | 2 => (&["10.96.0.1"], IpFamilyPolicy::PreferDualStack),
                3 => (&["10.96.0.1", "fd00::1"], IpFamilyPolicy::PreferDualStack),
                _ => (&["10.96.0.1", "fd00::1"], IpFamilyPolicy::RequireDualStack),
            };
            let cluster_ips: Vec<IpAddr> =
                cluster_ips.iter().map(|ip| ip.parse().unwrap()).collect();
            let wish = wish.map(|wish| {
                let wish: BTreeSet<&str> = wish.iter().map(|n| WISHES[*n]).collect();
                wish.into_iter().collect::<Vec<_>>().join(",")
            });
            let port = |port: &u16| Port {
                name: port.to_string(),
                protocol: Protocol::Tcp,
                port: *port,
            };
            let tier = if web { "web" } else { "db" };
            Service {
                labels: Labels::from([("tier".to_owned(), tier.to_owned())]),
                ip_families: cluster_ips.iter().map(|ip| Family::of(*ip)).collect(),
                cluster_ips,
                ip_family_policy: policy,
                requested_ips: wish,
                requested_pool: pool.map(|n| format!("p{n}")),
                traffic_policy: match sharing {
                    Some((_, true)) => TrafficPolicy::Local,
                    _ => TrafficPolicy::Cluster,
                },
                sharing_key: sharing.map(|(key, _)| format!("k{key}")),
                ports: ports.iter().map(port).collect(),
                ..Service::new(key)
            }
        },
    )
}

/// Whether two Services may have one address.
pub(crate) fn may_share(one: &Service, other: &Service) -> bool {
    let local = |service: &Service| match service.traffic_policy {
        TrafficPolicy::Local => Some(service.selector.clone()),
        TrafficPolicy::Cluster => None,
    };
    let used = |port: &Port| {
        let same = |p: &Port| p.port == port.port && p.protocol == port.protocol;
        other.ports.iter().any(same)
    };
    one.sharing_key.is_some()
        && one.sharing_key == other.sharing_key
        && local(one) == local(other)
        && !one.ports.iter().any(used)
}
