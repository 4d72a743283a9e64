//! What one node's kernel is to do with the traffic of Services.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ironlb_model::{EndpointSlice, Family, Port, Protocol, Service, ServiceKey, TrafficPolicy};

/// Where the traffic of each Service goes on one node, wanted or in force.
///
/// Plain data with an order, so that two of them can be compared and the difference applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// The endpoints of each destination that has some, by the name of their chain.
    pub(crate) chains: BTreeMap<String, Backends>,
    /// The chain of each destination that is served.
    pub(crate) services: BTreeMap<Destination, String>,
    /// Destinations that clients may know and this node cannot serve.
    pub(crate) unserved: BTreeMap<Destination, Unserved>,
    /// Every address that a Service holds.
    pub(crate) addresses: BTreeSet<IpAddr>,
    /// Endpoints in use that are on this node.
    pub(crate) local: BTreeSet<IpAddr>,
    unusable: BTreeSet<(ServiceKey, IpAddr)>,
}

/// What a client sends to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination {
    /// An address that a Service holds.
    pub address: IpAddr,
    /// A protocol of the Service.
    pub protocol: Protocol,
    /// A port of the Service.
    pub port: u16,
}

/// The endpoints that take a destination's connections, each an equal share of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// The protocol.
    pub protocol: Protocol,
    /// The family of every endpoint.
    pub family: Family,
    /// At least one.
    pub endpoints: BTreeSet<SocketAddr>,
}

/// Why a destination is not served on a node, and hence what happens to packets for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unserved {
    /// There is no endpoint at all: the client is told so at once.
    Nowhere,
    /// With `externalTrafficPolicy: Local`, endpoints are on other nodes only: packets from outside came to the wrong node
    /// and are dropped, for the client to try again and reach the right one. The node's own go out to it.
    Elsewhere,
}

