//! Sprites that go into files and object stores, and come from there.

use super::Worker;
use crate::number;
use crate::update::Event;
use sprites_backend::client::ExportWish;
use sprites_backend::depot::{self, Error, Place};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio_util::sync::CancellationToken;

/// Between two times that a job tells how far it is.
const PAUSE: Duration = Duration::from_millis(250);

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
}

impl Worker {
    fn moving(&self, job: u64, text: String) -> Moving {
        Moving { events: self.events.clone(), job, text, last: Mutex::new(Instant::now()) }
    }

    /// Writes a sprite into a file or an object store.
    pub(super) async fn export(&self, job: u64, name: String, checkpoint: Option<String>, to: &Place) {
        let moving = self.moving(job, format!("Exporting {name}"));
        let wish = ExportWish { checkpoint, ..ExportWish::default() };
        // The app's end ends it as well.
        let never = CancellationToken::new();
        let stored =
            depot::export(&self.client, &name, &wish, to, false, &never, |done| moving.tell(done, None))
                .await;
        let outcome = stored.map(|stored| {
            let (at, size) = (&stored.checkpoint, number::bytes(stored.bytes));
            format!("{name} at {at} is exported to {}, {size}.", stored.place)
        });
        self.done(job, outcome.map_err(|error| told(&error)), Some(name)).await;
    }

    /// Makes a sprite from an export.
    pub(super) async fn import(&self, job: u64, from: &Place, name: Option<String>) {
        let moving = self.moving(job, format!("Importing {from}"));
        let never = CancellationToken::new();
        let tell = move |done, all| moving.tell(done, all);
        let made = depot::import(&self.client, from, name.as_deref(), &never, tell).await;
        let outcome = made.map(|made| format!("{} is made from {from}.", made.name));
        self.done(job, outcome.map_err(|error| told(&error)), None).await;
    }
}

fn told(error: &Error) -> String {
    sprites_backend::client::clean(&error.to_string())
}
