//! The examination of a cluster at rest: what must be true once nothing has changed for a while.
//!
//! Addresses are judged by [`crate::allocation`], announcements by [`crate::announcement`] and by asking for every
//! address on every segment with real frames.

mod routes;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::config::Election;
use ironlb_model::{Family, Mac, Name, Service};

use crate::allocation::{self, Holders, addresses};
use crate::announcement::{self, Flags, announcing_links};
use crate::cluster::{Cluster, Common, Counts, Violation, examiner};
use crate::draw;
use crate::lan::machine_of;
use crate::watch::Seen;

/// Looks at everything.
pub fn examine(cluster: &mut Cluster) -> Result<(), Violation> {
    let views = Views::of(cluster);
    examine_addresses(cluster, &views.leader);
    let answers = ask_for_everything(cluster)?;
    examine_answers(cluster, &views, &answers);
    examine_reports(cluster, &answers);
    examine_clients(cluster, &answers);
    for (machine, world) in views.speakers.iter().enumerate() {
        routes::examine(cluster, world, machine);
    }
    cluster.violation().cloned().map_or(Ok(()), Err)
}

/// Who answered for an address, and where: the machines by segment, with the Ethernet addresses that they gave.
type Answers = BTreeMap<IpAddr, BTreeMap<usize, Vec<Mac>>>;

/// The API server's store, as those see it who have seen all of it. Of what cannot be read each knows what it read last.
struct Views {
    /// The controller that leads.
    leader: Seen,
    /// The speakers, by machine.
    speakers: Vec<Seen>,
    /// Whether something cannot be read.
    in_error: bool,
}

impl Views {
    fn of(cluster: &Cluster) -> Self {
        let mut world = Seen::default();
        for object in cluster.api.objects() {
            world.apply(object);
        }
        let view = |common: Option<&Common>| {
            let own = common.and_then(|common| common.informer.seen.config.clone());
            let config = own.or_else(|| world.config.clone());
            Seen {
                config,
                ..world.clone()
            }
        };
        let controllers = cluster.controllers.iter().map(|host| &host.common);
        let leader = controllers.into_iter().find(|common| common.alive);
        Self {
            leader: view(leader),
            speakers: cluster
                .speakers
                .iter()
                .map(|host| view(Some(&host.common).filter(|common| common.alive)))
                .collect(),
            in_error: !cluster.api.written().errors.is_empty(),
        }
    }

    /// Whether an address is, for a speaker, of a pool that it could never read.
    fn cannot_read(&self, flags: &Flags, ip: IpAddr) -> bool {
        self.speakers.iter().any(|seen| {
            let rules = announcement::Rules::of(seen, flags);
            let mut pools = rules.holders(ip).filter_map(|one| rules.pool_of(one, ip));
            let config = seen.config.as_ref();
            pools.any(|pool| config.is_some_and(|config| config.pools_in_error.has(pool.name)))
        })
    }

    /// Whether all speakers know the same of an address: where they do not, each elects by what it read last.
    fn agree_on(&self, flags: &Flags, ip: IpAddr) -> bool {
        let known = |seen: &Seen| {
            let rules = announcement::Rules::of(seen, flags);
            let of_service = |service: &Service| {
                let pool = rules.pool_of(service, ip)?;
                let advertisements = rules.advertisements(pool, service);
                Some((
                    pool.name.clone(),
                    advertisements.cloned().collect::<Vec<_>>(),
                ))
            };
            rules.holders(ip).map(of_service).collect::<Vec<_>>()
        };
        let mut all = self.speakers.iter().map(known);
        let Some(first) = all.next().filter(|_| self.in_error) else {
            return true;
        };
        first.iter().all(Option::is_some) && all.all(|other| other == first)
    }
}

fn examine_addresses(cluster: &mut Cluster, world: &Seen) {
    let class = cluster.profile.flags.class.clone();
    let class = class.as_deref();
    let Some(rules) = allocation::Rules::of(world, class) else {
        return;
    };
    let holders = Holders::of(world.services.values(), class);
    for service in world
        .services
        .values()
        .filter(|service| service.is_ours(class))
    {
        let held = addresses(service);
        let found = match held.as_slice() {
            [] if rules.could_have(service, &holders) => {
                Some("it could have an address and has none".to_owned())
            }
            [] => None,
            [_] if rules.could_have_second(service, &holders) => {
                Some("it could have a second address".to_owned())
            }
            _ => rules.permit(service, &held).err(),
        };
        let rival = held.iter().find_map(|ip| holders.rival(*ip, service));
        let found = found.or_else(|| rival.map(|rival| format!("{rival} has its address too")));
        if let Some(reason) = found {
            let detail = format!("{} holds {held:?}: {reason}; {service:?}", service.key);
            cluster.violated(
                "at rest, who can have an address has one, and nobody another's",
                detail,
            );
        }
        if held.is_empty() && service.allocated_from.is_some() {
            let detail = format!("{}: {:?}", service.key, service.allocated_from);
            cluster.violated("without an address there is no pool annotation", detail);
        }
    }
    for service in world.services.values() {
        let of_our_class = service.class.as_deref() == class;
        if of_our_class && !service.is_load_balancer && !service.ingress.is_empty() {
            let detail = format!("{service:?}");
            cluster.violated("who is no LoadBalancer has no address", detail);
        }
    }
    cluster.counts.shared += holders
        .iter()
        .filter(|(_, services)| services.len() > 1)
        .count() as u64;
}

