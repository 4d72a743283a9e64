//! What users do about BGP: peers, advertisements, profiles and passwords come, change and go.

use std::time::Duration;

use ironlb_model::{BgpAdvertisement, BgpPeer, Config, Family, Name};

use super::{Cluster, Event};
use crate::bgp::draw;
use crate::bgp::profile::Profile;

impl Cluster {
    /// BGP as it is when everything starts.
    pub(in crate::cluster) fn set_up_bgp(&mut self) {
        if !self.bgp.is_on() {
            return;
        }
        for name in draw::SECRETS {
            self.bgp
                .secrets
                .insert(name.to_owned(), format!("{name}, first"));
        }
        for router in 0..self.bgp.routers.len() {
            for family in Family::ALL {
                if self.bgp.rng.chance(65) {
                    self.put_peer(router, family);
                }
            }
        }
        self.edit_bgp(|cluster, config, profile| {
            let profile_of_bfd = draw::bfd_profile(&mut cluster.bgp.rng);
            config
                .bfd_profiles
                .insert(profile_of_bfd.name.clone(), profile_of_bfd);
            cluster.general_advertisement(config, profile);
        });
    }

    /// Schedules what happens in a round of this length.
    pub(in crate::cluster) fn schedule_bgp_round(&mut self, length: Duration) {
        let Some(profile) = &self.bgp.profile else {
            return;
        };
        let (changes, faults) = (profile.changes, profile.faults);
        for _ in 0..changes {
            let at = self.bgp.rng.between(Duration::ZERO, length);
            self.bgp_after(at, Event::UserActs);
        }
        for _ in 0..faults {
            let at = self.bgp.rng.between(Duration::ZERO, length);
            self.bgp_after(at, Event::FaultStrikes);
        }
    }

    pub(super) fn bgp_user_acts(&mut self) {
        let router = self.bgp.rng.below(self.bgp.routers.len() as u64);
        let router = usize::try_from(router).unwrap_or(0);
        let family = if self.bgp.rng.chance(50) {
            Family::V4
        } else {
            Family::V6
        };
        match self.bgp.rng.below(20) {
            0..=2 => self.put_peer(router, family),
            3 | 4 => self.edit_bgp(|cluster, config, _| cluster.remove_peer(config)),
            5..=9 => self.edit_bgp(Self::change_peer),
            10..=13 => self.edit_bgp(Self::add_bgp_advertisement),
            14 => self.edit_bgp(|cluster, config, _| cluster.remove_bgp_advertisement(config)),
            15 | 16 => self.edit_bgp(|cluster, config, _| cluster.change_communities(config)),
            17 => self.edit_bgp(|cluster, config, _| {
                let profile = draw::bfd_profile(&mut cluster.bgp.rng);
                config.bfd_profiles.insert(profile.name.clone(), profile);
            }),
            _ => self.change_secret(),
        }
    }

    /// Most of what users broke is put right.
    pub(in crate::cluster) fn repair_bgp(&mut self) {
        if self.bgp.is_on() && self.bgp.rng.chance(85) {
            self.edit_bgp(|cluster, config, profile| {
                cluster.general_advertisement(config, profile)
            });
        }
    }

    fn edit_bgp(&mut self, edit: impl FnOnce(&mut Self, &mut Config, &Profile)) {
        let Some(profile) = self.bgp.profile.clone() else {
            return;
        };
        self.edit_config(|cluster, config| edit(cluster, config, &profile));
        self.follow_config_at_routers();
    }

    fn put_peer(&mut self, router: usize, family: Family) {
        self.edit_bgp(|cluster, config, profile| {
            let Some(here) = cluster.bgp.routers.get(router) else {
                return;
            };
            let peer = draw::peer(&mut cluster.bgp.rng, profile, router, here, family);
            config.peers.insert(peer.name.clone(), peer);
        });
    }

    fn any_peer(&mut self, config: &Config) -> Option<BgpPeer> {
        let peers: Vec<BgpPeer> = config.peers.values().cloned().collect();
        self.bgp.rng.pick(&peers).cloned()
    }

    fn remove_peer(&mut self, config: &mut Config) {
        if let Some(peer) = self.any_peer(config) {
            config.peers.remove(&peer.name);
        }
    }

