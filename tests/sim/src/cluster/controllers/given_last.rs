//! Addresses that are given last: those of nodes, and those that cool down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ironlb_model::{Config, Family, Pool, Service, ServiceKey, Time};

use super::super::Cluster;
use super::ControllerHost;
use crate::allocation::{Rules, Wish, addresses, families, requested_pool, usable_addresses, wish};

/// What a controller gave and took back, to judge by what it gives next.
#[derive(Debug, Default)]
pub(super) struct GivenLast {
    /// What each Service had after the last input: by the controller, and by its status.
    had: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    /// What each has, too, where a write that was on its way has happened: it keeps that then, whatever was decided meanwhile.
    sent: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    /// When an address became free, and for how long it cools down where that can be said for sure.
    freed: BTreeMap<IpAddr, (Time, Option<Duration>)>,
    config: Option<Arc<Config>>,
}

/// What is known at one moment.
struct Moment<'a> {
    now: Time,
    host: &'a ControllerHost,
    rules: Rules<'a>,
    /// Who has what.
    have: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    /// What somebody has, or may have.
    taken: BTreeSet<IpAddr>,
    of_nodes: BTreeSet<IpAddr>,
}

impl Cluster {
    /// A controller has just decided: where the choice was its own, it gave an address of a node, or one that cools down, only
    /// when there was no other.
    pub(super) fn check_given_last(&mut self, index: usize) {
        let now = self.now;
        if !self.profile.elected {
            return;
        }
        let class = self.profile.flags.class.as_deref();
        let Some(host) = self.controllers.get(index) else {
            return;
        };
        let seen = &host.common.informer.seen;
        let Some(rules) = Rules::of(seen, class) else {
            return;
        };
        let moment = Moment::of(now, host, rules);
        let ours = seen.services.values().filter(|one| one.is_ours(class));
        let found = ours.filter_map(|service| moment.judge(service)).next();
        let given = moment.given(seen.config.as_ref());
        if let Some(host) = self.controllers.get_mut(index) {
            host.given_last = given;
        }
        if let Some(detail) = found {
            let detail = format!("controller {index}, {detail}");
            self.violated(
                "what a node has, or cools down, is given when nothing else is free",
                detail,
            );
        }
    }
}

impl<'a> Moment<'a> {
    fn of(now: Time, host: &'a ControllerHost, rules: Rules<'a>) -> Self {
        let seen = &host.common.informer.seen;
        let have: BTreeMap<ServiceKey, BTreeSet<IpAddr>> = seen
            .services
            .values()
            .map(|service| {
                let decided = host.machine.address_of(&service.key);
                // What was written since counts from the answer to the write.
                let is_old = host.confirmed.get(&service.key) == Some(&service.resource_version);
                let status = addresses(service).into_iter().filter(|_| !is_old);
                let all = decided.into_iter().chain(status);
                (service.key.clone(), all.collect())
            })
            .collect();
        let under_way = host.under_way.values().flat_map(|write| &write.ips);
        let uncertain = host.uncertain.values().flatten();
        let maybe = under_way.chain(uncertain).copied();
        let statuses = seen.services.values().flat_map(addresses);
        let all = have.values().flatten().copied();
        let taken = all.chain(maybe).chain(statuses).collect();
        let of_nodes = seen.nodes.values().flat_map(|node| &node.addresses);
        Self {
            now,
            host,
            rules,
            of_nodes: of_nodes.copied().collect(),
            have,
            taken,
        }
    }

