//! `ironlb plan`: what a cluster would do with these manifests, by the code that controller and speakers run.

mod cluster;
mod table;

use std::collections::BTreeSet;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use ironlb_config::{Error, Manifests, Source, report};
use ironlb_model::Config;
use serde::Serialize;

use crate::validate::sources;
use cluster::Cluster;

/// Show which addresses Services would get, and which nodes would announce them
///
/// Reads Service, EndpointSlice, Node, Namespace and configuration manifests. Every Node is taken to run a speaker. What
/// an API server would fill in is assumed: cluster addresses, and the label kubernetes.io/metadata.name of namespaces.
///
/// Exit status: 0 when the configuration is valid, 1 when it is not, 2 when the command itself was wrong.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// File, directory (its *.yaml, *.yml and *.json, and those below) or - for standard input; may be given again
    #[arg(short, long = "file", value_name = "PATH", required = true)]
    files: Vec<PathBuf>,

    /// How to print the plan
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,

    /// Care for Services with this loadBalancerClass; without it, for those that have none
    #[arg(long, value_name = "CLASS")]
    lb_class: Option<String>,

    /// Announce from nodes with the label node.kubernetes.io/exclude-from-external-load-balancers too
    #[arg(long)]
    ignore_exclude_lb: bool,
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
    let sources = match sources(&args.files) {
        Ok(sources) => sources,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let (plan, errors) = plan(args, &sources);
    match print(args, &plan, &errors, &sources) {
        Ok(()) => ExitCode::from(u8::from(!errors.is_empty())),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// What would become of every Service, in order of namespace and name; nothing where the configuration is not valid.
fn plan(args: &Args, sources: &[Source]) -> (Vec<Service>, Vec<Error>) {
    let mut manifests = ironlb_config::read(sources);
    let lowered = ironlb_config::lower(&manifests.objects, &Config::default());
    let Manifests { errors, .. } = &mut manifests;
    let mut errors = std::mem::take(errors);
    errors.extend(lowered.errors);
    if !errors.is_empty() {
        let position = |error: &Error| sources.iter().position(|one| one.name == error.source);
        errors.sort_by_cached_key(|error| (position(error), error.clone()));
        return (Vec::new(), errors);
    }
    let class = args.lb_class.clone();
    let cluster = Cluster::settle(manifests, lowered.config, class, args.ignore_exclude_lb);
    (cluster.services(), errors)
}

fn print(args: &Args, plan: &[Service], errors: &[Error], sources: &[Source]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match args.output {
        Output::Json => {
            let faults: Vec<Fault<'_>> = errors.iter().map(Fault::from).collect();
            let document = Document {
                services: plan,
                errors: faults,
            };
            serde_json::to_writer(&mut out, &document)?;
            writeln!(out)
        }
        Output::Text if !errors.is_empty() => explain(errors, sources),
        Output::Text => write!(out, "{}", table::render(plan)),
    }
}

fn explain(errors: &[Error], sources: &[Source]) -> io::Result<()> {
    let mut out = io::stderr().lock();
    if out.is_terminal() {
        let styled = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        return write!(out, "{}", report::render(errors, sources, styled));
    }
    errors.iter().try_for_each(|error| writeln!(out, "{error}"))
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
