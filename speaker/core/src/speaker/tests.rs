use std::sync::Arc;

use ironlb_model::{Config, Mac, Service};

use super::*;
use crate::fixtures::{config, key, l2, link, node, pool, service, slice};
use crate::ports::DEFAULT_EXCLUDED_INTERFACES;

const ETH0: u32 = 2;
const CLIENT: Mac = Mac([2, 9, 9, 9, 9, 9]);

fn speaker(name: &str) -> Speaker {
    let patterns = DEFAULT_EXCLUDED_INTERFACES.iter();
    Speaker::new(Settings {
        node: name.into(),
        class: None,
        ignore_exclude_label: false,
        drain_taints: Default::default(),
        excluded_interfaces: patterns
            .map(|pattern| Regex::new(pattern).unwrap())
            .collect(),
    })
}

fn one_pool() -> Config {
    let mut config = config([pool("first", &["192.0.2.0/24", "2001:db8::/64"])]);
    config.l2_advertisements.insert("all".into(), l2("all"));
    config
}

/// Feeds it and gives back everything that it wants done.
fn feed(speaker: &mut Speaker, now: u64, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
    let mut outputs = Vec::new();
    for input in inputs {
        speaker.handle(Time::from_secs(now), input);
        outputs.extend(std::iter::from_fn(|| speaker.poll()));
    }
    outputs
}

fn applied(service: Service) -> Input {
    Input::ServiceApplied(Box::new(service))
}

fn cluster() -> Vec<Input> {
    vec![
        Input::LinkApplied(link(ETH0, "eth0")),
        Input::Config(Arc::new(one_pool())),
        Input::NodeApplied(node("n1")),
        applied(service("web", &["192.0.2.1", "2001:db8::1"])),
        Input::EndpointsApplied(slice("web", "web", &["n1"])),
    ]
}

/// The one node of a cluster, announcing.
fn announcing() -> Speaker {
    let mut speaker = speaker("n1");
    feed(
        &mut speaker,
        0,
        cluster().into_iter().chain([Input::Synced]),
    );
    speaker
}

fn held(speaker: &Speaker) -> Vec<String> {
    speaker.announced().map(|(_, ip)| ip.to_string()).collect()
}

fn frames(outputs: &[Output]) -> usize {
    outputs
        .iter()
        .filter(|output| matches!(output, Output::Send { .. }))
        .count()
}

fn reasons(outputs: &[Output]) -> Vec<&'static str> {
    let reason = |output: &Output| match output {
        Output::Event(event) => Some(event.reason),
        _ => None,
    };
    outputs.iter().filter_map(reason).collect()
}

/// An ARP packet from `CLIENT`: operation 1 asks for `target`, 2 says that `sender` is its own.
fn arp(operation: u8, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut frame = vec![0xff; 6];
    frame.extend(CLIENT.0);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, operation]);
    frame.extend(CLIENT.0);
    frame.extend(sender);
    frame.extend([0; 6]);
    frame.extend(target);
    frame.resize(60, 0);
    frame
}

fn ask(speaker: &mut Speaker, target: [u8; 4]) -> usize {
    speaker.handle_frame(Time::from_secs(50), ETH0, &arp(1, [192, 0, 2, 99], target));
    frames(&std::iter::from_fn(|| speaker.poll()).collect::<Vec<_>>())
}

#[test]
fn nothing_is_announced_before_everything_is_read() {
    let mut speaker = speaker("n1");
    let before = feed(&mut speaker, 0, cluster());
    assert!(matches!(
        &before[..],
        [Output::Listen {
            interface: ETH0,
            arp: true,
            ndp: true,
            ..
        }]
    ));
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
    let after = feed(&mut speaker, 0, [Input::Synced]);
    assert_eq!(held(&speaker), ["192.0.2.1", "2001:db8::1"]);
    assert!(frames(&after) >= 3, "{after:?}");
    assert!(after.iter().any(|output| matches!(
        output,
        Output::Join {
            interface: ETH0,
            ..
        }
    )));
    assert_eq!(reasons(&after), ["nodeAssigned"]);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 1);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 2]), 0);
}

