//! `ironlb plan`: what a cluster would do with these manifests, by the code that controller and speakers run.

mod cluster;
mod table;

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::process::ExitCode;

use ironlb_config::{Error, Source};
use ironlb_speaker_core::World;
use serde::Serialize;

use crate::manifests::{self, Files};
use cluster::Cluster;

/// Show which addresses Services would get, and which nodes would announce them
///
/// Reads Service, EndpointSlice, Node, Namespace and configuration manifests. Every Node is taken to run a speaker. What
/// an API server would fill in is assumed: cluster addresses, and the label kubernetes.io/metadata.name of namespaces.
///
/// Exit status: 0 when the configuration is valid, 1 when it is not, 2 when the command itself was wrong.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    files: Files,

    /// How to print the plan
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Care for Services with this loadBalancerClass; without it, for those that have none
    #[arg(long, value_name = "CLASS")]
    lb_class: Option<String>,

    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long)]
    ignore_exclude_lb: bool,

    /// Take nodes with a taint of this key out of load balancing, as the speakers do that are told so; may be given more than
    /// once
    #[arg(
        long,
        value_name = "KEY",
        value_delimiter = ',',
        value_parser = ironlb_speaker::taint_key
    )]
    drain_taint: Vec<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A table for people; errors on standard error
    #[default]
    Text,
    /// For machines: {"services":[...],"errors":[...]} on standard output
    Json,
}

/// Plans, prints and returns the exit status.
pub(crate) fn run(args: &Args) -> ExitCode {
    manifests::exit_status(plan(args))
}

/// What would become of every Service, in order of namespace and name; nothing where the configuration is not valid.
fn plan(args: &Args) -> Result<bool, String> {
    let sources = args.files.sources()?;
    let (manifests, judged) = ironlb_config::judge(&sources);
    if args.output == Output::Text {
        manifests::written(manifests::warn(&manifests))?;
    }
    let errors = judged.errors;
    let services = if errors.is_empty() {
        let class = args.lb_class.clone();
        let world = World::new(class.clone(), args.ignore_exclude_lb)
            .with_drain_taints(args.drain_taint.iter().cloned().collect());
        Cluster::settle(manifests, judged.config, class, world).services()
    } else {
        Vec::new()
    };
    manifests::written(print(args.output, &services, &errors, &sources))?;
    Ok(errors.is_empty())
}

fn print(
    output: Output,
    services: &[Service],
    errors: &[Error],
    sources: &[Source],
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            let errors = errors.iter().map(Fault::from).collect();
            let document = Document { services, errors };
            serde_json::to_writer(&mut out, &document)?;
            writeln!(out)
        }
        Output::Text if !errors.is_empty() => manifests::explain(errors, sources),
        Output::Text if services.is_empty() => {
            writeln!(io::stderr().lock(), "no Services are among the manifests")
        }
        Output::Text => write!(out, "{}", table::render(services)),
    }
}

/// All that is printed for machines.
#[derive(Serialize)]
struct Document<'a> {
    services: &'a [Service],
    errors: Vec<Fault<'a>>,
}

/// What would become of one Service.
#[derive(Serialize)]
struct Service {
    namespace: String,
    name: String,
    ips: Vec<String>,
    pool: Option<String>,
    /// Why it has no address, or why no node announces it.
    reason: Option<String>,
    announcements: Vec<Announcement>,
}

/// One thing that one node would announce. Layer 2 comes before BGP, then by node, peer and prefix.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(
    tag = "protocol",
    rename_all = "lowercase",
    rename_all_fields = "camelCase"
)]
enum Announcement {
    L2 {
        node: String,
        /// `None` for all.
        interfaces: Option<BTreeSet<String>>,
    },
    Bgp {
        node: String,
        peer: String,
        prefix: String,
        local_pref: Option<u32>,
        communities: Vec<String>,
        /// From here on only what is set.
        #[serde(skip_serializing_if = "Option::is_none")]
        med: Option<u32>,
        /// For external peers.
        #[serde(skip_serializing_if = "Option::is_none")]
        as_path_prepend: Option<u8>,
        /// `None` for the node.
        #[serde(skip_serializing_if = "Option::is_none")]
        next_hop: Option<String>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        extended_communities: Vec<String>,
        /// Mbit/s.
        #[serde(skip_serializing_if = "Option::is_none")]
        link_bandwidth: Option<u64>,
    },
}

/// What is wrong with the configuration.
#[derive(Serialize)]
struct Fault<'a> {
    source: &'a str,
    object: &'a str,
    field: &'a str,
    message: &'a str,
}

impl<'a> From<&'a Error> for Fault<'a> {
    fn from(error: &'a Error) -> Self {
        Self {
            source: &error.source,
            object: &error.object,
            field: &error.field,
            message: &error.message,
        }
    }
}
