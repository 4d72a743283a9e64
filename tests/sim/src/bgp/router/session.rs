//! One connection of a router with a node.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use ironlb_bgp::wire::{
    AsPath, Attributes, EncodedAttributes, Framer, GracefulRestart, Message, Negotiated, NextHop,
    Notification, Open, RefreshKind, pack, withdraw,
};
use ironlb_model::{Family, Time};

use super::NodeAddress;
use crate::bgp::said::NOTHING;
use crate::bgp::told::{self, Told};

/// A connection on which an OPEN was sent.
#[derive(Debug)]
pub struct Session {
    /// Who it is with.
    pub node: NodeAddress,
    /// Whether the router opened it.
    pub dialled: bool,
    /// When anything was heard last.
    pub(super) heard: Time,
    pub(super) phase: Phase,
    /// Whether it waits for BFD.
    pub(super) waits: bool,
    /// Whether the node has said that we are welcome.
    pub(super) confirmed: bool,
    framer: Framer,
    ours: Open,
    theirs: Option<Open>,
    agreed: Option<Negotiated>,
    keepalive: Option<Time>,
    announced: u32,
}

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// OpenSent.
    Open,
    /// OpenConfirm.
    Confirm,
    /// Established.
    Up,
}

/// Something that the node says.
#[derive(Debug)]
pub(super) enum Said {
    Open(Open),
    Keepalive,
    Notification(Notification),
    Routes {
        told: Vec<(IpNet, Told)>,
        withdrawn: Vec<IpNet>,
    },
    EndOfRib(Family),
    BeginOfRefresh(Family),
    EndOfRefresh(Family),
}

impl Session {
    pub(super) fn new(now: Time, node: NodeAddress, dialled: bool, ours: Open) -> Self {
        let mut framer = Framer::new();
        framer.set_extended(ours.capabilities.extended_message);
        Self {
            node,
            dialled,
            heard: now,
            phase: Phase::Open,
            waits: false,
            confirmed: false,
            framer,
            ours,
            theirs: None,
            agreed: None,
            keepalive: None,
            announced: 0,
        }
    }

    /// Whether it is Established.
    pub fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    /// The two OPENs, the node's first.
    pub fn opens(&self) -> Option<(&Open, &Open)> {
        self.theirs.as_ref().map(|theirs| (theirs, &self.ours))
    }

    /// The router's own OPEN.
    pub const fn own_open(&self) -> &Open {
        &self.ours
    }

    /// How many prefixes of each family the router announces on it.
    pub const fn announced(&self) -> u32 {
        self.announced
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.framer.push(bytes);
    }

    /// The next thing that was said; an error when it makes no sense.
    pub(super) fn next(&mut self) -> Result<Option<Said>, String> {
        let (phase, agreed) = (self.phase, self.agreed);
        let up = phase == Phase::Up;
        let Some(frame) = self.framer.next().map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let negotiated = agreed.unwrap_or(NOTHING);
        let message = Message::decode(frame, &negotiated).map_err(|error| error.to_string())?;
        let said = match message {
            Message::Open(open) if phase == Phase::Open => Said::Open(open),
            Message::Keepalive if phase != Phase::Open => Said::Keepalive,
            Message::Notification(notification) => Said::Notification(notification),
            Message::Update(update) if up => match update.end_of_rib {
                Some(family) => Said::EndOfRib(family),
                None if update.faults.is_empty() => Said::Routes {
                    told: update
                        .routes_announced()
                        .map(|prefix| Ok((prefix, told::read(&update, prefix)?)))
                        .collect::<Result<_, String>>()?,
                    withdrawn: update.routes_withdrawn().collect(),
                },
                None => return Err(format!("{:?}", update.faults)),
            },
            Message::RouteRefresh(refresh) if up => {
                let family = refresh
                    .family
                    .family()
                    .filter(|family| negotiated.exchanges(*family));
                match (refresh.kind, family) {
                    (RefreshKind::Begin, Some(family)) => Said::BeginOfRefresh(family),
                    (RefreshKind::End, Some(family)) => Said::EndOfRefresh(family),
                    _ => return Err(format!("{refresh:?}")),
                }
            }
            other => return Err(format!("{other:?} in {phase:?}")),
        };
        Ok(Some(said))
    }

    /// The node's OPEN is here; whether the two agree on anything.
    pub(super) fn opened(&mut self, theirs: Open) -> bool {
        self.agreed = told::agreed(&self.ours, &theirs);
        let longest = told::longest(&self.ours, &theirs);
        self.framer.set_extended(longest > 4_096);
        self.theirs = Some(theirs);
        self.phase = Phase::Confirm;
        self.agreed.is_some()
    }

