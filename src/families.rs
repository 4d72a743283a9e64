//! The cluster addresses that an API server would give a Service: they say which families it has. Manifests from files
//! have none.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::{Config, Family, IpFamilyPolicy, Range, Service};

/// Addresses that stand for the cluster addresses of a Service whose manifest has none: one unspecified address for
/// each of its families.
///
/// Families are those it names; else those of the addresses it asks for; else of those it has; else IPv4, or IPv6
/// where `pools`, the families of all pools, lacks IPv4. Both are taken to be there.
pub(crate) fn cluster_ips(service: &Service, pools: &BTreeSet<Family>) -> Vec<IpAddr> {
    let asked = service
        .requested_ips
        .as_deref()
        .or(service.load_balancer_ip.as_deref());
    let held = service.ingress.iter().map(|ingress| ingress.ip.as_str());
    let choices = [
        service.ip_families.clone(),
        families_of(asked.unwrap_or_default().split(',')),
        families_of(held),
        vec![primary(pools)],
    ];
    let mut families = choices
        .into_iter()
        .find(|families| !families.is_empty())
        .unwrap_or_default();
    if let [one] = *families
        && service.ip_family_policy != IpFamilyPolicy::SingleStack
    {
        families.push(one.other());
    }
    families.into_iter().map(unspecified).collect()
}

/// The families that the pools of `config` have.
pub(crate) fn of_pools(config: &Config) -> BTreeSet<Family> {
    let ranges = config.pools.values().flat_map(|pool| &pool.ranges);
    ranges.map(Range::family).collect()
}

fn families_of<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Family> {
    let mut families = Vec::new();
    for ip in texts.filter_map(|text| text.trim().parse::<IpAddr>().ok()) {
        let family = Family::of(ip.to_canonical());
        if !families.contains(&family) {
            families.push(family);
        }
    }
    families
}

fn primary(pools: &BTreeSet<Family>) -> Family {
    let only_v6 = !pools.is_empty() && !pools.contains(&Family::V4);
    if only_v6 { Family::V6 } else { Family::V4 }
}

const fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

#[cfg(test)]
mod tests {
    use ironlb_model::ServiceKey;

    use super::*;

    fn service() -> Service {
        Service::new(ServiceKey::new("default", "web"))
    }

    fn families(service: &Service) -> Vec<Family> {
        cluster_ips(service, &BTreeSet::new())
            .into_iter()
            .map(Family::of)
            .collect()
    }

    #[test]
    fn without_any_hint_it_is_ipv4() {
        assert_eq!(families(&service()), [Family::V4]);
    }

    #[test]
    fn pools_of_ipv6_alone_say_ipv6() {
        let pools = BTreeSet::from([Family::V6]);
        assert_eq!(
            cluster_ips(&service(), &pools),
            [IpAddr::from(Ipv6Addr::UNSPECIFIED)]
        );
    }

    #[test]
    fn what_is_asked_for_or_held_says_the_family() {
        let mut asking = service();
        asking.requested_ips = Some("2001:db8::1, 192.0.2.1".to_owned());
        assert_eq!(families(&asking), [Family::V6, Family::V4]);
        let mut holding = service();
        holding.ingress = vec![ironlb_model::Ingress {
            ip: "2001:db8::1".to_owned(),
            hostname: String::new(),
        }];
        assert_eq!(families(&holding), [Family::V6]);
        holding.ip_families = vec![Family::V4];
        assert_eq!(families(&holding), [Family::V4]);
    }

    #[test]
    fn a_dual_stack_policy_has_both_in_the_order_of_the_first() {
        let mut dual = service();
        dual.ip_family_policy = IpFamilyPolicy::PreferDualStack;
        dual.ip_families = vec![Family::V6];
        assert_eq!(families(&dual), [Family::V6, Family::V4]);
    }
}
