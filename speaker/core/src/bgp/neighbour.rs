//! One peer of this node: what is configured, what that makes of it here and now, and its session.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use ipnet::IpNet;
use ironlb_bgp::{Audience, Input, LocalAddresses, Peer, Settings, Standing, Unsendable};
use ironlb_l2::Discovery;
use ironlb_model::bgp::{Password, PeerEndpoint};
use ironlb_model::{BgpPeer, Name, Time};

use crate::elect::name_hash;

use super::io::{Distance, News, Passphrase, Secret, Target};
use super::leave::Leave;
use super::links::Links;
use super::obstacle::{Obstacle, Waiting};
use super::watches::Watches;

/// A peer and its session.
#[derive(Debug)]
pub(super) struct Neighbour {
    pub(super) config: BgpPeer,
    pub(super) session: Peer,
    /// What it is told by.
    pub(super) audience: Audience,
    /// What our routes are worth to it, as it was last said.
    pub(super) standing: Standing,
    /// Where it is; `None` while that is not known since it was configured so, or its password is not.
    pub(super) target: Option<Target>,
    /// The BFD session that watches it.
    watch: Option<(ironlb_bfd::Key, ironlb_bfd::Settings)>,
    /// The routes that cannot be told to it, as it was last said.
    pub(super) unsendable: BTreeMap<IpNet, Unsendable>,
    /// What is missing for a session.
    pub(super) waiting: Waiting,
    pub(super) is_started: bool,
    pub(super) is_up: bool,
}

impl Neighbour {
    pub(super) fn new(
        now: Time,
        config: BgpPeer,
        settings: Settings,
        audience: Audience,
        seed: u64,
        restarted: bool,
    ) -> Self {
        Self {
            session: Peer::new(now, settings, seed, restarted),
            config,
            audience,
            standing: Standing::Serving,
            target: None,
            watch: None,
            unsendable: BTreeMap::new(),
            waiting: Waiting::default(),
            is_started: false,
            is_up: false,
        }
    }

    /// Whether a connection from `remote` to `local`, in the VRF `device`, may be from it.
    pub(super) fn is_from(
        &self,
        remote: SocketAddr,
        local: SocketAddr,
        device: Option<&str>,
    ) -> bool {
        let expects = |target: &Target| {
            target.remote.ip() == remote.ip()
                && target.device.as_deref() == device
                && scope(target.remote).is_none_or(|index| scope(remote) == Some(index))
        };
        self.config.listen_port == Some(local.port())
            && self.is_started
            && self.target.as_ref().is_some_and(expects)
    }

    /// Has it watched by this BFD session, or none. [`Watches`] is to be told of it.
    pub(super) fn watch(
        &mut self,
        now: Time,
        wanted: Option<(ironlb_bfd::Key, ironlb_bfd::Settings)>,
        watches: &Watches,
    ) {
        let former = self.watched_by();
        self.watch = wanted;
        let key = self.watched_by();
        if key != former {
            // It may be up already, for another peer at the same place.
            let is_up = key.is_some_and(|key| watches.is_up(&key));
            let input = if is_up { Input::BfdUp } else { Input::BfdOff };
            self.session.handle(now, input);
        }
    }

    /// The BFD session that is to watch it.
    pub(super) const fn watch_wanted(&self) -> Option<&(ironlb_bfd::Key, ironlb_bfd::Settings)> {
        self.watch.as_ref()
    }

    /// The BFD session that watches it.
    pub(super) fn watched_by(&self) -> Option<ironlb_bfd::Key> {
        self.watch.as_ref().map(|(key, _)| *key)
    }

    /// Whether our routes are left with it when the process ends, as it is about to: it was asked to keep them, and has
    /// said that it does.
    pub(super) fn keeps_routes(&self, leave: &Leave) -> bool {
        leave.leaves_routes() && self.would_keep_routes()
    }

    /// Whether our routes would be left with it, were the process to end.
    pub(super) fn would_keep_routes(&self) -> bool {
        let agreement = self.session.status().agreement;
        let agrees = agreement.is_some_and(|agreement| agreement.peer_keeps_routes());
        self.config.graceful_restart && agrees
    }

    /// There is an obstacle to speaking with it as configured. It is spoken with as before, but connected to without a password no
    /// more when it is to have one, nor on an interface that is another one now.
    pub(super) fn miss_target(&mut self, obstacle: &Obstacle, links: &Links) {
        let wants_password = matches!(obstacle, Obstacle::NoSecret(_) | Obstacle::NoPassword(_));
        let link = interface(&self.config).and_then(|name| links.named(name));
        let index = link.map(|link| link.index);
        self.target.take_if(|target| {
            let is_elsewhere = index.is_some() && scope(target.remote) != index;
            is_elsewhere || wants_password && target.password.is_none()
        });
    }

