//! Packet sockets (packet(7)): whole Ethernet frames of one protocol on one interface.
//!
//! The kernel filters (see `filter.rs`), readiness drives, nothing here blocks, and the interface is not put into promiscuous
//! mode. What is in a frame is for `ironlb-l2` to read.
#![allow(
    unsafe_code,
    reason = "socket addresses of packet sockets, group memberships and recvmmsg have no safe form"
)]

use std::fmt;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use ironlb_model::Mac;
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::filter;
use crate::multicast::Listener;
use crate::option::{self, check, length_of};

pub use crate::cover::Cover;

/// What a socket receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// ARP requests and replies.
    Arp,
    /// Neighbour solicitations and advertisements.
    Ndp,
    /// Router solicitations and advertisements.
    RouterDiscovery,
}

impl Protocol {
    const fn ether_type(self) -> u16 {
        match self {
            Self::Arp => 0x0806,
            Self::Ndp | Self::RouterDiscovery => 0x86dd,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Arp => "ARP",
            Self::Ndp => "NDP",
            Self::RouterDiscovery => "router discovery",
        })
    }
}

/// A packet socket on one interface. Group memberships end when it is dropped.
///
/// It survives the interface going down and up again: [`poll_receive`](Self::poll_receive) gives `ENETDOWN` once, and frames
/// again after that. When the interface is removed it gives `ENETDOWN` (or `ENXIO` on send) and never anything else.
#[derive(Debug)]
pub struct PacketSocket {
    socket: AsyncFd<Socket>,
    interface: u32,
    protocol: Protocol,
    listener: Listener,
}

impl PacketSocket {
    /// Opens a socket that receives `protocol` on `interface` and not a frame of anything else. Needs a tokio runtime.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW; `ENODEV` when the interface is gone.
    pub fn open(interface: u32, protocol: Protocol) -> io::Result<Self> {
        // Protocol 0 receives nothing until bind names one, and by then the filter is there.
        let socket = Socket::new(Domain::PACKET, Type::RAW.nonblocking().cloexec(), None)?;
        attach(&socket, &filter::nothing())?;
        option::set(
            &socket,
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            &1i32,
        )?;
        // Bounded by net.core.rmem_max; what the kernel gives is enough in any case.
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        attach(&socket, &program(protocol, None))?;
        socket.bind(&address(interface, protocol)?)?;
        Ok(Self {
            // SAFETY: the descriptor is the socket's own, the same and open for as long as the socket lives; it is never replaced.
            socket: unsafe { AsyncFd::register(socket) }?,
            interface,
            protocol,
            listener: Listener::default(),
        })
    }

    /// Receives only what is about an address in `cover`, in place of an earlier one. Router discovery is about none.
    ///
    /// # Errors
    /// When the kernel has no memory for the filter; then the earlier one stays.
    pub fn narrow(&self, cover: &Cover) -> io::Result<()> {
        attach(self.socket.get_ref(), &program(self.protocol, Some(cover)))
    }

    /// The interface's index.
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// Receives what is there, up to a whole batch, in place of what the batch held; ready when there is at least one frame.
    ///
    /// # Errors
    /// `ENETDOWN` when the interface went down.
    pub fn poll_receive(&self, cx: &mut Context<'_>, batch: &mut Batch) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.socket.poll_read_ready(cx))?;
            let Ok(result) = guard.try_io(|socket| batch.receive(socket.get_ref())) else {
                continue;
            };
            if result.is_ok() && batch.count < FRAMES {
                // The queue was empty for a moment, so the next frame is a new event: no need to ask and be told to wait.
                guard.clear_ready();
            }
            return Poll::Ready(result);
        }
    }

    /// Sends a whole frame, or not at all: it never waits.
    ///
    /// # Errors
    /// `EAGAIN` or `ENOBUFS` when the queue is full, `ENETDOWN` or `ENXIO` when the interface is down or gone.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.get_ref().send(frame) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Receives frames to an Ethernet group, and tells multicast routers and snooping switches (by MLD) that it does.
    ///
    /// # Errors
    /// `ENODEV` when the interface is gone. That MLD is not to be had (IPv6 is switched off) is none.
    pub fn join(&mut self, group: Mac) -> io::Result<()> {
        let request = membership(self.interface, group)?;
        self.set_option(libc::PACKET_ADD_MEMBERSHIP, &request)?;
        self.listener.join(self.interface, group);
        Ok(())
    }

    /// Undoes one [`join`](Self::join).
    ///
    /// # Errors
    /// `EADDRNOTAVAIL` when it has not joined.
    pub fn leave(&mut self, group: Mac) -> io::Result<()> {
        self.listener.leave(self.interface, group);
        let request = membership(self.interface, group)?;
        self.set_option(libc::PACKET_DROP_MEMBERSHIP, &request)
    }

    /// How many frames the kernel had no room for since the last call.
    ///
    /// # Errors
    /// None that is known.
    pub fn take_overflows(&self) -> io::Result<u32> {
        let mut statistics = libc::tpacket_stats {
            tp_packets: 0,
            tp_drops: 0,
        };
        let mut length = length_of::<libc::tpacket_stats>()?;
        // SAFETY: the pointers are to a tpacket_stats and to its length, both alive during the call.
        check(unsafe {
            libc::getsockopt(
                self.socket.get_ref().as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_STATISTICS,
                (&raw mut statistics).cast(),
                &raw mut length,
            )
        })?;
        Ok(statistics.tp_drops)
    }

    fn set_option<T: Copy>(&self, option: i32, value: &T) -> io::Result<()> {
        option::set(self.socket.get_ref(), libc::SOL_PACKET, option, value)
    }
}

