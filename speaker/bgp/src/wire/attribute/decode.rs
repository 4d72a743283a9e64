//! The attributes of an UPDATE as they arrive: what can be kept, and what is wrong with the rest (RFC 7606).

use std::net::Ipv4Addr;

use super::super::reader::Reader;
use super::super::{AS_TRANS, Action, Error, Fault, FaultKind, Negotiated, Prefixes};
use super::kind::{self, EXTENDED_LENGTH, OPTIONAL, TRANSITIVE};
use super::reach::{self, Reach};
use super::{Aggregator, AsPath, Attributes, Origin, UnknownAttribute, community};

/// What the attributes of one UPDATE say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decoded<'a> {
    pub(crate) attributes: Attributes,
    /// MP_REACH_NLRI of a family that is exchanged.
    pub(crate) reach: Option<Reach<'a>>,
    /// MP_UNREACH_NLRI of a family that is exchanged.
    pub(crate) unreach: Option<Prefixes<'a>>,
    pub(crate) faults: Vec<Fault>,
    /// The first fault that withdraws the routes, and the attribute.
    pub(crate) withdrawing: Option<(Fault, &'a [u8])>,
    /// The types that are there.
    seen: Kinds,
    as4_path: Option<AsPath>,
    as4_aggregator: Option<Aggregator>,
}

/// Reads the attributes. Nothing is said of those that are missing: that depends on the routes.
///
/// # Errors
/// What ends the session: MP_REACH_NLRI or MP_UNREACH_NLRI twice or unreadable, and an attribute that claims to be well-known.
pub(crate) fn decode<'a>(bytes: &'a [u8], negotiated: &Negotiated) -> Result<Decoded<'a>, Error> {
    let mut decoded = Decoded::default();
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let rest = reader.rest();
        let Some(raw) = Raw::take(&mut reader) else {
            // RFC 7606 §4: the routes in front of it are known, since MP_REACH_NLRI comes first.
            decoded.note(None, FaultKind::Overrun, Action::TreatAsWithdraw, rest);
            break;
        };
        decoded.add(&raw, negotiated)?;
    }
    decoded.merge_as4();
    Ok(decoded)
}

impl<'a> Decoded<'a> {
    /// Whether an attribute of this type is there, malformed or not.
    pub(crate) fn has(&self, kind: u8) -> bool {
        self.seen.has(kind)
    }

    /// Whether there are attributes beside MP_UNREACH_NLRI.
    pub(crate) fn has_more_than_unreach(&self) -> bool {
        (0..=u8::MAX).any(|kind| kind != kind::MP_UNREACH_NLRI && self.seen.has(kind))
    }

    /// Notes that a well-known attribute is not there, unless it is.
    pub(crate) fn demand(&mut self, kind: u8) {
        if !self.seen.has(kind) {
            self.note(Some(kind), FaultKind::Missing, Action::TreatAsWithdraw, &[]);
        }
    }

    fn note(&mut self, attribute: Option<u8>, kind: FaultKind, action: Action, bytes: &'a [u8]) {
        let fault = Fault {
            attribute,
            kind,
            action,
        };
        self.faults.push(fault);
        if action == Action::TreatAsWithdraw && self.withdrawing.is_none() {
            self.withdrawing = Some((fault, bytes));
        }
    }

    fn add(&mut self, raw: &Raw<'a>, negotiated: &Negotiated) -> Result<(), Error> {
        let multiprotocol = matches!(raw.kind, kind::MP_REACH_NLRI | kind::MP_UNREACH_NLRI);
        if self.seen.has(raw.kind) {
            if multiprotocol {
                return Err(raw.reset(FaultKind::Duplicate));
            }
            // RFC 7606 §3 g: the first counts.
            self.note(
                Some(raw.kind),
                FaultKind::Duplicate,
                Action::AttributeDiscard,
                raw.bytes,
            );
            return Ok(());
        }
        self.seen.insert(raw.kind);
        let Some(rule) = kind::rule(raw.kind) else {
            return self.add_unknown(raw);
        };
        if misplaced(raw.kind, negotiated) {
            self.note(
                Some(raw.kind),
                FaultKind::Misplaced,
                Action::AttributeDiscard,
                raw.bytes,
            );
            return Ok(());
        }
        if raw.flags & (OPTIONAL | TRANSITIVE) != rule.flags {
            // RFC 7606 §3 c. The routes must be known to be withdrawn.
            self.note(
                Some(raw.kind),
                FaultKind::Flags,
                Action::TreatAsWithdraw,
                raw.bytes,
            );
            if !multiprotocol {
                return Ok(());
            }
        }
        if multiprotocol {
            return self.add_routes(raw, negotiated);
        }
        if let Err(fault) = self.set(raw.kind, raw.value, negotiated) {
            self.note(Some(raw.kind), fault, rule.malformed, raw.bytes);
        }
        Ok(())
    }

