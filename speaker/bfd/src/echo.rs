//! Echo packets (RFC 5880 §6.4, RFC 5881 §4): addressed to ourselves and handed to the peer, whose forwarding sends them back.
//!
//! What is in them concerns nobody else. One counts as evidence only when it bears the session's own secret number, so
//! that nobody keeps a dead path alive by sending what was never sent back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ironlb_model::Time;

use crate::sessions::ECHO_PORT;

/// What an echo packet of ours carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoPayload {
    /// Our number for the session.
    pub discriminator: u32,
    /// Counts the session's echo packets.
    pub sequence: u32,
    /// The session's secret.
    pub nonce: u64,
}

impl EchoPayload {
    /// Reads a UDP payload; `None` when it is none of ours.
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (magic, rest) = payload.split_first_chunk::<4>()?;
        let (discriminator, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<4>()?;
        let (nonce, rest) = rest.split_first_chunk::<8>()?;
        (*magic == MAGIC && rest.is_empty()).then(|| Self {
            discriminator: u32::from_be_bytes(*discriminator),
            sequence: u32::from_be_bytes(*sequence),
            nonce: u64::from_be_bytes(*nonce),
        })
    }

    /// Appends the payload.
    pub fn encode(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&MAGIC);
        to.extend_from_slice(&self.discriminator.to_be_bytes());
        to.extend_from_slice(&self.sequence.to_be_bytes());
        to.extend_from_slice(&self.nonce.to_be_bytes());
    }
}

/// What is read of an IP packet with UDP in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overheard<'a> {
    pub(crate) from: IpAddr,
    pub(crate) to: IpAddr,
    pub(crate) ttl: u8,
    pub(crate) port: u16,
    pub(crate) payload: &'a [u8],
}

impl<'a> Overheard<'a> {
    /// Reads a packet without options, extension headers or fragments. Checksums are left alone: on the way from a station in the
    /// same machine they are not filled in.
    pub(crate) fn decode(packet: &'a [u8]) -> Option<Self> {
        match packet.first()? {
            0x45 => {
                let (header, rest) = packet.split_first_chunk::<20>()?;
                let [_, _, l, m, _, _, f, g, ttl, 17, _, _, addresses @ ..] = *header else {
                    return None;
                };
                let fragment = u16::from_be_bytes([f, g]) & 0x3fff;
                let length = usize::from(u16::from_be_bytes([l, m])).checked_sub(20)?;
                let (from, to) = halves::<4>(&addresses)?;
                let udp = rest.get(..length).filter(|_| fragment == 0)?;
                Self::udp(udp, from.into(), to.into(), ttl)
            }
            first if first >> 4 == 6 => {
                let (header, rest) = packet.split_first_chunk::<40>()?;
                let [_, _, _, _, l, m, 17, ttl, addresses @ ..] = *header else {
                    return None;
                };
                let length = usize::from(u16::from_be_bytes([l, m]));
                let (from, to) = halves::<16>(&addresses)?;
                Self::udp(rest.get(..length)?, from.into(), to.into(), ttl)
            }
            _ => None,
        }
    }

    fn udp(udp: &'a [u8], from: IpAddr, to: IpAddr, ttl: u8) -> Option<Self> {
        let ([_, _, p, q, l, m, _, _], rest) = udp.split_first_chunk::<8>()?;
        let length = usize::from(u16::from_be_bytes([*l, *m])).checked_sub(8)?;
        Some(Self {
            from,
            to,
            ttl,
            port: u16::from_be_bytes([*p, *q]),
            payload: rest.get(..length)?,
        })
    }
}

/// Two addresses, one behind the other.
fn halves<const N: usize>(bytes: &[u8]) -> Option<([u8; N], [u8; N])> {
    let (first, rest) = bytes.split_first_chunk::<N>()?;
    Some((*first, *rest.first_chunk::<N>()?))
}

/// The IP packet of an echo packet from and to `local` (RFC 5881 §4, §5).
pub(crate) fn packet(local: IpAddr, payload: &EchoPayload) -> Vec<u8> {
    let mut packet = Vec::with_capacity(40 + 8 + ECHO_LENGTH);
    match local {
        IpAddr::V4(address) => push_ipv4(&mut packet, address),
        IpAddr::V6(address) => push_ipv6(&mut packet, address),
    }
    let mut udp = Vec::with_capacity(8 + ECHO_LENGTH);
    for field in [ECHO_PORT, ECHO_PORT, UDP_LENGTH, 0] {
        udp.extend_from_slice(&field.to_be_bytes());
    }
    payload.encode(&mut udp);
    let sum = udp_checksum(local, &udp);
    // Behind the ports and the length.
    if let Some(field) = udp.get_mut(6..8) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend_from_slice(&udp);
    packet
}

fn push_ipv4(packet: &mut Vec<u8>, address: Ipv4Addr) {
    let [high, low] = (20 + UDP_LENGTH).to_be_bytes();
    let mut header = vec![0x45, CLASS, high, low, 0, 0, 0, 0, 255, 17];
    let addresses = [address.octets(), address.octets()].concat();
    let sum = checksum(&[header.as_slice(), &addresses].concat());
    header.extend_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&header);
    packet.extend_from_slice(&addresses);
}

