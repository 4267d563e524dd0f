//! Panics. One in the app's own thread ends it, on a terminal on which it can be read. One elsewhere ends what was done there, and is told as a message: the
//! terminal is still the app's.

use crate::terminal;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread;

/// What was told last and nobody has taken.
static TOLD: Mutex<Option<String>> = Mutex::new(None);

/// Prepares for panics; this thread is the app's own from now on.
pub fn prepare() {
    let own = thread::current().id();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == own {
            terminal::give_back();
            return hook(panic);
        }
        let words =
            format!("Something in the app failed, which is a mistake in it; the rest goes on: {panic}");
        *TOLD.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.replace('\n', " "));
    }));
}

/// What panicked since the last call; one sentence.
pub fn told() -> Option<String> {
    TOLD.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// In builds with debug assertions a signal asks for a panic, so that a test can see what becomes of the terminal: SIGUSR1 for one elsewhere, SIGUSR2 for
/// one here.
#[derive(Debug)]
pub struct Asked {
    #[cfg(debug_assertions)]
    signals: [tokio::signal::unix::Signal; 2],
}

#[cfg(debug_assertions)]
impl Asked {
    /// Listens from now on.
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { signals: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?] })
    }

    /// Panics when it is asked to; comes back when that was elsewhere.
    pub async fn come(&mut self) {
        let [elsewhere, here] = &mut self.signals;
        tokio::select! {
            _ = elsewhere.recv() => drop(tokio::spawn(async { fail() }).await),
            _ = here.recv() => fail(),
        }
    }
}

#[cfg(debug_assertions)]
fn fail() {
    panic!("asked for by a signal");
}

#[cfg(not(debug_assertions))]
impl Asked {
    /// Never listens.
    pub fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Never comes.
    pub async fn come(&mut self) {
        std::future::pending().await
    }
}
