//! The allocator as one would explain it: lists, looked through from the beginning every time.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ironlb_controller_core::{Count, Families, Refusal, Usage};
use ironlb_model::addr::{address, number};
use ironlb_model::config::OnRemoval;
use ironlb_model::{Family, Labels, Name, Pool, Service, ServiceKey, Time};

use crate::world::{Pools, may_share};

#[derive(Clone, Debug, Default)]
pub(crate) struct Slow {
    pub(crate) pools: Pools,
    pub(crate) namespace_labels: Vec<(String, Labels)>,
    pub(crate) held: Vec<Held>,
    pub(crate) published: Vec<(ServiceKey, IpAddr)>,
    pub(crate) nodes: Vec<(Name, Vec<IpAddr>)>,
    pub(crate) now: Time,
    /// Addresses that were in use when it was noted last.
    used: BTreeSet<IpAddr>,
    /// Addresses that cool down, and until when.
    cooling: Vec<(IpAddr, Time)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) service: Service,
    pub(crate) pool: String,
    pub(crate) addresses: Vec<IpAddr>,
}

pub(crate) type Answer = Result<(String, Vec<IpAddr>), &'static str>;

/// A word for what speaks against a request.
pub(crate) fn word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::NoPools => "no pools",
        Refusal::OtherFamily { .. } => "family",
        Refusal::OutsidePools(_) => "outside",
        Refusal::TwoPools { .. } => "two pools",
        Refusal::Buggy { .. } => "buggy",
        Refusal::UnknownPool { .. } => "unknown",
        Refusal::Fenced { .. } => "fenced",
        Refusal::OtherPool { .. } => "other pool",
        Refusal::NoFamily { .. } => "no family",
        Refusal::Full { .. } => "full",
        Refusal::Exhausted { .. } => "exhausted",
        Refusal::NoPoolForIt => "none for it",
        Refusal::Taken { .. } => "taken",
        _ => "terms",
    }
}

impl Slow {
    pub(crate) fn get(&self, key: &ServiceKey) -> Option<&Held> {
        self.held.iter().find(|held| held.service.key == *key)
    }

    pub(crate) fn release(&mut self, key: &ServiceKey) {
        self.held.retain(|held| held.service.key != *key);
        self.note();
    }

    pub(crate) fn publish(&mut self, key: &ServiceKey, address: IpAddr) {
        self.published.push((key.clone(), address));
        self.note();
    }

    pub(crate) fn unpublish(&mut self, n: usize) -> (ServiceKey, IpAddr) {
        let removed = self.published.remove(n);
        self.note();
        removed
    }

    /// Notes what has come into use and what has been freed.
    fn note(&mut self) {
        let held = self.held.iter().flat_map(|held| held.addresses.clone());
        let published = self.published.iter().map(|(_, ip)| *ip);
        let used: BTreeSet<IpAddr> = held.chain(published).collect();
        self.cooling.retain(|(ip, _)| !used.contains(ip));
        for freed in self.used.difference(&used) {
            let cool_down = self.pool_of(*freed).map(|pool| pool.cool_down);
            if let Some(cool_down) = cool_down.filter(|cool_down| !cool_down.is_zero()) {
                self.cooling.push((*freed, self.now + cool_down));
            }
        }
        self.used = used;
    }

    /// Whether an address is to be given only when no other is free.
    fn is_last(&self, ip: IpAddr) -> bool {
        let of_node = self.nodes.iter().any(|(_, ips)| ips.contains(&ip));
        let cools = |(cooling, end): &(IpAddr, Time)| *cooling == ip && *end > self.now;
        of_node || self.cooling.iter().any(cools)
    }

    pub(crate) fn hold(&mut self, service: &Service, answer: &Answer) {
        if let Ok((pool, addresses)) = answer {
            self.held.retain(|held| held.service.key != service.key);
            let mut addresses = addresses.clone();
            addresses.sort();
            self.held.push(Held {
                service: service.clone(),
                pool: pool.clone(),
                addresses,
            });
            self.note();
        }
    }

