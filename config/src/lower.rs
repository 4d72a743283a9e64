//! Objects to configuration: judge each, then all of them together.
//!
//! Every error is collected. What is in error keeps the state that it had in the last good configuration, or is
//! left out where it had none; what is good goes on. Of a pool that is left out, the configuration says that it is there.
//! The same objects always give the same configuration.

mod addresses;
mod advertisement;
mod bfd_profile;
mod bgp_advertisement;
mod bgp_conflicts;
mod communities;
mod l2_advertisement;
mod number;
mod peer;
mod pool;
mod selector;
mod table;

use ironlb_model::{Config, Node};

use crate::error::Error;
use crate::objects::{Draft, Objects, Spec};
use table::Keep;

pub(crate) use addresses::with_host_bits;

/// What [`lower`] made of the objects.
#[derive(Clone, Debug, Default)]
pub struct Lowered {
    /// The configuration: valid as a whole.
    pub config: Config,
    /// Everything that is wrong, in order of source and place.
    pub errors: Vec<Error>,
}

impl Lowered {
    /// Whether nothing is wrong.
    pub fn is_valid(&self) -> bool {
        self.errors.is_empty()
    }
}

/// Makes a configuration of `objects`.
///
/// `last_good` is the configuration in force; an empty one at the start, and for judging files by themselves.
pub fn lower(objects: &Objects, last_good: &Config) -> Lowered {
    lower_for(objects, last_good, Surroundings::default())
}

/// What is known of where a configuration is to be used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The nodes: two peers, or two advertisements, that must not meet on a node are then found by their labels too, and
    /// not only where selectors say it.
    pub nodes: &'a [Node],
    /// There is no API to read Secrets from: a password in one is an error.
    pub without_secrets: bool,
}

/// The same where more is known.
pub fn lower_for(objects: &Objects, last_good: &Config, around: Surroundings<'_>) -> Lowered {
    let mut errors: Vec<Error> = objects.errors().cloned().collect();
    let drafts = Drafts::sort(objects);
    // When something cannot be read, it is not known what was removed: nothing is.
    let keep = Keep {
        everything: objects.is_unreadable(),
    };
    let mut config = Config::default();
    let aliases = communities::lower(&drafts.communities, &mut errors);
    config.bfd_profiles =
        bfd_profile::lower(&drafts.bfd, &last_good.bfd_profiles, keep, &mut errors);
    pool::lower(
        &drafts.pools,
        objects,
        last_good,
        keep,
        &mut config,
        &mut errors,
    );
    peer::lower(
        &drafts.peers,
        last_good,
        keep,
        around,
        &mut config,
        &mut errors,
    );
    l2_advertisement::lower(&drafts.l2, last_good, keep, &mut config, &mut errors);
    bgp_advertisement::lower(
        &drafts.bgp,
        &aliases,
        last_good,
        keep,
        around.nodes,
        &mut config,
        &mut errors,
    );
    errors.sort();
    errors.dedup();
    Lowered { config, errors }
}

/// The drafts by kind, each in order of name; custom resources before the ConfigMap.
#[derive(Default)]
struct Drafts<'a> {
    pools: Vec<&'a Draft>,
    l2: Vec<&'a Draft>,
    bgp: Vec<&'a Draft>,
    peers: Vec<&'a Draft>,
    bfd: Vec<&'a Draft>,
    communities: Vec<&'a Draft>,
}

impl<'a> Drafts<'a> {
    fn sort(objects: &'a Objects) -> Self {
        let mut sorted = Self::default();
        for draft in objects.entries().flat_map(|entry| &entry.drafts) {
            let list = match &draft.spec {
                Spec::Pool(_) => &mut sorted.pools,
                Spec::L2(_) => &mut sorted.l2,
                Spec::Bgp(_) => &mut sorted.bgp,
                Spec::Peer(_) => &mut sorted.peers,
                Spec::Bfd(_) => &mut sorted.bfd,
                Spec::Community(_) => &mut sorted.communities,
            };
            list.push(draft);
        }
        sorted
    }
}