#[test]
fn every_way_to_lose_a_service_stops_the_answers_at_once() {
    let mut foreign = service("web", &["192.0.2.1"]);
    foreign.class = Some("example.com/other".to_owned());
    let mut unavailable = node("n1");
    unavailable.network_unavailable = true;
    let ways = [
        Input::ServiceDeleted(key("web")),
        applied(service("web", &[])),
        applied(foreign),
        Input::EndpointsDeleted(slice("web", "web", &[]).key),
        Input::EndpointsApplied(slice("web", "web", &[])),
        Input::NodeApplied(unavailable),
        Input::NodeDeleted("n1".into()),
        Input::Config(Arc::new(config([pool(
            "first",
            &["192.0.2.0/24", "2001:db8::/64"],
        )]))),
        Input::LinkDeleted(ETH0),
    ];
    for way in ways {
        let mut speaker = announcing();
        let outputs = feed(&mut speaker, 10, [way.clone()]);
        assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0, "{way:?}");
        assert_eq!(frames(&outputs), 0, "{way:?}");
        let gone = |output: &Output| matches!(output, Output::Layer2(status) if status.interfaces.is_none());
        assert!(outputs.iter().any(gone), "{way:?}: {outputs:?}");
        let left = |output: &Output| matches!(output, Output::Leave { .. } | Output::Ignore { .. });
        assert!(outputs.iter().any(left), "{way:?}: {outputs:?}");
        assert_eq!(frames(&feed(&mut speaker, 20, [Input::Tick])), 0, "{way:?}");
    }
}

#[test]
fn nothing_happens_when_nothing_changed() {
    let mut speaker = announcing();
    feed(&mut speaker, 100, [Input::Tick, Input::Tick, Input::Tick]);
    let again = feed(
        &mut speaker,
        100,
        cluster().into_iter().chain([Input::Synced]),
    );
    assert_eq!(again, []);
}

#[test]
fn a_burst_follows_the_schedule_and_ends() {
    let mut speaker = announcing();
    let mut rounds = 0;
    while let Some(now) = speaker.deadline() {
        speaker.handle(now, Input::Tick);
        rounds += u32::from(std::iter::from_fn(|| speaker.poll()).count() > 0);
        assert!(now <= Time::from_millis(4_400) && rounds <= 4, "{now}");
    }
    assert_eq!(rounds, 4);
}

#[test]
fn an_address_whose_pool_vanished_stays_until_the_controller_has_moved_it() {
    let mut speaker = announcing();
    let mut elsewhere = config([pool("second", &["198.51.100.0/24"])]);
    elsewhere.l2_advertisements.insert("all".into(), l2("all"));
    let without = Input::Config(Arc::new(elsewhere));
    let mut outputs = feed(&mut speaker, 10, [without.clone(), without.clone()]);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 1);
    outputs.extend(feed(&mut speaker, 30, [Input::Tick]));
    assert_eq!(reasons(&outputs), ["announceFailed"]);

    let stray = [
        applied(service("new", &["192.0.2.7"])),
        Input::EndpointsApplied(slice("new", "new", &["n1"])),
    ];
    feed(&mut speaker, 31, stray);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 7]), 0);

    feed(
        &mut speaker,
        32,
        [applied(service("web", &["198.51.100.1"]))],
    );
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
    assert_eq!(ask(&mut speaker, [198, 51, 100, 1]), 1);
}

