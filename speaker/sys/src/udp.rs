//! UDP as BFD needs it (RFC 5881 §4, §5; RFC 5883 §5): sockets that tell TTL, interface and destination of what they receive, and
//! sockets that send with a TTL of 255, as network control, from a port above 49151.
#![allow(
    unsafe_code,
    reason = "control messages of recvmsg and their options have no safe form"
)]

use std::ffi::CString;
use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::ptr;
use std::task::{Context, Poll, ready};

use ironlb_model::Family;
use socket2::{Domain, SockAddrStorage, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use crate::filter;
use crate::option::{length_of, set};

/// Receives datagrams to one port, of one family, in one VRF.
#[derive(Debug)]
pub struct UdpReceiver {
    socket: AsyncFd<Socket>,
}

/// A datagram, with what the kernel says of it. Its payload is in the [`Buffer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// The index of the interface that it came in by.
    pub interface: u32,
    /// TTL or hop limit.
    pub ttl: u8,
    length: usize,
}

/// Room for one datagram; a longer one is cut.
#[derive(Debug)]
pub struct Buffer {
    bytes: [u8; DATAGRAM],
}

impl Buffer {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            bytes: [0; DATAGRAM],
        }
    }

    /// What was received.
    pub fn payload(&self, received: &Received) -> &[u8] {
        self.bytes.get(..received.length).unwrap_or_default()
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::new()
    }
}

impl UdpReceiver {
    /// Opens a socket on any address of this host. `device` is a VRF to be in; `unrouted` has the kernel drop what did not come from a
    /// neighbour, with a TTL of 255, so that nobody farther away can keep us busy. Needs a tokio runtime.
    ///
    /// # Errors
    /// `EADDRINUSE` when another process has the port; `ENODEV` when there is no such device.
    pub fn open(
        family: Family,
        port: u16,
        device: Option<&str>,
        unrouted: bool,
    ) -> io::Result<Self> {
        let socket = new_socket(family, device)?;
        let any: SocketAddr = match family {
            Family::V4 => {
                set(&socket, libc::IPPROTO_IP, libc::IP_RECVTTL, &1i32)?;
                set(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &1i32)?;
                (Ipv4Addr::UNSPECIFIED, port).into()
            }
            Family::V6 => {
                set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, &1i32)?;
                set(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1i32)?;
                (Ipv6Addr::UNSPECIFIED, port).into()
            }
        };
        if unrouted {
            attach(&socket, filter::unrouted(family))?;
        }
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.bind(&any.into())?;
        Ok(Self {
            // SAFETY: the descriptor is the socket's own, the same and open for as long as the socket lives; it is never replaced.
            socket: unsafe { AsyncFd::register(socket) }?,
        })
    }

    /// Ready with the next datagram.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<Received>> {
        loop {
            let mut guard = ready!(self.socket.poll_read_ready(cx))?;
            if let Ok(result) = guard.try_io(|socket| receive(socket.get_ref(), buffer)) {
                return Poll::Ready(result);
            }
        }
    }

    /// The next datagram if the kernel has one now, whatever the runtime has noticed of it.
    ///
    /// # Errors
    /// `EWOULDBLOCK` when there is none.
    pub fn try_receive(&self, buffer: &mut Buffer) -> io::Result<Received> {
        receive(self.socket.get_ref(), buffer)
    }
}

/// Sends to one peer and receives nothing.
#[derive(Debug)]
pub struct UdpSender {
    socket: Socket,
    to: SocketAddr,
    port: u16,
}

/// Where a [`UdpSender`] sends to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The peer.
    pub peer: IpAddr,
    /// Its port.
    pub port: u16,
    /// The source address; `None` for what the kernel chooses.
    pub local: Option<IpAddr>,
    /// The index of the interface to send on; `None` for what the kernel chooses.
    pub interface: Option<u32>,
    /// The VRF to be in.
    pub device: Option<String>,
}

impl UdpSender {
    /// Opens a socket at `source_port`, which no other socket has.
    ///
    /// # Errors
    /// `EADDRINUSE` when one has; `EADDRNOTAVAIL` when `local` is not ours; `ENODEV` when there is no such device.
    pub fn open(to: &Destination, source_port: u16) -> io::Result<Self> {
        let family = Family::of(to.peer);
        let device = match to.interface {
            Some(index) => Some(name_of(index)?),
            None => to.device.clone(),
        };
        let socket = new_socket(family, device.as_deref())?;
        let any = match family {
            Family::V4 => {
                socket.set_ttl_v4(HOP_LIMIT)?;
                set(&socket, libc::IPPROTO_IP, libc::IP_TOS, &NETWORK_CONTROL)?;
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            }
            Family::V6 => {
                socket.set_unicast_hops_v6(HOP_LIMIT)?;
                set(
                    &socket,
                    libc::IPPROTO_IPV6,
                    libc::IPV6_TCLASS,
                    &NETWORK_CONTROL,
                )?;
                IpAddr::V6(Ipv6Addr::UNSPECIFIED)
            }
        };
        set(&socket, libc::SOL_SOCKET, libc::SO_PRIORITY, &PRIORITY)?;
        attach(&socket, filter::nothing())?;
        let scope = to.interface.unwrap_or(0);
        let local = scoped(to.local.unwrap_or(any), source_port, scope);
        socket.bind(&local.into())?;
        Ok(Self {
            socket,
            to: scoped(to.peer, to.port, scope),
            port: source_port,
        })
    }

