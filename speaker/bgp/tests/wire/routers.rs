//! What FRR, BIRD, GoBGP, OpenBGPD and ExaBGP sent each other is read to the last octet, and nothing of it is faulty.

use std::fmt::Write;

use ironlb_bgp::wire::{
    Attributes, EncodedAttributes, Message, Negotiated, NextHop, Update, encode_keepalive,
    end_of_rib, pack, withdraw,
};
use ironlb_model::Family;

use crate::capture::{ALL, Session, decode};

#[test]
fn what_routers_say_to_each_other_is_understood() {
    for (name, text) in ALL {
        let session = Session::read(text);
        let negotiated = session.negotiated();
        let mut transcript = format!("{negotiated:?}\n");
        for (from, bytes) in &session.0 {
            decode(bytes, &negotiated, |_, message| {
                writeln!(transcript, "{from} {}", show(&message)).unwrap();
            });
        }
        insta::assert_snapshot!(name, transcript);
    }
}

#[test]
fn what_was_read_means_the_same_when_it_is_written_again() {
    for (_, text) in ALL {
        let session = Session::read(text);
        let negotiated = session.negotiated();
        for (_, bytes) in &session.0 {
            decode(bytes, &negotiated, |_, message| {
                for again in write(&message, &negotiated) {
                    decode(&again, &negotiated, |_, reread| {
                        assert_same(&message, &reread)
                    });
                }
            });
        }
    }
}

/// One line for each message, the attributes that say something on it.
fn show(message: &Message<'_>) -> String {
    match message {
        Message::Open(open) => format!("OPEN {open:?}"),
        Message::Update(update) => show_update(update),
        Message::Notification(notification) => format!("NOTIFICATION {notification}"),
        Message::Keepalive => "KEEPALIVE".to_owned(),
        Message::RouteRefresh(refresh) => format!("ROUTE-REFRESH {refresh:?}"),
    }
}

fn show_update(update: &Update<'_>) -> String {
    assert_eq!(update.faults, []);
    let mut line = "UPDATE".to_owned();
    if let Some(family) = update.end_of_rib {
        write!(line, " end of {family}").unwrap();
    }
    for prefix in update.routes_withdrawn() {
        write!(line, " -{prefix}").unwrap();
    }
    for prefix in update.routes_announced() {
        write!(line, " +{prefix}").unwrap();
    }
    if let Some(next_hop) = next_hop(update) {
        write!(
            line,
            " via {next_hop}, {}",
            show_attributes(&update.attributes)
        )
        .unwrap();
    }
    line
}

/// All but the next hop: where that was does not matter, since we write IPv4 with an IPv4 next hop into its own fields.
fn show_attributes(attributes: &Attributes) -> String {
    let mut line = format!("{}, path [{}]", attributes.origin, attributes.as_path);
    for (name, value) in [
        ("MED", attributes.med),
        ("LOCAL_PREF", attributes.local_pref),
    ] {
        if let Some(value) = value {
            write!(line, ", {name} {value}").unwrap();
        }
    }
    if attributes.atomic_aggregate {
        line.push_str(", atomic aggregate");
    }
    if let Some(aggregator) = attributes.aggregator {
        write!(line, ", aggregated by {aggregator:?}").unwrap();
    }
    for community in &attributes.communities {
        write!(line, ", community {community}").unwrap();
    }
    for community in &attributes.extended_communities {
        write!(line, ", extended community {community}").unwrap();
    }
    for community in &attributes.large_communities {
        write!(line, ", large community {community}").unwrap();
    }
    for unknown in &attributes.unknown {
        write!(line, ", {unknown:?}").unwrap();
    }
    line
}

fn next_hop(update: &Update<'_>) -> Option<NextHop> {
    let classic = update.attributes.next_hop.map(NextHop::V4);
    update.next_hop.or(classic)
}

/// The messages that say what `message` says.
fn write(message: &Message<'_>, negotiated: &Negotiated) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    match message {
        Message::Open(open) => open.encode(&mut bytes),
        Message::Update(update) => return write_update(update, negotiated),
        Message::Notification(notification) => notification.encode(&mut bytes),
        Message::Keepalive => encode_keepalive(&mut bytes),
        Message::RouteRefresh(refresh) => refresh.encode(&mut bytes),
    }
    vec![bytes]
}

/// One message for what is withdrawn and one for what is announced; the routers mixed neither with the other.
fn write_update(update: &Update<'_>, negotiated: &Negotiated) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(family) = update.end_of_rib {
        end_of_rib(family, &mut bytes);
        return vec![bytes];
    }
    let mut messages = 0;
    for family in Family::ALL {
        messages += withdraw(family, update.routes_withdrawn(), 4096, &mut bytes);
        if update
            .routes_announced()
            .any(|prefix| prefix.addr().is_ipv4() == (family == Family::V4))
        {
            let next_hop = next_hop(update).unwrap();
            let attributes = &update.attributes;
            let encoded =
                EncodedAttributes::new(attributes, next_hop, family, negotiated, 4096).unwrap();
            messages += pack(&encoded, update.routes_announced(), 4096, &mut bytes);
        }
    }
    assert_eq!(messages, 1, "{update:?}");
    vec![bytes]
}

fn assert_same(one: &Message<'_>, other: &Message<'_>) {
    match (one, other) {
        (Message::Open(one), Message::Open(other)) => {
            let mut known = one.clone();
            known.capabilities.unknown.clear();
            assert_eq!(known, *other);
        }
        (Message::Update(one), Message::Update(other)) => {
            assert_eq!(show_update(one), show_update(other));
        }
        _ => assert_eq!(one, other),
    }
}
