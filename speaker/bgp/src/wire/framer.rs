//! The header (RFC 4271 §4.1), and whole messages out of the pieces of a stream.

use super::Error;

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
        todo!()
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

/// Length of the header in bytes.
pub const HEADER_LENGTH: usize = 19;
/// Length of the longest message, header included (RFC 4271 §4.1).
pub const MAX_LENGTH: usize = 4096;
/// The same where extended messages were negotiated (RFC 8654 §3).
pub const MAX_LENGTH_EXTENDED: usize = 65535;

/// Appends a message whose body is written by `body`.
pub(crate) fn encode(to: &mut Vec<u8>, kind: Kind, body: impl FnOnce(&mut Vec<u8>)) {
    let _ = (to, kind, body);
    todo!()
}