/// Room for the frames of one system call.
pub struct Batch {
    buffers: Box<[[u8; FRAME_LENGTH]; FRAMES]>,
    lengths: [usize; FRAMES],
    count: usize,
}

impl Batch {
    /// An empty one.
    pub fn new() -> Self {
        Self {
            buffers: Box::new([[0; FRAME_LENGTH]; FRAMES]),
            lengths: [0; FRAMES],
            count: 0,
        }
    }

    /// The frames received, in order. One that was too long is cut, and does not decode.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        self.buffers
            .iter()
            .zip(&self.lengths)
            .take(self.count)
            .filter_map(|(buffer, length)| buffer.get(..*length))
    }

    fn receive(&mut self, socket: &Socket) -> io::Result<()> {
        self.count = 0;
        let mut parts = self.buffers.each_mut().map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: FRAME_LENGTH,
        });
        let mut messages = parts.each_mut().map(|part| {
            // SAFETY: all zeroes is a message without name, data or control data.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        // SAFETY: every message has one part, which points to a buffer of its own and of the length said. All outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                FRAMES_AT_ONCE,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.count = usize::try_from(check(received)?).unwrap_or(0);
        for (length, message) in self.lengths.iter_mut().zip(&messages) {
            *length = usize::try_from(message.msg_len).unwrap_or(0);
        }
        Ok(())
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.frames()).finish()
    }
}

/// Bytes that the kernel may queue for one socket: some thousands of small frames.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Frames for one system call: enough to make its cost small, few enough to look at other sockets soon.
const FRAMES: usize = 32;
const FRAMES_AT_ONCE: libc::c_uint = 32;
/// Longer than any frame that an answer is given to.
const FRAME_LENGTH: usize = 2048;

fn program(protocol: Protocol, cover: Option<&Cover>) -> Vec<filter::Instruction> {
    match protocol {
        Protocol::Arp => filter::arp(cover.map(|cover| cover.v4.as_slice())),
        Protocol::Ndp => filter::ndp(cover.map(|cover| cover.v6.as_slice())),
        Protocol::RouterDiscovery => filter::router_discovery(),
    }
}

fn attach(socket: &Socket, program: &[filter::Instruction]) -> io::Result<()> {
    let program: Vec<SockFilter> = program.iter().copied().map(SockFilter::from).collect();
    socket.attach_filter(&program)
}

fn address(interface: u32, protocol: Protocol) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the types that a sockaddr_storage stands for.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    link.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    link.sll_protocol = protocol.ether_type().to_be();
    link.sll_ifindex = signed(interface)?;
    let length = length_of::<libc::sockaddr_ll>()?;
    // SAFETY: the storage holds a sockaddr_ll of that length, its family set.
    Ok(unsafe { SockAddr::new(storage, length) })
}

fn membership(interface: u32, group: Mac) -> io::Result<libc::packet_mreq> {
    let [a, b, c, d, e, f] = group.0;
    Ok(libc::packet_mreq {
        mr_ifindex: signed(interface)?,
        mr_type: u16::try_from(libc::PACKET_MR_MULTICAST).map_err(io::Error::other)?,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    })
}

/// An interface index as the kernel's structures have it.
fn signed(interface: u32) -> io::Result<i32> {
    i32::try_from(interface).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))
}
