//! ARP and neighbour discovery as a client writes and reads them.
//!
//! Written apart from `ironlb-l2`, so that a fault there is not mirrored here. It reads strictly: what it does not
//! take, a real host might not take either.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::Mac;

/// What a frame says about an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The Ethernet source.
    pub from: Mac,
    /// The Ethernet destination.
    pub to: Mac,
    /// The address.
    pub ip: IpAddr,
    /// The Ethernet address that it is said to have.
    pub at: Mac,
    /// Unasked: a gratuitous ARP, or a neighbour advertisement without the Solicited flag.
    pub gratuitous: bool,
    /// May replace another Ethernet address that is known (the Override flag; always for ARP).
    pub overrides: bool,
}

/// An ARP request for `target` (RFC 826); to broadcast, or to one host that is probed.
pub fn arp_request(from: Mac, sender: Ipv4Addr, target: Ipv4Addr, to: Mac) -> Vec<u8> {
    let mut frame = ethernet(to, from, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(from.0);
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame
}

/// A gratuitous ARP reply by which `from` claims `ip`.
pub fn gratuitous_arp(from: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(Mac::BROADCAST, from, 0x0806);
    frame.extend([0, 1, 8, 0, 6, 4, 0, 2]);
    frame.extend(from.0);
    frame.extend(ip.octets());
    frame.extend(Mac::BROADCAST.0);
    frame.extend(ip.octets());
    frame
}

/// A neighbour solicitation for `target` (RFC 4861 §4.3); to its solicited-node group, or to one host that is probed.
pub fn solicitation(from: Mac, sender: Ipv6Addr, target: Ipv6Addr, probe: Option<Mac>) -> Vec<u8> {
    let group = solicited_node(target);
    let (to, destination) = match probe {
        Some(mac) => (mac, target),
        None => (group_mac(group), group),
    };
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    if !sender.is_unspecified() {
        message.extend([1, 1]);
        message.extend(from.0);
    }
    icmpv6(to, from, sender, destination, message)
}

/// What a frame claims, when it is an ARP packet with a sender address or a neighbour advertisement. An ARP request
/// with another target is no claim for its sender's address that concerns us here, but for the gratuitous form.
pub fn claim(frame: &[u8]) -> Option<Claim> {
    let (head, body) = frame.split_at_checked(14)?;
    let to = mac(head.get(..6)?)?;
    let from = mac(head.get(6..12)?)?;
    match head.get(12..14)? {
        [8, 6] => arp_claim(from, to, body),
        [0x86, 0xdd] => ndp_claim(from, to, body),
        _ => None,
    }
}

/// The solicited-node group of an address (RFC 4291 §2.7.1).
pub fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    let high = u16::from(a) | 0xff00;
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, high, u16::from_be_bytes([b, c]))
}

/// The Ethernet group of an IPv6 group (RFC 2464 §7).
pub fn group_mac(group: Ipv6Addr) -> Mac {
    let [.., a, b, c, d] = group.octets();
    Mac([0x33, 0x33, a, b, c, d])
}

fn ethernet(to: Mac, from: Mac, ethertype: u16) -> Vec<u8> {
    let mut frame = Vec::with_capacity(86);
    frame.extend(to.0);
    frame.extend(from.0);
    frame.extend(ethertype.to_be_bytes());
    frame
}

fn icmpv6(
    to: Mac,
    from: Mac,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    message: Vec<u8>,
) -> Vec<u8> {
    let mut message = message;
    let sum = checksum(source, destination, &message).to_be_bytes();
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum);
    }
    let mut frame = ethernet(to, from, 0x86dd);
    frame.extend([0x60, 0, 0, 0]);
    frame.extend(u16::try_from(message.len()).unwrap_or(0).to_be_bytes());
    frame.extend([58, 255]);
    frame.extend(source.octets());
    frame.extend(destination.octets());
    frame.extend(message);
    frame
}

