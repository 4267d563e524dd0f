//! What goes on in a sprite: its services and their logs, and ports that lead there.

use super::Worker;
use crate::browser;
use crate::update::Event;
use futures::StreamExt;
use sprites_api::services::{Event as Told, EventKind};
use sprites_backend::client::{Error, Forward, Lines, ServiceAction};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

/// Lines of a log that are asked for before those that follow.
const LINES: usize = 500;
/// Lines that are told at once.
const BATCH: usize = 256;
/// Longest line of a log, bytes.
const LINE: usize = 8 << 10;
/// Events that may wait for the screen before a log is read on, and how long it then waits.
const WAITING: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
/// How long a service may take to start or stop.
const ACTION: Duration = Duration::from_secs(120);

impl Worker {
    /// What goes on in a sprite, as far as the endpoint tells without waking it.
    pub(super) async fn inside(&self, name: String) {
        let outcome = self.client.inside(&name).await.map(Box::new).map_err(|error| match error {
            Error::NotSupported { endpoint, .. } => format!(
                "{endpoint} does not tell what runs in a sprite without waking it, so it is not asked. \
                 A console (t) and the sprite's URL (o) wake it."
            ),
            other => other.to_string(),
        });
        self.tell(Event::Inside(name, outcome)).await;
    }

    /// Follows a log, and none besides.
    pub(super) fn follow_log(&self, id: u64, name: &str, service: &str) {
        let mut batches = self.client.follow_log(name, service, LINES).ready_chunks(BATCH);
        let events = self.events.clone();
        // Of the worker itself nothing goes along: it holds this.
        let following = tokio::spawn(async move {
            let mut why = "the log has ended".to_owned();
            while let Some(batch) = batches.next().await {
                let mut told = Vec::with_capacity(batch.len());
                for line in batch {
                    match line {
                        Ok(mut event) => {
                            event.data = event.data.map(cut);
                            if let (EventKind::Asleep | EventKind::Error, Some(data)) =
                                (event.kind, &event.data)
                            {
                                why.clone_from(data);
                            }
                            told.push(event);
                        }
                        Err(error) => why = error.to_string(),
                    }
                }
                if events.send(Event::ServiceLog(id, told)).await.is_err() {
                    return;
                }
                // While the screen is behind, what comes waits where it is.
                while events.max_capacity() - events.capacity() > WAITING {
                    sleep(PAUSE).await;
                }
            }
            // When the app has ended nobody listens, and nothing is lost.
            let _ = events.send(Event::ServiceLogEnded(id, why)).await;
        });
        *self.following() = Some(AbortOnDropHandle::new(following));
    }

    /// Starts, stops or restarts a service.
    pub(super) async fn service(&self, job: u64, name: String, service: &str, action: ServiceAction) {
        let work = done(self.client.service(&name, service, action), service, action);
        let late = |_| Err(format!("{service} takes longer than {} s; its log tells more", ACTION.as_secs()));
        let outcome = timeout(ACTION, work).await.unwrap_or_else(late);
        self.done(job, outcome, Some(name)).await;
    }

    /// Lets a port of this machine lead to one of a sprite.
    pub(super) async fn open_forward(&self, name: String, port: u16) {
        let events = self.events.clone();
        // When there is no room, many like it are told already.
        let trouble = move |why| drop(events.try_send(Event::ForwardTrouble(why)));
        let opened = Forward::open_near(self.client.clone(), name.clone(), port, trouble).await;
        let outcome = opened.map_err(|error| error.to_string()).map(|forward| {
            let local = forward.port();
            self.forwards().insert((name.clone(), port), forward);
            local
        });
        self.tell(Event::Forwarded(name, port, outcome)).await;
    }

    /// Opens an address in the browser.
    pub(super) async fn browse(&self, address: String) {
        let wanted = address.clone();
        let opened = tokio::task::spawn_blocking(move || browser::open(&wanted)).await;
        if let Ok(Err(why)) = opened {
            self.tell(Event::NotBrowsed(address, why)).await;
        }
    }
}

/// As much of a line as is kept.
fn cut(mut line: String) -> String {
    line.truncate(line.floor_char_boundary(LINE));
    line
}

/// What came of it, as a sentence.
async fn done(mut lines: Lines<Told>, service: &str, action: ServiceAction) -> Result<String, String> {
    let mut runs = false;
    while let Some(line) = lines.next().await {
        let event = line.map_err(|error| error.to_string())?;
        match event.kind {
            EventKind::Started => runs = true,
            // Before that it is the end of the one that was to be restarted.
            EventKind::Exit if runs => {
                let code = event.exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default();
                return Err(format!("{service} ended at once{code}; its log tells more"));
            }
            EventKind::Error => {
                return Err(event.data.unwrap_or_else(|| format!("{service} failed, and nobody says why")));
            }
            _ => {}
        }
    }
    Ok(match action {
        ServiceAction::Start => format!("{service} is started."),
        ServiceAction::Stop => {
            format!(
                "{service} is stopped, and stays so until it is started, or its sprite's URL is used if it serves that."
            )
        }
        ServiceAction::Restart => format!("{service} is started anew."),
    })
}
