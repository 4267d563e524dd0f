//! What happened to a sprite is written down, so that it can be told later.

use super::Life;
use crate::sprites::sprite::{Made, State};
use crate::sprites::{Sprites, blocking};
use sprites_api::Time;
use sprites_api::extension::{Event, EventKind};
use std::sync::Arc;
use vmm_disk::Restored;

impl Life {
    /// It took on another state, or something failed.
    pub(super) async fn note_state(&self, sprites: &Arc<Sprites>, state: &State) {
        let (kind, reason) = match &state.failure {
            Some(failure) => (EventKind::Failure, format!("{}: {failure}", state.reason)),
            None => (EventKind::State, state.reason.clone()),
        };
        self.note(sprites, kind, reason).await;
    }

    pub(super) async fn note_checkpoint(&self, sprites: &Arc<Sprites>, made: &Made) {
        let about = match &made.checkpoint.comment {
            Some(comment) => format!(", {comment}"),
            None if made.checkpoint.is_auto => ", made unasked".to_owned(),
            None => String::new(),
        };
        self.note(sprites, EventKind::Checkpoint, format!("{}{about}", made.checkpoint.id)).await;
    }

    pub(super) async fn note_restore(&self, sprites: &Arc<Sprites>, checkpoint: &str, restored: &Restored) {
        let undo = match &restored.undo {
            Some(undo) => format!(", what it replaced is {undo}"),
            None => String::new(),
        };
        self.note(sprites, EventKind::Restore, format!("{checkpoint}{undo}")).await;
    }

    /// What cannot be written down is told in the log; what happened has happened all the same.
    async fn note(&self, sprites: &Arc<Sprites>, kind: EventKind, reason: String) {
        let (store, id) = (Arc::clone(&sprites.store), self.sprite.id().to_owned());
        let event = Event { time: Time::now(), kind, status: self.sprite.state().status, reason };
        if let Err(error) = blocking(move || Ok(store.happened(&id, &event)?)).await {
            tracing::warn!("{error}");
        }
    }
}
