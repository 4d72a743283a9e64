//! Two connections between the same two speakers, and which of them stays (RFC 4271 §6.8).

use std::net::Ipv4Addr;

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// We dialled.
    Outbound,
    /// The peer dialled.
    Inbound,
}

/// What decides between two speakers: the BGP identifier, and where that is the same the AS number (RFC 6286 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    /// The BGP identifier.
    pub(crate) router_id: Ipv4Addr,
    /// The AS number of the OPEN.
    pub(crate) asn: u32,
}

/// Whose connection stays when neither is Established: that of the speaker with the higher rank.
///
/// Both sides come to the same result. Equal ranks would be one speaker twice; its OPEN is refused before.
pub(crate) fn survivor(local: Rank, remote: Rank) -> Direction {
    if local < remote {
        Direction::Inbound
    } else {
        Direction::Outbound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(router_id: u32, asn: u32) -> Rank {
        Rank {
            router_id: router_id.into(),
            asn,
        }
    }

    #[test]
    fn the_connection_of_the_higher_identifier_stays() {
        assert_eq!(survivor(rank(1, 9), rank(2, 1)), Direction::Inbound);
        assert_eq!(survivor(rank(2, 1), rank(1, 9)), Direction::Outbound);
    }

    #[test]
    fn identifiers_are_compared_as_numbers_in_host_order() {
        let low = rank(u32::from(Ipv4Addr::new(9, 255, 255, 255)), 1);
        let high = rank(u32::from(Ipv4Addr::new(10, 0, 0, 1)), 1);
        assert_eq!(survivor(low, high), Direction::Inbound);
    }

    #[test]
    fn where_identifiers_are_equal_the_higher_as_number_decides() {
        assert_eq!(
            survivor(rank(1, 65_001), rank(1, 65_000)),
            Direction::Outbound
        );
        assert_eq!(
            survivor(rank(1, 65_000), rank(1, 4_200_000_000)),
            Direction::Inbound
        );
    }

    #[test]
    fn both_sides_keep_the_same_connection() {
        for (one, other) in [(rank(1, 1), rank(2, 1)), (rank(7, 3), rank(7, 2))] {
            assert_ne!(survivor(one, other), survivor(other, one));
        }
    }
}
