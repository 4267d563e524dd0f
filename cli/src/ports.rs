//! Forwarded ports: those that somebody names, and those that open in a sprite while a command runs there.

use crate::arguments::{PlaceArguments, Proxy as Wish};
use crate::failure::{Failure, Outcome};
use crate::output;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use sprites_backend::client::{Client, Forward};
use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

/// Ports that are forwarded by themselves: what runs in a sprite decides which, so not too many.
const AUTOMATIC: usize = 32;
/// And none that belongs to the system.
const FIRST: u16 = 1024;
/// Remarks that are kept until the screen is the person's again.
const KEPT: usize = 16;

/// Where remarks go: at once, or, while a program draws the screen, when that is over.
#[derive(Clone, Debug)]
pub(crate) struct Remarks(Option<Arc<Mutex<Vec<String>>>>);

impl Remarks {
    /// Told at once.
    pub(crate) fn at_once() -> Self {
        Self(None)
    }

    /// Kept.
    pub(crate) fn kept() -> Self {
        Self(Some(Arc::default()))
    }

    fn tell(&self, text: String) {
        let Some(kept) = &self.0 else { return output::remark(&format!("sprite: {text}")) };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        // The first ones tell what is wrong, and each of them once is enough.
        if kept.len() < KEPT && !kept.contains(&text) {
            kept.push(text);
        }
    }

    /// Tells what was kept.
    fn release(&self) {
        self.take().iter().for_each(|text| output::remark(&format!("sprite: {text}")));
    }

    fn take(&self) -> Vec<String> {
        let Some(kept) = &self.0 else { return Vec::new() };
        std::mem::take(&mut *kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// `sprite proxy`.
pub(crate) async fn proxy(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.both().await?;
    if let Some(target) = wish.stdio {
        let (host, port) = target.rsplit_once(':').unwrap_or(("", &target));
        let host = if host.is_empty() { "localhost" } else { host };
        let connection = client.connect(&name, host, number(port)?).await?;
        connection.join_while(tokio::io::stdin(), tokio::io::stdout(), output_is_read).await;
        return Ok(ExitCode::SUCCESS);
    }
    let mut open = Vec::new();
    for text in &wish.ports {
        let (local, remote) = match text.split_once(':') {
            Some((local, remote)) => (number(local)?, number(remote)?),
            None => (number(text)?, number(text)?),
        };
        let remarks = Remarks::at_once();
        let forward =
            Forward::open(client.clone(), name.clone(), remote, local, move |why| remarks.tell(why))
                .await
                .map_err(Failure::io("listen on", format!("port {local}")))?;
        let local = forward.port();
        output::remark(&format!("127.0.0.1:{local} leads to port {remote} of {name}; ctrl-c ends it"));
        open.push(forward);
    }
    tokio::signal::ctrl_c().await.map_err(Failure::io("wait for", "ctrl-c"))?;
    Ok(ExitCode::SUCCESS)
}

fn number(text: &str) -> Result<u16, Failure> {
    text.parse().map_err(|_| Failure::Usage(format!("{text:?} is no port")))
}

/// Whether somebody reads what goes to the standard output. A pipe without a reader says so; anything else that says nothing is read.
fn output_is_read() -> bool {
    let out = io::stdout();
    let mut looked = [PollFd::new(out.as_fd(), PollFlags::empty())];
    // Of these two it tells without being asked.
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut looked, PollTimeout::ZERO).is_err()
        || !looked[0].revents().is_some_and(|told| told.intersects(gone))
}

/// Ports that are forwarded while a command runs. Dropped, it ends them.
#[derive(Debug)]
pub(crate) struct Forwards {
    client: Client,
    name: String,
    open: HashMap<u16, Forward>,
    remarks: Remarks,
    /// Whether somebody may be told of what goes well: not over a screen that a program draws.
    tells: bool,
    /// For commands that lead to the same sprite.
    flags: String,
}

impl Forwards {
    /// With remarks that are kept, only those are told, and nothing of what goes well.
    pub(crate) fn new(client: Client, name: String, flags: String, remarks: Remarks) -> Self {
        let tells = remarks.0.is_none();
        Self { client, name, open: HashMap::new(), remarks, tells, flags }
    }

    /// A port opened in the sprite.
    pub(crate) async fn open(&mut self, port: u16) {
        if port < FIRST || self.open.len() >= AUTOMATIC || self.open.contains_key(&port) {
            return;
        }
        // One that is in use here stays whose it is.
        let (client, name, remarks) = (self.client.clone(), self.name.clone(), self.remarks.clone());
        match Forward::open(client, name, port, port, move |why| remarks.tell(why)).await {
            Ok(forward) => self.open.insert(port, forward),
            Err(error) => {
                let why = match error.kind() {
                    io::ErrorKind::AddrInUse => {
                        "something on this machine has that port, another `sprite` perhaps".into()
                    }
                    _ => error.to_string(),
                };
                let (name, flags) = (&self.name, &self.flags);
                return self.remarks.tell(format!(
                    "port {port} of {name} does not lead from 127.0.0.1:{port} here: {why}; \
                     `sprite proxy {flags} 0:{port}` lets it lead from a free one"
                ));
            }
        };
        if self.tells {
            output::progress(&format!("port {port} of {} is now 127.0.0.1:{port}", self.name));
        }
    }

    /// It closed.
    pub(crate) fn close(&mut self, port: u16) {
        if let Some(forward) = self.open.remove(&port) {
            forward.close();
        }
    }

    /// The screen is the person's again: tells what was kept.
    pub(crate) fn release(&self) {
        self.remarks.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_are_kept_until_the_screen_is_free() {
        let remarks = Remarks::kept();
        for number in 0..100 {
            remarks.tell(format!("port {}", number % 20));
        }
        assert_eq!(remarks.take().len(), KEPT);
        assert!(remarks.take().is_empty());
    }
}
