//! Who uses a sprite, for what, and since when nobody does.

use crate::client::is_obeyed;
use crate::lock::locked;
use std::collections::BTreeMap;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::Instant;

/// Longest description of a use, characters.
const MAX_WHAT: usize = 80;
/// Most uses that are told one by one.
const TOLD: usize = 16;

/// See the module.
#[derive(Debug)]
pub(super) struct Usage {
    open: Mutex<Open>,
    last: Mutex<Instant>,
    /// Something was done to its disk since the meter last looked.
    pub(super) changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    uses: BTreeMap<u64, Use>,
}

#[derive(Debug)]
struct Use {
    what: String,
    /// Its connection to the agent, to be cut when the sprite sleeps all the same.
    connection: Option<std::os::unix::net::UnixStream>,
}

impl Usage {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            last: Mutex::new(Instant::now()),
            changed: AtomicBool::new(false),
        })
    }

    pub(super) fn touch(&self) {
        *locked(&self.last) = Instant::now();
    }

    /// How long nobody has used it; none while somebody does.
    pub(super) fn idle(&self) -> Option<Duration> {
        let idle = locked(&self.last).elapsed();
        locked(&self.open).uses.is_empty().then_some(idle)
    }

    /// How many use it.
    pub(super) fn count(&self) -> usize {
        locked(&self.open).uses.len()
    }

    /// Ends what it is used for: it sleeps, and whoever uses it would wait without knowing that.
    pub(super) fn cut(&self) {
        for Use { connection, .. } in locked(&self.open).uses.values() {
            if let Some(connection) = connection {
                // One that has ended by itself needs nothing more.
                let _ = connection.shutdown(Shutdown::Both);
            }
        }
    }

    /// What it is used for now, oldest first; of many alike one stands for all.
    pub(super) fn uses(&self) -> Vec<String> {
        let mut told: Vec<(String, usize)> = Vec::new();
        for Use { what, .. } in locked(&self.open).uses.values() {
            if let Some((_, count)) = told.iter_mut().find(|(known, _)| known == what) {
                *count += 1;
            } else if told.len() < TOLD {
                told.push((what.clone(), 1));
            }
        }
        let line = |(what, count)| if count == 1 { what } else { format!("{what} ({count} times)") };
        told.into_iter().map(line).collect()
    }
}

/// Keeps a sprite awake.
#[derive(Debug)]
pub(crate) struct Guard {
    usage: Arc<Usage>,
    number: u64,
}

impl Guard {
    pub(super) fn new(usage: &Arc<Usage>, what: &str) -> Self {
        let mut open = locked(&usage.open);
        let number = open.next;
        open.next += 1;
        // Words of clients are in it, and others read it on their terminals.
        let what = what.chars().filter(|sign| !is_obeyed(*sign)).take(MAX_WHAT).collect();
        open.uses.insert(number, Use { what, connection: None });
        drop(open);
        usage.touch();
        Self { usage: Arc::clone(usage), number }
    }

    /// The use goes through this connection to the agent.
    pub(super) fn goes_through(&self, connection: &UnixStream) {
        // Without it, it is not cut but ends with the machine.
        let connection = connection.as_fd().try_clone_to_owned().ok().map(Into::into);
        if let Some(one) = locked(&self.usage.open).uses.get_mut(&self.number) {
            one.connection = connection;
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.usage.touch();
        locked(&self.usage.open).uses.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_told_while_they_last() {
        let usage = Usage::new();
        assert!(usage.idle().is_some());
        let one = Guard::new(&usage, "the command make\u{1b}[2J");
        let two = Guard::new(&usage, "its web address");
        let three = Guard::new(&usage, "its web address");
        assert!(usage.idle().is_none());
        assert_eq!(usage.uses(), ["the command make[2J", "its web address (2 times)"]);
        drop((one, two));
        assert_eq!(usage.uses(), ["its web address"]);
        drop(three);
        assert!(usage.uses().is_empty() && usage.idle().is_some());
    }
}
