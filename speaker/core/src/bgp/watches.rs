//! The BFD sessions that watch the peers of a node.

use std::collections::{BTreeMap, BTreeSet};

use ironlb_bfd::{Key, Settings};

use super::io::PeerOutput;

/// Which are wanted, and which of them are up. Peers at one place behind several ports have one between them.
#[derive(Debug, Default)]
pub(super) struct Watches {
    wanted: BTreeMap<Key, Settings>,
    up: BTreeSet<Key>,
}

impl Watches {
    /// What each peer wants. Where two at one place want different settings, the first one's count. Gives what is to be done.
    pub(super) fn want<'a>(
        &mut self,
        wanted: impl Iterator<Item = &'a (Key, Settings)>,
    ) -> Vec<PeerOutput> {
        let mut all = BTreeMap::new();
        for (key, settings) in wanted {
            all.entry(*key).or_insert_with(|| settings.clone());
        }
        let before = std::mem::replace(&mut self.wanted, all);
        self.up.retain(|key| self.wanted.contains_key(key));
        let left = before.keys().filter(|key| !self.wanted.contains_key(key));
        let left = left.map(|key| PeerOutput::Unwatch(*key));
        let new = self.wanted.iter();
        let new = new.filter(|(key, settings)| before.get(key) != Some(settings));
        let new = new.map(|(key, settings)| PeerOutput::Watch {
            key: *key,
            settings: settings.clone(),
        });
        left.chain(new).collect()
    }

    /// A session is up, or is not any more. That of one that is not wanted comes late: it says nothing of the next one there.
    pub(super) fn set(&mut self, key: Key, up: bool) {
        if up && self.wanted.contains_key(&key) {
            self.up.insert(key);
        } else {
            self.up.remove(&key);
        }
    }

    pub(super) fn is_up(&self, key: &Key) -> bool {
        self.up.contains(key)
    }
}
