//! A server that says who it is and whom it sees: it answers each request with its name and the client's
//! address, so that a test can tell which backend was reached and whether the client's address was kept.

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Command,
    str::FromStr,
    thread,
};

use crate::{Error, Result};

/// Serves TCP and UDP on each of `addresses` for good. They must be single addresses, not the wildcard: a UDP answer
/// must come from the address that was asked.
///
/// TCP: an HTTP request gets an HTTP response; any other line gets a line, again and again. UDP: a datagram gets a datagram.
/// A line that begins with `listening on` on standard output says that all of them are ready.
///
/// # Errors
/// When an address cannot be bound.
pub fn serve(name: &str, addresses: &[SocketAddr]) -> io::Result<()> {
    let mut sockets = Vec::new();
    for address in addresses {
        let tcp = TcpListener::bind(address)?;
        let udp = UdpSocket::bind(tcp.local_addr()?)?;
        sockets.push((tcp, udp));
    }
    println!("listening on {addresses:?}");
    thread::scope(|scope| {
        for (tcp, udp) in &sockets {
            scope.spawn(|| answer_datagrams(name, udp));
            scope.spawn(|| accept(name, tcp));
        }
    });
    Ok(())
}

/// What a backend answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The name of the backend that was reached.
    pub backend: String,
    /// The client's address as the backend sees it.
    pub client: SocketAddr,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.backend, self.client)
    }
}

impl FromStr for Answer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parsed = text.trim().rsplit_once(' ').and_then(|(backend, client)| {
            Some(Self {
                backend: backend.to_owned(),
                client: client.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| Error::Answer {
            server: "a backend".into(),
            answer: text.to_owned(),
        })
    }
}

/// The program that serves, as a process of its own: `PROGRAM [ARGUMENT...] NAME ADDRESS:PORT...`.
#[derive(Clone, Debug)]
pub struct Program {
    words: Vec<OsString>,
}

impl Program {
    /// A program that ends up in [`serve`] when it is called with a name and an address.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            words: vec![program.as_ref().to_owned()],
        }
    }

    /// Adds an argument before the name, such as a subcommand.
    #[must_use]
    pub fn argument(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.words.push(argument.as_ref().to_owned());
        self
    }

    /// The lab's own `ironlb-backend`, beside the program that runs or, for a test, one folder above it.
    ///
    /// # Errors
    /// [`Error::Missing`] when it was not built.
    pub fn find() -> Result<Self> {
        let here = env::current_exe().unwrap_or_default();
        let folders = here.ancestors().skip(1).take(2);
        let found = folders
            .map(|folder| folder.join("ironlb-backend"))
            .find(|path| path.is_file());
        found.map(Self::new).ok_or_else(|| Error::Missing {
            program: "ironlb-backend".into(),
            hint: "build it with `cargo build -p ironlb-lab`".into(),
        })
    }

    pub(crate) fn command(&self, name: &str, addresses: &[SocketAddr]) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or_else(Default::default, Clone::clone));
        command
            .args(words)
            .arg(name)
            .args(addresses.iter().map(ToString::to_string));
        command
    }
}

fn accept(name: &str, socket: &TcpListener) {
    thread::scope(|scope| {
        loop {
            // A client that went away before it was accepted is its own affair.
            let Ok((stream, client)) = socket.accept() else {
                continue;
            };
            scope.spawn(move || answer_connection(name, stream, client));
        }
    })
}

fn answer_datagrams(name: &str, socket: &UdpSocket) {
    let mut buffer = [0; 64 * 1024];
    loop {
        // An error here is an ICMP message about an earlier answer.
        if let Ok((_, client)) = socket.recv_from(&mut buffer) {
            let answer = Answer {
                backend: name.to_owned(),
                client,
            };
            let _ = socket.send_to(answer.to_string().as_bytes(), client);
        }
    }
}

/// Ends when the client closes or is gone; there is nobody to tell.
fn answer_connection(name: &str, stream: TcpStream, client: SocketAddr) {
    let answer = Answer {
        backend: name.to_owned(),
        client,
    }
    .to_string();
    let Ok(mut output) = stream.try_clone() else {
        return;
    };
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.starts_with("GET ") {
            while lines
                .next()
                .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
            {}
            let length = answer.len() + 1;
            let _ = write!(
                output,
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{answer}\n"
            );
            return;
        }
        if writeln!(output, "{answer}").is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_reads_back_as_it_was_written() {
        for client in ["192.0.2.1:80", "[2001:db8::1]:80"] {
            let answer = Answer {
                backend: "web-1".into(),
                client: client.parse().unwrap(),
            };
            assert_eq!(answer.to_string().parse::<Answer>().unwrap(), answer);
        }
    }

    #[test]
    fn another_server_s_answer_is_refused() {
        for text in ["", "web", "web 192.0.2.1", "<html>"] {
            assert!(text.parse::<Answer>().is_err(), "{text:?}");
        }
    }
}
