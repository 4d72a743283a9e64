//! What a speaker has said on a connection, as whoever watches the wire takes it down.

use std::collections::BTreeSet;

use ipnet::IpNet;
use ironlb_bgp::wire::{Framer, Message, Negotiated, Notification, Open, RefreshKind};
use ironlb_model::{Family, Time};

use super::told::{self, Table, Told};

/// What was said on one connection so far.
#[derive(Debug)]
pub struct Said {
    framer: Framer,
    /// Its OPEN.
    pub open: Option<Open>,
    /// Whether a KEEPALIVE has confirmed the router's.
    pub confirmed: bool,
    /// Its end.
    pub notification: Option<Notification>,
    /// The routes that stand.
    pub table: Table,
    /// The families that have had their End-of-RIB.
    pub ended: BTreeSet<Family>,
    /// The families of which the router has asked for everything again.
    pub again: BTreeSet<Family>,
    /// UPDATEs of the router's that are malformed and cost no session.
    pub borne: u32,
    /// When anything was heard last.
    pub heard: Time,
}

/// Something that is said.
#[derive(Debug)]
pub enum Statement {
    /// OPEN.
    Open(Open),
    /// KEEPALIVE.
    Keepalive,
    /// NOTIFICATION.
    Notification(Notification),
    /// A route, or its end; whether it was there just so.
    Route(IpNet, Option<Told>, bool),
    /// End-of-RIB.
    EndOfRib(Family),
}

impl Said {
    /// Nothing yet.
    pub fn new(now: Time) -> Self {
        let mut framer = Framer::new();
        framer.set_extended(true);
        Self {
            framer,
            open: None,
            confirmed: false,
            notification: None,
            table: Table::new(),
            ended: BTreeSet::new(),
            again: BTreeSet::new(),
            borne: 0,
            heard: now,
        }
    }

    /// More is said, to a router whose OPEN was `theirs`.
    ///
    /// # Errors
    /// When it may not be said, there or then.
    pub fn hear(&mut self, bytes: &[u8], theirs: Option<&Open>) -> Result<Vec<Statement>, String> {
        let mut statements = Vec::new();
        self.framer.push(bytes);
        loop {
            let frame = match self.framer.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(statements),
                Err(error) => return Err(error.to_string()),
            };
            if let Some(last) = &self.notification {
                return Err(format!("{:?} after {last}", frame.kind));
            }
            let opens = self.open.as_ref().zip(theirs);
            let longest = opens.map_or(4_096, |(ours, theirs)| told::longest(ours, theirs));
            let length = frame.body.len() + HEADER;
            if length > longest {
                return Err(format!("a message has {length} bytes of {longest}"));
            }
            let agreed = opens.and_then(|(ours, theirs)| told::agreed(ours, theirs));
            let message = Message::decode(frame, &agreed.unwrap_or(NOTHING));
            let message = message.map_err(|error| error.to_string())?;
            match message {
                Message::Open(open) if self.open.is_none() => {
                    self.open = Some(open.clone());
                    statements.push(Statement::Open(open));
                }
                Message::Keepalive if opens.is_some() => {
                    self.confirmed = true;
                    statements.push(Statement::Keepalive);
                }
                Message::Notification(notification) => {
                    self.notification = Some(notification.clone());
                    statements.push(Statement::Notification(notification));
                }
                Message::Update(update) if self.confirmed => {
                    if let Some(fault) = update.faults.first() {
                        return Err(format!("{fault:?}"));
                    }
                    if let Some(family) = update.end_of_rib {
                        if !self.ended.insert(family) {
                            return Err(format!("a second End-of-RIB of {family}"));
                        }
                        statements.push(Statement::EndOfRib(family));
                    }
                    for prefix in update.routes_withdrawn() {
                        let known = self.table.remove(&prefix).is_some();
                        statements.push(Statement::Route(prefix, None, !known));
                    }
                    for prefix in update.routes_announced() {
                        let told = told::read(&update, prefix)?;
                        let known = self.table.insert(prefix, told.clone());
                        let same = known.as_ref() == Some(&told);
                        statements.push(Statement::Route(prefix, Some(told), same));
                    }
                }
                Message::RouteRefresh(refresh) if self.confirmed => {
                    let family = refresh.family.family();
                    let asked = family.is_some_and(|family| self.again.contains(&family));
                    match (refresh.kind, family) {
                        (RefreshKind::Begin, _) if asked => {}
                        (RefreshKind::End, Some(_)) if asked => {}
                        _ => return Err(format!("{refresh:?}, which nobody asked for")),
                    }
                }
                other => return Err(format!("{other:?} before its time")),
            }
        }
    }
}

const HEADER: usize = 19;
/// Before the OPENs are there nothing is exchanged.
pub(super) const NOTHING: Negotiated = Negotiated {
    four_octet_as: false,
    internal: false,
    ipv4: false,
    ipv6: false,
    extended_next_hop: false,
};
