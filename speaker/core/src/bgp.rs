//! The BGP of one node: which peers it has, what each is told, and when it takes its leave.
//!
//! The sessions are `ironlb-bgp`'s ([`Peer`](ironlb_bgp::Peer)), so is what has been told to whom ([`Rib`]). This ties them to the
//! configuration, to the node, its interfaces and its Services, and passes on what either wants done.

mod configure;
pub mod io;
mod leave;
mod links;
mod listening;
mod neighbour;
mod obstacle;
mod watches;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ironlb_bgp::{
    Agreement, Audience, Connection, Export, Input, Output, Rib, Route, RouteAttributes, Standing,
    Stop,
};
use ironlb_l2::{DecodeError, Discovery};
use ironlb_model::{Family, Name, ServiceKey, Time};

use crate::World;
use crate::decide::{self, Reason};
use crate::elect::name_hash;
use io::{Door, News, Passphrase, PeerInput, PeerOutput, PeerView, Secret, Target};
use leave::Leave;
use links::Links;
use neighbour::Neighbour;
use watches::Watches;

/// The BGP of one node.
pub(crate) struct Bgp {
    node: Name,
    seed: u64,
    neighbours: BTreeMap<Name, Neighbour>,
    rib: Rib,
    links: Links,
    discovery: Discovery,
    /// Interfaces that routers are looked for on, by name.
    discovering: BTreeMap<String, u32>,
    secrets: BTreeMap<String, Secret>,
    doors: BTreeMap<Door, BTreeMap<IpAddr, Option<Passphrase>>>,
    watches: Watches,
    leave: Leave,
    /// Whether routes were announced before: a node that leaves has something to take leave of.
    is_ready: bool,
    /// How often the [`Rib`] had let changes out when it was last said which routes cannot be told.
    flushes: u64,
    is_finished: bool,
    outputs: VecDeque<PeerOutput>,
}

impl fmt::Debug for Bgp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bgp")
            .field("neighbours", &self.neighbours)
            .finish_non_exhaustive()
    }
}

impl Bgp {
    pub(crate) fn new(node: Name) -> Self {
        let seed = name_hash(&node);
        Self {
            seed,
            neighbours: BTreeMap::new(),
            rib: Rib::new(),
            links: Links::default(),
            discovery: Discovery::new(seed),
            discovering: BTreeMap::new(),
            secrets: BTreeMap::new(),
            doors: BTreeMap::new(),
            watches: Watches::default(),
            leave: Leave::default(),
            is_ready: false,
            flushes: 0,
            is_finished: false,
            outputs: VecDeque::new(),
            node,
        }
    }

    /// What a Service announces now. Gives the peers that are told; when there are none, why not.
    pub(crate) fn set_service(
        &mut self,
        now: Time,
        world: &World,
        key: &ServiceKey,
    ) -> Result<BTreeSet<Name>, Reason> {
        let leaving = self.leave.is_excluded();
        let routes = decide::routes(world, key, &self.node, leaving);
        let audiences: BTreeSet<&Audience> = self.audiences().collect();
        let mut wanted = Vec::new();
        for (advertisement, prefix) in routes.iter().flat_map(decide::Routes::advertised) {
            let family = Family::of(prefix.addr());
            let endpoints = world.endpoints().count_on(key, &self.node, family);
            let attributes = RouteAttributes::of(advertisement, family, endpoints);
            let attributes = Arc::new(attributes);
            let told = audiences
                .iter()
                .filter(|one| one.hears(&advertisement.name));
            wanted.extend(told.map(|audience| {
                let attributes = Arc::clone(&attributes);
                ((*audience).clone(), Route { prefix, attributes })
            }));
        }
        self.rib.set_routes(now, key, wanted);
        let is_told = |peer: &Name| {
            let neighbour = self.neighbours.get(peer);
            neighbour.is_none_or(|neighbour| neighbour.standing != Standing::Gone)
        };
        routes.map(|routes| routes.peers().into_iter().filter(is_told).collect())
    }

