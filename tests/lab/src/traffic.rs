//! What a client does: ask a server, look who answers for an address.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

use ironlb_model::Mac;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};

use crate::{
    Error, Host, Process, Result,
    backend::{Answer, Program},
    error::Doing,
    netlink,
    wait::eventually_ok,
};

/// What a host believes about a neighbour on the wire: an entry of its ARP or NDP table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// The neighbour's IP address.
    pub ip: IpAddr,
    /// Its Ethernet address; none while it is asked for, and when nobody answered.
    pub mac: Option<Mac>,
    /// The interface's number.
    pub index: u32,
    /// How sure the host is.
    pub state: NeighbourState,
}

impl Host {
    /// Starts a backend on some of the host's addresses and waits until it serves TCP and UDP on each.
    ///
    /// # Errors
    /// When it cannot be started or cannot bind an address.
    pub fn backend(
        &self,
        program: &Program,
        name: &str,
        addresses: &[SocketAddr],
    ) -> Result<Process> {
        let process = self.spawn_as(name, program.command(name, addresses))?;
        process.wait_for_line("listening on", START)?;
        Ok(process)
    }

    /// Asks the backend at `server` over TCP on a new connection: an HTTP GET.
    ///
    /// # Errors
    /// When there is no connection or no answer within two seconds, or another server answers.
    pub fn tcp_get(&self, server: SocketAddr) -> Result<Answer> {
        let text = self.http_get(server, "/")?;
        parse(server, &text)
    }

    /// The body of an HTTP GET on a new connection, whatever the status.
    ///
    /// # Errors
    /// When there is no connection or no answer within two seconds.
    pub fn http_get(&self, server: SocketAddr, path: &str) -> Result<String> {
        let mut stream = self.tcp_connect(server)?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n");
        let mut response = String::new();
        let exchange = stream
            .write_all(request.as_bytes())
            .and_then(|()| stream.read_to_string(&mut response));
        exchange.doing(|| format!("get {path} from {server} on {}", self.name()))?;
        match response.split_once("\r\n\r\n") {
            Some((_, body)) => Ok(body.to_owned()),
            None => Err(Error::Answer {
                server: server.to_string(),
                answer: response,
            }),
        }
    }

    /// Opens a TCP connection; reads and writes on it give up after two seconds.
    ///
    /// # Errors
    /// When there is no connection within two seconds.
    pub fn tcp_connect(&self, server: SocketAddr) -> Result<TcpStream> {
        let connect = || -> io::Result<TcpStream> {
            let stream = TcpStream::connect_timeout(&server, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        self.in_namespace(connect)?
            .doing(|| format!("connect to {server} from {}", self.name()))
    }

    /// Asks the backend at `server` over UDP, from a new port. Sends once: a lost datagram is an error.
    ///
    /// # Errors
    /// When there is no answer within two seconds, or another server answers.
    pub fn udp_exchange(&self, server: SocketAddr) -> Result<Answer> {
        let exchange = || -> io::Result<String> {
            let socket = UdpSocket::bind(any_port(server.ip()))?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.send(b"who are you?")?;
            let mut buffer = [0; 1024];
            let length = socket.recv(&mut buffer)?;
            Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
        };
        let text = self
            .in_namespace(exchange)?
            .doing(|| format!("ask {server} over UDP from {}", self.name()))?;
        parse(server, &text)
    }

    /// The host's ARP and NDP tables.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn neighbours(&self) -> Result<Vec<Neighbour>> {
        let messages = self.ask("read the neighbours".into(), async |handle| {
            netlink::neighbours(&handle).await
        })?;
        Ok(messages.iter().filter_map(neighbour).collect())
    }

    /// The Ethernet address that the host has in its table for `ip`, if any.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn neighbour(&self, ip: IpAddr) -> Result<Option<Mac>> {
        let failed =
            |n: &Neighbour| matches!(n.state, NeighbourState::Failed | NeighbourState::Incomplete);
        let found = self
            .neighbours()?
            .into_iter()
            .find(|n| n.ip == ip && !failed(n));
        Ok(found.and_then(|n| n.mac))
    }

