//! A BGP message is read or refused with a NOTIFICATION, and what is read without a fault means the same when it is written again.

use std::net::Ipv4Addr;

use ironlb_bgp::wire::{
    Attributes, EncodedAttributes, Error, Frame, Framer, Kind, Message, Negotiated, NextHop, Open,
    Prefixes, Segment, Update, pack, withdraw,
};

/// Panics when the message that `bytes` spell breaks it: what was negotiated, the type, the body.
pub fn run(bytes: &[u8]) {
    let [agreed, kind, body @ ..] = bytes else {
        return;
    };
    let kinds = [
        Kind::Update,
        Kind::Open,
        Kind::Notification,
        Kind::RouteRefresh,
    ];
    let kind = kinds[usize::from(*kind) % kinds.len()];
    let negotiated = negotiated(*agreed);
    check(
        Message::decode(Frame { kind, body }, &negotiated),
        &negotiated,
    );
}

/// What the bits of a byte say was negotiated.
pub(crate) const fn negotiated(bits: u8) -> Negotiated {
    Negotiated {
        four_octet_as: bits & 1 == 0,
        internal: bits & 2 != 0,
        ipv4: bits & 4 == 0,
        ipv6: bits & 8 == 0,
        extended_next_hop: bits & 16 != 0,
    }
}

/// Panics when what was made of a message is not in order.
pub(crate) fn check(result: Result<Message<'_>, Error>, negotiated: &Negotiated) {
    match result {
        Ok(Message::Open(open)) => check_open(open),
        Ok(Message::Update(update)) => check_update(&update, negotiated),
        Ok(Message::Notification(notification)) => {
            let mut written = Vec::new();
            notification.encode(&mut written);
            assert!(!notification.to_string().chars().any(char::is_control));
            assert_eq!(
                reread(&written, negotiated),
                Message::Notification(notification)
            );
        }
        Ok(Message::Keepalive) => {}
        Ok(Message::RouteRefresh(refresh)) => {
            let mut written = Vec::new();
            refresh.encode(&mut written);
            assert_eq!(reread(&written, negotiated), Message::RouteRefresh(refresh));
        }
        Err(error) => check_error(&error),
    }
}

/// A refusal is a sentence, and the peer can be told of it.
pub(crate) fn check_error(error: &Error) {
    assert!(!error.to_string().is_empty());
    let notification = error.notification();
    assert!(notification.reason.text().is_some(), "{notification:?}");
    let mut written = Vec::new();
    notification.encode(&mut written);
    assert!((21..=4096).contains(&written.len()));
}

fn check_open(mut open: Open) {
    assert!(open.asn != 0 && open.router_id != Ipv4Addr::UNSPECIFIED);
    open.capabilities.unknown.clear();
    open.capabilities.unreadable.clear();
    let restart = open.capabilities.graceful_restart.as_ref();
    let many = restart.is_some_and(|restart| restart.families.len() > 63);
    let fqdn = open.capabilities.fqdn.as_ref();
    let long = fqdn.is_some_and(|fqdn| fqdn.host.len() > 64 || fqdn.domain.len() > 64);
    if many || long || open.capabilities.extended_next_hop.len() > 42 {
        return;
    }
    let mut written = Vec::new();
    open.encode(&mut written);
    assert_eq!(Open::decode(&written[19..]), Ok(open));
}

fn check_update(update: &Update<'_>, negotiated: &Negotiated) {
    for fault in &update.faults {
        assert!(!fault.to_string().is_empty());
    }
    if !update.faults.is_empty() {
        return;
    }
    for (prefixes, next_hop) in [
        (
            update.announced,
            update.attributes.next_hop.map(NextHop::V4),
        ),
        (update.reachable, update.next_hop),
    ] {
        if let Some(next_hop) = next_hop.filter(|_| !prefixes.is_empty()) {
            check_announced(prefixes, next_hop, &update.attributes, negotiated);
        }
    }
    for prefixes in [update.withdrawn, update.unreachable] {
        let mut written = Vec::new();
        let messages = withdraw(prefixes.family(), prefixes.iter(), 4096, &mut written);
        assert_eq!(messages == 0, prefixes.is_empty());
        let expected: Vec<_> = prefixes.iter().collect();
        let mut read = Vec::new();
        each_update(&written, negotiated, |update| {
            read.extend(update.routes_withdrawn())
        });
        assert_eq!(read, expected);
    }
}

fn check_announced(
    prefixes: Prefixes<'_>,
    next_hop: NextHop,
    attributes: &Attributes,
    negotiated: &Negotiated,
) {
    let Ok(encoded) =
        EncodedAttributes::new(attributes, next_hop, prefixes.family(), negotiated, 4096)
    else {
        return;
    };
    let (mut written, mut read) = (Vec::new(), Vec::new());
    pack(&encoded, prefixes.iter(), 4096, &mut written);
    each_update(&written, negotiated, |update| {
        assert_eq!(update.faults, []);
        let classic = update.attributes.next_hop.map(NextHop::V4);
        assert_eq!(update.next_hop.or(classic), Some(next_hop));
        if !loses_confederations(attributes, negotiated) {
            let same = Attributes {
                next_hop: attributes.next_hop,
                ..update.attributes.clone()
            };
            assert_eq!(same, *attributes);
        }
        read.extend(update.routes_announced());
    });
    assert_eq!(read, prefixes.iter().collect::<Vec<_>>());
}

/// AS4_PATH has no confederations (RFC 6793 §3), so that the numbers in them are lost, and where they were.
fn loses_confederations(attributes: &Attributes, negotiated: &Negotiated) -> bool {
    let mut segments = attributes.as_path.segments.iter();
    let confederation = segments.any(|segment| {
        matches!(
            segment,
            Segment::ConfederationSet(_) | Segment::ConfederationSequence(_)
        )
    });
    confederation && !negotiated.four_octet_as
}

fn each_update(bytes: &[u8], negotiated: &Negotiated, mut each: impl FnMut(Update<'_>)) {
    let mut framer = Framer::new();
    framer.push(bytes);
    while let Some(frame) = framer.next().unwrap() {
        match Message::decode(frame, negotiated) {
            Ok(Message::Update(update)) => each(update),
            other => panic!("{other:?}"),
        }
    }
}

/// The one message of `bytes`, which owns all that it says.
fn reread(bytes: &[u8], negotiated: &Negotiated) -> Message<'static> {
    let mut framer = Framer::new();
    framer.push(bytes);
    let frame = framer.next().unwrap().unwrap();
    match Message::decode(frame, negotiated).unwrap() {
        Message::Notification(notification) => Message::Notification(notification),
        Message::RouteRefresh(refresh) => Message::RouteRefresh(refresh),
        other => panic!("{other:?}"),
    }
}
