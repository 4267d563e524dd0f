//! What is asked again about single sprites. A server tells changes as fast as it likes; each sprite is asked about once for all that
//! came meanwhile, few at a time, and when many are waiting the list is read instead.

use super::Worker;
use crate::update::Event;
use futures::StreamExt;
use sprites_backend::client::Error;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Questions at a time.
const AT_ONCE: usize = 8;
/// So many that wait are no longer asked one by one.
const MANY: usize = 64;

/// A question about a sprite.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) enum About {
    /// Its state.
    Sprite(String),
    /// What runs in it.
    Sessions(String),
}

/// What waits to be asked.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    wanted: HashSet<About>,
    all: bool,
    busy: bool,
}

/// What is asked next.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    All,
    Some(HashSet<About>),
}

impl Waiting {
    /// Whether somebody has to begin with it.
    fn add(&self, about: About) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.all {
            state.wanted.insert(about);
        }
        if state.wanted.len() > MANY {
            state.wanted.clear();
            state.all = true;
        }
        !std::mem::replace(&mut state.busy, true)
    }

    /// None when nothing waits, and somebody has to begin anew then.
    fn next(&self) -> Option<Next> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut state.all) {
            return Some(Next::All);
        }
        let wanted = std::mem::take(&mut state.wanted);
        state.busy = !wanted.is_empty();
        state.busy.then_some(Next::Some(wanted))
    }
}

impl Worker {
    /// Asks about a sprite soon.
    pub(super) fn refresh(&self, about: About) {
        if !self.waiting.add(about) {
            return;
        }
        let worker = self.clone();
        self.spawn(async move {
            while let Some(next) = worker.waiting.next() {
                match next {
                    Next::All => worker.list().await,
                    Next::Some(wanted) => {
                        let asked = wanted.into_iter().map(|about| worker.ask(about));
                        futures::stream::iter(asked).for_each_concurrent(AT_ONCE, |asked| asked).await;
                    }
                }
            }
        });
    }

    /// Reads the whole list.
    pub(super) async fn list(&self) {
        let outcome = self.client.list_sprites().await.map_err(|error| error.to_string());
        self.tell(Event::Sprites(outcome)).await;
    }

    async fn ask(&self, about: About) {
        match about {
            About::Sprite(name) => match self.client.get(&name).await {
                Ok(sprite) => self.tell(Event::Sprite(name, Some(Box::new(sprite)))).await,
                Err(Error::NotFound(_)) => self.tell(Event::Sprite(name, None)).await,
                // Whoever follows the server tells it.
                Err(error) if error.is_unreachable() => {}
                // That there is no answer about one says nothing about the connection.
                Err(error) => self.tell(Event::Sprites(Err(error.to_string()))).await,
            },
            About::Sessions(name) => {
                // A sprite that fell asleep or went away meanwhile has none to show.
                if let Ok(sessions) = self.client.sessions(&name).await {
                    self.tell(Event::Sessions(name, sessions)).await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(number: usize) -> About {
        About::Sprite(format!("s{number}"))
    }

    #[test]
    fn each_is_asked_once_and_many_are_a_list() {
        let waiting = Waiting::default();
        assert!(waiting.add(about(1)));
        assert!(!waiting.add(about(1)));
        assert_eq!(waiting.next(), Some(Next::Some(HashSet::from([about(1)]))));
        // What comes while it is asked is asked once more.
        assert!(!waiting.add(about(1)));
        assert_eq!(waiting.next(), Some(Next::Some(HashSet::from([about(1)]))));
        assert_eq!(waiting.next(), None);
        assert!(waiting.add(about(0)));
        for number in 1..10 * MANY {
            assert!(!waiting.add(about(number)));
        }
        assert_eq!(waiting.next(), Some(Next::All));
        assert_eq!(waiting.next(), None);
        assert!(waiting.add(about(2)));
    }
}