/// RFC 4443 §2.3; zero over a message whose checksum is in place and right.
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    let bytes: Vec<u8> = source
        .octets()
        .into_iter()
        .chain(destination.octets())
        .chain(length)
        .chain([0, 0, 0, 58])
        .chain(message.iter().copied())
        .collect();
    let word = |pair: &[u8]| match pair {
        [a, b] => u32::from(u16::from_be_bytes([*a, *b])),
        [a] => u32::from(*a) << 8,
        _ => 0,
    };
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

fn arp_claim(from: Mac, to: Mac, body: &[u8]) -> Option<Claim> {
    let packet = body.get(..28)?;
    if packet.get(..6)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let operation = packet.get(6..8)?;
    let at = mac(packet.get(8..14)?)?;
    let ip = ipv4(packet.get(14..18)?)?;
    let gratuitous = ip == ipv4(packet.get(24..28)?)?;
    (operation == [0, 2] || gratuitous).then_some(Claim {
        from,
        to,
        ip: ip.into(),
        at,
        gratuitous,
        overrides: true,
    })
}

fn ndp_claim(from: Mac, to: Mac, body: &[u8]) -> Option<Claim> {
    let (head, message) = body.split_at_checked(40)?;
    let length = usize::from(u16::from_be_bytes([*head.get(4)?, *head.get(5)?]));
    let source = ipv6(head.get(8..24)?)?;
    let destination = ipv6(head.get(24..40)?)?;
    let message = message.get(..length)?;
    let right = head.get(6..8)? == [58, 255] && checksum(source, destination, message) == 0;
    if !right || message.get(..2)? != [136, 0] {
        return None;
    }
    let flags = *message.get(4)?;
    let option = message.get(24..32)?;
    if option.get(..2)? != [2, 1] {
        return None;
    }
    Some(Claim {
        from,
        to,
        ip: ipv6(message.get(8..24)?)?.into(),
        at: mac(option.get(2..8)?)?,
        gratuitous: flags & 0x40 == 0,
        overrides: flags & 0x20 != 0,
    })
}

fn mac(bytes: &[u8]) -> Option<Mac> {
    bytes.try_into().ok().map(Mac)
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from)
}

fn ipv6(bytes: &[u8]) -> Option<Ipv6Addr> {
    <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NODE: Mac = Mac([2, 0, 0, 0, 0, 2]);

    #[test]
    fn a_gratuitous_arp_claims_its_address() {
        let ip = Ipv4Addr::new(192, 0, 2, 1);
        let claim = claim(&gratuitous_arp(NODE, ip)).unwrap();
        assert_eq!(
            (claim.ip, claim.at, claim.gratuitous),
            (ip.into(), NODE, true)
        );
    }

    #[test]
    fn a_request_for_another_address_claims_nothing() {
        let (a, b) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
        assert_eq!(claim(&arp_request(CLIENT, a, b, Mac::BROADCAST)), None);
    }

    #[test]
    fn a_solicitation_goes_to_the_group_of_its_target_with_a_right_checksum() {
        let target: Ipv6Addr = "2001:db8::1:800:200e:8c6c".parse().unwrap();
        let sender: Ipv6Addr = "fe80::1".parse().unwrap();
        let frame = solicitation(CLIENT, sender, target, None);
        assert_eq!(frame[..6], [0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]);
        assert_eq!(
            solicited_node(target),
            "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap()
        );
        assert_eq!(checksum(sender, solicited_node(target), &frame[54..]), 0);
    }

    #[test]
    fn an_advertisement_with_a_wrong_checksum_claims_nothing() {
        let target: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let source: Ipv6Addr = "fe80::2".parse().unwrap();
        let mut message = vec![136, 0, 0, 0, 0x60, 0, 0, 0];
        message.extend(target.octets());
        message.extend([2, 1]);
        message.extend(NODE.0);
        let mut frame = icmpv6(CLIENT, NODE, source, "fe80::1".parse().unwrap(), message);
        let read = claim(&frame).unwrap();
        assert_eq!(
            (read.at, read.gratuitous, read.overrides),
            (NODE, false, true)
        );
        frame[60] ^= 1;
        assert_eq!(claim(&frame), None);
    }
}
