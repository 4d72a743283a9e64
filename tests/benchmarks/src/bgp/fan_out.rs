//! The same routes to a hundred peers: what it takes of the process.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use ironlb_bgp::policy::{Export, LocalAddresses, Standing};
use ironlb_bgp::{Audience, Rib, Route, RouteAttributes};
use ironlb_lab::Lab;
use ironlb_model::{Family, Name, Time};

use super::senders::Ironlb;
use super::sink::Sinks;
use super::tally::WIRE;
use super::{SENDER_ASN, route};
use crate::dist;
use crate::node;
use crate::proc::{RESIDENT, megabytes, process_time};
use crate::report::{Measurement, Report, median, median_seconds};

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    encode(report)?;
    let runs = (0..RUNS)
        .map(|_| once())
        .collect::<anyhow::Result<Vec<_>>>()?;
    let of = |value: fn(&Run) -> f64| median(runs.iter().map(value).collect());
    let routes = ROUTES as u64;
    let say = |what: &str, value: f64, unit| {
        let case = format!("{PEERS} peers: {what}");
        report.say(Measurement::new(case, routes, value, unit))
    };
    say("until all are told", of(|run| run.seconds), "s")?;
    say("CPU time", of(|run| run.busy), "s")?;
    say("octets to a peer", of(|run| run.bytes), "B")?;
    say("resident, before", of(|run| run.before), "MB")?;
    say(
        "resident, more when all are told",
        of(|run| run.growth),
        "MB",
    )
}

/// How much is encoded for all peers together, and what that takes the machine that keeps what is told to whom.
fn encode(report: &Report) -> anyhow::Result<()> {
    let (mut written, mut told) = (0, 0);
    let seconds = median_seconds(RUNS, rib, |rib| {
        let peers: Vec<Name> = (0..PEERS).map(|number| number.to_string().into()).collect();
        for peer in &peers {
            rib.up(Time::ZERO, peer, audience(), export());
        }
        told = peers
            .iter()
            .flat_map(|peer| std::iter::from_fn(|| rib.poll(peer)).collect::<Vec<_>>())
            .map(|messages| messages.len() as u64)
            .sum();
        written = rib.statistics().written.bytes;
    });
    let routes = ROUTES as u64;
    let case = format!("{PEERS} peers: what is encoded, of what they are sent in all");
    let once = 1.0 / f64::from(PEERS);
    let share = written as f64 / told as f64;
    report.say(Measurement::new(case, routes, share * 100.0, "%").at_most(once * 100.0))?;
    let case = format!("{PEERS} peers: what each is to be told, the machine alone");
    report.say(Measurement::new(case, routes, seconds, "s"))
}

/// The routes, and nobody who knows them.
fn rib() -> Rib {
    let mut rib = Rib::new();
    let attributes = Arc::new(RouteAttributes::default());
    for number in 0..ROUTES {
        let prefix = IpNet::from(IpAddr::from(route(number)));
        let attributes = Arc::clone(&attributes);
        let wanted = (audience(), Route { prefix, attributes });
        rib.set_routes(Time::ZERO, &node::key(number), [wanted]);
    }
    rib.set_ready(Time::ZERO);
    rib
}

/// All peers.
fn audience() -> Audience {
    Audience::of(&"any".into(), [])
}

fn export() -> Export {
    Export {
        asn: SENDER_ASN,
        negotiated: WIRE,
        max_length: 4_096,
        local: LocalAddresses {
            transport: Family::V4,
            v4: Some(FIRST_PEER),
            v6: None,
            link_local: None,
        },
        standing: Standing::Serving,
    }
}

struct Run {
    /// From the moment when the peers answer until the last of them has everything.
    seconds: f64,
    /// CPU time of the process meanwhile, in seconds.
    busy: f64,
    bytes: f64,
    before: f64,
    growth: f64,
}

fn once() -> anyhow::Result<Run> {
    let binary = dist::binary()?;
    let lab = Lab::new("bench-bgp-peers")?;
    let [host, routers] = [lab.host("node")?, lab.host("routers")?];
    let addresses: Vec<Ipv4Addr> = (1..=PEERS)
        .map(|number| Ipv4Addr::from_bits(FIRST_PEER.to_bits() + number))
        .collect();
    let networks: Vec<String> = addresses
        .iter()
        .map(|address| format!("{address}/16"))
        .collect();
    let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
    host.connect_to(&routers, "eth0", &["10.0.0.1/16"], "eth0", &networks)?;
    let sinks = Sinks::start(&routers, addresses.iter().copied(), ROUTES as u64)?;
    let ironlb = Ironlb::start(&lab, &host, &binary, &addresses, "connectTime: 1s", ROUTES)?;
    let id = ironlb.process.id();
    sinks.wait_for_connections(addresses.len(), PATIENCE)?;

    let (before, busy) = (megabytes(id, RESIDENT)?, process_time(id)?);
    let begin = Instant::now();
    sinks.release();
    let mut last = begin;
    let mut bytes = 0;
    for (address, tally) in &sinks.tallies {
        let what = format!("{address} has been told everything");
        let counts = tally.wait_for(&what, PATIENCE, |counts| {
            counts.announced >= ROUTES as u64 && counts.ends > 0
        })?;
        last = counts.last.map_or(last, |told| told.max(last));
        bytes = bytes.max(counts.bytes);
    }
    Ok(Run {
        seconds: (last - begin).as_secs_f64(),
        busy: (process_time(id)? - busy).as_secs_f64(),
        bytes: bytes as f64,
        before,
        growth: megabytes(id, RESIDENT)? - before,
    })
}

const PEERS: u32 = 100;
const FIRST_PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 0);
const ROUTES: usize = 5_000;
const RUNS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);
