//! What a change of the settings does to a session: nothing where the OPEN would be the same.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ironlb_bgp::wire::Reason;
use ironlb_bgp::{Input, Output, Settings, State};
use ironlb_model::Family;
use ironlb_model::bgp::PeerAsn;

use crate::messages::{Said, announce, notified, said};
use crate::router::{Router, dialled};
use crate::sample::settings;

type Change = fn(&mut Settings);

fn changed(change: Change) -> Input {
    let mut settings = settings(0);
    change(&mut settings);
    Input::Configure(Box::new(settings))
}

#[test]
fn only_what_the_peer_must_hear_in_an_open_resets_the_session() {
    let changes: [(&str, Change, bool); 16] = [
        ("nothing", |_| {}, false),
        (
            "keepalive time",
            |settings| settings.keepalive_time = Duration::from_secs(5),
            false,
        ),
        (
            "connect time",
            |settings| settings.connect_time = Duration::from_secs(5),
            false,
        ),
        ("passive", |settings| settings.passive = true, false),
        (
            "maximum prefixes",
            |settings| settings.maximum_prefixes = Some(5),
            false,
        ),
        (
            "a peer AS that fits",
            |settings| settings.peer_asn = PeerAsn::External,
            false,
        ),
        ("our AS behind a local one", |_| {}, false),
        (
            "a peer AS that does not fit",
            |settings| settings.peer_asn = PeerAsn::Internal,
            true,
        ),
        ("our AS", |settings| settings.asn = 65_050, true),
        (
            "local AS",
            |settings| settings.local_asn = Some(65_050),
            true,
        ),
        (
            "router ID",
            |settings| settings.router_id = [10, 0, 0, 1].into(),
            true,
        ),
        (
            "hold time",
            |settings| settings.hold_time = Duration::from_secs(30),
            true,
        ),
        (
            "families",
            |settings| settings.families = BTreeSet::from(Family::ALL),
            true,
        ),
        (
            "graceful restart",
            |settings| settings.restart_time = Some(Duration::from_secs(60)),
            true,
        ),
        (
            "source",
            |settings| settings.transport.source = Some(IpAddr::from([192, 0, 2, 1])),
            true,
        ),
        (
            "VRF",
            |settings| settings.transport.vrf = Some("red".to_owned()),
            true,
        ),
    ];
    for state in [State::OpenSent, State::OpenConfirm, State::Established] {
        for (name, change, resets) in changes {
            let resets = resets && !(name.starts_with("a peer AS") && state == State::OpenSent);
            let (mut router, connection) = Router::in_state(state);
            let outputs = router.handle(changed(change));
            let told = notified(&outputs, connection.unwrap()).map(|told| told.reason);
            assert_eq!(
                told,
                resets.then_some(Reason::CONFIGURATION_CHANGE),
                "{name} in {state}"
            );
            if resets {
                assert!(
                    router.next_dial(Duration::from_secs(1)).is_some(),
                    "{name} in {state}"
                );
            } else {
                assert_eq!(
                    (outputs, router.peer.state()),
                    (Vec::new(), state),
                    "{name} in {state}"
                );
            }
        }
    }
}

#[test]
fn our_as_number_may_change_behind_a_local_one() {
    let with = |asn| Settings {
        asn,
        local_asn: Some(65_100),
        ..settings(0)
    };
    let mut router = Router::idle(with(65_000));
    router.handle(Input::Start);
    let (connection, _) = router.accept();
    router.bring(connection, State::Established);
    router.handle(Input::Configure(Box::new(with(65_050))));
    assert_eq!(router.peer.state(), State::Established);
}

#[test]
fn another_keepalive_time_counts_from_now_on() {
    let (mut router, connection) = Router::established();
    router.handle(changed(|settings| {
        settings.keepalive_time = Duration::from_secs(3)
    }));
    let outputs = router.wait(Duration::from_secs(3));
    assert_eq!(said(&outputs, connection), [Said::Keepalive]);
}

#[test]
fn a_maximum_that_the_peer_is_above_already_ends_the_session() {
    let (mut router, connection) = Router::established();
    router.say(connection, &announce(1, 10));
    let outputs = router.handle(changed(|settings| settings.maximum_prefixes = Some(9)));
    assert_eq!(
        notified(&outputs, connection).unwrap().reason,
        Reason::MAX_PREFIXES
    );
}

#[test]
fn a_change_is_tried_at_once_with_a_peer_that_is_left_alone() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    router.say(connection.unwrap(), &[0; 19]);
    assert_eq!(router.peer.state(), State::Idle);
    router.handle(changed(|settings| settings.asn = 65_050));
    assert_eq!(router.peer.state(), State::Connect);
}

#[test]
fn a_change_makes_earlier_refusals_forgotten() {
    let (mut router, connection) = Router::in_state(State::OpenSent);
    let mut connection = connection.unwrap();
    for _ in 0..5 {
        router.say(connection, &[0; 19]);
        let (next, _) = router.next_dial(Duration::from_secs(100)).unwrap();
        connection = router.connect(next);
    }
    router.handle(changed(|settings| settings.maximum_prefixes = Some(5)));
    router.say(connection, &[0; 19]);
    let (_, wait) = router.next_dial(Duration::from_secs(100)).unwrap();
    assert!(wait <= Duration::from_secs(1), "{wait:?}");
}

#[test]
fn a_peer_that_moves_is_dialled_where_it_is_now() {
    let (mut router, _) = Router::in_state(State::Connect);
    let outputs = router.handle(changed(|settings| settings.transport.port = 1_179));
    assert!(matches!(outputs[0], Output::Close(_)));
    assert!(dialled(&outputs).is_some());
}

#[test]
fn a_peer_that_becomes_passive_is_dialled_no_longer() {
    let (mut router, _) = Router::in_state(State::Connect);
    let outputs = router.handle(changed(|settings| settings.passive = true));
    assert!(
        matches!(outputs.as_slice(), [Output::Close(_)]),
        "{outputs:?}"
    );
    assert_eq!(
        (router.peer.state(), router.peer.deadline()),
        (State::Active, None)
    );
    let outputs = router.handle(changed(|_| {}));
    assert!(dialled(&outputs).is_some());
}

#[test]
fn a_stopped_peer_takes_new_settings_and_stays_stopped() {
    let (mut router, _) = Router::in_state(State::Idle);
    assert_eq!(router.handle(changed(|settings| settings.asn = 65_050)), []);
    assert_eq!(router.peer.settings().asn, 65_050);
    assert_eq!(router.peer.deadline(), None);
}
