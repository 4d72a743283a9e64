//! How fast the product is in a cluster with many Services.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::product::{CONTROLLER_PORT, Product, SPEAKER_PORT, wait_until_quiet};
use crate::report::{Measurement, Report, median};
use crate::wire::Wire;

pub(crate) fn run(report: &Report) -> anyhow::Result<()> {
    let product = Product::new("cluster")?;
    product.create_services(0..SERVICES)?;
    pending(report, &product)?;
    restart(report, &product)?;
    one(report, &product)
}

/// All Services wait for an address when the controller starts.
fn pending(report: &Report, product: &Product) -> anyhow::Result<()> {
    let (mut seconds, mut peers) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let addresses = product.watch()?;
        let begin = Instant::now();
        let controller = product.start_controller()?;
        let last = addresses.wait_for(SERVICES)?;
        seconds.push((last - begin).as_secs_f64());
        controller.terminate(END)?;
        // The last run leaves the addresses to what comes next.
        if seconds.len() < RUNS {
            peers.push(product.clear_statuses(SERVICES)?.as_secs_f64());
        }
    }
    let case = "controller starts, Services pending: last address in a status";
    report.say(Measurement::new(case, SERVICES as u64, median(seconds), "s").peer(median(peers)))
}

/// All Services have their address when the controller starts.
fn restart(report: &Report, product: &Product) -> anyhow::Result<()> {
    let (mut seconds, mut writes) = (Vec::new(), 0);
    for _ in 0..RUNS {
        let before = product.versions()?;
        let begin = Instant::now();
        let controller = product.start_controller()?;
        product.wait_until_ready(&controller, CONTROLLER_PORT)?;
        seconds.push(begin.elapsed().as_secs_f64());
        wait_until_quiet(&controller)?;
        let attempts = status_writes(&product.ask(CONTROLLER_PORT, "/metrics")?)?;
        let after = product.versions()?;
        let changed = after
            .iter()
            .filter(|(name, version)| before.get(*name) != Some(version));
        writes = writes.max(attempts).max(changed.count() as u64);
        controller.terminate(END)?;
    }
    let case = "controller starts, Services with an address: ready";
    report.say(Measurement::new(
        case,
        SERVICES as u64,
        median(seconds),
        "s",
    ))?;
    let case = "controller starts, Services with an address: status writes";
    report.say(Measurement::new(case, SERVICES as u64, writes as f64, "").at_most(0.0))
}

/// One more Service, where there are many.
fn one(report: &Report, product: &Product) -> anyhow::Result<()> {
    let controller = product.start_controller()?;
    let speaker = product.start_speaker()?;
    product.wait_until_ready(&controller, CONTROLLER_PORT)?;
    product.wait_until_ready(&speaker, SPEAKER_PORT)?;
    for process in [&controller, &speaker] {
        wait_until_quiet(process)?;
    }
    let wire = Wire::of(product.cluster.client(), "eth0", CLIENT)?;
    product.create_slices(SERVICES..SERVICES + ONES)?;
    let (mut created, mut in_status, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    for number in SERVICES..SERVICES + ONES {
        let addresses = product.watch()?;
        let begin = Instant::now();
        product.create_service(number)?;
        created.push(begin.elapsed().as_secs_f64());
        let (address, heard) = addresses.of(number)?;
        in_status.push((heard - begin).as_secs_f64());
        let mac = wire.who_has(address)?;
        answered.push(begin.elapsed().as_secs_f64());
        anyhow::ensure!(
            mac == product.node()?.link().mac(),
            "{address} is answered for by {mac}"
        );
    }
    // What the API server needs to say that the Service is there is the least that anybody waits.
    let least = median(created);
    for (what, seconds) in [
        ("address in its status", in_status),
        ("answered by ARP", answered),
    ] {
        let case = format!("one more Service among {SERVICES}: {what}");
        report.say(Measurement::new(case, ONES as u64, median(seconds), "s").limit(least))?;
    }
    [controller, speaker]
        .iter()
        .try_for_each(|process| process.terminate(END).map(drop))?;
    Ok(())
}

/// All attempts to write a status that the controller counted.
fn status_writes(metrics: &str) -> anyhow::Result<u64> {
    let counters = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("ironlb_status_write")?.rsplit_once(' '));
    let counts: Vec<u64> = counters
        .map(|(_, count)| count.parse())
        .collect::<Result<_, _>>()?;
    anyhow::ensure!(
        !counts.is_empty(),
        "the controller does not count its status writes"
    );
    Ok(counts.iter().sum())
}

const SERVICES: usize = 2_000;
const RUNS: usize = 5;
const ONES: usize = 50;
/// The client's address in the lab's cluster.
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const END: Duration = Duration::from_secs(10);
