//! Routers that take whatever they are told: one for each of some addresses of a host.
//!
//! They wait for connections and answer nothing before they are released. Their hold time is 0, so nobody sends keepalives
//! (RFC 4271 §4.2), and what is counted is about routes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use ironlb_bgp::wire::{AfiSafi, Capabilities, Open, encode_keepalive};
use ironlb_lab::{Host, eventually_ok};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::RECEIVER_ASN;
use super::tally::{Reader, Tally};

/// The routers, which end when this is dropped.
pub(crate) struct Sinks {
    pub(crate) tallies: BTreeMap<Ipv4Addr, Tally>,
    connected: Arc<AtomicUsize>,
    release: watch::Sender<bool>,
}

impl Sinks {
    /// Routers at these addresses of the host, each of which is to be told so many prefixes.
    pub(crate) fn start(
        host: &Host,
        addresses: impl Iterator<Item = Ipv4Addr>,
        expected: u64,
    ) -> anyhow::Result<Self> {
        let tallies: BTreeMap<_, _> = addresses
            .map(|address| (address, Tally::new(expected)))
            .collect();
        let connected = Arc::new(AtomicUsize::new(0));
        let (release, released) = watch::channel(false);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = host.in_namespace(|| {
            let _inside = runtime.enter();
            std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT))
        })??;
        listener.set_nonblocking(true)?;
        let (known, count) = (tallies.clone(), Arc::clone(&connected));
        thread::Builder::new()
            .name("sinks".to_owned())
            .spawn(move || runtime.block_on(serve(listener, known, count, released)))?;
        Ok(Self {
            tallies,
            connected,
            release,
        })
    }

    /// Waits until so many connections have been made.
    pub(crate) fn wait_for_connections(&self, count: usize, limit: Duration) -> anyhow::Result<()> {
        let what = format!("{count} connections");
        Ok(eventually_ok(&what, limit, || {
            match self.connected.load(Ordering::Relaxed) {
                there if there >= count => Ok(()),
                there => Err(there.to_string()),
            }
        })?)
    }

    /// Lets sessions come up.
    pub(crate) fn release(&self) {
        self.release.send_replace(true);
    }
}

async fn serve(
    listener: std::net::TcpListener,
    tallies: BTreeMap<Ipv4Addr, Tally>,
    connected: Arc<AtomicUsize>,
    released: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut end = released.clone();
    let listener = TcpListener::from_std(listener)?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                let IpAddr::V4(address) = stream.local_addr()?.ip() else { continue };
                let tally = tallies.get(&address).context("a connection to nobody")?.clone();
                connected.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(listen(stream, address, tally, released.clone()));
            }
            // Nobody is left who would release anything: the end.
            _ended = end.wait_for(|_| false) => return Ok(()),
        }
    }
}

async fn listen(
    mut stream: TcpStream,
    address: Ipv4Addr,
    tally: Tally,
    mut released: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    released.wait_for(|released| *released).await?;
    let open = Open {
        asn: RECEIVER_ASN,
        hold_time: 0,
        router_id: address,
        capabilities: Capabilities {
            multiprotocol: [AfiSafi::IPV4_UNICAST].into(),
            four_octet_as: Some(RECEIVER_ASN),
            ..Capabilities::default()
        },
    };
    let mut hello = Vec::new();
    open.encode(&mut hello);
    encode_keepalive(&mut hello);
    stream.write_all(&hello).await?;
    let mut reader = Reader::new(tally);
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = stream.read(&mut buffer).await?;
        anyhow::ensure!(length > 0, "closed");
        reader.read(&buffer[..length])?;
    }
}

const PORT: u16 = 179;
const BUFFER: usize = 64 * 1024;
