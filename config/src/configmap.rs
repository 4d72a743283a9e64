//! The legacy format: one document with pools, peers and all, in a ConfigMap or bare.
//!
//! Each part becomes the custom resource that means the same, with a [`Place`] that leads back to what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ironlb_model::{Labels, Name};
use serde::Deserialize;

use crate::crd::{
    self, BFDProfileSpec, BGPAdvertisementSpec, BGPPeerSpec, CommunityAlias, CommunitySpec,
    IPAddressPoolSpec, L2AdvertisementSpec, SecretText,
};
use crate::decode::{Rules, decode};
use crate::objects::{Draft, Entry, LegacyConfigMap, Spec};
use crate::path::Step;
use crate::place::Place;
use crate::text;
use crate::tree::{Fault, Node, Shift};

/// The ConfigMap of a cluster. Lines and columns are those of its text.
pub(crate) fn from_api(map: &LegacyConfigMap) -> Entry {
    let place = Place {
        source: format!("{}/{}", map.namespace, map.name).into(),
        object: format!("ConfigMap/{}", map.name).into(),
        node: None,
        legacy: None,
        tainted: Vec::new(),
    };
    let nowhere = Shift::By {
        lines: 0,
        columns: 0,
    };
    from_text(&map.text, nowhere, &place)
}

/// The text of a ConfigMap, which is at `shift` in its source.
pub(crate) fn from_text(text: &str, shift: Shift, place: &Place) -> Entry {
    let mut documents = text::documents(text).into_iter();
    let mut entry = match documents.next() {
        None => return Entry::default(),
        Some(Ok(mut document)) => {
            document.root.shift(shift);
            let moved = |fault: Fault| Fault {
                mark: shift.apply(fault.mark),
                ..fault
            };
            let faults = document.faults.into_iter().map(moved).collect();
            from_node(Arc::new(document.root), faults, place)
        }
        Some(Err(fault)) => {
            let mark = shift.apply(fault.mark);
            unreadable(Fault { mark, ..fault }, place)
        }
    };
    if let Some(Ok(second)) = documents.next() {
        let message = "there is a second document; a ConfigMap has one".to_owned();
        let fault = Fault::new(shift.apply(second.root.mark), String::new(), message);
        entry.errors.push(place.fault(fault));
    }
    entry
}

/// One of which `fault` says why nothing is known of what it holds.
pub(crate) fn unreadable(fault: Fault, place: &Place) -> Entry {
    Entry {
        errors: vec![place.fault(fault)],
        unreadable: true,
        hides_pools: true,
        ..Entry::default()
    }
}

/// A document in the legacy format.
pub(crate) fn from_node(root: Arc<Node>, mut faults: Vec<Fault>, place: &Place) -> Entry {
    let legacy: Option<Legacy> = decode(&root, Rules::LEGACY, &[], &mut faults);
    let tainted: Vec<String> = faults.iter().flat_map(Fault::tainted).collect();
    let mut errors: Vec<_> = faults.into_iter().map(|fault| place.fault(fault)).collect();
    // Of a list that is none, and under a key that is not known, nobody can say what there is.
    let hidden = |path: &&String| !path.contains(['.', '[']);
    let hides_pools =
        |path: &String| !["peers", "bgp-communities", "bfd-profiles"].contains(&path.as_str());
    let lost: Vec<String> = tainted.iter().filter(hidden).cloned().collect();
    let Some(legacy) = legacy else {
        return Entry {
            errors,
            unreadable: true,
            hides_pools: true,
            ..Entry::default()
        };
    };
    let mut drafts = Drafts {
        root,
        place,
        tainted,
        all: Vec::new(),
        unreadable: !lost.is_empty(),
    };
    errors.extend(drafts.protocols(&legacy));
    drafts.collect(legacy);
    Entry {
        unreadable: drafts.unreadable,
        hides_pools: lost.iter().any(hides_pools),
        drafts: drafts.all,
        errors,
    }
}

struct Drafts<'a> {
    root: Arc<Node>,
    place: &'a Place,
    tainted: Vec<String>,
    all: Vec<Draft>,
    unreadable: bool,
}

