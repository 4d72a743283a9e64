//! How two routers at the ends of a link find each other's link-local address: by router advertisements (RFC 4861 §6), as
//! BGP on an interface without configured addresses ("unnumbered") needs it.
//!
//! We advertise ourselves with a lifetime of zero: a router to speak with, not one to send packets through.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::Ipv6Addr;
use std::time::Duration;

use ironlb_model::{Mac, Time};

use crate::ethernet::{DecodeError, Frame, IPV6};
use crate::group::ethernet_group;
use crate::ndp::ALL_NODES;
use crate::ndp::router::{ALL_ROUTERS, RouterMessage, RouterPacket};

/// Advertises us on the interfaces that it is told of, and listens for who else does.
///
/// Drain [`poll`](Self::poll) after every call until `None`, and call [`tick`](Self::tick) at
/// [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct Discovery {
    seed: u64,
    interfaces: BTreeMap<u32, Interface>,
    outputs: VecDeque<Output>,
}

/// Something to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a whole Ethernet frame.
    Send {
        /// The interface's index.
        interface: u32,
        /// The frame, from destination address to payload.
        frame: Vec<u8>,
    },
    /// The router last heard on an interface is now this one.
    Neighbour {
        /// The interface's index.
        interface: u32,
        /// Its link-local address.
        address: Ipv6Addr,
    },
}

/// What we are on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The interface's Ethernet address.
    pub mac: Mac,
    /// Our link-local address on it.
    pub link_local: Ipv6Addr,
}

#[derive(Debug)]
struct Interface {
    identity: Identity,
    neighbour: Option<Ipv6Addr>,
    /// When to advertise next.
    advertise_at: Time,
    /// When it was last done.
    advertised_at: Option<Time>,
    /// How often it was done.
    advertised: u32,
    /// When to ask next, as long as nobody was heard.
    solicit_at: Option<Time>,
    /// How often it was done.
    solicited: u32,
}

impl Discovery {
    /// `seed` varies the jitter between nodes.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            interfaces: BTreeMap::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Looks for a router on an interface that is up, as `identity`. Told the same again, it goes on.
    pub fn start(&mut self, now: Time, interface: u32, identity: Identity) {
        let known = self.interfaces.get(&interface);
        if known.is_some_and(|known| known.identity == identity) {
            return;
        }
        let new = Interface {
            identity,
            neighbour: None,
            advertise_at: now,
            advertised_at: None,
            advertised: 0,
            solicit_at: Some(now),
            solicited: 0,
        };
        self.interfaces.insert(interface, new);
        self.tick(now);
    }

    /// Lets go of an interface that is down, gone, or not asked about any more.
    pub fn stop(&mut self, interface: u32) {
        self.interfaces.remove(&interface);
    }

    /// The router last heard on an interface.
    pub fn neighbour(&self, interface: u32) -> Option<Ipv6Addr> {
        self.interfaces.get(&interface)?.neighbour
    }

    /// A frame came in. Anything but a message between routers is no matter.
    ///
    /// # Errors
    /// When it is none, or not a valid one: it is dropped.
    pub fn handle_frame(
        &mut self,
        now: Time,
        interface: u32,
        frame: &[u8],
    ) -> Result<(), DecodeError> {
        let frame = Frame::decode(frame)?;
        if frame.ether_type != IPV6 {
            return Ok(());
        }
        let packet = RouterPacket::decode(frame.payload)?;
        let Some(state) = self.interfaces.get_mut(&interface) else {
            return Ok(());
        };
        if packet.source == state.identity.link_local {
            return Ok(());
        }
        match packet.message {
            RouterMessage::Solicitation { .. } => state.answer(now),
            RouterMessage::Advertisement { .. } => {
                state.solicit_at = None;
                let address = packet.source;
                if state.neighbour.replace(address) != Some(address) {
                    // It may not know us yet.
                    state.answer(now);
                    let output = Output::Neighbour { interface, address };
                    self.outputs.push_back(output);
                }
            }
        }
        self.tick(now);
        Ok(())
    }

    /// The time of [`deadline`](Self::deadline) has come; harmless when early.
    pub fn tick(&mut self, now: Time) {
        for (interface, state) in &mut self.interfaces {
            let frames = [
                state.advertise(now, self.seed, *interface),
                state.solicit(now),
            ];
            for frame in frames.into_iter().flatten() {
                self.outputs.push_back(Output::Send {
                    interface: *interface,
                    frame,
                });
            }
        }
    }

