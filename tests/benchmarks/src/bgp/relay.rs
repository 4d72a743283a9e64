//! The line between a sender and the receivers, which is open only while a run lasts.
//!
//! It connects to the sender as a router would, waits for its OPEN, and passes nothing on before the run begins, when it connects to the
//! receiver in the sender's stead. So everything is configured and connected when the clock starts, and no retry timer of anybody is
//! in any figure. It counts what passes.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use ironlb_lab::{Host, eventually_ok};

use super::tally::{Reader, Tally};

/// Where the line of a sender begins.
pub(crate) struct Relay {
    pub(crate) host: Host,
    /// The address of the host, by which sender and receiver know it.
    pub(crate) address: Ipv4Addr,
    /// The sender's address.
    pub(crate) sender: Ipv4Addr,
}

/// A run: bytes pass until it is dropped.
pub(crate) struct Line {
    /// When it was opened.
    pub(crate) begin: Instant,
    /// What the sender has said.
    pub(crate) tally: Tally,
    ends: [TcpStream; 2],
}

impl Drop for Line {
    fn drop(&mut self) {
        for end in &self.ends {
            // It may be closed already.
            let _ = end.shutdown(Shutdown::Both);
        }
    }
}

impl Relay {
    /// Connects to the sender, and waits until it has sent its OPEN.
    pub(crate) fn hold(&self, limit: Duration) -> anyhow::Result<TcpStream> {
        let what = format!("{} is answered with an OPEN", self.host.name());
        Ok(eventually_ok(&what, limit, || {
            let attempt = || {
                let stream = self.connect(self.sender)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                match stream.peek(&mut [0; OPEN])? {
                    OPEN => Ok(stream),
                    // Its idle hold timer runs: it will have us later.
                    _ => Err(io::Error::other("closed")),
                }
            };
            attempt().inspect_err(|_| thread::sleep(BETWEEN_ATTEMPTS))
        })?)
    }

    fn connect(&self, to: Ipv4Addr) -> io::Result<TcpStream> {
        let to = SocketAddr::from((to, PORT));
        let stream = self.host.in_namespace(|| TcpStream::connect(to));
        let stream = stream.map_err(io::Error::other)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Begins a run with the receiver at this address, which is to be told so many prefixes.
    pub(crate) fn open(
        &self,
        sender: TcpStream,
        receiver: Ipv4Addr,
        expected: u64,
    ) -> anyhow::Result<Line> {
        sender.set_read_timeout(None)?;
        let begin = Instant::now();
        let receiver = self.connect(receiver)?;
        let tally = Tally::new(expected);
        let mut reader = Reader::new(tally.clone());
        pass(&sender, &receiver, move |bytes| reader.read(bytes).is_ok())?;
        pass(&receiver, &sender, |_| true)?;
        Ok(Line {
            begin,
            tally,
            ends: [sender, receiver],
        })
    }
}

/// Passes bytes on until either end closes, as long as `look` likes them.
fn pass(
    from: &TcpStream,
    to: &TcpStream,
    mut look: impl FnMut(&[u8]) -> bool + Send + 'static,
) -> io::Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    thread::spawn(move || {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let bytes = &buffer[..length];
            if to.write_all(bytes).is_err() || !look(bytes) {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    Ok(())
}

const PORT: u16 = 179;
/// The shortest OPEN, in octets.
const OPEN: usize = 29;
const BUFFER: usize = 256 * 1024;
const PATIENCE: Duration = Duration::from_secs(2);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(200);
