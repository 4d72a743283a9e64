//! A Service as a speaker keeps it.

use std::net::IpAddr;

use ironlb_model::{Labels, Name, Service, TrafficPolicy};

/// A Service that is ours, reduced to what decides its announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) labels: Labels,
    pub(crate) created: Option<i64>,
    /// The addresses in its status, in their order.
    pub(crate) ips: Vec<IpAddr>,
    /// What is in its status in place of an address.
    pub(crate) invalid_ip: Option<Box<str>>,
    /// Whether only nodes with an endpoint of their own may announce it.
    pub(crate) local: bool,
    /// Whether it has the annotation that lets it share an address, used or not.
    pub(crate) may_share: bool,
    /// The pool that the controller took its addresses from.
    pub(crate) allocated_from: Option<Name>,
}

impl Record {
    pub(super) fn new(service: &Service) -> Self {
        let by_address = || {
            service
                .ingress
                .iter()
                .filter(|ingress| !ingress.ip.is_empty())
        };
        let parse = |text: &str| text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical());
        let mut ips: Vec<IpAddr> = Vec::new();
        for ip in by_address().filter_map(|ingress| parse(&ingress.ip)) {
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        ips.shrink_to_fit();
        let invalid = by_address().find(|ingress| parse(&ingress.ip).is_none());
        Self {
            labels: service.labels.clone(),
            created: service.created,
            ips,
            invalid_ip: invalid.map(|ingress| ingress.ip.as_str().into()),
            local: service.traffic_policy == TrafficPolicy::Local,
            may_share: service.sharing_key.is_some(),
            allocated_from: service.allocated_from.as_deref().map(Name::from),
        }
    }
}
