//! A neighbour discovery packet decodes or is refused, and what decodes means the same when it is written again.

use ironlb_l2::ndp::Packet;

/// Panics when `payload`, behind an Ethernet header, breaks it.
///
/// Random bytes hardly ever have a right checksum, so each input is also tried with the one that it should have.
pub fn run(payload: &[u8]) {
    check(payload);
    if let Some(repaired) = repair(payload) {
        check(&repaired);
    }
}

fn check(payload: &[u8]) {
    match Packet::decode(payload) {
        Ok(packet) => {
            let mut written = Vec::new();
            packet.encode(&mut written);
            assert_eq!(Packet::decode(&written), Ok(packet));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The same with the fixed fields of the IPv6 header, the length and the checksum made right.
pub(crate) fn repair(payload: &[u8]) -> Option<Vec<u8>> {
    let mut packet = payload.to_vec();
    let body = packet.len().checked_sub(40)?;
    let length = u16::try_from(body).ok()?.to_be_bytes();
    packet
        .get_mut(4..8)?
        .copy_from_slice(&[length[0], length[1], 58, 255]);
    *packet.first_mut()? = 0x60;
    packet.get_mut(42..44)?.copy_from_slice(&[0, 0]);
    let mut sum = u32::from(length[0]) << 8 | u32::from(length[1]);
    sum += 58;
    for pair in packet.get(8..)?.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).ok()?;
    packet
        .get_mut(42..44)?
        .copy_from_slice(&checksum.to_be_bytes());
    Some(packet)
}
