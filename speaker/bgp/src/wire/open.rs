//! OPEN (RFC 4271 §4.2).

use std::net::Ipv4Addr;

use super::framer::{self, Kind};
use super::reader::Reader;
use super::writer::counted_u16;
use super::{AS_TRANS, Capabilities, Error};

/// The first message on a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The sender's AS number: the one of the four-octet capability where that is sent, else the two-octet field.
    /// [`encode`](Self::encode) writes it to the field, or AS_TRANS; the capability is the caller's.
    pub asn: u32,
    /// The hold time it proposes in seconds: zero, or at least 3.
    pub hold_time: u16,
    /// Its BGP identifier, not zero (RFC 6286).
    pub router_id: Ipv4Addr,
    /// What it offers.
    pub capabilities: Capabilities,
}

impl Open {
    /// Reads the body.
    ///
    /// # Errors
    /// Those of RFC 4271 §6.2 that need no configuration: the version, an AS number of 0 or AS_TRANS (RFC 7607), the identifier,
    /// a hold time of 1 or 2, an optional parameter that is no capabilities or is cut short.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(body);
        let version = reader.u8().ok_or(SHORT)?;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let field = reader.u16().ok_or(SHORT)?;
        let hold_time = reader.u16().ok_or(SHORT)?;
        let router_id = Ipv4Addr::from_bits(reader.u32().ok_or(SHORT)?);
        let capabilities = parameters(reader)?;
        let asn = capabilities.four_octet_as.unwrap_or_else(|| field.into());
        if field == 0 || asn == 0 || asn == u32::from(AS_TRANS) {
            return Err(Error::PeerAs(asn));
        }
        if router_id.is_unspecified() {
            return Err(Error::Identifier(router_id));
        }
        if matches!(hold_time, 1 | 2) {
            return Err(Error::HoldTime(hold_time));
        }
        Ok(Self {
            asn,
            hold_time,
            router_id,
            capabilities,
        })
    }

    /// Appends the message, with the long form of optional parameters (RFC 9072) where the short one has no room.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let mut capabilities = Vec::new();
        self.capabilities.encode(&mut capabilities);
        let field = u16::try_from(self.asn).unwrap_or(AS_TRANS);
        framer::encode(to, Kind::Open, |to| {
            to.push(VERSION);
            to.extend_from_slice(&field.to_be_bytes());
            to.extend_from_slice(&self.hold_time.to_be_bytes());
            to.extend_from_slice(&self.router_id.octets());
            encode_parameters(&capabilities, to);
        });
    }
}

const VERSION: u8 = 4;
/// The type of the optional parameter that holds capabilities (RFC 5492 §4).
const CAPABILITIES: u8 = 2;
/// In place of length and first type: lengths take two octets (RFC 9072 §2).
const EXTENDED: u8 = 255;
const SHORT: Error = Error::Open("it is cut short");
const BEYOND: Error = Error::Open("the optional parameters reach beyond it or end before it");

/// Reads the optional parameters, up to the end of the message.
fn parameters(mut reader: Reader<'_>) -> Result<Capabilities, Error> {
    let length = reader.u8().ok_or(SHORT)?;
    let extended = length != 0 && reader.rest().first() == Some(&EXTENDED);
    let mut parameters = if extended {
        reader.u8();
        Reader::new(reader.counted_u16().ok_or(BEYOND)?)
    } else {
        Reader::new(reader.bytes(length.into()).ok_or(BEYOND)?)
    };
    if !reader.is_empty() {
        return Err(BEYOND);
    }
    let mut capabilities = Capabilities::default();
    while let Some(kind) = parameters.u8() {
        let value = if extended {
            parameters.counted_u16()
        } else {
            parameters.counted_u8()
        };
        let value = value.ok_or(Error::Open("a parameter reaches beyond the parameters"))?;
        if kind != CAPABILITIES {
            return Err(Error::OptionalParameter(kind));
        }
        capabilities.read(value)?;
    }
    Ok(capabilities)
}