    /// Every Service has been set.
    pub(crate) fn set_ready(&mut self, now: Time) {
        if !self.is_ready {
            self.is_ready = true;
            self.rib.set_ready(now);
        }
    }

    /// Something happened to a peer.
    pub(crate) fn handle(&mut self, now: Time, world: &World, input: PeerInput) {
        match input {
            PeerInput::Connected {
                peer,
                connection,
                local,
                remote,
            } => {
                let input = Input::Connected {
                    connection,
                    local,
                    remote,
                };
                self.tell(now, &peer, input);
            }
            PeerInput::Accepted {
                number,
                local,
                remote,
                device,
            } => self.accept(now, number, (local, remote), device.as_deref()),
            PeerInput::Closed {
                peer,
                connection,
                error,
            } => self.tell(now, &peer, Input::Closed { connection, error }),
            PeerInput::Drained { peer, connection } => {
                self.tell(now, &peer, Input::Drained(connection));
            }
            PeerInput::Bfd { key, up } => self.watched(now, key, up),
            PeerInput::Secret { name, secret } => {
                match secret {
                    Some(secret) => self.secrets.insert(name, secret),
                    None => self.secrets.remove(&name),
                };
                self.aim(now, world);
                self.listen();
            }
            PeerInput::Shutdown => {
                self.leave.end(now);
                self.take_leave(now);
            }
        }
    }

