//! UPDATE (RFC 4271 §4.3) as it arrives, with what RFC 7606 makes of a malformed one. What is sent is written by
//! [`pack()`](super::pack()).

use ipnet::IpNet;
use ironlb_model::Family;

use super::attribute::{self, Decoded, kind};
use super::reader::Reader;
use super::{Action, Attributes, Error, Fault, FaultKind, Negotiated, NextHop, Prefixes};

/// Routes come and go.
///
/// A prefix may be among the withdrawn and among the announced: it is announced then (RFC 4271 §4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update<'a> {
    /// Gone: the field of its own, IPv4.
    pub withdrawn: Prefixes<'a>,
    /// Gone: MP_UNREACH_NLRI.
    pub unreachable: Prefixes<'a>,
    /// Announced: the field of its own, IPv4, with NEXT_HOP.
    pub announced: Prefixes<'a>,
    /// Announced: MP_REACH_NLRI.
    pub reachable: Prefixes<'a>,
    /// The next hop of `reachable`.
    pub next_hop: Option<NextHop>,
    /// What is said of the routes announced; malformed attributes are left out.
    pub attributes: Attributes,
    /// The family that the peer has now sent all routes of (RFC 4724 §2).
    pub end_of_rib: Option<Family>,
    /// What was wrong with it and did not end the session.
    pub faults: Vec<Fault>,
}

impl<'a> Update<'a> {
    /// Reads the body.
    ///
    /// # Errors
    /// Only what RFC 7606 resets the session for. Anything milder is in [`faults`](Self::faults), and heeded by
    /// [`routes_announced`](Self::routes_announced) and [`routes_withdrawn`](Self::routes_withdrawn).
    pub fn decode(body: &'a [u8], negotiated: &Negotiated) -> Result<Self, Error> {
        let fields = Fields::decode(body)?;
        let mut decoded = attribute::decode(fields.attributes, negotiated)?;
        let (mut withdrawn, mut announced) = (fields.withdrawn, fields.announced);
        let has_ipv4 = !withdrawn.is_empty() || !announced.is_empty();
        if has_ipv4 && !negotiated.ipv4 {
            decoded.faults.push(UNEXPECTED_IPV4);
            (withdrawn, announced) = (Prefixes::none(Family::V4), Prefixes::none(Family::V4));
        }
        demand_well_known(&mut decoded, announced.is_empty(), negotiated);
        if let Some(error) = routes_unknown(&decoded, &fields) {
            return Err(error);
        }
        let none = Prefixes::none(Family::V6);
        Ok(Self {
            withdrawn,
            unreachable: decoded.unreach.unwrap_or(none),
            announced,
            reachable: decoded.reach.map_or(none, |reach| reach.prefixes),
            next_hop: decoded.reach.map(|reach| reach.next_hop),
            end_of_rib: fields.end_of_rib(&decoded, negotiated),
            attributes: decoded.attributes,
            faults: decoded.faults,
        })
    }

    /// The strongest of what the faults ask for; `None` when there are none.
    pub fn action(&self) -> Option<Action> {
        self.faults.iter().map(|fault| fault.action).max()
    }

    /// The routes to add or replace; none when a fault turns them into withdrawals.
    pub fn routes_announced(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        let (announced, _) = self.divided();
        announced.into_iter().flat_map(|prefixes| prefixes.iter())
    }

    /// The routes to remove, those included that a fault turns into withdrawals.
    pub fn routes_withdrawn(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        let (_, too) = self.divided();
        let withdrawn = [self.withdrawn, self.unreachable].into_iter().chain(too);
        withdrawn.flat_map(|prefixes| prefixes.iter())
    }

    /// The announced routes: those to take, and those to withdraw. One of the two is empty.
    fn divided(&self) -> ([Prefixes<'a>; 2], [Prefixes<'a>; 2]) {
        let announced = [self.announced, self.reachable];
        let none = announced.map(|prefixes| Prefixes::none(prefixes.family()));
        if self.action() >= Some(Action::TreatAsWithdraw) {
            (none, announced)
        } else {
            (announced, none)
        }
    }
}

/// Prefixes in the fields for IPv4 while IPv4 is not exchanged.
const UNEXPECTED_IPV4: Fault = Fault {
    attribute: None,
    kind: FaultKind::Family,
    action: Action::AttributeDiscard,
};

/// The parts of the message.
struct Fields<'a> {
    withdrawn: Prefixes<'a>,
    attributes: &'a [u8],
    announced: Prefixes<'a>,
}

impl<'a> Fields<'a> {
    fn decode(body: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let withdrawn = reader.counted_u16();
        let withdrawn = withdrawn.ok_or(Error::Update("the withdrawn routes reach beyond it"))?;
        let attributes = reader.counted_u16();
        let attributes = attributes.ok_or(Error::Update("the attributes reach beyond it"))?;
        let prefixes =
            |bytes, field| Prefixes::decode(Family::V4, bytes).ok_or(Error::Network { field });
        Ok(Self {
            withdrawn: prefixes(withdrawn, "Withdrawn Routes")?,
            attributes,
            announced: prefixes(reader.rest(), "Network Layer Reachability Information")?,
        })
    }

    /// The family that it says no more routes follow of: nothing at all for IPv4, or an empty MP_UNREACH_NLRI alone.
    fn end_of_rib(&self, decoded: &Decoded<'_>, negotiated: &Negotiated) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.announced.is_empty() {
            return None;
        }
        if self.attributes.is_empty() {
            return negotiated.ipv4.then_some(Family::V4);
        }
        let alone = decoded
            .unreach
            .filter(|_| !decoded.has_more_than_unreach())?;
        (alone.is_empty() && decoded.faults.is_empty()).then_some(alone.family())
    }
}

/// Notes which attributes are missing that announced routes must have (RFC 4271 §5, RFC 4760 §3).
fn demand_well_known(decoded: &mut Decoded<'_>, no_classic: bool, negotiated: &Negotiated) {
    let no_other = decoded.reach.is_none_or(|reach| reach.prefixes.is_empty());
    if no_classic && no_other {
        return;
    }
    decoded.demand(kind::ORIGIN);
    decoded.demand(kind::AS_PATH);
    if !no_classic {
        decoded.demand(kind::NEXT_HOP);
    }
    if negotiated.internal {
        decoded.demand(kind::LOCAL_PREF);
    }
}

/// Routes cannot be treated as withdrawn when there are none, but attributes: those for them may not have been understood
/// (RFC 7606 §5.2).
fn routes_unknown(decoded: &Decoded<'_>, fields: &Fields<'_>) -> Option<Error> {
    let (fault, bytes) = decoded.withdrawing?;
    // What a family that is not exchanged has in it is not looked at: routes, it is taken.
    let reach = decoded.reach.map(|reach| !reach.prefixes.is_empty());
    let has_other = reach.unwrap_or_else(|| decoded.has(kind::MP_REACH_NLRI));
    let meant_for_routes = decoded.has_more_than_unreach() || fault.kind == FaultKind::Overrun;
    let doubtful = fields.announced.is_empty() && !has_other && meant_for_routes;
    doubtful.then(|| Error::Attribute {
        fault: Fault {
            action: Action::SessionReset,
            ..fault
        },
        bytes: bytes.to_vec(),
    })
}

#[cfg(test)]
mod tests;
