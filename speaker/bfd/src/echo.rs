//! Echo packets (RFC 5880 §6.4, RFC 5881 §4): addressed to ourselves and handed to the peer, whose forwarding sends them back.
//!
//! What is in them concerns nobody else. One counts as evidence only when it bears the session's own secret number, so
//! that nobody keeps a dead path alive by sending what was never sent back.

use std::time::Duration;

use ironlb_model::Time;

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

/// Length of the payload in bytes.
pub const ECHO_LENGTH: usize = 20;
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
