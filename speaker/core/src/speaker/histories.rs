//! Long random histories: however things came about, the speakers of a cluster end up with what the world says now.

use std::sync::Arc;

use ironlb_model::config::{Election, PreferredNodes};
use ironlb_model::node::EXCLUDE_LABEL;
use ironlb_model::{Config, L2Advertisement, Service, TrafficPolicy};
use proptest::prelude::*;

use super::*;
use crate::fixtures::{config, key, l2, labels, link, node, pool, selector, service, slice};

const NODES: [&str; 4] = ["a", "b", "c", "d"];
const SERVICES: [&str; 3] = ["x", "y", "z"];
const IPS: [&str; 5] = [
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.129",
    "2001:db8::1",
    "203.0.113.1",
];

/// An event of the cluster, by the kind of object: events of one kind keep their order, others may overtake.
#[derive(Clone, Debug)]
struct Step {
    kind: usize,
    input: Input,
}

fn of_node() -> impl Strategy<Value = Step> {
    (0..NODES.len(), 0..8_u8).prop_map(|(index, state)| {
        let name = NODES[index];
        let mut changed = node(name);
        match state {
            0 => {
                return Step {
                    kind: 0,
                    input: Input::NodeDeleted(name.into()),
                };
            }
            1 => changed.network_unavailable = true,
            2 => changed.labels = labels(&[(EXCLUDE_LABEL, "")]),
            3 | 4 => changed.labels = labels(&[("rack", "1")]),
            _ => {}
        }
        Step {
            kind: 0,
            input: Input::NodeApplied(changed),
        }
    })
}

fn of_service() -> impl Strategy<Value = Step> {
    let ips = prop_oneof![
        3 => Just(IPS[..1].to_vec()),
        2 => proptest::sample::subsequence(&IPS[..], 0..=3),
    ];
    (0..SERVICES.len(), ips, any::<[bool; 4]>(), 0..16_u8).prop_map(|(index, ips, flags, state)| {
        let name = SERVICES[index];
        if state == 0 {
            return Step {
                kind: 1,
                input: Input::ServiceDeleted(key(name)),
            };
        }
        let [cluster, also, tier, shares] = flags;
        let mut changed: Service = service(name, &ips);
        if !(cluster && also) {
            changed.traffic_policy = TrafficPolicy::Local;
        }
        if tier {
            changed.labels = labels(&[("tier", "web")]);
        }
        changed.sharing_key = shares.then(String::new);
        changed.class = (state == 1).then(|| "other".to_owned());
        changed.is_load_balancer = state != 2;
        Step {
            kind: 1,
            input: Input::ServiceApplied(Box::new(changed)),
        }
    })
}

fn of_endpoints() -> impl Strategy<Value = Step> {
    let nodes = proptest::sample::subsequence(&NODES[..], 0..=4);
    (0..SERVICES.len(), 0..2_u8, nodes, 0..6_u8).prop_map(|(index, number, nodes, state)| {
        let service = SERVICES[index];
        let changed = slice(service, &format!("{service}-{number}"), &nodes);
        let input = match state {
            0 => Input::EndpointsDeleted(changed.key),
            _ => Input::EndpointsApplied(changed),
        };
        Step { kind: 2, input }
    })
}

fn of_config(compat: bool) -> impl Strategy<Value = Step> {
    proptest::array::uniform6(proptest::bool::weighted(0.3)).prop_map(
        move |[low, high, racks, tiers, preferred, named]| {
            let mut config = config([]);
            if !low {
                let low = pool("low", &["192.0.2.0/25", "2001:db8::/64"]);
                config.pools.insert("low".into(), low);
            }
            if !high {
                config
                    .pools
                    .insert("high".into(), pool("high", &["192.0.2.128/25"]));
            }
            advertise(&mut config, l2("all"), |all| {
                if racks {
                    all.nodes = vec![selector(&[("rack", "1")])];
                }
                if compat {
                    all.election = Election::MetallbCompat;
                }
                if preferred {
                    let weight = 7;
                    let nodes = selector(&[("rack", "1")]);
                    all.preferred_nodes = vec![PreferredNodes { weight, nodes }];
                }
            });
            advertise(&mut config, l2("some"), |some| {
                if tiers {
                    some.services = vec![selector(&[("tier", "web")])];
                }
                if named {
                    some.interfaces = ["eth1".to_owned()].into();
                }
            });
            Step {
                kind: 3,
                input: Input::Config(Arc::new(config)),
            }
        },
    )
}

fn advertise(
    config: &mut Config,
    mut one: L2Advertisement,
    change: impl FnOnce(&mut L2Advertisement),
) {
    change(&mut one);
    config.l2_advertisements.insert(one.name.clone(), one);
}

fn history(compat: bool) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => of_node(), 3 => of_service(), 3 => of_endpoints(), 1 => of_config(compat)
    ];
    let nodes = Just(NODES.map(|name| Step {
        kind: 0,
        input: Input::NodeApplied(node(name)),
    }));
    (
        nodes,
        of_config(compat),
        proptest::collection::vec(step, 1..60),
    )
        .prop_map(|(nodes, config, steps)| nodes.into_iter().chain([config]).chain(steps).collect())
}

/// Which kind is next: mixed, or one after the other, beginning with any.
fn turns() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        proptest::collection::vec(0..4_usize, 1..40),
        (0..4_usize).prop_map(|first| vec![first]),
    ]
}

