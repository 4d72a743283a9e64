//! Layer 2: exactly one node answers for an address.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::config::{Election, Gratuitous};
use ironlb_model::{L2Advertisement, Name, ServiceKey};

use super::{Announcement, Reason, addressed, available};
use crate::World;
use crate::elect::{self, Candidate};
use crate::node_set::NodeSet;
use crate::world::Record;

/// Who answers for an address of a Service, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned<'w> {
    /// The owner.
    pub node: &'w Name,
    /// The interfaces by name on which this Service is announced; `None` for all.
    pub interfaces: Option<BTreeSet<String>>,
    /// The burst when it begins to answer: the longest and slowest that an advertisement asks for.
    pub gratuitous: Gratuitous,
    /// How often it repeats a gratuitous announcement: as often as any advertisement asks for.
    pub refresh: Option<Duration>,
}

/// An address of a Service, and who answers for it; or why nobody can.
pub type Owner<'w> = (IpAddr, Result<Owned<'w>, Reason>);

/// Who answers for each address of a Service, in the order of its status; or why nobody can.
pub fn layer2<'w>(world: &'w World, service: &ServiceKey) -> Result<Vec<Owner<'w>>, Reason> {
    let record = addressed(world, service)?;
    let of = |ip: &IpAddr| (*ip, owned(world, service, record, *ip));
    Ok(record.ips.iter().map(of).collect())
}

/// The addresses of a Service that `node` answers for, and those that it cannot because of something else than another node. To
/// ask about one node is much less work than to find the owner among many.
pub(crate) fn layer2_of<'w>(
    world: &'w World,
    service: &ServiceKey,
    node: &Name,
) -> Result<Vec<Owner<'w>>, Reason> {
    let record = addressed(world, service)?;
    let Some(position) = world.roster().position(node) else {
        return Ok(Vec::new());
    };
    let by = By::Node(position);
    let of = |ip: &IpAddr| {
        let owned = elected(world, service, record, *ip, by).transpose()?;
        Some((*ip, owned))
    };
    Ok(record.ips.iter().filter_map(of).collect())
}

/// What `node` answers for of a Service; when nothing, why not.
pub fn layer2_on(
    world: &World,
    service: &ServiceKey,
    node: &Name,
) -> Result<Vec<Announcement>, Reason> {
    let record = addressed(world, service)?;
    let mut refusal = None;
    let mut announcements = Vec::new();
    for ip in &record.ips {
        match owned(world, service, record, *ip) {
            Ok(owned) if owned.node == node => announcements.push(Announcement::Layer2 {
                ip: *ip,
                interfaces: owned.interfaces,
            }),
            Ok(owned) => {
                let owner = owned.node.clone();
                refusal.get_or_insert_with(|| {
                    let own = ineligible(world, service, record, *ip, node);
                    own.unwrap_or(Reason::NotOwner { owner })
                });
            }
            Err(reason @ Reason::NoEligibleNode { .. }) => {
                refusal.get_or_insert_with(|| {
                    ineligible(world, service, record, *ip, node).unwrap_or(reason)
                });
            }
            Err(reason) => {
                refusal.get_or_insert(reason);
            }
        }
    }
    match refusal {
        Some(reason) if announcements.is_empty() => Err(reason),
        _ => Ok(announcements),
    }
}

/// What one Service asks for on one address: the advertisements for it, and the nodes that they and it allow.
struct Claim<'w> {
    /// By name, ascending.
    advertisements: Vec<&'w L2Advertisement>,
    /// Never empty.
    nodes: NodeSet,
}

impl<'w> Claim<'w> {
    fn new(
        world: &'w World,
        key: &ServiceKey,
        record: &Record,
        ip: IpAddr,
    ) -> Result<Self, Reason> {
        let pool = world
            .pool_of(record, ip)
            .ok_or(Reason::IpNotAllowed { ip })?;
        let advertisements = advertisements(world, pool, record);
        if advertisements.is_empty() {
            let pool = pool.clone();
            return Err(Reason::NoMatchingAdvertisement { kind: KIND, pool });
        }
        let selective = advertisements.iter().find(|one| !one.services.is_empty());
        if let Some(selective) = selective.filter(|_| record.may_share) {
            let advertisement = selective.name.clone();
            return Err(Reason::SharedIpWithServiceSelector { advertisement });
        }
        if !world.endpoints().any(key) {
            return Err(Reason::NoEndpoints);
        }
        let nodes = candidates(world, key, record, &advertisements);
        match nodes.is_empty() {
            true => Err(Reason::NoEligibleNode { ip }),
            false => Ok(Self {
                advertisements,
                nodes,
            }),
        }
    }

