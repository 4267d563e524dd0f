//! What goes on in a sprite: asked of its agent while it runs, remembered while it sleeps. Neither is a use of it.

use super::Sprite;
use crate::client::checked;
use sprites_api::Time;
use sprites_api::inside::{Inside, Interior};
use sprites_api::sprite::Status;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long an agent may take to tell.
const ANSWER: Duration = Duration::from_secs(2);
/// Many who look ask the agent once in this time.
const FRESH: Duration = Duration::from_millis(500);
/// Largest answer of an agent, bytes. What may be told is smaller, however it is written.
const MAX_ANSWER: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sight(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// When the agent was last asked, and whether it answered.
    asked: Option<(Instant, bool)>,
    /// What it told last.
    known: Option<(Time, Interior)>,
}

impl Sprite {
    /// What goes on in it; of one that sleeps what was last known. It is neither woken nor kept awake.
    pub(crate) async fn look(&self) -> Inside {
        // Whoever comes meanwhile gets what the first one is told.
        let mut seen = self.sight.0.lock().await;
        let answered = match (self.running_machine(), seen.asked) {
            (Some(_), Some((at, answered))) if at.elapsed() < FRESH => answered,
            (Some(machine), _) => {
                let asking = self.agent.ask::<Interior>(&machine, "inside", MAX_ANSWER);
                let told = timeout(ANSWER, asking).await.ok().flatten();
                let answered = told.is_some();
                seen.asked = Some((Instant::now(), answered));
                if let Some(told) = told {
                    seen.known = Some((Time::now(), checked(told)));
                }
                answered
            }
            (None, _) => false,
        };
        // It may have fallen asleep meanwhile.
        let status = self.state().status;
        let (as_of, interior) = seen.known.clone().unzip();
        Inside {
            status,
            as_of,
            live: answered && status == Status::Running,
            tasks: self.tasks(),
            interior: interior.unwrap_or_default(),
        }
    }
}