impl Ruleset {
    /// What `node` is to do for these Services, each with the addresses of its status, and these endpoints.
    ///
    /// `externalTrafficPolicy: Local` uses the endpoints on the node alone. Should two Services claim the same
    /// destination, the first by namespace and name has it.
    pub fn wanted<'a>(
        services: impl IntoIterator<Item = &'a Service>,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
        node: &str,
    ) -> Self {
        let mut by_service: BTreeMap<&ServiceKey, Vec<&EndpointSlice>> = BTreeMap::new();
        for slice in slices {
            by_service.entry(&slice.service).or_default().push(slice);
        }
        let sorted: BTreeMap<&ServiceKey, &Service> = services
            .into_iter()
            .map(|service| (&service.key, service))
            .collect();

        let mut ruleset = Self::default();
        for (key, service) in sorted
            .into_iter()
            .filter(|(_, service)| service.is_load_balancer)
        {
            let slices = by_service.get(key).map_or(&[][..], Vec::as_slice);
            ruleset.add_service(service, slices, node);
        }
        ruleset
    }

    /// The families in which packets go to an endpoint for which `is_own_address` does not hold: the node has to
    /// forward packets in them.
    pub fn forwarded(&self, is_own_address: impl Fn(IpAddr) -> bool) -> BTreeSet<Family> {
        let endpoints = self.chains.values().flat_map(|chain| &chain.endpoints);
        let others = endpoints
            .map(SocketAddr::ip)
            .filter(|address| !is_own_address(*address));
        others.map(Family::of).collect()
    }

    /// Endpoints that cannot be forwarded to, because their address has no meaning on the network (loopback,
    /// link-local, multicast or unspecified), with their Service.
    pub fn unusable(&self) -> &BTreeSet<(ServiceKey, IpAddr)> {
        &self.unusable
    }

    /// The endpoints of a destination, when it is served.
    pub fn endpoints(&self, destination: &Destination) -> Option<&BTreeSet<SocketAddr>> {
        let chain = self.services.get(destination)?;
        self.chains.get(chain).map(|backends| &backends.endpoints)
    }

    /// The destinations whose endpoints are not the same in `other`, those of only one of the two included.
    pub fn differing<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = Destination> + 'a {
        let mine = self.services.keys();
        let all: BTreeSet<&Destination> = mine.chain(other.services.keys()).collect();
        all.into_iter()
            .copied()
            .filter(|it| self.endpoints(it) != other.endpoints(it))
    }

    /// How many destinations are served.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// Whether no destination is served.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    fn add_service(&mut self, service: &Service, slices: &[&EndpointSlice], node: &str) {
        for address in service
            .ingress
            .iter()
            .filter_map(|ingress| ingress.ip.parse().ok())
        {
            self.addresses.insert(address);
            for port in &service.ports {
                let found = self.find(service, port, Family::of(address), slices, node);
                self.add_destination(service, port, address, found);
            }
        }
    }

    fn add_destination(
        &mut self,
        service: &Service,
        port: &Port,
        address: IpAddr,
        found: Result<BTreeSet<SocketAddr>, Unserved>,
    ) {
        let destination = Destination {
            address,
            protocol: port.protocol,
            port: port.port,
        };
        if self.services.contains_key(&destination) || self.unserved.contains_key(&destination) {
            return;
        }
        match found {
            Ok(endpoints) => {
                let family = Family::of(address);
                let name = chain_name(&service.key, family, port);
                let backends = Backends {
                    protocol: port.protocol,
                    family,
                    endpoints,
                };
                self.chains.insert(name.clone(), backends);
                self.services.insert(destination, name);
            }
            Err(reason) => {
                self.unserved.insert(destination, reason);
            }
        }
    }

    /// The endpoints for a Service's port on this node, at least one.
    fn find(
        &mut self,
        service: &Service,
        port: &Port,
        family: Family,
        slices: &[&EndpointSlice],
        node: &str,
    ) -> Result<BTreeSet<SocketAddr>, Unserved> {
        let (mut here, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
        for (address, target, is_here) in candidates(port, slices, node) {
            if Family::of(address) != family {
                continue;
            }
            if !is_usable(address) {
                self.unusable.insert((service.key.clone(), address));
            } else if is_here {
                self.local.insert(address);
                here.insert(SocketAddr::new(address, target));
            } else {
                elsewhere.insert(SocketAddr::new(address, target));
            }
        }
        match service.traffic_policy {
            TrafficPolicy::Local if !here.is_empty() => Ok(here),
            TrafficPolicy::Local if !elsewhere.is_empty() => Err(Unserved::Elsewhere),
            TrafficPolicy::Cluster if !(here.is_empty() && elsewhere.is_empty()) => {
                here.append(&mut elsewhere);
                Ok(here)
            }
            _ => Err(Unserved::Nowhere),
        }
    }
}

/// The serving endpoints of a port: address, port, and whether it is on `node`.
fn candidates<'a>(
    port: &'a Port,
    slices: &'a [&EndpointSlice],
    node: &'a str,
) -> impl Iterator<Item = (IpAddr, u16, bool)> + 'a {
    slices.iter().flat_map(move |slice| {
        let same = |of: &&ironlb_model::endpoint::EndpointPort| {
            of.name == port.name && of.protocol == port.protocol && of.port != 0
        };
        let target = slice.ports.iter().find(same).map(|found| found.port);
        let serving = slice.endpoints.iter().filter(|endpoint| endpoint.serving);
        serving.filter_map(move |endpoint| {
            // An endpoint's addresses are ways to the same thing: Kubernetes has consumers use the first.
            let address = endpoint.addresses.first().copied()?;
            Some((address, target?, endpoint.node.as_deref() == Some(node)))
        })
    })
}

