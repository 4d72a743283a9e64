//! Who answers for an address on a segment, asked again and again.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use anyhow::Context;
use ironlb_l2::arp::{Operation, Packet};
use ironlb_l2::ethernet::Frame;
use ironlb_lab::Host;
use ironlb_model::Mac;
use ironlb_sys::packet::{Batch, PacketSocket, Protocol};
use tokio::runtime::{Builder, Runtime};

/// A socket for ARP on a segment, at one of its hosts.
pub(crate) struct Wire {
    runtime: Runtime,
    socket: PacketSocket,
    mac: Mac,
    address: Ipv4Addr,
}

impl Wire {
    /// At this interface of a host, which has this address there.
    pub(crate) fn of(host: &Host, interface: &str, address: Ipv4Addr) -> anyhow::Result<Self> {
        let link = host.link(interface)?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let socket = host.in_namespace(|| {
            let _context = runtime.enter();
            PacketSocket::open(link.index(), Protocol::Arp)
        })?;
        Ok(Self {
            runtime,
            socket: socket.context("open a packet socket")?,
            mac: link.mac(),
            address,
        })
    }

    /// Asks for an address every [`BETWEEN_QUESTIONS`] until somebody answers, and gives the answer.
    pub(crate) fn who_has(&self, address: IpAddr) -> anyhow::Result<Mac> {
        let IpAddr::V4(address) = address else {
            anyhow::bail!("{address} is not asked for by ARP");
        };
        let question = Packet {
            operation: Operation::Request,
            sender_mac: self.mac,
            sender_ip: self.address,
            target_mac: Mac([0; 6]),
            target_ip: address,
        }
        .frame(Mac::BROADCAST);
        let begin = Instant::now();
        while begin.elapsed() < END {
            self.socket.send(&question)?;
            if let Some(mac) = self.runtime.block_on(self.answer(address)) {
                return Ok(mac);
            }
        }
        anyhow::bail!("nobody answers for {address}")
    }

    async fn answer(&self, address: Ipv4Addr) -> Option<Mac> {
        let listen = async {
            let mut batch = Batch::new();
            loop {
                std::future::poll_fn(|cx| self.socket.poll_receive(cx, &mut batch))
                    .await
                    .ok()?;
                if let Some(mac) = batch
                    .frames()
                    .find_map(|frame| self.answered(frame, address))
                {
                    return Some(mac);
                }
            }
        };
        tokio::time::timeout(BETWEEN_QUESTIONS, listen)
            .await
            .ok()
            .flatten()
    }

    /// Who answers us for the address with this frame. A gratuitous reply is none.
    fn answered(&self, frame: &[u8], address: Ipv4Addr) -> Option<Mac> {
        let packet = Packet::decode(Frame::decode(frame).ok()?.payload).ok()?;
        let answers = packet.operation == Operation::Reply
            && packet.sender_ip == address
            && packet.target_ip == self.address;
        answers.then_some(packet.sender_mac)
    }
}

const BETWEEN_QUESTIONS: Duration = Duration::from_millis(1);
const END: Duration = Duration::from_secs(10);
