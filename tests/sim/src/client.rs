//! A host on the segment that talks to Service addresses, with a neighbour cache like Linux's.
//!
//! It has no clock and no wire either: frames come in, frames go out, and it says when it wants to be woken.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ironlb_model::{Mac, Time};

use crate::frame::{self, Claim};

/// The host.
#[derive(Debug)]
pub struct Client {
    /// Its Ethernet address.
    pub mac: Mac,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    cache: BTreeMap<IpAddr, Neighbour>,
}

/// An entry of the cache.
#[derive(Clone, Copy, Debug)]
pub struct Neighbour {
    /// Where frames for the address are sent; `None` while it is being resolved for the first time.
    pub mac: Option<Mac>,
    /// When the Ethernet address last changed or was confirmed by the network.
    pub updated: Time,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked by broadcast; asks again at `at`.
    Incomplete { asked: u8, at: Time },
    /// Confirmed; good until `until`.
    Reachable { until: Time },
    /// Usable, and probed from `at` on if it was used.
    Stale { used: Option<Time> },
    /// Asked by unicast; asks again at `at`.
    Probe { asked: u8, at: Time },
}

impl Client {
    /// The `number`th host.
    pub fn new(number: u8) -> Self {
        Self {
            mac: Mac([2, 0xcc, 0, 0, 0, number]),
            v4: Ipv4Addr::new(192, 0, 2, 200u8.saturating_add(number)),
            v6: Ipv6Addr::new(0xfe80, 0, 0, 0, 0xcc, 0, 0, u16::from(number)),
            cache: BTreeMap::new(),
        }
    }

    /// What it has in its cache for `ip`.
    pub fn neighbour(&self, ip: IpAddr) -> Option<&Neighbour> {
        self.cache.get(&ip)
    }

    /// The addresses in its cache.
    pub fn known(&self) -> impl Iterator<Item = IpAddr> {
        self.cache.keys().copied()
    }

    /// An application sends something to `ip`. Gives the frames that resolving it needs.
    pub fn send_to(&mut self, now: Time, ip: IpAddr) -> Vec<Vec<u8>> {
        match self.cache.get_mut(&ip) {
            None => {
                let neighbour = Neighbour {
                    mac: None,
                    updated: now,
                    state: State::Incomplete {
                        asked: 1,
                        at: now + RETRANSMIT,
                    },
                };
                self.cache.insert(ip, neighbour);
                vec![self.ask(ip, None)]
            }
            Some(neighbour) => {
                neighbour.age(now);
                if let State::Stale { used } = &mut neighbour.state {
                    used.get_or_insert(now + DELAY_FIRST_PROBE);
                }
                Vec::new()
            }
        }
    }

    /// A frame arrives.
    pub fn receive(&mut self, now: Time, frame: &[u8]) {
        let Some(claim) = frame::claim(frame) else {
            return;
        };
        let for_us = claim.to == self.mac;
        if !for_us && !claim.to.is_group() {
            return;
        }
        if let Some(neighbour) = self.cache.get_mut(&claim.ip) {
            neighbour.learn(now, &claim, for_us);
        }
    }

    /// When it wants [`tick`](Self::tick); `None` when it waits for nothing.
    pub fn deadline(&self) -> Option<Time> {
        let due = |neighbour: &Neighbour| match neighbour.state {
            State::Incomplete { at, .. } | State::Probe { at, .. } => Some(at),
            State::Stale { used } => used,
            State::Reachable { .. } => None,
        };
        self.cache.values().filter_map(due).min()
    }

    /// Asks again what was not answered; gives up after three times.
    pub fn tick(&mut self, now: Time) -> Vec<Vec<u8>> {
        let mut questions = Vec::new();
        self.cache.retain(|ip, neighbour| match neighbour.state {
            State::Incomplete { asked, at } | State::Probe { asked, at } if at <= now => {
                if asked >= MAX_PROBES {
                    return false;
                }
                questions.push((*ip, neighbour.mac));
                neighbour.asked_again(now, asked.saturating_add(1));
                true
            }
            State::Stale { used: Some(at) } if at <= now => {
                questions.push((*ip, neighbour.mac));
                neighbour.asked_again(now, 1);
                true
            }
            _ => true,
        });
        let ask = |(ip, mac)| self.ask(ip, mac);
        questions.into_iter().map(ask).collect()
    }

