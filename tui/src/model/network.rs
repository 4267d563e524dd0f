//! What a sprite reaches, and what it may reach: a part of its screen.

use super::Load;
use sprites_api::extension::NetworkLog;
use sprites_api::policy::NetworkPolicy;

/// See the module.
#[derive(Debug)]
pub struct Network {
    /// Whose.
    pub name: String,
    /// What it tried to reach.
    pub log: Load<NetworkLog>,
    /// What the server lets it reach.
    pub policy: Load<NetworkPolicy>,
}

impl Default for Network {
    fn default() -> Self {
        Self::of(String::new())
    }
}

impl Network {
    /// Of a sprite about whose network nothing is known yet.
    pub fn of(name: String) -> Self {
        Self { name, log: Load::Waiting, policy: Load::Waiting }
    }
}
