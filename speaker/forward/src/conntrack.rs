//! Connections that the kernel's connection tracking still sends to the wrong place.
//!
//! A rule decides for the first packet of a connection alone. For TCP that is right: when its endpoint is gone, so is
//! the connection. A UDP client that keeps one socket never begins anew, and would send to an endpoint that is gone, or to
//! nobody, for as long as it sends. Such entries are deleted, and the next packet begins a new connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ironlb_model::Protocol;

use crate::netlink::{Attributes, attribute, attributes, write_message};
use crate::{Destination, Ruleset, uapi};

/// An entry of the connection table, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Where the client sends to.
    pub destination: Destination,
    /// Who answers.
    pub answered_by: SocketAddr,
    /// The attributes that name the entry to the kernel, as it wrote them.
    name: Vec<u8>,
}

/// The request for all connections.
pub fn dump() -> Vec<u8> {
    let mut bytes = Vec::new();
    let family = uapi::NFPROTO_UNSPEC;
    write_message(
        &mut bytes,
        uapi::IPCTNL_MSG_CT_GET,
        uapi::NLM_F_DUMP,
        1,
        family,
        0,
        |_| {},
    );
    bytes
}

/// The protocols whose clients may go on for ever without beginning anew.
pub fn outlives_its_endpoint(protocol: Protocol) -> bool {
    match protocol {
        Protocol::Udp => true,
        Protocol::Tcp | Protocol::Sctp => false,
    }
}

impl Connection {
    /// Reads one message of the answer to [`dump`], from behind its netlink header. `None` for what is neither TCP,
    /// UDP nor SCTP.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let body = message.get(GENERIC_HEADER..)?;
        let (source, destination) = tuple(attribute(body, uapi::CTA_TUPLE_ORIG)?)?;
        let (answering, _) = tuple(attribute(body, uapi::CTA_TUPLE_REPLY)?)?;
        let mut name = Vec::new();
        let mut written = Attributes::new(&mut name);
        for (kind, value) in attributes(body) {
            match kind {
                uapi::CTA_TUPLE_ORIG => written.bytes(kind | uapi::NLA_F_NESTED, value),
                // With its number, an entry that took this one's place meanwhile is safe.
                uapi::CTA_ID | uapi::CTA_ZONE => written.bytes(kind, value),
                _ => {}
            }
        }
        debug_assert_eq!(source.protocol, destination.protocol);
        Some(Self {
            destination,
            answered_by: SocketAddr::new(answering.address, answering.port),
            name,
        })
    }

    /// Whether it is a connection to one of `changed` that none of its endpoints by `ruleset` answers.
    pub fn is_stale(&self, ruleset: &Ruleset, changed: &BTreeSet<Destination>) -> bool {
        let endpoints = ruleset.endpoints(&self.destination);
        changed.contains(&self.destination)
            && !endpoints.is_some_and(|endpoints| endpoints.contains(&self.answered_by))
    }

    /// The request to forget it. The kernel answers ENOENT when it is gone already.
    pub fn delete(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let family = match self.destination.address {
            IpAddr::V4(_) => uapi::NFPROTO_IPV4,
            IpAddr::V6(_) => uapi::NFPROTO_IPV6,
        };
        let (kind, flags) = (uapi::IPCTNL_MSG_CT_DELETE, uapi::NLM_F_ACK);
        write_message(&mut bytes, kind, flags, 1, family, 0, |it| {
            it.raw(&self.name)
        });
        bytes
    }
}

