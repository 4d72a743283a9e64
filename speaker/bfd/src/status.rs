use std::fmt;

use crate::wire::Diagnostic;

/// Why a session went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// No packet came for the detection time.
    DetectionTimeExpired,
    /// Echo packets stopped coming back.
    EchoFailed,
    /// The peer's session is down, for this reason.
    Neighbor(Diagnostic),
    /// The peer's operator, or its planned stop, took the session down.
    NeighborAdminDown,
    /// It is wanted no more here.
    AdminDown,
}

impl Reason {
    /// Whether a routing protocol has to end with the session. It has not when BFD alone was switched off, on either side: that
    /// says nothing of the path (RFC 5882 §3.2, §4.2).
    pub const fn ends_clients(self) -> bool {
        match self {
            Self::DetectionTimeExpired | Self::EchoFailed | Self::Neighbor(_) => true,
            Self::NeighborAdminDown | Self::AdminDown => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DetectionTimeExpired => f.write_str("nothing heard for the detection time"),
            Self::EchoFailed => f.write_str("echo packets no longer come back"),
            Self::Neighbor(Diagnostic::None) => f.write_str("neighbor signaled session down"),
            Self::Neighbor(diagnostic) => write!(f, "neighbor signaled session down: {diagnostic}"),
            Self::NeighborAdminDown => f.write_str("neighbor is administratively down"),
            Self::AdminDown => f.write_str("no longer wanted"),
        }
    }
}

/// What a routing protocol has to know of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has not been up yet. The peer may not speak BFD at all.
    NeverUp,
    /// Up.
    Up,
    /// It was up.
    Down(Reason),
}

impl Status {
    /// Whether a routing protocol may establish a session now. Where `strict`, only while BFD is up, or was switched off by the
    /// peer's operator; else always.
    pub const fn permits(self, strict: bool) -> bool {
        match self {
            Self::Up => true,
            Self::Down(reason) => !strict || !reason.ends_clients(),
            Self::NeverUp => !strict,
        }
    }
}
