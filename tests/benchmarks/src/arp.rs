//! What it costs to be asked: a decision by itself, and the speaker on a wire full of frames that are none of its business.
//!
//! The wire is a segment of the lab, with the speaker's loop on one host and a station on another that floods and asks. The
//! kernel's own answer for an address of the host, in the same flood, is the limit. CPU time is that of the speaker's thread, from
//! /proc/self/task: what the kernel spends on dropping frames is charged to whoever sends them here, and to the network card's
//! interrupt on real machines.

use std::future::poll_fn;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ironlb_l2::arp::{Operation, Packet};
use ironlb_l2::ethernet::{ARP, Frame};
use ironlb_l2::{Holding, Interfaces, Port, Responder};
use ironlb_lab::{Host, Lab, Link, Switch};
use ironlb_model::config::Gratuitous;
use ironlb_model::{Config, L2Advertisement, Mac, Pool, Range, Time};
use ironlb_speaker::drive::Running;
use ironlb_sys::packet::{Batch, PacketSocket, Protocol};

use crate::node;
use crate::proc::thread_time;
use crate::report::{Measurement, Report, median, median_seconds};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    for announced in [10, 10_000] {
        decision(report, announced)?;
    }
    flood(report)
}

/// What a request for an address of somebody else costs, and one for ours.
fn decision(report: &Report, announced: u32) -> anyhow::Result<()> {
    let prepare = || {
        let mut responder = Responder::new(1);
        responder.set_port(Time::ZERO, 2, PORT);
        for number in 0..announced {
            responder.hold(Time::ZERO, address(number).into(), holding());
            while responder.poll().is_some() {}
        }
        responder
    };
    let asked = |first: u32| {
        (0..ASKED)
            .map(|number| {
                request(
                    PEER,
                    Ipv4Addr::new(192, 0, 2, 1),
                    address(first + number % announced),
                )
            })
            .collect::<Vec<_>>()
    };
    for (what, frames, goal) in [
        (
            "decision: request for a foreign address",
            asked(1 << 20),
            Some(100e-9),
        ),
        (
            "decision: request for ours, with the answer",
            asked(0),
            None,
        ),
    ] {
        let seconds = median_seconds(7, prepare, |responder| {
            for frame in &frames {
                black_box(responder.handle_frame(Time::ZERO, 2, frame));
                while let Some(output) = responder.poll() {
                    black_box(output);
                }
            }
        });
        let case = format!("{what}, {announced} announced");
        let measurement = Measurement::new(case, 1, seconds / f64::from(ASKED), "s");
        report.say(match goal {
            Some(goal) => measurement.at_most(goal),
            None => measurement,
        })?;
    }
    Ok(())
}

/// The speaker's CPU time and its answers, while 50,000 frames a second go by.
fn flood(report: &Report) -> anyhow::Result<()> {
    let wire = match Wire::new() {
        Ok(wire) => wire,
        Err(error) => {
            eprintln!("skipped: the flood needs root: {error:#}");
            return Ok(());
        }
    };
    let foreign = request(PEER, Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(10, 0, 0, 9));
    for (what, frame) in [("broadcast UDP", udp()), ("requests for others", foreign)] {
        let runs = (0..RUNS)
            .map(|_| wire.flooded(&frame))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let of = |value: fn(&Flooded) -> f64| median(runs.iter().map(value).collect());
        let rate = of(|run| run.rate);
        let frames = format!("{rate:.0}").parse()?;
        let measured = [
            (
                "CPU time of the speaker in a second",
                frames,
                of(|run| run.busy),
                "s",
                0.02,
            ),
            (
                "answer, 99th percentile",
                REQUESTS,
                of(|run| run.answer),
                "s",
                1e-3,
            ),
            (
                "requests without an answer",
                REQUESTS,
                of(|run| run.lost),
                "requests",
                0.0,
            ),
        ];
        for (figure, n, value, unit, goal) in measured {
            let case = format!("flood of {what}: {figure}");
            let measurement = Measurement::new(case, n, value, unit).at_most(goal);
            report.say(match figure {
                "answer, 99th percentile" => measurement.limit(of(|run| run.kernel)),
                _ => measurement,
            })?;
        }
    }
    Ok(())
}

