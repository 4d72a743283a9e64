//! `ironlb demo`: shows the main job on this machine alone, in network namespaces that are gone afterwards.
//!
//! It needs neither Kubernetes nor any program but this one, and no root where user namespaces are allowed. What runs on the
//! nodes is this very binary as `ironlb standalone`. The router is FRR where that is installed.

mod bgp;
mod client;
mod report;
mod router;
mod site;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ironlb_lab::{Host, Lab, backend, eventually_ok};

use client::Watch;
use report::{Failed, Output, Report};
use router::{Daemon, passive};
use site::{LIMIT, Node, Site};

/// Show what ironlb does, in a network made for it on this machine
///
/// Builds a client, three nodes, a switch and a router of network namespaces, runs ironlb on each node, gives a Service an address,
/// reaches it from the client, and takes the node away that announces it. Then another Service is announced by BGP, reached through
/// the router, and a node is drained. Leaves nothing behind.
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

    /// Be a router: ASN IDENTIFIER NEIGHBOUR...
    #[arg(long, hide = true, num_args = 3.., value_names = ["ASN", "IDENTIFIER", "NEIGHBOUR"])]
    route: Vec<String>,
}

/// Runs the demo; to be called before there is a second thread.
pub(crate) fn run(args: &Args) -> ExitCode {
    let role = match (args.serve.as_slice(), args.route.as_slice()) {
        ([name, addresses @ ..], _) => Some(serve(name, addresses)),
        (_, [asn, identifier, neighbours @ ..]) => Some(route(asn, identifier, neighbours)),
        _ => None,
    };
    match role {
        Some(Ok(())) => return ExitCode::SUCCESS,
        Some(Err(error)) => {
            eprintln!("{error:#}");
            return ExitCode::FAILURE;
        }
        None => {}
    }
    let mut report = Report::new(args.output);
    report.say(
        "ironlb demo: two clients, three nodes, a switch and a router, on this machine alone\n",
    );
    let shown = show(&mut report);
    let is_complete = shown.is_ok();
    if args.keep
        && let Ok((site, daemon)) = shown
    {
        keep(&report, site, &daemon);
    } else if let Ok((site, _)) = shown {
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
fn show(report: &mut Report) -> Result<(Site, Daemon), Failed> {
    let site = report.step("network", || {
        enter()?;
        let site = Site::build()?;
        let detail = "client 192.0.2.100, node1 to node3 at 192.0.2.1 to .3; IPv6 in 2001:db8::/64\n\
                      router 192.0.2.254, with the client remote behind it at 198.51.100.100 and 2001:db8:1::100";
        Ok((site, detail.into()))
    })?;
    let shown = show_in(report, &site).and_then(|()| bgp::show(report, &site));
    match shown {
        Ok(daemon) => Ok((site, daemon)),
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
        site.serve_from("web", &site.nodes.iter().collect::<Vec<_>>())?;
        site.write("service.yaml", site::SERVICE)?;
        let (four, six) = site.addresses("web")?;
        Ok((
            (four, six),
            format!("applied a pool and the Service web; it has {four} and {six}"),
        ))
    })?;
    report.step("IPv4", || reach(site, four))?;
    report.step("IPv6", || reach(site, six))?;
    report.step("share", || {
        let all: Vec<&Node> = site.nodes.iter().collect();
        Ok(((), share(&site.client, four, &all)?))
    })?;
    let lost = report.step("failover", || fail_over(site, four))?;
    report.step("IPv6 again", || reach(site, six))?;
    report.step("repair", || repair(site, lost))
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

/// Asks often, and says how many answers came from the backend of each node: of all these, and of no other.
fn share(client: &Host, address: IpAddr, nodes: &[&Node]) -> Result<String> {
    let server = SocketAddr::new(address, 80);
    let mut answers: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..REQUESTS {
        *answers.entry(client.tcp_get(server)?.backend).or_default() += 1;
    }
    if !answers.keys().eq(nodes.iter().map(|node| &node.name)) {
        let names: Vec<&str> = nodes.iter().map(|node| &*node.name).collect();
        bail!(
            "{} should answer, and these did: {answers:?}",
            names.join(", ")
        );
    }
    let shares: Vec<String> = answers
        .iter()
        .map(|(backend, count)| format!("{backend} {count}"))
        .collect();
    Ok(format!(
        "{REQUESTS} requests, answered by {}",
        shares.join(", ")
    ))
}

/// Takes the announcing node away under a client that asks a hundred times a second.
fn fail_over(site: &Site, address: IpAddr) -> Result<(&Node, String)> {
    let lost = site.owner(address)?;
    let server = SocketAddr::new(address, 80);
    let (heir, watch) = Watch::during(&site.client, server, PATIENCE, || {
        lost.cable.unplug()?;
        // What a cluster does once it has noticed: no Node, no endpoints of it.
        site.remove(&lost.file())?;
        let left: Vec<&Node> = site
            .nodes
            .iter()
            .filter(|it| it.number != lost.number)
            .collect();
        site.serve_from("web", &left)?;
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
    Ok((lost, detail))
}

/// Brings back the node that was taken away.
fn repair(site: &Site, lost: &Node) -> Result<((), String)> {
    lost.cable.plug()?;
    site.write(&lost.file(), &lost.manifest())?;
    site.serve_from("web", &site.nodes.iter().collect::<Vec<_>>())?;
    Ok(((), format!("{} is back", lost.name)))
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
fn keep(report: &Report, site: Site, daemon: &Daemon) {
    report.say("\nEverything runs on. To look inside, from another terminal:\n");
    for (name, host) in site
        .nodes
        .iter()
        .map(|node| (&*node.name, &node.host))
        .chain([&site.client, &site.router, &site.remote].map(|host| (host.name(), host)))
    {
        report.say(&format!("  {name}:  {} COMMAND", host.shell_prefix()));
    }
    let is_asked = io::stdin().is_terminal();
    let end = match is_asked {
        true => "Press Enter to clean up.".to_owned(),
        false => format!("`kill {}` cleans up.", std::process::id()),
    };
    report.say(&format!(
        "\nsuch as `nft list table inet ironlb` on a node, `ip neigh` on the client, `ip route` on the router, and there\n  \
         {}\nThe manifests are in\n  {}\nEdit them and see. {end}",
        daemon.look(),
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

fn route(asn: &str, identifier: &str, neighbours: &[String]) -> Result<()> {
    let asn = asn.parse().with_context(|| asn.to_owned())?;
    let identifier: Ipv4Addr = identifier.parse().with_context(|| identifier.to_owned())?;
    let parse = |text: &String| text.parse::<IpAddr>().with_context(|| text.clone());
    let neighbours = neighbours.iter().map(parse).collect::<Result<Vec<_>>>()?;
    passive::serve(asn, identifier, &neighbours)
}

const REQUESTS: usize = 60;
/// Short, so that an outage is measured well.
const PATIENCE: Duration = Duration::from_millis(100);
