//! What a sprite may do: its network, its privileges, its resources. `/v1/sprites/{name}/policy/…`.

mod matcher;
mod meaning;
#[cfg(test)]
mod tests;

pub use matcher::{Matcher, RuleRef, Verdict, normal};
pub use meaning::{Meaning, Role, RuleMeaning};

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a sprite may reach, do and take, as far as somebody has said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Policies {
    /// What it may reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkPolicy>,
    /// What its programs may do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileges: Option<PrivilegesPolicy>,
    /// What its programs may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesPolicy>,
}

impl Policies {
    /// Whether nobody has said anything.
    pub fn is_unset(&self) -> bool {
        *self == Self::default()
    }
}

/// Most rules of a policy.
pub const MAX_RULES: usize = 10_000;
/// Longest policies in JSON, bytes: so many rules of the longest names are three megabytes.
pub const MAX_BYTES: usize = 4 << 20;
/// The one known list of rules that can be included.
pub const DEFAULTS: &str = "defaults";

/// Which names a sprite may reach. No rules: every one. With rules the most specific one decides, and what none speaks of is denied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPolicy {
    /// In the order in which they were given.
    pub rules: Vec<Rule>,
}

/// One rule: about a domain, or a list to include.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged, try_from = "RuleForm")]
pub enum Rule {
    /// About a host, the hosts below a domain (`*.example.com`), or all others (`*`).
    Domain {
        /// Which.
        domain: String,
        /// What is to happen.
        action: Action,
    },
    /// The rules of a list.
    Include {
        /// Its name.
        include: String,
    },
}

/// A rule as it is read, so that what is wrong with it can be told.
#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a rule is an object such as {\"domain\": \"example.com\", \"action\": \"allow\"}"
)]
struct RuleForm {
    domain: Option<String>,
    action: Option<Action>,
    include: Option<String>,
}

impl TryFrom<RuleForm> for Rule {
    type Error = &'static str;

    fn try_from(form: RuleForm) -> Result<Self, Self::Error> {
        match form {
            RuleForm { domain: Some(domain), action: Some(action), include: None } => {
                Ok(Self::Domain { domain, action })
            }
            RuleForm { domain: None, action: None, include: Some(include) } => Ok(Self::Include { include }),
            RuleForm { domain: Some(_), action: None, .. } => {
                Err("a rule about a domain has an action, allow or deny")
            }
            _ => Err("a rule has a domain and an action, or an include and nothing else"),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain { domain, action } => write!(f, "{action} {domain}"),
            Self::Include { include } => write!(f, "include {include}"),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

/// Part of [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It may be reached.
    Allow,
    /// It may not.
    Deny,
}

impl NetworkPolicy {
    /// Whether it can be meant; the error is a sentence that names the rule.
    pub fn check(&self) -> Result<(), String> {
        if self.rules.len() > MAX_RULES {
            return Err(format!("a policy has at most {MAX_RULES} rules"));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            match rule {
                Rule::Domain { domain, .. } => {
                    check_domain(domain).map_err(|why| format!("rule {}: {domain:.80}: {why}", index + 1))?;
                }
                Rule::Include { include } if include == DEFAULTS => {}
                Rule::Include { include } => {
                    let number = index + 1;
                    return Err(format!(
                        "rule {number}: there is no list {include:.80}; the one known is {DEFAULTS}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether a rule can be about it: a host name (RFC 1123), `*.` before one, or `*`. The error is the end of a sentence.
pub fn check_domain(domain: &str) -> Result<(), &'static str> {
    if domain == "*" {
        return Ok(());
    }
    let name = domain.strip_prefix("*.").unwrap_or(domain);
    let name = name.strip_suffix('.').unwrap_or(name);
    if domain.contains('/') {
        return Err("a rule is about a host: leave out http:// and what follows the name");
    }
    if name.is_empty() || name.len() > 253 {
        return Err("a domain has 1 to 253 characters");
    }
    for label in name.split('.') {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=63).contains(&label.len()) || !label.bytes().all(fits) {
            return Err(
                "a label of a domain has 1 to 63 letters, digits and '-'; others are written in their ASCII form",
            );
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("a label of a domain neither begins nor ends with '-'");
        }
    }
    Ok(())
}

/// What programs in a sprite may do with its machine. The vendor does not publish what its profiles mean; here those that are started while
/// it holds
///
/// | profile | are the sprite's user and |
/// |---|---|
/// | empty, `standard` | gain rights as the image provides, by `sudo` |
/// | `minimal` | never have any capability, nor gain rights |
/// | `privileged` | have all capabilities from the beginning |
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PrivilegesPolicy {
    /// Empty, `minimal`, `standard` or `privileged`.
    pub profile: String,
    /// Devices, such as `/dev/fuse`, that every program may use.
    pub devices: Vec<String>,
    /// Nobody gains rights by running a program.
    pub no_new_privileges: bool,
}

impl PrivilegesPolicy {
    /// Whether it can be meant; the error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        if !matches!(self.profile.as_str(), "" | "minimal" | "standard" | "privileged") {
            return Err("`profile` is empty, minimal, standard or privileged".into());
        }
        let fits = |device: &String| {
            device.starts_with("/dev/")
                && device.len() <= 128
                && !device.contains("..")
                && !device.contains('\0')
        };
        if self.devices.len() > 64 || !self.devices.iter().all(fits) {
            return Err("`devices` are at most 64 paths below /dev/".into());
        }
        Ok(())
    }
}

/// How much of the host a sprite may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourcesPolicy {
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryPolicy>,
}

/// Part of [`ResourcesPolicy`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, expecting = "`memory` is an object such as {\"limit_mb\": 2048}")]
pub struct MemoryPolicy {
    /// Most memory of its programs together, MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_mb: Option<u32>,
    /// Kept and shown; the local server always lets memory grow up to the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<bool>,
}

impl ResourcesPolicy {
    /// Whether it can be meant; the error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        match self.memory.as_ref().and_then(|memory| memory.limit_mb) {
            Some(limit) if !(64..=1 << 20).contains(&limit) => {
                Err("`memory.limit_mb` is 64 to 1048576".into())
            }
            _ => Ok(()),
        }
    }
}
