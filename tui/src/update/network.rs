//! The network part of a sprite's screen.

use super::Effect;
use crate::model::{Load, Model, Network};
use sprites_api::extension::NetworkLog;
use sprites_api::policy::NetworkPolicy;

pub(super) fn open(model: &mut Model, name: String) -> Vec<Effect> {
    if model.network.name != name {
        model.network = Network::of(name.clone());
    }
    load(&name)
}

pub(super) fn load(name: &str) -> Vec<Effect> {
    vec![Effect::LoadNetwork(name.to_owned()), Effect::LoadNetworkPolicy(name.to_owned())]
}

/// What a sprite tried to reach.
pub(super) fn log_came(model: &mut Model, name: &str, outcome: Result<NetworkLog, String>) {
    if model.network.name == name {
        model.network.log = Load::from(outcome);
    }
}

/// What it may reach.
pub(super) fn policy_came(model: &mut Model, name: &str, outcome: Result<NetworkPolicy, String>) {
    if model.network.name == name {
        model.network.policy = Load::from(outcome);
    }
}