    /// Asks the wire who answers for `ip`, by ARP or NDP, whatever the table says now: forgets it, sends a
    /// datagram there and sees what the kernel learns. `None` when nobody answers within a second or so.
    ///
    /// # Errors
    /// The kernel's refusal, such as no route to the address.
    pub fn who_has(&self, ip: IpAddr) -> Result<Option<Mac>> {
        self.forget_neighbour(ip)?;
        let poke = || -> io::Result<()> {
            let socket = UdpSocket::bind(any_port(ip))?;
            socket
                .send_to(b"", SocketAddr::new(ip, DISCARD_PORT))
                .map(|_| ())
        };
        self.in_namespace(poke)?
            .doing(|| format!("ask who has {ip} from {}", self.name()))?;
        // The kernel asks three times, a second apart, before it gives up.
        let what = format!("an end to asking who has {ip} from {}", self.name());
        eventually_ok(&what, PATIENCE * 3, || {
            let neighbours = self.neighbours().map_err(|error| error.to_string())?;
            match neighbours.into_iter().find(|n| n.ip == ip) {
                Some(n) if n.state == NeighbourState::Failed => Ok(None),
                Some(Neighbour { mac: Some(mac), .. }) => Ok(Some(mac)),
                Some(_) => Err("asking".to_owned()),
                None => Err("not asked".to_owned()),
            }
        })
    }

    /// Takes `ip` out of the ARP or NDP table, if it is there.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn forget_neighbour(&self, ip: IpAddr) -> Result<()> {
        self.ask(format!("forget the neighbour {ip}"), async |handle| {
            for message in netlink::neighbours(&handle).await? {
                if neighbour(&message).is_some_and(|n| n.ip == ip) {
                    handle.neighbours().del(message).execute().await?;
                }
            }
            Ok(())
        })
    }

    /// Puts a permanent entry into the ARP or NDP table, so that `ip` is reached at `mac` without asking.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub fn set_neighbour(&self, interface: &str, ip: IpAddr, mac: Mac) -> Result<()> {
        self.ask(format!("set the neighbour {ip} to {mac}"), async |handle| {
            let index = netlink::link_by_name(&handle, interface)
                .await?
                .header
                .index;
            netlink::set_neighbour(&handle, index, ip, mac.0).await
        })
    }
}

/// Asks a backend again on a connection from [`Host::tcp_connect`], which stays open. After an error, the answer to the
/// question that failed may still come, and is then taken for that to the next.
///
/// # Errors
/// When there is no answer, or another server answers.
pub fn ask_again(stream: &mut TcpStream) -> Result<Answer> {
    let mut line = String::new();
    let server = stream.peer_addr().doing(|| "look at a connection".into())?;
    let exchange = stream
        .write_all(b"who are you?\n")
        .and_then(|()| BufReader::new(stream).read_line(&mut line));
    exchange.doing(|| format!("ask {server} again"))?;
    parse(server, &line)
}

fn parse(server: SocketAddr, text: &str) -> Result<Answer> {
    text.parse().map_err(|_| Error::Answer {
        server: server.to_string(),
        answer: text.to_owned(),
    })
}

fn neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let mut ip = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(a)) => ip = Some(IpAddr::V4(*a)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(a)) => {
                ip = Some(IpAddr::V6(*a))
            }
            NeighbourAttribute::LinkLayerAddress(a) => mac = a.as_slice().try_into().ok().map(Mac),
            _ => {}
        }
    }
    let (index, state) = (message.header.ifindex, message.header.state);
    Some(Neighbour {
        ip: ip?,
        mac,
        index,
        state,
    })
}

fn any_port(like: IpAddr) -> SocketAddr {
    let any = match like {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(any, 0)
}

const PATIENCE: Duration = Duration::from_secs(2);
/// A program may have to be read from a disk that is busy.
const START: Duration = Duration::from_secs(20);
/// RFC 863; nobody listens there.
const DISCARD_PORT: u16 = 9;
