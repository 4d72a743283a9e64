//! Which peers a node has, where each of them is, and where we listen for them: what follows from the configuration, the node and
//! its interfaces.

use std::collections::{BTreeMap, BTreeSet};

use ironlb_bgp::{Audience, Input, Output, Settings, Stop};
use ironlb_l2::discovery;
use ironlb_model::{BgpPeer, Link, Name, Node, Time};

use crate::World;

use super::io::{News, PeerOutput, Target};
use super::links::Links;
use super::neighbour::{self, Neighbour};
use super::{Bgp, listening, session, wire};

impl Bgp {
    /// The configuration, the node or an interface may be another one. Says whether what the Services announce must be
    /// [set](Self::set_service) anew.
    pub(crate) fn configure(&mut self, now: Time, world: &World) -> bool {
        // A node that the API does not know keeps the peers that it has: in doubt nothing changes.
        let Some(node) = world.node(&self.node) else {
            return false;
        };
        let was_leaving = self.leave.is_excluded();
        let excluded = world.is_excluded(node);
        self.leave.exclude(now, excluded, self.is_ready);
        let before: BTreeSet<Audience> = self.audiences().cloned().collect();
        self.drop_others(now, world, node);
        for peer in world.config().peers.values() {
            if peer.selects_node(&node.labels) && !self.leave.is_ending() {
                self.apply(now, world, node, peer);
            }
        }
        self.discover(now);
        self.aim(now, world);
        self.listen();
        self.relocate(now);
        let after: BTreeSet<Audience> = self.audiences().cloned().collect();
        before != after || was_leaving != excluded
    }

    /// An interface is there, or has changed.
    pub(crate) fn apply_link(&mut self, now: Time, world: &World, link: &Link) {
        if self.links.apply(link) {
            self.follow_links(now, world);
        }
    }

    /// An interface is gone.
    pub(crate) fn delete_link(&mut self, now: Time, world: &World, index: u32) {
        if self.links.delete(index) {
            self.follow_links(now, world);
        }
    }

    fn follow_links(&mut self, now: Time, world: &World) {
        self.discover(now);
        self.aim(now, world);
        self.listen();
        self.relocate(now);
    }

    /// Announces other next hops where our addresses on a session are others now, or how far away its peer may be.
    fn relocate(&mut self, now: Time) {
        for (name, neighbour) in self.neighbours.iter().filter(|(_, one)| one.is_up) {
            let local = neighbour.local_addresses(&self.links);
            let known = self.rib.target(name).map(|(_, export)| export.local);
            if let Some(local) = local.filter(|local| known.is_some_and(|known| known != *local)) {
                self.rib.relocate(now, name, local);
            }
        }
    }

    fn drop_others(&mut self, now: Time, world: &World, node: &Node) {
        let peers = &world.config().peers;
        let stays = |name: &Name| {
            peers
                .get(name)
                .is_some_and(|one| one.selects_node(&node.labels))
        };
        let gone: Vec<Name> = self
            .neighbours
            .keys()
            .filter(|name| !stays(name))
            .cloned()
            .collect();
        for name in gone {
            let Some(mut neighbour) = self.neighbours.remove(&name) else {
                continue;
            };
            neighbour
                .session
                .handle(now, Input::Stop(Stop::Deconfigured));
            while let Some(output) = neighbour.session.poll() {
                if let Output::Down(cause) = &output {
                    let news = News::Down(cause.to_string());
                    self.outputs.push_back(session(&name, news));
                }
                self.outputs.extend(wire(&name, &neighbour, output));
            }
            self.rib.down(&name);
        }
    }

    /// A peer of this node is to be as configured.
    fn apply(&mut self, now: Time, world: &World, node: &Node, config: &BgpPeer) {
        let audience = Audience::of(&config.name, world.config().bgp_advertisements.values());
        // While the process ends nothing is configured any more.
        let standing = self.leave.standing(now, config, false);
        let address = neighbour::configured_address(config);
        let interface = neighbour::interface(config);
        let Some(known) = self.neighbours.get_mut(&config.name) else {
            let router_id = self.links.router_id(address, interface, node);
            let settings = Settings::new(config, router_id);
            let seed = neighbour::seed(self.seed, &config.name);
            // What a speaker before us left with the peer is known to the peer alone.
            let restarted = !self.is_ready;
            let mut new = Neighbour::new(now, config.clone(), settings, audience, seed, restarted);
            new.standing = standing;
            self.neighbours.insert(config.name.clone(), new);
            return;
        };
        if known.config != *config {
            // The identifier stays: another one is another session.
            let router_id = known.session.settings().router_id;
            let router_id = match (known.config.router_id, config.router_id) {
                (Some(_), None) => self.links.router_id(address, interface, node),
                _ => router_id,
            };
            let settings = Box::new(Settings::new(config, router_id));
            if settings.transport != known.session.settings().transport {
                // Where it was another peer may be.
                known.target = None;
            }
            known.session.handle(now, Input::Configure(settings));
            known.config = config.clone();
        }
        if (&known.audience, known.standing) != (&audience, standing) {
            (known.audience, known.standing) = (audience.clone(), standing);
            self.rib.retarget(now, &config.name, audience, standing);
        }
    }