    fn add_unknown(&mut self, raw: &Raw<'a>) -> Result<(), Error> {
        if raw.flags & OPTIONAL == 0 {
            return Err(raw.reset(FaultKind::Unrecognized));
        }
        self.attributes.unknown.push(UnknownAttribute {
            flags: raw.flags & !EXTENDED_LENGTH,
            kind: raw.kind,
            value: raw.value.to_vec(),
        });
        Ok(())
    }

    fn add_routes(&mut self, raw: &Raw<'a>, negotiated: &Negotiated) -> Result<(), Error> {
        let result = if raw.kind == kind::MP_REACH_NLRI {
            Reach::decode(raw.value, negotiated).map(|reach| self.reach = Some(reach))
        } else {
            reach::unreach(raw.value, negotiated).map(|routes| self.unreach = Some(routes))
        };
        match result {
            Ok(()) => {}
            Err(FaultKind::Family) => {
                self.note(
                    Some(raw.kind),
                    FaultKind::Family,
                    Action::AttributeDiscard,
                    raw.bytes,
                );
            }
            Err(fault) => return Err(raw.reset(fault)),
        }
        if self.reach.is_some_and(|reach| !reach.leads_to_a_host())
            && raw.kind == kind::MP_REACH_NLRI
        {
            self.note(
                Some(raw.kind),
                FaultKind::Value,
                Action::TreatAsWithdraw,
                raw.bytes,
            );
        }
        Ok(())
    }

    /// Keeps the value of an attribute that is where it belongs.
    fn set(&mut self, kind: u8, value: &[u8], negotiated: &Negotiated) -> Result<(), FaultKind> {
        let attributes = &mut self.attributes;
        match kind {
            kind::ORIGIN => {
                let [number] = exactly(value)?;
                attributes.origin = Origin::of(number).ok_or(FaultKind::Value)?;
            }
            kind::AS_PATH => attributes.as_path = as_path(value, negotiated)?,
            kind::NEXT_HOP => {
                let address = Ipv4Addr::from(exactly::<4>(value)?);
                let address = Some(address).filter(|address| reach::is_host(*address));
                attributes.next_hop = Some(address.ok_or(FaultKind::Value)?);
            }
            kind::MULTI_EXIT_DISC => attributes.med = Some(number(value)?),
            kind::LOCAL_PREF => attributes.local_pref = Some(number(value)?),
            kind::ATOMIC_AGGREGATE => {
                let [] = exactly(value)?;
                attributes.atomic_aggregate = true;
            }
            kind::AGGREGATOR => {
                attributes.aggregator = Some(aggregator(value, negotiated.four_octet_as)?);
            }
            kind::COMMUNITIES => {
                attributes.communities = community::communities(value).ok_or(FaultKind::Length)?;
            }
            kind::EXTENDED_COMMUNITIES => {
                let read = community::extended_communities(value);
                attributes.extended_communities = read.ok_or(FaultKind::Length)?;
            }
            kind::LARGE_COMMUNITY => {
                let read = community::large_communities(value);
                attributes.large_communities = read.ok_or(FaultKind::Length)?;
            }
            kind::AS4_PATH => {
                self.as4_path = Some(AsPath::decode(value, true).ok_or(FaultKind::Value)?);
            }
            kind::AS4_AGGREGATOR => self.as4_aggregator = Some(aggregator(value, true)?),
            kind::ORIGINATOR_ID => {
                number(value)?;
            }
            // CLUSTER_LIST, a list of numbers as communities are.
            _ => {
                community::communities(value).ok_or(FaultKind::Length)?;
            }
        }
        Ok(())
    }

