//! NOTIFICATION (RFC 4271 §4.5): why a session ends.

use std::fmt;

use super::framer::{self, Kind};
use super::reader::Reader;
use super::writer::counted_u8;

/// A NOTIFICATION. Its sender closes the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Why.
    pub reason: Reason,
    /// More of it, as the reason defines.
    pub data: Vec<u8>,
}

/// An error code and its subcode (RFC 4271 §4.5 and the registry). Prints as a sentence for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reason {
    /// The error code.
    pub code: u8,
    /// The subcode; 0 is unspecific.
    pub subcode: u8,
}

macro_rules! reasons {
    ($($name:ident = $code:literal / $subcode:literal, $text:literal;)*) => {
        impl Reason {
            $(
                #[doc = concat!("`", stringify!($code), "/", stringify!($subcode), "`: ", $text, ".")]
                pub const $name: Self = Self { code: $code, subcode: $subcode };
            )*

            /// Every reason that has a name, in the order of the numbers.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// What it says, in words; `None` when the registry has no such code or subcode.
            pub const fn text(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

reasons! {
    HEADER = 1/0, "message header error";
    NOT_SYNCHRONIZED = 1/1, "the marker of a message is wrong: connection not synchronized";
    BAD_LENGTH = 1/2, "bad message length";
    BAD_TYPE = 1/3, "bad message type";
    OPEN = 2/0, "OPEN message error";
    UNSUPPORTED_VERSION = 2/1, "unsupported version number";
    BAD_PEER_AS = 2/2, "bad peer AS";
    BAD_IDENTIFIER = 2/3, "bad BGP identifier";
    UNSUPPORTED_PARAMETER = 2/4, "unsupported optional parameter";
    UNACCEPTABLE_HOLD_TIME = 2/6, "unacceptable hold time";
    UNSUPPORTED_CAPABILITY = 2/7, "unsupported capability";
    ROLE_MISMATCH = 2/11, "role mismatch";
    UPDATE = 3/0, "UPDATE message error";
    MALFORMED_ATTRIBUTE_LIST = 3/1, "malformed attribute list";
    UNRECOGNIZED_WELL_KNOWN = 3/2, "unrecognized well-known attribute";
    MISSING_WELL_KNOWN = 3/3, "missing well-known attribute";
    ATTRIBUTE_FLAGS = 3/4, "attribute flags error";
    ATTRIBUTE_LENGTH = 3/5, "attribute length error";
    INVALID_ORIGIN = 3/6, "invalid ORIGIN attribute";
    INVALID_NEXT_HOP = 3/8, "invalid NEXT_HOP attribute";
    OPTIONAL_ATTRIBUTE = 3/9, "optional attribute error";
    INVALID_NETWORK = 3/10, "invalid network field";
    MALFORMED_AS_PATH = 3/11, "malformed AS_PATH";
    HOLD_TIMER_EXPIRED = 4/0, "hold timer expired";
    FSM = 5/0, "finite state machine error";
    UNEXPECTED_IN_OPEN_SENT = 5/1, "unexpected message in state OpenSent";
    UNEXPECTED_IN_OPEN_CONFIRM = 5/2, "unexpected message in state OpenConfirm";
    UNEXPECTED_IN_ESTABLISHED = 5/3, "unexpected message in state Established";
    CEASE = 6/0, "cease";
    MAX_PREFIXES = 6/1, "maximum number of prefixes reached";
    ADMIN_SHUTDOWN = 6/2, "administrative shutdown";
    PEER_DECONFIGURED = 6/3, "peer de-configured";
    ADMIN_RESET = 6/4, "administrative reset";
    CONNECTION_REJECTED = 6/5, "connection rejected";
    CONFIGURATION_CHANGE = 6/6, "other configuration change";
    COLLISION = 6/7, "connection collision resolution";
    OUT_OF_RESOURCES = 6/8, "out of resources";
    HARD_RESET = 6/9, "hard reset";
    BFD_DOWN = 6/10, "BFD down";
    REFRESH = 7/0, "ROUTE-REFRESH message error";
    REFRESH_LENGTH = 7/1, "invalid length of a ROUTE-REFRESH message";
    SEND_HOLD_TIMER_EXPIRED = 8/0, "send hold timer expired";
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text() {
            Some(text) => f.write_str(text),
            None => match (Self {
                subcode: 0,
                ..*self
            })
            .text()
            {
                Some(text) => write!(f, "{text}, subcode {}", self.subcode),
                None => write!(f, "error {}, subcode {}", self.code, self.subcode),
            },
        }
    }
}

impl Notification {
    /// Without data.
    pub const fn new(reason: Reason) -> Self {
        Self {
            reason,
            data: Vec::new(),
        }
    }

    /// With a sentence for the operator of the peer (RFC 9003), cut to 255 bytes of UTF-8.
    ///
    /// Only [`Reason::ADMIN_SHUTDOWN`] and [`Reason::ADMIN_RESET`] have it: for others it is left out.
    pub fn with_text(reason: Reason, text: &str) -> Self {
        let mut data = Vec::new();
        if has_text(reason) {
            let text = text
                .get(..text.floor_char_boundary(255))
                .unwrap_or_default();
            counted_u8(&mut data, |to| to.extend_from_slice(text.as_bytes()));
        }
        Self { reason, data }
    }

    /// The same inside of a hard reset (RFC 8538 §3.1): the peer does not keep our routes.
    pub fn into_hard_reset(self) -> Self {
        let mut data = vec![self.reason.code, self.reason.subcode];
        data.extend(self.data);
        Self {
            reason: Reason::HARD_RESET,
            data,
        }
    }

    /// Whether routes are not to be kept over it (RFC 8538 §3).
    pub fn is_hard_reset(&self) -> bool {
        self.reason == Reason::HARD_RESET
    }

    /// What a hard reset carries; the same when it is none or carries nothing.
    pub fn cause(&self) -> Self {
        match self.data.as_slice() {
            [code, subcode, data @ ..] if self.is_hard_reset() => Self {
                reason: Reason {
                    code: *code,
                    subcode: *subcode,
                },
                data: data.to_vec(),
            },
            _ => self.clone(),
        }
    }

    /// What the operator of the sender says (RFC 9003), in a hard reset too. Control characters are escaped, and bytes that are
    /// not UTF-8 are replaced.
    pub fn text(&self) -> Option<String> {
        let cause = self.cause();
        let text = Reader::new(&cause.data).counted_u8();
        let text = text.filter(|text| has_text(cause.reason) && !text.is_empty())?;
        let text = String::from_utf8_lossy(text);
        let shown = text.chars().flat_map(|char| {
            let escaped = char.is_control().then(|| char.escape_default());
            let plain = escaped.is_none().then_some(char);
            escaped.into_iter().flatten().chain(plain)
        });
        Some(shown.collect())
    }

    /// Reads the body; what is missing is taken as zero.
    pub fn decode(body: &[u8]) -> Self {
        let mut reader = Reader::new(body);
        let code = reader.u8().unwrap_or(0);
        let subcode = reader.u8().unwrap_or(0);
        Self {
            reason: Reason { code, subcode },
            data: reader.rest().to_vec(),
        }
    }

    /// Appends the message; data is cut where a message of 4,096 bytes has no room.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let room = framer::MAX_LENGTH - framer::HEADER_LENGTH - 2;
        framer::encode(to, Kind::Notification, |to| {
            to.extend_from_slice(&[self.reason.code, self.reason.subcode]);
            to.extend(self.data.iter().take(room));
        });
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_hard_reset() && self.data.len() >= 2 {
            write!(f, "hard reset: ")?;
        }
        write!(f, "{}", self.cause().reason)?;
        match self.text() {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

const fn has_text(reason: Reason) -> bool {
    matches!(reason, Reason::ADMIN_SHUTDOWN | Reason::ADMIN_RESET)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(notification: &Notification) -> Vec<u8> {
        let mut bytes = Vec::new();
        notification.encode(&mut bytes);
        bytes
    }

    #[test]
    fn every_reason_has_a_text_of_its_own() {
        let texts: std::collections::BTreeSet<_> =
            Reason::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), Reason::ALL.len());
        assert!(Reason::ALL.is_sorted());
    }

    #[test]
    fn an_unknown_subcode_prints_with_its_code() {
        let text = |code, subcode| Reason { code, subcode }.to_string();
        assert_eq!(text(6, 2), "administrative shutdown");
        assert_eq!(text(6, 99), "cease, subcode 99");
        assert_eq!(text(77, 1), "error 77, subcode 1");
    }

    #[test]
    fn a_text_says_why_within_a_hard_reset_too() {
        let shutdown = Notification::with_text(Reason::ADMIN_SHUTDOWN, "maintenance, back at 5");
        assert_eq!(encoded(&shutdown)[19..22], [6, 2, 22]);
        assert_eq!(
            shutdown.to_string(),
            "administrative shutdown: maintenance, back at 5"
        );
        let hard = shutdown.clone().into_hard_reset();
        assert_eq!(encoded(&hard)[19..24], [6, 9, 6, 2, 22]);
        assert_eq!(hard.cause(), shutdown);
        assert_eq!(
            hard.to_string(),
            "hard reset: administrative shutdown: maintenance, back at 5"
        );
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        let cut = Notification::with_text(Reason::ADMIN_RESET, &"ä".repeat(200));
        assert_eq!(cut.text(), Some("ä".repeat(127)));
    }

    #[test]
    fn a_text_cannot_write_to_the_terminal() {
        let text = Notification::with_text(Reason::ADMIN_RESET, "a\x1b[2Jb\n").text();
        assert_eq!(text.as_deref(), Some("a\\u{1b}[2Jb\\n"));
    }

    #[test]
    fn other_reasons_have_no_text() {
        let refused = Notification::with_text(Reason::COLLISION, "no");
        assert!(refused.data.is_empty());
        let received = Notification::decode(&[6, 7, 2, b'n', b'o']);
        assert_eq!(received.text(), None);
    }

    #[test]
    fn what_is_cut_short_is_read_as_far_as_it_goes() {
        assert_eq!(
            Notification::decode(&[]).reason,
            Reason {
                code: 0,
                subcode: 0
            }
        );
        assert_eq!(Notification::decode(&[6, 2, 9, b'x']).text(), None);
        assert_eq!(Notification::decode(&[6, 9, 6]).to_string(), "hard reset");
    }

    #[test]
    fn too_much_data_is_cut_to_the_longest_message() {
        let long = Notification {
            reason: Reason::OPEN,
            data: vec![1; 5000],
        };
        assert_eq!(encoded(&long).len(), 4096);
    }

    proptest! {
        #[test]
        fn a_notification_survives_the_round_trip(
            code in any::<u8>(), subcode in any::<u8>(), data in prop::collection::vec(any::<u8>(), 0..300),
        ) {
            let notification = Notification { reason: Reason { code, subcode }, data };
            prop_assert_eq!(Notification::decode(&encoded(&notification)[19..]), notification.clone());
            prop_assert!(!notification.to_string().is_empty());
        }
    }
}
