//! What must be true of what a speaker owns and of each claim that it sends, given what it has been told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use ironlb_model::{Family, Link, Range, Service, Time};

use super::super::{Cluster, Happening};
use crate::allocation::addresses;
use crate::announcement::{Rules, announcing_links, can_announce};
use crate::frame;

impl Cluster {
    /// Takes down which addresses have a pool before another configuration comes.
    pub(in crate::cluster) fn note_pooled(&mut self, index: usize) {
        let flags = &self.profile.flags;
        let Some(host) = self.speakers.get_mut(index) else {
            return;
        };
        let seen = &host.common.informer.seen;
        let rules = Rules::of(seen, flags);
        for service in seen.services.values() {
            let held = addresses(service).into_iter();
            let pooled = held.filter(|ip| rules.pool_of(service, *ip).is_some());
            host.pooled
                .extend(pooled.filter_map(|ip| Range::new(ip, ip)));
        }
    }

    pub(super) fn owned_by(&self, index: usize) -> BTreeSet<IpAddr> {
        let host = self.speakers.get(index);
        host.into_iter()
            .flat_map(|host| host.owned.keys().copied())
            .collect()
    }

    /// A configuration that takes an address out of every pool changes nothing about who answers for it: that is the
    /// controller's, which moves the Service.
    pub(super) fn check_outlived(&mut self, index: usize, before: &BTreeSet<IpAddr>) {
        let after = self.owned_by(index);
        let Some(host) = self.speakers.get(index) else {
            return;
        };
        if !host.common.informer.is_synced() {
            return;
        }
        let rules = Rules::of(&host.common.informer.seen, &self.profile.flags);
        let outlived = |ip: &&IpAddr| {
            let mut holders = rules.holders(**ip).peekable();
            holders.peek().is_some()
                && holders.all(|service| rules.pool_of(service, **ip).is_none())
        };
        let changed = before.symmetric_difference(&after).find(outlived).copied();
        if let Some(ip) = changed {
            let detail = format!(
                "speaker {index}, {ip}, answered before: {}",
                before.contains(&ip)
            );
            self.violated("an address that loses its pool stays where it is", detail);
        }
    }

    /// Takes down what a speaker owns now, and whether it may.
    pub(super) fn follow_ownership(&mut self, index: usize) {
        let now = self.now;
        let (Some(machine), Some(host)) = (self.machines.get(index), self.speakers.get_mut(index))
        else {
            return;
        };
        let seen = &host.common.informer.seen;
        let rules = Rules::of(seen, &self.profile.flags);
        let mut wrong = None;
        for (key, ip) in host.machine.announced() {
            let service = seen.services.get(key).ok_or("the Service is gone");
            let kept = host.had_a_pool(ip);
            let verdict =
                service.and_then(|service| rules.permit(&machine.name, service, ip, kept));
            wrong = wrong.or_else(|| verdict.err().map(|reason| (key.clone(), ip, reason)));
        }
        let owned: BTreeSet<_> = host.machine.announced().map(|(_, ip)| ip).collect();
        host.owned.retain(|ip, _| owned.contains(ip));
        let life = host.common.life;
        for ip in owned {
            if host.owned.contains_key(&ip) {
                continue;
            }
            host.owned.insert(ip, now);
            let happening = Happening::TakenOver {
                machine: index,
                life,
                since: now,
                ip,
                links: announced_on(&rules, &machine.name, ip, &host.links),
            };
            self.schedule.add(now + BURST, happening);
        }
        if let Some((key, ip, reason)) = wrong {
            let detail = format!("speaker {index} owns {ip} of {key}: {reason}");
            self.violated(
                "nothing is announced but what is the node's to announce",
                detail,
            );
        }
    }

