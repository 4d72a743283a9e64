use std::time::Duration;

use ironlb_model::BfdProfile;

/// What is wanted of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Packets that may be missed until the peer calls us down, 1 to 255 (bfd.DetectMult).
    pub detect_multiplier: u8,
    /// The fastest rate that we send at while up (bfd.DesiredMinTxInterval); while not up it is a second at least.
    pub transmit_interval: Duration,
    /// The fastest rate that we accept (bfd.RequiredMinRxInterval).
    pub receive_interval: Duration,
    /// The fastest rate of our echo packets; `None` for none. Only over one hop.
    pub echo: Option<Duration>,
    /// The fastest rate of echo packets that this system sends back for the peer; `None` where it does not.
    pub reflect: Option<Duration>,
    /// Whether we wait for the peer to begin (RFC 5880 §6.1).
    pub passive: bool,
    /// The lowest TTL accepted over several hops. Over one hop it is 255 (RFC 5881 §5).
    pub minimum_ttl: u8,
}

impl Settings {
    /// What a profile asks for. `reflects` says whether this system's kernel forwards what the peer addresses to itself.
    pub fn new(profile: &BfdProfile, reflects: bool) -> Self {
        let echo = profile.echo.then_some(profile.echo_interval);
        Self {
            detect_multiplier: profile.detect_multiplier,
            transmit_interval: profile.transmit_interval,
            receive_interval: profile.receive_interval,
            echo,
            reflect: echo.filter(|_| reflects),
            passive: profile.passive,
            minimum_ttl: profile.minimum_ttl,
        }
    }
}

impl Default for Settings {
    /// As a BFDProfile without fields: three times 300 ms.
    fn default() -> Self {
        Self {
            detect_multiplier: 3,
            transmit_interval: Duration::from_millis(300),
            receive_interval: Duration::from_millis(300),
            echo: None,
            reflect: None,
            passive: false,
            minimum_ttl: 254,
        }
    }
}