    /// When to call [`tick`](Self::tick); `None` for never.
    pub fn deadline(&self) -> Option<Time> {
        self.interfaces.values().map(Interface::deadline).min()
    }

    /// What to do next, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }
}

impl Interface {
    fn deadline(&self) -> Time {
        let solicit_at = self.solicit_at.unwrap_or(self.advertise_at);
        self.advertise_at.min(solicit_at)
    }

    /// Somebody wants to know who is here: soon, but not more often than every [`SPACING`] (RFC 4861 §6.2.6).
    fn answer(&mut self, now: Time) {
        let earliest = self.advertised_at.map_or(now, |last| last + SPACING);
        self.advertise_at = self.advertise_at.min(earliest.max(now));
    }

    fn advertise(&mut self, now: Time, seed: u64, interface: u32) -> Option<Vec<u8>> {
        if now < self.advertise_at {
            return None;
        }
        self.advertised = self.advertised.saturating_add(1);
        self.advertised_at = Some(now);
        self.advertise_at = now
            + match self.advertised {
                ..INITIAL => SPACING,
                _ => jittered(INTERVAL, (seed, interface, self.advertised)),
            };
        let Identity { mac, link_local } = self.identity;
        let packet = RouterPacket {
            source: link_local,
            destination: ALL_NODES,
            message: RouterMessage::Advertisement {
                lifetime: 0,
                source_mac: Some(mac),
            },
        };
        Some(packet.frame(ethernet_group(ALL_NODES), mac))
    }

    fn solicit(&mut self, now: Time) -> Option<Vec<u8>> {
        if now < self.solicit_at? {
            return None;
        }
        self.solicited = self.solicited.saturating_add(1);
        // Slower after the first three, but for ever: the router may come up at any time (RFC 7559).
        let pause = match self.solicited {
            ..INITIAL => SOLICITATION_INTERVAL,
            _ => INTERVAL * 6,
        };
        self.solicit_at = Some(now + pause);
        let Identity { mac, link_local } = self.identity;
        let packet = RouterPacket {
            source: link_local,
            destination: ALL_ROUTERS,
            message: RouterMessage::Solicitation {
                source_mac: Some(mac),
            },
        };
        Some(packet.frame(ethernet_group(ALL_ROUTERS), mac))
    }
}

/// 75 to 100 % of `interval`.
fn jittered(interval: Duration, what: (u64, u32, u32)) -> Duration {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    let percent = u32::try_from(hasher.finish() % 26).unwrap_or(0);
    interval * (75 + percent) / 100
}

