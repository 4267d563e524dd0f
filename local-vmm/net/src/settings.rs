//! What a gateway is started with.

use crate::plan::Plan;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use sprites_api::policy::NetworkPolicy;
use std::net::SocketAddr;

/// See each field. The owner may write it as JSON; unknown keys are errors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Addresses on the cable.
    pub plan: Plan,
    /// Which names may be reached, until another policy comes. No rules: every one.
    pub policy: NetworkPolicy,
    /// Whether the guest may reach the networks that the host is in: private, shared (CGNAT), unique local and link-local addresses. It
    /// counts only while the policy has no rules. The host itself, and where clouds tell secrets, stay closed.
    pub allow_private: bool,
    /// Ranges that are treated as though they were public, whatever they are. For tests, whose servers are on the loopback.
    pub reachable: Vec<IpNet>,
    /// Name servers to ask. Empty: those of `/etc/resolv.conf`, read again when it changes. A process that may not read files is told them.
    pub resolvers: Vec<SocketAddr>,
    /// Whether IPv6 goes anywhere. Unset: if the host has a route for it.
    pub ipv6: Option<bool>,
    /// How much of the host it may take.
    pub limits: Limits,
}

/// How much of the host one sprite's network may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// TCP connections. Another one is refused.
    pub connections: usize,
    /// Of them, those that either side has not yet answered. Another one takes the place of the oldest.
    pub half_open: usize,
    /// Bytes of all buffers of TCP connections together.
    pub buffers: usize,
    /// UDP flows. Another one takes the place of the one that was silent longest.
    pub flows: usize,
    /// Series of echo requests.
    pub echoes: usize,
    /// Questions that wait for a name server. Another one is answered SERVFAIL.
    pub questions: usize,
    /// Seconds until a connection that no server answers is given up.
    pub connect_seconds: u64,
    /// Seconds until a connection on which nothing moves is cut.
    pub idle_seconds: u64,
    /// Seconds until one of which a side has finished is.
    pub half_closed_seconds: u64,
    /// Seconds until a UDP flow is forgotten.
    pub flow_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            half_open: 1024,
            buffers: 256 << 20,
            flows: 1024,
            echoes: 64,
            questions: 256,
            connect_seconds: 30,
            // What RFC 5382 asks of a NAT: no less than two hours and four minutes.
            idle_seconds: 2 * 3600 + 4 * 60,
            half_closed_seconds: 15 * 60,
            // RFC 4787 asks for two minutes at least.
            flow_seconds: 120,
        }
    }
}

impl Settings {
    /// Whether they can be meant; the error is a sentence.
    pub(crate) fn check(&self) -> std::result::Result<(), String> {
        self.plan.check()?;
        self.policy.check()?;
        let limits = &self.limits;
        if limits.connections == 0 || limits.half_open == 0 || limits.half_open > limits.connections {
            return Err("`limits.half_open` is 1 to `limits.connections`".into());
        }
        if limits.buffers < limits.connections * 2 * crate::tcp::SMALLEST_BUFFER {
            return Err(format!(
                "`limits.buffers` is at least {} for {} connections",
                limits.connections * 2 * crate::tcp::SMALLEST_BUFFER,
                limits.connections
            ));
        }
        if [limits.flows, limits.echoes, limits.questions].contains(&0) {
            return Err("no limit is 0".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_meant() {
        let settings = Settings::default();
        assert_eq!(settings.check(), Ok(()));
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        assert!(serde_json::from_str::<Settings>(r#"{"alow_private":true}"#).is_err());
        let mut small = settings.clone();
        small.limits.buffers = 1 << 20;
        assert!(small.check().is_err());
    }
}
