//! Address families and ranges of addresses.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both, IPv4 first.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The family of `address`.
    pub const fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The other one.
    pub const fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// Length of an address of this family in bits.
    pub const fn bits(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// A run of addresses of one family, both ends included.
///
/// Ordered by family, first and last address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    family: Family,
    first: u128,
    last: u128,
}

impl Range {
    /// The addresses from `first` to `last`; `None` when the families differ or `first` is after `last`.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        let family = Family::of(first);
        let (first, from_last) = (number(first), number(last));
        (family == Family::of(last) && first <= from_last).then_some(Self {
            family,
            first,
            last: from_last,
        })
    }

    /// Every address of `net`, network and broadcast address included; host bits are ignored.
    pub fn from_net(net: IpNet) -> Self {
        Self {
            family: Family::of(net.addr()),
            first: number(net.network()),
            last: number(net.broadcast()),
        }
    }

    /// The family of every address in it.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// The lowest address.
    pub fn first(&self) -> IpAddr {
        address(self.family, self.first)
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        address(self.family, self.last)
    }

    /// The lowest address as a number.
    pub const fn first_number(&self) -> u128 {
        self.first
    }

    /// The highest address as a number.
    pub const fn last_number(&self) -> u128 {
        self.last
    }

    /// How many addresses; saturates for `::/0`.
    pub const fn len(&self) -> u128 {
        (self.last - self.first).saturating_add(1)
    }

    /// Never: a range has at least one address.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Whether `address` is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let number = number(address);
        Family::of(address) == self.family && self.first <= number && number <= self.last
    }

    /// Whether the two have an address in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.family == other.family && self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = self.len();
        let bits = length.trailing_zeros();
        if length.is_power_of_two() && self.first.trailing_zeros().min(128) >= bits {
            let prefix = u32::from(self.family.bits()).saturating_sub(bits);
            write!(f, "{}/{prefix}", self.first())
        } else {
            write!(f, "{}-{}", self.first(), self.last())
        }
    }
}

/// `address` as a number; an IPv4 address is at most `u32::MAX`.
pub fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address of `family` with this number; the low 32 bits count for IPv4.
pub fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from_bits(u32::try_from(number & 0xffff_ffff).unwrap_or(0)).into(),
        Family::V6 => Ipv6Addr::from_bits(number).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> Option<Range> {
        Range::new(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn ends_must_be_of_one_family_and_in_order() {
        assert!(range("192.0.2.1", "2001:db8::1").is_none());
        assert!(range("192.0.2.2", "192.0.2.1").is_none());
        assert_eq!(range("192.0.2.1", "192.0.2.1").unwrap().len(), 1);
    }

    #[test]
    fn a_prefix_prints_as_one_and_another_range_as_its_ends() {
        assert_eq!(
            range("192.0.2.0", "192.0.2.255").unwrap().to_string(),
            "192.0.2.0/24"
        );
        assert_eq!(
            range("192.0.2.1", "192.0.2.2").unwrap().to_string(),
            "192.0.2.1-192.0.2.2"
        );
        assert_eq!(
            range("2001:db8::5", "2001:db8::5").unwrap().to_string(),
            "2001:db8::5/128"
        );
        assert_eq!(
            range("0.0.0.0", "255.255.255.255").unwrap().to_string(),
            "0.0.0.0/0"
        );
    }

    #[test]
    fn an_address_is_in_a_range_of_its_own_family_only() {
        let all = range("::", "::ffff:ffff").unwrap();
        assert!(!all.contains("0.0.0.1".parse().unwrap()));
        assert!(all.contains("::1".parse().unwrap()));
    }

    #[test]
    fn ranges_that_share_an_end_overlap() {
        let low = range("192.0.2.1", "192.0.2.5").unwrap();
        assert!(low.overlaps(&range("192.0.2.5", "192.0.2.9").unwrap()));
        assert!(!low.overlaps(&range("192.0.2.6", "192.0.2.9").unwrap()));
    }

    #[test]
    fn host_bits_of_a_prefix_are_ignored() {
        let net = Range::from_net("192.0.2.77/24".parse().unwrap());
        assert_eq!(net, range("192.0.2.0", "192.0.2.255").unwrap());
    }
}
