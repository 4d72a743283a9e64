//! An ARP packet decodes or is refused, and what decodes is written back as it was.

use ironlb_l2::arp::{LENGTH, Packet};

/// Panics when `payload`, behind an Ethernet header, breaks it.
pub fn run(payload: &[u8]) {
    match Packet::decode(payload) {
        Ok(packet) => {
            let mut written = Vec::new();
            packet.encode(&mut written);
            assert_eq!(Some(written.as_slice()), payload.get(..LENGTH));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
