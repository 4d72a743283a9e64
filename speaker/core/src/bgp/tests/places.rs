//! Where a peer is, and who watches it there, when what is known of it changes in an unlucky order.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::State;
use ironlb_model::bgp::{Password, PeerEndpoint};
use ironlb_model::{BfdProfile, BgpPeer, Config, Link, Name};

use super::rig::{Rig, fast, socket, with_peers};
use crate::fixtures::{ip, link, peer};
use crate::peers::{News, Passphrase, PeerInput, PeerOutput, Secret};
use crate::{Input, Output};

/// A peer whose password is in a Secret.
fn secret(peer: BgpPeer) -> BgpPeer {
    let password = Password::Secret("bgp".to_owned());
    BgpPeer { password, ..peer }
}

/// A peer that BFD watches.
fn watched(peer: BgpPeer) -> BgpPeer {
    let bfd_profile = Some("fast".into());
    BgpPeer {
        bfd_profile,
        ..peer
    }
}

fn at(peer: BgpPeer, endpoint: PeerEndpoint) -> BgpPeer {
    BgpPeer { endpoint, ..peer }
}

fn with_profile(peers: impl IntoIterator<Item = BgpPeer>, profile: BfdProfile) -> Config {
    let mut config = with_peers(peers);
    config.bfd_profiles.insert("fast".into(), profile);
    config
}

fn with_bfd(peers: impl IntoIterator<Item = BgpPeer>) -> Config {
    with_profile(peers, fast())
}

impl Rig {
    fn configure(&mut self, config: Config) {
        self.feed(Input::Config(Arc::new(config)));
    }

    /// The BFD sessions asked for since this was last called, and those given up.
    fn watches(&mut self) -> Vec<(ironlb_bfd::Key, Option<ironlb_bfd::Settings>)> {
        let said = self.said.iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Watch { key, settings }) => {
                Some((*key, Some(settings.clone())))
            }
            Output::Peer(PeerOutput::Unwatch(key)) => Some((*key, None)),
            _ => None,
        });
        let said = said.collect();
        self.said.clear();
        said
    }

    /// Where it was dialled since the said was last forgotten.
    fn dialled(&self) -> Vec<SocketAddr> {
        let targets = self.said.iter().filter_map(|output| match output {
            Output::Peer(PeerOutput::Connect { target, .. }) => Some(target.remote),
            _ => None,
        });
        targets.collect()
    }

    /// Who is found to be at the other end of a connection to port 179.
    fn adopter(&mut self, from: &str, device: Option<&str>) -> Option<Name> {
        self.said.clear();
        self.connections += 1;
        self.feed(Input::Peer(PeerInput::Accepted {
            number: self.connections,
            local: socket("198.51.100.10:179"),
            remote: socket(from),
            device: device.map(str::to_owned),
        }));
        self.said.iter().find_map(|output| match output {
            Output::Peer(PeerOutput::Adopt { peer, .. }) => Some(peer.clone()),
            _ => None,
        })
    }
}

#[test]
fn a_peer_that_waits_for_its_password_is_watched_as_configured() {
    let mut rig = Rig::announcing(with_bfd([watched(peer("tor"))]));
    let (key, settings) = rig.watches().remove(0);
    let before = settings.unwrap();
    rig.configure(with_bfd([secret(watched(peer("tor")))]));
    assert_eq!(rig.watches(), []);
    let slow = BfdProfile {
        receive_interval: Duration::from_millis(500),
        ..fast()
    };
    rig.configure(with_profile([secret(watched(peer("tor")))], slow.clone()));
    let after = ironlb_bfd::Settings::new(&slow, false);
    assert_ne!(after, before);
    assert_eq!(rig.watches(), [(key, Some(after))]);
    rig.configure(with_bfd([secret(peer("tor"))]));
    assert_eq!(rig.watches(), [(key, None)]);
    rig.configure(with_bfd([secret(watched(peer("tor")))]));
    assert_eq!(rig.watches(), [(key, Some(before))]);
    assert_eq!(rig.router("tor").peer.state(), State::Established);
}

#[test]
fn a_peer_that_lost_its_password_is_left_at_once_when_bfd_loses_it() {
    let mut rig = Rig::announcing(with_bfd([watched(peer("tor"))]));
    let key = rig.watch().unwrap();
    rig.configure(with_bfd([secret(watched(peer("tor")))]));
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: true }));
    rig.news();
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: false }));
    let news = rig.news();
    assert!(matches!(&news[..], [News::Down(_)]), "{news:?}");
}

