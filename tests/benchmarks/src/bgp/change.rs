//! One more route among few and among many: what it costs the speaker, and how long it takes to the wire.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use ironlb_config::{Source, lower, read};
use ironlb_lab::{Host, Lab};
use ironlb_model::{Config, TrafficPolicy};
use ironlb_speaker::drive::{Client, Running};
use ironlb_speaker_core::Input;
use tokio::runtime::Runtime;

use super::sink::Sinks;
use super::tally::{Counts, Tally};
use super::{FIRST_ROUTE, RECEIVER_ASN, SENDER_ASN, route};
use crate::node;
use crate::proc::thread_time;
use crate::report::{Measurement, Report, median};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    let [few, many] = ANNOUNCED.map(|announced| measure(report, announced));
    let (few, many) = (few?, many?);
    let case = "one more route: CPU time of the speaker";
    report.say(Measurement::new(case, ANNOUNCED[0] as u64, few, "s"))?;
    // A search in a tree of 50,000 is a little deeper than in one of 100, and its nodes are in no cache.
    let measurement = Measurement::new(case, ANNOUNCED[1] as u64, many, "s");
    report.say(measurement.at_most(2.0 * few).peer(few))
}

/// Says how long changes take where there are so many routes, and gives the speaker's CPU time for one.
fn measure(report: &Report, announced: usize) -> anyhow::Result<f64> {
    let node = Node::start(announced)?;
    let n = announced as u64;
    let before = thread_time(node::THREAD)?;
    let (mut took, mut updates) = (Vec::new(), Vec::new());
    for number in announced..announced + CHANGES {
        let service = node::service(number, route(number));
        node.tell(node::endpoint(number, true))?;
        let told = node.change(Input::ServiceApplied(Box::new(service)), |counts| {
            counts.announced
        })?;
        took.push(told.seconds);
        updates.push(told.updates);
    }
    let busy = (thread_time(node::THREAD)? - before).as_secs_f64() / CHANGES as f64;
    let case = "one more route: from the Service to the wire";
    report.say(Measurement::new(case, n, median(took), "s").at_most(0.015))?;
    let case = "one more route: UPDATEs";
    report.say(Measurement::new(case, n, median(updates), "").at_most(1.0))?;

    let (mut gone, mut back) = (Vec::new(), Vec::new());
    for number in announced..announced + CHANGES {
        let mut service = node::service(number, route(number));
        service.traffic_policy = TrafficPolicy::Local;
        node.tell(Input::ServiceApplied(Box::new(service)))?;
        let told = node.change(node::endpoint(number, false), |counts| counts.withdrawn)?;
        gone.push(told.seconds);
        let told = node.change(node::endpoint(number, true), |counts| counts.announced)?;
        back.push(told.seconds);
    }
    for (what, took) in [("the only one goes", gone), ("one comes", back)] {
        let case = format!("endpoints of a Local Service, {what}: to the wire");
        report.say(Measurement::new(case, n, median(took), "s"))?;
    }
    Ok(busy)
}

/// A speaker with a router that has been told everything.
struct Node {
    client: Client,
    running: Option<Running>,
    runtime: Runtime,
    tally: Tally,
    _router: Sinks,
    _hosts: [Host; 2],
    _lab: Lab,
}

/// How long a change took to the wire, and in how many UPDATEs.
struct Told {
    seconds: f64,
    updates: f64,
}

impl Node {
    fn start(announced: usize) -> anyhow::Result<Self> {
        let lab = Lab::new("bench-bgp-change")?;
        let [host, tor] = [lab.host("node")?, lab.host("tor")?];
        let (near, far) = (format!("{NEAR}/24"), format!("{FAR}/24"));
        host.connect_to(&tor, "eth0", &[&near], "eth0", &[&far])?;
        let router = Sinks::start(&tor, [FAR].into_iter(), announced as u64)?;
        let tally = router.tallies[&FAR].clone();
        router.release();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let routes = (0..announced).map(route);
        let (client, running) = node::start(&host, &runtime, config()?, routes)?;
        tally.wait_for("everything is told", PATIENCE, |counts| {
            counts.announced >= announced as u64 && counts.ends > 0
        })?;
        Ok(Self {
            client,
            running: Some(running),
            runtime,
            tally,
            _router: router,
            _hosts: [host, tor],
            _lab: lab,
        })
    }

    fn tell(&self, input: Input) -> anyhow::Result<()> {
        Ok(self.runtime.block_on(self.client.send(input))?)
    }

    /// Tells it of something that makes one more of what `of` counts, once it has had nothing to do for a while.
    fn change(&self, input: Input, of: fn(&Counts) -> u64) -> anyhow::Result<Told> {
        thread::sleep(QUIET);
        let before = self.tally.now();
        let begin = Instant::now();
        self.tell(input)?;
        let after = self
            .tally
            .wait_for("the change is told", PATIENCE, |counts| {
                of(counts) > of(&before)
            })?;
        let last = after.last.unwrap_or(begin);
        Ok(Told {
            seconds: (last - begin).as_secs_f64(),
            updates: (after.updates - before.updates) as f64,
        })
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = self.runtime.block_on(running.stop());
        }
    }
}

fn config() -> anyhow::Result<Config> {
    let text = format!(
        "apiVersion: metallb.io/v1beta2\nkind: BGPPeer\nmetadata: {{name: tor}}\n\
         spec: {{myASN: {SENDER_ASN}, peerASN: {RECEIVER_ASN}, peerAddress: {FAR}, connectTime: 1s}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: BGPAdvertisement\nmetadata: {{name: all}}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {{name: pool}}\n\
         spec: {{addresses: [{FIRST_ROUTE}/16]}}\n"
    );
    let name = "benchmark".to_owned();
    let lowered = lower(&read(&[Source { name, text }]).objects, &Config::default());
    anyhow::ensure!(lowered.errors.is_empty(), "invalid: {:?}", lowered.errors);
    Ok(lowered.config)
}

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ANNOUNCED: [usize; 2] = [100, 50_000];
const CHANGES: usize = 200;
/// Longer than changes are collected for.
const QUIET: Duration = Duration::from_millis(15);
const PATIENCE: Duration = Duration::from_secs(60);
