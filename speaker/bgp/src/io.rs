//! What goes into a [`Peer`](crate::Peer) and what comes out of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use ironlb_model::Family;

use crate::collision::Direction;
use crate::peer::Settings;
use crate::restart::Stop;
use crate::session::{Agreement, Cause};

/// A TCP connection between us and a peer. Numbers are never used twice by one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// Who opened it: outbound ones are numbered by the [`Peer`](crate::Peer), inbound ones by whoever accepts them.
    pub direction: Direction,
    /// Tells it from others of the same direction.
    pub number: u64,
}

impl Connection {
    /// One that we accept.
    pub const fn inbound(number: u64) -> Self {
        Self {
            direction: Direction::Inbound,
            number,
        }
    }

    /// One that we dial.
    pub(crate) const fn outbound(number: u64) -> Self {
        Self {
            direction: Direction::Outbound,
            number,
        }
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.direction {
            Direction::Outbound => write!(f, "outbound {}", self.number),
            Direction::Inbound => write!(f, "inbound {}", self.number),
        }
    }
}

/// Something that happened. What a connection brings comes by [`Peer::receive`](crate::Peer::receive).
#[derive(Clone, Debug)]
pub enum Input {
    /// The peer is to be.
    Start,
    /// The peer is not to be any longer.
    Stop(Stop),
    /// The operator wants the session anew, and may say why to the peer's (RFC 9003).
    Reset(String),
    /// The settings are now these.
    Configure(Box<Settings>),
    /// A connection that was asked for is there.
    Connected {
        /// Which.
        connection: Connection,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
    /// The peer has connected to us, from the address that it is configured with.
    Accepted {
        /// A number for it, higher than any before.
        number: u64,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
    /// A connection is gone, or could not be had.
    Closed {
        /// Which.
        connection: Connection,
        /// What the system says; `None` when the peer closed it in good order.
        error: Option<String>,
    },
    /// Everything that was to be sent on a connection has gone to the system.
    Drained(Connection),
    /// BFD reaches the peer. So it does until another of these three.
    BfdUp,
    /// BFD has lost the peer. Say it when that happens, and not for a BFD session that was never up.
    BfdDown,
    /// BFD begins anew, or is kept no longer: it is as if it had never been up, and a session that is up stays so. Not for a peer
    /// that has switched it off, which says nothing of the path (RFC 5882 §3.2).
    BfdOff,
    /// The time of [`deadline`](crate::Peer::deadline) has come; harmless when early. Give what has been received first: a
    /// KEEPALIVE that waits to be read is as good as one that was.
    Tick,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect to the peer; the answer is [`Input::Connected`] or [`Input::Closed`].
    Connect(Connection),
    /// Send this on a connection, after what is still to be sent; then say [`Input::Drained`].
    Send {
        /// On which.
        connection: Connection,
        /// Whole messages, perhaps shared with other peers.
        bytes: Arc<[u8]>,
    },
    /// Close a connection, or give up connecting. Nothing more is to be said of it. Each connection has one such end, also
    /// one that has been said to be [closed](Input::Closed); it is said again of one that comes when it was given up.
    ///
    /// What is still to be sent goes out as far as the system takes it at once: it ends with a NOTIFICATION. So that the peer
    /// gets to read it, shut down the sending side, and read and discard for a moment, before closing.
    Close(Connection),
    /// The session is up. Routes may be sent: see [`Peer::has_room`](crate::Peer::has_room).
    Up {
        /// On which connection.
        connection: Connection,
        /// What was negotiated.
        agreement: Box<Agreement>,
    },
    /// The session is down. What the peer had been told is void.
    Down(Cause),
    /// A connection came to nothing before a session was up.
    Failed(Cause),
    /// The peer asks for all routes of a family again (RFC 2918).
    Resend {
        /// The family.
        family: Family,
        /// Whether they are to be framed by BoRR and EoRR (RFC 7313).
        framed: bool,
    },
}
