//! Configuration objects, from whichever source, before they are judged together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ironlb_model::{Labels, Name};
use kube::core::ObjectMeta;

use crate::configmap;
use crate::crd;
use crate::error::Error;
use crate::place::Place;

/// All configuration objects that there are. [`lower`](crate::lower) makes a configuration of them.
///
/// Through the API they come and go one by one; from files they come all at once with [`read`](crate::read).
#[derive(Clone, Debug, Default)]
pub struct Objects {
    entries: BTreeMap<(ObjectRef, usize), Entry>,
    undecodable: BTreeMap<ObjectRef, Undecodable>,
    unreadable: bool,
}

/// An object of the API that is none of its kind.
#[derive(Clone, Debug)]
struct Undecodable {
    labels: Labels,
    error: Error,
}

impl Objects {
    /// `object` is there, or has changed.
    pub fn apply(&mut self, object: impl Into<Object>) {
        let object = object.into();
        let reference = object.reference();
        self.undecodable.remove(&reference);
        let entry = match object {
            Object::LegacyConfigMap(map) => configmap::from_api(&map),
            object => Entry::of(object.into_draft()),
        };
        self.entries.insert((reference, 0), entry);
    }

    /// The API has an object that is none of its kind: `message` says why. What it said before stays in force; where it said
    /// nothing before, it is known to be there, and to have these labels.
    pub fn apply_undecodable(&mut self, reference: ObjectRef, labels: Labels, message: String) {
        let error = Error {
            object: format!("{}/{}", reference.kind.name(), reference.name),
            ..Error::of_source(KUBERNETES, message)
        };
        let undecodable = Undecodable { labels, error };
        self.undecodable.insert(reference, undecodable);
    }

    /// The object is gone. One that was not there is no matter.
    pub fn delete(&mut self, reference: &ObjectRef) {
        self.undecodable.remove(reference);
        self.entries.remove(&(reference.clone(), 0));
    }

    /// What of the API is there, for finding out what vanished when everything has been listed again.
    pub fn references(&self) -> impl Iterator<Item = &ObjectRef> {
        let decoded = self.entries.keys().map(|(reference, _)| reference);
        decoded.chain(self.undecodable.keys())
    }

    /// Whether there is nothing at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.undecodable.is_empty()
    }

    /// Adds an object from a file; there may be one of that name already, which is an error found later.
    pub(crate) fn insert(&mut self, reference: ObjectRef, entry: Entry) {
        let copies = self
            .entries
            .range((reference.clone(), 0)..=(reference.clone(), usize::MAX))
            .count();
        self.entries.insert((reference, copies), entry);
    }

    /// Something could not be read at all, so it is not known what is missing.
    pub(crate) const fn mark_unreadable(&mut self) {
        self.unreadable = true;
    }

    /// Whether something could not be read at all.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.unreadable || self.entries.values().any(|entry| entry.unreadable)
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// What reading the objects found wrong.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Error> {
        let read = self.entries().flat_map(|entry| &entry.errors);
        let undecodable = self.undecodable.values().map(|one| &one.error);
        read.chain(undecodable)
    }

    /// The pools, by name and labels, of which no more is known than that they are there.
    pub(crate) fn undecodable_pools(&self) -> impl Iterator<Item = (&str, &Labels)> {
        let is_pool = |reference: &ObjectRef| reference.kind == ObjectKind::IPAddressPool;
        let said_nothing = |reference: &ObjectRef| {
            let entry = (reference.clone(), 0);
            !self.entries.contains_key(&entry)
        };
        self.undecodable
            .iter()
            .filter(move |(reference, _)| is_pool(reference) && said_nothing(reference))
            .map(|(reference, one)| (reference.name.as_str(), &one.labels))
    }

    /// Whether there may be pools of which not even the name is known.
    pub(crate) fn hides_pools(&self) -> bool {
        self.unreadable || self.entries().any(|entry| entry.hides_pools)
    }
}

/// A configuration object of the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A pool of addresses.
    IPAddressPool(Box<crd::IPAddressPool>),
    /// Announce by ARP and NDP.
    L2Advertisement(Box<crd::L2Advertisement>),
    /// Announce over BGP.
    BGPAdvertisement(Box<crd::BGPAdvertisement>),
    /// A BGP router.
    BGPPeer(Box<crd::BGPPeer>),
    /// How a dead peer is noticed.
    BFDProfile(Box<crd::BFDProfile>),
    /// Names for communities.
    Community(Box<crd::Community>),
    /// A ConfigMap in the legacy format.
    LegacyConfigMap(LegacyConfigMap),
}

/// A ConfigMap in the legacy format. Debug output leaves out the text: it may hold passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct LegacyConfigMap {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// What it has under its key `config`.
    pub text: String,
}

impl fmt::Debug for LegacyConfigMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LegacyConfigMap({}/{})", self.namespace, self.name)
    }
}

