//! The cluster addresses that an API server would give a Service: they say which families it has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ironlb_model::{Config, Family, IpFamilyPolicy, Service};

/// Addresses that stand for the cluster addresses of a Service whose manifest has none: one unspecified address for
/// each of its families.
///
/// Families are those it names; else those of the addresses it asks for; else of those it has; else IPv4, or IPv6
/// where no pool has IPv4. The cluster is taken to have both.
pub(super) fn cluster_ips(service: &Service, config: &Config) -> Vec<IpAddr> {
    let asked = service
        .requested_ips
        .as_deref()
        .or(service.load_balancer_ip.as_deref());
    let held = service.ingress.iter().map(|ingress| ingress.ip.as_str());
    let choices = [
        service.ip_families.clone(),
        families_of(asked.unwrap_or_default().split(',')),
        families_of(held),
        vec![primary(config)],
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

fn primary(config: &Config) -> Family {
    let mut ranges = config
        .pools
        .values()
        .flat_map(|pool| &pool.ranges)
        .peekable();
    let only_v6 = ranges.peek().is_some() && ranges.all(|range| range.family() == Family::V6);
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
        cluster_ips(service, &Config::default())
            .into_iter()
            .map(Family::of)
            .collect()
    }

    #[test]
    fn without_any_hint_it_is_ipv4() {
        assert_eq!(families(&service()), [Family::V4]);
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