    /// One thing about a peer is another.
    fn change_peer(&mut self, config: &mut Config, profile: &Profile) {
        let Some(mut peer) = self.any_peer(config) else {
            return;
        };
        let Some((router, family)) = draw::router_of(&peer.name) else {
            return;
        };
        let Some(here) = self.bgp.routers.get(router) else {
            return;
        };
        let drawn = draw::peer(&mut self.bgp.rng, profile, router, here, family);
        match self.bgp.rng.below(12) {
            0 => peer.hold_time = drawn.hold_time,
            1 => peer.keepalive_time = drawn.keepalive_time,
            2 => peer.nodes = drawn.nodes,
            3 => peer.password = drawn.password,
            4 => (peer.bfd_profile, peer.bfd_strict) = (drawn.bfd_profile, drawn.bfd_strict),
            5 => peer.dual_stack = !peer.dual_stack,
            6 => (peer.passive, peer.listen_port) = (drawn.passive, drawn.listen_port),
            7 => peer.maximum_prefixes = drawn.maximum_prefixes,
            8 | 9 => peer.graceful_shutdown = !peer.graceful_shutdown,
            10 => peer.drain_time = drawn.drain_time,
            _ => peer.peer_asn = drawn.peer_asn,
        }
        config.peers.insert(peer.name.clone(), peer);
    }

    fn general_advertisement(&mut self, config: &mut Config, profile: &Profile) {
        let name: Name = "route-0".into();
        let routers = self.bgp.routers.len();
        let drawn = draw::advertisement(&mut self.bgp.rng, profile, name.clone(), routers);
        let general = BgpAdvertisement {
            communities: drawn.communities,
            link_bandwidth: drawn.link_bandwidth,
            ..BgpAdvertisement::new(name.clone())
        };
        config.bgp_advertisements.insert(name, general);
        agree(config);
    }

    fn add_bgp_advertisement(&mut self, config: &mut Config, profile: &Profile) {
        let name: Name = format!("route-{}", self.bgp.rng.below(4)).into();
        let routers = self.bgp.routers.len();
        let drawn = draw::advertisement(&mut self.bgp.rng, profile, name.clone(), routers);
        config.bgp_advertisements.insert(name, drawn);
        agree(config);
    }

    fn remove_bgp_advertisement(&mut self, config: &mut Config) {
        let names: Vec<Name> = config.bgp_advertisements.keys().cloned().collect();
        if let Some(name) = self.bgp.rng.pick(&names) {
            config.bgp_advertisements.remove(name);
        }
    }

    /// A Community has another value.
    fn change_communities(&mut self, config: &mut Config) {
        let value = u32::try_from(self.bgp.rng.below(3)).unwrap_or(0);
        for advertisement in config.bgp_advertisements.values_mut() {
            let named = ironlb_model::Community::Large(64_512, 9, value);
            let former = |one: &ironlb_model::Community| {
                matches!(one, ironlb_model::Community::Large(64_512, 9, _))
            };
            advertisement.communities.retain(|one| !former(one));
            if self.bgp.rng.chance(70) {
                advertisement.communities.insert(named);
            }
        }
    }

    /// The routers have another password at once, the speakers when they have heard of it.
    fn change_secret(&mut self) {
        let Some(name) = self.bgp.rng.pick(&draw::SECRETS).copied() else {
            return;
        };
        let password = format!("{name}, at {}", self.now);
        self.bgp.secrets.insert(name.to_owned(), password);
        self.note(format_args!("{name} is another password"));
        self.rekey_routers();
        for machine in 0..self.machines.len() {
            let life = self
                .speakers
                .get(machine)
                .map_or(0, |host| host.common.life);
            let delay = self.bgp.rng.millis(1, 2_000);
            let name = name.to_owned();
            self.bgp_after(
                delay,
                Event::Secret {
                    machine,
                    life,
                    name,
                },
            );
            for router in 0..self.bgp.routers.len() {
                self.note_trouble(machine, router);
            }
        }
    }
}

/// Two advertisements of one length must ask for the same, but for communities: others are refused as configuration.
fn agree(config: &mut Config) {
    let all: Vec<BgpAdvertisement> = config.bgp_advertisements.values().cloned().collect();
    for advertisement in config.bgp_advertisements.values_mut() {
        let same =
            |one: &&BgpAdvertisement| one.aggregation_length == advertisement.aggregation_length;
        if let Some(first) = all.iter().find(same)
            && advertisement.services.is_empty()
        {
            advertisement.med = first.med;
            advertisement.as_path_prepend = first.as_path_prepend;
            advertisement.next_hop = first.next_hop;
            advertisement.link_bandwidth = first.link_bandwidth;
        }
    }
}
