//! What a router is to be configured for, said in the same way for all routers.

use super::super::fabric::OUR_ASN;

/// A router's neighbour, the node n1, and what is wanted of the session with it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) node: &'static str,
    pub(crate) router: &'static str,
    /// The AS number that the router is told the node has.
    pub(crate) node_asn: u32,
    pub(crate) asn: u32,
    pub(crate) ipv4: bool,
    pub(crate) ipv6: bool,
    pub(crate) extended_next_hop: bool,
    pub(crate) password: Option<&'static str>,
    pub(crate) graceful_restart: bool,
    /// Whether the router is a network away from the node.
    pub(crate) multihop: bool,
    pub(crate) ttl_security: bool,
    /// Whether the router connects, in place of waiting.
    pub(crate) dials: bool,
    /// Whether the router speaks as before RFC 6793.
    pub(crate) old: bool,
    /// IPv4 prefixes that the router announces.
    pub(crate) announced: &'static [&'static str],
}

impl Wanted {
    /// IPv4 with another AS, over IPv4.
    pub(crate) fn external() -> Self {
        Self {
            node: "10.0.0.1",
            router: "10.0.0.254",
            node_asn: OUR_ASN,
            asn: 64_513,
            ipv4: true,
            ipv6: false,
            extended_next_hop: false,
            password: None,
            graceful_restart: false,
            multihop: false,
            ttl_security: false,
            dials: false,
            old: false,
            announced: &[],
        }
    }

    /// IPv4 within the AS, over IPv4.
    pub(crate) fn internal() -> Self {
        Self {
            asn: OUR_ASN,
            ..Self::external()
        }
    }

    /// IPv6 over IPv6.
    pub(crate) fn over_ipv6(self) -> Self {
        Self {
            node: "fd00::1",
            router: "fd00::fe",
            ipv4: false,
            ipv6: true,
            ..self
        }
    }

    /// Both families, over what there is.
    pub(crate) fn both(self) -> Self {
        Self {
            ipv4: true,
            ipv6: true,
            ..self
        }
    }

    /// The families, in the words of the router.
    pub(crate) fn families(&self, ipv4: &'static str, ipv6: &'static str) -> Vec<&'static str> {
        let all = [(self.ipv4, ipv4), (self.ipv6, ipv6)];
        all.into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, name)| name)
            .collect()
    }
}
