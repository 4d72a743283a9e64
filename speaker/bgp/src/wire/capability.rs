//! Capabilities (RFC 5492), what a speaker offers in its OPEN.

use std::collections::{BTreeMap, BTreeSet};

use ironlb_model::Family;

use super::reader::Reader;
use super::writer::counted_u8;
use super::{AfiSafi, Error};

/// What one OPEN offers. The default offers nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Code 1: families (RFC 4760 §8). Empty means IPv4 unicast alone.
    pub multiprotocol: BTreeSet<AfiSafi>,
    /// Code 2: route refresh (RFC 2918).
    pub route_refresh: bool,
    /// Code 5: families whose routes may have a next hop of another AFI (RFC 8950), and that AFI.
    pub extended_next_hop: BTreeSet<(AfiSafi, u16)>,
    /// Code 6: messages of up to 65,535 bytes may be sent to it (RFC 8654).
    pub extended_message: bool,
    /// Code 64: graceful restart (RFC 4724).
    pub graceful_restart: Option<GracefulRestart>,
    /// Code 65: four-octet AS numbers, and its own (RFC 6793).
    pub four_octet_as: Option<u32>,
    /// Code 70: enhanced route refresh (RFC 7313).
    pub enhanced_route_refresh: bool,
    /// Code 74: the session is to wait for BFD (draft-ietf-idr-bgp-bfd-strict-mode §5).
    pub bfd_strict: bool,
    /// Code 73: its name (draft-walton-bgp-hostname-capability).
    pub fqdn: Option<Fqdn>,
    /// Codes that mean nothing to us.
    pub unknown: BTreeSet<u8>,
    /// Codes that mean something, with a value that does not: taken as not offered.
    pub unreadable: BTreeSet<u8>,
}

/// Graceful restart (RFC 4724 §3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GracefulRestart {
    /// R: it has restarted, and waits for End-of-RIB of its peers.
    pub restarting: bool,
    /// N: routes are kept over a NOTIFICATION too (RFC 8538 §2).
    pub notification: bool,
    /// How long its routes are to be kept until it is back, in seconds, at most 4095.
    pub restart_time: u16,
    /// The families whose forwarding state it can keep, and F, whether it did this time.
    pub families: BTreeMap<AfiSafi, bool>,
}

/// The name of a router, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fqdn {
    /// Its host name; bytes that are not UTF-8 are replaced.
    pub host: String,
    /// Its domain, often empty.
    pub domain: String,
}

impl Capabilities {
    /// Whether IPv4 unicast routes may have an IPv6 next hop.
    pub fn ipv4_over_ipv6(&self) -> bool {
        self.extended_next_hop.contains(&(AfiSafi::IPV4_UNICAST, 2))
    }

    /// Whether unicast routes of `family` are offered: without any family, those of IPv4 (RFC 4760 §8).
    pub fn offers(&self, family: Family) -> bool {
        if self.multiprotocol.is_empty() {
            return family == Family::V4;
        }
        self.multiprotocol.contains(&family.into())
    }

    /// Reads the value of one optional parameter, and adds what it offers.
    ///
    /// # Errors
    /// When a capability reaches beyond it, or the one for four-octet AS numbers cannot be read: without it nobody knows how the
    /// peer writes paths.
    pub(crate) fn read(&mut self, value: &[u8]) -> Result<(), Error> {
        let mut reader = Reader::new(value);
        while !reader.is_empty() {
            let (Some(code), Some(value)) = (reader.u8(), reader.counted_u8()) else {
                return Err(Error::Open("a capability reaches beyond its parameter"));
            };
            self.take(code, value)?;
        }
        Ok(())
    }

