//! Prefixes as UPDATEs hold them (RFC 4271 §4.3): a length in bits, and as many octets as it needs.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ironlb_model::Family;

use super::reader::Reader;

/// Prefixes of one family in a message, checked, and read again as they are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Prefixes<'a> {
    family: Family,
    bytes: &'a [u8],
}

impl<'a> Prefixes<'a> {
    /// None of `family`.
    pub const fn none(family: Family) -> Self {
        Self { family, bytes: &[] }
    }

    /// All of `bytes`; `None` when a prefix is longer than an address or cut short (RFC 7606 §5.3).
    pub(crate) fn decode(family: Family, bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        while !reader.is_empty() {
            next(family, &mut reader)?;
        }
        Some(Self { family, bytes })
    }

    /// Their family.
    pub const fn family(&self) -> Family {
        self.family
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// One by one, in the order of the message, bits beyond the length cleared.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + use<'a> {
        let (family, mut reader) = (self.family, Reader::new(self.bytes));
        std::iter::from_fn(move || next(family, &mut reader))
    }
}

impl fmt::Debug for Prefixes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// Takes one prefix; `None` at the end and when it cannot be read.
fn next(family: Family, reader: &mut Reader<'_>) -> Option<IpNet> {
    let length = reader.u8().filter(|length| *length <= family.bits())?;
    let octets = reader.bytes(octets(length))?;
    Some(match family {
        Family::V4 => {
            let address = Ipv4Addr::from(padded::<4>(octets));
            Ipv4Net::new(address, length).ok()?.trunc().into()
        }
        Family::V6 => {
            let address = Ipv6Addr::from(padded::<16>(octets));
            Ipv6Net::new(address, length).ok()?.trunc().into()
        }
    })
}

/// Appends `prefix`, its host bits cleared.
pub(crate) fn encode(prefix: IpNet, to: &mut Vec<u8>) {
    let length = prefix.prefix_len();
    to.push(length);
    let length = octets(length);
    match prefix {
        IpNet::V4(prefix) => to.extend(prefix.network().octets().get(..length).unwrap_or_default()),
        IpNet::V6(prefix) => to.extend(prefix.network().octets().get(..length).unwrap_or_default()),
    }
}

/// How many bytes [`encode`] appends for `prefix`.
pub(crate) fn encoded_length(prefix: &IpNet) -> usize {
    1 + octets(prefix.prefix_len())
}

/// The most that [`encode`] appends.
pub(crate) const MAX_LENGTH: usize = 17;

/// How many octets a prefix of so many bits needs.
fn octets(bits: u8) -> usize {
    usize::from(bits).div_ceil(8)
}

fn padded<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    for (to, from) in padded.iter_mut().zip(octets) {
        *to = *from;
    }
    padded
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(family: Family, bytes: &[u8]) -> Option<Vec<String>> {
        let prefixes = Prefixes::decode(family, bytes)?;
        Some(prefixes.iter().map(|prefix| prefix.to_string()).collect())
    }

    #[test]
    fn a_prefix_takes_as_many_octets_as_it_needs() {
        let bytes = [0, 8, 10, 9, 10, 128, 24, 192, 0, 2, 32, 192, 0, 2, 1];
        let read = read(Family::V4, &bytes).unwrap();
        assert_eq!(
            read,
            [
                "0.0.0.0/0",
                "10.0.0.0/8",
                "10.128.0.0/9",
                "192.0.2.0/24",
                "192.0.2.1/32"
            ]
        );
    }

    #[test]
    fn bits_beyond_the_length_are_cleared() {
        let prefixes = read(Family::V4, &[9, 10, 255]).unwrap();
        assert_eq!(prefixes, ["10.128.0.0/9"]);
    }

    #[test]
    fn a_prefix_longer_than_an_address_is_refused() {
        assert!(read(Family::V4, &[33, 1, 2, 3, 4, 5]).is_none());
        assert!(read(Family::V6, &[33, 0x20, 1, 0xd, 0xb8, 0]).is_some());
        assert!(read(Family::V6, &[[129].as_slice(), &[0; 17]].concat()).is_none());
    }

    #[test]
    fn a_prefix_that_is_cut_short_is_refused() {
        for bytes in [&[1][..], &[32, 1, 2, 3], &[8, 10, 16, 10]] {
            assert!(read(Family::V4, bytes).is_none(), "{bytes:?}");
        }
    }

    pub(crate) fn any_prefix(family: Family) -> impl Strategy<Value = IpNet> {
        let length = prop_oneof![Just(family.bits()), 0..=family.bits()];
        (any::<u128>(), length).prop_map(move |(number, length)| {
            let address = ironlb_model::addr::address(family, number);
            IpNet::new(address, length).unwrap().trunc()
        })
    }

    proptest! {
        #[test]
        fn prefixes_survive_the_round_trip(
            v4 in prop::collection::vec(any_prefix(Family::V4), 0..50),
            v6 in prop::collection::vec(any_prefix(Family::V6), 0..50),
        ) {
            for (family, prefixes) in [(Family::V4, v4), (Family::V6, v6)] {
                let mut bytes = Vec::new();
                for prefix in &prefixes {
                    let before = bytes.len();
                    encode(*prefix, &mut bytes);
                    prop_assert_eq!(bytes.len() - before, encoded_length(prefix));
                }
                let read: Vec<_> = Prefixes::decode(family, &bytes).unwrap().iter().collect();
                prop_assert_eq!(read, prefixes);
            }
        }
    }
}