fn ask_for_everything(cluster: &mut Cluster) -> Result<Answers, Violation> {
    cluster.heard.clear();
    let ips = draw::universe();
    cluster.examine(&ips);
    cluster.run_for(Duration::from_millis(100))?;
    let own = examiner().mac;
    let mut answers = Answers::new();
    for (segment, claim) in std::mem::take(&mut cluster.heard) {
        if claim.to == own && !claim.gratuitous {
            answers
                .entry(claim.ip)
                .or_default()
                .entry(segment)
                .or_default()
                .push(claim.at);
        }
    }
    Ok(answers)
}

fn examine_answers(cluster: &mut Cluster, views: &Views, answers: &Answers) {
    let Some(world) = views.speakers.first() else {
        return;
    };
    let flags = cluster.profile.flags.clone();
    let rules = announcement::Rules::of(world, &flags);
    let mut owners = BTreeMap::new();
    for ip in draw::universe() {
        if !views.agree_on(&flags, ip) {
            cluster.counts.unknown += 1;
            continue;
        }
        let none = BTreeMap::new();
        let heard = answers.get(&ip).unwrap_or(&none);
        match judge_answers(cluster, &rules, ip, heard) {
            Ok(Some(owner)) => {
                cluster.counts.answered += 1;
                cluster.counts.in_error += u64::from(views.cannot_read(&flags, ip));
                owners.insert(ip, owner);
            }
            Ok(None) => {}
            Err(reason) => {
                let detail = format!("{ip} was answered by {heard:?}: {reason}");
                cluster.violated(
                    "at rest, an address is answered by the one node that should",
                    detail,
                );
            }
        }
    }
    for service in world.services.values() {
        examine_compat(cluster, &rules, service, &owners);
    }
}

/// Whether those that answered for an address are those that should. Gives the one that did.
fn judge_answers(
    cluster: &Cluster,
    rules: &announcement::Rules<'_>,
    ip: IpAddr,
    heard: &BTreeMap<usize, Vec<Mac>>,
) -> Result<Option<usize>, String> {
    let holders: Vec<&Service> = rules.holders(ip).collect();
    let answering: BTreeSet<usize> = heard
        .values()
        .flatten()
        .copied()
        .filter_map(machine_of)
        .collect();
    let allowed = allowed(rules, &holders, ip);
    let name = |machine: &usize| {
        cluster
            .machines
            .get(*machine)
            .map(|machine| machine.name.clone())
    };
    let names: BTreeSet<Name> = answering.iter().filter_map(name).collect();
    if names.is_empty() {
        return match allowed
            .iter()
            .find(|node| reach(cluster, rules, &holders, node, ip).is_empty())
        {
            None if !allowed.is_empty() => Err(format!("one of {allowed:?} should")),
            _ => Ok(None),
        };
    }
    let (Some(owner), Some(machine), 1) = (names.first(), answering.first(), names.len()) else {
        return Err(format!("one of {allowed:?} should, and nobody else"));
    };
    if !allowed.contains(owner) {
        return Err(format!("only {allowed:?} may"));
    }
    let expected = reach(cluster, rules, &holders, owner, ip);
    let got: BTreeMap<usize, Vec<Mac>> = heard.clone();
    if got != expected {
        return Err(format!("{owner} should have answered as {expected:?}"));
    }
    if let [service] = holders.as_slice() {
        let preference = |node: &Name| rules.preference(node, service, ip);
        if allowed
            .iter()
            .any(|node| preference(node) > preference(owner))
        {
            return Err(format!(
                "{allowed:?} has a node that is preferred to {owner}"
            ));
        }
    }
    Ok(Some(*machine))
}

/// The nodes one of which is to answer for an address: those that may for its oldest Service and, of these, for each
/// younger one that has any of them.
fn allowed(rules: &announcement::Rules<'_>, holders: &[&Service], ip: IpAddr) -> BTreeSet<Name> {
    let mut by_age = holders.to_vec();
    by_age.sort_by_key(|service| (service.created, &service.key));
    let mut allowed = BTreeSet::new();
    for service in by_age {
        let nodes = rules.candidates(service, ip);
        let common: BTreeSet<Name> = allowed.intersection(&nodes).cloned().collect();
        if allowed.is_empty() {
            allowed = nodes;
        } else if !common.is_empty() {
            allowed = common;
        }
    }
    allowed
}

