//! `ironlb demo`: shows the main job on this machine alone, in network namespaces that are gone afterwards.
//!
//! It needs neither Kubernetes nor any program but this one, and no root where user namespaces are allowed. What runs on the
//! nodes is this very binary as `ironlb standalone`.

mod client;
mod report;
mod site;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use ironlb_lab::{Lab, backend, eventually_ok};

use client::Watch;
use report::{Failed, Output, Report};
use site::{LIMIT, Node, Site};

/// Show what ironlb does, in a network made for it on this machine
///
/// Builds a client, three nodes and a switch of network namespaces, runs ironlb on each node, gives a Service an address,
/// reaches it from the client, and takes the node away that announces it. Leaves nothing behind.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Leave everything running at the end, and say how to look inside
    #[arg(long)]
    keep: bool,

    /// How the steps are told
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,

    /// Be a backend: NAME ADDRESS:PORT...
    #[arg(long, hide = true, num_args = 2.., value_names = ["NAME", "ADDRESS"])]
    serve: Vec<String>,
}

/// Runs the demo; to be called before there is a second thread.
pub(crate) fn run(args: &Args) -> ExitCode {
    if let [name, addresses @ ..] = args.serve.as_slice() {
        return match serve(name, addresses) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    let mut report = Report::new(args.output);
    report.say("ironlb demo: a client, three nodes and a switch, on this machine alone\n");
    let site = show(&mut report);
    let is_complete = site.is_ok();
    if args.keep
        && let Ok(site) = site
    {
        keep(&report, site);
    } else if let Ok(site) = site {
        let cleaned = report.step("clean up", || {
            drop(site);
            Ok(((), "processes ended, namespaces and files gone".into()))
        });
        debug_assert!(cleaned.is_ok());
    }
    if report.finish() && is_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All steps. A failed one ends the demo.
fn show(report: &mut Report) -> Result<Site, Failed> {
    let site = report.step("network", || {
        enter()?;
        let site = Site::build()?;
        let detail = "client 192.0.2.100, node1 to node3 at 192.0.2.1 to .3; IPv6 in 2001:db8::/64";
        Ok((site, detail.into()))
    })?;
    let shown = show_in(report, &site);
    match shown {
        Ok(()) => Ok(site),
        Err(Failed) => {
            // Beside the JSON, where there is one.
            eprintln!("\nwhat the processes said last:\n\n{}", site.logs());
            Err(Failed)
        }
    }
}

fn show_in(report: &mut Report, site: &Site) -> Result<(), Failed> {
    report.step("nodes", || {
        site.start()
            .context("ironlb does not start (see the requirements in README.md)")?;
        Ok((
            (),
            "a backend on each, and ironlb standalone --forward nftables".into(),
        ))
    })?;
    let (four, six) = report.step("address", || {
        site.write("pool.yaml", site::POOL)?;
        site.serve_from(&site.nodes.iter().collect::<Vec<_>>())?;
        site.write("service.yaml", site::SERVICE)?;
        let (four, six) = site.addresses()?;
        Ok((
            (four, six),
            format!("applied a pool and the Service web; it has {four} and {six}"),
        ))
    })?;
    report.step("IPv4", || reach(site, four))?;
    report.step("IPv6", || reach(site, six))?;
    report.step("share", || share(site, four))?;
    report.step("failover", || fail_over(site, four))?;
    report.step("IPv6 again", || reach(site, six))
}

/// Gets the page, and says who answered for the address and who made the page.
fn reach(site: &Site, address: IpAddr) -> Result<((), String)> {
    let server = SocketAddr::new(address, 80);
    let what = format!("http://{server}/ is answered");
    let answer = eventually_ok(&what, LIMIT, || site.client.tcp_get(server))?;
    let owner = site.owner(address)?;
    let protocol = if address.is_ipv4() { "ARP" } else { "NDP" };
    let detail = format!(
        "GET http://{server}/: \"{}\"; {} ({}) answered {protocol} for {address}",
        answer.backend,
        owner.name,
        owner.cable.mac()
    );
    Ok(((), detail))
}

/// Which backends answer.
fn share(site: &Site, address: IpAddr) -> Result<((), String)> {
    let server = SocketAddr::new(address, 80);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..REQUESTS {
        *answers
            .entry(site.client.tcp_get(server)?.backend)
            .or_default() += 1;
    }
    if answers.len() != site.nodes.len() {
        bail!(
            "of {} backends only these answered: {answers:?}",
            site.nodes.len()
        );
    }
    let shares: Vec<String> = answers
        .iter()
        .map(|(backend, count)| format!("{backend} {count}"))
        .collect();
    Ok((
        (),
        format!("{REQUESTS} requests, answered by {}", shares.join(", ")),
    ))
}

/// Takes the announcing node away under a client that asks a hundred times a second.
fn fail_over(site: &Site, address: IpAddr) -> Result<((), String)> {
    let lost = site.owner(address)?;
    let server = SocketAddr::new(address, 80);
    let (heir, watch) = Watch::during(&site.client, server, || {
        lost.cable.unplug()?;
        // What a cluster does once it has noticed: no Node, no endpoints of it.
        site.remove(&lost.file())?;
        let left: Vec<&Node> = site
            .nodes
            .iter()
            .filter(|it| it.number != lost.number)
            .collect();
        site.serve_from(&left)?;
        // The client is told by whoever takes over; asking anew on its behalf would be cheating.
        let heir = eventually_ok("the client knows another node", LIMIT, || {
            match site.known_owner(address)? {
                Some(node) if node.number != lost.number => Ok(node),
                _ => Err(anyhow::anyhow!("not yet")),
            }
        })?;
        Ok(heir)
    })?;
    let outage = watch.outage()?;
    let milliseconds = outage.duration.as_millis();
    let detail = format!(
        "pulled the cable of {} and removed its Node: {} took over\n\
         the client was without service for {milliseconds} ms ({} of {} requests failed)\n\
         the demo removes the Node by itself; noticing that a node is dead is the cluster's part and comes on top",
        lost.name,
        heir.name,
        outage.failed,
        watch.len()
    );
    Ok(((), detail))
}

fn enter() -> Result<()> {
    Lab::enter().context(
        "network namespaces are not allowed here\n\
         run it as root; or allow user namespaces, by one of these as root:\n\
         sysctl kernel.unprivileged_userns_clone=1               (Debian)\n\
         sysctl kernel.apparmor_restrict_unprivileged_userns=0   (Ubuntu)\n\
         sysctl user.max_user_namespaces=10000                   (elsewhere)\n\
         the system's reason",
    )
}

/// Leaves all as it is until Enter, or until the process is told to end.
fn keep(report: &Report, site: Site) {
    report.say("\nEverything runs on. To look inside, from another terminal:\n");
    for (name, host) in site
        .nodes
        .iter()
        .map(|node| (&*node.name, &node.host))
        .chain([("client", &site.client)])
    {
        report.say(&format!("  {name}:  {} COMMAND", host.shell_prefix()));
    }
    let is_asked = io::stdin().is_terminal();
    let end = match is_asked {
        true => "Press Enter to clean up.".to_owned(),
        false => format!("`kill {}` cleans up.", std::process::id()),
    };
    report.say(&format!(
        "\nsuch as `nft list table inet ironlb` on a node, or `ip neigh` on the client. The manifests are in\n  {}\n\
         Edit them and see. {end}",
        site.manifests().display()
    ));
    if !is_asked || io::stdin().read_line(&mut String::new()).is_err() {
        site.stay();
    }
}

fn serve(name: &str, addresses: &[String]) -> Result<()> {
    let parse = |text: &String| text.parse::<SocketAddr>().with_context(|| text.clone());
    let addresses = addresses.iter().map(parse).collect::<Result<Vec<_>>>()?;
    Ok(backend::serve(name, &addresses)?)
}

const REQUESTS: usize = 60;
