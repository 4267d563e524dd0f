//! What those inside may do, reach and take: their machine is told before anybody is let in, and again whenever somebody says something else.

use super::Life;
use crate::agent;
use crate::sprites::network::Network;
use crate::sprites::{SpriteError, Sprites};
use local_vmm::gateway::GatewayHandle;
use local_vmm::{MachineHandle, MachineSpec};
use sprites_api::sprite::Status;
use std::time::Duration;
use tokio::time::Instant;

/// How long a machine that was taken over may take to answer.
const TAKEN_OVER: Duration = Duration::from_secs(10);
/// Between two tries to reach one.
const TRY: Duration = Duration::from_secs(5);

impl Life {
    /// The machine has come up or is awake again; nobody has been let in yet. What somebody has said about it must hold before that.
    pub(super) async fn arrived(&mut self, machine: &MachineHandle) -> Result<(), SpriteError> {
        match self.apply_policies(machine).await {
            Err(why) if !self.sprite.record().policy.is_unset() => Err(SpriteError::Untold(why)),
            Err(why) => {
                tracing::warn!("{} was not told that it has no policies: {why}", self.sprite.record().name);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Somebody has said something else. One that sleeps is told when it wakes, but for its network, which does not sleep.
    pub(super) async fn policies_changed(&mut self) -> Result<(), SpriteError> {
        let Some(machine) = self.machine.clone() else { return Ok(()) };
        let told = if self.sprite.state().status == Status::Running {
            if !self.ready {
                machine.wait_ready(TAKEN_OVER).await?;
                self.ready = true;
            }
            self.apply_policies(&machine).await
        } else {
            let policy = self.sprite.record().policy.network.unwrap_or_default();
            self.sprite.network.set_policy(policy).await
        };
        told.map_err(SpriteError::Untold)
    }

    /// Tells the machine what those inside may do, where it does not know.
    async fn apply_policies(&mut self, machine: &MachineHandle) -> Result<(), String> {
        let wanted = self.sprite.record().policy;
        if self.told.as_ref() == Some(&wanted) {
            return Ok(());
        }
        // What is allowed no more is cut before anybody is told that it is. That one of the two fails must not cost the other.
        let policy = wanted.network.clone().unwrap_or_default();
        let reached = self.sprite.network.set_policy(policy).await;
        let inside = agent::tell(machine, "policy", &wanted).await;
        reached.and(inside)?;
        self.told = Some(wanted);
        Ok(())
    }

    /// Gives a machine that is about to start a network. Without one it is of use all the same.
    pub(super) async fn plug_in(&self, sprites: &Sprites, spec: &mut MachineSpec) {
        if sprites.settings.network.off {
            self.sprite.network.begins(Some("`[network] off` is set in config.toml".to_owned()));
            return GatewayHandle::at(&spec.run_dir).clear();
        }
        let policy = self.sprite.record().policy.network.unwrap_or_default();
        let exe = &sprites.settings.exe;
        match Network::start(exe, &spec.run_dir, &sprites.settings.network, policy).await {
            Ok(net) => {
                self.sprite.network.begins(None);
                spec.net = Some(net);
            }
            Err(error) => {
                self.sprite.network.begins(Some(format!("{error}; stop the sprite to have it tried again")));
                tracing::warn!("{} has no network: {error}", spec.name);
                GatewayHandle::at(&spec.run_dir).clear();
            }
        }
    }

    /// Sees to one that this server did not start: it must know its policies, also those that a server before this one wrote down and told nobody.
    pub(super) async fn take_over(&mut self, machine: &MachineHandle) {
        let early = self.tried.is_some_and(|tried| tried.elapsed() < TRY);
        if self.ready || self.sprite.state().status != Status::Running || early {
            return;
        }
        self.tried = Some(Instant::now());
        let outcome = match machine.wait_ready(TAKEN_OVER).await {
            Ok(()) => self.apply_policies(machine).await,
            Err(error) => Err(error.to_string()),
        };
        match outcome {
            Ok(()) => self.ready = true,
            Err(why) => tracing::warn!("{} was not told its policies: {why}", self.sprite.record().name),
        }
    }
}
