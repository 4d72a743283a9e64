//! TCP connections to BGP peers, with everything that BGP asks of a socket.
//!
//! Authentication by MD5 (RFC 2385), TTL security (RFC 5082), the source address, a VRF or an interface to go through, the class of
//! network control traffic (CS6, RFC 4594 §3.1), and a bound on how long sent bytes may stay unacknowledged (RFC 5482). What is
//! said over a connection is for `ironlb-bgp` to know.
#![allow(
    unsafe_code,
    reason = "the socket address in TCP_MD5SIG has no safe form"
)]

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::option;

/// What is asked of the connections to one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where the peer is: an address, with the interface's index for one that is link-local, and the port to connect to.
    pub remote: SocketAddr,
    /// The address to connect from; `None` for what the kernel chooses.
    pub source: Option<IpAddr>,
    /// The VRF or interface to go through.
    pub device: Option<String>,
    /// How far away the peer may be.
    pub distance: Distance,
    /// The shared secret, where the connection is authenticated.
    pub key: Option<Key>,
    /// How long what was sent may stay unacknowledged before the connection is given up; zero for the kernel's own
    /// patience.
    pub user_timeout: Duration,
}

/// How far away a peer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// On a network of ours: packets do not survive a router.
    Connected,
    /// Anywhere.
    Any,
    /// At most this many hops away, 1 to 254, and packets that come from farther are dropped (RFC 5082). The peer must do
    /// the same.
    Secured(u8),
}

impl Distance {
    /// The TTL of what is sent.
    const fn ttl(self) -> u32 {
        match self {
            Self::Connected => 1,
            Self::Any | Self::Secured(_) => 255,
        }
    }

    /// The lowest TTL that is received; 0 for any.
    fn minimum_ttl(self) -> i32 {
        match self {
            Self::Connected | Self::Any => 0,
            Self::Secured(hops) => 256 - i32::from(hops.max(1)),
        }
    }
}

/// A secret of 1 to 80 bytes (RFC 2385). Debug output never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Box<[u8]>);

impl Key {
    /// # Errors
    /// When it is empty, or longer than 80 bytes, which the kernel does not take.
    pub fn new(secret: &[u8]) -> io::Result<Self> {
        if secret.is_empty() || secret.len() > KEY_LENGTH {
            let length = secret.len();
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("the password has {length} bytes; 1 to {KEY_LENGTH} are allowed"),
            ));
        }
        Ok(Self(secret.into()))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Connects to a peer. Needs a tokio runtime.
///
/// # Errors
/// Those of connect(2); `EADDRNOTAVAIL` when the source address is not ours, `ENODEV` when there is no such device, `EPERM` for one
/// without CAP_NET_RAW on old kernels.
pub async fn connect(options: &Options) -> io::Result<TcpStream> {
    let socket = socket(options.remote)?;
    if let Some(device) = &options.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(source) = options.source {
        let scope = scope(options.remote);
        socket.bind(&SockAddr::from(with_scope(source, 0, scope)))?;
    }
    if let Some(key) = &options.key {
        set_key(&socket, options.remote, Some(key))?;
    }
    apply(&socket, options)?;
    // An unconnected socket: `from_std_stream` only takes the descriptor over.
    let socket = TcpSocket::from_std_stream(socket.into());
    socket.connect(options.remote).await
}

/// Accepts connections from peers, on a port of one address family.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Listens on `local`, in the VRF `device` where there is one. Needs a tokio runtime.
    ///
    /// # Errors
    /// `EADDRINUSE` when somebody else does; `EACCES` for a port below 1024 without CAP_NET_BIND_SERVICE.
    pub fn bind(local: SocketAddr, device: Option<&str>) -> io::Result<Self> {
        let socket = socket(local)?;
        if local.is_ipv6() {
            // A listener for each family: an IPv4 peer in IPv6 clothes has no key and no minimum TTL.
            socket.set_only_v6(true)?;
        }
        socket.set_reuse_address(true)?;
        if let Some(device) = device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        control_traffic(&socket, local)?;
        // The answer to a peer that drops what comes from afar; what follows goes as `adopt` says.
        set_ttl(&socket, local, Distance::Any)?;
        socket.bind(&SockAddr::from(local))?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(StdListener::from(socket))?;
        Ok(Self { listener })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// None that is known.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// From now on connections from `peer` must be authenticated with `key`, or with `None` must not. Connections that
    /// are there keep the key that they have.
    ///
    /// # Errors
    /// `ENOPROTOOPT` when the kernel knows no TCP_MD5SIG; `ENOMEM`.
    pub fn set_key(&self, peer: IpAddr, key: Option<&Key>) -> io::Result<()> {
        set_key(&self.listener, SocketAddr::new(peer, 0), key)
    }

    /// The next connection and who it is from. Not yet with the options of the peer: see [`adopt`].
    ///
    /// # Errors
    /// Those of accept(2).
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.listener.accept().await
    }
}

