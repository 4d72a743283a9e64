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
    pub(crate) far: bool,
    pub(crate) ttl_security: bool,
    /// Whether the router connects, in place of waiting.
    pub(crate) dials: bool,
    /// Whether the router speaks as before RFC 6793.
    pub(crate) old: bool,
    /// Whether the router watches the node by BFD, with packets every 100 ms.
    pub(crate) bfd: bool,
    /// Prefixes that the router announces.
    pub(crate) announced: &'static [&'static str],
}

/// The sessions of the table.
impl Wanted {
    /// IPv4 with another AS, over IPv4.
    pub(crate) fn external_ipv4() -> Self {
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
            far: false,
            ttl_security: false,
            dials: false,
            old: false,
            bfd: false,
            announced: &[],
        }
    }

    pub(crate) fn external_ipv6() -> Self {
        Self {
            node: "fd00::1",
            router: "fd00::fe",
            ipv4: false,
            ipv6: true,
            ..Self::external_ipv4()
        }
    }

    pub(crate) fn external_both_over_ipv4() -> Self {
        Self {
            ipv6: true,
            ..Self::external_ipv4()
        }
    }

    pub(crate) fn external_both_over_ipv6() -> Self {
        Self {
            ipv4: true,
            ..Self::external_ipv6()
        }
    }

    pub(crate) fn internal_ipv4() -> Self {
        Self::external_ipv4().within_the_as()
    }

    pub(crate) fn internal_ipv6() -> Self {
        Self::external_ipv6().within_the_as()
    }

    pub(crate) fn internal_both_over_ipv4() -> Self {
        Self::external_both_over_ipv4().within_the_as()
    }

    pub(crate) fn internal_both_over_ipv6() -> Self {
        Self::external_both_over_ipv6().within_the_as()
    }

    fn within_the_as(self) -> Self {
        Self {
            asn: OUR_ASN,
            ..self
        }
    }
}

impl Wanted {
    /// The same with the router a network away.
    pub(crate) fn far(self) -> Self {
        let router = match self.is_over_ipv6() {
            true => "fd01::100",
            false => "10.1.0.100",
        };
        Self {
            router,
            far: true,
            ..self
        }
    }

    pub(crate) fn is_internal(&self) -> bool {
        self.asn == self.node_asn
    }

    /// Whether the node is an interface.
    pub(crate) fn is_unnumbered(&self) -> bool {
        self.node == "eth0"
    }

    pub(crate) fn is_over_ipv6(&self) -> bool {
        self.router.contains(':')
    }

    /// The families, in the words of the router.
    pub(crate) fn families(&self, ipv4: &'static str, ipv6: &'static str) -> Vec<&'static str> {
        let all = [(self.ipv4, ipv4), (self.ipv6, ipv6)];
        all.into_iter()
            .filter(|(has, _)| *has)
            .map(|(_, name)| name)
            .collect()
    }

    /// What the router announces of a family, in its own words.
    pub(crate) fn announced_of(&self, ipv6: bool, word: impl Fn(&str) -> String) -> String {
        let all = self.announced.iter();
        all.filter(|prefix| prefix.contains(':') == ipv6)
            .map(|prefix| word(prefix))
            .collect()
    }
}