    pub(crate) fn allocate(
        &self,
        service: &Service,
        families: Families,
        wish: &[IpAddr],
    ) -> Answer {
        if self.pools.is_empty() {
            return Err("no pools");
        }
        let asked = service.requested_pool.as_deref();
        if !wish.is_empty() {
            let dual = wish.len() == 2 && Family::of(wish[0]) != Family::of(wish[1]);
            let fits = match families {
                Families::One(family) => wish.len() == 1 && Family::of(wish[0]) == family,
                _ => dual,
            };
            if !fits {
                return Err("family");
            }
            let answer = self.exactly(service, wish, None, &[])?;
            return match asked {
                Some(asked) if asked != answer.0 => Err("other pool"),
                _ => Ok(answer),
            };
        }
        let attempts: Vec<Vec<Family>> = match families {
            Families::One(family) => vec![vec![family]],
            Families::Both => vec![Family::ALL.to_vec()],
            Families::PreferBoth(first) => {
                vec![Family::ALL.to_vec(), vec![first], vec![first.other()]]
            }
        };
        if let Some(asked) = asked {
            return self.in_pool(service, families, &attempts, asked);
        }
        let mut pinned: Vec<&Pool> = self
            .pools
            .values()
            .filter(|pool| pool.auto_assign && pool.allocation.is_some())
            .filter(|pool| self.lets_in(pool, service))
            .collect();
        pinned.sort_by_key(|pool| {
            let priority = pool.allocation.as_ref().unwrap().priority;
            (
                if priority == 0 { u32::MAX } else { priority },
                pool.name.clone(),
            )
        });
        let open = self.pools.values();
        let open: Vec<&Pool> = open
            .filter(|pool| pool.auto_assign && pool.allocation.is_none())
            .collect();
        let find = |last: bool| {
            for tier in [&pinned, &open] {
                for families in &attempts {
                    for shared_only in [true, false] {
                        for pool in tier {
                            let found = self.pick(service, pool, families, shared_only, last);
                            if let Some(found) = found {
                                return Some((pool.name.to_string(), found));
                            }
                        }
                    }
                }
            }
            None
        };
        // What is given last is given only where that makes for more addresses.
        let count =
            |found: &Option<(String, Vec<IpAddr>)>| found.iter().flat_map(|it| &it.1).count();
        let (first, all) = (find(false), find(true));
        let best = if count(&all) > count(&first) {
            all
        } else {
            first
        };
        best.ok_or(if pinned.is_empty() && open.is_empty() {
            "none for it"
        } else {
            "exhausted"
        })
    }

    fn in_pool(
        &self,
        service: &Service,
        families: Families,
        attempts: &[Vec<Family>],
        asked: &str,
    ) -> Answer {
        let pool = self.pools.get(asked).ok_or("unknown")?;
        if !self.lets_in(pool, service) {
            return Err("fenced");
        }
        for families in attempts {
            if let Some(found) = self.pick(service, pool, families, false, true) {
                return Ok((asked.to_owned(), found));
            }
        }
        let has = |family: Family| self.usable(pool, family).next().is_some();
        let needed: &[Family] = match families {
            Families::One(family) => &[family],
            _ => &Family::ALL,
        };
        let complete = match families {
            Families::PreferBoth(_) => needed.iter().any(|family| has(*family)),
            _ => needed.iter().all(|family| has(*family)),
        };
        Err(if complete { "full" } else { "no family" })
    }

    pub(crate) fn exactly(
        &self,
        service: &Service,
        wish: &[IpAddr],
        last_pool: Option<&str>,
        status: &[IpAddr],
    ) -> Answer {
        let hold = last_pool
            .and_then(|name| self.pools.get(name))
            .filter(|pool| pool.on_removal == OnRemoval::Hold);
        let pool_of = |ip: &IpAddr| self.pool_of(*ip).or(hold).ok_or("outside");
        let pools: Vec<&Pool> = wish.iter().map(pool_of).collect::<Result<_, _>>()?;
        let pool = pools[0];
        if pools.iter().any(|other| other.name != pool.name) {
            return Err("two pools");
        }
        if !self.lets_in(pool, service) {
            return Err("fenced");
        }
        let held_here = hold.is_some_and(|hold| hold.name == pool.name);
        for ip in wish {
            if is_left_out(pool, *ip) && !held_here {
                return Err("buggy");
            }
            if !self.may_have(service, *ip, status) {
                return Err("taken");
            }
        }
        Ok((pool.name.to_string(), wish.to_vec()))
    }

    /// An address of the other family for one that has `one` of `pool`.
    pub(crate) fn second(&self, service: &Service, pool: &str, one: IpAddr) -> Option<IpAddr> {
        let pool = self.pools.get(pool)?;
        let missing = [Family::of(one).other()];
        let found = self.pick(service, pool, &missing, false, true)?;
        found.first().copied()
    }