    fn is_compat(&self) -> bool {
        let mut elections = self.advertisements.iter().map(|one| one.election);
        elections.any(|election| election == Election::MetallbCompat)
    }

    /// Takes in a Service that shares the address, unless no node can serve both.
    fn join(&mut self, other: &Self) -> bool {
        let common = self.nodes.common(&other.nodes);
        if common.is_empty() {
            return false;
        }
        self.nodes = common;
        self.advertisements.extend(&other.advertisements);
        self.advertisements.sort_by(|a, b| a.name.cmp(&b.name));
        self.advertisements.dedup_by(|a, b| a.name == b.name);
        true
    }

    fn winner(&self, world: &'w World, election: Election, ip: IpAddr, by: By) -> Option<&'w Name> {
        let roster = world.roster();
        let preferring = |one: &&&L2Advertisement| !one.preferred_nodes.is_empty();
        let preferring: Vec<&&L2Advertisement> =
            self.advertisements.iter().filter(preferring).collect();
        let candidate = |position| {
            let member = roster.member(position)?;
            let preferences = preferring.iter();
            Some(Candidate {
                name: &member.name,
                hash: member.hash,
                preference: preferences
                    .map(|one| roster.preference(&one.name, position))
                    .sum(),
            })
        };
        let candidates = self.nodes.iter().filter_map(candidate);
        match by {
            By::Anybody => elect::owner(election, ip, candidates),
            By::Node(position) => {
                let node = candidate(position).filter(|_| self.nodes.contains(position))?;
                elect::is_owner(election, ip, node, candidates).then_some(node.name)
            }
        }
    }
}

/// Whose election counts.
#[derive(Clone, Copy)]
enum By {
    Anybody,
    /// That of the member at this position: whoever else is elected is nobody.
    Node(usize),
}

fn owned<'w>(
    world: &'w World,
    key: &ServiceKey,
    record: &Record,
    ip: IpAddr,
) -> Result<Owned<'w>, Reason> {
    let elected = elected(world, key, record, ip, By::Anybody)?;
    elected.ok_or(Reason::NoEligibleNode { ip })
}

fn elected<'w>(
    world: &'w World,
    key: &ServiceKey,
    record: &Record,
    ip: IpAddr,
    by: By,
) -> Result<Option<Owned<'w>>, Reason> {
    let own = Claim::new(world, key, record, ip)?;
    let node = match world.sharers(ip) {
        [] | [_] if own.is_compat() => first_decides(world, record, &own, by),
        [] | [_] => own.winner(world, Election::Rendezvous, ip, by),
        sharers => together(world, key, ip, sharers, by)?,
    };
    Ok(node.map(|node| Owned::new(world, node, &own.advertisements)))
}

/// MetalLB's way: the first address of the Service decides for all of them.
fn first_decides<'w>(
    world: &'w World,
    record: &Record,
    claim: &Claim<'w>,
    by: By,
) -> Option<&'w Name> {
    let first = record.ips.first()?;
    claim.winner(world, Election::MetallbCompat, *first, by)
}