/// Source and destination of one direction.
fn tuple(bytes: &[u8]) -> Option<(Destination, Destination)> {
    let ip = attribute(bytes, uapi::CTA_TUPLE_IP)?;
    let transport = attribute(bytes, uapi::CTA_TUPLE_PROTO)?;
    let protocol = match *attribute(transport, uapi::CTA_PROTO_NUM)? {
        [uapi::IPPROTO_TCP] => Protocol::Tcp,
        [uapi::IPPROTO_UDP] => Protocol::Udp,
        [uapi::IPPROTO_SCTP] => Protocol::Sctp,
        _ => return None,
    };
    let end = |v4, v6, port| {
        Some(Destination {
            address: address(attribute(ip, v4).or_else(|| attribute(ip, v6))?)?,
            protocol,
            port: u16::from_be_bytes(attribute(transport, port)?.try_into().ok()?),
        })
    };
    Some((
        end(
            uapi::CTA_IP_V4_SRC,
            uapi::CTA_IP_V6_SRC,
            uapi::CTA_PROTO_SRC_PORT,
        )?,
        end(
            uapi::CTA_IP_V4_DST,
            uapi::CTA_IP_V6_DST,
            uapi::CTA_PROTO_DST_PORT,
        )?,
    ))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(bytes).map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    v4.or_else(|_| v6()).ok()
}

/// struct nfgenmsg.
const GENERIC_HEADER: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn write_tuple(
        it: &mut Attributes<'_>,
        kind: u16,
        from: [u8; 4],
        to: [u8; 4],
        ports: [u16; 2],
    ) {
        it.nest(kind, |tuple| {
            tuple.nest(uapi::CTA_TUPLE_IP, |ip| {
                ip.bytes(uapi::CTA_IP_V4_SRC, &from);
                ip.bytes(uapi::CTA_IP_V4_DST, &to);
            });
            tuple.nest(uapi::CTA_TUPLE_PROTO, |proto| {
                proto.u8(uapi::CTA_PROTO_NUM, uapi::IPPROTO_UDP);
                proto.bytes(uapi::CTA_PROTO_SRC_PORT, &ports[0].to_be_bytes());
                proto.bytes(uapi::CTA_PROTO_DST_PORT, &ports[1].to_be_bytes());
            });
        });
    }

    /// As the kernel writes an entry of a client 10.0.0.9:4000 of 192.0.2.1:53, answered by 10.0.0.1:5353.
    fn entry() -> Vec<u8> {
        let mut bytes = vec![uapi::NFPROTO_IPV4, 0, 0, 0];
        let mut it = Attributes::new(&mut bytes);
        write_tuple(
            &mut it,
            uapi::CTA_TUPLE_ORIG,
            [10, 0, 0, 9],
            [192, 0, 2, 1],
            [4000, 53],
        );
        write_tuple(
            &mut it,
            uapi::CTA_TUPLE_REPLY,
            [10, 0, 0, 1],
            [10, 0, 0, 9],
            [5353, 4000],
        );
        it.u32(uapi::CTA_ID, 77);
        bytes
    }

    fn dns() -> Destination {
        Destination {
            address: [192, 0, 2, 1].into(),
            protocol: Protocol::Udp,
            port: 53,
        }
    }

    #[test]
    fn an_entry_says_who_was_asked_and_who_answers() {
        let connection = Connection::decode(&entry()).unwrap();
        assert_eq!(connection.destination, dns());
        assert_eq!(connection.answered_by, "10.0.0.1:5353".parse().unwrap());
    }

    #[test]
    fn the_request_to_delete_names_exactly_that_entry() {
        let request = Connection::decode(&entry()).unwrap().delete();
        let body = &request[20..];
        assert_eq!(
            attribute(body, uapi::CTA_ID),
            Some([0, 0, 0, 77].as_slice())
        );
        let (source, to) = tuple(attribute(body, uapi::CTA_TUPLE_ORIG).unwrap()).unwrap();
        assert_eq!((source.port, to), (4000, dns()));
        assert_eq!(attribute(body, uapi::CTA_TUPLE_REPLY), None);
    }

    #[test]
    fn an_entry_is_stale_when_its_endpoint_serves_no_longer_and_the_destination_changed() {
        let connection = Connection::decode(&entry()).unwrap();
        let changed = BTreeSet::from([dns()]);
        assert!(connection.is_stale(&Ruleset::default(), &changed));
        assert!(!connection.is_stale(&Ruleset::default(), &BTreeSet::new()));
    }

    #[test]
    fn entries_cut_off_anywhere_are_no_entries_and_no_panic() {
        let whole = entry();
        for length in 0..whole.len() - 8 {
            assert_eq!(Connection::decode(&whole[..length]), None, "{length} bytes");
        }
    }
}
