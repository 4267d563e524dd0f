//! Checkpoints, and the files that each keeps.

use crate::actor::Actor;
use crate::world::{Result, World, second};
use sprites_api::Time;
use sprites_api::checkpoint::CURRENT;
use sprites_api::extension::{EventKind, Tree, TreeNode};

impl World {
    pub fn checkpoint(&mut self, name: &str, comment: Option<String>, memory: bool) -> Result<String> {
        Ok(self.actor(name)?.checkpoint(comment, memory, None))
    }

    pub fn restore(&mut self, name: &str, id: &str) -> Result<String> {
        let actor = self.actor(name)?;
        let files = actor.kept.get(id).ok_or("there is no such checkpoint")?.clone();
        let before = format!("pre-restore-{id}-{}", second());
        actor.checkpoint(Some(format!("Before restoring {id}")), false, Some(before));
        (actor.files, actor.parent) = (files, Some(id.to_owned()));
        actor.consoles.clear();
        actor.sprite.failure = None;
        actor.happened(EventKind::Restore, id);
        Ok(format!("{name} is as it was at {id}."))
    }

    pub fn delete_checkpoint(&mut self, name: &str, id: &str) -> Result<()> {
        let actor = self.actor(name)?;
        let node = actor.nodes.iter().position(|node| node.id == id).ok_or("there is no such checkpoint")?;
        let gone = actor.nodes.remove(node);
        actor.kept.remove(id);
        for other in actor.nodes.iter_mut().filter(|other| other.parent.as_deref() == Some(id)) {
            other.parent.clone_from(&gone.parent);
        }
        if actor.parent.as_deref() == Some(id) {
            actor.parent = gone.parent;
        }
        Ok(())
    }
}

impl Actor {
    fn checkpoint(&mut self, comment: Option<String>, memory: bool, id: Option<String>) -> String {
        let auto = id.is_some();
        let numbers = self.nodes.iter().filter_map(|node| node.id.strip_prefix('v')?.parse::<u32>().ok());
        let id = id.unwrap_or(format!("v{}", numbers.max().map_or(0, |last| last + 1)));
        self.kept.insert(id.clone(), self.files.clone());
        let about = comment.as_ref().map(|comment| format!(", {comment}")).unwrap_or_default();
        self.happened(EventKind::Checkpoint, &format!("{id}{about}"));
        self.nodes.push(TreeNode {
            id: id.clone(),
            parent: self.parent.replace(id.clone()),
            create_time: Time::now(),
            comment,
            is_auto: auto,
            exclusive_bytes: 1_300_000,
            shared_bytes: 0,
            memory_bytes: memory.then_some(self.load.memory as u64 / 3),
        });
        id
    }

    pub fn tree(&self) -> Tree {
        let current = TreeNode {
            id: CURRENT.into(),
            parent: self.parent.clone(),
            create_time: Time::now(),
            comment: None,
            is_auto: false,
            exclusive_bytes: 4_200_000,
            shared_bytes: 0,
            memory_bytes: None,
        };
        Tree { nodes: self.nodes.iter().cloned().chain([current]).collect() }
    }
}
