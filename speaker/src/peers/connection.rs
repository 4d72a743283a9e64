//! One TCP connection with a peer.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_bgp::Connection;
use ironlb_model::Name;
use ironlb_speaker_core::peers::PeerInput;
use ironlb_sys::tcp::{self, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::Event;

/// Tells the task of a connection what to do. When it is dropped the connection ends, in good order where that can be had soon.
pub(crate) struct Handle {
    commands: mpsc::UnboundedSender<Command>,
}

enum Command {
    Send(Arc<[u8]>),
    Retarget(Box<Options>),
}

impl Handle {
    /// A connection to be made.
    pub(crate) fn dial(
        tasks: &mut JoinSet<()>,
        peer: Name,
        connection: Connection,
        options: Options,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (handle, task) = Self::of(peer, connection, events);
        tasks.spawn(task.dial(options));
        handle
    }

    /// A connection that was accepted.
    pub(crate) fn accepted(
        tasks: &mut JoinSet<()>,
        peer: Name,
        connection: Connection,
        stream: TcpStream,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let (handle, task) = Self::of(peer, connection, events);
        tasks.spawn(task.converse(stream));
        handle
    }

    fn of(peer: Name, connection: Connection, events: mpsc::Sender<Event>) -> (Self, Task) {
        let (sender, commands) = mpsc::unbounded_channel();
        let task = Task {
            peer,
            connection,
            commands,
            events,
            unsent: Vec::new(),
        };
        (Self { commands: sender }, task)
    }

    pub(crate) fn send(&self, bytes: Arc<[u8]>) {
        // A task that has ended has said so.
        let _ = self.commands.send(Command::Send(bytes));
    }

    pub(crate) fn retarget(&self, options: Options) {
        let _ = self.commands.send(Command::Retarget(Box::new(options)));
    }
}

struct Task {
    peer: Name,
    connection: Connection,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<Event>,
    unsent: Vec<u8>,
}

impl Task {
    async fn dial(mut self, options: Options) {
        let mut changed = None;
        let stream = tokio::select! {
            result = tcp::connect(&options) => result,
            () = self.abandoned(&mut changed) => return,
        };
        match stream.and_then(with_ends) {
            Ok((stream, local, remote)) => {
                if let Some(options) = changed {
                    self.retarget(&stream, &options);
                }
                let input = PeerInput::Connected {
                    peer: self.peer.clone(),
                    connection: self.connection,
                    local,
                    remote,
                };
                self.say(Event::Input(input)).await;
                self.converse(stream).await;
            }
            Err(error) => self.closed(Some(error)).await,
        }
    }

    /// Ready when nobody wants the connection any more. Keeps how it is to go on once it is there.
    async fn abandoned(&mut self, changed: &mut Option<Box<Options>>) {
        while let Some(command) = self.commands.recv().await {
            // There is nothing to send yet.
            if let Command::Retarget(options) = command {
                *changed = Some(options);
            }
        }
    }

    async fn converse(mut self, stream: TcpStream) {
        let mut buffer = vec![0; BUFFER];
        loop {
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(Command::Send(bytes)) => self.unsent.extend_from_slice(&bytes),
                    Some(Command::Retarget(options)) => self.retarget(&stream, &options),
                    None => return self.take_leave(stream).await,
                },
                result = stream.writable(), if !self.unsent.is_empty() => {
                    if let Err(error) = result.and_then(|()| self.write(&stream)) {
                        return self.closed(Some(error)).await;
                    }
                    if self.unsent.is_empty() {
                        let (peer, connection) = (self.peer.clone(), self.connection);
                        self.say(Event::Input(PeerInput::Drained { peer, connection })).await;
                    }
                }
                result = stream.readable() => match result.and_then(|()| stream.try_read(&mut buffer)) {
                    Ok(0) => return self.closed(None).await,
                    Ok(length) => {
                        let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                        let (peer, connection) = (self.peer.clone(), self.connection);
                        self.say(Event::Received { peer, connection, bytes }).await;
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return self.closed(Some(error)).await,
                },
            }
        }
    }

    /// Writes what the system takes now.
    fn write(&mut self, stream: &TcpStream) -> io::Result<()> {
        match stream.try_write(&self.unsent) {
            Ok(length) => {
                self.unsent.drain(..length);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn retarget(&self, stream: &TcpStream, options: &Options) {
        if let Err(error) = tcp::retarget(stream, options) {
            debug!(peer = &*self.peer, %error, "the connection goes on as it was");
        }
    }

    /// Sends what is left, and lets the peer read it: data that comes after a socket was closed would take it away again.
    async fn take_leave(mut self, mut stream: TcpStream) {
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Send(bytes) = command {
                self.unsent.extend_from_slice(&bytes);
            }
        }
        let farewell = async {
            stream.write_all(&self.unsent).await?;
            stream.shutdown().await?;
            let mut rest = [0; 1024];
            while stream.read(&mut rest).await? > 0 {}
            io::Result::Ok(())
        };
        if let Ok(Err(error)) = timeout(FAREWELL, farewell).await {
            debug!(peer = &*self.peer, %error, "the connection broke before its end");
        }
    }

    async fn closed(&mut self, error: Option<io::Error>) {
        let input = PeerInput::Closed {
            peer: self.peer.clone(),
            connection: self.connection,
            error: error.map(|error| error.to_string()),
        };
        self.say(Event::Input(input)).await;
    }

    async fn say(&self, event: Event) {
        // When nobody listens the loop has ended, and so will this.
        let _ = self.events.send(event).await;
    }
}

fn with_ends(stream: TcpStream) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
    let (local, remote) = (stream.local_addr()?, stream.peer_addr()?);
    Ok((stream, local, remote))
}

const BUFFER: usize = 64 * 1024;
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_millis(500);