/// Between advertisements, at the longest (MaxRtrAdvInterval).
const INTERVAL: Duration = Duration::from_secs(10);
/// Between advertisements, at the shortest (MIN_DELAY_BETWEEN_RAS).
const SPACING: Duration = Duration::from_secs(3);
/// RTR_SOLICITATION_INTERVAL.
const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// How many advertisements and solicitations come sooner, at the beginning (MAX_INITIAL_RTR_ADVERTISEMENTS,
/// MAX_RTR_SOLICITATIONS).
const INITIAL: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const ETH0: u32 = 2;

    fn identity(number: u8) -> Identity {
        Identity {
            mac: Mac([2, 0, 0, 0, 0, number]),
            link_local: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, number.into()),
        }
    }

    fn started(number: u8) -> Discovery {
        let mut discovery = Discovery::new(number.into());
        discovery.start(Time::ZERO, ETH0, identity(number));
        discovery
    }

    fn outputs(discovery: &mut Discovery) -> Vec<Output> {
        std::iter::from_fn(|| discovery.poll()).collect()
    }

    /// Advertisements and solicitations sent.
    fn sent(outputs: &[Output]) -> (usize, usize) {
        let kind = |output: &Output| match output {
            Output::Send { frame, .. } => Some(frame[54]),
            Output::Neighbour { .. } => None,
        };
        let count = |wanted| {
            outputs
                .iter()
                .filter_map(kind)
                .filter(|kind| *kind == wanted)
                .count()
        };
        (count(134), count(133))
    }

    /// Runs both ends of a link until `until`; what the first one had to say.
    fn run(one: &mut Discovery, two: &mut Discovery, until: Time) -> Vec<Output> {
        let mut now = Time::ZERO;
        let mut said = Vec::new();
        while now <= until {
            one.tick(now);
            two.tick(now);
            loop {
                let (ours, theirs) = (outputs(one), outputs(two));
                if ours.is_empty() && theirs.is_empty() {
                    break;
                }
                for (outputs, to) in [(&ours, &mut *two), (&theirs, &mut *one)] {
                    for output in outputs {
                        if let Output::Send { frame, .. } = output {
                            to.handle_frame(now, ETH0, frame).unwrap();
                        }
                    }
                }
                said.extend(ours);
            }
            now = [one.deadline(), two.deadline()]
                .into_iter()
                .flatten()
                .min()
                .unwrap();
        }
        said
    }

    #[test]
    fn two_ends_of_a_link_find_each_other_at_once() {
        let (mut one, mut two) = (started(1), started(2));
        run(&mut one, &mut two, Time::ZERO);
        assert_eq!(one.neighbour(ETH0), Some(identity(2).link_local));
        assert_eq!(two.neighbour(ETH0), Some(identity(1).link_local));
    }

    #[test]
    fn a_neighbour_is_told_of_once() {
        let (mut one, mut two) = (started(1), started(2));
        let said = run(&mut one, &mut two, Time::from_secs(100));
        let told = said
            .iter()
            .filter(|output| matches!(output, Output::Neighbour { .. }));
        assert_eq!(told.count(), 1);
    }

    #[test]
    fn advertisements_go_on_and_solicitations_end_with_the_first_answer() {
        let (mut one, mut two) = (started(1), started(2));
        let said = run(&mut one, &mut two, Time::from_secs(600));
        let (advertisements, solicitations) = sent(&said);
        assert!((60..=90).contains(&advertisements), "{advertisements}");
        assert_eq!(solicitations, 1);
    }

    #[test]
    fn who_hears_nobody_keeps_asking_more_slowly() {
        let mut lonely = started(1);
        let mut solicitations = 0;
        while let Some(now) = lonely.deadline().filter(|now| *now <= Time::from_secs(600)) {
            solicitations += sent(&outputs(&mut lonely)).1;
            lonely.tick(now);
        }
        assert!((10..=13).contains(&solicitations), "{solicitations}");
    }

    #[test]
    fn however_often_it_is_asked_it_advertises_every_three_seconds_at_most() {
        let mut asked = started(1);
        let question = RouterPacket {
            source: identity(2).link_local,
            destination: ALL_ROUTERS,
            message: RouterMessage::Solicitation { source_mac: None },
        }
        .frame(ethernet_group(ALL_ROUTERS), identity(2).mac);
        let mut advertisements = 0;
        for tick in 0..3_000 {
            let now = Time::from_millis(tick * 10);
            asked.handle_frame(now, ETH0, &question).unwrap();
            advertisements += sent(&outputs(&mut asked)).0;
        }
        assert!((10..=11).contains(&advertisements), "{advertisements}");
    }

    #[test]
    fn a_router_that_was_replaced_is_noticed() {
        let (mut one, mut two, mut three) = (started(1), started(2), started(3));
        run(&mut one, &mut two, Time::ZERO);
        run(&mut one, &mut three, Time::ZERO);
        assert_eq!(one.neighbour(ETH0), Some(identity(3).link_local));
    }

    #[test]
    fn an_interface_that_went_down_knows_nobody_and_is_not_spoken_on() {
        let (mut one, mut two) = (started(1), started(2));
        run(&mut one, &mut two, Time::ZERO);
        one.stop(ETH0);
        assert_eq!((one.neighbour(ETH0), one.deadline()), (None, None));
        one.tick(Time::from_secs(60));
        assert_eq!(one.poll(), None);
    }

    #[test]
    fn we_are_no_default_router() {
        let Some(Output::Send { frame, .. }) = started(1).poll() else {
            panic!("nothing sent");
        };
        let packet = RouterPacket::decode(&frame[14..]).unwrap();
        assert!(matches!(
            packet.message,
            RouterMessage::Advertisement { lifetime: 0, .. }
        ));
    }
}
