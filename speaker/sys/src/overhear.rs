//! Packet sockets for UDP packets of BFD, as the kernel hands them to this host and as it does not: an echo packet that comes back has our
//! own address as its source, and the kernel drops it.
#![allow(
    unsafe_code,
    reason = "socket addresses of packet sockets have no safe form"
)]

use std::io;
use std::os::fd::AsRawFd;
use std::task::{Context, Poll, ready};

use ironlb_model::{Family, Mac};
use socket2::{Domain, SockAddr, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::filter;
use crate::option::{length_of, set};

/// Receives UDP packets to the ports 3784 and 3785 on one interface, and sends IP packets to Ethernet addresses there.
#[derive(Debug)]
pub struct Overhearing {
    socket: AsyncFd<Socket>,
    interface: u32,
    family: Family,
}

impl Overhearing {
    /// Opens a socket. Needs a tokio runtime.
    ///
    /// # Errors
    /// `EPERM` without CAP_NET_RAW; `ENODEV` when the interface is gone.
    pub fn open(interface: u32, family: Family) -> io::Result<Self> {
        // Protocol 0 receives nothing until bind names one, and by then the filter is there.
        let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
        let program: Vec<SockFilter> = filter::bfd(family).into_iter().map(Into::into).collect();
        socket.attach_filter(&program)?;
        set(
            &socket,
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            &1i32,
        )?;
        socket.bind(&address(interface, family, Mac([0; 6]))?)?;
        Ok(Self {
            // SAFETY: the descriptor is the socket's own, the same and open for as long as the socket lives; it is never replaced.
            socket: unsafe { AsyncFd::register(socket) }?,
            interface,
            family,
        })
    }

    /// Ready with the next packet, from its IP header on: its length and the Ethernet address that it came from.
    ///
    /// # Errors
    /// `ENETDOWN` when the interface went down.
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, Mac)>> {
        loop {
            let mut guard = ready!(self.socket.poll_read_ready(cx))?;
            if let Ok(result) = guard.try_io(|socket| receive(socket.get_ref(), buffer)) {
                return Poll::Ready(result);
            }
        }
    }

    /// The next packet if the kernel has one now, whatever the runtime has noticed of it.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when there is none.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Mac)> {
        receive(self.socket.get_ref(), buffer)
    }

    /// Sends an IP packet in a frame to `to`, or not: it never waits.
    ///
    /// # Errors
    /// `EAGAIN` or `ENOBUFS` when the queue is full, `ENETDOWN` or `ENXIO` when the interface is down or gone.
    pub fn send(&self, packet: &[u8], to: Mac) -> io::Result<()> {
        let to = address(self.interface, self.family, to)?;
        self.socket.get_ref().send_to(packet, &to)?;
        Ok(())
    }
}

fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<(usize, Mac)> {
    let mut storage = SockAddrStorage::zeroed();
    let mut length = length_of::<libc::sockaddr_storage>()?;
    // SAFETY: buffer, address and the address's length point to memory of the length said, alive during the call.
    let received = unsafe {
        libc::recvfrom(
            socket.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
            (&raw mut storage).cast(),
            &raw mut length,
        )
    };
    let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: a packet socket gives a sockaddr_ll, one of the types that a sockaddr_storage stands for.
    let from = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    let [a, b, c, d, e, f, ..] = from.sll_addr;
    Ok((received, Mac([a, b, c, d, e, f])))
}

fn address(interface: u32, family: Family, mac: Mac) -> io::Result<SockAddr> {
    let mut storage = SockAddrStorage::zeroed();
    // SAFETY: sockaddr_ll is one of the types that a sockaddr_storage stands for.
    let link = unsafe { storage.view_as::<libc::sockaddr_ll>() };
    let ether_type: u16 = match family {
        Family::V4 => 0x0800,
        Family::V6 => 0x86dd,
    };
    let [a, b, c, d, e, f] = mac.0;
    link.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    link.sll_protocol = ether_type.to_be();
    link.sll_ifindex =
        i32::try_from(interface).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    link.sll_halen = 6;
    link.sll_addr = [a, b, c, d, e, f, 0, 0];
    let length = length_of::<libc::sockaddr_ll>()?;
    // SAFETY: the storage holds a sockaddr_ll of that length, its family set.
    Ok(unsafe { SockAddr::new(storage, length) })
}