    /// Bytes came in on a connection.
    pub(crate) fn receive(&mut self, now: Time, peer: &Name, connection: Connection, bytes: &[u8]) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            neighbour.session.receive(now, connection, bytes);
        }
    }

    /// A frame came in on a socket for router discovery.
    pub(crate) fn handle_frame(
        &mut self,
        now: Time,
        world: &World,
        interface: u32,
        frame: &[u8],
    ) -> Result<(), DecodeError> {
        self.discovery.handle_frame(now, interface, frame)?;
        if self.collect_discovery() {
            self.aim(now, world);
            self.listen();
        }
        Ok(())
    }

    /// The time of [`deadline`](Self::deadline) has come; harmless when early. Says whether other peers than before are told what
    /// the Services announce: those must be [set](Self::set_service) anew.
    pub(crate) fn tick(&mut self, now: Time) -> bool {
        for neighbour in self.neighbours.values_mut() {
            if neighbour.session.deadline().is_some_and(|due| due <= now) {
                neighbour.session.handle(now, Input::Tick);
            }
        }
        for (name, neighbour) in &mut self.neighbours {
            let news = neighbour.waiting.tick(now, neighbour.is_up);
            let output = news.map(|news| session(name, news));
            self.outputs.extend(output);
        }
        self.discovery.tick(now);
        self.collect_discovery();
        self.take_leave(now)
    }

    /// When to call [`tick`](Self::tick); `None` for never.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let sessions = self.neighbours.values();
        let sessions = sessions.filter_map(|neighbour| neighbour.session.deadline());
        let leaves = self.neighbours.values().filter_map(|neighbour| {
            let announced = neighbour.standing != Standing::Gone;
            let keeps = neighbour.keeps_routes(&self.leave);
            if keeps && neighbour.is_started {
                return self.leave.waits_until(&neighbour.config);
            }
            let gone_at = self.leave.gone_at(&neighbour.config, keeps);
            gone_at.filter(|_| announced)
        });
        let waiting = self.neighbours.values();
        let waiting = waiting.filter_map(|neighbour| neighbour.waiting.deadline());
        let others = [self.rib.deadline(), self.discovery.deadline()];
        sessions
            .chain(leaves)
            .chain(waiting)
            .chain(others.into_iter().flatten())
            .min()
    }

    /// Lets what has changed out, and hands on what sessions want done. To be called after everything else here.
    pub(crate) fn poll(&mut self, now: Time, outputs: &mut VecDeque<crate::Output>) {
        self.rib.tick(now);
        while self.step(now) {}
        self.miss();
        self.finish(now);
        outputs.extend(self.outputs.drain(..).map(crate::Output::Peer));
    }

    /// One round over all peers; whether anything was done.
    fn step(&mut self, now: Time) -> bool {
        let mut done = false;
        let mut ups = Vec::new();
        for (name, neighbour) in &mut self.neighbours {
            let mut unopened = None;
            while let Some(output) = neighbour.session.poll() {
                done = true;
                match output {
                    Output::Up { agreement, .. } => {
                        neighbour.is_up = true;
                        ups.push((name.clone(), agreement));
                        self.outputs.push_back(session(name, News::Up));
                    }
                    Output::Down(cause) => {
                        neighbour.is_up = false;
                        neighbour.unsendable.clear();
                        self.rib.down(name);
                        let news = News::Down(cause.to_string());
                        self.outputs.push_back(session(name, news));
                    }
                    Output::Resend { family, framed } => self.rib.refresh(name, family, framed),
                    // It is not known any more how to connect to it.
                    Output::Connect(connection) if neighbour.target.is_none() => {
                        unopened = Some(connection);
                        let error = neighbour.waiting.obstacle().map(ToString::to_string);
                        let input = Input::Closed { connection, error };
                        neighbour.session.handle(now, input);
                    }
                    Output::Close(connection) if unopened == Some(connection) => {}
                    other => self.outputs.extend(wire(name, neighbour, other)),
                }
            }
        }
        for (name, agreement) in ups {
            self.announce_to(now, &name, &agreement);
        }
        for (name, neighbour) in &mut self.neighbours {
            while neighbour.session.has_room() {
                let Some(messages) = self.rib.poll(name) else {
                    break;
                };
                done = true;
                neighbour.session.send(now, messages);
            }
        }
        done
    }

    /// Whether routes would be left with a peer, were the process to end now.
    pub(crate) fn would_leave_routes(&self) -> bool {
        let mut all = self.neighbours.values();
        !self.leave.is_excluded() && all.any(Neighbour::would_keep_routes)
    }

    /// How the peers are, for people and metrics.
    pub(crate) fn peers(&self) -> impl Iterator<Item = PeerView<'_>> {
        let all = self.neighbours.iter();
        all.map(|(name, neighbour)| PeerView {
            config: &neighbour.config,
            watch: neighbour.watched_by(),
            status: neighbour.session.status(),
            announced: self.rib.routes(name).count(),
            pending: self.rib.pending(name),
            unsendable: self.rib.unsendable(name).count(),
        })
    }

    /// Says which routes cannot be told to whom.
    fn miss(&mut self) {
        if !self.is_ready || self.flushes == self.rib.flushes() {
            return;
        }
        self.flushes = self.rib.flushes();
        for (name, neighbour) in &mut self.neighbours {
            let news = neighbour.miss(self.rib.unsendable(name).collect());
            let outputs = news.into_iter().map(|news| session(name, news));
            self.outputs.extend(outputs);
        }
    }

    fn announce_to(&mut self, now: Time, name: &Name, agreement: &Agreement) {
        let Some(neighbour) = self.neighbours.get(name).filter(|one| one.is_up) else {
            return;
        };
        let Some(local) = neighbour.local_addresses(&self.links) else {
            return;
        };
        let export = Export {
            standing: neighbour.standing,
            ..Export::new(agreement, local)
        };
        let audience = neighbour.audience.clone();
        self.rib.up(now, name, audience, export);
    }

    fn audiences(&self) -> impl Iterator<Item = &Audience> {
        self.neighbours
            .values()
            .map(|neighbour| &neighbour.audience)
    }

    fn accept(
        &mut self,
        now: Time,
        number: u64,
        (local, remote): (SocketAddr, SocketAddr),
        device: Option<&str>,
    ) {
        let all = self.neighbours.iter_mut();
        let all = all.filter(|(_, neighbour)| neighbour.is_from(remote, local, device));
        // Of several at one place it is one that has use for it.
        let found = all.min_by_key(|(_, neighbour)| neighbour.is_up);
        let adopted = found.and_then(|(name, neighbour)| {
            let target = neighbour.target.clone()?;
            Some((name, neighbour, target))
        });
        let Some((peer, neighbour, target)) = adopted else {
            self.outputs.push_back(PeerOutput::Refuse { number });
            return;
        };
        self.outputs.push_back(PeerOutput::Adopt {
            number,
            peer: peer.clone(),
            target,
        });
        let input = Input::Accepted {
            number,
            local,
            remote,
        };
        neighbour.session.handle(now, input);
    }

    fn watched(&mut self, now: Time, key: ironlb_bfd::Key, up: bool) {
        self.watches.set(key, up);
        for neighbour in self.neighbours.values_mut() {
            if neighbour.watched_by() == Some(key) {
                let input = if up { Input::BfdUp } else { Input::BfdDown };
                neighbour.session.handle(now, input);
            }
        }
    }

    /// Asks for the BFD sessions that the peers want now.
    fn watch(&mut self) {
        let wanted = self.neighbours.values().filter_map(Neighbour::watch_wanted);
        let outputs = self.watches.want(wanted);
        self.outputs.extend(outputs);
    }

    fn tell(&mut self, now: Time, peer: &Name, input: Input) {
        if let Some(neighbour) = self.neighbours.get_mut(peer) {
            neighbour.session.handle(now, input);
        }
    }

    /// Gives every peer the standing that the time has brought. Says whether one of them is told nothing any more.
    fn take_leave(&mut self, now: Time) -> bool {
        let mut gone = false;
        for (name, neighbour) in &mut self.neighbours {
            let keeps = neighbour.keeps_routes(&self.leave);
            let standing = self.leave.standing(now, &neighbour.config, keeps);
            if neighbour.standing != standing {
                neighbour.standing = standing;
                gone |= standing == Standing::Gone;
                let audience = neighbour.audience.clone();
                self.rib.retarget(now, name, audience, standing);
            }
        }
        gone
    }

    /// Ends the sessions of which leave has been taken, when the process is about to end.
    fn finish(&mut self, now: Time) {
        if !self.leave.is_ending() || self.is_finished {
            return;
        }
        for (name, neighbour) in &mut self.neighbours {
            let kept = neighbour.keeps_routes(&self.leave);
            let is_told = self.rib.is_up_to_date(name);
            let may_go = if kept {
                // What it keeps is to be what there is. It may be slow, or know nothing of ours yet.
                let until = self.leave.waits_until(&neighbour.config);
                is_told || !self.is_ready || until.is_some_and(|until| until <= now)
            } else {
                !neighbour.is_up || neighbour.standing == Standing::Gone && is_told
            };
            if !neighbour.is_started || !may_go {
                continue;
            }
            neighbour.is_started = false;
            let stop = match kept {
                true => Stop::Upgrade,
                false => Stop::Shutdown(format!("node {} stops announcing", self.node)),
            };
            neighbour.session.handle(now, Input::Stop(stop));
            neighbour.watch(now, None, &self.watches);
        }
        self.watch();
        while self.step(now) {}
        if self
            .neighbours
            .values()
            .all(|neighbour| !neighbour.is_started)
        {
            self.is_finished = true;
            self.outputs.push_back(PeerOutput::Finished);
        }
    }
}

fn session(peer: &Name, news: News) -> PeerOutput {
    let peer = peer.clone();
    PeerOutput::Session { peer, news }
}

/// What a session wants done, for those who hold the sockets.
fn wire(peer: &Name, neighbour: &Neighbour, output: Output) -> Option<PeerOutput> {
    let peer = peer.clone();
    Some(match output {
        Output::Connect(connection) => PeerOutput::Connect {
            peer,
            connection,
            target: Target::clone(neighbour.target.as_ref()?),
        },
        Output::Send { connection, bytes } => PeerOutput::Send {
            peer,
            connection,
            bytes,
        },
        Output::Close(connection) => PeerOutput::Close { peer, connection },
        Output::Failed(cause) => PeerOutput::Session {
            peer,
            news: News::Failed(cause.to_string()),
        },
        Output::Up { .. } | Output::Down(_) | Output::Resend { .. } => return None,
    })
}

#[cfg(test)]
mod tests;