/// Appends length and parameters: one with all capabilities (RFC 5492 §4), or none.
fn encode_parameters(capabilities: &[u8], to: &mut Vec<u8>) {
    match u8::try_from(capabilities.len()) {
        Ok(0) => to.push(0),
        Ok(length @ ..=253) => {
            to.extend_from_slice(&[length + 2, CAPABILITIES, length]);
            to.extend_from_slice(capabilities);
        }
        _ => {
            to.extend_from_slice(&[EXTENDED, EXTENDED]);
            counted_u16(to, |to| {
                to.push(CAPABILITIES);
                counted_u16(to, |to| to.extend_from_slice(capabilities));
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::capability::tests::any_capabilities;
    use super::super::{AfiSafi, Reason};
    use super::*;

    /// Version 4, AS 64512, hold time 90, identifier 192.0.2.1, and these optional parameters behind their length.
    fn body(parameters: &[u8]) -> Vec<u8> {
        let mut body = vec![4, 0xfc, 0, 0, 90, 192, 0, 2, 1];
        body.push(parameters.len().try_into().unwrap());
        body.extend_from_slice(parameters);
        body
    }

    fn reason(body: &[u8]) -> Reason {
        Open::decode(body).unwrap_err().reason()
    }

    #[test]
    fn an_open_without_parameters_is_read() {
        let open = Open::decode(&body(&[])).unwrap();
        assert_eq!((open.asn, open.hold_time), (64512, 90));
        assert_eq!(open.router_id, Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(open.capabilities, Capabilities::default());
    }

    #[test]
    fn capabilities_may_be_in_one_parameter_or_in_several() {
        let one = body(&[2, 8, 2, 0, 65, 4, 0, 1, 0, 0]);
        let several = body(&[2, 2, 2, 0, 2, 6, 65, 4, 0, 1, 0, 0]);
        assert_eq!(Open::decode(&one), Open::decode(&several));
        assert_eq!(Open::decode(&one).unwrap().asn, 65536);
    }

    #[test]
    fn the_long_form_of_parameters_is_read() {
        let mut long = body(&[]);
        long.pop();
        long.extend_from_slice(&[255, 255, 0, 5, 2, 0, 2, 2, 0]);
        assert!(Open::decode(&long).unwrap().capabilities.route_refresh);
        // The length of the short form says nothing then, but that there are parameters.
        long[9] = 1;
        assert!(Open::decode(&long).unwrap().capabilities.route_refresh);
    }

    #[test]
    fn another_version_is_refused_and_told_ours() {
        let mut bytes = body(&[]);
        bytes[0] = 5;
        let error = Open::decode(&bytes).unwrap_err();
        assert_eq!(error, Error::Version(5));
        assert_eq!(error.notification().data, [0, 4]);
    }

    #[test]
    fn an_as_number_that_no_speaker_has_is_refused() {
        let mut zero = body(&[]);
        zero[1..3].fill(0);
        assert_eq!(reason(&zero), Reason::BAD_PEER_AS);
        assert_eq!(
            reason(&body(&[2, 6, 65, 4, 0, 0, 0, 0])),
            Reason::BAD_PEER_AS
        );
        let mut trans = body(&[]);
        trans[1..3].copy_from_slice(&AS_TRANS.to_be_bytes());
        assert_eq!(reason(&trans), Reason::BAD_PEER_AS);
    }

    #[test]
    fn identifier_and_hold_time_are_checked() {
        let mut bytes = body(&[]);
        bytes[5..9].fill(0);
        assert_eq!(reason(&bytes), Reason::BAD_IDENTIFIER);
        for (seconds, refused) in [(0, false), (1, true), (2, true), (3, false)] {
            let mut bytes = body(&[]);
            bytes[4] = seconds;
            assert_eq!(Open::decode(&bytes).is_err(), refused, "{seconds}");
        }
    }

    #[test]
    fn a_parameter_that_is_no_capabilities_is_refused() {
        assert_eq!(reason(&body(&[1, 1, 0])), Reason::UNSUPPORTED_PARAMETER);
    }

    #[test]
    fn a_length_that_does_not_fit_the_rest_is_refused() {
        let whole = body(&[2, 8, 2, 0, 65, 4, 0, 1, 0, 0]);
        for length in 0..whole.len() {
            assert_eq!(reason(&whole[..length]), Reason::OPEN, "{length}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        assert_eq!(reason(&longer), Reason::OPEN);
    }

    proptest! {
        #[test]
        fn an_open_survives_the_round_trip(
            asn in (1..=u32::MAX).prop_filter("reserved", |asn| *asn != 23456),
            hold_time in prop_oneof![Just(0), 3..=u16::MAX],
            router_id in 1..=u32::MAX,
            capabilities in any_capabilities(),
        ) {
            let asn = capabilities.four_octet_as.unwrap_or(asn & 0xffff).max(1);
            prop_assume!(asn != 23456);
            let open = Open { asn, hold_time, router_id: router_id.into(), capabilities };
            let mut bytes = Vec::new();
            open.encode(&mut bytes);
            prop_assert!(bytes.len() <= framer::MAX_LENGTH);
            prop_assert_eq!(Open::decode(&bytes[19..]), Ok(open));
        }
    }

    #[test]
    fn many_capabilities_take_the_long_form_and_few_do_not() {
        let mut open = Open::decode(&body(&[])).unwrap();
        let families = |count| (0..count).map(|afi| AfiSafi { afi, safi: 1 }).collect();
        for (count, long) in [(42, false), (43, true)] {
            open.capabilities.multiprotocol = families(count);
            let mut bytes = Vec::new();
            open.encode(&mut bytes);
            assert_eq!(bytes[28..30] == [255, 255], long, "{count}");
            assert_eq!(Open::decode(&bytes[19..]), Ok(open.clone()));
        }
    }
}
