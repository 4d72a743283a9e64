//! A few ranges that contain many addresses: what a filter in the kernel can afford to look at.
//!
//! They may contain others as well; what passes the filter is judged exactly by `ironlb-l2`.

use std::net::IpAddr;

/// Which addresses frames are wanted about, and perhaps some beside them.
///
/// Of IPv6 only the low 32 bits count, of which addresses of one pool differ in few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cover {
    /// First and last, ascending.
    pub(crate) v4: Vec<(u32, u32)>,
    /// First and last of the low 32 bits, ascending.
    pub(crate) v6: Vec<(u32, u32)>,
}

impl Cover {
    /// The smallest cover of `addresses` in at most 32 ranges for each family.
    pub fn of(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for address in addresses {
            match address {
                IpAddr::V4(address) => v4.push(address.to_bits()),
                IpAddr::V6(address) => {
                    let [.., a, b, c, d] = address.octets();
                    v6.push(u32::from_be_bytes([a, b, c, d]));
                }
            }
        }
        Self {
            v4: ranges(v4),
            v6: ranges(v6),
        }
    }
}

/// Splits at the widest gaps.
fn ranges(mut numbers: Vec<u32>) -> Vec<(u32, u32)> {
    numbers.sort_unstable();
    numbers.dedup();
    let neighbours = numbers.iter().zip(numbers.iter().skip(1));
    let mut gaps: Vec<(u32, u32)> = neighbours
        .map(|(before, after)| (*before, *after))
        .filter(|(before, after)| after - before > 1)
        .collect();
    if gaps.len() >= RANGES {
        gaps.select_nth_unstable_by_key(RANGES - 1, |(before, after)| {
            std::cmp::Reverse(after - before)
        });
        gaps.truncate(RANGES - 1);
        gaps.sort_unstable();
    }
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return Vec::new();
    };
    let starts = std::iter::once(*first).chain(gaps.iter().map(|(_, after)| *after));
    let ends = gaps.iter().map(|(before, _)| *before).chain([*last]);
    starts.zip(ends).collect()
}

/// A comparison or two each, for every frame of the protocol.
const RANGES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn neighbours_are_one_range_and_others_are_their_own() {
        assert_eq!(ranges(vec![7, 3, 4, 5, 4]), [(3, 5), (7, 7)]);
        assert_eq!(ranges(vec![]), []);
        assert_eq!(ranges(vec![0, u32::MAX]), [(0, 0), (u32::MAX, u32::MAX)]);
    }

    #[test]
    fn families_are_kept_apart() {
        let cover = Cover::of([ip("192.0.2.1"), ip("2001:db8::c000:202"), ip("fd00::1")]);
        assert_eq!(cover.v4, [(0xc000_0201, 0xc000_0201)]);
        assert_eq!(cover.v6, [(1, 1), (0xc000_0202, 0xc000_0202)]);
    }

    #[test]
    fn many_scattered_addresses_are_all_covered_by_32_ranges_split_at_the_widest_gaps() {
        // Steps of 2, but each 100th of 1000: 49 wide gaps.
        let mut numbers = Vec::new();
        let mut next = 10;
        for number in 0..5_000u32 {
            next += if number % 100 == 99 {
                1_000 + number
            } else {
                2
            };
            numbers.push(next);
        }
        let ranges = ranges(numbers.clone());
        assert_eq!(ranges.len(), RANGES);
        for number in &numbers {
            assert!(
                ranges
                    .iter()
                    .any(|(first, last)| first <= number && number <= last)
            );
        }
        let covered: u32 = ranges.iter().map(|(first, last)| last - first + 1).sum();
        assert!(covered < numbers[4_999] - numbers[0]);
        assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0));
        let kept = ranges.windows(2).map(|pair| pair[1].0 - pair[0].1).min();
        assert!(kept >= Some(1_000), "{kept:?}");
    }
}