impl Drafts<'_> {
    fn collect(&mut self, legacy: Legacy) {
        for (index, peer) in legacy.peers.into_iter().enumerate() {
            let name = format!("peer{}", index + 1);
            let spec = Spec::Peer(Box::new(peer.into_spec()));
            self.add(name.into(), steps("peers", index), spec);
        }
        self.communities(legacy.bgp_communities);
        for (index, profile) in legacy.bfd_profiles.into_iter().enumerate() {
            let name = profile.name.clone().unwrap_or_default().into();
            let spec = Spec::Bfd(profile.into_spec());
            self.add(name, steps("bfd-profiles", index), spec);
        }
        let (mut bgp, mut l2) = (0, 0);
        let mut named = BTreeSet::new();
        for (index, pool) in legacy.address_pools.into_iter().enumerate() {
            let at = steps("address-pools", index);
            let name = pool.name.clone().unwrap_or_default();
            // There is one to announce: an error about the name is told of the pool.
            let is_new = !name.is_empty() && named.insert(name.clone());
            match pool.protocol.as_deref() {
                Some("bgp") if is_new => self.bgp_advertisements(&pool, &at, &mut bgp),
                Some("layer2") if is_new => self.l2_advertisement(&pool, &at, &mut l2),
                // Nobody knows which it was: keep the numbers of the others, and what there was under these.
                _ => {
                    self.unreadable = true;
                    bgp += 1;
                    l2 += 1;
                }
            }
            self.add(name.into(), at, Spec::Pool(pool.into_spec()));
        }
    }

    /// What is wrong with the `protocol` of pools, which no custom resource has.
    fn protocols(&self, legacy: &Legacy) -> Vec<crate::Error> {
        let wrong = legacy
            .address_pools
            .iter()
            .enumerate()
            .filter_map(|(index, pool)| {
                let message = match pool.protocol.as_deref() {
                    Some("bgp" | "layer2") => return None,
                    Some(other) => format!("\"{other}\" is no protocol; there are bgp and layer2"),
                    None => "is missing; there are bgp and layer2".to_owned(),
                };
                let mut path = steps("address-pools", index);
                path.push(Step::Key("protocol".into()));
                Some(self.place_at(Vec::new()).error(&path, message))
            });
        wrong
            .filter(|error| !self.tainted.contains(&error.field))
            .collect()
    }

    fn communities(&mut self, aliases: BTreeMap<String, String>) {
        for (alias, value) in aliases {
            let at = vec![
                Step::Key("bgp-communities".into()),
                Step::Key(alias.clone().into()),
            ];
            let spec = CommunitySpec {
                communities: vec![CommunityAlias {
                    name: Some(alias.clone()),
                    value: Some(value),
                }],
            };
            self.add(alias.into(), at, Spec::Community(spec));
        }
    }

    /// A pool without any has one that says nothing in particular.
    fn bgp_advertisements(&mut self, pool: &LegacyPool, at: &[Step<'static>], count: &mut usize) {
        let of_pool = vec![pool.name.clone().unwrap_or_default()];
        let mut add = |drafts: &mut Self, at, advertisement: LegacyAdvertisement| {
            *count += 1;
            let name = format!("bgpadvertisement{count}");
            let spec = advertisement.into_spec(of_pool.clone());
            drafts.add(name.into(), at, Spec::Bgp(spec));
        };
        if pool.bgp_advertisements.is_empty() {
            add(self, at.to_vec(), LegacyAdvertisement::default());
        }
        for (index, advertisement) in pool.bgp_advertisements.iter().enumerate() {
            let mut at = at.to_vec();
            at.extend(steps("bgp-advertisements", index));
            add(self, at, advertisement.clone());
        }
    }

    fn l2_advertisement(&mut self, pool: &LegacyPool, at: &[Step<'static>], count: &mut usize) {
        *count += 1;
        let spec = L2AdvertisementSpec {
            ip_address_pools: vec![pool.name.clone().unwrap_or_default()],
            ..L2AdvertisementSpec::default()
        };
        let name = format!("l2advertisement{count}");
        self.add(name.into(), at.to_vec(), Spec::L2(spec));
    }

    fn add(&mut self, name: Name, at: Vec<Step<'static>>, spec: Spec) {
        self.all.push(Draft {
            place: Arc::new(self.place_at(at)),
            name,
            labels: Labels::new(),
            spec,
        });
    }

    fn place_at(&self, at: Vec<Step<'static>>) -> Place {
        let base = crate::path::join(&at);
        let tainted = self.tainted.iter();
        Place {
            node: Some(Arc::clone(&self.root)),
            tainted: tainted
                .filter(|path| path.starts_with(&base))
                .cloned()
                .collect(),
            legacy: Some(at),
            ..self.place.clone()
        }
    }
}

fn steps(key: &'static str, index: usize) -> Vec<Step<'static>> {
    vec![Step::Key(key.into()), Step::Index(index)]
}

/// The whole document.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Legacy {
    peers: Vec<LegacyPeer>,
    bgp_communities: BTreeMap<String, String>,
    address_pools: Vec<LegacyPool>,
    bfd_profiles: Vec<LegacyBfdProfile>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct LegacyPeer {
    my_asn: Option<i64>,
    peer_asn: Option<i64>,
    peer_address: Option<String>,
    source_address: Option<String>,
    peer_port: Option<i64>,
    hold_time: Option<String>,
    keepalive_time: Option<String>,
    router_id: Option<String>,
    node_selectors: Vec<LegacySelector>,
    password: Option<SecretText>,
    bfd_profile: Option<String>,
    ebgp_multihop: bool,
}

impl LegacyPeer {
    fn into_spec(self) -> BGPPeerSpec {
        let default = BGPPeerSpec::default();
        let selectors = self.node_selectors.into_iter();
        BGPPeerSpec {
            my_asn: self.my_asn,
            peer_asn: self.peer_asn,
            peer_address: self.peer_address,
            source_address: self.source_address,
            peer_port: self.peer_port.unwrap_or(default.peer_port),
            hold_time: self.hold_time,
            keepalive_time: self.keepalive_time,
            router_id: self.router_id,
            node_selectors: selectors.map(LegacySelector::into_spec).collect(),
            password: self.password,
            bfd_profile: self.bfd_profile,
            ebgp_multi_hop: self.ebgp_multihop,
            ..default
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct LegacySelector {
    match_labels: BTreeMap<String, String>,
    match_expressions: Vec<crd::LabelSelectorRequirement>,
}

impl LegacySelector {
    fn into_spec(self) -> crd::LabelSelector {
        crd::LabelSelector {
            match_labels: self.match_labels,
            match_expressions: self.match_expressions,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct LegacyPool {
    protocol: Option<String>,
    name: Option<String>,
    addresses: Vec<String>,
    auto_assign: Option<bool>,
    avoid_buggy_ips: bool,
    bgp_advertisements: Vec<LegacyAdvertisement>,
}

impl LegacyPool {
    fn into_spec(self) -> IPAddressPoolSpec {
        IPAddressPoolSpec {
            addresses: self.addresses,
            auto_assign: self.auto_assign.unwrap_or(true),
            avoid_buggy_ips: self.avoid_buggy_ips,
            ..IPAddressPoolSpec::default()
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct LegacyAdvertisement {
    aggregation_length: Option<i64>,
    aggregation_length_v6: Option<i64>,
    localpref: Option<i64>,
    communities: Vec<String>,
}

impl LegacyAdvertisement {
    fn into_spec(self, pools: Vec<String>) -> BGPAdvertisementSpec {
        let default = BGPAdvertisementSpec::default();
        BGPAdvertisementSpec {
            aggregation_length: self
                .aggregation_length
                .unwrap_or(default.aggregation_length),
            aggregation_length_v6: self
                .aggregation_length_v6
                .unwrap_or(default.aggregation_length_v6),
            local_pref: self.localpref,
            communities: self.communities,
            ip_address_pools: pools,
            ..default
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct LegacyBfdProfile {
    name: Option<String>,
    receive_interval: Option<i64>,
    transmit_interval: Option<i64>,
    detect_multiplier: Option<i64>,
    echo_interval: Option<i64>,
    echo_mode: bool,
    passive_mode: bool,
    minimum_ttl: Option<i64>,
}

impl LegacyBfdProfile {
    fn into_spec(self) -> BFDProfileSpec {
        BFDProfileSpec {
            detect_multiplier: self.detect_multiplier,
            receive_interval: self.receive_interval,
            transmit_interval: self.transmit_interval,
            echo_interval: self.echo_interval,
            echo_mode: self.echo_mode,
            passive_mode: self.passive_mode,
            minimum_ttl: self.minimum_ttl,
        }
    }
}
