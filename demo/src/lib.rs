//! A server of sprites that are not there: it speaks the API as the local server does, and everything in it is made up. `sprites-tui --demo` runs
//! it inside the app, so that the same client and the same screens show it.
//!
//! | file | what it is |
//! |---|---|
//! | `cast` | who is in it |
//! | `load` | what they use: a function of time, so that every past can be told |
//! | `actor` | one of them: its state, and how time changes it |
//! | `world` | all of them, and what is done to them |
//! | `tree` | checkpoints |
//! | `files` | files of checkpoints and of the present, what changed, what disks take |
//! | `interior` | services, ports, tasks, network |
//! | `timeline` | what happened to all of them |
//! | `costs` | bills |
//! | `session` | consoles: a shell, and who is attached to it |
//! | `shell` | the few commands that they know |
//! | `calls` | the API's calls |
//! | `console` | sessions over WebSockets |

mod actor;
mod calls;
mod cast;
mod console;
mod costs;
mod files;
mod interior;
mod load;
mod session;
mod shell;
mod timeline;
mod tree;
mod world;

pub use cast::Scene;

use sprites_api::extension::UsageLine;
use sprites_api::sprite::WatchLine;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::broadcast;
use world::World;

/// Between two moments of the world.
const TICK: Duration = Duration::from_secs(1);
/// Lines that a slow listener may be behind.
const BEHIND: usize = 256;

/// What all calls share.
#[derive(Clone)]
struct Stage {
    world: Arc<Mutex<World>>,
    changes: broadcast::Sender<WatchLine>,
    usage: broadcast::Sender<UsageLine>,
}

impl Stage {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who watch what has changed.
    fn told(&self) {
        let changes = self.world().changes();
        for line in changes {
            // Nobody need listen.
            let _ = self.changes.send(line);
        }
    }
}

/// Answers whoever connects with the sprites of a scene, until it is dropped.
pub async fn serve(listener: UnixListener, scene: Scene) -> std::io::Result<()> {
    let stage = Stage {
        world: Arc::new(Mutex::new(World::new(scene))),
        changes: broadcast::channel(BEHIND).0,
        usage: broadcast::channel(BEHIND).0,
    };
    let clock = async {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let lines = stage.world().tick();
            for line in lines {
                let _ = stage.usage.send(line);
            }
            stage.told();
        }
    };
    let app = calls::router(stage.clone());
    tokio::select! {
        served = axum::serve(listener, app).into_future() => served,
        () = clock => Ok(()),
    }
}
