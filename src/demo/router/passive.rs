//! A router for where FRR is not: takes in what its neighbours announce by BGP, and has the kernel divide the packets among all
//! that are equally good.
//!
//! The sessions are those of `ironlb-bgp`, which here waits to be connected to and announces nothing.

mod table;

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use ironlb_bgp::peer::Transport;
use ironlb_bgp::wire::{Framer, Kind, Negotiated, Update};
use ironlb_bgp::{Connection, Input, Output, Peer, Settings};
use ironlb_lab::route;
use ironlb_model::Family;
use ironlb_model::bgp::{PeerAsn, PeerEndpoint};
use ironlb_speaker::drive::Clock;
use ironlb_sys::namespace::NetNamespace;

use table::{Change, Table};

/// What it prints when it listens.
pub(crate) const LISTENING: &str = "listening for BGP";

/// What it prints when a neighbour takes back a route.
pub(crate) fn withdrawn(prefix: &str, neighbour: IpAddr) -> String {
    format!("{prefix} withdrawn by {neighbour}")
}

/// Speaks BGP with `neighbours` and routes by what they say, in this process's network namespace, until it is killed.
///
/// # Errors
/// When the port cannot be had.
pub(crate) fn serve(asn: u32, identifier: Ipv4Addr, neighbours: &[IpAddr]) -> Result<()> {
    let router = Router {
        asn,
        identifier,
        namespace: NetNamespace::current()?,
        clock: Clock::start(),
        table: Mutex::default(),
    };
    let listener = TcpListener::bind(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT))
        .with_context(|| format!("listen on TCP port {PORT}"))?;
    println!("{LISTENING}");
    thread::scope(|scope| {
        for number in 0.. {
            // A neighbour that went away before it was accepted comes again.
            let Ok((stream, remote)) = listener.accept() else {
                continue;
            };
            if neighbours.contains(&remote.ip()) {
                let router = &router;
                scope.spawn(move || router.keep_session(number, &stream, remote));
            }
        }
    });
    Ok(())
}

/// What the sessions share.
struct Router {
    asn: u32,
    identifier: Ipv4Addr,
    namespace: NetNamespace,
    clock: Clock,
    table: Mutex<Table>,
}

impl Router {
    /// For as long as a connection lasts.
    fn keep_session(&self, number: u64, stream: &TcpStream, remote: SocketAddr) {
        match self.talk(number, stream, remote) {
            Ok(()) => println!("{}: connection closed", remote.ip()),
            Err(error) => println!("{}: {error}", remote.ip()),
        }
        self.change(|table| table.forget(remote.ip()));
    }

    fn talk(&self, number: u64, mut stream: &TcpStream, remote: SocketAddr) -> io::Result<()> {
        let connection = Connection::inbound(number);
        let mut peer = Peer::new(self.clock.now(), self.settings(remote), number, false);
        peer.handle(self.clock.now(), Input::Start);
        let accepted = Input::Accepted {
            number,
            local: stream.local_addr()?,
            remote,
        };
        peer.handle(self.clock.now(), accepted);
        let (mut framer, mut negotiated) = (Framer::new(), None);
        framer.set_extended(true);
        let mut buffer = vec![0; BUFFER];
        loop {
            while let Some(output) = peer.poll() {
                match output {
                    Output::Send { bytes, .. } => {
                        stream.write_all(&bytes)?;
                        peer.handle(self.clock.now(), Input::Drained(connection));
                    }
                    Output::Up { agreement, .. } => negotiated = Some(agreement.wire),
                    Output::Close(_) => return Ok(()),
                    Output::Down(cause) | Output::Failed(cause) => {
                        println!("{}: {cause}", remote.ip())
                    }
                    // It never dials, and has nothing to send again.
                    Output::Connect(_) | Output::Resend { .. } => {}
                }
            }
            if let Some(negotiated) = &negotiated {
                self.take_in(remote.ip(), &mut framer, negotiated);
            }
            let wait = peer.deadline().map(|at| at.since(self.clock.now()));
            // Zero would be refused.
            stream.set_read_timeout(wait.map(|wait| wait.max(Duration::from_millis(1))))?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    peer.receive(self.clock.now(), connection, bytes);
                    framer.push(bytes);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    peer.handle(self.clock.now(), Input::Tick);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Of what is wrong with a message the session takes care.
    fn take_in(&self, from: IpAddr, framer: &mut Framer, negotiated: &Negotiated) {
        while let Ok(Some(frame)) = framer.next() {
            if frame.kind == Kind::Update
                && let Ok(update) = Update::decode(frame.body, negotiated)
            {
                for prefix in update.routes_withdrawn() {
                    println!("{}", withdrawn(&prefix.to_string(), from));
                }
                self.change(|table| table.update(from, &update));
            }
        }
    }

    /// Changes the table, and the kernel's with it.
    fn change(&self, change: impl FnOnce(&mut Table) -> Vec<Change>) {
        // Held until the kernel knows, or two changes of a route might overtake each other.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        for Change { prefix, next_hops } in change(&mut table) {
            match route::set(&self.namespace, prefix, &next_hops) {
                Ok(()) => println!("{prefix} via {next_hops:?}"),
                Err(error) => println!("{error}"),
            }
        }
    }

    fn settings(&self, remote: SocketAddr) -> Settings {
        Settings {
            asn: self.asn,
            local_asn: None,
            peer_asn: PeerAsn::External,
            router_id: self.identifier,
            families: BTreeSet::from(Family::ALL),
            transport: Transport {
                endpoint: PeerEndpoint::Address(remote.ip()),
                port: PORT,
                source: None,
                vrf: None,
            },
            hold_time: HOLD_TIME,
            keepalive_time: Duration::ZERO,
            connect_time: HOLD_TIME,
            passive: true,
            restart_time: None,
            bfd_strict: false,
            maximum_prefixes: None,
        }
    }
}

/// RFC 4271 §8.
const PORT: u16 = 179;
/// RFC 4271 §10.
const HOLD_TIME: Duration = Duration::from_secs(90);
const BUFFER: usize = 64 * 1024;
