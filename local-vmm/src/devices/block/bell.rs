//! The bell: how a guest tells the moment at which its disk's layers may be switched.
//!
//! While it is armed, the next request for the disk's name flips the volume and is answered with a word that only this arming has. No other
//! signal from the guest takes so short a way: the request is one of the disk's own, so everything that was done before it lies in the sealed
//! layer. That does not need one queue for all: a request shares the volume's gate until its data is in a layer and the map says so, only then
//! is it given back as done, and the flip takes the gate alone. So each write lies wholly on one side of the flip, and one that the guest saw
//! done before it rang, in whichever queue, lies in the sealed layer. A guest that rings at the wrong moment harms the consistency of its own checkpoint and
//! nothing else, and does not learn to hide it: the agent inside tells whether it got the word.

use super::ID;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use vmm_disk::{Result, Volume};

/// See the module.
#[derive(Debug)]
pub struct Bell {
    volume: Arc<Volume>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of armings, which makes words differ.
    count: u64,
    moment: Moment,
}

#[derive(Debug, Default)]
enum Moment {
    #[default]
    Quiet,
    Armed,
    Rung(Result<()>),
}

impl Bell {
    /// The bell of a volume.
    pub fn new(volume: Arc<Volume>) -> Self {
        Self { volume, state: Mutex::default() }
    }

    /// Lets the next ring flip the volume, which must be [prepared](Volume::prepare_seal). Gives the word that will be answered.
    pub fn arm(&self) -> String {
        let mut state = self.lock();
        state.count += 1;
        state.moment = Moment::Armed;
        word(state.count)
    }

    /// Ends the waiting. Gives what came of the flip, none when nobody rang.
    pub fn disarm(&self) -> Option<Result<()>> {
        match std::mem::take(&mut self.lock().moment) {
            Moment::Rung(outcome) => Some(outcome),
            Moment::Quiet | Moment::Armed => None,
        }
    }

    /// Whether a ring is waited for.
    pub fn is_armed(&self) -> bool {
        matches!(self.lock().moment, Moment::Armed)
    }

    /// Somebody inside asks for the name: flips if that was waited for, and gives the word then.
    pub(super) fn ring(&self) -> Option<[u8; ID]> {
        let mut state = self.lock();
        if !matches!(state.moment, Moment::Armed) {
            return None;
        }
        state.moment = Moment::Rung(self.volume.flip());
        let mut name = [0; ID];
        for (to, from) in name.iter_mut().zip(word(state.count).bytes()) {
            *to = from;
        }
        Some(name)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves the state whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn word(count: u64) -> String {
    format!("rest-{count:015}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use vmm_disk::{BLOCK, NewCheckpoint, Store};

    #[test]
    fn it_rings_once_for_each_arming() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("base");
        std::fs::write(&base, vec![1; BLOCK as usize]).unwrap();
        let at = dir.path().join("volume");
        Store::open(dir.path()).unwrap().create(&at, &base, 64 * BLOCK).unwrap();
        let volume = Arc::new(Volume::open(&at).unwrap());
        let bell = Bell::new(Arc::clone(&volume));
        assert!(bell.ring().is_none() && bell.disarm().is_none());

        volume.prepare_seal().unwrap();
        let first = bell.arm();
        assert_eq!(bell.ring().unwrap(), first.as_bytes());
        assert!(bell.ring().is_none());
        assert!(matches!(bell.disarm(), Some(Ok(()))));
        assert_eq!(volume.finish_seal(NewCheckpoint::default()).unwrap().id, "v0");

        volume.prepare_seal().unwrap();
        assert_ne!(bell.arm(), first);
        assert!(bell.disarm().is_none() && bell.ring().is_none());
        volume.abort_seal().unwrap();

        // Nothing was prepared.
        bell.arm();
        assert!(bell.ring().is_some());
        assert!(matches!(bell.disarm(), Some(Err(_))));
    }
}
