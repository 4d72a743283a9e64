//! The control packet (RFC 5880 §4.1), 24 bytes.

use std::fmt;
use std::time::Duration;

/// A control packet without authentication, not multipoint, version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Why the sender's session last changed its state.
    pub diagnostic: Diagnostic,
    /// The sender's session state.
    pub state: State,
    /// P: the sender wants a packet with `is_final` in return.
    pub poll: bool,
    /// F: this is that packet.
    pub is_final: bool,
    /// C: the sender's BFD lives on when its control plane restarts (RFC 5882 §4.3).
    pub control_plane_independent: bool,
    /// A: an authentication section follows, which is not read.
    pub authenticated: bool,
    /// D: the sender wants no more periodic packets while both are up (RFC 5880 §6.6).
    pub demand: bool,
    /// Packets that may be missed until the sender is down to us; never 0.
    pub detect_multiplier: u8,
    /// The sender's number for the session; never 0.
    pub my_discriminator: u32,
    /// Our number for the session as the sender knows it, 0 while it does not.
    pub your_discriminator: u32,
    /// The fastest rate at which the sender would like to send. In whole microseconds, as all intervals here.
    pub desired_min_tx: Duration,
    /// The fastest rate that the sender accepts; zero for no periodic packets at all.
    pub required_min_rx: Duration,
    /// The fastest rate of echo packets that the sender sends back; zero for none.
    pub required_min_echo_rx: Duration,
}

impl Packet {
    /// Reads a UDP payload: the first checks of RFC 5880 §6.8.6, in its order. What follows the packet is ignored.
    ///
    /// # Errors
    /// The first check that fails. The packet is to be discarded.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let Some((fixed, _rest)) = payload.split_first_chunk::<LENGTH>() else {
            return Err(too_short(payload));
        };
        let [first, flags, detect_multiplier, length, words @ ..] = *fixed;
        if first >> 5 != VERSION {
            return Err(DecodeError::Version(first >> 5));
        }
        let authenticated = flags & AUTHENTICATED != 0;
        let least = if authenticated {
            LENGTH_AUTHENTICATED
        } else {
            LENGTH
        };
        if usize::from(length) < least || usize::from(length) > payload.len() {
            let payload = payload.len();
            return Err(DecodeError::Length { length, payload });
        }
        if detect_multiplier == 0 {
            return Err(DecodeError::DetectMultiplier);
        }
        if flags & MULTIPOINT != 0 {
            return Err(DecodeError::Multipoint);
        }
        let [my, your, tx, rx, echo] = numbers(words);
        if my == 0 {
            return Err(DecodeError::MyDiscriminator);
        }
        Ok(Self {
            diagnostic: Diagnostic::from_number(first & 0x1f),
            state: State::from_bits(flags >> 6),
            poll: flags & POLL != 0,
            is_final: flags & FINAL != 0,
            control_plane_independent: flags & CONTROL_PLANE_INDEPENDENT != 0,
            authenticated,
            demand: flags & DEMAND != 0,
            detect_multiplier,
            my_discriminator: my,
            your_discriminator: your,
            desired_min_tx: Duration::from_micros(tx.into()),
            required_min_rx: Duration::from_micros(rx.into()),
            required_min_echo_rx: Duration::from_micros(echo.into()),
        })
    }

    /// Appends the packet. Intervals are rounded down to microseconds.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags = self.state.bits() << 6
            | bit(self.poll, POLL)
            | bit(self.is_final, FINAL)
            | bit(self.control_plane_independent, CONTROL_PLANE_INDEPENDENT)
            | bit(self.authenticated, AUTHENTICATED)
            | bit(self.demand, DEMAND);
        to.extend_from_slice(&[
            VERSION << 5 | self.diagnostic.number(),
            flags,
            self.detect_multiplier,
            LENGTH_OCTET,
        ]);
        to.extend_from_slice(&self.my_discriminator.to_be_bytes());
        to.extend_from_slice(&self.your_discriminator.to_be_bytes());
        for interval in [
            self.desired_min_tx,
            self.required_min_rx,
            self.required_min_echo_rx,
        ] {
            let micros = u32::try_from(interval.as_micros()).unwrap_or(u32::MAX);
            to.extend_from_slice(&micros.to_be_bytes());
        }
    }
}

