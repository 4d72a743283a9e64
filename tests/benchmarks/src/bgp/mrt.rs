//! Routes as a file that GoBGP reads: a table in MRT (RFC 6396).

use std::net::Ipv4Addr;

/// A TABLE_DUMP_V2 of these host routes, each from one peer at `from`, with ORIGIN, an empty AS_PATH and NEXT_HOP.
pub(crate) fn dump(from: Ipv4Addr, routes: &[Ipv4Addr]) -> Vec<u8> {
    let mut file = Vec::new();
    record(&mut file, PEER_INDEX_TABLE, |to| {
        to.extend_from_slice(&from.octets());
        // No name of a view, one peer: IPv4, an AS number of four octets, identifier, address, AS number.
        to.extend_from_slice(&[0, 0, 0, 1, 0b10]);
        to.extend_from_slice(&from.octets());
        to.extend_from_slice(&from.octets());
        to.extend_from_slice(&super::SENDER_ASN.to_be_bytes());
    });
    let [a, b, c, d] = from.octets();
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 3, 4, a, b, c, d];
    for (number, route) in (0_u32..).zip(routes) {
        record(&mut file, RIB_IPV4_UNICAST, |to| {
            to.extend_from_slice(&number.to_be_bytes());
            to.push(32);
            to.extend_from_slice(&route.octets());
            // One entry, of the first peer, at no time.
            to.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
            to.extend_from_slice(&length(&attributes));
            to.extend_from_slice(&attributes);
        });
    }
    file
}

fn record(file: &mut Vec<u8>, subtype: u16, body: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    body(&mut bytes);
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&TABLE_DUMP_V2.to_be_bytes());
    file.extend_from_slice(&subtype.to_be_bytes());
    file.extend_from_slice(&[0; 2]);
    file.extend_from_slice(&length(&bytes));
    file.extend_from_slice(&bytes);
}

/// As two octets: nothing here is longer.
fn length(bytes: &[u8]) -> [u8; 2] {
    u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()
}

const TABLE_DUMP_V2: u16 = 13;
const PEER_INDEX_TABLE: u16 = 1;
const RIB_IPV4_UNICAST: u16 = 2;