    /// The port it sends from.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Sends one datagram, or not: it never waits.
    ///
    /// # Errors
    /// `ENETUNREACH`, `EHOSTUNREACH` or `ENETDOWN` where there is no way; `EAGAIN` or `ENOBUFS` when a queue is full;
    /// `EINVAL` when `local` is no longer ours.
    pub fn send(&self, payload: &[u8]) -> io::Result<()> {
        loop {
            match self.socket.send_to(payload, &self.to.into()) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// The name of an interface.
///
/// # Errors
/// `ENXIO` when there is none with this index.
pub fn name_of(index: u32) -> io::Result<String> {
    let mut name = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the call writes at most, and outlives it.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr()) };
    if found.is_null() {
        return Err(io::Error::last_os_error());
    }
    let bytes: Vec<u8> = name
        .iter()
        .map(|byte| byte.cast_unsigned())
        .take_while(|byte| *byte != 0)
        .collect();
    String::from_utf8(bytes).map_err(io::Error::other)
}

/// The index of an interface.
///
/// # Errors
/// `ENODEV` when there is none of this name.
pub fn index_of(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: the name is a string that ends with a zero byte and outlives the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

fn new_socket(family: Family, device: Option<&str>) -> io::Result<Socket> {
    let domain = match family {
        Family::V4 => Domain::IPV4,
        Family::V6 => Domain::IPV6,
    };
    let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), None)?;
    if family == Family::V6 {
        socket.set_only_v6(true)?;
    }
    if let Some(device) = device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    Ok(socket)
}

fn attach(socket: &Socket, program: Vec<filter::Instruction>) -> io::Result<()> {
    let program: Vec<SockFilter> = program.into_iter().map(Into::into).collect();
    socket.attach_filter(&program)
}

/// Link-local addresses need the interface.
fn scoped(address: IpAddr, port: u16, interface: u32) -> SocketAddr {
    match address {
        IpAddr::V6(address) if address.is_unicast_link_local() => {
            SocketAddrV6::new(address, port, 0, interface).into()
        }
        address => SocketAddr::new(address, port),
    }
}

fn receive(socket: &Socket, buffer: &mut Buffer) -> io::Result<Received> {
    loop {
        match receive_once(socket, buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Without TTL or destination nothing can be made of it; the kernel always tells them.
            Ok(None) => {}
            Ok(Some(received)) => return Ok(received),
            Err(error) => return Err(error),
        }
    }
}

fn receive_once(socket: &Socket, buffer: &mut Buffer) -> io::Result<Option<Received>> {
    let mut storage = SockAddrStorage::zeroed();
    let mut part = libc::iovec {
        iov_base: buffer.bytes.as_mut_ptr().cast(),
        iov_len: buffer.bytes.len(),
    };
    let mut control = Control([0; CONTROL]);
    // SAFETY: all zeroes is a message without name, data or control data.
    let mut message: libc::msghdr = unsafe { mem::zeroed() };
    message.msg_name = (&raw mut storage).cast();
    message.msg_namelen = length_of::<libc::sockaddr_storage>()?;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = CONTROL;
    // SAFETY: name, data and control data point to memory of the length said, and all outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has written an address of this length into the storage.
    let from = unsafe { socket2::SockAddr::new(storage, message.msg_namelen) };
    let told = read_control(&message);
    Ok(from.as_socket().and_then(|from| {
        let (to, interface) = told.arrived?;
        Some(Received {
            from: from.ip(),
            to,
            interface,
            ttl: told.ttl?,
            length,
        })
    }))
}

/// What the control messages said.
#[derive(Clone, Copy, Default)]
struct Told {
    ttl: Option<u8>,
    arrived: Option<(IpAddr, u32)>,
}

/// Reads the control messages of a message that recvmsg(2) has filled in.
fn read_control(message: &libc::msghdr) -> Told {
    let mut told = Told::default();
    // SAFETY: the header says where its control data is and how long; both are as the kernel left them.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(ptr::from_ref(message)) };
    while !at.is_null() {
        // SAFETY: the macros give headers inside of the control data, or null.
        let header = unsafe { at.read_unaligned() };
        match (header.cmsg_level, header.cmsg_type) {
            (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                let ttl: Option<i32> = data(at, &header);
                told.ttl = ttl.and_then(|ttl| u8::try_from(ttl).ok());
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let info: Option<libc::in_pktinfo> = data(at, &header);
                told.arrived = info.and_then(|info| {
                    let to = Ipv4Addr::from_bits(u32::from_be(info.ipi_addr.s_addr));
                    Some((to.into(), u32::try_from(info.ipi_ifindex).ok()?))
                });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let info: Option<libc::in6_pktinfo> = data(at, &header);
                told.arrived = info.map(|info| {
                    let to = Ipv6Addr::from(info.ipi6_addr.s6_addr);
                    (to.into(), info.ipi6_ifindex)
                });
            }
            _ => {}
        }
        // SAFETY: as above; the current header is one of this message.
        at = unsafe { libc::CMSG_NXTHDR(ptr::from_ref(message), at) };
    }
    told
}

