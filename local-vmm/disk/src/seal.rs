//! Checkpoints of an open volume: making, restoring, forgetting.
//!
//! Making one takes three steps, so that a running guest waits only for the second:
//!
//! 1. [`prepare_seal`](Volume::prepare_seal) makes an empty layer, durably, and names it in the manifest as the next head.
//! 2. [`flip`](Volume::flip) lets writes go there. It touches memory only.
//! 3. [`finish_seal`](Volume::finish_seal) makes the sealed layer durable and then records the checkpoint: only now it exists.
//!
//! Cut off before the second step, nothing happened. Cut off after it, the volume opens with the next head as its head and without the
//! checkpoint; the guest's data is as complete as its last flush, which between the steps covers both layers.

use crate::layer::Head;
use crate::manifest::{Entry, Layer, MAX_LAYERS, Manifest};
use crate::map::Slot;
use crate::tree::{Checkpoint, Kind, NewCheckpoint, Restored};
use crate::volume::{Volume, Writing, locked};
use crate::{Error, MAX_COMMENT, Result};
use jiff::Timestamp;
use std::sync::Arc;
use uuid::Uuid;

impl Volume {
    /// First step of a checkpoint; see the module. On an error nothing has changed.
    pub fn prepare_seal(&self) -> Result<()> {
        self.check_trust()?;
        let mut manifest = locked(&self.manifest);
        if manifest.next.is_some() {
            return Err(Error::Order("another one is being made; wait for it"));
        }
        let (head, changed) = self.add_layer(&manifest, manifest.head)?;
        let id = head.id;
        let fresh = Manifest { next: Some(id), ..changed };
        // Whether the new manifest is on the disk is unknown after a failed replacement; the files are left for the next open.
        fresh.save(&self.dir, &*self.host)?;
        *manifest = fresh;
        let mut core = self.exclusive();
        let slot = Slot::of(core.layers.len());
        core.layers.push(id);
        core.next = Some(Writing::new(head, slot)?);
        Ok(())
    }

    /// Second step: writes go to the new head from now on. Call it when the guest's file system is at rest. Does no I/O.
    pub fn flip(&self) -> Result<()> {
        let mut core = self.exclusive();
        let next = core.next.take().ok_or(Error::Order("it was not prepared"))?;
        let map = core.map.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        core.below = map;
        let sealed = std::mem::replace(&mut core.head, next);
        core.sealing = Some(Arc::new(sealed));
        Ok(())
    }

    /// Third step: makes the sealed layer durable and records the checkpoint. When it fails, there is no checkpoint, and the
    /// live disk is complete.
    pub fn finish_seal(&self, new: NewCheckpoint) -> Result<Checkpoint> {
        let outcome = self.finish(new);
        if outcome.is_err() {
            // The layers stay as they are, one over the other; only the checkpoint between them is given up.
            self.abort_seal()?;
        }
        outcome
    }

    fn finish(&self, new: NewCheckpoint) -> Result<Checkpoint> {
        if let Some(comment) = new.comment.as_ref().filter(|comment| comment.len() > MAX_COMMENT) {
            return Err(Error::CommentTooLong(comment.len()));
        }
        self.check_trust()?;
        let sealing = self.shared().sealing.clone().ok_or(Error::Order("the layers were not switched"))?;
        self.settle(&sealing)?;
        let mut manifest = locked(&self.manifest);
        let mut fresh = manifest.clone();
        let checkpoint = record(&mut fresh, new.kind, new.comment);
        let next = fresh.next.take().ok_or(Error::Order("the next head is gone"))?;
        fresh.head = next;
        fresh.save(&self.dir, &*self.host)?;
        *manifest = fresh;
        drop(manifest);
        self.exclusive().sealing = None;
        Ok(checkpoint)
    }

    /// Gives up a checkpoint that was begun. Harmless when there is none.
    pub fn abort_seal(&self) -> Result<()> {
        let mut manifest = locked(&self.manifest);
        let mut core = self.exclusive();
        let Some(next) = manifest.next else { return Ok(()) };
        let mut fresh = manifest.clone();
        fresh.next = None;
        if core.next.take().is_some() {
            fresh.layers.retain(|layer| layer.id != next);
        } else {
            fresh.head = next;
        }
        // A sealed layer without a checkpoint stays under the head. Its data must be as durable as the manifest that no
        // longer makes flushes reach it.
        if let Some(sealing) = core.sealing.take() {
            self.settle(&sealing)?;
        }
        fresh.save(&self.dir, &*self.host)?;
        *manifest = fresh;
        Ok(())
    }

