//! What goes into the BGP half of the [`Speaker`](crate::Speaker), and what comes out of it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use ironlb_bgp::Connection;
use ironlb_model::{BgpPeer, Family, Name};

/// Something that happened. What a connection brings comes by [`Speaker::receive`](crate::Speaker::receive).
#[derive(Clone, Debug)]
pub enum PeerInput {
    /// A connection that was asked for is there.
    Connected {
        /// The peer.
        peer: Name,
        /// Which connection.
        connection: Connection,
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
    /// Somebody has connected to us. The answer is [`PeerOutput::Adopt`] or [`PeerOutput::Refuse`].
    Accepted {
        /// A number for the connection, higher than any before.
        number: u64,
        /// Our end.
        local: SocketAddr,
        /// The other end.
        remote: SocketAddr,
        /// The VRF that it came in by: the same address is another peer in each.
        device: Option<String>,
    },
    /// A connection is gone, or could not be had.
    Closed {
        /// The peer.
        peer: Name,
        /// Which connection.
        connection: Connection,
        /// What the system says; `None` when the peer closed it in good order.
        error: Option<String>,
    },
    /// Everything that was to be sent on a connection has gone to the system.
    Drained {
        /// The peer.
        peer: Name,
        /// Which connection.
        connection: Connection,
    },
    /// A BFD session has come up, or was up and is no more.
    Bfd {
        /// Which.
        key: ironlb_bfd::Key,
        /// Whether it is up.
        up: bool,
    },
    /// A Secret of the type that passwords are in is there, or has changed; `None` when it is gone.
    Secret {
        /// Its name.
        name: String,
        /// What is in it.
        secret: Option<Secret>,
    },
    /// The process is about to end. [`PeerOutput::Finished`] comes when every peer has been told what there is to tell.
    Shutdown,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerOutput {
    /// Connect to a peer; the answer is [`PeerInput::Connected`] or [`PeerInput::Closed`].
    Connect {
        /// The peer.
        peer: Name,
        /// The name of the connection.
        connection: Connection,
        /// Where to, and how.
        target: Target,
    },
    /// The connection of this number is one with a peer: give it what its target asks for.
    Adopt {
        /// As in [`PeerInput::Accepted`].
        number: u64,
        /// The peer.
        peer: Name,
        /// How to speak with it.
        target: Target,
    },
    /// The connection of this number is nobody's: close it.
    Refuse {
        /// As in [`PeerInput::Accepted`].
        number: u64,
    },
    /// Send this on a connection, after what is still to be sent; then say [`PeerInput::Drained`].
    Send {
        /// The peer.
        peer: Name,
        /// On which connection.
        connection: Connection,
        /// Whole messages.
        bytes: Arc<[u8]>,
    },
    /// Close a connection, or give up connecting; what is still to be sent goes out first, as far as it can at once.
    Close {
        /// The peer.
        peer: Name,
        /// Which connection.
        connection: Connection,
    },
    /// The connections that a peer has are to go on like this: another password, another TTL.
    Retarget {
        /// The peer.
        peer: Name,
        /// How to speak with it.
        target: Target,
    },
    /// Listen here and nowhere else, for peers with these passwords.
    Listen(BTreeMap<Door, BTreeMap<IpAddr, Option<Passphrase>>>),
    /// Keep a BFD session, or another one than before.
    Watch {
        /// Which.
        key: ironlb_bfd::Key,
        /// How.
        settings: ironlb_bfd::Settings,
    },
    /// Keep a BFD session no longer.
    Unwatch(ironlb_bfd::Key),
    /// Open a packet socket for router solicitations and advertisements on an interface.
    Discover {
        /// The interface's index.
        interface: u32,
        /// Its name, for the logs.
        name: String,
    },
    /// Close it again.
    Undiscover {
        /// The interface's index.
        interface: u32,
    },
    /// Send a whole Ethernet frame on that socket.
    Frame {
        /// The interface's index.
        interface: u32,
        /// The frame, from destination address to payload.
        frame: Vec<u8>,
    },
    /// A session has come up or gone down, or did not come to be.
    Session {
        /// The peer.
        peer: Name,
        /// What became of it.
        news: News,
    },
    /// Every peer has been told that we go: the process may end.
    Finished,
}

/// What became of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It is up.
    Up,
    /// It was up, and is no more. Why.
    Down(String),
    /// It did not come to be. Why.
    Failed(String),
    /// Routes are not told on it that should be. Each is named once as long as it lasts and the session does, and those of one
    /// moment and one reason together.
    Unsendable {
        /// The first of them.
        prefix: IpNet,
        /// How many more there are.
        others: usize,
        /// Why they cannot be told.
        why: String,
    },
    /// It cannot be tried: something is missing for longer than a moment. What, and what the operator can do about it.
    Waiting(String),
    /// What was missing is there.
    Found,
}

/// A peer as it is now.
#[derive(Clone, Debug)]
pub struct PeerView<'a> {
    /// What is configured of it.
    pub config: &'a BgpPeer,
    /// The BFD session that watches it; `None` when none is asked for, or it is not known yet where the peer is.
    pub watch: Option<ironlb_bfd::Key>,
    /// Its session.
    pub status: ironlb_bgp::peer::Status,
    /// How many routes it is told.
    pub announced: usize,
    /// How many of them, or of those withdrawn, it has still to be told of.
    pub pending: usize,
    /// How many routes it should be told and cannot be.
    pub unsendable: usize,
}

/// Where a peer is, and how to speak with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its address, with the interface's index for one that is link-local, and the port to connect to.
    pub remote: SocketAddr,
    /// The address to connect from; `None` for what the kernel chooses.
    pub source: Option<IpAddr>,
    /// The VRF to go through.
    pub device: Option<String>,
    /// How far away it may be.
    pub distance: Distance,
    /// The secret that both share.
    pub password: Option<Passphrase>,
}

/// How far away a peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// On a network of ours.
    Connected,
    /// Anywhere.
    Any,
    /// At most this many hops away, and nothing that comes from farther is let in (RFC 5082).
    Secured(u8),
}

/// Where we listen for peers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Door {
    /// The port.
    pub port: u16,
    /// The family.
    pub family: Family,
    /// The VRF.
    pub device: Option<String>,
}

/// What a Secret for a password holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Secret {
    /// This password.
    Password(Passphrase),
    /// None: the key is missing, or what is there is no text.
    Empty,
}

/// A password. Debug output never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Passphrase(pub Arc<str>);

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}
