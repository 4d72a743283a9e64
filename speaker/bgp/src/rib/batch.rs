//! Changes on their way into messages.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;
use ironlb_model::Family;

use crate::wire::{EncodedAttributes, pack, withdraw};

/// Attributes as bytes, and what a message with them takes.
#[derive(Debug)]
pub(super) struct Encoding {
    attributes: EncodedAttributes,
    /// Length of an UPDATE with them and one prefix, in bytes.
    overhead: usize,
}

impl Encoding {
    pub(super) fn new(attributes: EncodedAttributes) -> Self {
        let default = match attributes.family() {
            Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
            Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
        };
        let mut bytes = Vec::new();
        pack(&attributes, [default], usize::from(u16::MAX), &mut bytes);
        Self {
            attributes,
            overhead: bytes.len(),
        }
    }
}

impl PartialEq for Encoding {
    fn eq(&self, other: &Self) -> bool {
        self.attributes == other.attributes
    }
}

impl Eq for Encoding {}

impl PartialOrd for Encoding {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Encoding {
    fn cmp(&self, other: &Self) -> Ordering {
        self.attributes.cmp(&other.attributes)
    }
}

/// Routes for as many messages as are written at once, each prefix at most once.
#[derive(Default)]
pub(super) struct Batch {
    announced: Vec<(Arc<Encoding>, Vec<IpNet>)>,
    /// Where in `announced` an encoding is.
    places: BTreeMap<Arc<Encoding>, usize>,
    /// Where the one is that was added last: most come one after another.
    last: usize,
    withdrawn: [Vec<IpNet>; 2],
    size: usize,
}

impl Batch {
    /// Adds a route, or, without attributes, the end of one.
    pub(super) fn add(&mut self, prefix: IpNet, encoding: Option<&Arc<Encoding>>) {
        self.size += 1 + usize::from(prefix.prefix_len().div_ceil(8));
        let Some(encoding) = encoding else {
            let [v4, v6] = &mut self.withdrawn;
            match prefix {
                IpNet::V4(_) => v4.push(prefix),
                IpNet::V6(_) => v6.push(prefix),
            }
            return;
        };
        if let Some((last, prefixes)) = self.announced.get_mut(self.last)
            && Arc::ptr_eq(last, encoding)
        {
            prefixes.push(prefix);
            return;
        }
        let next = self.announced.len();
        self.last = *self.places.entry(Arc::clone(encoding)).or_insert(next);
        if let Some((_, prefixes)) = self.announced.get_mut(self.last) {
            prefixes.push(prefix);
        } else {
            self.size += encoding.overhead;
            self.announced.push((Arc::clone(encoding), vec![prefix]));
        }
    }

    /// Whether it is enough for one go.
    pub(super) const fn is_full(&self) -> bool {
        self.size >= BATCH_BYTES
    }

    /// Appends the messages. Announcements come first: when a wide prefix gives way to narrow ones, or the other way round,
    /// there is no moment without a route.
    pub(super) fn write(self, max_length: usize, to: &mut Vec<u8>) {
        for (encoding, prefixes) in self.announced {
            pack(&encoding.attributes, prefixes, max_length, to);
        }
        for (family, prefixes) in Family::ALL.into_iter().zip(self.withdrawn) {
            if !prefixes.is_empty() {
                withdraw(family, prefixes, max_length, to);
            }
        }
    }
}

/// About how many bytes are written at once: a few of the longest messages, and no more than what a peer that stops reading
/// may receive although it is outdated.
const BATCH_BYTES: usize = 128 * 1024;