    /// Puts what AS4_PATH and AS4_AGGREGATOR say into the places of what they stand beside (RFC 6793 §4.2.3).
    fn merge_as4(&mut self) {
        let (path, aggregator) = (self.as4_path.take(), self.as4_aggregator.take());
        let attributes = &mut self.attributes;
        if let (Some(short), Some(long)) = (&mut attributes.aggregator, aggregator) {
            if short.asn != u32::from(AS_TRANS) {
                // Somebody aggregated since who knows nothing of either: both are of an older route.
                return;
            }
            *short = long;
        }
        if let Some(path) = path {
            attributes.as_path = std::mem::take(&mut attributes.as_path).merged(path);
        }
    }
}

/// An attribute as received.
struct Raw<'a> {
    flags: u8,
    kind: u8,
    value: &'a [u8],
    /// All of it: flags, type, length, value.
    bytes: &'a [u8],
}

impl<'a> Raw<'a> {
    /// Takes one; `None` when it is cut short.
    fn take(reader: &mut Reader<'a>) -> Option<Self> {
        let before = *reader;
        let (flags, kind) = (reader.u8()?, reader.u8()?);
        let value = if flags & EXTENDED_LENGTH == 0 {
            reader.counted_u8()?
        } else {
            reader.counted_u16()?
        };
        let bytes = before.rest().get(..before.len() - reader.len())?;
        Some(Self {
            flags,
            kind,
            value,
            bytes,
        })
    }

    fn reset(&self, kind: FaultKind) -> Error {
        Error::Attribute {
            fault: Fault {
                attribute: Some(self.kind),
                kind,
                action: Action::SessionReset,
            },
            bytes: self.bytes.to_vec(),
        }
    }
}

/// A set of types of attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Kinds([u128; 2]);

impl Kinds {
    fn has(&self, kind: u8) -> bool {
        let Self([low, high]) = self;
        let half = if kind < 128 { low } else { high };
        half & (1 << (kind % 128)) != 0
    }

    fn insert(&mut self, kind: u8) {
        let Self([low, high]) = self;
        let half = if kind < 128 { low } else { high };
        *half |= 1 << (kind % 128);
    }
}

/// Whether an attribute of this type means nothing on such a session, whatever it holds (RFC 7606 §7.5, §7.9, §7.10,
/// RFC 6793 §4.1).
const fn misplaced(kind: u8, negotiated: &Negotiated) -> bool {
    match kind {
        kind::LOCAL_PREF | kind::ORIGINATOR_ID | kind::CLUSTER_LIST => !negotiated.internal,
        kind::AS4_PATH | kind::AS4_AGGREGATOR => negotiated.four_octet_as,
        _ => false,
    }
}

/// Confederations end at the border of theirs (RFC 5065 §5), and external peers are beyond it.
fn as_path(value: &[u8], negotiated: &Negotiated) -> Result<AsPath, FaultKind> {
    let path = AsPath::decode(value, negotiated.four_octet_as).ok_or(FaultKind::Value)?;
    if path.has_confederations() && !negotiated.internal {
        return Err(FaultKind::Value);
    }
    Ok(path)
}

fn aggregator(value: &[u8], four_octets: bool) -> Result<Aggregator, FaultKind> {
    let (asn, router_id) = if four_octets {
        let [a, b, c, d, router_id @ ..] = exactly::<8>(value)?;
        (u32::from_be_bytes([a, b, c, d]), router_id)
    } else {
        let [a, b, router_id @ ..] = exactly::<6>(value)?;
        (u16::from_be_bytes([a, b]).into(), router_id)
    };
    // RFC 7607.
    let asn = Some(asn).filter(|asn| *asn != 0).ok_or(FaultKind::Value)?;
    Ok(Aggregator {
        asn,
        router_id: router_id.into(),
    })
}

fn number(value: &[u8]) -> Result<u32, FaultKind> {
    exactly(value).map(u32::from_be_bytes)
}

fn exactly<const N: usize>(value: &[u8]) -> Result<[u8; N], FaultKind> {
    value.try_into().map_err(|_| FaultKind::Length)
}
