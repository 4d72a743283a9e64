//! BFD at 50 ms x 3 with FRR: how soon a cut cable is noticed, and whether a machine that is busy makes a session flap.
//!
//! The speaker's BFD thread is this process's, with the scheduling that it has in the product. FRR's bfdd stands for a router, which is
//! another machine: it is scheduled before the burners, so that what is measured is ours.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::bail;
use ironlb_bfd::{Key, Settings};
use ironlb_lab::router::{Frr, Router};
use ironlb_lab::{Host, Lab, Link, eventually_ok};
use ironlb_model::BfdProfile;
use ironlb_speaker::bfd::{self, Client, Event, Punctuality, Running};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::report::{Measurement, Report, median};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    let mut segment = Segment::new()?;
    cuts(report, &mut segment)?;
    soak(report, &mut segment)
}

/// The cable is cut at a moment that has nothing to do with when packets are sent.
fn cuts(report: &Report, segment: &mut Segment) -> anyhow::Result<()> {
    let mut took = Vec::new();
    for number in 0..CUTS {
        segment.settle()?;
        std::thread::sleep(INTERVAL.mul_f64(f64::from(number) / f64::from(CUTS)));
        let begin = Instant::now();
        segment.cable.unplug()?;
        match segment.next(LIMIT)? {
            Event::Down(..) => took.push(begin.elapsed().as_secs_f64()),
            other => bail!("{other:?} after the cable was cut"),
        }
        segment.cable.plug()?;
    }
    let worst = took.iter().copied().fold(0.0, f64::max);
    let best = took.iter().copied().fold(f64::INFINITY, f64::min);
    let say = |case, value| Measurement::new(case, CUTS.into(), value, "s");
    report.say(say("cable cut: session down, the earliest", best))?;
    report.say(say("cable cut: session down", median(took)).at_most(0.200))?;
    report.say(say("cable cut: session down, the latest", worst).at_most(0.200))
}

/// All cores are busy for ten minutes.
fn soak(report: &Report, segment: &mut Segment) -> anyhow::Result<()> {
    segment.settle()?;
    let cores = std::thread::available_parallelism()?.get();
    for _ in 0..cores {
        let mut command = Command::new("nice");
        command.args(["-n", "10", "sh", "-c", "while :; do :; done"]);
        segment.node.spawn_as("burner", command)?;
    }
    let (before, seen) = (segment.punctuality()?, segment.downs_seen()?);
    let begin = Instant::now();
    let mut downs = 0;
    while let Some(left) = SOAK.checked_sub(begin.elapsed()) {
        match segment.next(left) {
            Ok(Event::Down(..)) => downs += 1,
            Ok(_) => {}
            Err(_nothing_happened) => break,
        }
    }
    let after = segment.punctuality()?;
    let seen = segment.downs_seen()? - seen;
    let seconds = SOAK.as_secs();
    let case = |what: &str| format!("{cores} burners: {what}");
    let say = |what: &str, value, unit| Measurement::new(case(what), seconds, value, unit);
    report.say(say("times that we saw the session down", f64::from(downs), "").at_most(0.0))?;
    report.say(say("times that FRR saw it down", seen as f64, "").at_most(0.0))?;
    let wakes = (after.wakes - before.wakes).max(1);
    let late = (after.late - before.late) as f64 / wakes as f64 * 100.0;
    report.say(say("packets sent more than 5 ms late", late, "%"))?;
    report.say(say(
        "packet sent latest after its time",
        after.worst.as_secs_f64(),
        "s",
    ))
}

/// A node and a router on one segment, with a session between them.
struct Segment {
    client: Client,
    events: UnboundedReceiver<Event>,
    runtime: Runtime,
    node: Host,
    cable: Link,
    tor: Router,
    // When it is dropped the session ends.
    _running: Running,
    _lab: Lab,
}

impl Segment {
    fn new() -> anyhow::Result<Self> {
        let lab = Lab::new("bench-bfd")?;
        let [node, host] = [lab.router("node")?, lab.router("tor")?];
        let lan = lab.switch("lan")?;
        let cable = node.connect(&lan, "eth0", &["10.0.0.1/24"])?;
        host.connect(&lan, "eth0", &["10.0.0.2/24"])?;
        let config = "bfd\n profile node\n  transmit-interval 50\n  receive-interval 50\n  detect-multiplier 3\n exit\n \
                      peer 10.0.0.1 interface eth0\n  profile node\n";
        let tor = Router::start(&host, Frr, config)?;
        let mut favour = Command::new("chrt");
        favour.args(["--rr", "--pid", "1"]);
        favour.arg(tor.process("bfdd")?.id().to_string());
        anyhow::ensure!(host.run(&mut favour)?.status.success(), "chrt refuses");
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (client, events, running) = node.in_namespace(bfd::start)??;
        client.want(key()?, settings());
        Ok(Self {
            client,
            events,
            runtime,
            node,
            cable,
            tor,
            _running: running,
            _lab: lab,
        })
    }

    /// Waits until the session is up and both sides have gone over to the fast rate.
    fn settle(&mut self) -> anyhow::Result<()> {
        while !matches!(self.next(LIMIT)?, Event::Up(_)) {}
        let agreed = (INTERVAL * u32::from(MULTIPLIER), INTERVAL);
        eventually_ok("both go over to the fast rate", LIMIT, || {
            let intervals = self.client.ask(|_, sessions, _| {
                let view = sessions.views().next()?;
                let session = view.session;
                Some((session.detection_time(), session.transmit_interval()))
            });
            match self.runtime.block_on(intervals) {
                Ok(intervals) if intervals == Some(agreed) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })?;
        Ok(())
    }

    /// The next that is heard of the session within `limit`.
    fn next(&mut self, limit: Duration) -> anyhow::Result<Event> {
        let next = async { tokio::time::timeout(limit, self.events.recv()).await };
        match self.runtime.block_on(next)? {
            Some(event) => Ok(event),
            None => bail!("BFD has stopped"),
        }
    }

    fn punctuality(&self) -> anyhow::Result<Punctuality> {
        let answer = self.client.ask(|_, _, punctuality| *punctuality);
        Ok(self.runtime.block_on(answer)?)
    }

    /// How often FRR has seen the session go down.
    fn downs_seen(&self) -> anyhow::Result<u64> {
        let peers = self.tor.show("show bfd peers counters json")?;
        Ok(peers[0]["session-down"].as_u64().unwrap_or(0))
    }
}

fn key() -> anyhow::Result<Key> {
    Ok(Key {
        peer: "10.0.0.2".parse()?,
        local: None,
        interface: None,
        vrf: None,
        multihop: false,
    })
}

fn settings() -> Settings {
    let profile = BfdProfile {
        name: "fast".into(),
        detect_multiplier: MULTIPLIER,
        receive_interval: INTERVAL,
        transmit_interval: INTERVAL,
        echo_interval: INTERVAL,
        echo: false,
        passive: false,
        minimum_ttl: 254,
    };
    Settings::new(&profile, false)
}

const INTERVAL: Duration = Duration::from_millis(50);
const MULTIPLIER: u8 = 3;
const CUTS: u32 = 20;
const SOAK: Duration = Duration::from_secs(600);
const LIMIT: Duration = Duration::from_secs(20);