/// A segment with the speaker on one host, and a station on another.
struct Wire {
    speaker: Option<Running>,
    runtime: tokio::runtime::Runtime,
    asking: PacketSocket,
    flooding: Arc<PacketSocket>,
    mac: Mac,
    // The namespaces are there as long as these are.
    _hosts: [Host; 2],
    _lan: Switch,
    _lab: Lab,
}

/// One run's figures.
struct Flooded {
    /// Frames a second.
    rate: f64,
    /// Seconds on a CPU, in a second.
    busy: f64,
    /// Seconds from request to answer, 99th percentile: the speaker's, and the kernel's for its own address.
    answer: f64,
    kernel: f64,
    /// Requests to the speaker without an answer.
    lost: f64,
}

impl Wire {
    fn new() -> anyhow::Result<Self> {
        let lab = Lab::new("bench-arp")?;
        let lan = lab.switch("lan")?;
        let host = lab.host("node")?;
        let station = lab.host("station")?;
        host.connect(&lan, "eth0", &["10.0.0.1/24"])?;
        let link = station.connect(&lan, "eth0", &["10.0.0.2/24"])?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let addresses = (0..1_000).map(|number| Ipv4Addr::from_bits(VIP.to_bits() + number));
        let (_, speaker) = node::start(&host, &runtime, config()?, addresses)?;
        let wire = Self {
            speaker: Some(speaker),
            asking: open(&station, &link, &runtime)?,
            flooding: Arc::new(open(&station, &link, &runtime)?),
            runtime,
            mac: link.mac(),
            _hosts: [host, station],
            _lan: lan,
            _lab: lab,
        };
        let deadline = Instant::now() + Duration::from_secs(10);
        while wire.ask(VIP)?.is_none() {
            if Instant::now() > deadline {
                bail!("the speaker does not answer");
            }
        }
        // The burst of its takeover is not what is measured.
        thread::sleep(Duration::from_secs(6));
        Ok(wire)
    }

    /// Floods for [`FLOOD`], asking speaker and kernel by turns meanwhile.
    fn flooded(&self, frame: &[u8]) -> anyhow::Result<Flooded> {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let flood = scope.spawn(|| pour(&self.flooding, frame, &stop));
            let asked = self.ask_for_a_while();
            stop.store(true, Ordering::Relaxed);
            let rate = flood
                .join()
                .map_err(|_| anyhow::anyhow!("the flood broke"))?;
            asked.map(|asked| Flooded { rate, ..asked })
        })
    }

    fn ask_for_a_while(&self) -> anyhow::Result<Flooded> {
        let (start, before) = (Instant::now(), thread_time(node::THREAD)?);
        let (mut answers, mut kernel, mut lost) = (Vec::new(), Vec::new(), 0.0);
        for number in 0..REQUESTS {
            match self.ask(VIP)? {
                Some(took) => answers.push(took.as_secs_f64()),
                None => lost += 1.0,
            }
            kernel.extend(self.ask(HOST)?.map(|took| took.as_secs_f64()));
            let next = start + FLOOD.mul_f64(number as f64 / REQUESTS as f64);
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let busy =
            (thread_time(node::THREAD)? - before).as_secs_f64() / start.elapsed().as_secs_f64();
        Ok(Flooded {
            rate: 0.0,
            busy,
            answer: percentile_99(answers)?,
            kernel: percentile_99(kernel)?,
            lost,
        })
    }

    /// Asks for `target`; the time until the answer.
    fn ask(&self, target: Ipv4Addr) -> anyhow::Result<Option<Duration>> {
        let frame = request(self.mac, Ipv4Addr::new(10, 0, 0, 2), target);
        let mut batch = Batch::new();
        let answered = async {
            loop {
                poll_fn(|cx| self.asking.poll_receive(cx, &mut batch)).await?;
                if batch.frames().any(|frame| answers(frame, self.mac, target)) {
                    return anyhow::Ok(());
                }
            }
        };
        self.runtime.block_on(async {
            let start = Instant::now();
            self.asking.send(&frame)?;
            match tokio::time::timeout(Duration::from_millis(200), answered).await {
                Ok(answered) => answered.map(|()| Some(start.elapsed())),
                Err(_elapsed) => Ok(None),
            }
        })
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(speaker) = self.speaker.take() {
            let _ = self.runtime.block_on(speaker.stop());
        }
    }
}

