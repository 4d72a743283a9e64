//! Measures what the documentation claims, and compares it with the figures asked for.
//!
//! `tests/bench NAME... [-o json]`. To add a benchmark, add a module with a `run(&Report)` and a line to [`BENCHES`].
//! Beside routers of other projects it measures BGP and BFD; elsewhere ironlb alone: what others need for the same work was measured on
//! its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod allocate;
mod arp;
mod bfd;
mod bgp;
mod cluster;
mod config;
mod dist;
mod footprint;
mod node;
mod nodes;
mod proc;
mod product;
mod report;
mod standalone;
mod wire;

use clap::{Parser, ValueEnum};
use peak_alloc::PeakAlloc;

use report::Report;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Name, what it measures, and how.
type Bench = (
    &'static str,
    &'static str,
    fn(&Report) -> anyhow::Result<()>,
);

const BENCHES: &[Bench] = &[
    (
        "allocate",
        "addresses to Services, and pools changed under them",
        allocate::run,
    ),
    (
        "arp",
        "requests: one decision, and answers on a flooded wire",
        arp::run,
    ),
    (
        "bfd",
        "sessions with FRR: a cut cable, and ten minutes on a busy machine",
        bfd::run,
    ),
    (
        "bgp",
        "routes to routers, beside BIRD, GoBGP and ExaBGP; a change; a hundred peers",
        bgp::run,
    ),
    (
        "config",
        "reading and validating a configuration",
        config::run,
    ),
    (
        "nodes",
        "a node that comes or goes among 500, with 10,000 Services",
        nodes::run,
    ),
    (
        "footprint",
        "the size of the product, on disk and in memory with 2,000 Services",
        footprint::run,
    ),
    (
        "cluster",
        "addresses to 2,000 Services of a real API server, and to one more",
        cluster::run,
    ),
    (
        "standalone",
        "one more manifest among 10,000, without Kubernetes",
        standalone::run,
    ),
];

/// Measures ironlb.
#[derive(Parser)]
struct Arguments {
    /// What to measure; everything when nothing is named.
    names: Vec<String>,
    /// Name what there is to measure.
    #[arg(long)]
    list: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How to print measurements.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One object on a line each.
    Json,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.list {
        for (name, what, _) in BENCHES {
            println!("{name:10} {what}");
        }
        return Ok(());
    }
    let known = |name: &&String| BENCHES.iter().any(|(known, ..)| known == name);
    if let Some(unknown) = arguments.names.iter().find(|name| !known(name)) {
        anyhow::bail!("there is no benchmark {unknown:?}; --list names them all");
    }
    for (name, _, run) in BENCHES {
        if arguments.names.is_empty() || arguments.names.iter().any(|wanted| wanted == name) {
            run(&Report::new(name, arguments.output == Format::Json))?;
        }
    }
    Ok(())
}
