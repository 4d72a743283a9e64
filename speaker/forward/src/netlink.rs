//! Netlink messages: writing them into a batch, and reading attributes back.

use crate::uapi;

/// Netlink messages one after the other, in the order in which the kernel is to take them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    steps: Vec<String>,
    /// Where the last message begins.
    last: usize,
}

impl Batch {
    /// A transaction of nf_tables: what `fill` adds is in force as a whole or not at all.
    pub(crate) fn transaction(fill: impl FnOnce(&mut Self)) -> Self {
        let mut batch = Self::default();
        // The address of a batch's frame is the subsystem it is for, in network byte order.
        let subsystem = uapi::NFNL_SUBSYS_NFTABLES >> 8;
        batch.message(
            uapi::NFNL_MSG_BATCH_BEGIN,
            0,
            0,
            subsystem,
            "begin".into(),
            |_| {},
        );
        fill(&mut batch);
        batch.acknowledge_last();
        batch.message(
            uapi::NFNL_MSG_BATCH_END,
            0,
            0,
            subsystem,
            "commit".into(),
            |_| {},
        );
        batch
    }

    /// The messages, to be sent in one piece.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sequence number of the last message that the kernel acknowledges.
    pub fn acknowledged(&self) -> u32 {
        u32::try_from(self.steps.len().saturating_sub(2)).unwrap_or(u32::MAX)
    }

    /// How many messages there are between begin and commit.
    pub fn len(&self) -> usize {
        self.steps.len().saturating_sub(2)
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the message with this sequence number is to do, for an error message.
    pub fn step(&self, sequence: u32) -> Option<&str> {
        let step = usize::try_from(sequence)
            .ok()
            .and_then(|index| self.steps.get(index));
        step.map(String::as_str)
    }

    /// Adds a message to nf_tables about the table's family. `step` says what it does.
    pub(crate) fn add(
        &mut self,
        kind: u16,
        flags: u16,
        step: String,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.message(kind, flags, uapi::NFPROTO_INET, 0, step, fill);
    }

    /// Makes the kernel say when it is through. Errors are reported for each message anyhow, and thousands of
    /// acknowledgements would not fit into a socket's buffer.
    fn acknowledge_last(&mut self) {
        let flags = uapi::NLM_F_ACK.to_ne_bytes();
        let place = self.bytes.iter_mut().skip(self.last).skip(FLAGS_OFFSET);
        place.zip(flags).for_each(|(byte, flag)| *byte |= flag);
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        resource: u16,
        step: String,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let sequence = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        self.steps.push(step);
        self.last = self.bytes.len();
        write_message(
            &mut self.bytes,
            kind,
            flags,
            sequence,
            family,
            resource,
            fill,
        );
    }
}

/// A message with its netlink and netfilter headers (struct nlmsghdr, struct nfgenmsg).
pub(crate) fn write_message(
    bytes: &mut Vec<u8>,
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    resource: u16,
    fill: impl FnOnce(&mut Attributes<'_>),
) {
    let start = bytes.len();
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&(flags | uapi::NLM_F_REQUEST).to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&0_u32.to_ne_bytes());
    bytes.extend_from_slice(&[family, 0]);
    bytes.extend_from_slice(&resource.to_be_bytes());
    fill(&mut Attributes(bytes));
    let length = u32::try_from(bytes.len().saturating_sub(start)).unwrap_or(u32::MAX);
    patch(bytes, start, &length.to_ne_bytes());
}

/// The attributes of a message or of a nest, being written. Numbers are in network byte order, as netfilter has them.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl<'a> Attributes<'a> {
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.write(kind, |bytes| bytes.extend_from_slice(value));
    }

    pub(crate) fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub(crate) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(crate) fn i32(&mut self, kind: u16, value: i32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A string with its end mark.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.write(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    pub(crate) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        self.write(kind | uapi::NLA_F_NESTED, |bytes| {
            fill(&mut Attributes(bytes))
        });
    }

    /// Attributes that were written elsewhere.
    pub(crate) fn raw(&mut self, attributes: &[u8]) {
        self.0.extend_from_slice(attributes);
    }

    fn write(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&0_u16.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self.0);
        // Whoever writes lists splits them well before this overflows; the kernel would refuse the message.
        let length = u16::try_from(self.0.len().saturating_sub(start)).unwrap_or(u16::MAX);
        patch(self.0, start, &length.to_ne_bytes());
        let padded = self.0.len().next_multiple_of(ALIGNMENT);
        self.0.resize(padded, 0);
    }
}

/// Reads the attributes in `bytes`: type without its flags, and value. Ends at the first that is not whole.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk::<2>()?));
        let kind = u16::from_ne_bytes(*rest.get(2..)?.first_chunk::<2>()?);
        let value = rest.get(4..length)?;
        rest = rest
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some((kind & uapi::NLA_TYPE_MASK, value))
    })
}

/// The first attribute of this type.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes)
        .find(|(found, _)| *found == kind)
        .map(|(_, value)| value)
}

fn patch(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at.saturating_add(value.len())) {
        place.copy_from_slice(value);
    }
}

/// Where a message's header has its flags.
const FLAGS_OFFSET: usize = 6;
/// Attributes and messages begin at multiples of this.
const ALIGNMENT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut bytes = Vec::new();
        let mut written = Attributes::new(&mut bytes);
        written.text(1, "abc");
        written.u32(2, 7);
        written.nest(3, |inner| inner.u8(4, 9));
        assert_eq!(bytes.len() % ALIGNMENT, 0);

        assert_eq!(attribute(&bytes, 1), Some(b"abc\0".as_slice()));
        assert_eq!(attribute(&bytes, 2), Some([0, 0, 0, 7].as_slice()));
        assert_eq!(
            attribute(attribute(&bytes, 3).unwrap(), 4),
            Some([9].as_slice())
        );
        assert_eq!(attribute(&bytes, 5), None);
    }

    #[test]
    fn what_is_cut_off_or_too_short_ends_the_reading() {
        for bytes in [&[][..], &[8, 0], &[3, 0, 1, 0], &[8, 0, 1, 0, 1], &[0; 16]] {
            assert_eq!(attributes(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn a_transaction_is_framed_and_names_its_steps() {
        let batch = Batch::transaction(|batch| batch.add(7, 0, "do it".into(), |_| {}));
        assert_eq!(batch.len(), 1);
        assert_eq!(batch.acknowledged(), 1);
        assert_eq!(batch.step(1), Some("do it"));
        // BEGIN: length 20, type 16, REQUEST, sequence 0, port 0; family 0, version 0, subsystem 10 in network order.
        assert_eq!(
            batch.bytes()[..20],
            [
                20, 0, 0, 0, 16, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10
            ]
        );
        assert_eq!(
            batch.bytes()[20..28],
            [20, 0, 0, 0, 7, 0, 5, 0],
            "the last step is acknowledged"
        );
        assert_eq!(batch.bytes()[40..46], [20, 0, 0, 0, 17, 0]);
    }
}