    /// Adds one capability. What it makes of a value that it cannot read is [`unreadable`](Self::unreadable).
    fn take(&mut self, code: u8, value: &[u8]) -> Result<(), Error> {
        let understood = match code {
            code::MULTIPROTOCOL => family(value).map(|family| {
                self.multiprotocol.insert(family);
            }),
            code::ROUTE_REFRESH => flag(value, &mut self.route_refresh),
            code::EXTENDED_NEXT_HOP => next_hops(value, &mut self.extended_next_hop),
            code::EXTENDED_MESSAGE => flag(value, &mut self.extended_message),
            // The last one counts (RFC 4724 §3).
            code::GRACEFUL_RESTART => GracefulRestart::decode(value).map(|restart| {
                self.graceful_restart = Some(restart);
            }),
            code::FOUR_OCTET_AS => {
                let asn = value.first_chunk().filter(|_| value.len() == 4);
                let asn = asn.ok_or(Error::Open("the four-octet AS number has not 4 octets"))?;
                self.four_octet_as = Some(u32::from_be_bytes(*asn));
                Some(())
            }
            code::ENHANCED_ROUTE_REFRESH => flag(value, &mut self.enhanced_route_refresh),
            code::BFD_STRICT => flag(value, &mut self.bfd_strict),
            code::FQDN => Fqdn::decode(value).map(|fqdn| {
                self.fqdn = Some(fqdn);
            }),
            _ => {
                self.unknown.insert(code);
                Some(())
            }
        };
        if understood.is_none() {
            self.unreadable.insert(code);
        }
        Ok(())
    }

    /// Appends all that is offered. [`unknown`](Self::unknown) and [`unreadable`](Self::unreadable) are what a peer said.
    pub(crate) fn encode(&self, to: &mut Vec<u8>) {
        for family in &self.multiprotocol {
            capability(to, code::MULTIPROTOCOL, |to| {
                to.extend_from_slice(&family.afi.to_be_bytes());
                to.extend_from_slice(&[0, family.safi]);
            });
        }
        if self.route_refresh {
            capability(to, code::ROUTE_REFRESH, |_| {});
        }
        if !self.extended_next_hop.is_empty() {
            capability(to, code::EXTENDED_NEXT_HOP, |to| {
                // As many as a capability has room for.
                for (family, next_hop) in self.extended_next_hop.iter().take(42) {
                    to.extend_from_slice(&family.afi.to_be_bytes());
                    to.extend_from_slice(&[0, family.safi]);
                    to.extend_from_slice(&next_hop.to_be_bytes());
                }
            });
        }
        if self.extended_message {
            capability(to, code::EXTENDED_MESSAGE, |_| {});
        }
        if let Some(restart) = &self.graceful_restart {
            capability(to, code::GRACEFUL_RESTART, |to| restart.encode(to));
        }
        if let Some(asn) = self.four_octet_as {
            capability(to, code::FOUR_OCTET_AS, |to| {
                to.extend_from_slice(&asn.to_be_bytes());
            });
        }
        if self.enhanced_route_refresh {
            capability(to, code::ENHANCED_ROUTE_REFRESH, |_| {});
        }
        if self.bfd_strict {
            capability(to, code::BFD_STRICT, |_| {});
        }
        if let Some(fqdn) = &self.fqdn {
            capability(to, code::FQDN, |to| fqdn.encode(to));
        }
    }
}

impl GracefulRestart {
    fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let head = reader.u16()?;
        let mut families = BTreeMap::new();
        while !reader.is_empty() {
            let [high, low, safi, flags] = reader.array()?;
            let afi = u16::from_be_bytes([high, low]);
            families.insert(AfiSafi { afi, safi }, flags & 0x80 != 0);
        }
        Some(Self {
            restarting: head & RESTARTING != 0,
            notification: head & NOTIFICATION != 0,
            restart_time: head & LONGEST_RESTART_TIME,
            families,
        })
    }

    fn encode(&self, to: &mut Vec<u8>) {
        let mut head = self.restart_time.min(LONGEST_RESTART_TIME);
        if self.restarting {
            head |= RESTARTING;
        }
        if self.notification {
            head |= NOTIFICATION;
        }
        to.extend_from_slice(&head.to_be_bytes());
        // As many as a capability has room for.
        for (family, forwarding) in self.families.iter().take(63) {
            to.extend_from_slice(&family.afi.to_be_bytes());
            to.extend_from_slice(&[family.safi, if *forwarding { 0x80 } else { 0 }]);
        }
    }
}

