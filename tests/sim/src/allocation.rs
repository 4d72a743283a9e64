//! What the rules say about addresses, written apart from the allocator: slow, and plain to read.
//!
//! Nothing here chooses. It says whether a Service may hold what it holds, whether two may share, and whether a
//! Service without an address could have one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ironlb_model::config::OnRemoval;
use ironlb_model::{
    Config, Family, IpFamilyPolicy, Name, Namespace, Pool, Service, ServiceKey, TrafficPolicy,
};

use crate::watch::Seen;

/// The rules, as they follow from a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    config: &'a Config,
    namespaces: &'a BTreeMap<Name, Namespace>,
    class: Option<&'a str>,
}

/// The addresses that a Service asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Any.
    Any,
    /// Exactly these.
    Exactly(BTreeSet<IpAddr>),
    /// Something that cannot be read: it keeps what it has and gets nothing new.
    Unreadable,
}

impl<'a> Rules<'a> {
    /// The rules of the configuration that was seen; `None` before there was one.
    pub fn of(seen: &'a Seen, class: Option<&'a str>) -> Option<Self> {
        Some(Self {
            config: seen.config.as_deref()?,
            namespaces: &seen.namespaces,
            class,
        })
    }

    /// Whether a Service may hold exactly `ips`, by itself; whether others hold them is another question.
    pub fn permit(&self, service: &Service, ips: &[IpAddr]) -> Result<(), String> {
        self.permit_any(service)?;
        permit_families(service, ips)?;
        if let Wish::Exactly(wanted) = wish(service)
            && wanted != ips.iter().copied().collect()
        {
            return Err("it asks for other addresses".to_owned());
        }
        if self.is_in_doubt(service, ips) {
            return Ok(());
        }
        let from = service.allocated_from.as_deref();
        let held = from.and_then(|name| self.config.pools.get(name));
        let held = held.filter(|_| self.is_held(service, ips));
        match held.or_else(|| self.pool_of_all(ips)) {
            Some(pool) => self.permit_pool(service, pool, ips),
            None => Err("they are not in one pool".to_owned()),
        }
    }

    /// Whether a Service has addresses of which nobody can say whose they are: one of them is in no pool that could be read, and
    /// may be of one that could not.
    fn is_in_doubt(&self, service: &Service, ips: &[IpAddr]) -> bool {
        let unread = &self.config.pools_in_error.labels;
        let may_be_from = match service.allocated_from.as_deref() {
            Some(from) => unread.contains_key(from) && !self.holds_on(from),
            None => !unread.is_empty(),
        };
        let outside = ips.iter().any(|ip| self.pool_of(*ip).is_none());
        let asked = requested_pool(service);
        let asks_for_it = asked.is_none_or(|asked| unread.contains_key(asked));
        may_be_from && outside && asks_for_it && ips == addresses(service)
    }

    /// Whether a Service without addresses could have some, while others hold what they hold.
    pub fn could_have(&self, service: &Service, holders: &Holders<'_>) -> bool {
        if self.permit_any(service).is_err() {
            return false;
        }
        let free = |ip: &IpAddr| holders.admit(*ip, service);
        match wish(service) {
            Wish::Unreadable => false,
            Wish::Exactly(ips) => {
                let ips: Vec<_> = ips.into_iter().collect();
                let all = families(service).len() == ips.len();
                all && self.pool_of_all(&ips).is_some()
                    && self.permit(service, &ips).is_ok()
                    && ips.iter().all(free)
            }
            Wish::Any => self.config.pools.values().any(|pool| {
                let asked = requested_pool(service);
                let open = asked.map_or(pool.auto_assign, |asked| *asked == *pool.name);
                open && self.serves(pool, service) && has_room(pool, service, free)
            }),
        }
    }

    /// Whether a Service that holds one address, and may have two, could get the second from the same pool.
    pub fn could_have_second(&self, service: &Service, holders: &Holders<'_>) -> bool {
        let ips = addresses(service);
        let [ip] = ips.as_slice() else {
            return false;
        };
        let wants_two = families(service).len() == 2
            && service.ip_family_policy != IpFamilyPolicy::SingleStack
            && wish(service) == Wish::Any;
        let asked = requested_pool(service);
        let pool = self.pool_of(*ip);
        // One that waits for a pool that cannot be read is given nothing more of another.
        let Some(pool) = pool.filter(|pool| asked.is_none_or(|asked| *asked == *pool.name)) else {
            return false;
        };
        let other = Family::of(*ip).other();
        let free = |ip: &IpAddr| holders.admit(*ip, service);
        wants_two && usable_addresses(pool).any(|ip| Family::of(ip) == other && free(&ip))
    }

