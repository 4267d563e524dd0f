//! Sprites that go into files and object stores, and come from there. That goes on in whatever context somebody is, and the app's end breaks it off in
//! order: an object store would keep, and charge for, parts of what never became whole.

use crate::number;
use crate::update::{Effect, Event};
use sprites_backend::client::{Client, ExportWish, clean};
use sprites_backend::depot::{self, Error, Place};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Between two times that a job tells how far it is.
const PAUSE: Duration = Duration::from_millis(250);
/// How long the end of the app waits for what is broken off.
const END: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Moves {
    events: Sender<Event>,
    tasks: TaskTracker,
    leaving: CancellationToken,
}

impl Moves {
    /// Tells `events` how far all of it is, and what comes of it.
    pub fn new(events: Sender<Event>) -> Self {
        Self { events, tasks: TaskTracker::new(), leaving: CancellationToken::new() }
    }

    /// Writes a sprite into a file or an object store, or makes one from there. Gives other effects back.
    pub fn begin(&self, client: &Client, effect: Effect) -> Option<Effect> {
        let (client, leaving) = (client.clone(), self.leaving.clone());
        match effect {
            Effect::Export { job, name, checkpoint, to } => {
                let moving = self.moving(job, format!("Exporting {name}"));
                self.tasks.spawn(export(client, leaving, moving, name, checkpoint, to));
            }
            Effect::Import { job, from, name } => {
                let moving = self.moving(job, format!("Importing {from}"));
                self.tasks.spawn(import(client, leaving, moving, from, name));
            }
            effect => return Some(effect),
        }
        None
    }

    /// Breaks off what is under way, and waits until that is done.
    pub async fn end(self) {
        self.leaving.cancel();
        self.tasks.close();
        // What takes longer is not worth a person's time.
        let _ = timeout(END, self.tasks.wait()).await;
    }

    fn moving(&self, job: u64, text: String) -> Moving {
        Moving { events: self.events.clone(), job, text, last: Mutex::new(Instant::now()) }
    }
}

/// Tells now and then how far a job is.
struct Moving {
    events: Sender<Event>,
    job: u64,
    text: String,
    last: Mutex<Instant>,
}

impl Moving {
    fn tell(&self, done: u64, all: Option<u64>) {
        let mut last = self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if last.elapsed() < PAUSE {
            return;
        }
        *last = Instant::now();
        let of = all.map(|all| format!(" of {}", number::bytes(all))).unwrap_or_default();
        let text = format!("{}: {}{of}", self.text, number::bytes(done));
        // One that is lost is followed by another.
        let _ = self.events.try_send(Event::Progress(self.job, text));
    }

    async fn done(&self, outcome: Result<String, Error>, sprite: Option<String>) {
        let outcome = outcome.map_err(|error| clean(&error.to_string()));
        // When the app has ended nobody listens, and nothing is lost.
        let _ = self.events.send(Event::Done(self.job, outcome, sprite)).await;
    }
}

async fn export(
    client: Client,
    leaving: CancellationToken,
    moving: Moving,
    name: String,
    checkpoint: Option<String>,
    to: Place,
) {
    let wish = ExportWish { checkpoint, ..ExportWish::default() };
    let stored =
        depot::export(&client, &name, &wish, &to, false, &leaving, |done| moving.tell(done, None)).await;
    let outcome = stored.map(|stored| {
        let (at, size) = (&stored.checkpoint, number::bytes(stored.bytes));
        format!("{name} at {at} is exported to {}, {size}.", stored.place)
    });
    moving.done(outcome, Some(name)).await;
}

async fn import(
    client: Client,
    leaving: CancellationToken,
    moving: Moving,
    from: Place,
    name: Option<String>,
) {
    let moving = Arc::new(moving);
    let told = Arc::clone(&moving);
    let tell = move |done, all| told.tell(done, all);
    let made = depot::import(&client, &from, name.as_deref(), &leaving, tell).await;
    moving.done(made.map(|made| format!("{} is made from {from}.", made.name)), None).await;
}
