//! AS_PATH (RFC 4271 §5.1.2), with AS numbers of two and four octets (RFC 6793).

use std::fmt;

use super::super::AS_TRANS;
use super::super::reader::Reader;

/// The ASes that a route has come through, the latest first. Prints as routers show it.
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

    /// How long it counts as (RFC 4271 §9.1.2.2, RFC 5065 §5.3): a set as one, confederations not at all.
    pub fn length(&self) -> usize {
        self.segments.iter().map(Segment::length).sum()
    }

    /// Whether `asn` is anywhere in it: a route that comes back to where it was.
    pub fn contains(&self, asn: u32) -> bool {
        let mut segments = self.segments.iter();
        segments.any(|segment| segment.numbers().contains(&asn))
    }

    /// Whether it has segments that never leave a confederation (RFC 5065 §5).
    pub(super) fn has_confederations(&self) -> bool {
        self.segments.iter().any(Segment::is_confederation)
    }

    /// Reads a value with AS numbers of two or four octets; `None` when it is malformed (RFC 7606 §7.2), or holds the AS number
    /// zero (RFC 7607).
    pub(super) fn decode(value: &[u8], four_octets: bool) -> Option<Self> {
        let mut reader = Reader::new(value);
        let mut segments = Vec::new();
        while !reader.is_empty() {
            segments.push(Segment::decode(&mut reader, four_octets)?);
        }
        Some(Self { segments })
    }

    /// Appends the value with AS numbers of four octets.
    pub(super) fn encode(&self, to: &mut Vec<u8>) {
        for segment in &self.segments {
            segment.encode(to, |asn, to| to.extend_from_slice(&asn.to_be_bytes()));
        }
    }

    /// Appends the value with AS numbers of two octets, AS_TRANS for those that need four.
    pub(super) fn encode_short(&self, to: &mut Vec<u8>) {
        for segment in &self.segments {
            segment.encode(to, |asn, to| {
                let asn = u16::try_from(asn).unwrap_or(AS_TRANS);
                to.extend_from_slice(&asn.to_be_bytes());
            });
        }
    }

    /// What AS4_PATH must say beside [`encode_short`](Self::encode_short) (RFC 6793 §4.2.2): all but confederations; `None` when
    /// every number fits in two octets.
    pub(super) fn for_as4_path(&self) -> Option<Self> {
        let segments = self.segments.iter().filter(|s| !s.is_confederation());
        let path = Self {
            segments: segments.cloned().collect(),
        };
        let mut numbers = path.segments.iter().flat_map(Segment::numbers);
        let needed = numbers.any(|asn| u16::try_from(*asn).is_err());
        needed.then_some(path)
    }

    /// The path that a speaker of two octets passed on, with what AS4_PATH knows of its end (RFC 6793 §4.2.3).
    pub(super) fn merged(self, as4_path: Self) -> Self {
        let Some(mut ahead) = self.length().checked_sub(as4_path.length()) else {
            return self;
        };
        let mut segments = Vec::new();
        for segment in self.segments {
            // Confederations count nothing: they stay as long as they are ahead of what AS4_PATH has.
            if ahead == 0 && !segment.is_confederation() {
                break;
            }
            let length = segment.length();
            segments.extend(segment.first(ahead));
            ahead = ahead.saturating_sub(length);
        }
        let behind = as4_path.segments.into_iter();
        segments.extend(behind.filter(|segment| !segment.is_confederation()));
        Self { segments }
    }
}

impl fmt::Display for AsPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, segment) in self.segments.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{segment}")?;
        }
        Ok(())
    }
}

impl Segment {
    /// Its AS numbers.
    pub fn numbers(&self) -> &[u32] {
        match self {
            Self::Set(numbers)
            | Self::Sequence(numbers)
            | Self::ConfederationSequence(numbers)
            | Self::ConfederationSet(numbers) => numbers,
        }
    }

