use super::*;

const NOW: Time = Time::from_secs(5);
const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

fn key() -> Key {
    Key {
        peer: PEER,
        local: None,
        interface: None,
        vrf: None,
        multihop: false,
    }
}

/// The peer's first packet: state Down, no discriminator of ours.
const FIRST: [u8; 24] = [
    0x20, 0x40, 3, 24, 0, 0, 0, 9, 0, 0, 0, 0, 0, 15, 66, 64, 0, 15, 66, 64, 0, 0, 0, 0,
];

fn datagram(payload: &[u8]) -> Datagram<'_> {
    Datagram {
        from: PEER,
        to: LOCAL,
        interface: 2,
        vrf: None,
        multihop: false,
        ttl: 255,
        payload,
    }
}

fn with(keys: &[Key]) -> Sessions {
    let mut sessions = Sessions::new(1);
    for key in keys {
        sessions.handle(NOW, Input::Want(*key, Settings::default()));
    }
    drain(&mut sessions);
    sessions
}

fn drain(sessions: &mut Sessions) -> Vec<Output> {
    std::iter::from_fn(|| sessions.poll()).collect()
}

/// The key of the session that a datagram moves.
fn moved(sessions: &mut Sessions, datagram: Datagram<'_>) -> Option<Key> {
    sessions.handle(NOW, Input::Datagram(datagram));
    match drain(sessions).as_slice() {
        [] => None,
        [Output::Send(key, packet)] if packet.state == State::Init => Some(*key),
        other => panic!("{other:?}"),
    }
}

/// Why a datagram is discarded.
fn discarded(sessions: &mut Sessions, datagram: Datagram<'_>) -> Discard {
    assert_eq!(moved(sessions, datagram), None);
    let mut reasons = std::mem::take(&mut sessions.discarded).into_iter();
    let (reason, count) = reasons.next().unwrap();
    assert_eq!((count, reasons.next()), (1, None));
    reason
}

#[test]
fn a_first_packet_finds_the_session_that_was_asked_for_most_exactly() {
    let on_interface = Key {
        interface: Some(2),
        ..key()
    };
    let at_address = Key {
        local: Some(LOCAL),
        ..key()
    };
    for (keys, expected) in [
        (vec![key()], Some(key())),
        (vec![key(), on_interface], Some(on_interface)),
        (vec![on_interface, at_address], Some(at_address)),
        (
            vec![Key {
                interface: Some(3),
                ..key()
            }],
            None,
        ),
        (
            vec![Key {
                local: Some(PEER),
                ..key()
            }],
            None,
        ),
        (
            vec![Key {
                vrf: Some(9),
                ..key()
            }],
            None,
        ),
        (
            vec![Key {
                multihop: true,
                ..key()
            }],
            None,
        ),
        (
            vec![Key {
                peer: LOCAL,
                ..key()
            }],
            None,
        ),
    ] {
        let mut sessions = with(&keys);
        assert_eq!(moved(&mut sessions, datagram(&FIRST)), expected, "{keys:?}");
    }
}

#[test]
fn the_same_peer_may_have_a_session_in_each_vrf_and_over_one_and_several_hops() {
    let multihop = Key {
        multihop: true,
        ..key()
    };
    let in_vrf = Key {
        vrf: Some(9),
        ..key()
    };
    let mut sessions = with(&[key(), multihop, in_vrf]);
    let plain = datagram(&FIRST);
    assert_eq!(moved(&mut sessions, plain), Some(key()));
    let several = Datagram {
        multihop: true,
        ..plain
    };
    assert_eq!(moved(&mut sessions, several), Some(multihop));
    let inside = Datagram {
        vrf: Some(9),
        ..plain
    };
    assert_eq!(moved(&mut sessions, inside), Some(in_vrf));
    let numbers: BTreeSet<u32> = sessions
        .views()
        .map(|view| view.session.discriminator())
        .collect();
    assert_eq!(numbers.len(), 3);
}

#[test]
fn a_known_discriminator_decides_but_for_the_path() {
    let other = Key {
        interface: Some(2),
        ..key()
    };
    let mut sessions = with(&[key(), other]);
    let number = sessions.by_key[&key()];
    let mut payload = FIRST;
    payload[8..12].copy_from_slice(&number.to_be_bytes());
    assert_eq!(moved(&mut sessions, datagram(&payload)), Some(key()));
    payload[11] ^= 1;
    assert_eq!(
        discarded(&mut sessions, datagram(&payload)),
        Discard::NoSession
    );
    payload[11] ^= 1;
    let elsewhere = Datagram {
        from: LOCAL,
        ..datagram(&payload)
    };
    assert_eq!(discarded(&mut sessions, elsewhere), Discard::OtherPath);
}

#[test]
fn over_one_hop_nothing_but_255_is_believed() {
    let mut sessions = with(&[key()]);
    for ttl in [0, 1, 64, 254] {
        let far = Datagram {
            ttl,
            ..datagram(&FIRST)
        };
        assert_eq!(discarded(&mut sessions, far), Discard::Ttl);
    }
}

#[test]
fn over_several_hops_the_least_ttl_is_the_operator_s() {
    let key = Key {
        multihop: true,
        ..key()
    };
    let mut sessions = Sessions::new(1);
    let settings = Settings {
        minimum_ttl: 250,
        ..Settings::default()
    };
    sessions.handle(NOW, Input::Want(key, settings));
    drain(&mut sessions);
    let at = |ttl| Datagram {
        ttl,
        multihop: true,
        ..datagram(&FIRST)
    };
    assert_eq!(discarded(&mut sessions, at(249)), Discard::Ttl);
    assert_eq!(moved(&mut sessions, at(250)), Some(key));
}

