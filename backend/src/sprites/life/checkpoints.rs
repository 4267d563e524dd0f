//! Checkpoints of a sprite, which its machine makes while it runs: by wish, unasked, and what becomes of old ones.

use super::{Life, STOP};
use crate::sprites::sprite::{Made, NewCheckpoint};
use crate::sprites::{SpriteError, Sprites, blocking, upkeep};
use local_vmm::Kind as Runs;
use sprites_api::Time;
use sprites_api::sprite::Status;
use std::sync::Arc;
use std::time::Duration;
use vmm_disk::{Kind, Restored};

impl Life {
    /// Makes a checkpoint unasked, where something was written since the last one and that is older than `age`, and lets go of those that it
    /// makes superfluous. What fails here fails again when somebody asks, and is told then.
    pub(super) async fn keep(&mut self, sprites: &Arc<Sprites>, age: Duration) {
        if !sprites.settings.checkpoints || self.machine.is_none() {
            return;
        }
        let (disks, id, now) = (sprites.disks.clone(), self.sprite.id().to_owned(), Time::now().as_micros());
        let due = blocking(move || {
            let newest = disks.checkpoints(&id)?.iter().map(|checkpoint| checkpoint.create_time).max();
            Ok(newest.is_none_or(|newest| newest < upkeep::before(now, age)) && disks.is_changed(&id)?)
        });
        let kept = match due.await {
            Ok(false) => return,
            Ok(true) => {
                let new = NewCheckpoint { comment: None, auto: true, memory: false };
                self.checkpoint(sprites, new).await.map(drop)
            }
            Err(error) => Err(error),
        };
        let swept = match kept {
            Ok(()) => self.let_go(sprites, now).await,
            Err(error) => Err(error),
        };
        if let Err(error) = swept {
            tracing::warn!("{}: no automatic checkpoint: {error}", self.sprite.record().name);
        }
    }

    /// Deletes automatic checkpoints that are no longer worth their bytes.
    async fn let_go(&mut self, sprites: &Arc<Sprites>, now: i64) -> Result<(), SpriteError> {
        let (disks, id) = (sprites.disks.clone(), self.sprite.id().to_owned());
        let gone = blocking(move || {
            Ok(upkeep::superfluous(&disks.checkpoints(&id)?, disks.parent(&id)?.as_deref(), now))
        })
        .await?;
        if gone.is_empty() {
            return Ok(());
        }
        for checkpoint in gone {
            self.strike(sprites, &checkpoint).await?;
        }
        let (disks, id) = (sprites.disks.clone(), self.sprite.id().to_owned());
        blocking(move || disks.reclaim(&id)).await.map(drop)
    }

    pub(super) async fn checkpoint(
        &mut self,
        sprites: &Arc<Sprites>,
        new: NewCheckpoint,
    ) -> Result<Made, SpriteError> {
        let NewCheckpoint { comment, auto, memory } = new;
        if let Some(comment) = comment.as_ref().filter(|comment| comment.len() > vmm_disk::MAX_COMMENT) {
            return Err(vmm_disk::Error::CommentTooLong(comment.len()).into());
        }
        if memory && Runs::of_this_host() != Runs::Kvm {
            return Err(SpriteError::NoMemory);
        }
        // Part of what a sprite that sleeps on disk has written is still in its memory.
        if self.sleeps_on_disk() || memory && self.machine.is_none() {
            self.wake(sprites, "a checkpoint").await?;
        }
        let made = match &self.machine {
            Some(machine) => {
                let done = machine.checkpoint(comment, auto, memory).await?;
                self.sprite.list_changed();
                if !done.froze {
                    tracing::warn!(
                        "checkpoint {} was made while the agent inside did not answer",
                        done.checkpoint.id
                    );
                }
                Made { checkpoint: done.checkpoint, at_rest: done.froze }
            }
            None => {
                let (disks, id) = (sprites.disks.clone(), self.sprite.id().to_owned());
                let kind = if auto { Kind::Automatic } else { Kind::Manual };
                let new = vmm_disk::NewCheckpoint { comment, kind };
                // A disk that no machine runs on is as its machine left it.
                blocking(move || Ok(Made { checkpoint: disks.checkpoint(&id, new)?, at_rest: true })).await?
            }
        };
        self.note_checkpoint(sprites, &made).await;
        Ok(made)
    }

    pub(super) async fn restore(
        &mut self,
        sprites: &Arc<Sprites>,
        checkpoint: &str,
        memory: bool,
    ) -> Result<Restored, SpriteError> {
        let (disks, id, wanted) = (sprites.disks.clone(), self.sprite.id().to_owned(), checkpoint.to_owned());
        if wanted == vmm_disk::CURRENT {
            return Err(vmm_disk::Error::IsCurrent.into());
        }
        // Nothing is stopped for a checkpoint that does not exist.
        let looked = wanted.clone();
        blocking(move || {
            let known = disks.checkpoints(&id)?.iter().any(|checkpoint| checkpoint.id == looked);
            match known {
                true if memory && disks.memory_bytes(&id, &looked) == 0 => {
                    Err(SpriteError::WithoutMemory(looked))
                }
                true => Ok(()),
                false => Err(vmm_disk::Error::NoCheckpoint(looked).into()),
            }
        })
        .await?;
        let ran = self.sprite.state().status == Status::Running;
        // What it has not written yet belongs to what is kept of it.
        if self.sleeps_on_disk() {
            self.wake_anyway(sprites, "a restore").await?;
        }
        self.stop(sprites, STOP, &format!("it went back to {wanted}")).await;
        let (disks, id) = (sprites.disks.clone(), self.sprite.id().to_owned());
        let restored = blocking(move || disks.restore(&id, &wanted, memory)).await?;
        self.note_restore(sprites, checkpoint, &restored).await;
        let came_from = format!("it went back to {checkpoint}");
        if memory {
            self.enter(sprites, Status::Warm, None, came_from).await;
        }
        if ran && let Err(error) = self.wake(sprites, "a restore").await {
            // The disk is restored; that the machine does not start is told with the sprite.
            tracing::warn!("{error}");
        }
        Ok(restored)
    }

    pub(super) async fn forget(
        &mut self,
        sprites: &Arc<Sprites>,
        checkpoint: &str,
    ) -> Result<(), SpriteError> {
        let (disks, id, looked) = (sprites.disks.clone(), self.sprite.id().to_owned(), checkpoint.to_owned());
        blocking(move || {
            if disks.parent(&id)?.as_deref() == Some(&looked) {
                return Err(SpriteError::InUse(looked));
            }
            let known = disks.checkpoints(&id)?.iter().any(|checkpoint| checkpoint.id == looked);
            if known { Ok(()) } else { Err(vmm_disk::Error::NoCheckpoint(looked).into()) }
        })
        .await?;
        self.strike(sprites, checkpoint).await?;
        let (disks, id) = (sprites.disks.clone(), self.sprite.id().to_owned());
        blocking(move || disks.reclaim(&id)).await.map(drop)
    }

    /// Takes a checkpoint out of the list; its bytes come back later.
    async fn strike(&mut self, sprites: &Arc<Sprites>, checkpoint: &str) -> Result<(), SpriteError> {
        let (disks, id, wanted) = (sprites.disks.clone(), self.sprite.id().to_owned(), checkpoint.to_owned());
        self.sprite.list_changed();
        match &self.machine {
            Some(machine) => Ok(machine.forget(checkpoint).await?),
            None => blocking(move || disks.forget(&id, &wanted)).await,
        }
    }
}
