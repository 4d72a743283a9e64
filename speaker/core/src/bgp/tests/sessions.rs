//! With whom there is a session, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::State;
use ironlb_model::bgp::{Password, PeerEndpoint};

use super::rig::{Rig, fast, socket, with_peers};
use crate::fixtures::{ip, link, node, peer};
use crate::peers::{Distance, News, Passphrase, PeerInput, PeerOutput, Secret};
use crate::{Input, Output};

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
    rig.advertise(2);
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
            device: None,
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
            device: None,
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