#[test]
fn an_address_that_outlived_its_pool_still_needs_endpoints_and_a_fit_node() {
    let vanish = || Input::Config(Arc::new(config([])));
    let mut speaker = announcing();
    feed(&mut speaker, 10, [vanish()]);
    feed(
        &mut speaker,
        11,
        [Input::EndpointsApplied(slice("web", "web", &[]))],
    );
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
    let mut speaker = announcing();
    feed(
        &mut speaker,
        10,
        [vanish(), vanish(), Input::NodeDeleted("n1".into())],
    );
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
    feed(&mut speaker, 11, [Input::NodeApplied(node("n1")), vanish()]);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 1);
    feed(
        &mut speaker,
        12,
        [
            applied(service("web", &[])),
            vanish(),
            applied(service("web", &["192.0.2.1"])),
        ],
    );
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
}

#[test]
fn a_pool_that_says_hold_has_its_addresses_announced_after_a_restart_too() {
    let mut holding = one_pool();
    let mut shrunk = pool("first", &["192.0.2.128/25"]);
    shrunk.on_removal = ironlb_model::config::OnRemoval::Hold;
    holding.pools.insert("first".into(), shrunk);
    let mut web = service("web", &["192.0.2.1"]);
    web.allocated_from = Some("first".to_owned());
    let mut speaker = speaker("n1");
    feed(&mut speaker, 0, cluster());
    let now = [
        Input::Config(Arc::new(holding)),
        applied(web),
        Input::Synced,
    ];
    let outputs = feed(&mut speaker, 0, now);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 1);
    assert_eq!(reasons(&outputs), ["nodeAssigned"]);
}

#[test]
fn an_interface_that_does_not_exist_is_reported_once_it_stays_away() {
    let mut config = one_pool();
    let mut named = l2("all");
    named.interfaces = ["eth7".to_owned()].into();
    config.l2_advertisements.insert("all".into(), named);
    let mut speaker = announcing();
    let outputs = feed(
        &mut speaker,
        10,
        [Input::Config(Arc::new(config)), Input::Tick],
    );
    assert_eq!(reasons(&outputs), [] as [&str; 0]);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
    let told = feed(&mut speaker, 15, [Input::Tick]);
    assert!(
        matches!(&told[..], [Output::Event(event)] if event.reason == "announceFailed"
        && event.message.contains("none of the interfaces \"eth7\""))
    );
    let there = feed(&mut speaker, 16, [Input::LinkApplied(link(7, "eth7"))]);
    assert!(frames(&there) >= 3);
    let status = |output: &Output| {
        matches!(output, Output::Layer2(status)
        if status.interfaces == Some(["eth7".to_owned()].into()))
    };
    assert!(there.iter().any(status));
}

#[test]
fn an_index_that_another_interface_has_now_is_not_mistaken_for_the_old_one() {
    let mut config = one_pool();
    let mut named = l2("all");
    named.interfaces = ["eth0".to_owned()].into();
    config.l2_advertisements.insert("all".into(), named);
    let mut speaker = announcing();
    feed(
        &mut speaker,
        10,
        [Input::Config(Arc::new(config)), Input::LinkDeleted(ETH0)],
    );
    let other = feed(&mut speaker, 11, [Input::LinkApplied(link(ETH0, "wan0"))]);
    assert_eq!(frames(&other), 0, "{other:?}");
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
    let back = feed(&mut speaker, 12, [Input::LinkApplied(link(9, "eth0"))]);
    assert!(back.iter().all(|output| !matches!(
        output,
        Output::Send {
            interface: ETH0,
            ..
        }
    )));
    assert!(frames(&back) >= 3, "{back:?}");
}

#[test]
fn an_interface_that_is_swapped_for_another_gets_nothing_that_was_meant_for_the_first() {
    let mut config = one_pool();
    let mut named = l2("all");
    named.interfaces = ["eth0".to_owned()].into();
    config.l2_advertisements.insert("all".into(), named);
    let mut speaker = announcing();
    feed(&mut speaker, 10, [Input::Config(Arc::new(config))]);
    let mut other = link(ETH0, "wan0");
    other.mac = Some(Mac([2, 0, 0, 0, 0, 77]));
    let outputs = feed(&mut speaker, 11, [Input::LinkApplied(other)]);
    assert_eq!(frames(&outputs), 0, "{outputs:?}");
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
}

