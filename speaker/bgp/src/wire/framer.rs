//! The header (RFC 4271 §4.1), and whole messages out of the pieces of a stream.

use super::Error;
use super::writer::set_u16;

/// Cuts a stream into messages. Holds at most one incomplete message beside what was pushed last.
#[derive(Clone, Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// Where in the buffer the next message begins.
    start: usize,
    extended: bool,
    broken: Option<Error>,
}

impl Framer {
    /// For a stream that begins here.
    pub const fn new() -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            extended: false,
            broken: None,
        }
    }

    /// Whether messages may have up to 65,535 bytes (RFC 8654): from when on we have offered it and the peer may know.
    pub const fn set_extended(&mut self, extended: bool) {
        self.extended = extended;
    }

    /// Takes what arrived. Call [`next`](Self::next) until `None` after each, so that nothing piles up.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message; `Ok(None)` when more bytes are needed.
    ///
    /// # Errors
    /// When a header is wrong. The stream is lost then: the same error comes from every later call.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives borrows from it"
    )]
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Error> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let waiting = self.buffer.get(self.start..).unwrap_or_default();
        let Some(header) = waiting.first_chunk().copied() else {
            return Ok(None);
        };
        let (kind, length) = match self.check(header) {
            Ok(checked) => checked,
            Err(error) => {
                self.buffer = Vec::new();
                self.start = 0;
                return Err(self.broken.insert(error).clone());
            }
        };
        let end = self.start + length;
        let Some(body) = self.buffer.get(self.start + HEADER_LENGTH..end) else {
            return Ok(None);
        };
        self.start = end;
        Ok(Some(Frame { kind, body }))
    }

    /// The type of a message and its length.
    fn check(&self, header: [u8; HEADER_LENGTH]) -> Result<(Kind, usize), Error> {
        let [marker @ .., high, low, number] = header;
        if marker != MARKER {
            return Err(Error::Marker);
        }
        let kind = Kind::of(number).ok_or(Error::Type(number))?;
        let length = u16::from_be_bytes([high, low]);
        let (shortest, longest, allowed) = kind.bounds(self.extended);
        if (shortest..=longest).contains(&usize::from(length)) {
            return Ok((kind, length.into()));
        }
        Err(Error::Length {
            kind: number,
            length,
            allowed,
        })
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

/// A whole message, its header checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is.
    pub kind: Kind,
    /// What follows the header.
    pub body: &'a [u8],
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// 1.
    Open,
    /// 2.
    Update,
    /// 3.
    Notification,
    /// 4.
    Keepalive,
    /// 5 (RFC 2918).
    RouteRefresh,
}

impl Kind {
    const fn of(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Open,
            2 => Self::Update,
            3 => Self::Notification,
            4 => Self::Keepalive,
            5 => Self::RouteRefresh,
            _ => return None,
        })
    }

    const fn number(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Update => 2,
            Self::Notification => 3,
            Self::Keepalive => 4,
            Self::RouteRefresh => 5,
        }
    }

    /// The shortest and the longest message of this type with header, and the same in words (RFC 4271 §6.1, RFC 8654 §4).
    const fn bounds(self, extended: bool) -> (usize, usize, &'static str) {
        match (self, extended) {
            (Self::Open, _) => (29, MAX_LENGTH, "29 to 4096"),
            (Self::Keepalive, _) => (19, 19, "19"),
            (Self::Update | Self::RouteRefresh, false) => (23, MAX_LENGTH, "23 to 4096"),
            (Self::Update | Self::RouteRefresh, true) => (23, MAX_LENGTH_EXTENDED, "23 to 65535"),
            (Self::Notification, false) => (21, MAX_LENGTH, "21 to 4096"),
            (Self::Notification, true) => (21, MAX_LENGTH_EXTENDED, "21 to 65535"),
        }
    }
}

/// Length of the header in bytes.
pub const HEADER_LENGTH: usize = 19;
/// Length of the longest message, header included (RFC 4271 §4.1).
pub const MAX_LENGTH: usize = 4096;
/// The same where extended messages were negotiated (RFC 8654 §3).
pub const MAX_LENGTH_EXTENDED: usize = 65535;

const MARKER: [u8; 16] = [0xff; 16];

/// Appends a message whose body is written by `body`, which keeps it within the longest allowed.
pub(crate) fn encode(to: &mut Vec<u8>, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) {
    let at = begin(to, kind);
    body(to);
    finish(to, at);
}