/// bfd.SessionState (RFC 5880 §6.8.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Held down by an operator.
    AdminDown,
    /// The peer is not heard, or was told to be down.
    #[default]
    Down,
    /// The peer is heard and wants a session, but does not yet hear us.
    Init,
    /// Both hear each other.
    Up,
}

impl State {
    const fn from_bits(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::AdminDown,
            1 => Self::Down,
            2 => Self::Init,
            _ => Self::Up,
        }
    }

    const fn bits(self) -> u8 {
        match self {
            Self::AdminDown => 0,
            Self::Down => 1,
            Self::Init => 2,
            Self::Up => 3,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AdminDown => "AdminDown",
            Self::Down => "Down",
            Self::Init => "Init",
            Self::Up => "Up",
        })
    }
}

/// bfd.LocalDiag: why a session last changed its state (RFC 5880 §4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Diagnostic {
    /// 0: nothing has happened yet.
    #[default]
    None,
    /// 1: no packet came for the detection time.
    DetectionTimeExpired,
    /// 2: echo packets did not come back.
    EchoFailed,
    /// 3: the peer said that its session is down.
    NeighborSignaledDown,
    /// 4: the forwarding plane was reset.
    ForwardingPlaneReset,
    /// 5: something outside of BFD says that the path is broken.
    PathDown,
    /// 6: a path concatenated to this one is broken.
    ConcatenatedPathDown,
    /// 7: an operator, or a planned stop.
    AdministrativelyDown,
    /// 8: as 6, seen from the other side.
    ReverseConcatenatedPathDown,
    /// 9 to 31: not assigned.
    Unassigned(u8),
}

impl Diagnostic {
    const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::None,
            1 => Self::DetectionTimeExpired,
            2 => Self::EchoFailed,
            3 => Self::NeighborSignaledDown,
            4 => Self::ForwardingPlaneReset,
            5 => Self::PathDown,
            6 => Self::ConcatenatedPathDown,
            7 => Self::AdministrativelyDown,
            8 => Self::ReverseConcatenatedPathDown,
            number => Self::Unassigned(number),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::None => 0,
            Self::DetectionTimeExpired => 1,
            Self::EchoFailed => 2,
            Self::NeighborSignaledDown => 3,
            Self::ForwardingPlaneReset => 4,
            Self::PathDown => 5,
            Self::ConcatenatedPathDown => 6,
            Self::AdministrativelyDown => 7,
            Self::ReverseConcatenatedPathDown => 8,
            // Five bits on the wire.
            Self::Unassigned(number) => number & 0x1f,
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("no diagnostic"),
            Self::DetectionTimeExpired => f.write_str("control detection time expired"),
            Self::EchoFailed => f.write_str("echo function failed"),
            Self::NeighborSignaledDown => f.write_str("neighbor signaled session down"),
            Self::ForwardingPlaneReset => f.write_str("forwarding plane reset"),
            Self::PathDown => f.write_str("path down"),
            Self::ConcatenatedPathDown => f.write_str("concatenated path down"),
            Self::AdministrativelyDown => f.write_str("administratively down"),
            Self::ReverseConcatenatedPathDown => f.write_str("reverse concatenated path down"),
            Self::Unassigned(number) => write!(f, "diagnostic {number}"),
        }
    }
}

/// Why a payload is no control packet, or none that may be used. The first checks of RFC 5880 §6.8.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum DecodeError {
    /// Not version 1.
    #[error("version is {0}, not 1")]
    Version(u8),
    /// The length field is less than the packet's least length or more than there is.
    #[error(
        "length is {length} in a payload of {payload} bytes, not at least 24 (26 with authentication) and at most the payload"
    )]
    Length {
        /// The length field; what there is when it is missing.
        length: u8,
        /// The length of the payload.
        payload: usize,
    },
    /// Detect Mult is 0.
    #[error("detect multiplier is 0, not 1 to 255")]
    DetectMultiplier,
    /// The Multipoint bit is set.
    #[error("the multipoint bit is set, which only RFC 8562 has a use for")]
    Multipoint,
    /// My Discriminator is 0.
    #[error("my discriminator is 0, which stands for none")]
    MyDiscriminator,
}

/// Length of a packet without authentication.
pub const LENGTH: usize = 24;

const LENGTH_OCTET: u8 = 24;
const LENGTH_AUTHENTICATED: usize = 26;
const VERSION: u8 = 1;
const POLL: u8 = 0x20;
const FINAL: u8 = 0x10;
const CONTROL_PLANE_INDEPENDENT: u8 = 0x08;
const AUTHENTICATED: u8 = 0x04;
const DEMAND: u8 = 0x02;
const MULTIPOINT: u8 = 0x01;

