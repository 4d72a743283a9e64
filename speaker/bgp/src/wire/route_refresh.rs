//! ROUTE-REFRESH (RFC 2918), and its beginning and end (RFC 7313).

use super::framer::{self, Kind};
use super::reader::Reader;
use super::{AfiSafi, Error};

/// A ROUTE-REFRESH. One of a family that is not exchanged is to be ignored (RFC 2918 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteRefresh {
    /// The family.
    pub family: AfiSafi,
    /// What is wanted or said.
    pub kind: RefreshKind,
}

/// The subtype of a ROUTE-REFRESH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshKind {
    /// 0: send all routes again.
    Request,
    /// 1, BoRR: all routes follow again.
    Begin,
    /// 2, EoRR: that was all of them.
    End,
    /// To be ignored (RFC 7313 §5).
    Unknown(u8),
}

impl RouteRefresh {
    /// Reads the body. What follows a request (RFC 5291) is ignored, since we never offer to filter.
    ///
    /// # Errors
    /// When a BoRR or an EoRR has not 4 bytes (RFC 7313 §5), or anything else has less.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let (Some(afi), Some(subtype), Some(safi)) = (reader.u16(), reader.u8(), reader.u8())
        else {
            return Err(refused(body));
        };
        let kind = RefreshKind::of(subtype);
        if matches!(kind, RefreshKind::Begin | RefreshKind::End) && !reader.is_empty() {
            return Err(refused(body));
        }
        let family = AfiSafi { afi, safi };
        Ok(Self { family, kind })
    }

    /// Appends the message.
    pub fn encode(&self, to: &mut Vec<u8>) {
        framer::encode(to, Kind::RouteRefresh, |to| {
            to.extend_from_slice(&self.family.afi.to_be_bytes());
            to.extend_from_slice(&[self.kind.number(), self.family.safi]);
        });
    }
}

impl RefreshKind {
    const fn of(number: u8) -> Self {
        match number {
            0 => Self::Request,
            1 => Self::Begin,
            2 => Self::End,
            other => Self::Unknown(other),
        }
    }

    const fn number(self) -> u8 {
        match self {
            Self::Request => 0,
            Self::Begin => 1,
            Self::End => 2,
            Self::Unknown(number) => number,
        }
    }
}

fn refused(body: &[u8]) -> Error {
    let mut bytes = Vec::new();
    framer::encode(&mut bytes, Kind::RouteRefresh, |to| {
        to.extend_from_slice(body);
    });
    Error::Refresh {
        subtype: body.get(2).copied().unwrap_or(0),
        length: body.len(),
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subtype_survives_the_round_trip() {
        for number in 0..=255 {
            let message = RouteRefresh {
                family: AfiSafi::IPV6_UNICAST,
                kind: RefreshKind::of(number),
            };
            let mut bytes = Vec::new();
            message.encode(&mut bytes);
            assert_eq!(bytes[16..], [0, 23, 5, 0, 2, number, 1]);
            assert_eq!(RouteRefresh::decode(&bytes[19..]), Ok(message));
        }
    }

    #[test]
    fn the_end_of_a_refresh_with_more_behind_it_is_refused_and_returned_whole() {
        let error = RouteRefresh::decode(&[0, 1, 2, 1, 9]).unwrap_err();
        let mut whole = vec![0xff; 16];
        whole.extend_from_slice(&[0, 24, 5, 0, 1, 2, 1, 9]);
        assert_eq!(error.notification().data, whole);
        assert_eq!(
            error.reason().to_string(),
            "invalid length of a ROUTE-REFRESH message"
        );
    }

    #[test]
    fn filters_behind_a_request_are_ignored() {
        let message = RouteRefresh::decode(&[0, 1, 0, 1, 1, 64, 0, 0]).unwrap();
        assert_eq!(message.kind, RefreshKind::Request);
    }

    #[test]
    fn a_body_that_is_cut_short_is_refused() {
        for length in 0..4 {
            assert!(RouteRefresh::decode(&[0, 1, 0, 1][..length]).is_err());
        }
    }
}