/// One owner for all Services that share the address, from the nodes that all of them allow. A Service that would
/// leave no such node stands back for those that are older than it.
///
/// With MetalLB each of them elects for itself, and where their first addresses or their nodes differ, so do the owners.
/// Two speakers of ours would contest the address for ever, so the oldest elects for all, MetalLB's way: its owner is
/// the one that MetalLB has for it, unless that one may not serve another of them.
fn together<'w>(
    world: &'w World,
    key: &ServiceKey,
    ip: IpAddr,
    sharers: &[ServiceKey],
    by: By,
) -> Result<Option<&'w Name>, Reason> {
    let claim = |sharer| Claim::new(world, sharer, world.service(sharer)?, ip).ok();
    let claims = sharers
        .iter()
        .filter_map(|sharer| Some((sharer, claim(sharer)?)));
    let mut claims: Vec<(&ServiceKey, Claim<'w>)> = claims.collect();
    let compat = claims.iter().any(|(_, claim)| claim.is_compat());
    claims.reverse();
    let Some((oldest, mut joint)) = claims.pop() else {
        return Ok(None);
    };
    while let Some((sharer, claim)) = claims.pop() {
        if !joint.join(&claim) && sharer == key {
            let with = oldest.clone();
            return Err(Reason::NoNodeInCommon { ip, with });
        }
    }
    Ok(match world.service(oldest).filter(|_| compat) {
        Some(oldest) => first_decides(world, oldest, &joint, by),
        None => joint.winner(world, Election::Rendezvous, ip, by),
    })
}

impl<'w> Owned<'w> {
    fn new(world: &World, node: &'w Name, advertisements: &[&L2Advertisement]) -> Self {
        let position = world.roster().position(node);
        let here = |one: &&&L2Advertisement| {
            let nodes = world.roster().selected(&one.name);
            nodes
                .zip(position)
                .is_some_and(|(nodes, position)| nodes.contains(position))
        };
        let here: Vec<&L2Advertisement> = advertisements.iter().filter(here).copied().collect();
        let all = here.iter().any(|one| one.interfaces.is_empty());
        let named = || {
            here.iter()
                .flat_map(|one| one.interfaces.iter().cloned())
                .collect()
        };
        let bursts = || here.iter().map(|one| one.gratuitous);
        let default = Gratuitous::default();
        Self {
            node,
            interfaces: (!all).then(named),
            gratuitous: Gratuitous {
                count: bursts()
                    .map(|burst| burst.count)
                    .max()
                    .unwrap_or(default.count),
                interval: bursts()
                    .map(|burst| burst.interval)
                    .max()
                    .unwrap_or(default.interval),
            },
            refresh: here.iter().filter_map(|one| one.refresh).min(),
        }
    }
}

fn advertisements<'w>(world: &'w World, pool: &str, record: &Record) -> Vec<&'w L2Advertisement> {
    let names = world
        .pools()
        .advertised(pool)
        .map_or(&[][..], |by| &by.layer2);
    let all = names
        .iter()
        .filter_map(|name| world.config().l2_advertisements.get(name));
    all.filter(|one| one.selects_service(&record.labels))
        .collect()
}

/// The nodes that may announce the Service: selected by an advertisement, and with an endpoint of their own where
/// the traffic policy wants one.
fn candidates(
    world: &World,
    key: &ServiceKey,
    record: &Record,
    advertisements: &[&L2Advertisement],
) -> NodeSet {
    let roster = world.roster();
    let mut nodes = NodeSet::default();
    for advertisement in advertisements {
        if let Some(selected) = roster.selected(&advertisement.name) {
            nodes.add(selected);
        }
    }
    if !record.local {
        return nodes;
    }
    let with_endpoint = world.endpoints().nodes(key);
    nodes.common(
        &with_endpoint
            .filter_map(|node| roster.position(node))
            .collect(),
    )
}

/// Why `node` is no candidate; `None` when it is one.
fn ineligible(
    world: &World,
    key: &ServiceKey,
    record: &Record,
    ip: IpAddr,
    node: &Name,
) -> Option<Reason> {
    if let Err(reason) = available(world, node) {
        return Some(reason);
    }
    let pool = world.pool_of(record, ip)?;
    let labels = &world.node(node)?.labels;
    let node = node.clone();
    if !advertisements(world, pool, record)
        .iter()
        .any(|one| one.selects_node(labels))
    {
        Some(Reason::NodeNotSelected { kind: KIND, node })
    } else if record.local && !world.endpoints().any_on(key, &node) {
        Some(Reason::NoLocalEndpoints { node })
    } else {
        None
    }
}

const KIND: &str = "L2Advertisement";

#[cfg(test)]
mod tests;
