//! TCP ports inside the sprite: which ones somebody listens on, and connections to them.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | the table of listening ports, and telling of changes |
//! | `table` | the kernel's list of sockets |
//! | `watch` | the WebSocket that tells of changes |
//! | `proxy` | the WebSocket that carries one connection |
//!
//! The kernel tells nobody when a port opens, so it is asked twice a second, for as long as somebody wants to know.

mod proxy;
mod table;
mod watch;

use crate::Agent;
use axum::Router;
use axum::routing::get;
use sprites_api::exec::{PortEvent, ServerMessage};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::{Mutex, broadcast};

pub(crate) use proxy::{DialError, dial};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(500);
/// Events that wait for a slow listener.
const WAITING: usize = 256;

/// Routes of the port calls.
pub(crate) fn router() -> Router<Arc<Agent>> {
    Router::new().route("/v1/ports/watch", get(watch::run)).route("/v1/proxy", get(proxy::run))
}

/// Listening ports, as they were at the last look.
#[derive(Debug)]
pub(crate) struct Ports {
    changes: broadcast::Sender<ServerMessage>,
    /// What was there last, and whether somebody looks again and again.
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    ports: BTreeMap<u16, PortEvent>,
    looking: bool,
}

impl Ports {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { changes: broadcast::Sender::new(WAITING), seen: Mutex::default() })
    }

    /// The ports of this moment, and every change from then on.
    pub(crate) async fn subscribe(self: &Arc<Self>) -> (Vec<PortEvent>, broadcast::Receiver<ServerMessage>) {
        let mut seen = self.seen.lock().await;
        self.look(&mut seen).await;
        let receiver = self.changes.subscribe();
        if !seen.looking {
            seen.looking = true;
            tokio::spawn(keep_looking(Arc::downgrade(self)));
        }
        (seen.ports.values().cloned().collect(), receiver)
    }

    /// The ports of this moment.
    pub(crate) async fn now(&self) -> Vec<PortEvent> {
        let mut seen = self.seen.lock().await;
        self.look(&mut seen).await;
        seen.ports.values().cloned().collect()
    }

    async fn look(&self, seen: &mut Seen) {
        let before = std::mem::take(&mut seen.ports);
        let work = tokio::task::spawn_blocking(move || {
            let now = table::listening(&before);
            (before, now)
        });
        // A panic there is our own fault; the next look begins with nothing.
        let Ok((before, now)) = work.await else { return };
        for (port, event) in &before {
            if !now.contains_key(port) {
                // Nobody may be listening any more.
                let _ = self.changes.send(ServerMessage::PortClosed(event.clone()));
            }
        }
        for (port, event) in &now {
            if !before.contains_key(port) {
                let _ = self.changes.send(ServerMessage::PortOpened(event.clone()));
            }
        }
        seen.ports = now;
    }
}

/// Looks until nobody wants to know any more.
async fn keep_looking(ports: Weak<Ports>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(ports) = ports.upgrade() else { return };
        let mut seen = ports.seen.lock().await;
        if ports.changes.receiver_count() == 0 {
            seen.looking = false;
            return;
        }
        ports.look(&mut seen).await;
    }
}