impl Fqdn {
    fn decode(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value);
        let mut name = || Some(String::from_utf8_lossy(reader.counted_u8()?).into_owned());
        let (host, domain) = (name()?, name()?);
        reader.is_empty().then_some(Self { host, domain })
    }

    fn encode(&self, to: &mut Vec<u8>) {
        for name in [&self.host, &self.domain] {
            let end = name.floor_char_boundary(LONGEST_NAME);
            let name = name.get(..end).unwrap_or_default();
            counted_u8(to, |to| to.extend_from_slice(name.as_bytes()));
        }
    }
}

/// The codes of the IANA registry.
mod code {
    pub(super) const MULTIPROTOCOL: u8 = 1;
    pub(super) const ROUTE_REFRESH: u8 = 2;
    pub(super) const EXTENDED_NEXT_HOP: u8 = 5;
    pub(super) const EXTENDED_MESSAGE: u8 = 6;
    pub(super) const GRACEFUL_RESTART: u8 = 64;
    pub(super) const FOUR_OCTET_AS: u8 = 65;
    pub(super) const ENHANCED_ROUTE_REFRESH: u8 = 70;
    pub(super) const FQDN: u8 = 73;
    pub(super) const BFD_STRICT: u8 = 74;
}

/// Bits in front of the restart time.
const RESTARTING: u16 = 0x8000;
const NOTIFICATION: u16 = 0x4000;
/// In seconds.
const LONGEST_RESTART_TIME: u16 = 0x0fff;
/// In bytes.
const LONGEST_NAME: usize = 64;

fn capability(to: &mut Vec<u8>, code: u8, value: impl FnOnce(&mut Vec<u8>)) {
    to.push(code);
    counted_u8(to, value);
}

/// A capability that has no value sets its flag.
fn flag(value: &[u8], flag: &mut bool) -> Option<()> {
    *flag |= value.is_empty();
    value.is_empty().then_some(())
}

fn family(value: &[u8]) -> Option<AfiSafi> {
    let [high, low, _reserved, safi] = *value.as_array()?;
    let afi = u16::from_be_bytes([high, low]);
    Some(AfiSafi { afi, safi })
}