    const fn is_confederation(&self) -> bool {
        matches!(
            self,
            Self::ConfederationSequence(_) | Self::ConfederationSet(_)
        )
    }

    fn length(&self) -> usize {
        match self {
            Self::Sequence(numbers) => numbers.len(),
            Self::Set(_) => 1,
            Self::ConfederationSequence(_) | Self::ConfederationSet(_) => 0,
        }
    }

    /// As much of its beginning as counts `length`; `None` when that is nothing of it.
    fn first(self, length: usize) -> Option<Self> {
        match self {
            Self::Sequence(mut numbers) => {
                numbers.truncate(length);
                (!numbers.is_empty()).then_some(Self::Sequence(numbers))
            }
            other => Some(other),
        }
    }

    fn decode(reader: &mut Reader<'_>, four_octets: bool) -> Option<Self> {
        let kind = reader.u8()?;
        let count = reader.u8().filter(|count| *count > 0)?;
        let mut numbers = Vec::new();
        for _ in 0..count {
            let asn = if four_octets {
                reader.u32()?
            } else {
                reader.u16()?.into()
            };
            numbers.push(Some(asn).filter(|asn| *asn != 0)?);
        }
        Some(match kind {
            1 => Self::Set(numbers),
            2 => Self::Sequence(numbers),
            3 => Self::ConfederationSequence(numbers),
            4 => Self::ConfederationSet(numbers),
            _ => return None,
        })
    }

    /// Appends it, as several when it has more numbers than one may have.
    fn encode(&self, to: &mut Vec<u8>, number: impl Fn(u32, &mut Vec<u8>)) {
        let kind = match self {
            Self::Set(_) => 1,
            Self::Sequence(_) => 2,
            Self::ConfederationSequence(_) => 3,
            Self::ConfederationSet(_) => 4,
        };
        for numbers in self.numbers().chunks(usize::from(u8::MAX)) {
            to.extend_from_slice(&[kind, u8::try_from(numbers.len()).unwrap_or(u8::MAX)]);
            for asn in numbers {
                number(*asn, to);
            }
        }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.numbers().iter().map(ToString::to_string).collect();
        match self {
            Self::Set(_) => write!(f, "{{{}}}", numbers.join(",")),
            Self::Sequence(_) => write!(f, "{}", numbers.join(" ")),
            Self::ConfederationSequence(_) => write!(f, "({})", numbers.join(" ")),
            Self::ConfederationSet(_) => write!(f, "[{}]", numbers.join(",")),
        }
    }
}