    /// Makes a sealed layer durable.
    fn settle(&self, sealing: &Writing) -> Result<()> {
        sealing
            .settle(&*self.host, u64::MAX)
            .and_then(|()| self.sync(&sealing.data))
            .inspect_err(|_| self.distrust())
    }

    /// All three steps, for a disk that nothing is writing to.
    pub fn checkpoint(&self, new: NewCheckpoint) -> Result<Checkpoint> {
        self.prepare_seal()?;
        self.flip()?;
        self.finish_seal(new)
    }

    /// Makes checkpoint `id` the live disk. What it replaces becomes an automatic checkpoint first, so that it can be undone.
    /// For a disk that no guest is using: its contents change at once.
    pub fn restore(&self, id: &str) -> Result<Restored> {
        self.flush()?;
        let mut manifest = locked(&self.manifest);
        if manifest.next.is_some() {
            return Err(Error::Order("a checkpoint is being made; wait for it"));
        }
        let target = manifest.find(id)?.layer;
        let mut core = self.exclusive();
        let unchanged = locked(&core.head.state).head.is_empty()?;
        let (head, mut fresh) = self.add_layer(&manifest, target)?;
        let undo = if unchanged {
            let old = fresh.head;
            fresh.layers.retain(|layer| layer.id != old);
            None
        } else {
            let number = id.strip_prefix('v').filter(|number| number.parse::<u64>().is_ok());
            let of = number.map(|number| format!("v{number}-")).unwrap_or_default();
            let name = fresh.unused(&format!("{}{of}{}", crate::UNDO, Timestamp::now().as_second()));
            let comment = format!("Before restoring {id}");
            Some(put(&mut fresh, name, Some(comment), true).id)
        };
        fresh.head = head.id;
        fresh.head_parent = Some(id.to_owned());
        drop(head);
        fresh.save(&self.dir, &*self.host)?;
        self.reload(&mut core, &fresh)?;
        *manifest = fresh;
        Ok(Restored { undo })
    }

    /// Takes a checkpoint out of the list. Its bytes come back when [`Store::reclaim`](crate::Store::reclaim) runs.
    pub fn forget(&self, id: &str) -> Result<()> {
        let mut manifest = locked(&self.manifest);
        let mut fresh = manifest.clone();
        fresh.forget(id)?;
        fresh.save(&self.dir, &*self.host)?;
        *manifest = fresh;
        Ok(())
    }

    /// Makes the files of a layer over `below`; the answer's manifest lists it, the files do not depend on that yet.
    fn add_layer(&self, manifest: &Manifest, below: Uuid) -> Result<(Head, Manifest)> {
        if manifest.layers.len() >= MAX_LAYERS {
            return Err(Error::TooManyLayers(MAX_LAYERS));
        }
        let head = Head::create(&self.dir, Uuid::new_v4(), manifest.size, &*self.host)?;
        let mut changed = manifest.clone();
        changed.layers.push(Layer { id: head.id, below: Some(below), base: false, origin: None });
        Ok((head, changed))
    }
}

/// Records the head as a checkpoint of the wanted kind.
fn record(manifest: &mut Manifest, kind: Kind, comment: Option<String>) -> Checkpoint {
    let id = match kind {
        Kind::Manual => {
            let id = manifest.unused(&format!("v{}", manifest.next_number));
            manifest.next_number += 1;
            id
        }
        Kind::Automatic => manifest.unused(&format!("auto-{}", Timestamp::now().as_second())),
    };
    let checkpoint = put(manifest, id.clone(), comment, kind == Kind::Automatic);
    manifest.head_parent = Some(id);
    checkpoint
}

fn put(manifest: &mut Manifest, id: String, comment: Option<String>, is_auto: bool) -> Checkpoint {
    let checkpoint = Checkpoint {
        id,
        create_time: Timestamp::now().as_microsecond(),
        comment,
        parent: manifest.head_parent.clone(),
        is_auto,
    };
    manifest.checkpoints.push(Entry { layer: manifest.head, checkpoint: checkpoint.clone() });
    checkpoint
}
