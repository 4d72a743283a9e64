//! What a Service's object asks for, put into the allocator's words.

use std::net::IpAddr;

use ironlb_model::{Family, IpFamilyPolicy, Name, Service};

use crate::alloc::Request;
use crate::refusal::{Families, Refusal};
use crate::share::Sharing;

/// What a Service asks for, as far as it could be read.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) families: Families,
    pub(crate) sharing: Option<Sharing>,
    /// The addresses asked for, in the order written; or what is wrong with them.
    pub(crate) addresses: Result<Vec<IpAddr>, Refusal>,
    status: Vec<IpAddr>,
}

impl Terms {
    pub(crate) fn of(service: &Service) -> Result<Self, Refusal> {
        Ok(Self {
            families: families(service)?,
            sharing: Sharing::of(service),
            addresses: asked_addresses(service),
            status: published_addresses(service).collect(),
        })
    }

    pub(crate) fn request<'a>(
        &'a self,
        service: &'a Service,
        addresses: &'a [IpAddr],
    ) -> Request<'a> {
        Request {
            service: &service.key,
            labels: &service.labels,
            families: self.families,
            pool: asked_pool(service),
            addresses,
            sharing: self.sharing.clone(),
            status: &self.status,
        }
    }
}

/// The pool that a Service asks for; an empty annotation asks for none.
pub(crate) fn asked_pool(service: &Service) -> Option<&str> {
    let pool = service.requested_pool.as_deref();
    pool.filter(|pool| !pool.is_empty())
}

/// The addresses of a status, in its order; `None` when an entry is not an address. Entries by host name are passed over.
pub(crate) fn status_addresses(service: &Service) -> Option<Vec<IpAddr>> {
    let by_address = service.ingress.iter().filter(|entry| !entry.ip.is_empty());
    by_address.map(|entry| parse(&entry.ip)).collect()
}

/// Whatever addresses a status has.
pub(crate) fn published_addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    service.ingress.iter().filter_map(|entry| parse(&entry.ip))
}

/// Whether a status and the annotation beside it are exactly these, in any order and spelling.
pub(crate) fn status_is(service: &Service, addresses: &[IpAddr], pool: Option<&Name>) -> bool {
    let same = |entry: &ironlb_model::Ingress| {
        let address = parse(&entry.ip);
        entry.hostname.is_empty() && address.is_some_and(|address| addresses.contains(&address))
    };
    service.allocated_from.as_deref() == pool.map(|pool| &**pool)
        && service.ingress.len() == addresses.len()
        && service.ingress.iter().all(same)
        && published_addresses(service)
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            == addresses.len()
}

fn families(service: &Service) -> Result<Families, Refusal> {
    let cluster_ips = &service.cluster_ips;
    let first = cluster_ips.first().ok_or(Refusal::NoClusterIps)?;
    let policy = service.ip_family_policy;
    if policy == IpFamilyPolicy::RequireDualStack && cluster_ips.len() < 2 {
        return Err(Refusal::NotDualStack(cluster_ips.clone()));
    }
    let first = Family::of(*first);
    let is_dual = cluster_ips.iter().any(|ip| Family::of(*ip) != first);
    Ok(match policy {
        _ if !is_dual => Families::One(first),
        IpFamilyPolicy::PreferDualStack => {
            Families::PreferBoth(service.ip_families.first().copied().unwrap_or(Family::V4))
        }
        IpFamilyPolicy::SingleStack | IpFamilyPolicy::RequireDualStack => Families::Both,
    })
}

fn asked_addresses(service: &Service) -> Result<Vec<IpAddr>, Refusal> {
    let annotation = service
        .requested_ips
        .as_deref()
        .filter(|text| !text.is_empty());
    let (field, text) = match (annotation, service.load_balancer_ip.as_deref()) {
        (None, None) => return Ok(Vec::new()),
        (Some(_), Some(_)) => return Err(Refusal::AskedTwice),
        (Some(text), None) => ("the annotation metallb.io/loadBalancerIPs", text),
        (None, Some(text)) => ("spec.loadBalancerIP", text),
    };
    let is_list = annotation.is_some();
    let parts = text.split(|c| is_list && c == ',').map(str::trim);
    let address = |part: &str| {
        parse(part).ok_or_else(|| Refusal::Malformed {
            field,
            text: text.to_owned(),
            part: part.to_owned(),
        })
    };
    let addresses: Vec<IpAddr> = parts.map(address).collect::<Result<_, _>>()?;
    match addresses.as_slice() {
        [_] => Ok(addresses),
        [one, two] if Family::of(*one) != Family::of(*two) => Ok(addresses),
        [_, _] => Err(Refusal::SameFamily(addresses)),
        _ => Err(Refusal::TooMany(addresses)),
    }
}

/// An address as it is written; an IPv4 address in IPv6 clothes (RFC 4291 §2.5.5.2) is an IPv4 address.
fn parse(text: &str) -> Option<IpAddr> {
    let address: IpAddr = text.parse().ok()?;
    Some(address.to_canonical())
}