    /// The pools.
    pub fn pools(&self) -> impl Iterator<Item = &'a Pool> {
        self.config.pools.values()
    }

    /// The pool that has `ip`.
    pub fn pool_of(&self, ip: IpAddr) -> Option<&'a Pool> {
        let has = |pool: &&Pool| pool.ranges.iter().any(|range| range.contains(ip));
        self.config.pools.values().find(has)
    }

    fn pool_of_all(&self, ips: &[IpAddr]) -> Option<&'a Pool> {
        let pool = self.pool_of(*ips.first()?)?;
        let same = |ip: &IpAddr| {
            self.pool_of(*ip)
                .is_some_and(|other| other.name == pool.name)
        };
        ips.iter().all(same).then_some(pool)
    }

    /// Whether the Service may hold any address at all.
    fn permit_any(&self, service: &Service) -> Result<(), String> {
        if !service.is_ours(self.class) {
            return Err("it is not ours".to_owned());
        }
        if self.config.pools.is_empty() && self.config.pools_in_error.is_empty() {
            return Err("there is no pool".to_owned());
        }
        if service.cluster_ips.is_empty() {
            return Err("it has no cluster IP".to_owned());
        }
        let require = service.ip_family_policy == IpFamilyPolicy::RequireDualStack;
        if require && families(service).len() < 2 {
            return Err("it requires two families and has one".to_owned());
        }
        Ok(())
    }

    fn permit_pool(&self, service: &Service, pool: &Pool, ips: &[IpAddr]) -> Result<(), String> {
        // Of a pool that could not be read it may have been promised an address, and keeps what it has until then.
        let unread = &self.config.pools_in_error.labels;
        let keeps = ips.iter().all(|ip| addresses(service).contains(ip));
        let other = |asked: &str| {
            let waits = keeps && unread.contains_key(asked);
            *asked != *pool.name && !waits
        };
        if requested_pool(service).is_some_and(other) {
            return Err("it asks for another pool".to_owned());
        }
        if !self.serves(pool, service) {
            return Err("the pool is not for it".to_owned());
        }
        let held = self.is_held(service, ips);
        match ips.iter().find(|ip| !held && !usable(pool, **ip)) {
            Some(ip) => Err(format!("{ip} is to be avoided")),
            None => Ok(()),
        }
    }

    /// Whether a pool may serve a Service at all (`spec.serviceAllocation`).
    pub fn serves(&self, pool: &Pool, service: &Service) -> bool {
        let Some(allocation) = &pool.allocation else {
            return true;
        };
        let namespace = &service.key.namespace;
        let labels = self
            .namespaces
            .get(namespace)
            .map(|namespace| &namespace.labels);
        let selected = allocation
            .namespace_selectors
            .iter()
            .any(|selector| labels.is_some_and(|labels| selector.matches(labels)));
        let namespace_fits = !allocation.restricts_namespaces()
            || allocation.namespaces.contains(&**namespace)
            || selected;
        let selectors = &allocation.service_selectors;
        let service_fits = selectors.is_empty()
            || selectors
                .iter()
                .any(|selector| selector.matches(&service.labels));
        namespace_fits && service_fits
    }

    /// Whether addresses that their pool has no more, or gives out no more, stay with the Service, as the pool asks.
    fn is_held(&self, service: &Service, ips: &[IpAddr]) -> bool {
        let from = service.allocated_from.as_deref();
        let pools = ips.iter().filter_map(|ip| self.pool_of(*ip));
        let mut others = pools.filter(|pool| Some(&*pool.name) != from);
        from.is_some_and(|from| self.holds_on(from)) && others.next().is_none()
    }

    /// Whether a pool holds on to what it has given (`onRemoval: Hold`).
    pub fn holds_on(&self, pool: &str) -> bool {
        let pool = self.config.pools.get(pool);
        pool.is_some_and(|pool| pool.on_removal == OnRemoval::Hold)
    }
}

/// Who holds which address, by status.
#[derive(Debug, Default)]
pub struct Holders<'a> {
    ours: BTreeMap<IpAddr, Vec<&'a Service>>,
    foreign: BTreeSet<IpAddr>,
}

impl<'a> Holders<'a> {
    /// The addresses in the status of `services`.
    pub fn of(services: impl Iterator<Item = &'a Service>, class: Option<&str>) -> Self {
        let mut holders = Self::default();
        for service in services {
            for ip in addresses(service) {
                if service.is_ours(class) {
                    holders.ours.entry(ip).or_default().push(service);
                } else {
                    holders.foreign.insert(ip);
                }
            }
        }
        holders
    }

