//! A set of nodes by their position in the [`Roster`](crate::roster::Roster): a bit each.

/// Positions of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSet {
    /// 64 positions a word, the lowest in the lowest bit; the last word is never zero.
    words: Vec<u64>,
}

impl NodeSet {
    pub(crate) const fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(crate) fn insert(&mut self, position: usize) {
        let (word, bit) = (position / 64, position % 64);
        if self.words.len() <= word {
            self.words.resize(word.saturating_add(1), 0);
        }
        if let Some(word) = self.words.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    pub(crate) fn contains(&self, position: usize) -> bool {
        self.words
            .get(position / 64)
            .is_some_and(|word| word >> (position % 64) & 1 == 1)
    }

    /// Adds every node of `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        for (word, more) in self.words.iter_mut().zip(&other.words) {
            *word |= more;
        }
    }

    /// The nodes that both have.
    pub(crate) fn common(&self, other: &Self) -> Self {
        let both = self.words.iter().zip(&other.words).map(|(a, b)| a & b);
        let mut words: Vec<u64> = both.collect();
        while words.last() == Some(&0) {
            words.pop();
        }
        Self { words }
    }

    /// The positions, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                let bit = usize::try_from(left.trailing_zeros())
                    .ok()
                    .filter(|bit| *bit < 64)?;
                left &= left.wrapping_sub(1);
                Some(index.saturating_mul(64).saturating_add(bit))
            })
        })
    }
}

impl FromIterator<usize> for NodeSet {
    fn from_iter<I: IntoIterator<Item = usize>>(positions: I) -> Self {
        let mut set = Self::default();
        positions
            .into_iter()
            .for_each(|position| set.insert(position));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_does_what_a_set_of_numbers_does(
            a in proptest::collection::btree_set(0_usize..300, 0..40),
            b in proptest::collection::btree_set(0_usize..300, 0..40),
        ) {
            let (left, right): (NodeSet, NodeSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            let common: Vec<usize> = a.intersection(&b).copied().collect();
            prop_assert_eq!(left.common(&right).iter().collect::<Vec<_>>(), common.clone());
            prop_assert_eq!(left.common(&right).is_empty(), common.is_empty());
            let mut both = left.clone();
            both.add(&right);
            prop_assert_eq!(both.iter().collect::<BTreeSet<_>>(), &a | &b);
            prop_assert!(a.iter().all(|position| left.contains(*position)));
            prop_assert!(b.difference(&a).all(|position| !left.contains(*position)));
        }
    }
}