/// The version is looked at first, if there is one.
fn too_short(payload: &[u8]) -> DecodeError {
    match payload.first() {
        Some(first) if first >> 5 != VERSION => DecodeError::Version(first >> 5),
        _ => DecodeError::Length {
            length: payload.get(3).copied().unwrap_or(0),
            payload: payload.len(),
        },
    }
}

/// Five numbers of 32 bits.
fn numbers(bytes: [u8; LENGTH - 4]) -> [u32; 5] {
    let mut numbers = [0; 5];
    let (words, _) = bytes.as_chunks::<4>();
    for (number, word) in numbers.iter_mut().zip(words) {
        *number = u32::from_be_bytes(*word);
    }
    numbers
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// FRR 8.4's answer to BIRD's poll once both are up.
    const FRR_FINAL: [u8; LENGTH] = [
        0x20, 0xd0, 0x04, 0x18, 0xbd, 0x52, 0x6f, 0x81, 0x28, 0xcb, 0x0e, 0xc9, 0x00, 0x01, 0xd4,
        0xc0, 0x00, 0x02, 0x49, 0xf0, 0x00, 0x00, 0xc3, 0x50,
    ];
    /// FRR 8.4 when an operator shuts the session down.
    const FRR_ADMIN_DOWN: [u8; LENGTH] = [
        0x20, 0x00, 0x04, 0x18, 0xbd, 0x52, 0x6f, 0x81, 0x28, 0xcb, 0x0e, 0xc9, 0x00, 0x05, 0x14,
        0xc8, 0x00, 0x02, 0x49, 0xf0, 0x00, 0x00, 0xc3, 0x50,
    ];
    /// BIRD 2.0.12's first packet.
    const BIRD_FIRST: [u8; LENGTH] = [
        0x20, 0x40, 0x05, 0x18, 0x28, 0xcb, 0x0e, 0xc9, 0, 0, 0, 0, 0x00, 0x0f, 0x42, 0x40, 0x00,
        0x03, 0x0d, 0x40, 0, 0, 0, 0,
    ];
    /// BIRD 2.0.12 after FRR said that it is down.
    const BIRD_DOWN: [u8; LENGTH] = [
        0x23, 0x60, 0x05, 0x18, 0x28, 0xcb, 0x0e, 0xc9, 0xbd, 0x52, 0x6f, 0x81, 0x00, 0x0f, 0x42,
        0x40, 0x00, 0x03, 0x0d, 0x40, 0, 0, 0, 0,
    ];

    fn frr_final() -> Packet {
        Packet {
            diagnostic: Diagnostic::None,
            state: State::Up,
            poll: false,
            is_final: true,
            control_plane_independent: false,
            authenticated: false,
            demand: false,
            detect_multiplier: 4,
            my_discriminator: 0xbd52_6f81,
            your_discriminator: 0x28cb_0ec9,
            desired_min_tx: Duration::from_millis(120),
            required_min_rx: Duration::from_millis(150),
            required_min_echo_rx: Duration::from_millis(50),
        }
    }

    fn captured() -> [([u8; LENGTH], Packet); 4] {
        let bird = Packet {
            detect_multiplier: 5,
            my_discriminator: 0x28cb_0ec9,
            your_discriminator: 0,
            is_final: false,
            state: State::Down,
            desired_min_tx: Duration::from_secs(1),
            required_min_rx: Duration::from_millis(200),
            required_min_echo_rx: Duration::ZERO,
            ..frr_final()
        };
        let admin_down = Packet {
            state: State::AdminDown,
            is_final: false,
            desired_min_tx: Duration::from_millis(333),
            ..frr_final()
        };
        let down = Packet {
            diagnostic: Diagnostic::NeighborSignaledDown,
            poll: true,
            your_discriminator: 0xbd52_6f81,
            ..bird
        };
        [
            (FRR_FINAL, frr_final()),
            (FRR_ADMIN_DOWN, admin_down),
            (BIRD_FIRST, bird),
            (BIRD_DOWN, down),
        ]
    }

    #[test]
    fn captured_packets_are_read() {
        for (bytes, packet) in captured() {
            assert_eq!(Packet::decode(&bytes), Ok(packet));
        }
    }

    #[test]
    fn packets_are_written_as_captured() {
        for (bytes, packet) in captured() {
            let mut written = Vec::new();
            packet.encode(&mut written);
            assert_eq!(written, bytes);
        }
    }

    #[test]
    fn every_cut_is_refused() {
        for length in 0..LENGTH {
            let cut = Packet::decode(&FRR_FINAL[..length]);
            assert!(
                matches!(cut, Err(DecodeError::Length { payload, .. }) if payload == length),
                "{length}"
            );
        }
    }

    #[test]
    fn the_checks_are_made_in_the_order_of_the_rfc() {
        // Everything is wrong; each step puts right what was found.
        let mut bytes = FRR_FINAL;
        bytes[0] = 0x40;
        bytes[1] |= MULTIPOINT;
        bytes[2] = 0;
        bytes[3] = 23;
        bytes[4..8].fill(0);
        let refusal = |bytes: &[u8]| Packet::decode(bytes).unwrap_err();
        assert_eq!(refusal(&bytes), DecodeError::Version(2));
        assert_eq!(refusal(&bytes[..4]), DecodeError::Version(2));
        bytes[0] = 0x20;
        let payload = LENGTH;
        assert_eq!(
            refusal(&bytes),
            DecodeError::Length {
                length: 23,
                payload
            }
        );
        bytes[3] = 25;
        assert_eq!(
            refusal(&bytes),
            DecodeError::Length {
                length: 25,
                payload
            }
        );
        bytes[3] = 24;
        assert_eq!(refusal(&bytes), DecodeError::DetectMultiplier);
        bytes[2] = 1;
        assert_eq!(refusal(&bytes), DecodeError::Multipoint);
        bytes[1] &= !MULTIPOINT;
        assert_eq!(refusal(&bytes), DecodeError::MyDiscriminator);
        bytes[4] = 1;
        assert!(Packet::decode(&bytes).is_ok());
    }

    #[test]
    fn a_packet_with_authentication_is_two_bytes_longer_at_least() {
        let mut bytes = FRR_FINAL.to_vec();
        bytes[1] |= AUTHENTICATED;
        bytes.extend([1, 9, 0, 0]);
        assert!(matches!(
            Packet::decode(&bytes),
            Err(DecodeError::Length { length: 24, .. })
        ));
        bytes[3] = 26;
        assert!(Packet::decode(&bytes).unwrap().authenticated);
    }

    #[test]
    fn what_follows_the_packet_is_ignored() {
        let mut bytes = BIRD_FIRST.to_vec();
        bytes.extend([0xff; 20]);
        assert_eq!(Packet::decode(&bytes), Packet::decode(&BIRD_FIRST));
    }

    #[test]
    fn a_refusal_says_what_was_found_and_what_is_allowed() {
        let error = Packet::decode(&[0x60]).unwrap_err();
        assert_eq!(error.to_string(), "version is 3, not 1");
    }

    fn packets() -> impl Strategy<Value = Packet> {
        (
            0..32u8,
            0..4u8,
            any::<[bool; 4]>(),
            1..=255u8,
            1..=u32::MAX,
            any::<u32>(),
            any::<[u32; 3]>(),
        )
            .prop_map(
                |(diagnostic, state, flags, detect_multiplier, my, your, intervals)| {
                    let [poll, is_final, control_plane_independent, demand] = flags;
                    let [tx, rx, echo] =
                        intervals.map(|micros| Duration::from_micros(micros.into()));
                    Packet {
                        diagnostic: Diagnostic::from_number(diagnostic),
                        state: State::from_bits(state),
                        poll,
                        is_final,
                        control_plane_independent,
                        authenticated: false,
                        demand,
                        detect_multiplier,
                        my_discriminator: my,
                        your_discriminator: your,
                        desired_min_tx: tx,
                        required_min_rx: rx,
                        required_min_echo_rx: echo,
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(packet in packets()) {
            let mut bytes = Vec::new();
            packet.encode(&mut bytes);
            prop_assert_eq!(bytes.len(), LENGTH);
            prop_assert_eq!(Packet::decode(&bytes), Ok(packet));
        }

        #[test]
        fn what_is_read_is_written_back(bytes in any::<[u8; LENGTH]>()) {
            if let Ok(packet) = Packet::decode(&bytes) {
                let mut written = Vec::new();
                packet.encode(&mut written);
                prop_assert_eq!(&written, &bytes);
            }
        }
    }
}