/// Sends [`RATE`] frames a second, some each millisecond; gives the rate that it came to.
fn pour(socket: &PacketSocket, frame: &[u8], stop: &AtomicBool) -> f64 {
    let start = Instant::now();
    let mut sent = 0.0;
    while !stop.load(Ordering::Relaxed) {
        let due = start.elapsed().as_secs_f64() * RATE;
        while sent < due {
            let _full = socket.send(frame);
            sent += 1.0;
        }
        thread::sleep(Duration::from_millis(1));
    }
    sent / start.elapsed().as_secs_f64()
}

fn config() -> anyhow::Result<Config> {
    let range = Range::new(VIP.into(), IpAddr::V4(Ipv4Addr::new(10, 0, 255, 255)));
    let pool = Pool::new("pool", vec![range.context("a range")?]);
    let advertisement = L2Advertisement::new("all");
    Ok(Config {
        pools: [(pool.name.clone(), pool)].into(),
        l2_advertisements: [(advertisement.name.clone(), advertisement)].into(),
        ..Config::default()
    })
}

fn open(
    host: &Host,
    link: &Link,
    runtime: &tokio::runtime::Runtime,
) -> anyhow::Result<PacketSocket> {
    let index = link.index();
    let socket = host.in_namespace(|| {
        let _inside = runtime.enter();
        PacketSocket::open(index, Protocol::Arp)
    })?;
    Ok(socket?)
}

fn percentile_99(mut values: Vec<f64>) -> anyhow::Result<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let place = values.len() * 99 / 100;
    values.get(place).copied().context("no answer at all")
}

fn answers(frame: &[u8], mac: Mac, target: Ipv4Addr) -> bool {
    let Ok(frame) = Frame::decode(frame) else {
        return false;
    };
    frame.destination == mac
        && Packet::decode(frame.payload).is_ok_and(|packet| packet.sender_ip == target)
}

fn request(sender: Mac, sender_ip: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let packet = Packet {
        operation: Operation::Request,
        sender_mac: sender,
        sender_ip,
        target_mac: Mac([0; 6]),
        target_ip: target,
    };
    packet.frame(Mac::BROADCAST)
}

/// A broadcast datagram to nobody: its checksum is wrong, so that the kernel drops it early as well.
fn udp() -> Vec<u8> {
    let mut frame = Vec::new();
    Frame {
        destination: Mac::BROADCAST,
        source: PEER,
        ether_type: ARP - 6,
        payload: &[0x45, 0, 0, 46],
    }
    .encode(&mut frame);
    frame.resize(60, 0);
    frame
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0000 + number)
}

fn holding() -> Holding {
    Holding {
        interfaces: Interfaces::All,
        gratuitous: Gratuitous::default(),
        refresh: None,
    }
}

const PORT: Port = Port {
    mac: Mac([2, 0, 0, 0, 0, 1]),
    arp: true,
    ndp: true,
};
const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const VIP: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 0);
/// Requests in a run of the decision.
const ASKED: u32 = 20_000;
const RUNS: usize = 5;
const FLOOD: Duration = Duration::from_secs(3);
const REQUESTS: u64 = 500;
/// Frames a second.
const RATE: f64 = 50_000.0;