/// Gives an accepted connection the options of the peer that it is from.
///
/// # Errors
/// When the connection is gone already.
pub fn adopt(stream: &TcpStream, options: &Options) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    apply(&socket, options)
}

/// Gives a connection that is under way other options: a new key in place of a former one, another TTL.
///
/// # Errors
/// When the connection is gone, or has no key that could be replaced.
pub fn retarget(stream: &TcpStream, options: &Options) -> io::Result<()> {
    adopt(stream, options)?;
    if options.key.is_some() {
        set_key(stream, options.remote, options.key.as_ref())?;
    }
    Ok(())
}

fn socket(family: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.nonblocking().cloexec();
    Socket::new(Domain::for_address(family), kind, Some(Protocol::TCP))
}

/// Everything but what must come before binding.
fn apply(socket: &Socket, options: &Options) -> io::Result<()> {
    control_traffic(socket, options.remote)?;
    socket.set_tcp_nodelay(true)?;
    // A session without a hold time has nothing else that would notice a peer that is gone.
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(KEEPALIVE / 4);
    socket.set_tcp_keepalive(&keepalive.with_retries(4))?;
    let timeout = Some(options.user_timeout).filter(|timeout| !timeout.is_zero());
    socket.set_tcp_user_timeout(timeout)?;
    set_ttl(socket, options.remote, options.distance)?;
    let minimum = options.distance.minimum_ttl();
    if options.remote.is_ipv4() {
        option::set(socket, libc::IPPROTO_IP, libc::IP_MINTTL, &minimum)
    } else {
        option::set(socket, libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &minimum)
    }
}

fn set_ttl(socket: &Socket, family: SocketAddr, distance: Distance) -> io::Result<()> {
    if family.is_ipv4() {
        socket.set_ttl_v4(distance.ttl())
    } else {
        socket.set_unicast_hops_v6(distance.ttl())
    }
}

fn control_traffic(socket: &Socket, family: SocketAddr) -> io::Result<()> {
    if family.is_ipv4() {
        socket.set_tos_v4(CS6)
    } else {
        socket.set_tclass_v6(CS6)
    }
}

fn scope(address: SocketAddr) -> u32 {
    match address {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(address) => address.scope_id(),
    }
}

/// A link-local address means something only together with an interface.
fn with_scope(address: IpAddr, port: u16, scope: u32) -> SocketAddr {
    let mut address = SocketAddr::new(address, port);
    if let SocketAddr::V6(v6) = &mut address
        && v6.ip().is_unicast_link_local()
    {
        v6.set_scope_id(scope);
    }
    address
}

