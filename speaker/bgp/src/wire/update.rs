//! UPDATE (RFC 4271 §4.3) as it arrives, with what RFC 7606 makes of a malformed one. What is sent is written by
//! [`pack`](super::pack).

use ipnet::IpNet;
use ironlb_model::Family;

use super::{Action, Attributes, Error, Fault, Negotiated, NextHop, Prefixes};

/// Routes come and go.
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
    /// [`announced`](Self::routes_announced) and [`withdrawn`](Self::routes_withdrawn).
    pub fn decode(body: &'a [u8], negotiated: &Negotiated) -> Result<Self, Error> {
        let _ = (body, negotiated);
        todo!()
    }

    /// The strongest of what the faults ask for; `None` when there are none.
    pub fn action(&self) -> Option<Action> {
        self.faults.iter().map(|fault| fault.action).max()
    }

    /// The routes to add or replace; none when a fault turns them into withdrawals.
    pub fn routes_announced(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        let none = self.action() == Some(Action::TreatAsWithdraw);
        let (announced, reachable) = if none {
            (Prefixes::none(Family::V4), Prefixes::none(Family::V4))
        } else {
            (self.announced, self.reachable)
        };
        announced.iter().chain(reachable.iter())
    }

    /// The routes to remove, those included that a fault turns into withdrawals.
    pub fn routes_withdrawn(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        let too = self.action() == Some(Action::TreatAsWithdraw);
        let (announced, reachable) = if too {
            (self.announced, self.reachable)
        } else {
            (Prefixes::none(Family::V4), Prefixes::none(Family::V4))
        };
        let gone = self.withdrawn.iter().chain(self.unreachable.iter());
        gone.chain(announced.iter()).chain(reachable.iter())
    }
}
