//! What a machine can give at all to a thread that is woken often and has little to do.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ironlb_lab::Host;
use ironlb_sys::timer::{Scheduling, be_on_time};

use super::{NODE, TOR};

/// A thread that is scheduled as BFD's is, sends a datagram from one host to the other again and again, and waits for it.
pub(super) struct Pace {
    is_over: Arc<AtomicBool>,
    running: JoinHandle<Kept>,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Kept {
    /// Whether the thread comes before ordinary ones.
    pub(super) comes_first: bool,
    pub(super) datagrams: u32,
    /// The longest time from when a datagram was due to when it had arrived.
    pub(super) worst: Duration,
}

impl Pace {
    pub(super) fn start(from: &Host, to: &Host) -> Self {
        let open = |host: &Host, address: &str| {
            let socket = host.in_namespace(|| UdpSocket::bind((address, 0)).unwrap());
            socket.unwrap()
        };
        let (sender, receiver) = (open(from, TOR[0]), open(to, NODE[0]));
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        receiver.set_read_timeout(Some(LOST)).unwrap();
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let running = thread::spawn(move || run(&sender, &receiver, &over));
        Self { is_over, running }
    }

    pub(super) fn stop(self) -> Kept {
        self.is_over.store(true, Ordering::Relaxed);
        self.running.join().unwrap()
    }
}

fn run(sender: &UdpSocket, receiver: &UdpSocket, is_over: &AtomicBool) -> Kept {
    let mut kept = Kept {
        comes_first: be_on_time() == Scheduling::RealTime,
        datagrams: 0,
        worst: Duration::ZERO,
    };
    let mut due = Instant::now();
    while !is_over.load(Ordering::Relaxed) {
        due += PERIOD;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // One that is lost took longer than any.
        let _ = sender.send(b"tick");
        let _ = receiver.recv(&mut [0; 8]);
        kept.datagrams += 1;
        kept.worst = kept.worst.max(due.elapsed());
    }
    kept
}

const PERIOD: Duration = Duration::from_millis(10);
const LOST: Duration = Duration::from_secs(1);
