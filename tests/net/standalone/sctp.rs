//! SCTP as far as forwarding sees it: one INIT chunk (RFC 9260 §3.3.2), sent and received on raw sockets, because few
//! kernels have SCTP sockets.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ironlb_lab::Host;
use socket2::{Domain, Protocol, Socket, Type};

/// Receives what comes to a host by SCTP over IPv4.
pub(crate) struct Receiver(Socket);

impl Receiver {
    pub(crate) fn new(host: &Host) -> Self {
        let socket = host.in_namespace(raw).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        Self(socket)
    }

    /// The ports that the next packet goes from and to, if one comes soon.
    pub(crate) fn ports(&mut self) -> Option<(u16, u16)> {
        let mut packet = [0; 1_500];
        let length = self.0.read(&mut packet).ok()?;
        let header = packet[..length].get(20..)?;
        let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        Some((port(0), port(2)))
    }
}

/// Sends an INIT.
pub(crate) fn send_init(host: &Host, from: u16, to: IpAddr, port: u16) {
    let mut packet = Vec::new();
    packet.extend_from_slice(&from.to_be_bytes());
    packet.extend_from_slice(&port.to_be_bytes());
    packet.extend_from_slice(&[0; 8]);
    // INIT, 20 bytes: a tag, a window of 64 KiB, one stream each way, a first number.
    packet.extend_from_slice(&[1, 0, 0, 20, 0, 0, 0, 7, 0, 1, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1]);
    let checksum = crc32c(&packet);
    packet[8..12].copy_from_slice(&checksum.to_le_bytes());
    let socket = host.in_namespace(raw).unwrap();
    socket
        .send_to(&packet, &SocketAddr::new(to, 0).into())
        .unwrap();
}

fn raw() -> Socket {
    Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(132))).unwrap()
}

/// RFC 9260, appendix A.
fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[test]
fn the_checksum_is_that_of_the_rfc() {
    assert_eq!(crc32c(b"123456789"), 0xe306_9283);
}
