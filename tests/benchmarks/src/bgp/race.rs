//! The same routes from four senders to two receivers, by turns.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use ironlb_lab::{Host, Lab, Switch};

use super::receivers::{FrrReceiver, GoBgpReceiver, Receiver, wait_until_idle};
use super::relay::Relay;
use super::route;
use super::senders::{self, Ironlb, Place};
use crate::dist;
use crate::report::{Measurement, Report, median};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    let race = Race::new(&dist::binary()?)?;
    for receiver in &race.receivers {
        let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
        for _ in 0..RUNS {
            for (sender, relay) in SENDERS.into_iter().zip(&race.relays) {
                let run = once(relay, &**receiver)
                    .with_context(|| format!("{sender} to {}", receiver.name()))?;
                runs.entry(sender).or_default().push(run);
            }
        }
        say(report, receiver.name(), &runs)?;
    }
    one_more(report, &race)
}

/// Everybody, with all routes, on one segment, and no session between any.
struct Race {
    /// One for each of [`SENDERS`].
    relays: [Relay; 4],
    receivers: [Box<dyn Receiver>; 2],
    ironlb: Ironlb,
    _lan: Switch,
    _lab: Lab,
}

/// What one sender did in one run.
struct Run {
    /// Until the receiver's table held all, in seconds.
    in_table: f64,
    /// Until 99 % of them had passed, in seconds.
    nearly: f64,
    /// Until the last had.
    on_wire: f64,
    bytes: f64,
    updates: f64,
}

impl Race {
    fn new(binary: &Path) -> anyhow::Result<Self> {
        let lab = Lab::new("bench-bgp")?;
        let lan = lab.switch("lan")?;
        let host = |name: &str, address: Ipv4Addr| -> anyhow::Result<Host> {
            let host = lab.host(name)?;
            host.connect(&lan, "eth0", &[&format!("{address}/16")])?;
            Ok(host)
        };
        let mut relays = Vec::new();
        for (sender, number) in SENDERS.into_iter().zip(1..) {
            let address = Ipv4Addr::new(10, 0, 2, number);
            relays.push(Relay {
                host: host(&format!("relay-{sender}"), address)?,
                address,
                sender: Ipv4Addr::new(10, 0, 1, number),
            });
        }
        let neighbours: Vec<Ipv4Addr> = relays.iter().map(|relay| relay.address).collect();
        let [frr, gobgp] = [1, 2].map(|number| Ipv4Addr::new(10, 0, 0, number));
        let on_gobgp = host("gobgp", gobgp)?;
        let receivers: [Box<dyn Receiver>; 2] = [
            Box::new(FrrReceiver::start(&host("frr", frr)?, frr, &neighbours)?),
            Box::new(GoBgpReceiver::start(&lab, &on_gobgp, gobgp, &neighbours)?),
        ];
        let routes: Vec<Ipv4Addr> = (0..ROUTES).map(route).collect();
        let mut ironlb = None;
        for (sender, relay) in SENDERS.into_iter().zip(&relays) {
            let host = host(sender, relay.sender)?;
            let place = Place {
                lab: &lab,
                host: &host,
                address: relay.sender,
                relay: relay.address,
            };
            match sender {
                "BIRD" => senders::start_bird(&place, &routes)?,
                "GoBGP" => senders::start_gobgp_sender(&place, &routes)?,
                "ExaBGP" => senders::start_exabgp(&place, &routes)?,
                _ => {
                    let peers = [relay.address];
                    let spec = "passiveMode: true";
                    ironlb = Some(Ironlb::start(&lab, &host, binary, &peers, spec, ROUTES)?);
                }
            }
        }
        Ok(Self {
            relays: relays.try_into().ok().context("a relay for each")?,
            receivers,
            ironlb: ironlb.context("ironlb is among the senders")?,
            _lan: lan,
            _lab: lab,
        })
    }
}