fn push_ipv6(packet: &mut Vec<u8>, address: Ipv6Addr) {
    let [high, low] = UDP_LENGTH.to_be_bytes();
    packet.extend_from_slice(&[0x60 | CLASS >> 4, CLASS << 4, 0, 0, high, low, 17, 255]);
    packet.extend_from_slice(&address.octets());
    packet.extend_from_slice(&address.octets());
}

/// RFC 768, RFC 8200 §8.1.
fn udp_checksum(local: IpAddr, udp: &[u8]) -> u16 {
    let address = match local {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let mut pseudo = [address.as_slice(), &address].concat();
    pseudo.extend_from_slice(&[0, 17]);
    pseudo.extend_from_slice(&UDP_LENGTH.to_be_bytes());
    pseudo.extend_from_slice(udp);
    match checksum(&pseudo) {
        0 => u16::MAX,
        sum => sum,
    }
}

/// RFC 1071, over an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    let add = |sum: u16, word: &[u8; 2]| {
        let (sum, carry) = sum.overflowing_add(u16::from_be_bytes(*word));
        sum.wrapping_add(u16::from(carry))
    };
    !words.iter().fold(0, add)
}

/// Length of the payload in bytes.
pub const ECHO_LENGTH: usize = 20;
const UDP_LENGTH: u16 = 28;
/// CS6, network control.
const CLASS: u8 = 0xc0;
const MAGIC: [u8; 4] = *b"ilb\x01";

/// How far the echo function of a session is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Echo {
    /// No packets are sent.
    #[default]
    Off,
    /// Packets are sent, and none has come back. The session does not depend on them until the first time that one does: many peers
    /// say that they send echo packets back, and do not forward.
    Trying {
        /// Between two packets.
        interval: Duration,
        /// When the first was sent.
        since: Time,
    },
    /// Packets come back, and have to go on to.
    Proven {
        /// Between two packets.
        interval: Duration,
        /// When the last one came back.
        returned: Time,
    },
}

impl Echo {
    pub(crate) const fn interval(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Trying { interval, .. } | Self::Proven { interval, .. } => Some(interval),
        }
    }

    pub(crate) const fn is_proven(self) -> bool {
        matches!(self, Self::Proven { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYLOAD: EchoPayload = EchoPayload {
        discriminator: 7,
        sequence: 0x0102_0304,
        nonce: u64::MAX - 1,
    };

    #[test]
    fn a_packet_is_addressed_to_its_sender_and_read_back() {
        let mut payload = Vec::new();
        PAYLOAD.encode(&mut payload);
        for local in ["192.0.2.1", "2001:db8::1"] {
            let local: IpAddr = local.parse().unwrap();
            let bytes = packet(local, &PAYLOAD);
            let overheard = Overheard {
                from: local,
                to: local,
                ttl: 255,
                port: 3785,
                payload: &payload,
            };
            assert_eq!(Overheard::decode(&bytes), Some(overheard));
            // Padding.
            let padded = [bytes.as_slice(), &[0; 9]].concat();
            assert_eq!(Overheard::decode(&padded), Some(overheard));
            for length in 0..bytes.len() {
                assert_eq!(Overheard::decode(&bytes[..length]), None);
            }
            // What is summed up with its sum gives nothing.
            let (header, udp) = bytes.split_at(if local.is_ipv4() { 20 } else { 40 });
            assert!(local.is_ipv6() || checksum(header) == 0);
            assert_eq!(udp_checksum(local, udp), u16::MAX);
        }
    }

    #[test]
    fn fragments_options_and_other_protocols_are_not_read() {
        let bytes = packet(IpAddr::V4(Ipv4Addr::LOCALHOST), &PAYLOAD);
        for (offset, value) in [(0, 0x46), (6, 0x20), (7, 1), (9, 6)] {
            let mut altered = bytes.clone();
            altered[offset] = value;
            assert_eq!(Overheard::decode(&altered), None, "{offset}");
        }
        // Do not fragment is no fragment.
        let mut altered = bytes;
        altered[6] = 0x40;
        assert!(Overheard::decode(&altered).is_some());
    }

    #[test]
    fn a_payload_is_read_back_and_nothing_else_is_read() {
        let mut bytes = Vec::new();
        PAYLOAD.encode(&mut bytes);
        assert_eq!(bytes.len(), ECHO_LENGTH);
        assert_eq!(EchoPayload::decode(&bytes), Some(PAYLOAD));
        for length in 0..ECHO_LENGTH {
            assert_eq!(EchoPayload::decode(&bytes[..length]), None);
        }
        bytes.push(0);
        assert_eq!(EchoPayload::decode(&bytes), None);
        bytes.pop();
        bytes[0] ^= 1;
        assert_eq!(EchoPayload::decode(&bytes), None);
    }
}