fn set_key(socket: &impl AsRawFd, peer: SocketAddr, key: Option<&Key>) -> io::Result<()> {
    let secret = key.map_or(&[][..], |key| &key.0);
    let mut signature = Md5Signature {
        address: storage(SocketAddr::new(peer.ip(), 0)),
        flags: 0,
        prefix_length: 0,
        key_length: u16::try_from(secret.len()).map_err(io::Error::other)?,
        interface: 0,
        key: [0; KEY_LENGTH],
    };
    for (to, from) in signature.key.iter_mut().zip(secret) {
        *to = *from;
    }
    match option::set(socket, libc::IPPROTO_TCP, libc::TCP_MD5SIG, &signature) {
        // One that is not there cannot be removed, which is as well.
        Err(error) if key.is_none() && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// `struct tcp_md5sig` of linux/tcp.h.
#[derive(Clone, Copy)]
#[repr(C)]
struct Md5Signature {
    address: libc::sockaddr_storage,
    flags: u8,
    prefix_length: u8,
    key_length: u16,
    interface: libc::c_int,
    key: [u8; KEY_LENGTH],
}

fn storage(address: SocketAddr) -> libc::sockaddr_storage {
    let mut storage = SockAddr::from(address).as_storage();
    // SAFETY: a SockAddrStorage is nothing but a sockaddr_storage.
    *unsafe { storage.view_as::<libc::sockaddr_storage>() }
}

/// Internetwork control (RFC 2474, RFC 4594 §3.1).
const CS6: u32 = 48 << 2;
/// TCP_MD5SIG_MAXKEYLEN.
const KEY_LENGTH: usize = 80;
/// How long nothing is heard until the kernel asks whether the peer is there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn to(remote: SocketAddr) -> Options {
        Options {
            remote,
            source: None,
            device: None,
            distance: Distance::Connected,
            key: None,
            user_timeout: Duration::ZERO,
        }
    }

    fn key(secret: &str) -> Key {
        Key::new(secret.as_bytes()).unwrap()
    }

    /// Connects both ways and says a word each way.
    async fn talk(listener: &Listener, dialled: &Options, accepted: &Options) -> io::Result<()> {
        let accept = async {
            let (stream, _) = listener.accept().await?;
            adopt(&stream, accepted)?;
            io::Result::Ok(stream)
        };
        let (mut ours, mut theirs) = tokio::try_join!(connect(dialled), accept)?;
        ours.write_all(b"open").await?;
        let mut heard = [0; 4];
        theirs.read_exact(&mut heard).await?;
        theirs.write_all(&heard).await?;
        ours.read_exact(&mut heard).await?;
        assert_eq!(&heard, b"open");
        Ok(())
    }

    async fn waits_for_ever(talk: impl Future<Output = io::Result<()>>) -> bool {
        timeout(Duration::from_millis(300), talk).await.is_err()
    }

    #[tokio::test]
    async fn both_families_connect_from_the_address_asked_for() {
        for (address, source) in [(V4, Some("127.0.0.2".parse().unwrap())), (V6, None)] {
            let listener = Listener::bind(SocketAddr::new(address, 0), None).unwrap();
            let remote = listener.local_addr().unwrap();
            let options = Options {
                source,
                user_timeout: Duration::from_secs(5),
                ..to(remote)
            };
            let (stream, accepted) = tokio::join!(connect(&options), listener.accept());
            let (_, from) = accepted.unwrap();
            assert_eq!(from.ip(), source.unwrap_or(address));
            assert_eq!(stream.unwrap().peer_addr().unwrap(), remote);
        }
    }

    #[tokio::test]
    async fn packets_of_a_session_are_network_control() {
        let listener = Listener::bind(SocketAddr::new(V4, 0), None).unwrap();
        let options = to(listener.local_addr().unwrap());
        let (stream, _accepted) = tokio::join!(connect(&options), listener.accept());
        let stream = stream.unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert_eq!(socket.tos_v4().unwrap(), 0xc0);
        assert_eq!(socket.ttl_v4().unwrap(), 1);
        assert!(socket.tcp_nodelay().unwrap());
        assert!(socket.keepalive().unwrap());
    }

    #[tokio::test]
    async fn equal_keys_connect_and_others_do_not() {
        for address in [V4, V6] {
            let listener = Listener::bind(SocketAddr::new(address, 0), None).unwrap();
            let plain = to(listener.local_addr().unwrap());
            let with = |secret| Options {
                key: Some(key(secret)),
                ..plain.clone()
            };
            match listener.set_key(address, Some(&key("one"))) {
                Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
                    eprintln!("skipped: this kernel has no TCP_MD5SIG");
                    return;
                }
                result => result.unwrap(),
            }
            talk(&listener, &with("one"), &plain).await.unwrap();
            assert!(waits_for_ever(talk(&listener, &with("two"), &plain)).await);
            assert!(waits_for_ever(talk(&listener, &plain, &plain)).await);

            // Another key without listening anew.
            listener.set_key(address, Some(&key("two"))).unwrap();
            talk(&listener, &with("two"), &plain).await.unwrap();

            listener.set_key(address, None).unwrap();
            listener.set_key(address, None).unwrap();
            talk(&listener, &plain, &plain).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_comes_from_too_far_is_dropped() {
        for address in [V4, V6] {
            let listener = Listener::bind(SocketAddr::new(address, 0), None).unwrap();
            let near = to(listener.local_addr().unwrap());
            let secured = Options {
                distance: Distance::Secured(1),
                ..near.clone()
            };
            talk(&listener, &secured, &secured).await.unwrap();
            // Sends with TTL 1, as if it had come over 254 routers.
            assert!(waits_for_ever(talk(&listener, &near, &secured)).await);
        }
    }

    #[tokio::test]
    async fn a_refusal_comes_at_once() {
        let listener = Listener::bind(SocketAddr::new(V4, 0), None).unwrap();
        let options = to(listener.local_addr().unwrap());
        drop(listener);
        let started = Instant::now();
        let error = connect(&options).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn a_source_that_is_not_ours_is_an_error() {
        let listener = Listener::bind(SocketAddr::new(V4, 0), None).unwrap();
        let options = Options {
            source: Some("192.0.2.1".parse().unwrap()),
            ..to(listener.local_addr().unwrap())
        };
        let error = connect(&options).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable);
    }

    #[test]
    fn a_key_has_1_to_80_bytes_and_is_never_printed() {
        assert!(Key::new(b"").is_err());
        assert!(Key::new(&[b'x'; 81]).is_err());
        assert!(Key::new(&[b'x'; 80]).is_ok());
        assert_eq!(format!("{:?}", key("hunter2")), "Key(..)");
    }
}
