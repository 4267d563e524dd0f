//! The sprites of the demo, and what changes them.

use crate::actor::Actor;
use crate::cast::{CAST, Role, Scene};
use sprites_api::Time;
use sprites_api::cost::Budget;
use sprites_api::extension::{EventKind, UsageLine};
use sprites_api::sprite::{Sprite, SpriteList, Status, WatchLine};
use std::collections::BTreeMap;

/// Most sprites.
const MAX_SPRITES: usize = 50;
/// Seconds that a sprite stays awake after somebody used it.
pub const AWAKE: i64 = 30;

pub type Result<T> = std::result::Result<T, String>;

/// See the module.
pub struct World {
    pub actors: BTreeMap<String, Actor>,
    pub budget: Budget,
    changed: Vec<WatchLine>,
    /// Of the last console.
    pub next: u32,
    /// The second up to which time has passed.
    passed: i64,
}

pub fn second() -> i64 {
    Time::now().as_micros() / 1_000_000
}

pub fn at(second: i64) -> Time {
    Time::from_micros(second * 1_000_000)
}

impl World {
    pub fn new(scene: Scene) -> Self {
        let now = second();
        let actors = scene.cast().iter().map(|role| (role.name.to_owned(), Actor::new(role, now))).collect();
        Self {
            actors,
            budget: Budget { month_usd: Some(scene.budget()), sleep: false },
            changed: Vec::new(),
            next: 100,
            passed: now,
        }
    }

    /// Time passes, if it does: what there is to tell of this second.
    pub fn tick(&mut self) -> Vec<UsageLine> {
        let now = second();
        if now <= self.passed {
            return Vec::new();
        }
        self.passed = now;
        for actor in self.actors.values_mut() {
            if let Some(reason) = actor.turn(now) {
                self.changed.push(actor.line("sprite"));
                actor.happened(EventKind::State, &reason);
            }
            actor.pass(now);
        }
        self.usage()
    }

    /// What all use now.
    pub fn usage(&self) -> Vec<UsageLine> {
        self.actors.values().map(|actor| actor.usage(self.passed)).collect()
    }

    /// What those who watch have not been told.
    pub fn changes(&mut self) -> Vec<WatchLine> {
        std::mem::take(&mut self.changed)
    }

    pub fn actor(&mut self, name: &str) -> Result<&mut Actor> {
        self.actors.get_mut(name).ok_or_else(|| "sprite not found".to_owned())
    }

    pub fn create(&mut self, name: &str) -> Result<Sprite> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
            return Err("a name is 1 to 63 small letters, digits and '-'".into());
        }
        if self.actors.contains_key(name) {
            return Err(format!("there is a sprite {name} already"));
        }
        if self.actors.len() >= MAX_SPRITES {
            return Err(format!("this demo has room for {MAX_SPRITES} sprites"));
        }
        let role = Role { days: 0, cost: 0.0, checkpoints: &[], hosts: &[], ..CAST[9] };
        let mut actor = Actor::new(&role, second());
        actor.rename(name);
        self.changed.push(actor.line("sprite"));
        let sprite = actor.sprite.clone();
        self.actors.insert(name.to_owned(), actor);
        Ok(sprite)
    }

    pub fn destroy(&mut self, name: &str) -> Result<()> {
        let actor = self.actors.remove(name).ok_or("sprite not found")?;
        self.changed.push(actor.line("deleted"));
        Ok(())
    }

    pub fn fork(&mut self, name: &str, to: &str, checkpoint: Option<&str>) -> Result<Sprite> {
        let actor = self.actor(name)?;
        let files = match checkpoint {
            Some(id) => actor.kept.get(id).ok_or("there is no such checkpoint")?.clone(),
            None => actor.files.clone(),
        };
        let (stored, labels) = (actor.stored, actor.sprite.labels.clone());
        self.create(to)?;
        let fork = self.actor(to)?;
        (fork.files, fork.stored) = (files, stored);
        fork.sprite.labels = labels;
        fork.happened(EventKind::State, &format!("made from {name}"));
        Ok(fork.sprite.clone())
    }

    /// Somebody uses a sprite, which wakes it.
    pub fn wake(&mut self, name: &str, by: &str) -> Result<()> {
        let actor = self.actor(name)?;
        if let Some(why) = &actor.sprite.failure {
            return Err(format!("{name} cannot start: {why}"));
        }
        (actor.until, actor.stopped) = (second() + AWAKE, false);
        if actor.sprite.status != Status::Running {
            actor.sprite.status = Status::Running;
            actor.happened(EventKind::State, &format!("woken by {by}"));
            let line = actor.line("sprite");
            self.changed.push(line);
        }
        Ok(())
    }

    pub fn stop(&mut self, name: &str) -> Result<()> {
        let actor = self.actor(name)?;
        (actor.sprite.status, actor.stopped) = (Status::Cold, true);
        actor.consoles.clear();
        actor.happened(EventKind::State, "stopped by you");
        let line = actor.line("sprite");
        self.changed.push(line);
        Ok(())
    }
}

/// All sprites as the list tells them.
pub fn list(world: &World) -> SpriteList {
    let sprites: Vec<Sprite> = world.actors.values().map(|actor| actor.sprite.clone()).collect();
    SpriteList { sprites, ..SpriteList::default() }
}
