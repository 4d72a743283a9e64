//! The types of attributes: their numbers, names and flags.

use super::super::Action;

/// RFC 4271 §5.1.1.
pub(crate) const ORIGIN: u8 = 1;
/// RFC 4271 §5.1.2.
pub(crate) const AS_PATH: u8 = 2;
/// RFC 4271 §5.1.3.
pub(crate) const NEXT_HOP: u8 = 3;
/// RFC 4271 §5.1.4.
pub(crate) const MULTI_EXIT_DISC: u8 = 4;
/// RFC 4271 §5.1.5.
pub(crate) const LOCAL_PREF: u8 = 5;
/// RFC 4271 §5.1.6.
pub(crate) const ATOMIC_AGGREGATE: u8 = 6;
/// RFC 4271 §5.1.7.
pub(crate) const AGGREGATOR: u8 = 7;
/// RFC 1997.
pub(crate) const COMMUNITIES: u8 = 8;
/// RFC 4456 §8.
pub(crate) const ORIGINATOR_ID: u8 = 9;
/// RFC 4456 §8.
pub(crate) const CLUSTER_LIST: u8 = 10;
/// RFC 4760 §3.
pub(crate) const MP_REACH_NLRI: u8 = 14;
/// RFC 4760 §4.
pub(crate) const MP_UNREACH_NLRI: u8 = 15;
/// RFC 4360.
pub(crate) const EXTENDED_COMMUNITIES: u8 = 16;
/// RFC 6793 §3.
pub(crate) const AS4_PATH: u8 = 17;
/// RFC 6793 §3.
pub(crate) const AS4_AGGREGATOR: u8 = 18;
/// RFC 8092.
pub(crate) const LARGE_COMMUNITY: u8 = 32;

/// The bit of an attribute that a speaker need not know.
pub(crate) const OPTIONAL: u8 = 0x80;
/// The bit of an attribute that is passed on.
pub(crate) const TRANSITIVE: u8 = 0x40;
/// The bit of an attribute whose length takes two octets.
pub(crate) const EXTENDED_LENGTH: u8 = 0x10;

/// What an attribute of a type must look like, and what is done when it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The optional and the transitive bit.
    pub(crate) flags: u8,
    /// What is done about a malformed value (RFC 7606 §7). A wrong flag always withdraws (§3 c).
    pub(crate) malformed: Action,
}

/// The rule for attributes of type `kind`; `None` for one that means nothing to us.
pub(crate) const fn rule(kind: u8) -> Option<Rule> {
    let (flags, malformed) = match kind {
        ORIGIN | AS_PATH | NEXT_HOP | LOCAL_PREF => (TRANSITIVE, Action::TreatAsWithdraw),
        ATOMIC_AGGREGATE => (TRANSITIVE, Action::AttributeDiscard),
        AGGREGATOR | AS4_PATH | AS4_AGGREGATOR => (OPTIONAL | TRANSITIVE, Action::AttributeDiscard),
        COMMUNITIES | EXTENDED_COMMUNITIES | LARGE_COMMUNITY => {
            (OPTIONAL | TRANSITIVE, Action::TreatAsWithdraw)
        }
        MULTI_EXIT_DISC | ORIGINATOR_ID | CLUSTER_LIST => (OPTIONAL, Action::TreatAsWithdraw),
        MP_REACH_NLRI | MP_UNREACH_NLRI => (OPTIONAL, Action::SessionReset),
        _ => return None,
    };
    Some(Rule { flags, malformed })
}

/// The name of type `kind`; `None` for one that means nothing to us.
pub(crate) const fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        ORIGIN => "ORIGIN",
        AS_PATH => "AS_PATH",
        NEXT_HOP => "NEXT_HOP",
        MULTI_EXIT_DISC => "MULTI_EXIT_DISC",
        LOCAL_PREF => "LOCAL_PREF",
        ATOMIC_AGGREGATE => "ATOMIC_AGGREGATE",
        AGGREGATOR => "AGGREGATOR",
        COMMUNITIES => "COMMUNITIES",
        ORIGINATOR_ID => "ORIGINATOR_ID",
        CLUSTER_LIST => "CLUSTER_LIST",
        MP_REACH_NLRI => "MP_REACH_NLRI",
        MP_UNREACH_NLRI => "MP_UNREACH_NLRI",
        EXTENDED_COMMUNITIES => "EXTENDED COMMUNITIES",
        AS4_PATH => "AS4_PATH",
        AS4_AGGREGATOR => "AS4_AGGREGATOR",
        LARGE_COMMUNITY => "LARGE_COMMUNITY",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_with_a_rule_has_a_name_and_no_other() {
        for kind in 0..=255 {
            assert_eq!(rule(kind).is_some(), name(kind).is_some(), "{kind}");
        }
    }
}