#[test]
fn a_peer_that_moves_to_a_place_that_is_not_there_is_not_spoken_with_where_it_was() {
    let listening = BgpPeer {
        listen_port: Some(179),
        ..watched(peer("tor"))
    };
    let mut rig = Rig::announcing(with_bfd([listening.clone()]));
    let (key, _) = rig.watches()[0].clone();
    let elsewhere = PeerEndpoint::Interface("eth9".to_owned());
    rig.configure(with_bfd([at(listening, elsewhere)]));
    assert_eq!(rig.watches(), [(key, None)]);
    rig.run(Duration::from_secs(600));
    assert_eq!(rig.dialled(), []);
    assert_eq!(rig.adopter("198.51.100.1:40000", None), None);
}

#[test]
fn a_peer_that_moves_while_its_password_is_missing_is_not_spoken_with_where_it_was() {
    let plain = Password::Plain("hunter2".into());
    let before = BgpPeer {
        password: plain,
        ..peer("tor")
    };
    let mut rig = Rig::announcing(with_peers([before]));
    rig.said.clear();
    let elsewhere = PeerEndpoint::Address(ip("198.51.100.2"));
    rig.configure(with_peers([secret(at(peer("tor"), elsewhere))]));
    rig.run(Duration::from_secs(60));
    assert_eq!(rig.dialled(), []);
    rig.feed(Input::Peer(PeerInput::Secret {
        name: "bgp".to_owned(),
        secret: Some(Secret::Password(Passphrase("hunter2".into()))),
    }));
    rig.run(Duration::from_secs(60));
    assert_eq!(rig.dialled(), [socket("198.51.100.2:179")]);
}

#[test]
fn an_unnumbered_peer_is_not_sought_on_the_interface_that_has_the_number_of_its_own() {
    let listening = BgpPeer {
        listen_port: Some(179),
        ..at(peer("tor"), PeerEndpoint::Interface("eth1".to_owned()))
    };
    let mut rig = Rig::announcing(with_peers([listening]));
    let ours = |index, name| {
        let addresses = vec![(ip("fe80::b"), 64)];
        let link = link(index, name);
        Input::LinkApplied(Link { addresses, ..link })
    };
    rig.feed(ours(7, "eth1"));
    rig.advertise(7);
    rig.run(Duration::from_secs(1));
    assert_eq!(rig.router("tor").peer.state(), State::Established);
    rig.feed(Input::LinkDeleted(7));
    rig.feed(ours(7, "eth5"));
    rig.feed(ours(8, "eth1"));
    rig.said.clear();
    let router = rig.routers.get_mut("tor").unwrap();
    let again = ironlb_bgp::Input::Reset(String::new());
    router.peer.handle(rig.now, again);
    rig.run(Duration::from_secs(60));
    assert_eq!(rig.dialled(), []);
    assert_eq!(rig.adopter("[fe80::1%7]:40000", None), None);
    rig.advertise(8);
    rig.run(Duration::from_secs(60));
    assert_eq!(rig.dialled(), [socket("[fe80::1%8]:179")]);
}

#[test]
fn two_peers_that_change_places_are_each_spoken_with_at_their_new_one() {
    let place = |last| PeerEndpoint::Address(ip(&format!("198.51.100.{last}")));
    let both = |one, other| {
        let peers = [("one", one), ("two", other)];
        with_bfd(peers.map(|(name, last)| watched(at(peer(name), place(last)))))
    };
    let mut rig = Rig::announcing(both(1, 2));
    let keys: Vec<_> = rig.watches().into_iter().map(|(key, _)| key).collect();
    rig.feed(Input::Peer(PeerInput::Bfd {
        key: keys[0],
        up: true,
    }));
    rig.configure(both(2, 1));
    rig.run(Duration::from_secs(5));
    let targets = rig.said.iter().filter_map(|output| match output {
        Output::Peer(PeerOutput::Connect { peer, target, .. }) => {
            Some((&**peer, target.remote.to_string()))
        }
        _ => None,
    });
    let targets: BTreeSet<_> = targets.collect();
    let expected = [("one", "198.51.100.2:179"), ("two", "198.51.100.1:179")];
    let expected = expected.map(|(name, place)| (name, place.to_owned()));
    assert_eq!(targets, expected.into());
    // The sessions that watch the places stay, and say what they say of who is there now.
    assert_eq!(rig.watches(), []);
    rig.news();
    rig.feed(Input::Peer(PeerInput::Bfd {
        key: keys[0],
        up: false,
    }));
    rig.run(Duration::from_millis(1));
    let states = ["one", "two"].map(|name| rig.router(name).peer.state() == State::Established);
    assert_eq!(states, [true, false]);
}

