//! Flows that go on while something happens: every packet is counted.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ironlb_lab::Host;
use ironlb_lab::backend::Answer;

use super::fabric::port_80;

/// Datagrams that a client sends at a steady pace from several ports to a Service, each of which is answered by one.
pub(crate) struct SteadyFlows {
    is_over: Arc<AtomicBool>,
    flows: Vec<JoinHandle<Packets>>,
}

/// What became of them.
#[derive(Debug, Default)]
pub(crate) struct Packets {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// The nodes that answered.
    pub(crate) served_by: BTreeSet<String>,
    /// Flows that were answered by more than one node.
    pub(crate) moved: usize,
    /// The longest time without an answer.
    pub(crate) longest_gap: Duration,
}

impl SteadyFlows {
    /// Starts them on `client`.
    pub(crate) fn start(client: &Host, address: &str) -> Self {
        let server = port_80(address);
        let is_over = Arc::new(AtomicBool::new(false));
        let open = || {
            let any = if server.is_ipv4() {
                "0.0.0.0:0"
            } else {
                "[::]:0"
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(server)?;
            Ok::<_, std::io::Error>(socket)
        };
        let flow = |_| {
            let socket = client.in_namespace(open).unwrap().unwrap();
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || run(&socket, &is_over))
        };
        let flows = (0..FLOWS).map(flow).collect();
        Self { is_over, flows }
    }

    /// Ends them, and counts.
    pub(crate) fn stop(self) -> Packets {
        self.is_over.store(true, Ordering::Relaxed);
        let mut all = Packets::default();
        for flow in self.flows {
            let packets = flow.join().unwrap();
            all.sent += packets.sent;
            all.received += packets.received;
            all.moved += usize::from(packets.served_by.len() > 1);
            all.served_by.extend(packets.served_by);
            all.longest_gap = all.longest_gap.max(packets.longest_gap);
        }
        all
    }
}

fn run(socket: &UdpSocket, is_over: &AtomicBool) -> Packets {
    let mut packets = Packets::default();
    let (mut next, mut heard) = (Instant::now(), Instant::now());
    let mut last = None;
    loop {
        let now = Instant::now();
        if is_over.load(Ordering::Relaxed) {
            // The last ones may be under way.
            let end = *last.get_or_insert(now + PATIENCE);
            if packets.received == packets.sent || now >= end {
                return packets;
            }
        } else if now >= next {
            next += PACE;
            // An error is that of an earlier datagram, and this one is sent all the same; what cannot be sent counts as lost.
            if socket.send(QUESTION).is_err() {
                let _ = socket.send(QUESTION);
            }
            packets.sent += 1;
        }
        let pause = next.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(pause.max(SHORTEST))).unwrap();
        let mut buffer = [0; 256];
        // There may be none yet, or one that was refused.
        let Ok(length) = socket.recv(&mut buffer) else {
            continue;
        };
        let text = String::from_utf8_lossy(&buffer[..length]);
        let answer: Answer = text.parse().unwrap();
        packets.received += 1;
        packets.served_by.insert(answer.backend);
        packets.longest_gap = packets.longest_gap.max(heard.elapsed());
        heard = Instant::now();
    }
}

const QUESTION: &[u8] = b"who are you?";
const FLOWS: usize = 24;
/// Of each flow.
const PACE: Duration = Duration::from_millis(10);
const SHORTEST: Duration = Duration::from_millis(1);
const PATIENCE: Duration = Duration::from_secs(2);
