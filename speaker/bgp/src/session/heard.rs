//! What arrives, read as far as the session has a use for it.

use super::Phase;
use super::received::Exceeded;
use crate::wire::{Error, Frame, Kind, Notification, Open, RouteRefresh, Update};

/// A message, read as far as needed.
pub(super) enum Heard {
    Open(Open),
    Notification(Notification),
    Keepalive,
    Update(Result<(), Exceeded>),
    RouteRefresh(RouteRefresh),
    Unread(Kind),
}

impl Heard {
    pub(super) fn read(frame: Frame<'_>, phase: &mut Phase) -> Result<Self, Error> {
        Ok(match (frame.kind, phase) {
            (Kind::Open, _) => Self::Open(Open::decode(frame.body)?),
            (Kind::Notification, _) => Self::Notification(Notification::decode(frame.body)),
            (Kind::Keepalive, _) => Self::Keepalive,
            (Kind::RouteRefresh, _) => Self::RouteRefresh(RouteRefresh::decode(frame.body)?),
            (Kind::Update, Phase::Established(established)) => {
                let update = Update::decode(frame.body, &established.agreement.wire)?;
                Self::Update(established.received.take(&update))
            }
            (Kind::Update, _) => Self::Unread(frame.kind),
        })
    }
}