    /// Looks for routers where a peer has no address, and nowhere else.
    fn discover(&mut self, now: Time) {
        let wanted = self.neighbours.values();
        let wanted = wanted.filter_map(|one| neighbour::unnumbered(&one.config));
        let wanted: BTreeMap<String, (u32, discovery::Identity)> = wanted
            .filter_map(|name| Some((name.to_owned(), self.links.identity(name).ok()?)))
            .collect();
        self.discovering.retain(|name, index| {
            let stays = wanted.get(name).is_some_and(|(wanted, _)| wanted == index);
            if !stays {
                self.discovery.stop(*index);
                let interface = *index;
                self.outputs.push_back(PeerOutput::Undiscover { interface });
            }
            stays
        });
        for (name, (interface, identity)) in wanted {
            if self.discovering.insert(name.clone(), interface).is_none() {
                self.outputs
                    .push_back(PeerOutput::Discover { interface, name });
            }
            self.discovery.start(now, interface, identity);
        }
        self.collect_discovery();
    }

    /// Hands on what discovery wants sent; whether it has found somebody.
    pub(super) fn collect_discovery(&mut self) -> bool {
        let mut found = false;
        while let Some(output) = self.discovery.poll() {
            match output {
                discovery::Output::Send { interface, frame } => {
                    self.outputs
                        .push_back(PeerOutput::Frame { interface, frame });
                }
                discovery::Output::Neighbour { .. } => found = true,
            }
        }
        found
    }

    /// Finds out where each peer is, has BFD watch it there, and starts those that can be spoken with.
    pub(super) fn aim(&mut self, now: Time, world: &World) {
        for (name, neighbour) in &mut self.neighbours {
            // Of one that was stopped, as the process ends, nothing is wanted any more.
            if !neighbour.is_started && self.leave.is_ending() {
                continue;
            }
            let config = &neighbour.config;
            let place = neighbour::place(config, &self.links, &self.discovery);
            let password = neighbour::password(config, &self.secrets);
            let target = match (place.clone(), password) {
                (Ok(place), Ok(password)) => Ok(Target { password, ..place }),
                (Err(obstacle), _) | (_, Err(obstacle)) => Err(obstacle),
            };
            let news = neighbour.waiting.set(now, target.as_ref().err().cloned());
            self.outputs.extend(news.map(|news| session(name, news)));
            match target {
                Err(obstacle) => neighbour.miss_target(&obstacle, &self.links),
                Ok(target) => {
                    if neighbour.target.as_ref() != Some(&target) {
                        neighbour.target = Some(target.clone());
                        let peer = name.clone();
                        self.outputs
                            .push_back(PeerOutput::Retarget { peer, target });
                    }
                }
            }
            let watch = wanted_watch(world, &self.links, neighbour, place.ok().as_ref());
            neighbour.watch(now, watch, &self.watches);
            if !neighbour.is_started && neighbour.target.is_some() {
                neighbour.is_started = true;
                neighbour.session.handle(now, Input::Start);
            }
        }
        self.watch();
    }

    pub(super) fn listen(&mut self) {
        let doors = listening::doors(self.neighbours.values());
        if doors != self.doors {
            self.doors.clone_from(&doors);
            self.outputs.push_back(PeerOutput::Listen(doors));
        }
    }
}

/// The BFD session that is to watch a peer, which is at `place` or else where it was last. What is missing for a connection says
/// nothing of BFD.
fn wanted_watch(
    world: &World,
    links: &Links,
    neighbour: &Neighbour,
    place: Option<&Target>,
) -> Option<(ironlb_bfd::Key, ironlb_bfd::Settings)> {
    let config = &neighbour.config;
    let profile = world
        .config()
        .bfd_profiles
        .get(config.bfd_profile.as_ref()?)?;
    let place = place.or(neighbour.target.as_ref())?;
    // Without its VRF it would be another peer that has the same address.
    let vrf = match &config.vrf {
        Some(name) => Some(links.named(name)?.index),
        None => None,
    };
    let key = neighbour::watch_key(place, vrf);
    Some((key, ironlb_bfd::Settings::new(profile, false)))
}
