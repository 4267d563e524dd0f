//! What a sprite reaches, and what it may reach.

use super::{Client, Result};
use sprites_api::extension::NetworkLog;
use sprites_api::policy::NetworkPolicy;

impl Client {
    /// What a sprite tried to reach, and what became of it. Local servers only.
    pub async fn network_log(&self, name: &str) -> Result<NetworkLog> {
        let call = self.get_call(&["v1", "local", "sprites", name, "network"])?;
        self.local("a log of what sprites reach", self.transport.json(call).await)
    }

    /// What a sprite may reach.
    pub async fn network_policy(&self, name: &str) -> Result<NetworkPolicy> {
        self.transport.json(self.get_call(&["v1", "sprites", name, "policy", "network"])?).await
    }

    /// Changes what a sprite may reach. Local servers answer when it holds.
    pub async fn set_network_policy(&self, name: &str, policy: &NetworkPolicy) -> Result<()> {
        let call = self.post(&["v1", "sprites", name, "policy", "network"], policy)?;
        self.transport.body(self.long(call)).await.map(drop)
    }
}