    fn pick(
        &self,
        service: &Service,
        pool: &Pool,
        families: &[Family],
        shared_only: bool,
        last: bool,
    ) -> Option<Vec<IpAddr>> {
        let mut any_shared = false;
        let mut found = Vec::new();
        for family in families {
            let shared = self.shared(service, pool, *family);
            any_shared |= shared.is_some();
            let mut free: Vec<IpAddr> = self.usable(pool, *family).collect();
            free.retain(|ip| self.is_free(*ip) && (last || !self.is_last(*ip)));
            free.sort_by_key(|ip| self.is_last(*ip));
            found.push(shared.or_else(|| free.first().copied())?);
        }
        (any_shared || !shared_only).then_some(found)
    }

    /// The lowest address in the pool that one with the same key and endpoints has, and that this one may have too.
    fn shared(&self, service: &Service, pool: &Pool, family: Family) -> Option<IpAddr> {
        let mut addresses: Vec<IpAddr> = self.usable(pool, family).collect();
        addresses.sort();
        addresses.into_iter().find(|ip| {
            let same = |held: &&Held| {
                let bare = |service: &Service| Service {
                    ports: Vec::new(),
                    ..service.clone()
                };
                held.addresses.contains(ip) && may_share(&bare(&held.service), &bare(service))
            };
            self.held.iter().find(same).is_some() && self.may_have(service, *ip, &[])
        })
    }

    fn usable<'a>(&'a self, pool: &'a Pool, family: Family) -> impl Iterator<Item = IpAddr> + 'a {
        let ranges = pool
            .ranges
            .iter()
            .filter(move |range| range.family() == family);
        ranges
            .flat_map(move |range| {
                let numbers = range.first_number()..=range.last_number();
                numbers.map(move |number| address(family, number))
            })
            .filter(|ip| !is_left_out(pool, *ip))
    }

    fn pool_of(&self, ip: IpAddr) -> Option<&Pool> {
        let has = |pool: &&Pool| pool.ranges.iter().any(|range| range.contains(ip));
        self.pools.values().find(has)
    }

    fn is_free(&self, ip: IpAddr) -> bool {
        self.held.iter().all(|held| !held.addresses.contains(&ip))
            && self.published.iter().all(|(_, published)| *published != ip)
    }

    fn may_have(&self, service: &Service, ip: IpAddr, status: &[IpAddr]) -> bool {
        let key = &service.key;
        let others = |held: &&Held| held.service.key != *key && held.addresses.contains(&ip);
        let mine = self.published.contains(&(key.clone(), ip)) || status.contains(&ip);
        let published = self.published.iter().any(|(_, published)| *published == ip);
        (mine || !published)
            && self
                .held
                .iter()
                .filter(others)
                .all(|held| may_share(&held.service, service))
    }

    fn lets_in(&self, pool: &Pool, service: &Service) -> bool {
        let Some(allocation) = &pool.allocation else {
            return true;
        };
        let namespace = &*service.key.namespace;
        let labels = self
            .namespace_labels
            .iter()
            .find(|(name, _)| name == namespace);
        let selected = allocation
            .namespace_selectors
            .iter()
            .any(|selector| labels.is_some_and(|(_, labels)| selector.matches(labels)));
        let any = allocation.namespaces.is_empty() && allocation.namespace_selectors.is_empty();
        let mut selectors = allocation.service_selectors.iter();
        (any || allocation.namespaces.contains(namespace) || selected)
            && (allocation.service_selectors.is_empty()
                || selectors.any(|selector| selector.matches(&service.labels)))
    }

    pub(crate) fn usage(&self, pool: &Pool) -> Usage {
        let count = |family| {
            let total = self.usable(pool, family).count();
            let free = self
                .usable(pool, family)
                .filter(|ip| self.is_free(*ip))
                .count();
            Count {
                total: total as u128,
                in_use: (total - free) as u128,
            }
        };
        Usage {
            v4: count(Family::V4),
            v6: count(Family::V6),
        }
    }
}

fn is_left_out(pool: &Pool, ip: IpAddr) -> bool {
    let last = number(ip) % 256;
    pool.avoid_buggy_ips && ip.is_ipv4() && (last == 0 || last == 255)
}
