//! The second act: a router learns from all nodes at once, by BGP, where a Service is, and one of the nodes is drained.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::client::Watch;
use super::report::{Failed, Report};
use super::router::Daemon;
use super::share;
use super::site::{self, Node, Site};

/// All steps. A failed one ends the act.
pub(super) fn show(report: &mut Report, site: &Site) -> Result<Daemon, Failed> {
    let all: Vec<&Node> = site.nodes.iter().collect();
    let daemon = report.step("router", || {
        let neighbours: Vec<IpAddr> = all.iter().map(|node| node.address()).collect();
        let (daemon, which) = Daemon::start(&site.router, &neighbours)?;
        let detail = format!("AS {} at {}: {which}", site::ROUTER_ASN, site::ROUTER);
        Ok((daemon, detail))
    })?;
    let (four, six) = report.step("BGP", || learn(site, &daemon, &all))?;
    report.step("ECMP", || {
        let shares = [four, six].map(|address| share(&site.remote, address, &all));
        let [four, six] = shares;
        let detail = format!(
            "from the client behind the router:\nIPv4: {}\nIPv6: {}",
            four?, six?
        );
        Ok(((), detail))
    })?;
    report.step("drain", || drain(site, &daemon, four))?;
    report.step("return", || take_back(site, &daemon, four))?;
    Ok(daemon)
}

/// All nodes announce a Service, and the router hears of it.
fn learn(site: &Site, daemon: &Daemon, all: &[&Node]) -> Result<((IpAddr, IpAddr), String)> {
    site.write("routed.yaml", site::ROUTED_POOL)?;
    site.serve_from("api", all)?;
    site.write("api.yaml", site::ROUTED_SERVICE)?;
    let (four, six) = site.addresses("api")?;
    let mut detail =
        "applied a pool, a BGPPeer, a BGPAdvertisement and the Service api; the router's routes:"
            .to_owned();
    for address in [four, six] {
        let next_hops = daemon.wait_for_next_hops(address, all.len())?;
        let next_hops: Vec<String> = next_hops.iter().map(ToString::to_string).collect();
        detail += &format!("\n{address} via {}", next_hops.join(", "));
    }
    Ok(((four, six), detail))
}

/// Takes a node out of service.
fn drain(site: &Site, daemon: &Daemon, address: IpAddr) -> Result<((), String)> {
    let (node, others) = parted(site)?;
    let seen = meanwhile(site, address, || {
        site.write(&node.file(), &node.drained_manifest())?;
        // The route stays for a second, marked as about to go, and is not taken where there is another.
        daemon.wait_for_next_hops(address, others.len())?;
        let share = share(&site.remote, address, &others)?;
        daemon.wait_for_withdrawal(address, node.address())?;
        Ok(share)
    })?;
    let name = &node.name;
    let what = "the router turned to the others, and its routes were withdrawn after that";
    Ok(((), format!("labelled the Node {name}: {what}\n{seen}")))
}

/// Takes the node into service again.
fn take_back(site: &Site, daemon: &Daemon, address: IpAddr) -> Result<((), String)> {
    let (node, _) = parted(site)?;
    let all: Vec<&Node> = site.nodes.iter().collect();
    let seen = meanwhile(site, address, || {
        site.write(&node.file(), &node.manifest())?;
        daemon.wait_for_next_hops(address, all.len())?;
        share(&site.remote, address, &all)
    })?;
    Ok(((), format!("took the label off {}\n{seen}", node.name)))
}

/// Does `work` under a client that asks a hundred times a second, and adds to what it says how many requests were lost.
///
/// A router that has another number of next hops sends many flows another way than before, so one that is under way in that
/// moment may break; none before or after it.
fn meanwhile(
    site: &Site,
    address: IpAddr,
    work: impl FnOnce() -> Result<String>,
) -> Result<String> {
    let server = SocketAddr::new(address, 80);
    let (said, watch) = Watch::during(&site.remote, server, PATIENCE, work)?;
    watch.outage()?;
    let lost = match watch.failed() {
        0 => "none was lost",
        1 => "1 was lost, under way as the router divided the flows anew",
        more => bail!("{more} of {} requests were lost meanwhile", watch.len()),
    };
    Ok(format!(
        "{said}\nof {} requests meanwhile {lost}",
        watch.len()
    ))
}

/// The node that is drained, and the others.
fn parted(site: &Site) -> Result<(&Node, Vec<&Node>)> {
    let (node, others) = site.nodes.split_last().context("there is no node")?;
    Ok((node, others.iter().collect()))
}

/// Long, so that a busy machine loses none.
const PATIENCE: Duration = Duration::from_secs(2);
