//! The nodes that may announce anything at all, and which advertisement selects which of them.
//!
//! Label selectors are evaluated here once, when a node or the configuration changes, so that an election only
//! looks at bits and hashes. This is also the place where membership (who is alive) enters: for now a node is
//! alive as long as Kubernetes knows it.

use std::collections::BTreeMap;

use ironlb_model::{Config, L2Advertisement, Name, Node};

use crate::elect::name_hash;
use crate::node_set::NodeSet;

/// Nodes by position, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Roster {
    members: Vec<Member>,
    layer2: BTreeMap<Name, Selected>,
}

/// A node that is alive, available and not excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its name.
    pub(crate) name: Name,
    /// [`name_hash`] of it.
    pub(crate) hash: u64,
}

/// What a layer 2 advertisement says of the members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Selected {
    nodes: NodeSet,
    /// How much each member is preferred, by position; empty when the advertisement prefers none.
    preference: Vec<u32>,
}

impl Roster {
    pub(crate) fn new<'a>(eligible: impl Iterator<Item = &'a Node>, config: &Config) -> Self {
        let nodes: Vec<&Node> = eligible.collect();
        let member = |node: &&Node| Member {
            name: node.name.clone(),
            hash: name_hash(&node.name),
        };
        let selected = |(name, advertisement): (&Name, &L2Advertisement)| {
            (name.clone(), Selected::new(advertisement, &nodes))
        };
        Self {
            members: nodes.iter().map(member).collect(),
            layer2: config.l2_advertisements.iter().map(selected).collect(),
        }
    }

    /// Where `node` is; `None` when it may announce nothing.
    pub(crate) fn position(&self, node: &str) -> Option<usize> {
        self.members
            .binary_search_by(|member| (*member.name).cmp(node))
            .ok()
    }

    pub(crate) fn member(&self, position: usize) -> Option<&Member> {
        self.members.get(position)
    }

    /// The members that a layer 2 advertisement selects.
    pub(crate) fn selected(&self, advertisement: &str) -> Option<&NodeSet> {
        self.layer2
            .get(advertisement)
            .map(|selected| &selected.nodes)
    }

    /// How much a layer 2 advertisement prefers a member.
    pub(crate) fn preference(&self, advertisement: &str, position: usize) -> u32 {
        self.layer2
            .get(advertisement)
            .and_then(|selected| selected.preference.get(position))
            .copied()
            .unwrap_or(0)
    }
}

impl Selected {
    fn new(advertisement: &L2Advertisement, nodes: &[&Node]) -> Self {
        let selects = |(position, node): (usize, &&Node)| {
            advertisement.selects_node(&node.labels).then_some(position)
        };
        let preference = |node: &&Node| {
            let preferred = advertisement.preferred_nodes.iter();
            preferred
                .filter(|preferred| preferred.nodes.matches(&node.labels))
                .map(|preferred| u32::from(preferred.weight))
                .sum()
        };
        Self {
            nodes: nodes.iter().enumerate().filter_map(selects).collect(),
            preference: match advertisement.preferred_nodes.is_empty() {
                true => Vec::new(),
                false => nodes.iter().map(preference).collect(),
            },
        }
    }
}