    pub(super) fn establish(&mut self, now: Time) {
        self.phase = Phase::Up;
        self.keepalive = self.hold_time().map(|hold| now + hold / 3);
    }

    /// What was agreed on; `None` for ever.
    pub fn hold_time(&self) -> Option<Duration> {
        let theirs = self.theirs.as_ref()?.hold_time;
        let seconds = self.ours.hold_time.min(theirs);
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// Whether routes of a family go over it.
    pub fn exchanges(&self, family: Family) -> bool {
        self.agreed.is_some_and(|agreed| agreed.exchanges(family))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.hold().into_iter().chain(self.keepalive).min()
    }

    pub(super) fn hold_expired(&self, now: Time) -> bool {
        self.hold().is_some_and(|hold| hold <= now)
    }

    pub(super) fn keepalive_due(&mut self, now: Time) -> bool {
        let due = self.keepalive.is_some_and(|due| due <= now);
        if due {
            self.keepalive = self.hold_time().map(|hold| now + hold / 3);
        }
        due
    }

    fn hold(&self) -> Option<Time> {
        let hold = match self.phase {
            Phase::Open => Some(OPEN_HOLD_TIME),
            Phase::Confirm | Phase::Up => self.hold_time(),
        };
        hold.map(|hold| self.heard + hold)
    }

    /// What the node said of graceful restart, when both know it.
    pub(super) fn restart(&self) -> Option<&GracefulRestart> {
        self.ours.capabilities.graceful_restart.as_ref()?;
        let theirs = self.theirs.as_ref()?.capabilities.graceful_restart.as_ref();
        theirs.filter(|theirs| !theirs.families.is_empty())
    }

    /// Whether both sides wait for BFD before the session is up.
    pub(super) fn is_strict(&self) -> bool {
        let mut opens = self.opens().into_iter();
        opens.any(|(theirs, ours)| told::strict(theirs, ours))
    }

    pub(super) fn knows_restart(&self) -> bool {
        self.restart().is_some()
    }

    /// RFC 8538 §2.
    pub(super) fn keeps_over_notification(&self) -> bool {
        let ours = self.ours.capabilities.graceful_restart.as_ref();
        let ours = ours.is_some_and(|one| one.notification);
        ours && self.restart().is_some_and(|theirs| theirs.notification)
    }

    /// UPDATEs of so many prefixes of the router's own; those that were more before are withdrawn.
    pub(super) fn announce(&mut self, [v4, v6]: [IpAddr; 2], total: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        let Some(agreed) = self.agreed else {
            return bytes;
        };
        let before = std::mem::replace(&mut self.announced, total);
        for family in Family::ALL
            .into_iter()
            .filter(|family| agreed.exchanges(*family))
        {
            let gone = (total..before).map(|number| own_prefix(family, number));
            withdraw(family, gone, 4_096, &mut bytes);
        }
        let asn = self.ours.asn;
        let attributes = Attributes {
            as_path: AsPath::sequence(vec![asn; usize::from(!agreed.internal)]),
            ..Attributes::default()
        };
        for (family, address) in [(Family::V4, v4), (Family::V6, v6)] {
            let next_hop = match address {
                IpAddr::V4(address) => NextHop::V4(address),
                IpAddr::V6(address) => NextHop::V6(address),
            };
            let encoded = EncodedAttributes::new(&attributes, next_hop, family, &agreed, 4_096);
            let prefixes = (0..total).map(|number| own_prefix(family, number));
            if let Ok(encoded) = encoded {
                pack(&encoded, prefixes, 4_096, &mut bytes);
            }
        }
        bytes
    }
}

/// A prefix that a router announces.
pub(super) fn own_prefix(family: Family, number: u32) -> IpNet {
    let address = match family {
        Family::V4 => IpAddr::from((0x0a80_0000 + (number << 8)).to_be_bytes()),
        Family::V6 => {
            let number = (0x2001_0db8_00ff_u128 << 80) + (u128::from(number) << 64);
            IpAddr::from(number.to_be_bytes())
        }
    };
    let length = match family {
        Family::V4 => 24,
        Family::V6 => 64,
    };
    IpNet::new(address, length).unwrap_or_else(|_| address.into())
}

/// Until the OPENs have been exchanged.
const OPEN_HOLD_TIME: Duration = Duration::from_secs(240);
