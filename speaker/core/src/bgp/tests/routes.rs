//! What routers are told, and with what attributes.

use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::State;

use super::rig::{Rig, applied, link_to_peers, with_peers};
use crate::Input;
use crate::fixtures::{bgp, ip, key, node, peer, service, slice};
use crate::peers::News;

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