#[test]
fn a_connection_is_from_the_peer_in_the_vrf_that_it_came_in_by() {
    let peers = [
        ("blue", Some("blue")),
        ("default", None),
        ("red", Some("red")),
    ];
    let peers = peers.map(|(name, vrf)| BgpPeer {
        vrf: vrf.map(str::to_owned),
        listen_port: Some(179),
        passive: true,
        ..peer(name)
    });
    let mut rig = Rig::announcing(with_peers(peers));
    let mut adopter = |device| rig.adopter("198.51.100.1:40000", device);
    for device in [Some("red"), Some("blue"), None] {
        let expected = device.unwrap_or("default");
        assert_eq!(adopter(device).as_deref(), Some(expected));
    }
    assert_eq!(adopter(Some("green")), None);
}

#[test]
fn a_connection_is_from_the_one_of_several_peers_at_one_place_that_has_no_session() {
    let peers = [("one", 179, false), ("two", 1790, true)];
    let peers = peers.map(|(name, port, passive)| BgpPeer {
        port,
        passive,
        listen_port: Some(179),
        ..peer(name)
    });
    let mut rig = Rig::announcing(with_peers(peers));
    assert_eq!(rig.router("one").peer.state(), State::Established);
    let adopter = rig.adopter("198.51.100.1:40000", None);
    assert_eq!(adopter.as_deref(), Some("two"));
}

#[test]
fn a_peer_in_a_vrf_that_is_not_there_is_not_watched_where_another_has_its_address() {
    let config = with_bfd([BgpPeer {
        vrf: Some("red".to_owned()),
        ..watched(peer("tor"))
    }]);
    let mut rig = Rig::announcing(config);
    assert_eq!(rig.watches(), []);
    rig.feed(Input::LinkApplied(link(9, "red")));
    let vrfs: Vec<_> = rig.watches().into_iter().map(|(key, _)| key.vrf).collect();
    assert_eq!(vrfs, [Some(9)]);
}

#[test]
fn what_is_said_late_of_a_bfd_session_is_not_said_of_the_next_one() {
    let strict = BgpPeer {
        bfd_strict: true,
        ..watched(peer("tor"))
    };
    let mut rig = Rig::announcing(with_bfd([strict.clone()]));
    let key = rig.watch().unwrap();
    rig.configure(with_bfd([]));
    rig.feed(Input::Peer(PeerInput::Bfd { key, up: true }));
    rig.reach("tor");
    rig.configure(with_bfd([strict]));
    rig.run(Duration::from_secs(20));
    // It waits for our KEEPALIVE, which waits for BFD.
    assert_eq!(rig.router("tor").peer.state(), State::OpenConfirm);
}

#[test]
fn a_peer_that_was_taken_leave_of_is_watched_no_more_while_the_process_ends() {
    let slow = BgpPeer {
        drain_time: Duration::from_secs(60),
        ..peer("slow")
    };
    let quick = BgpPeer {
        endpoint: PeerEndpoint::Address(ip("198.51.100.2")),
        drain_time: Duration::from_secs(1),
        ..watched(peer("quick"))
    };
    let mut rig = Rig::announcing(with_bfd([slow, quick]));
    rig.watches();
    rig.feed(Input::Peer(PeerInput::Shutdown));
    rig.run(Duration::from_secs(5));
    assert!(matches!(rig.watches()[..], [(_, None)]));
    rig.feed(Input::LinkApplied(link(7, "eth5")));
    rig.run(Duration::from_secs(5));
    assert_eq!(rig.watches(), []);
    assert!(!rig.is_finished());
}

#[test]
fn a_peer_that_is_removed_and_added_again_has_no_connection_of_a_name_that_was_used() {
    let mut rig = Rig::announcing(with_peers([peer("tor")]));
    rig.configure(with_peers([]));
    rig.run(Duration::from_secs(1));
    rig.configure(with_peers([peer("tor")]));
    rig.run(Duration::from_secs(10));
    let connections = rig.said.iter().filter_map(|output| match output {
        Output::Peer(PeerOutput::Connect { connection, .. }) => Some(*connection),
        _ => None,
    });
    let connections: Vec<_> = connections.collect();
    let distinct: BTreeSet<_> = connections.iter().collect();
    assert!(connections.len() > 1);
    assert_eq!(connections.len(), distinct.len());
}