    /// The question for `ip`: to all, or to the one that is probed.
    pub fn ask(&self, ip: IpAddr, probe: Option<Mac>) -> Vec<u8> {
        match ip {
            IpAddr::V4(ip) => {
                let to = probe.unwrap_or(Mac::BROADCAST);
                frame::arp_request(self.mac, self.v4, ip, to)
            }
            IpAddr::V6(ip) => frame::solicitation(self.mac, self.v6, ip, probe),
        }
    }
}

impl Neighbour {
    fn age(&mut self, now: Time) {
        if let State::Reachable { until } = self.state
            && until <= now
        {
            self.state = State::Stale { used: None };
        }
    }

    fn asked_again(&mut self, now: Time, asked: u8) {
        let at = now + RETRANSMIT;
        self.state = match self.mac {
            None => State::Incomplete { asked, at },
            Some(_) => State::Probe { asked, at },
        };
    }

    /// Linux's `arp_process` and RFC 4861 §7.2.5. A claim that was not asked for may replace what is known, but confirms
    /// nothing; an ARP answer does not replace an entry younger than a second (`locktime`), a gratuitous one does.
    fn learn(&mut self, now: Time, claim: &Claim, for_us: bool) {
        let solicited = for_us && !claim.gratuitous;
        let replaces = match self.mac {
            None => true,
            Some(mac) if mac == claim.at => true,
            Some(_) if claim.ip.is_ipv4() => {
                claim.gratuitous || now.since(self.updated) > ARP_LOCKTIME
            }
            Some(_) => claim.overrides,
        };
        if !replaces {
            return;
        }
        let same = self.mac == Some(claim.at);
        self.mac = Some(claim.at);
        self.updated = now;
        if solicited {
            let until = now + REACHABLE;
            self.state = State::Reachable { until };
        } else if !same || matches!(self.state, State::Incomplete { .. }) {
            self.state = State::Stale { used: None };
        }
    }
}

/// RFC 4861 §10 RETRANS_TIMER.
const RETRANSMIT: Duration = Duration::from_secs(1);
/// RFC 4861 §10 DELAY_FIRST_PROBE_TIME.
const DELAY_FIRST_PROBE: Duration = Duration::from_secs(5);
/// RFC 4861 §10 REACHABLE_TIME.
const REACHABLE: Duration = Duration::from_secs(30);
/// RFC 4861 §10 MAX_UNICAST_SOLICIT and MAX_MULTICAST_SOLICIT.
const MAX_PROBES: u8 = 3;
/// Linux's `net.ipv4.neigh.*.locktime`.
const ARP_LOCKTIME: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const OLD: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NEW: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn client_that_knows(mac: Mac) -> Client {
        let mut client = Client::new(1);
        assert_eq!(client.send_to(Time::ZERO, IP.into()).len(), 1);
        client.receive(Time::ZERO, &frame::gratuitous_arp(mac, IP));
        client
    }

    fn mac_of(client: &Client) -> Option<Mac> {
        client
            .neighbour(IP.into())
            .and_then(|neighbour| neighbour.mac)
    }

    #[test]
    fn a_gratuitous_claim_updates_what_is_known_and_adds_nothing() {
        let mut client = Client::new(1);
        client.receive(Time::ZERO, &frame::gratuitous_arp(OLD, IP));
        assert!(client.neighbour(IP.into()).is_none());
        let mut client = client_that_knows(OLD);
        client.receive(Time::from_millis(1), &frame::gratuitous_arp(NEW, IP));
        assert_eq!(mac_of(&client), Some(NEW));
    }

    #[test]
    fn a_stale_entry_that_is_used_is_probed_and_dropped_when_nobody_answers() {
        let mut client = client_that_knows(OLD);
        client.send_to(Time::from_secs(1), IP.into());
        let mut probes = 0;
        while let Some(at) = client.deadline() {
            for question in client.tick(at) {
                assert_eq!(question[..6], OLD.0, "a probe is unicast");
                probes += 1;
            }
        }
        assert_eq!(probes, 3);
        assert!(client.neighbour(IP.into()).is_none());
    }
}
