//! The BFD sessions that watch peers. BFD runs on its thread once there is one to keep.

use std::future::pending;
use std::io;

use ironlb_bfd::{Key, Settings};
use ironlb_speaker_core::peers::PeerInput;
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::bfd::{self, Client, Event, Running};

/// BFD, when it is needed.
#[derive(Default)]
pub(crate) struct Watches {
    running: Option<Watching>,
}

struct Watching {
    client: Client,
    events: mpsc::UnboundedReceiver<Event>,
    bfd: Running,
}

impl Watches {
    /// Keeps a session, or keeps it otherwise than before.
    ///
    /// # Errors
    /// When no thread can be had.
    pub(crate) fn want(&mut self, key: Key, settings: Settings) -> io::Result<()> {
        let watching = match &mut self.running {
            Some(watching) => watching,
            none => {
                let (client, events, bfd) = bfd::start()?;
                none.insert(Watching {
                    client,
                    events,
                    bfd,
                })
            }
        };
        watching.client.want(key, settings);
        Ok(())
    }

    /// Keeps a session no longer.
    pub(crate) fn unwant(&self, key: Key) {
        if let Some(watching) = &self.running {
            watching.client.unwant(key);
        }
    }

    /// How to ask about the sessions, where there are any.
    pub(crate) fn client(&self) -> Option<Client> {
        Some(self.running.as_ref()?.client.clone())
    }

    /// What a session means to its peer's, next. Safe to drop at any point.
    pub(crate) async fn next(&mut self) -> PeerInput {
        loop {
            let Some(watching) = &mut self.running else {
                return pending().await;
            };
            let event = watching.events.recv().await;
            match event {
                Some(Event::Up(key)) => return PeerInput::Bfd { key, up: true },
                // A peer that has its BFD switched off says nothing of its routes (RFC 5882 §3.2).
                Some(Event::Down(key, reason)) if reason.ends_clients() => {
                    return PeerInput::Bfd { key, up: false };
                }
                Some(Event::Down(..) | Event::Closed(_)) => {}
                None => self.lost().await,
            }
        }
    }

    /// Tells all peers that nobody watches them any more.
    pub(crate) async fn stop(self) {
        if let Some(watching) = self.running
            && let Err(error) = watching.bfd.stop().await
        {
            info!(%error, "BFD has stopped");
        }
    }

    async fn lost(&mut self) {
        if let Some(mut watching) = self.running.take() {
            let result = watching.bfd.ended().await;
            error!(
                ?result,
                "BFD has ended by itself; its sessions watch nobody until they change"
            );
        }
    }
}