/// Lets the session come up, and waits until the receiver has everything.
fn once(relay: &Relay, receiver: &dyn Receiver) -> anyhow::Result<Run> {
    wait_until_idle(receiver, relay.address)?;
    let all = ROUTES as u64;
    let held = relay.hold(PATIENCE)?;
    let line = relay.open(held, receiver.address(), all)?;
    let what = "all routes have passed";
    let sent = line
        .tally
        .wait_for(what, PATIENCE, |counts| counts.announced >= all)?;
    // Asked only now, when there is no more to learn: asking takes time from those who work.
    while receiver.routes(relay.address)? < all {
        anyhow::ensure!(
            line.begin.elapsed() < PATIENCE,
            "not all routes are in the table"
        );
        thread::sleep(BETWEEN_QUESTIONS);
    }
    let in_table = Instant::now();
    let after = |when: Option<Instant>| {
        let when = when.context("it was passed on")?;
        anyhow::Ok((when - line.begin).as_secs_f64())
    };
    Ok(Run {
        in_table: after(Some(in_table))?,
        nearly: after(sent.nearly)?,
        on_wire: after(sent.last)?,
        bytes: sent.bytes as f64,
        updates: sent.updates as f64,
    })
}

fn say(report: &Report, receiver: &str, runs: &BTreeMap<&str, Vec<Run>>) -> anyhow::Result<()> {
    let of =
        |sender: &str, value: fn(&Run) -> f64| median(runs[sender].iter().map(value).collect());
    let count = ROUTES as u64;
    for sender in SENDERS {
        let said = |what: &str| format!("{sender} to {receiver}: {what}");
        let bird = |value| (sender == "ironlb").then(|| of("BIRD", value));
        for (what, value) in [
            (
                "until all are in its table",
                (|run| run.in_table) as fn(&Run) -> f64,
            ),
            ("until 99 % are on the wire", |run| run.nearly),
            ("until all are on the wire", |run| run.on_wire),
        ] {
            let measurement = Measurement::new(said(what), count, of(sender, value), "s");
            report.say(match bird(value) {
                Some(bird) => measurement.at_most(bird).peer(bird),
                None => measurement,
            })?;
        }
        let bytes = of(sender, |run| run.bytes) / ROUTES as f64;
        let measurement = Measurement::new(said("octets for a prefix"), count, bytes, "B");
        report.say(match sender {
            "ironlb" => measurement.at_most(6.0),
            _ => measurement,
        })?;
        let updates = of(sender, |run| run.updates);
        report.say(Measurement::new(said("UPDATEs"), count, updates, ""))?;
    }
    Ok(())
}

/// One more Service in the directory of manifests, while there is a session.
fn one_more(report: &Report, race: &Race) -> anyhow::Result<()> {
    let [relay, ..] = &race.relays;
    let [receiver, ..] = &race.receivers;
    wait_until_idle(&**receiver, relay.address)?;
    let all = ROUTES as u64;
    let line = relay.open(relay.hold(PATIENCE)?, receiver.address(), all)?;
    line.tally
        .wait_for("all routes have passed", PATIENCE, |counts| {
            counts.announced >= all
        })?;
    let mut took = Vec::new();
    for number in ROUTES..ROUTES + RUNS {
        let before = line.tally.now();
        let begin = Instant::now();
        race.ironlb.add(number)?;
        let after = line.tally.wait_for("it is announced", PATIENCE, |counts| {
            counts.announced > before.announced
        })?;
        let last = after.last.context("it was passed on")?;
        took.push((last - begin).as_secs_f64());
    }
    let case = "ironlb standalone: one more manifest, from the rename to the wire";
    report.say(Measurement::new(case, all, median(took), "s"))
}

const SENDERS: [&str; 4] = ["ironlb", "BIRD", "GoBGP", "ExaBGP"];
const ROUTES: usize = 50_000;
const RUNS: usize = 5;
/// A busy machine takes its time to read 50,000 Services.
const PATIENCE: Duration = Duration::from_secs(240);
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(5);