/// Where a node is heard when it answers for an address, and with which Ethernet address.
fn reach(
    cluster: &Cluster,
    rules: &announcement::Rules<'_>,
    holders: &[&Service],
    node: &str,
    ip: IpAddr,
) -> BTreeMap<usize, Vec<Mac>> {
    let mut heard: BTreeMap<usize, Vec<Mac>> = BTreeMap::new();
    let Some(machine) = cluster
        .machines
        .iter()
        .find(|machine| *machine.name == *node)
    else {
        return heard;
    };
    let serving = holders
        .iter()
        .filter(|service| rules.permit(node, service, ip, false).is_ok());
    let mut links = BTreeMap::new();
    for service in serving {
        let names = rules.interfaces(node, service, ip);
        for link in announcing_links(&machine.links, names.as_ref(), Family::of(ip)) {
            links.insert(link.index, link.mac);
        }
    }
    for (index, mac) in links {
        if let (Some(segment), Some(mac)) = (machine.segment(index), mac) {
            heard.entry(segment).or_default().push(mac);
        }
    }
    heard
}

fn is_compat(rules: &announcement::Rules<'_>, service: &Service, ip: IpAddr) -> bool {
    rules.pool_of(service, ip).is_some_and(|pool| {
        let mut advertisements = rules.advertisements(pool, service);
        advertisements.any(|advertisement| advertisement.election == Election::MetallbCompat)
    })
}

/// Under MetalLB's election one node has all addresses of a Service.
fn examine_compat(
    cluster: &mut Cluster,
    rules: &announcement::Rules<'_>,
    service: &Service,
    owners: &BTreeMap<IpAddr, usize>,
) {
    let ips = addresses(service);
    let alone = |ip: &IpAddr| rules.holders(*ip).count() == 1;
    let compat = ips
        .iter()
        .all(|ip| alone(ip) && is_compat(rules, service, *ip));
    let owners: BTreeSet<_> = ips.iter().filter_map(|ip| owners.get(ip)).collect();
    if compat && owners.len() > 1 {
        let detail = format!("{} has {ips:?} at {owners:?}", service.key);
        cluster.violated(
            "MetalLB's election gives all addresses of a Service to one node",
            detail,
        );
    }
}

/// What a speaker says it announces, it answers for.
fn examine_reports(cluster: &mut Cluster, answers: &Answers) {
    let mut found = Vec::new();
    for (index, host) in cluster.speakers.iter().enumerate() {
        for service in host.layer2.keys() {
            let ips = cluster
                .api
                .service(service)
                .map(addresses)
                .unwrap_or_default();
            let answered = ips
                .iter()
                .filter_map(|ip| answers.get(ip))
                .flat_map(BTreeMap::values)
                .flatten();
            let unplugged = cluster.machines.get(index).is_some_and(|machine| {
                machine
                    .links
                    .keys()
                    .all(|link| machine.segment(*link).is_none())
            });
            if !unplugged && !answered.copied().any(|mac| machine_of(mac) == Some(index)) {
                found.push(format!(
                    "speaker {index} says that it announces {service} {ips:?}"
                ));
            }
        }
    }
    for detail in found {
        cluster.violated("what a speaker reports is what it does", detail);
    }
}

/// Every client sends where the answers come from.
fn examine_clients(cluster: &mut Cluster, answers: &Answers) {
    let mut found = Vec::new();
    for (number, (segment, client)) in cluster.clients.iter().enumerate() {
        for ip in client.known() {
            let heard = answers.get(&ip).and_then(|heard| heard.get(segment));
            let right = heard.map_or(&[][..], Vec::as_slice);
            let known = client.neighbour(ip).and_then(|neighbour| neighbour.mac);
            if known.is_some_and(|mac| !right.contains(&mac)) {
                found.push(format!(
                    "client {number} sends for {ip} to {known:?}, and {right:?} answers"
                ));
            }
        }
    }
    for detail in found {
        cluster.violated(
            "at rest, every client sends where the answers come from",
            detail,
        );
    }
}

/// Lets time pass, in which nothing may be written or said any more.
pub fn rest(cluster: &mut Cluster, time: Duration) -> Result<(), Violation> {
    let before = cluster.counts;
    cluster.run_for(time)?;
    let after = cluster.counts;
    // Speakers that know different things of an address each find that another host has it.
    let in_error = !cluster.api.written().errors.is_empty();
    let quiet = in_error || after.events == before.events;
    if !quiet || after.writes != before.writes || after.layer2 != before.layer2 {
        let detail = format!("{before:?} became {after:?}");
        cluster.violated("at rest, nothing is written or said", detail);
    }
    let told = |counts: &Counts| (counts.routes, counts.ends_of_rib, counts.endings);
    let changed = |counts: &Counts| (counts.sessions, counts.router_sessions, counts.bfd);
    if told(&before) != told(&after) || changed(&before) != changed(&after) {
        let detail = format!("{before:?} became {after:?}");
        cluster.violated("at rest, routers hear nothing but KEEPALIVEs", detail);
    }
    let keepalives = after.keepalives - before.keepalives;
    if after.wakes - before.wakes > MOST_WAKES + 2 * keepalives {
        let detail = format!("{} wakes in {time:?}", after.wakes - before.wakes);
        cluster.violated("at rest, nobody is woken without need", detail);
    }
    cluster.violation().cloned().map_or(Ok(()), Err)
}

/// A periodic refresh of some addresses by every speaker, and then some.
const MOST_WAKES: u64 = 400;