    /// What is wrong with what a Service was given just now.
    fn judge(&self, service: &Service) -> Option<String> {
        let before = self.host.given_last.had.get(&service.key);
        let got = self.host.machine.address_of(&service.key);
        let sent = self.host.given_last.sent.get(&service.key);
        let had = |ip: &IpAddr| before.into_iter().chain(sent).any(|ips| ips.contains(ip));
        let is_new = |ip: &&IpAddr| !had(ip) && !addresses(service).contains(*ip);
        let shares = service.sharing_key.is_some();
        if shares || wish(service) != Wish::Any || !self.host.common.informer.is_synced() {
            return None;
        }
        let ip = *got
            .iter()
            .filter(is_new)
            .find(|ip| self.is_given_last(**ip))?;
        let pool = self.rules.pool_of(ip)?;
        let mut other = self.free(pool, Family::of(ip)).next();
        let had_none = before.is_none_or(BTreeSet::is_empty) && addresses(service).is_empty();
        if had_none && requested_pool(service).is_none() {
            other = other.or_else(|| self.elsewhere(service, pool, got.len()));
        }
        let other = other?;
        let freed = self.host.given_last.freed.get(&ip);
        Some(format!(
            "{} gets {ip}, and {other} is free; a node has it {}, or freed {freed:?}",
            service.key,
            self.of_nodes.contains(&ip)
        ))
    }

    /// Whether an address is, without doubt, one that is given last.
    fn is_given_last(&self, ip: IpAddr) -> bool {
        let freed = self.host.given_last.freed.get(&ip);
        let cools = freed.is_some_and(|(at, time)| time.is_some_and(|time| *at + time > self.now));
        cools || self.of_nodes.contains(&ip)
    }

    /// The addresses of a pool that, without doubt, could be given first.
    fn free(&self, pool: &Pool, family: Family) -> impl Iterator<Item = IpAddr> {
        let before = &self.host.given_last;
        let cold = |ip: &IpAddr| {
            let freed = before.freed.get(ip);
            let cold = freed.is_none_or(|(at, _)| self.now.since(*at) > LONGEST);
            cold && !before.had.values().any(|had| had.contains(ip))
        };
        usable_addresses(pool).filter(move |ip| {
            let usable = Family::of(*ip) == family && !self.taken.contains(ip);
            usable && !self.of_nodes.contains(ip) && cold(ip)
        })
    }

    /// An address of another pool of the same kind, where there are as many as the Service got.
    fn elsewhere(&self, service: &Service, got_from: &Pool, count: usize) -> Option<IpAddr> {
        let rank = |pool: &Pool| pool.allocation.as_ref().map(|one| one.priority);
        let pools = self.rules.pools().filter(|pool| {
            let open = pool.auto_assign && got_from.auto_assign;
            open && rank(pool) == rank(got_from) && self.rules.serves(pool, service)
        });
        let wanted = families(service);
        let mut found = pools.filter_map(|pool| {
            let free = wanted.iter();
            let free: Vec<IpAddr> = free
                .filter_map(|family| self.free(pool, *family).next())
                .collect();
            free.first().copied().filter(|_| free.len() >= count)
        });
        found.next()
    }

    /// What is to be known at the next decision.
    fn given(self, config: Option<&Arc<Config>>) -> GivenLast {
        let before = &self.host.given_last;
        let mut freed = before.freed.clone();
        let free = |ip: &IpAddr| !self.have.values().any(|all| all.contains(ip));
        freed.retain(|ip, _| free(ip));
        for ip in before.had.values().flatten().filter(|ip| free(ip)) {
            let cool_down = |config: Option<&Arc<Config>>| {
                let mut pools = config?.pools.values();
                let has = |pool: &&Pool| pool.ranges.iter().any(|range| range.contains(*ip));
                pools.find(has).map(|pool| pool.cool_down)
            };
            let time = cool_down(config);
            let sure = time == cool_down(before.config.as_ref()) && !self.taken.contains(ip);
            freed.insert(*ip, (self.now, time.filter(|_| sure)));
        }
        let mut sent = self.host.uncertain.clone();
        // A write that has happened, and was not heard of by way of the Service yet.
        let services = &self.host.common.informer.seen.services;
        for (service, ips) in &before.sent {
            let version = services.get(service).map(|one| &one.resource_version);
            if version.is_some() && version == self.host.confirmed.get(service) {
                sent.entry(service.clone()).or_default().extend(ips);
            }
        }
        for (service, write) in &self.host.under_way {
            sent.entry(service.clone()).or_default().extend(&write.ips);
        }
        GivenLast {
            had: self.have,
            sent,
            freed,
            config: config.cloned(),
        }
    }
}

/// Longer than any pool of a simulation lets its addresses cool down.
const LONGEST: Duration = Duration::from_secs(60);