#[test]
fn echo_is_for_one_hop_alone() {
    let settings = Settings {
        echo: Some(Duration::from_millis(50)),
        reflect: Some(Duration::from_millis(50)),
        ..Settings::default()
    };
    for multihop in [false, true] {
        let mut sessions = Sessions::new(1);
        let key = Key { multihop, ..key() };
        sessions.handle(NOW, Input::Want(key, settings.clone()));
        let view = sessions.views().next().unwrap();
        assert_eq!(view.session.settings().echo.is_none(), multihop);
        assert_eq!(view.session.settings().reflect.is_none(), multihop);
    }
}

#[test]
fn an_interface_is_overheard_while_a_session_with_echo_has_its_peer_there() {
    let mut sessions = Sessions::new(1);
    let with_echo = Settings {
        echo: Some(Duration::from_millis(50)),
        ..Settings::default()
    };
    sessions.handle(NOW, Input::Want(key(), with_echo));
    assert_eq!(drain(&mut sessions), []);
    let overheard = |sessions: &mut Sessions| {
        let mut outputs = drain(sessions);
        outputs.retain(|output| matches!(output, Output::Overhear(..) | Output::Ignore(..)));
        outputs
    };
    for (interface, expected) in [
        (2, vec![Output::Overhear(2, Family::V4)]),
        (2, vec![]),
        (
            3,
            vec![
                Output::Overhear(3, Family::V4),
                Output::Ignore(2, Family::V4),
            ],
        ),
    ] {
        let datagram = Datagram {
            interface,
            ..datagram(&FIRST)
        };
        sessions.handle(NOW, Input::Datagram(datagram));
        assert_eq!(overheard(&mut sessions), expected);
    }
    sessions.handle(NOW, Input::Want(key(), Settings::default()));
    assert_eq!(overheard(&mut sessions), [Output::Ignore(3, Family::V4)]);
}

#[test]
fn link_local_peers_send_no_echo_packets_back() {
    let mut sessions = Sessions::new(1);
    let settings = Settings {
        echo: Some(Duration::from_millis(50)),
        ..Settings::default()
    };
    for peer in ["fe80::1", "169.254.0.1"] {
        let key = Key {
            peer: peer.parse().unwrap(),
            interface: Some(2),
            ..key()
        };
        sessions.handle(NOW, Input::Want(key, settings.clone()));
    }
    assert!(
        sessions
            .views()
            .all(|view| view.session.settings().echo.is_none())
    );
}

#[test]
fn what_has_to_be_discarded_is() {
    let mut sessions = with(&[key()]);
    let mut up_without_number = FIRST;
    up_without_number[1] = 0xc0;
    let mut authenticated = FIRST.to_vec();
    authenticated[1] |= 4;
    authenticated[3] = 28;
    authenticated.extend([1, 4, 1, b'x']);
    for (payload, reason) in [
        (&FIRST[..23], Discard::Malformed),
        (&up_without_number, Discard::NoYourDiscriminator),
        (&authenticated, Discard::Authenticated),
    ] {
        assert_eq!(discarded(&mut sessions, datagram(payload)), reason);
    }
    let stranger = Datagram {
        from: LOCAL,
        ..datagram(&FIRST)
    };
    assert_eq!(discarded(&mut sessions, stranger), Discard::NoSession);
    assert_eq!(sessions.status(key()), Some(Status::NeverUp));
    assert_eq!(sessions.views().next().unwrap().counters.received, 0);
}

#[test]
fn what_is_not_wanted_says_nothing_and_answers_nobody() {
    let mut sessions = Sessions::new(1);
    assert_eq!(sessions.deadline(), None);
    sessions.handle(NOW, Input::Unwant(key()));
    sessions.handle(NOW, Input::Tick);
    sessions.handle(NOW, Input::Overheard(2, Mac([2; 6]), &[0x45; 60]));
    sessions.handle(NOW, Input::Datagram(datagram(&FIRST)));
    assert_eq!(drain(&mut sessions), []);
    assert_eq!(sessions.status(key()), None);
}

#[test]
fn wanting_the_same_again_does_nothing() {
    let mut sessions = with(&[key()]);
    let before = sessions.deadline();
    sessions.handle(NOW, Input::Want(key(), Settings::default()));
    assert_eq!(drain(&mut sessions), []);
    assert_eq!(sessions.deadline(), before);
    assert_eq!(sessions.views().count(), 1);
}

#[test]
fn a_thousand_sessions_are_each_woken_in_their_own_time() {
    let keys: Vec<Key> = (0..1_000u32)
        .map(|number| Key {
            peer: std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into(),
            ..key()
        })
        .collect();
    let mut sessions = with(&keys);
    let (mut sent, mut wakes) = (BTreeMap::<Key, u32>::new(), 0);
    while let Some(due) = sessions
        .deadline()
        .filter(|due| *due <= Time::from_secs(65))
    {
        sessions.handle(due, Input::Tick);
        wakes += 1;
        for output in drain(&mut sessions) {
            let Output::Send(key, _) = output else {
                panic!("{output:?}")
            };
            *sent.entry(key).or_default() += 1;
        }
    }
    assert_eq!(sent.len(), 1_000);
    // 750 to 1,000 ms apart.
    assert!(sent.values().all(|count| (60..=81).contains(count)));
    assert!(wakes > 60_000);
    assert_eq!(sessions.queue.len(), 1_000);
}
