//! Messages, as tests write and read them.

use ironlb_bgp::wire::{
    AfiSafi, Attributes, Capabilities, EncodedAttributes, Framer, Kind, Message, Negotiated,
    NextHop, Notification, Open, RouteRefresh, encode_keepalive, pack,
};
use ironlb_bgp::{Connection, Output};
use ironlb_model::Family;

/// A message that we sent, read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Open(Open),
    Update,
    Notification(Notification),
    Keepalive,
    RouteRefresh,
}

/// How UPDATEs are written and read between the two of [`crate::sample`].
pub(crate) const NEGOTIATED: Negotiated = Negotiated {
    four_octet_as: true,
    internal: false,
    ipv4: true,
    ipv6: false,
    extended_next_hop: false,
};

/// The messages in what is sent.
pub(crate) fn read(bytes: &[u8]) -> Vec<Said> {
    let mut framer = Framer::new();
    framer.set_extended(true);
    framer.push(bytes);
    let mut said = Vec::new();
    while let Some(frame) = framer.next().expect("we send whole messages") {
        said.push(match frame.kind {
            Kind::Update => Said::Update,
            Kind::RouteRefresh => Said::RouteRefresh,
            _ => match Message::decode(frame, &NEGOTIATED).expect("we send good messages") {
                Message::Open(open) => Said::Open(open),
                Message::Notification(notification) => Said::Notification(notification),
                _ => Said::Keepalive,
            },
        });
    }
    said
}

/// Everything that was sent on a connection.
pub(crate) fn said(outputs: &[Output], on: Connection) -> Vec<Said> {
    let sent = outputs.iter().filter_map(|output| match output {
        Output::Send { connection, bytes } if *connection == on => Some(read(bytes)),
        _ => None,
    });
    sent.flatten().collect()
}

/// The OPEN that is all that was sent on a connection.
pub(crate) fn sent_open(outputs: &[Output], on: Connection) -> Open {
    let mut said = said(outputs, on);
    match (said.pop(), said.is_empty()) {
        (Some(Said::Open(open)), true) => open,
        other => panic!("{other:?}"),
    }
}

/// The NOTIFICATION that a connection was closed with.
pub(crate) fn notified(outputs: &[Output], on: Connection) -> Option<Notification> {
    let closed = outputs.contains(&Output::Close(on));
    let last = said(outputs, on).pop();
    match last {
        Some(Said::Notification(notification)) if closed => Some(notification),
        _ => None,
    }
}

pub(crate) fn open(asn: u32, capabilities: Capabilities) -> Open {
    Open {
        asn,
        hold_time: 90,
        router_id: [192, 0, 2, 2].into(),
        capabilities,
    }
}

/// What a router of today offers for IPv4.
pub(crate) fn capabilities(asn: u32) -> Capabilities {
    Capabilities {
        multiprotocol: [AfiSafi::IPV4_UNICAST].into(),
        route_refresh: true,
        four_octet_as: Some(asn),
        ..Capabilities::default()
    }
}

pub(crate) fn encode_open(open: &Open) -> Vec<u8> {
    let mut bytes = Vec::new();
    open.encode(&mut bytes);
    bytes
}

pub(crate) fn keepalive() -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_keepalive(&mut bytes);
    bytes
}

pub(crate) fn notification(notification: &Notification) -> Vec<u8> {
    let mut bytes = Vec::new();
    notification.encode(&mut bytes);
    bytes
}

pub(crate) fn route_refresh(refresh: RouteRefresh) -> Vec<u8> {
    let mut bytes = Vec::new();
    refresh.encode(&mut bytes);
    bytes
}

/// UPDATEs that announce `count` IPv4 prefixes, the first of number `first`.
pub(crate) fn announce(first: u32, count: u32) -> Vec<u8> {
    let next_hop = NextHop::V4([192, 0, 2, 2].into());
    let attributes = Attributes::default();
    let attributes =
        EncodedAttributes::new(&attributes, next_hop, Family::V4, &NEGOTIATED, 4096).unwrap();
    let mut bytes = Vec::new();
    pack(&attributes, prefixes(first, count), 4_096, &mut bytes);
    bytes
}

/// UPDATEs that withdraw them.
pub(crate) fn withdraw(first: u32, count: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    ironlb_bgp::wire::withdraw(Family::V4, prefixes(first, count), 4_096, &mut bytes);
    bytes
}

fn prefixes(first: u32, count: u32) -> impl Iterator<Item = ipnet::IpNet> {
    (first..first + count).map(|number| {
        let address = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number);
        ipnet::IpNet::new(address.into(), 32).unwrap()
    })
}