/// The data behind a control message's header, if it is long enough for a `T`, which is plain data.
fn data<T: Copy>(at: *const libc::cmsghdr, header: &libc::cmsghdr) -> Option<T> {
    let size = u32::try_from(size_of::<MaybeUninit<T>>()).ok()?;
    // SAFETY: it only adds up lengths.
    let least = usize::try_from(unsafe { libc::CMSG_LEN(size) }).ok()?;
    if header.cmsg_len < least {
        return None;
    }
    // SAFETY: the message is long enough, and the kernel has written a `T` of plain numbers there.
    Some(unsafe { libc::CMSG_DATA(at).cast::<T>().read_unaligned() })
}

/// Room for control messages, aligned as they have to be.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Longer than any BFD packet; what follows one is ignored.
const DATAGRAM: usize = 128;
const CONTROL: usize = 128;
/// Some thousands of datagrams.
const RECEIVE_BUFFER: usize = 1 << 20;
const HOP_LIMIT: u32 = 255;
/// DSCP CS6 (RFC 4594 §3.1).
const NETWORK_CONTROL: i32 = 0xc0;
/// The highest that needs no privilege: before others in the queue of a network device.
const PRIORITY: i32 = 6;

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn destination(peer: IpAddr, port: u16) -> Destination {
        Destination {
            peer,
            port,
            local: None,
            interface: None,
            device: None,
        }
    }

    #[tokio::test]
    async fn what_is_sent_arrives_with_255_and_where_it_was_sent_to() {
        for (family, peer) in [
            (Family::V4, IpAddr::V4(Ipv4Addr::new(127, 0, 0, 9))),
            (Family::V6, IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ] {
            let receiver = UdpReceiver::open(family, 0, None, false).unwrap();
            let port = local_port(&receiver);
            let sender = UdpSender::open(&destination(peer, port), 0).unwrap();
            let mut buffer = Buffer::new();
            let none = receiver.try_receive(&mut buffer).unwrap_err();
            assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
            for payload in [&b"one"[..], &[7; 500]] {
                sender.send(payload).unwrap();
                let received = poll_fn(|cx| receiver.poll_receive(cx, &mut buffer))
                    .await
                    .unwrap();
                assert_eq!((received.to, received.ttl), (peer, 255));
                assert_eq!(received.interface, index_of("lo").unwrap());
                let least = payload.len().min(DATAGRAM);
                assert_eq!(buffer.payload(&received), &payload[..least]);
            }
        }
    }

    #[tokio::test]
    async fn the_source_is_what_was_asked_for_and_can_be_had_once() {
        let receiver = UdpReceiver::open(Family::V4, 0, None, false).unwrap();
        let local = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));
        let to = Destination {
            local: Some(local),
            ..destination(Ipv4Addr::LOCALHOST.into(), local_port(&receiver))
        };
        let (port, sender) = (49_152..=u16::MAX)
            .find_map(|port| Some((port, UdpSender::open(&to, port).ok()?)))
            .unwrap();
        assert_eq!(sender.port(), port);
        let taken = UdpSender::open(&to, port).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        sender.send(b"x").unwrap();
        let mut buffer = Buffer::new();
        let received = receiver.try_receive(&mut buffer).unwrap();
        assert_eq!(received.from, local);
    }

    #[tokio::test]
    async fn what_a_router_has_passed_on_is_dropped_where_asked_for() {
        for (family, peer) in [
            (Family::V4, IpAddr::V4(Ipv4Addr::LOCALHOST)),
            (Family::V6, IpAddr::V6(Ipv6Addr::LOCALHOST)),
        ] {
            let receiver = UdpReceiver::open(family, 0, None, true).unwrap();
            let to = destination(peer, local_port(&receiver));
            let sender = UdpSender::open(&to, 0).unwrap();
            for hops in [254, 1, 255] {
                match family {
                    Family::V4 => sender.socket.set_ttl_v4(hops).unwrap(),
                    Family::V6 => sender.socket.set_unicast_hops_v6(hops).unwrap(),
                }
                sender.send(&[7]).unwrap();
            }
            let mut buffer = Buffer::new();
            assert_eq!(receiver.try_receive(&mut buffer).unwrap().ttl, 255);
            assert!(receiver.try_receive(&mut buffer).is_err());
        }
    }

    #[test]
    fn interfaces_are_found_by_name_and_by_number() {
        let index = index_of("lo").unwrap();
        assert_eq!(name_of(index).unwrap(), "lo");
        assert!(index_of("no such one").is_err());
        assert!(name_of(u32::MAX).is_err());
    }

    fn local_port(receiver: &UdpReceiver) -> u16 {
        let address = receiver.socket.get_ref().local_addr().unwrap();
        address.as_socket().unwrap().port()
    }
}