    /// Every address with those of ours that hold it.
    pub fn iter(&self) -> impl Iterator<Item = (IpAddr, &[&'a Service])> {
        self.ours
            .iter()
            .map(|(ip, services)| (*ip, services.as_slice()))
    }

    /// Whether `service` may be given `ip`: all others that hold it share it, and it is in the status of none that is
    /// not ours.
    pub fn admit(&self, ip: IpAddr, service: &Service) -> bool {
        self.rival(ip, service).is_none() && !self.foreign.contains(&ip)
    }

    /// Somebody of ours that holds `ip` and does not share it with `service`.
    pub fn rival(&self, ip: IpAddr, service: &Service) -> Option<&'a ServiceKey> {
        let others = self.ours.get(&ip)?.iter();
        others
            .filter(|other| other.key != service.key)
            .find(|other| !may_share(service, other))
            .map(|other| &other.key)
    }
}

/// Whether two Services may hold one address: the same key, the same way to the endpoints, and no port in common.
pub fn may_share(one: &Service, other: &Service) -> bool {
    let key = |service: &Service| service.sharing_key.clone().filter(|key| !key.is_empty());
    let backends = |service: &Service| match service.traffic_policy {
        TrafficPolicy::Cluster => None,
        TrafficPolicy::Local => Some(service.selector.clone()),
    };
    let ports = |service: &Service| -> BTreeSet<_> {
        let number = |port: &ironlb_model::Port| (port.protocol, port.port);
        service.ports.iter().map(number).collect()
    };
    key(one).is_some()
        && key(one) == key(other)
        && backends(one) == backends(other)
        && ports(one).is_disjoint(&ports(other))
}

/// The addresses in a Service's status, in order.
pub fn addresses(service: &Service) -> Vec<IpAddr> {
    let entries = service.ingress.iter();
    entries.filter_map(|entry| entry.ip.parse().ok()).collect()
}

/// What a Service asks for by annotation or by `spec.loadBalancerIP`.
pub fn wish(service: &Service) -> Wish {
    let annotation = service
        .requested_ips
        .as_deref()
        .filter(|text| !text.is_empty());
    let text = match (annotation, service.load_balancer_ip.as_deref()) {
        (Some(_), Some(_)) => return Wish::Unreadable,
        (Some(text), None) | (None, Some(text)) => text,
        (None, None) => return Wish::Any,
    };
    let mut ips = BTreeSet::new();
    for part in text.split(',') {
        match part.trim().parse() {
            Ok(ip) => ips.insert(ip),
            Err(_) => return Wish::Unreadable,
        };
    }
    let families: BTreeSet<_> = ips.iter().copied().map(Family::of).collect();
    if families.len() == ips.len() {
        Wish::Exactly(ips)
    } else {
        Wish::Unreadable
    }
}

/// The pool that a Service asks for.
pub fn requested_pool(service: &Service) -> Option<&str> {
    service
        .requested_pool
        .as_deref()
        .filter(|name| !name.is_empty())
}

/// The families of a Service's cluster IPs.
pub fn families(service: &Service) -> BTreeSet<Family> {
    service
        .cluster_ips
        .iter()
        .copied()
        .map(Family::of)
        .collect()
}

fn permit_families(service: &Service, ips: &[IpAddr]) -> Result<(), String> {
    let held: BTreeSet<_> = ips.iter().copied().map(Family::of).collect();
    let wanted = families(service);
    let one_will_do = service.ip_family_policy == IpFamilyPolicy::PreferDualStack;
    let right = held == wanted || (one_will_do && held.len() == 1 && held.is_subset(&wanted));
    if right && held.len() == ips.len() {
        Ok(())
    } else {
        Err("their families are not those of its cluster IPs".to_owned())
    }
}

fn has_room(pool: &Pool, service: &Service, free: impl Fn(&IpAddr) -> bool) -> bool {
    let wanted = families(service);
    let found: BTreeSet<_> = usable_addresses(pool)
        .filter(|ip| wanted.contains(&Family::of(*ip)) && free(ip))
        .map(Family::of)
        .collect();
    match service.ip_family_policy {
        IpFamilyPolicy::PreferDualStack => !found.is_empty(),
        _ => found == wanted,
    }
}

/// Every address that a pool may give out. Pools are small here.
pub fn usable_addresses(pool: &Pool) -> impl Iterator<Item = IpAddr> {
    let all = pool.ranges.iter().flat_map(|range| {
        let numbers = range.first_number()..=range.last_number();
        numbers.map(|number| ironlb_model::addr::address(range.family(), number))
    });
    all.filter(|ip| usable(pool, *ip))
}

fn usable(pool: &Pool, ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !(pool.avoid_buggy_ips && matches!(ip.octets(), [.., 0 | 255])),
        IpAddr::V6(_) => true,
    }
}
