//! Falling asleep when nobody uses it, and giving memory back when it is asleep for long or in the way of others.

use super::{Life, STOP};
use crate::sprites::{Sprites, pressure, upkeep};
use local_vmm::{Kind as Runs, MachineHandle};
use sprites_api::sprite::Status;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Between two looks at whether a sprite that is used all the time is due for a checkpoint.
const LOOK_BUSY: Duration = Duration::from_secs(60);
/// A sprite keeps its memory in memory at least so long, even when the host is short of it.
const SETTLED: Duration = Duration::from_secs(5);

impl Life {
    /// Lets an unused sprite go to sleep, and one that sleeps for long, or in the way of others, give its memory back.
    pub(super) async fn rest(&mut self, sprites: &Arc<Sprites>) {
        let Some(machine) = self.machine.clone() else { return };
        self.take_over(&machine).await;
        let slept = self.since.elapsed();
        match self.sprite.state().status {
            Status::Running if !self.sprite.tasks().is_empty() && !sprites.is_over_budget() => {
                self.sprite.usage.touch();
            }
            Status::Running
                if sprites.is_over_budget()
                    || self.sprite.usage.idle().is_some_and(|idle| idle >= sprites.settings.idle) =>
            {
                self.keep(sprites, upkeep::FRESH).await;
                // What it was doing is to be known while it sleeps.
                self.sprite.look().await;
                match machine.pause().await {
                    Ok(()) => {
                        let why = match self.sprite.usage.idle() {
                            Some(idle) if !sprites.is_over_budget() => {
                                format!("unused for {} s", idle.as_secs())
                            }
                            _ => "this month's budget was used up".to_owned(),
                        };
                        self.enter(sprites, Status::Warm, None, why).await;
                        // Only a budget puts one to sleep that is used.
                        self.sprite.usage.cut();
                    }
                    Err(error) => {
                        tracing::warn!("{} cannot be put to sleep: {error}", self.sprite.record().name);
                        self.sprite.usage.touch();
                    }
                }
            }
            Status::Running if slept >= upkeep::BUSY && self.looked.elapsed() >= LOOK_BUSY => {
                self.looked = Instant::now();
                self.keep(sprites, upkeep::BUSY).await;
            }
            Status::Warm => {
                if let Some(why) = self.why_away(sprites, &machine, slept).await {
                    self.put_away(sprites, &machine, &why).await;
                }
            }
            _ => {}
        }
    }

    /// Why one that sleeps should give its memory back now, if it should.
    async fn why_away(
        &mut self,
        sprites: &Sprites,
        machine: &MachineHandle,
        slept: Duration,
    ) -> Option<String> {
        if slept >= sprites.settings.warm {
            return Some(format!("asleep for {} s", slept.as_secs()));
        }
        if slept >= SETTLED && pressure::is_high() {
            return Some("the host is short of memory".to_owned());
        }
        let most = sprites.settings.warm_memory?;
        if self.asleep.is_none() {
            let held = machine.status().await.ok()?.memory_bytes;
            self.asleep = Some(sprites.asleep.add(held));
        }
        let in_the_way = self.asleep.as_ref().is_some_and(|asleep| asleep.is_beyond(most));
        in_the_way.then(|| format!("sleeping sprites may hold {} MiB of memory", most >> 20))
    }

    /// Keeps a sleeping machine on disk where that can be done, and takes it down where it cannot.
    async fn put_away(&mut self, sprites: &Arc<Sprites>, machine: &MachineHandle, why: &str) {
        if Runs::of_this_host() == Runs::Kvm {
            // From here on its end is no news.
            self.machine = None;
            match machine.suspend().await {
                Ok(_) => {
                    self.sprite.publish(None);
                    self.asleep = None;
                    let why = format!("its memory lies on disk: {why}");
                    return self.enter(sprites, Status::Warm, None, why).await;
                }
                Err(error) => {
                    tracing::warn!("{} cannot be kept on disk: {error}", self.sprite.record().name);
                    self.machine = Some(machine.clone());
                }
            }
        }
        self.stop(sprites, STOP, &format!("{why}; its programs ended")).await;
    }
}
