//! A stream of BGP messages is the same however it arrives in pieces, and ends with its first wrong header.

use ironlb_bgp::wire::{Error, Frame, Framer, Kind, Message};

use super::bgp_message::{check, check_error, negotiated};

/// Panics when a stream breaks it: the first byte says what was negotiated, the second how it is cut.
pub fn run(bytes: &[u8]) {
    let [agreed, cut, stream @ ..] = bytes else {
        return;
    };
    let extended = agreed & 0x80 != 0;
    let (whole, end) = read(stream, stream.len().max(1), extended);
    assert_eq!(
        read(stream, usize::from(*cut) + 1, extended),
        (whole.clone(), end.clone())
    );
    let length: usize = whole.iter().map(|(_, body)| body.len() + 19).sum();
    assert!(length <= stream.len());
    let negotiated = negotiated(*agreed);
    for (kind, body) in &whole {
        let frame = Frame { kind: *kind, body };
        check(Message::decode(frame, &negotiated), &negotiated);
    }
    if let Some(error) = end {
        check_error(&error);
    }
}

/// The messages of a stream that arrives in pieces of this size, and the error that ends it.
fn read(stream: &[u8], size: usize, extended: bool) -> (Vec<(Kind, Vec<u8>)>, Option<Error>) {
    let mut framer = Framer::new();
    framer.set_extended(extended);
    let mut messages = Vec::new();
    for piece in stream.chunks(size) {
        framer.push(piece);
        loop {
            match framer.next() {
                Ok(Some(frame)) => messages.push((frame.kind, frame.body.to_vec())),
                Ok(None) => break,
                Err(error) => return (messages, Some(error)),
            }
        }
    }
    (messages, None)
}