#[cfg(test)]
pub(in super::super) mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRANS: u32 = AS_TRANS as u32;

    fn path(segments: impl Into<Vec<Segment>>) -> AsPath {
        AsPath {
            segments: segments.into(),
        }
    }

    #[test]
    fn the_negotiated_width_decides_how_a_path_is_read_never_its_look() {
        // Two numbers of four octets, or two of two and then one more.
        let bytes = [2, 2, 0, 1, 0xfc, 0, 2, 1, 0, 7];
        let four = AsPath::sequence([0x1_fc00, 0x0201_0007]);
        assert_eq!(AsPath::decode(&bytes, true), Some(four));
        let two = path([
            Segment::Sequence(vec![1, 0xfc00]),
            Segment::Sequence(vec![7]),
        ]);
        assert_eq!(AsPath::decode(&bytes, false), Some(two));
    }

    #[test]
    fn malformed_paths_are_refused() {
        for bytes in [
            &[2][..],
            &[2, 0],
            &[2, 1],
            &[2, 1, 0, 0, 0],
            &[2, 2, 0, 0, 0, 1, 0, 0, 0],
            &[0, 1, 0, 0, 0, 1],
            &[5, 1, 0, 0, 0, 1],
            &[2, 1, 0, 0, 0, 0],
            &[2, 1, 0, 0, 0, 1, 2],
        ] {
            assert_eq!(AsPath::decode(bytes, true), None, "{bytes:?}");
        }
        assert_eq!(AsPath::decode(&[], true), Some(AsPath::default()));
    }

    #[test]
    fn as4_path_is_sent_only_where_a_number_needs_it_and_without_confederations() {
        assert_eq!(AsPath::sequence([64512]).for_as4_path(), None);
        let confederation = Segment::ConfederationSequence(vec![70_000]);
        assert_eq!(path([confederation.clone()]).for_as4_path(), None);
        let both = path([confederation, Segment::Sequence(vec![70_000, 1])]);
        assert_eq!(both.for_as4_path(), Some(AsPath::sequence([70_000, 1])));
    }

    #[test]
    fn what_old_speakers_added_stays_ahead_of_as4_path() {
        let short = AsPath::sequence([64513, 64512, TRANS, TRANS]);
        let merged = short.merged(AsPath::sequence([70_000, 80_000]));
        let expected = path([
            Segment::Sequence(vec![64513, 64512]),
            Segment::Sequence(vec![70_000, 80_000]),
        ]);
        assert_eq!(merged, expected);
        assert_eq!(merged.to_string(), "64513 64512 70000 80000");
    }

    #[test]
    fn an_as4_path_longer_than_the_path_is_ignored() {
        let short = AsPath::sequence([64513]);
        let merged = short.clone().merged(AsPath::sequence([70_000, 80_000]));
        assert_eq!(merged, short);
    }

    #[test]
    fn a_set_counts_as_one_and_is_never_split() {
        let short = path([Segment::Set(vec![1, 2, 3]), Segment::Sequence(vec![TRANS])]);
        assert_eq!(short.length(), 2);
        let merged = short.merged(AsPath::sequence([70_000]));
        let expected = path([Segment::Set(vec![1, 2, 3]), Segment::Sequence(vec![70_000])]);
        assert_eq!(merged, expected);
    }

    #[test]
    fn a_confederation_ahead_stays_and_one_in_as4_path_is_dropped() {
        let inside = Segment::ConfederationSequence(vec![65001]);
        let short = path([inside.clone(), Segment::Sequence(vec![TRANS])]);
        let as4 = path([inside.clone(), Segment::Sequence(vec![70_000])]);
        let expected = path([inside, Segment::Sequence(vec![70_000])]);
        assert_eq!(short.merged(as4), expected);
    }

    #[test]
    fn more_numbers_than_a_segment_holds_take_several() {
        let mut bytes = Vec::new();
        AsPath::sequence(vec![7; 300]).encode(&mut bytes);
        let read = AsPath::decode(&bytes, true).unwrap();
        let counts: Vec<_> = read.segments.iter().map(|s| s.numbers().len()).collect();
        assert_eq!(counts, [255, 45]);
    }

    pub(crate) fn any_path() -> impl Strategy<Value = AsPath> {
        let numbers = prop::collection::vec(prop_oneof![1..70_000_u32, 1..=u32::MAX], 1..6);
        let segment = (numbers, any::<bool>()).prop_map(|(numbers, set)| {
            if set {
                Segment::Set(numbers)
            } else {
                Segment::Sequence(numbers)
            }
        });
        prop::collection::vec(segment, 0..4).prop_map(path)
    }

    proptest! {
        #[test]
        fn a_path_survives_the_round_trip(path in any_path()) {
            let mut bytes = Vec::new();
            path.encode(&mut bytes);
            prop_assert_eq!(AsPath::decode(&bytes, true), Some(path));
        }

        #[test]
        fn a_path_survives_a_speaker_of_two_octets(path in any_path()) {
            let mut bytes = Vec::new();
            path.encode_short(&mut bytes);
            let short = AsPath::decode(&bytes, false).unwrap();
            let merged = match path.for_as4_path() {
                Some(as4_path) => short.merged(as4_path),
                None => short,
            };
            prop_assert_eq!(merged, path);
        }
    }
}