/// Adds those whose SAFI fits in one octet: there is no other.
fn next_hops(value: &[u8], to: &mut BTreeSet<(AfiSafi, u16)>) -> Option<()> {
    let mut reader = Reader::new(value);
    let mut read = Vec::new();
    while !reader.is_empty() {
        let (afi, safi, next_hop) = (reader.u16()?, reader.u16()?, reader.u16()?);
        if let Ok(safi) = u8::try_from(safi) {
            read.push((AfiSafi { afi, safi }, next_hop));
        }
    }
    to.extend(read);
    Some(())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.read(bytes).unwrap();
        capabilities
    }

    #[test]
    fn what_cannot_be_read_is_not_offered_and_remembered() {
        for (code, value) in [
            (1, 3),
            (2, 1),
            (5, 5),
            (6, 1),
            (64, 1),
            (64, 3),
            (70, 1),
            (73, 3),
            (74, 1),
        ] {
            let mut bytes = vec![code, value];
            bytes.extend(std::iter::repeat_n(1, value.into()));
            let capabilities = read(&bytes);
            let expected = Capabilities {
                unreadable: [code].into(),
                ..Capabilities::default()
            };
            assert_eq!(capabilities, expected, "code {code}");
        }
    }

    #[test]
    fn unknown_capabilities_are_remembered_by_code() {
        let capabilities = read(&[128, 0, 69, 4, 0, 1, 1, 3, 2, 0]);
        assert_eq!(capabilities.unknown, [69, 128].into());
        assert!(capabilities.route_refresh);
    }

    #[test]
    fn an_as_number_that_cannot_be_read_ends_the_session() {
        for length in [0, 3, 5] {
            let mut bytes = vec![65, length];
            bytes.extend(std::iter::repeat_n(1, length.into()));
            assert!(Capabilities::default().read(&bytes).is_err(), "{length}");
        }
    }

    #[test]
    fn a_capability_that_is_cut_short_ends_the_session() {
        for bytes in [&[1][..], &[1, 4, 0, 1, 0], &[2, 0, 64, 1]] {
            let error = Capabilities::default().read(bytes).unwrap_err();
            assert_eq!(error.reason(), super::super::Reason::OPEN, "{bytes:?}");
        }
    }

    #[test]
    fn of_two_graceful_restarts_the_last_counts() {
        let capabilities = read(&[64, 2, 0x80, 120, 64, 6, 0x40, 90, 0, 1, 1, 0x80]);
        let expected = GracefulRestart {
            restarting: false,
            notification: true,
            restart_time: 90,
            families: [(AfiSafi::IPV4_UNICAST, true)].into(),
        };
        assert_eq!(capabilities.graceful_restart, Some(expected));
    }

    #[test]
    fn without_families_ipv4_is_offered() {
        assert!(read(&[]).offers(Family::V4) && !read(&[]).offers(Family::V6));
        let ipv6 = read(&[1, 4, 0, 2, 0, 1]);
        assert!(!ipv6.offers(Family::V4) && ipv6.offers(Family::V6));
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let fqdn = Fqdn {
            host: "ä".repeat(40),
            domain: String::new(),
        };
        let mut bytes = Vec::new();
        fqdn.encode(&mut bytes);
        assert_eq!(Fqdn::decode(&bytes).unwrap().host, "ä".repeat(32));
    }

    pub(crate) fn any_capabilities() -> impl Strategy<Value = Capabilities> {
        let family = || (any::<u16>(), any::<u8>()).prop_map(|(afi, safi)| AfiSafi { afi, safi });
        let restart = (
            any::<(bool, bool)>(),
            0..=LONGEST_RESTART_TIME,
            prop::collection::btree_map(family(), any::<bool>(), 0..8),
        )
            .prop_map(|((restarting, notification), restart_time, families)| {
                GracefulRestart {
                    restarting,
                    notification,
                    restart_time,
                    families,
                }
            });
        (
            prop::collection::btree_set(family(), 0..40),
            prop::collection::btree_set((family(), any::<u16>()), 0..8),
            any::<[bool; 4]>(),
            prop::option::of(restart),
            prop::option::of(1..=u32::MAX),
            prop::option::of(("[a-z]{0,64}", "[a-z.]{0,64}")),
        )
            .prop_map(
                |(multiprotocol, extended_next_hop, flags, graceful_restart, asn, fqdn)| {
                    let [
                        route_refresh,
                        extended_message,
                        enhanced_route_refresh,
                        bfd_strict,
                    ] = flags;
                    Capabilities {
                        multiprotocol,
                        route_refresh,
                        extended_next_hop,
                        extended_message,
                        graceful_restart,
                        four_octet_as: asn.filter(|asn| *asn != 23456),
                        enhanced_route_refresh,
                        bfd_strict,
                        fqdn: fqdn.map(|(host, domain)| Fqdn { host, domain }),
                        unknown: BTreeSet::new(),
                        unreadable: BTreeSet::new(),
                    }
                },
            )
    }

    proptest! {
        #[test]
        fn what_is_offered_survives_the_round_trip(capabilities in any_capabilities()) {
            let mut bytes = Vec::new();
            capabilities.encode(&mut bytes);
            prop_assert_eq!(read(&bytes), capabilities);
        }
    }
}