/// Appends a header; gives where it begins, for [`finish`].
pub(crate) fn begin(to: &mut Vec<u8>, kind: Kind) -> usize {
    let at = to.len();
    to.extend_from_slice(&MARKER);
    to.extend_from_slice(&[0, 0, kind.number()]);
    at
}

/// Fills in the length of the message whose header begins at `at` and whose end is that of `to`.
pub(crate) fn finish(to: &mut [u8], at: usize) {
    let length = to.len() - at;
    set_u16(to, at + MARKER.len(), length);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::encode_keepalive;
    use super::*;

    fn keepalive() -> Vec<u8> {
        let mut bytes = Vec::new();
        encode_keepalive(&mut bytes);
        bytes
    }

    /// A header that gives this length and type.
    fn header(length: u16, kind: u8) -> Vec<u8> {
        let mut bytes = MARKER.to_vec();
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.push(kind);
        bytes
    }

    fn verdict(bytes: &[u8], extended: bool) -> Result<bool, Error> {
        let mut framer = Framer::new();
        framer.set_extended(extended);
        framer.push(bytes);
        framer.next().map(|frame| frame.is_some())
    }

    #[test]
    fn a_keepalive_is_a_header_alone() {
        assert_eq!(keepalive(), header(19, 4));
        assert_eq!(verdict(&keepalive(), false), Ok(true));
    }

    #[test]
    fn a_wrong_marker_is_refused_before_the_rest_of_the_message_is_there() {
        let mut bytes = header(4096, 2);
        bytes[15] = 0xfe;
        assert_eq!(verdict(&bytes, false), Err(Error::Marker));
    }

    #[test]
    fn a_length_is_refused_outside_of_the_bounds_of_its_type() {
        for (kind, shortest) in [(1, 29), (2, 23), (3, 21), (4, 19), (5, 23)] {
            assert_eq!(verdict(&header(shortest, kind), false), Ok(kind == 4));
            assert!(verdict(&header(shortest - 1, kind), false).is_err());
            assert!(verdict(&header(4097, kind), false).is_err());
        }
        assert!(verdict(&header(20, 4), false).is_err());
        let error = verdict(&header(18, 2), false).unwrap_err();
        assert_eq!(error.notification().data, [0, 18]);
    }

    #[test]
    fn messages_are_long_where_that_was_negotiated_but_for_open_and_keepalive() {
        for kind in [2, 3, 5] {
            assert_eq!(verdict(&header(65535, kind), true), Ok(false));
        }
        for kind in [1, 4] {
            assert!(verdict(&header(4097, kind), true).is_err());
        }
    }

    #[test]
    fn a_type_that_does_not_exist_is_refused_and_named() {
        for kind in [0, 6, 255] {
            let error = verdict(&header(19, kind), false).unwrap_err();
            assert_eq!(error, Error::Type(kind));
            assert_eq!(error.notification().data, [kind]);
        }
    }

    #[test]
    fn after_an_error_nothing_is_read_any_more() {
        let mut framer = Framer::new();
        framer.push(&header(19, 9));
        assert_eq!(framer.next(), Err(Error::Type(9)));
        framer.push(&keepalive());
        assert_eq!(framer.next(), Err(Error::Type(9)));
    }

    #[test]
    fn what_was_read_does_not_pile_up() {
        let mut framer = Framer::new();
        for _ in 0..10_000 {
            framer.push(&keepalive());
            assert!(framer.next().unwrap().is_some());
            assert!(framer.next().unwrap().is_none());
        }
        assert!(framer.buffer.capacity() < 1000);
    }

    proptest! {
        #[test]
        fn messages_are_the_same_however_the_stream_is_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 4..60), 0..20),
            cuts in prop::collection::vec(1..50_usize, 1..40),
        ) {
            let mut stream = Vec::new();
            for body in &bodies {
                encode(&mut stream, Kind::Update, |to| to.extend_from_slice(body));
            }
            let (mut framer, mut read, mut cuts) = (Framer::new(), Vec::new(), cuts.iter().cycle());
            let mut rest = stream.as_slice();
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = behind;
                framer.push(piece);
                while let Some(frame) = framer.next().unwrap() {
                    prop_assert_eq!(frame.kind, Kind::Update);
                    read.push(frame.body.to_vec());
                }
            }
            prop_assert_eq!(read, bodies);
        }
    }
}
