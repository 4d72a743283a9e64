//! Peers that BFD watches.

use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::State;
use ironlb_model::BgpPeer;

use super::rig::{Rig, fast, with_peers};
use super::router::Router;
use crate::fixtures::{ip, peer};
use crate::peers::{News, PeerInput, PeerOutput};
use crate::{Input, Output};

#[test]
fn a_peer_that_bfd_has_lost_is_left_at_once() {
    let mut config = with_peers([]);
    let mut watched = peer("tor");
    watched.bfd_profile = Some("fast".into());
    config.bfd_profiles.insert("fast".into(), fast());
    config.peers.insert("tor".into(), watched);
    let mut rig = Rig::announcing(config);
    let key = rig.watch().unwrap();
    assert_eq!(key.peer, ip("198.51.100.1"));
    assert!(!key.multihop);
    rig.news();
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: true }));
    assert!(rig.news().is_empty());
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: false }));
    let news = rig.news();
    assert!(matches!(&news[..], [News::Down(_)]), "{news:?}");
}

#[test]
fn peers_at_one_place_are_watched_by_one_session_until_the_last_of_them_goes() {
    let watched = |name: &str, port| BgpPeer {
        port,
        bfd_profile: Some("fast".into()),
        ..peer(name)
    };
    let config = |peers: &[(&str, u16)]| {
        let peers = peers.iter().map(|(name, port)| watched(name, *port));
        let mut config = with_peers(peers);
        config.bfd_profiles.insert("fast".into(), fast());
        config
    };
    let mut rig = Rig::announcing(config(&[("tor", 179), ("tor-again", 1790)]));
    let asked = |rig: &mut Rig| {
        let said = std::mem::take(&mut rig.said);
        let watches = said.into_iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Watch { key, .. }) => Some((key.peer, true)),
            Output::Peer(PeerOutput::Unwatch(key)) => Some((key.peer, false)),
            _ => None,
        });
        watches.collect::<Vec<_>>()
    };
    let place = ip("198.51.100.1");
    assert_eq!(asked(&mut rig), [(place, true)]);
    rig.feed(Input::Config(Arc::new(config(&[("tor-again", 1790)]))));
    assert_eq!(asked(&mut rig), []);
    rig.feed(Input::Config(Arc::new(config(&[]))));
    assert_eq!(asked(&mut rig), [(place, false)]);
}

#[test]
fn a_strict_peer_is_told_nothing_before_bfd_is_up_and_a_second_one_knows_that_it_is() {
    let mut config = with_peers([]);
    let mut strict = peer("tor");
    strict.bfd_profile = Some("fast".into());
    strict.bfd_strict = true;
    config.bfd_profiles.insert("fast".into(), fast());
    config.peers.insert("tor".into(), strict.clone());
    let mut rig = Rig::announcing(config.clone());
    rig.run(Duration::from_secs(30));
    assert_eq!(rig.router("tor").peer.state(), State::BfdUpPending);
    let key = rig.watch().unwrap();
    rig.reach("tor");
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: true }));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("tor").prefixes(), ["192.0.2.1/32"]);

    // At the same place, behind another port.
    let mut second = strict;
    second.name = "second".into();
    second.port = 1790;
    config.peers.insert("second".into(), second);
    rig.routers.insert("second".into(), Router::new());
    rig.reach("second");
    rig.feed(Input::Config(Arc::new(config)));
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("second").prefixes(), ["192.0.2.1/32"]);
}
