//! AS_PATH (RFC 4271 §5.1.2), with AS numbers of two and four octets (RFC 6793).

/// The ASes that a route has come through, the latest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsPath {
    /// Its segments; two sequences in a row are not the same as one.
    pub segments: Vec<Segment>,
}

/// A part of a path. None is empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// AS_SET: in no order.
    Set(Vec<u32>),
    /// AS_SEQUENCE: the latest first.
    Sequence(Vec<u32>),
    /// AS_CONFED_SEQUENCE (RFC 5065).
    ConfederationSequence(Vec<u32>),
    /// AS_CONFED_SET (RFC 5065).
    ConfederationSet(Vec<u32>),
}

impl AsPath {
    /// One sequence of these; the empty path of none.
    pub fn sequence(numbers: impl Into<Vec<u32>>) -> Self {
        let numbers = numbers.into();
        if numbers.is_empty() {
            return Self::default();
        }
        Self {
            segments: vec![Segment::Sequence(numbers)],
        }
    }
}
