//! What real routers say in whole sessions (captured for `tests/wire`), said to a peer of ours: as it was, and with bits wrong.

use std::collections::BTreeSet;

use ironlb_bgp::{Cause, Connection, Faults, Input, Output, Settings, State};
use ironlb_model::Family;
use ironlb_model::bgp::PeerAsn;

use crate::messages::{Said, notified, said};
use crate::router::Router;
use crate::sample::settings;

const CAPTURES: [(&str, &str); 6] = [
    ("external", include_str!("../wire/captures/external.txt")),
    ("internal", include_str!("../wire/captures/internal.txt")),
    ("two-octet", include_str!("../wire/captures/two-octet.txt")),
    ("exabgp", include_str!("../wire/captures/exabgp.txt")),
    ("openbgpd", include_str!("../wire/captures/openbgpd.txt")),
    (
        "extended-next-hop",
        include_str!("../wire/captures/extended-next-hop.txt"),
    ),
];

/// What one side said in one session, message by message.
struct Session {
    name: String,
    internal: bool,
    messages: Vec<Vec<u8>>,
}

/// Every session of every capture, from both sides.
fn sessions() -> Vec<Session> {
    let mut sessions: Vec<Session> = Vec::new();
    for (name, text) in CAPTURES {
        for side in ["> ", "< "] {
            for message in text.lines().filter_map(|line| line.strip_prefix(side)) {
                let message = bytes(message);
                if message[18] == 1 {
                    sessions.push(Session {
                        name: format!("{name} {}", side.trim()),
                        internal: name == "internal",
                        messages: Vec::new(),
                    });
                }
                sessions.last_mut().unwrap().messages.push(message);
            }
        }
    }
    sessions
}

fn bytes(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    pairs.map(byte).collect()
}

/// Says `messages` to a peer of ours that takes any such router, and gives what came of it.
fn played(session: &Session, messages: &[Vec<u8>]) -> (Router, Connection, Vec<Output>) {
    let (asn, peer_asn) = match session.internal {
        true => (64_512, PeerAsn::Internal),
        false => (65_000, PeerAsn::External),
    };
    let mut router = Router::idle(Settings {
        asn,
        peer_asn,
        router_id: [203, 0, 113, 1].into(),
        families: BTreeSet::from(Family::ALL),
        ..settings(0)
    });
    router.handle(Input::Start);
    router.handle(Input::Accepted {
        number: 0,
        local: "[2001:db8::1]:179".parse().unwrap(),
        remote: "[2001:db8::2]:40000".parse().unwrap(),
    });
    let connection = Connection::inbound(0);
    let mut outputs = Vec::new();
    for message in messages {
        outputs.extend(router.say(connection, message));
    }
    (router, connection, outputs)
}

#[test]
fn every_session_of_a_real_router_is_taken_to_its_end() {
    let sessions = sessions();
    assert!(sessions.len() >= 10, "{}", sessions.len());
    for session in sessions {
        let (router, connection, outputs) = played(&session, &session.messages);
        let name = &session.name;
        assert!(
            outputs
                .iter()
                .any(|output| matches!(output, Output::Up { .. })),
            "{name}"
        );
        let refused = said(&outputs, connection);
        assert!(
            !refused
                .iter()
                .any(|said| matches!(said, Said::Notification(_))),
            "{name}: {refused:?}"
        );
        // FRR offers four octets to a router that does not, and so writes two; with us it would have written four.
        let misread = session.name == "two-octet >";
        let faultless = router.peer.status().faults == Faults::default();
        assert!(faultless || misread, "{name}");
        let ends = session.messages.last().is_some_and(|last| last[18] == 3);
        let down = outputs
            .iter()
            .any(|output| matches!(output, Output::Down(Cause::Received(_))));
        assert_eq!(down, ends, "{name}");
        let open = session
            .messages
            .iter()
            .map(|message| message[18])
            .filter(|kind| *kind == 2)
            .count();
        assert_eq!(
            router.peer.status().counters.received.updates as usize,
            open,
            "{name}"
        );
    }
}

#[test]
fn whatever_bit_of_a_session_is_wrong_it_goes_on_or_ends_with_a_reason() {
    for session in sessions() {
        for place in 0..session.messages.len() {
            // Every bit of what is said once, some of what is said often.
            let step = if place < 2 { 1 } else { 5 };
            for bit in (place..session.messages[place].len() * 8).step_by(step) {
                let mut messages = session.messages.clone();
                messages[place][bit / 8] ^= 1 << (bit % 8);
                let (router, connection, outputs) = played(&session, &messages);
                let closed = outputs.contains(&Output::Close(connection));
                let received = outputs.iter().any(|output| {
                    matches!(
                        output,
                        Output::Down(Cause::Received(_)) | Output::Failed(Cause::Received(_))
                    )
                });
                let told = notified(&outputs, connection);
                let ended = received || told.is_some();
                assert_eq!(closed, ended, "{} {place} {bit}", session.name);
                // What is wrong in the body of one of these makes nothing else wrong.
                let kind = session.messages[place][18];
                let codes = [(2, 3), (5, 7)];
                let code = codes
                    .into_iter()
                    .find(|(of, _)| *of == kind && bit >= 19 * 8);
                if let (Some(told), Some((_, code))) = (told, code) {
                    assert_eq!(told.reason.code, code, "{} {place} {bit}", session.name);
                }
                assert_eq!(
                    closed,
                    router.peer.state() < State::OpenSent,
                    "{} {place} {bit}",
                    session.name
                );
            }
        }
    }
}
