//! Which files say something of an object, and which of them counts: kept by object, so that a file that has changed costs
//! what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ironlb_config::{Error, Manifest, ManifestKey, Objects};

/// All that files say, by object.
#[derive(Debug, Default)]
pub(crate) struct Index {
    objects: BTreeMap<ManifestKey, Place>,
    /// Of configuration all counts: `ironlb_config::lower` judges it.
    configuration: BTreeMap<ManifestKey, Claims>,
    /// Objects that several files say, or one several times.
    doubled: BTreeSet<ManifestKey>,
    /// Objects of which something was said anew since [`settle`](Self::settle).
    touched: BTreeSet<ManifestKey>,
    is_configuration_touched: bool,
}

/// What one file says of an object.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) manifest: Arc<Manifest>,
    /// The file does not say it any more as it should be: this is its last good state. It counts where no file says more.
    pub(crate) is_kept: bool,
}

/// In order of the files' names, and within a file as written.
type Claims = Vec<Claim>;

#[derive(Debug, Default)]
struct Place {
    claims: Claims,
    in_force: Option<Arc<Manifest>>,
}

/// What was in force of an object and what is; of both at most one is `None`.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) before: Option<Arc<Manifest>>,
    pub(crate) now: Option<Arc<Manifest>>,
}

/// What came of what was said anew.
#[derive(Debug, Default)]
pub(crate) struct Settled {
    /// In order of the objects.
    pub(crate) differences: Vec<Difference>,
    /// The files that say something of the objects touched.
    pub(crate) files: BTreeSet<String>,
    pub(crate) is_configuration_touched: bool,
}

impl Index {
    /// The file called `file` makes these claims now; `before` has at least the objects that it made some to so far.
    pub(crate) fn set(
        &mut self,
        file: &str,
        before: impl IntoIterator<Item = ManifestKey>,
        claims: impl IntoIterator<Item = Claim>,
    ) {
        let is_its = |claim: &Claim| claim.manifest.source() == file;
        for key in before {
            let claims = match self.configuration.get_mut(&key) {
                Some(claims) => {
                    self.is_configuration_touched = true;
                    claims
                }
                None => match self.objects.get_mut(&key) {
                    Some(place) => &mut place.claims,
                    None => continue,
                },
            };
            claims.retain(|claim| !is_its(claim));
            if claims.is_empty() {
                self.configuration.remove(&key);
            }
            self.touched.insert(key);
        }
        for claim in claims {
            let key = claim.manifest.key().clone();
            let claims = if claim.manifest.is_configuration() {
                self.is_configuration_touched = true;
                self.configuration.entry(key.clone()).or_default()
            } else {
                &mut self.objects.entry(key.clone()).or_default().claims
            };
            let place = claims.partition_point(|other| other.manifest.source() <= file);
            // Nearly all are alone, and there may be many.
            claims.reserve_exact(1);
            claims.insert(place, claim);
            self.touched.insert(key);
        }
    }

    /// Chooses anew among what was said of each object touched.
    pub(crate) fn settle(&mut self) -> Settled {
        let mut settled = Settled {
            is_configuration_touched: std::mem::take(&mut self.is_configuration_touched),
            ..Settled::default()
        };
        for key in std::mem::take(&mut self.touched) {
            let Some(place) = self.objects.get_mut(&key) else {
                continue;
            };
            let sources = place.claims.iter().map(|claim| claim.manifest.source());
            settled.files.extend(sources.map(str::to_owned));
            let before = place.in_force.take();
            place.in_force = choose(&place.claims, before.as_ref()).cloned();
            let is_other = match (&before, &place.in_force) {
                (Some(before), Some(now)) => !before.says_the_same(now),
                (before, now) => before.is_some() || now.is_some(),
            };
            let now = place.in_force.clone();
            if said(&place.claims).nth(1).is_some() {
                self.doubled.insert(key.clone());
            } else {
                self.doubled.remove(&key);
            }
            if place.claims.is_empty() {
                self.objects.remove(&key);
            }
            if is_other {
                settled.differences.push(Difference { before, now });
            }
        }
        settled
    }

    /// Everything in force, configuration left out.
    pub(crate) fn everything(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        let places = self.objects.values();
        places.filter_map(|place| place.in_force.as_ref())
    }

    /// Which manifest of an object counts; of configuration that is not known.
    pub(crate) fn in_force(&self, key: &ManifestKey) -> Option<&Arc<Manifest>> {
        self.objects.get(key)?.in_force.as_ref()
    }

    /// All configuration, each object as it is said, or else as it was last.
    pub(crate) fn configuration(&self, is_unreadable: bool) -> Objects {
        let counts = self.configuration.values().flat_map(|claims| {
            let is_said = claims.iter().any(|claim| !claim.is_kept);
            let number = if is_said { usize::MAX } else { 1 };
            let claims = claims.iter();
            let counts = claims.filter(move |claim| claim.is_kept != is_said);
            counts.map(|claim| &claim.manifest).take(number)
        });
        Objects::gather(counts, is_unreadable)
    }

    /// The files that have configuration.
    pub(crate) fn configuration_files(&self) -> impl Iterator<Item = &str> {
        let claims = self.configuration.values().flatten();
        claims.map(|claim| claim.manifest.source())
    }

    /// That of several that say the same object only one counts.
    pub(crate) fn errors(&self) -> impl Iterator<Item = Error> {
        let places = self.doubled.iter().filter_map(|key| self.objects.get(key));
        places.flat_map(|place| {
            let others = said(&place.claims);
            let first = place.in_force.as_ref();
            others.filter_map(move |other| {
                let first = first.filter(|first| !Arc::ptr_eq(first, other))?;
                other.clash(first)
            })
        })
    }
}

/// The first of those that change least: what says the same as `before`, best of the same file. What is said comes before
/// what was.
fn choose<'a>(claims: &'a [Claim], before: Option<&Arc<Manifest>>) -> Option<&'a Arc<Manifest>> {
    let rank = |claim: &&Claim| {
        let same = before.map(|before| {
            (
                before.says_the_same(&claim.manifest),
                before.source() == claim.manifest.source(),
            )
        });
        let (says_the_same, is_of_the_same_file) = same.unwrap_or_default();
        (claim.is_kept, !says_the_same, !is_of_the_same_file)
    };
    claims.iter().min_by_key(rank).map(|claim| &claim.manifest)
}

fn said(claims: &[Claim]) -> impl Iterator<Item = &Arc<Manifest>> {
    let said = claims.iter().filter(|claim| !claim.is_kept);
    said.map(|claim| &claim.manifest)
}
