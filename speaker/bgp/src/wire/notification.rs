//! NOTIFICATION (RFC 4271 §4.5): why a session ends.

use std::fmt;

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
            None => write!(f, "error {} subcode {}", self.code, self.subcode),
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

    /// A Cease with a sentence for the operator of the peer (RFC 9003), cut to 255 bytes of UTF-8.
    ///
    /// Only [`Reason::ADMIN_SHUTDOWN`] and [`Reason::ADMIN_RESET`] have it.
    pub fn with_text(reason: Reason, text: &str) -> Self {
        let _ = (reason, text);
        todo!()
    }

    /// The same inside of a hard reset (RFC 8538 §3.1): the peer does not keep our routes.
    pub fn into_hard_reset(self) -> Self {
        todo!()
    }

    /// Whether routes are not to be kept over it (RFC 8538 §3).
    pub fn is_hard_reset(&self) -> bool {
        self.reason == Reason::HARD_RESET
    }

    /// What a hard reset carries; `self` when it is none or carries nothing.
    pub fn cause(&self) -> Self {
        todo!()
    }

    /// What the peer's operator says (RFC 9003), in a hard reset too; control characters are escaped.
    pub fn text(&self) -> Option<String> {
        todo!()
    }

    /// Reads the body; what is missing is taken as zero.
    pub fn decode(body: &[u8]) -> Self {
        let _ = body;
        todo!()
    }

    /// Appends the message; data is cut where a message of 4,096 bytes has no room.
    pub fn encode(&self, to: &mut Vec<u8>) {
        let _ = to;
        todo!()
    }
}
