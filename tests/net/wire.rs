//! A station that puts any frame on a wire and sees what comes back.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::time::Duration;

use ironlb_l2::arp::{Operation, Packet};
use ironlb_l2::ethernet::Frame;
use ironlb_lab::{Host, Link};
use ironlb_model::Mac;
use ironlb_sys::packet::{Batch, PacketSocket, Protocol};
use tokio::runtime::Runtime;

/// A packet socket for ARP on one interface of a host.
pub(crate) struct Wire {
    socket: PacketSocket,
    mac: Mac,
    runtime: Runtime,
}

impl Wire {
    pub(crate) fn new(host: &Host, link: &Link) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let index = link.index();
        let socket = host
            .in_namespace(|| {
                let _inside = runtime.enter();
                PacketSocket::open(index, Protocol::Arp).unwrap()
            })
            .unwrap();
        Self {
            socket,
            mac: link.mac(),
            runtime,
        }
    }

    /// A request of this station.
    pub(crate) fn request(&self, sender: Ipv4Addr, target: Ipv4Addr) -> Packet {
        Packet {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender_ip: sender,
            target_mac: Mac([0; 6]),
            target_ip: target,
        }
    }

    /// Sends a frame, and gives the ARP reply to this station that says who has `target`, if one comes within half a second: for
    /// what is not to be answered, or is asked again.
    pub(crate) fn ask(&self, frame: &[u8], target: Ipv4Addr) -> Option<Packet> {
        self.ask_for(frame, target, Duration::from_millis(500))
    }

    /// The same for what is to be answered. A busy machine may take its time.
    pub(crate) fn answer(&self, frame: &[u8], target: Ipv4Addr) -> Packet {
        self.ask_for(frame, target, LIMIT).expect("an answer")
    }

    fn ask_for(&self, frame: &[u8], target: Ipv4Addr, limit: Duration) -> Option<Packet> {
        let mut batch = Batch::new();
        let wait = async {
            loop {
                poll_fn(|cx| self.socket.poll_receive(cx, &mut batch))
                    .await
                    .unwrap();
                let reply = batch.frames().find_map(|frame| self.reply(frame, target));
                if let Some(reply) = reply {
                    return reply;
                }
            }
        };
        self.runtime.block_on(async {
            self.socket.send(frame).unwrap();
            tokio::time::timeout(limit, wait).await.ok()
        })
    }

    fn reply(&self, frame: &[u8], target: Ipv4Addr) -> Option<Packet> {
        let frame = Frame::decode(frame).ok()?;
        let packet = Packet::decode(frame.payload).ok()?;
        let ours = frame.destination == self.mac;
        (ours && packet.operation == Operation::Reply && packet.sender_ip == target)
            .then_some(packet)
    }
}

const LIMIT: Duration = Duration::from_secs(10);