/// A kind of configuration object. The order is the one in which clashes are settled: custom resources come before
/// the ConfigMap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    /// [`crd::IPAddressPool`].
    IPAddressPool,
    /// [`crd::L2Advertisement`].
    L2Advertisement,
    /// [`crd::BGPAdvertisement`].
    BGPAdvertisement,
    /// [`crd::BGPPeer`].
    BGPPeer,
    /// [`crd::BFDProfile`].
    BFDProfile,
    /// [`crd::Community`].
    Community,
    /// [`LegacyConfigMap`].
    LegacyConfigMap,
}

impl ObjectKind {
    /// The kinds that are custom resources.
    pub(crate) const RESOURCES: [Self; 6] = [
        Self::IPAddressPool,
        Self::L2Advertisement,
        Self::BGPAdvertisement,
        Self::BGPPeer,
        Self::BFDProfile,
        Self::Community,
    ];

    /// The word in `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IPAddressPool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BGPAdvertisement => "BGPAdvertisement",
            Self::BGPPeer => "BGPPeer",
            Self::BFDProfile => "BFDProfile",
            Self::Community => "Community",
            Self::LegacyConfigMap => "ConfigMap",
        }
    }
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Object {
    /// Which one it is.
    pub fn reference(&self) -> ObjectRef {
        let of = |kind, metadata: &ObjectMeta| ObjectRef {
            kind,
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        };
        match self {
            Self::IPAddressPool(object) => of(ObjectKind::IPAddressPool, &object.metadata),
            Self::L2Advertisement(object) => of(ObjectKind::L2Advertisement, &object.metadata),
            Self::BGPAdvertisement(object) => of(ObjectKind::BGPAdvertisement, &object.metadata),
            Self::BGPPeer(object) => of(ObjectKind::BGPPeer, &object.metadata),
            Self::BFDProfile(object) => of(ObjectKind::BFDProfile, &object.metadata),
            Self::Community(object) => of(ObjectKind::Community, &object.metadata),
            Self::LegacyConfigMap(map) => ObjectRef {
                kind: ObjectKind::LegacyConfigMap,
                namespace: map.namespace.clone(),
                name: map.name.clone(),
            },
        }
    }

    /// As a draft; `None` for a ConfigMap, which is many.
    fn into_draft(self) -> Option<Draft> {
        let reference = self.reference();
        let (metadata, spec) = match self {
            Self::IPAddressPool(object) => (object.metadata, Spec::Pool(object.spec)),
            Self::L2Advertisement(object) => (object.metadata, Spec::L2(object.spec)),
            Self::BGPAdvertisement(object) => (object.metadata, Spec::Bgp(object.spec)),
            Self::BGPPeer(object) => (object.metadata, Spec::Peer(Box::new(object.spec))),
            Self::BFDProfile(object) => (object.metadata, Spec::Bfd(object.spec)),
            Self::Community(object) => (object.metadata, Spec::Community(object.spec)),
            Self::LegacyConfigMap(_) => return None,
        };
        let place = Place {
            source: KUBERNETES.into(),
            object: format!("{}/{}", reference.kind.name(), reference.name).into(),
            node: None,
            legacy: None,
            tainted: Vec::new(),
        };
        Some(Draft {
            place: Arc::new(place),
            name: reference.name.into(),
            labels: metadata.labels.unwrap_or_default(),
            spec,
        })
    }
}

macro_rules! from {
    ($($kind:ident)*) => {
        $(impl From<crd::$kind> for Object {
            fn from(object: crd::$kind) -> Self {
                Self::$kind(Box::new(object))
            }
        })*
    };
}

from!(IPAddressPool L2Advertisement BGPAdvertisement BGPPeer BFDProfile Community);

impl From<LegacyConfigMap> for Object {
    fn from(map: LegacyConfigMap) -> Self {
        Self::LegacyConfigMap(map)
    }
}

/// What one object of a source holds: one draft, or for a ConfigMap many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) drafts: Vec<Draft>,
    /// What reading it found wrong.
    pub(crate) errors: Vec<Error>,
    /// What it holds is not known.
    pub(crate) unreadable: bool,
    /// There may be pools in it of which not even the name is known.
    pub(crate) hides_pools: bool,
}

impl Entry {
    pub(crate) fn of(drafts: impl IntoIterator<Item = Draft>) -> Self {
        Self {
            drafts: drafts.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// An object as the operator wrote it, typed and not yet judged.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) place: Arc<Place>,
    pub(crate) name: Name,
    pub(crate) labels: Labels,
    pub(crate) spec: Spec,
}

/// The `spec` of a [`Draft`].
#[derive(Clone, Debug)]
pub(crate) enum Spec {
    Pool(crd::IPAddressPoolSpec),
    L2(crd::L2AdvertisementSpec),
    Bgp(crd::BGPAdvertisementSpec),
    Peer(Box<crd::BGPPeerSpec>),
    Bfd(crd::BFDProfileSpec),
    Community(crd::CommunitySpec),
}

/// The source of what came through the API.
pub(crate) const KUBERNETES: &str = "kubernetes";