fn new_speaker(name: &str) -> Speaker {
    let mut speaker = Speaker::new(Settings {
        node: name.into(),
        class: None,
        ignore_exclude_label: false,
        drain_taints: Default::default(),
        excluded_interfaces: Vec::new(),
    });
    speaker.handle(Time::ZERO, Input::LinkApplied(link(2, "eth0")));
    speaker.handle(Time::ZERO, Input::LinkApplied(link(3, "eth1")));
    speaker
}

/// Gives a speaker the whole history, kinds interleaved as `choices` says, with [`Input::Synced`] somewhere in it.
fn live(name: &str, history: &[Step], choices: &[usize], synced_at: usize) -> Speaker {
    let mut speaker = new_speaker(name);
    let queue = |kind| {
        history
            .iter()
            .filter(move |step| step.kind == kind)
            .map(|step| &step.input)
    };
    let mut queues = [0, 1, 2, 3].map(|kind| queue(kind).collect::<VecDeque<_>>());
    let mut choice = choices.iter().cycle();
    for turn in 0..history.len() {
        if turn == synced_at {
            speaker.handle(Time::ZERO, Input::Synced);
        }
        let first = *choice.next().unwrap_or(&0);
        let next = (0..4).find_map(|offset| queues[(first + offset) % 4].pop_front());
        speaker.handle(Time::ZERO, next.unwrap().clone());
    }
    // Said again it would have everything decided anew, and hide what was missed.
    if synced_at >= history.len() {
        speaker.handle(Time::ZERO, Input::Synced);
    }
    speaker
}

/// What the speaker does now, but for addresses that are in no pool: those depend on what was before.
fn conduct(speaker: &Speaker, config: &Config) -> Vec<(ServiceKey, IpAddr, Offer, bool)> {
    let pooled = |ip: &IpAddr| {
        let mut ranges = config.pools.values().flat_map(|pool| &pool.ranges);
        ranges.any(|range| range.contains(*ip))
    };
    let all = speaker.announced().filter(|(_, ip)| pooled(ip));
    all.map(|(key, ip)| {
        let offer = speaker.held.get(&ip).cloned().unwrap();
        (key.clone(), ip, offer, speaker.responder.holds(ip))
    })
    .collect()
}

/// The addresses of a Service that the decision gives to this speaker's node.
fn owned_by(speaker: &Speaker, key: &ServiceKey) -> Vec<IpAddr> {
    let ip = |announcement| match announcement {
        decide::Announcement::Layer2 { ip, .. } => Some(ip),
        decide::Announcement::Bgp { .. } => None,
    };
    let on = decide::layer2_on(&speaker.world, key, &speaker.node);
    on.unwrap_or_default().into_iter().filter_map(ip).collect()
}

fn last_config(history: &[Step]) -> Arc<Config> {
    let config = |step: &Step| match &step.input {
        Input::Config(config) => Some(config.clone()),
        _ => None,
    };
    history.iter().rev().find_map(config).unwrap()
}

/// The objects that are there at the end, and nothing of how they came.
fn final_world(history: &[Step]) -> Vec<Step> {
    let object = |step: &Step| match &step.input {
        Input::NodeApplied(node) => format!("node {}", node.name),
        Input::NodeDeleted(name) => format!("node {name}"),
        Input::ServiceApplied(service) => format!("service {}", service.key),
        Input::ServiceDeleted(key) => format!("service {key}"),
        Input::EndpointsApplied(slice) => format!("slice {}", slice.key),
        Input::EndpointsDeleted(key) => format!("slice {key}"),
        _ => "config".to_owned(),
    };
    let last: BTreeMap<String, &Step> = history.iter().map(|step| (object(step), step)).collect();
    last.into_values().cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn one_node_answers_for_each_address_and_the_past_does_not_matter(
        history in history(false),
        choices in proptest::collection::vec(turns(), 4),
        synced_at in proptest::collection::vec(0..12_usize, 4),
    ) {
        let config = last_config(&history);
        let settled = final_world(&history);
        let mut holders: BTreeMap<IpAddr, Vec<&str>> = BTreeMap::new();
        let mut expected: BTreeSet<IpAddr> = BTreeSet::new();
        for (index, name) in NODES.iter().enumerate() {
            let speaker = live(name, &history, &choices[index], synced_at[index]);
            let fresh = live(name, &settled, &[0], usize::MAX);
            prop_assert_eq!(conduct(&speaker, &config), conduct(&fresh, &config));
            for (key, ip, _, answers) in conduct(&speaker, &config) {
                prop_assert!(answers);
                let owned = owned_by(&speaker, &key);
                prop_assert!(owned.contains(&ip), "{:?}", owned);
                let of = holders.entry(ip).or_default();
                if !of.contains(name) {
                    of.push(name);
                }
            }
            for key in fresh.world().services() {
                for (ip, owner) in decide::layer2(fresh.world(), key).unwrap_or_default() {
                    expected.extend(owner.is_ok().then_some(ip));
                }
            }
            let silent: Vec<IpAddr> = speaker.held.keys().filter(|ip| !speaker.responder.holds(**ip)).copied().collect();
            prop_assert!(silent.is_empty(), "{:?}", silent);
        }
        prop_assert!(holders.values().all(|nodes| nodes.len() == 1), "{:?}", holders);
        prop_assert_eq!(holders.into_keys().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn in_metallb_compat_too_the_past_does_not_matter(
        history in history(true),
        choices in turns(),
        synced_at in 0..12_usize,
    ) {
        let config = last_config(&history);
        for name in NODES {
            let speaker = live(name, &history, &choices, synced_at);
            let fresh = live(name, &final_world(&history), &[0], usize::MAX);
            prop_assert_eq!(conduct(&speaker, &config), conduct(&fresh, &config));
        }
    }
}