#[test]
fn a_foreign_owner_is_reported_to_every_service_on_the_address_and_answered_back() {
    let mut speaker = announcing();
    feed(&mut speaker, 40, [Input::Tick, Input::Tick, Input::Tick]);
    feed(&mut speaker, 40, [applied(service("db", &["192.0.2.1"]))]);
    speaker.handle_frame(
        Time::from_secs(41),
        ETH0,
        &arp(2, [192, 0, 2, 1], [192, 0, 2, 1]),
    );
    let mut outputs = Vec::new();
    while let Some(now) = speaker.deadline().filter(|now| *now < Time::from_secs(50)) {
        speaker.handle(now, Input::Tick);
        outputs.extend(std::iter::from_fn(|| speaker.poll()));
    }
    assert_eq!(reasons(&outputs), ["addressConflict", "addressConflict"]);
    assert!(frames(&outputs) > 0);
}

#[test]
fn an_address_that_two_services_share_is_held_until_both_are_gone() {
    let mut speaker = announcing();
    let db = [
        applied(service("db", &["192.0.2.1"])),
        Input::EndpointsApplied(slice("db", "db", &["n1"])),
    ];
    let joined = feed(&mut speaker, 20, db);
    assert_eq!(
        frames(&joined),
        0,
        "the address is announced already: {joined:?}"
    );
    feed(&mut speaker, 21, [Input::ServiceDeleted(key("web"))]);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 1);
    feed(&mut speaker, 22, [Input::ServiceDeleted(key("db"))]);
    assert_eq!(ask(&mut speaker, [192, 0, 2, 1]), 0);
}

#[test]
fn a_service_that_joins_an_address_can_move_it_for_the_others_too() {
    let local = |name: &str| Service {
        traffic_policy: ironlb_model::TrafficPolicy::Local,
        ..service(name, &["192.0.2.9"])
    };
    for both in [["n1", "n2"], ["n2", "n1"]] {
        for joined in both {
            let mut owners = Vec::new();
            for name in both {
                let mut speaker = speaker(name);
                feed(
                    &mut speaker,
                    0,
                    cluster()
                        .into_iter()
                        .chain([Input::NodeApplied(node("n2"))]),
                );
                let known = [
                    Input::EndpointsApplied(slice("a", "a", &both)),
                    Input::EndpointsApplied(slice("b", "b", &[joined])),
                    Input::Synced,
                    applied(local("a")),
                ];
                feed(&mut speaker, 1, known);
                feed(&mut speaker, 2, [applied(local("b"))]);
                owners.extend((ask(&mut speaker, [192, 0, 2, 9]) == 1).then_some(name));
            }
            assert_eq!(owners, [joined]);
        }
    }
}

#[test]
fn a_service_that_stands_back_for_its_sharers_is_told_by_the_owner_alone() {
    let mut told = Vec::new();
    for name in ["n1", "n2"] {
        let mut speaker = speaker(name);
        let mut outputs = feed(&mut speaker, 0, cluster());
        for (service_name, at) in [("a", "n1"), ("b", "n2")] {
            let mut local = service(service_name, &["192.0.2.9"]);
            local.traffic_policy = ironlb_model::TrafficPolicy::Local;
            let endpoints = slice(service_name, service_name, &[at]);
            let inputs = [applied(local), Input::EndpointsApplied(endpoints)];
            outputs.extend(feed(&mut speaker, 0, inputs));
        }
        let rest = [Input::NodeApplied(node("n2")), Input::Synced];
        outputs.extend(feed(&mut speaker, 0, rest));
        outputs.extend(feed(&mut speaker, 60, [Input::Tick]));
        told.extend(outputs.into_iter().filter_map(|output| match output {
            Output::Event(event) if event.reason == "announceFailed" => Some((name, event)),
            _ => None,
        }));
    }
    assert!(
        matches!(&told[..], [("n1", event)] if event.service == key("b")
        && event.message.contains("together with default/a")),
        "{told:?}"
    );
}