    /// The burst of a takeover is over: no client may still believe what it knew before. (Where frames are lost, or
    /// the node's links changed meanwhile, it may.)
    pub(in crate::cluster) fn check_takeover(
        &mut self,
        index: usize,
        life: u64,
        since: Time,
        ip: IpAddr,
        links: &BTreeSet<u32>,
    ) {
        let (Some(machine), Some(host)) = (self.machines.get(index), self.speakers.get(index))
        else {
            return;
        };
        let stays =
            host.common.alive && host.common.life == life && host.owned.get(&ip) == Some(&since);
        if !stays || self.profile.loss > 0 || host.links_changed > since {
            return;
        }
        let rules = Rules::of(&host.common.informer.seen, &self.profile.flags);
        let mut stale = Vec::new();
        for link in announced_on(&rules, &machine.name, ip, &host.links).intersection(links) {
            let mac = host.links.get(link).and_then(|link| link.mac);
            let segment = machine.segment(*link);
            let clients = self.clients.iter().filter(|(at, _)| Some(*at) == segment);
            let known = clients.filter_map(|(_, client)| client.neighbour(ip));
            let old = known.filter(|known| known.updated < since);
            stale.extend(
                old.filter(|known| known.mac.is_some() && known.mac != mac)
                    .copied(),
            );
        }
        if !stale.is_empty() {
            let detail = format!("speaker {index} has {ip} since {since}; {stale:?}");
            self.violated("a takeover reaches every client", detail);
        }
    }

    /// Whether a claim is right, given what the speaker has been told.
    pub(super) fn judge_claim(
        &self,
        index: usize,
        interface: u32,
        claim: &frame::Claim,
    ) -> Result<(), String> {
        let (Some(machine), Some(host)) = (self.machines.get(index), self.speakers.get(index))
        else {
            return Ok(());
        };
        if !host.common.informer.is_synced() {
            return Err("not everything was read yet".to_owned());
        }
        let link = host
            .links
            .get(&interface)
            .ok_or("it has not been told of the interface")?;
        if Some(claim.at) != link.mac || claim.from != claim.at {
            return Err(format!(
                "the interface has {:?}, the frame says {} from {}",
                link.mac, claim.at, claim.from
            ));
        }
        if !can_announce(link, Family::of(claim.ip)) {
            return Err(format!("{} is not an interface to announce on", link.name));
        }
        let rules = Rules::of(&host.common.informer.seen, &self.profile.flags);
        if host.machine.announced().all(|(_, ip)| ip != claim.ip) {
            return Err("it does not own it".to_owned());
        }
        let kept = host.had_a_pool(claim.ip);
        let mut reason = "no Service holds the address".to_owned();
        for service in rules.holders(claim.ip) {
            match rules.permit(&machine.name, service, claim.ip, kept) {
                Err(why) => reason = format!("{}: {why}", service.key),
                Ok(()) => match rules.interfaces(&machine.name, service, claim.ip) {
                    Some(names)
                        if !names.contains(&link.name)
                            && rules.pool_of(service, claim.ip).is_some() =>
                    {
                        reason = format!("{}: not on {}", service.key, link.name);
                    }
                    _ => return Ok(()),
                },
            }
        }
        Err(reason)
    }
}

/// The links on which a node announces an address for any of its Services.
fn announced_on(
    rules: &Rules<'_>,
    node: &str,
    ip: IpAddr,
    links: &BTreeMap<u32, Link>,
) -> BTreeSet<u32> {
    let mut indexes = BTreeSet::new();
    // Where the pool has gone, what counts are its former advertisements; and not for every Service that shares an address
    // may every node announce it.
    let announced = |service: &&Service| {
        rules.pool_of(service, ip).is_some() && rules.permit(node, service, ip, false).is_ok()
    };
    for service in rules.holders(ip).filter(announced) {
        let names = rules.interfaces(node, service, ip);
        let carrying = announcing_links(links, names.as_ref(), Family::of(ip));
        indexes.extend(carrying.map(|link| link.index));
    }
    indexes
}

/// When the usual burst of five, 1.1 s apart, is over for sure.
const BURST: Duration = Duration::from_secs(6);