    /// These routes cannot be told to it. Says so of those of which it was not said before.
    pub(super) fn miss(&mut self, unsendable: BTreeMap<IpNet, Unsendable>) -> Vec<News> {
        let mut news: BTreeMap<String, (IpNet, usize)> = BTreeMap::new();
        for (prefix, reason) in &unsendable {
            if self.unsendable.get(prefix) != Some(reason) {
                let (_, count) = news.entry(reason.to_string()).or_insert((*prefix, 0));
                *count += 1;
            }
        }
        self.unsendable = unsendable;
        let said = |(why, (prefix, count)): (String, (IpNet, usize))| News::Unsendable {
            prefix,
            others: count.saturating_sub(1),
            why,
        };
        news.into_iter().map(said).collect()
    }

    /// Our addresses on its session, when it is up.
    pub(super) fn local_addresses(&self, links: &Links) -> Option<LocalAddresses> {
        let status = self.session.status();
        let agreement = status.agreement?;
        let connected = distance(&self.config) != Distance::Any;
        Some(links.local_addresses(
            agreement.local.ip(),
            agreement.remote.ip(),
            scope(agreement.remote),
            connected,
        ))
    }
}

/// Where a peer is and how to speak with it but for the password, or what is missing for that.
pub(super) fn place(
    config: &BgpPeer,
    links: &Links,
    discovery: &Discovery,
) -> Result<Target, Obstacle> {
    let remote = match &config.endpoint {
        PeerEndpoint::Address(address) => SocketAddr::new(*address, config.port),
        PeerEndpoint::LinkLocal(address, name) => {
            let link = links.named(name);
            let link = link.ok_or_else(|| Obstacle::NoInterface(name.clone()))?;
            SocketAddrV6::new(*address, config.port, 0, link.index).into()
        }
        PeerEndpoint::Interface(name) => {
            let (index, _) = links.identity(name)?;
            let heard = discovery.neighbour(index);
            let address = heard.ok_or_else(|| Obstacle::NobodyHeard(name.clone()))?;
            SocketAddrV6::new(address, config.port, 0, index).into()
        }
    };
    Ok(Target {
        remote,
        source: config.source,
        device: config.vrf.clone(),
        distance: distance(config),
        password: None,
    })
}

/// The key of the BFD session with a peer at `target`.
pub(super) fn watch_key(target: &Target, vrf: Option<u32>) -> ironlb_bfd::Key {
    ironlb_bfd::Key {
        peer: target.remote.ip(),
        local: target.source,
        interface: scope(target.remote),
        vrf,
        multihop: target.distance != Distance::Connected && target.distance != Distance::Secured(1),
    }
}

/// The password of a peer, or what is missing for that.
pub(super) fn password(
    config: &BgpPeer,
    secrets: &BTreeMap<String, Secret>,
) -> Result<Option<Passphrase>, Obstacle> {
    match &config.password {
        Password::None => Ok(None),
        Password::Plain(text) => Ok(Some(Passphrase(text.as_str().into()))),
        Password::Secret(name) => match secrets.get(name) {
            Some(Secret::Password(password)) => Ok(Some(password.clone())),
            Some(Secret::Empty) => Err(Obstacle::NoPassword(name.clone())),
            None => Err(Obstacle::NoSecret(name.clone())),
        },
    }
}

/// The interface of a link-local address.
pub(super) fn scope(address: SocketAddr) -> Option<u32> {
    match address {
        SocketAddr::V6(address) if address.ip().is_unicast_link_local() => Some(address.scope_id()),
        _ => None,
    }
}

/// What a router does: an external peer is next door unless it is said to be farther, an internal one may be anywhere.
fn distance(config: &BgpPeer) -> Distance {
    if let Some(hops) = config.ttl_security_hops {
        return Distance::Secured(hops);
    }
    let next_door = interface(config).is_some();
    if next_door || !config.ebgp_multihop && !config.is_internal() {
        Distance::Connected
    } else {
        Distance::Any
    }
}

/// The address that is configured and means something without an interface, for what must be decided before a peer is found.
pub(super) fn configured_address(config: &BgpPeer) -> Option<IpAddr> {
    match &config.endpoint {
        PeerEndpoint::Address(address) => Some(*address),
        PeerEndpoint::LinkLocal(..) | PeerEndpoint::Interface(_) => None,
    }
}

/// The interface that a peer is known to be on.
pub(super) fn interface(config: &BgpPeer) -> Option<&str> {
    match &config.endpoint {
        PeerEndpoint::Address(_) => None,
        PeerEndpoint::LinkLocal(_, name) | PeerEndpoint::Interface(name) => Some(name),
    }
}

/// The interface of an unnumbered peer.
pub(super) fn unnumbered(config: &BgpPeer) -> Option<&str> {
    match &config.endpoint {
        PeerEndpoint::Address(_) | PeerEndpoint::LinkLocal(..) => None,
        PeerEndpoint::Interface(name) => Some(name),
    }
}

/// Varies jitter from peer to peer.
pub(super) fn seed(node: u64, peer: &Name) -> u64 {
    node ^ name_hash(peer)
}