/// Kubernetes refuses such endpoints; a manifest from a file went through no such check.
fn is_usable(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

/// `service/NAMESPACE/NAME/FAMILY/PROTOCOL/PORT`, in characters and a length that the nft program reads back.
fn chain_name(service: &ServiceKey, family: Family, port: &Port) -> String {
    let family = match family {
        Family::V4 => "ip",
        Family::V6 => "ip6",
    };
    let protocol = port.protocol.to_string().to_lowercase();
    let name = readable(&service.to_string());
    format!("service/{name}/{family}/{protocol}/{}", port.port)
}

/// The name as it is when it is a valid one; else what can be shown of it, told apart by a hash.
fn readable(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '/');
    if name.len() <= LONGEST_NAME && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let shown: String = name
        .chars()
        .filter(|c| is_plain(*c))
        .take(LONGEST_NAME)
        .collect();
    format!("{shown}_{:016x}", fnv1a(name.as_bytes()))
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Namespace and name are labels of at most 63 characters (RFC 1123); a chain's name may have 255.
const LONGEST_NAME: usize = 127;

#[cfg(test)]
mod tests {
    use ironlb_model::{Endpoint, Ingress, SliceKey, endpoint::EndpointPort};

    use super::*;

    fn service(name: &str, ips: &[&str], policy: TrafficPolicy) -> Service {
        let mut service = Service::new(ServiceKey::new("default", name));
        service.ingress = ips
            .iter()
            .map(|ip| Ingress {
                ip: (*ip).to_owned(),
                hostname: String::new(),
            })
            .collect();
        service.traffic_policy = policy;
        service.ports = vec![Port {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: 80,
        }];
        service
    }

    fn slice(name: &str, endpoints: &[(&str, &str)]) -> EndpointSlice {
        let endpoint = |(address, node): &(&str, &str)| Endpoint {
            node: (!node.is_empty()).then(|| (*node).into()),
            serving: true,
            addresses: vec![address.parse().unwrap()],
        };
        EndpointSlice {
            key: SliceKey::new("default", format!("{name}-1")),
            service: ServiceKey::new("default", name),
            endpoints: endpoints.iter().map(endpoint).collect(),
            ports: vec![EndpointPort {
                name: "http".into(),
                protocol: Protocol::Tcp,
                port: 8080,
            }],
        }
    }

    fn to(address: &str) -> Destination {
        Destination {
            address: address.parse().unwrap(),
            protocol: Protocol::Tcp,
            port: 80,
        }
    }

    fn endpoints(ruleset: &Ruleset, address: &str) -> Vec<String> {
        let found = ruleset.endpoints(&to(address)).into_iter().flatten();
        found.map(ToString::to_string).collect()
    }

    #[test]
    fn cluster_policy_uses_every_endpoint_of_the_family() {
        let service = service("web", &["192.0.2.1", "2001:db8::1"], TrafficPolicy::Cluster);
        let slice = slice(
            "web",
            &[("10.0.0.1", "n1"), ("10.0.0.2", "n2"), ("fd00::1", "n2")],
        );
        let ruleset = Ruleset::wanted([&service], [&slice], "n1");
        assert_eq!(
            endpoints(&ruleset, "192.0.2.1"),
            ["10.0.0.1:8080", "10.0.0.2:8080"]
        );
        assert_eq!(endpoints(&ruleset, "2001:db8::1"), ["[fd00::1]:8080"]);
        assert_eq!(ruleset.local, BTreeSet::from(["10.0.0.1".parse().unwrap()]));
    }

    #[test]
    fn local_policy_uses_the_endpoints_of_this_node_alone() {
        let service = service("web", &["192.0.2.1"], TrafficPolicy::Local);
        let slice = slice("web", &[("10.0.0.1", "n1"), ("10.0.0.2", "n2")]);
        let on = |node| Ruleset::wanted([&service], [&slice], node);
        assert_eq!(endpoints(&on("n2"), "192.0.2.1"), ["10.0.0.2:8080"]);
        assert_eq!(
            on("n3").unserved,
            BTreeMap::from([(to("192.0.2.1"), Unserved::Elsewhere)])
        );
    }

    #[test]
    fn a_destination_without_endpoints_is_refused_under_either_policy() {
        let not_ready = {
            let mut slice = slice("web", &[("10.0.0.1", "n1")]);
            slice.endpoints[0].serving = false;
            slice
        };
        for policy in [TrafficPolicy::Cluster, TrafficPolicy::Local] {
            let service = service("web", &["192.0.2.1"], policy);
            let ruleset = Ruleset::wanted([&service], [&not_ready], "n1");
            assert!(ruleset.is_empty());
            assert_eq!(
                ruleset.unserved,
                BTreeMap::from([(to("192.0.2.1"), Unserved::Nowhere)])
            );
        }
    }

    #[test]
    fn an_endpoint_port_must_have_the_name_and_protocol_of_the_service_s() {
        let service = service("web", &["192.0.2.1"], TrafficPolicy::Cluster);
        for (name, protocol) in [("https", Protocol::Tcp), ("http", Protocol::Udp)] {
            let mut slice = slice("web", &[("10.0.0.1", "n1")]);
            slice.ports[0].name = name.into();
            slice.ports[0].protocol = protocol;
            assert!(Ruleset::wanted([&service], [&slice], "n1").is_empty());
        }
    }

    #[test]
    fn endpoints_that_mean_nothing_on_the_network_are_left_out_and_named() {
        let service = service("web", &["192.0.2.1"], TrafficPolicy::Cluster);
        let slice = slice(
            "web",
            &[("127.0.0.1", "n1"), ("169.254.0.1", ""), ("10.0.0.1", "")],
        );
        let ruleset = Ruleset::wanted([&service], [&slice], "n1");
        assert_eq!(endpoints(&ruleset, "192.0.2.1"), ["10.0.0.1:8080"]);
        assert_eq!(ruleset.unusable().len(), 2);
    }

    #[test]
    fn a_destination_that_two_services_claim_goes_to_the_first_by_name() {
        let (a, b) = (
            service("a", &["192.0.2.1"], TrafficPolicy::Cluster),
            service("b", &["192.0.2.1"], TrafficPolicy::Cluster),
        );
        let slices = [
            slice("a", &[("10.0.0.1", "")]),
            slice("b", &[("10.0.0.2", "")]),
        ];
        let ruleset = Ruleset::wanted([&b, &a], &slices, "n1");
        assert_eq!(endpoints(&ruleset, "192.0.2.1"), ["10.0.0.1:8080"]);
        assert_eq!(ruleset.chains.len(), 1);
    }

    #[test]
    fn only_endpoints_that_are_not_the_node_s_own_address_need_forwarding() {
        let service = service("web", &["192.0.2.1", "2001:db8::1"], TrafficPolicy::Cluster);
        let slice = slice("web", &[("10.0.0.1", "n1"), ("fd00::2", "n2")]);
        let ruleset = Ruleset::wanted([&service], [&slice], "n1");
        let own = "10.0.0.1".parse::<IpAddr>().unwrap();
        assert_eq!(
            ruleset.forwarded(|address| address == own),
            BTreeSet::from([Family::V6])
        );
    }

    #[test]
    fn chains_of_odd_names_stay_apart_and_short() {
        let port = Port {
            name: String::new(),
            protocol: Protocol::Udp,
            port: 53,
        };
        let name = |name: &str| chain_name(&ServiceKey::new("ns", name), Family::V6, &port);
        assert_eq!(name("dns"), "service/ns/dns/ip6/udp/53");
        assert_ne!(name("a b"), name("ab"));
        assert_ne!(name("a b"), name("a\"b"));
        assert!(name(&"x".repeat(1_000)).len() <= 255);
    }

    #[test]
    fn what_differs_is_named_whichever_side_has_it() {
        let service = service("web", &["192.0.2.1"], TrafficPolicy::Cluster);
        let (one, two) = (
            slice("web", &[("10.0.0.1", "")]),
            slice("web", &[("10.0.0.2", "")]),
        );
        let before = Ruleset::wanted([&service], [&one], "n1");
        let after = Ruleset::wanted([&service], [&two], "n1");
        let none = Ruleset::default();
        for (a, b) in [(&before, &after), (&before, &none), (&none, &after)] {
            assert_eq!(a.differing(b).collect::<Vec<_>>(), [to("192.0.2.1")]);
        }
        assert_eq!(before.differing(&before).count(), 0);
    }
}
