//! Tasks: named holds that keep a sprite awake until they expire. `/v1/tasks…` inside the sprite, `/v1/sprites/{name}/tasks…` outside.

use crate::{Time, duration};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest hold of one request; longer ones become this.
pub const LONGEST: Duration = Duration::from_secs(3600);
/// Longest name, bytes.
const MAX_NAME: usize = 128;

/// A hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its name.
    pub name: String,
    /// When it began.
    pub started_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
}

/// All of a sprite.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskList {
    /// By name.
    pub tasks: Vec<Task>,
}

/// Body of making or refreshing one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Its name, where the path does not tell it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// For how long: seconds, or a duration such as `30m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire: Option<serde_json::Value>,
}

impl Hold {
    /// How long it is to last, at most [`LONGEST`]; the error is a sentence.
    pub fn length(&self) -> Result<Duration, &'static str> {
        let bad = "`expire` is a number of seconds or a duration such as 30m";
        let length = match &self.expire {
            Some(serde_json::Value::String(text)) => duration::parse(text).ok_or(bad)?,
            Some(serde_json::Value::Number(number)) => duration::parse(&number.to_string()).ok_or(bad)?,
            _ => return Err(bad),
        };
        if length.is_zero() { Err("`expire` must lie ahead") } else { Ok(length.min(LONGEST)) }
    }
}

/// Whether a name can be one of a task; the error is a sentence.
pub fn check_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > MAX_NAME || name.chars().any(|one| one.is_control() || one == '/') {
        return Err("a task's name is 1 to 128 bytes without '/' and control characters");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let length =
            |text: &str| serde_json::from_str::<Hold>(text).unwrap().length().ok().map(|time| time.as_secs());
        assert_eq!(length(r#"{"name":"a","expire":90}"#), Some(90));
        assert_eq!(length(r#"{"expire":"30m"}"#), Some(1800));
        assert_eq!(length(r#"{"expire":"20h"}"#), Some(3600));
        for bad in
            [r#"{}"#, r#"{"expire":0}"#, r#"{"expire":-1}"#, r#"{"expire":"soon"}"#, r#"{"expire":true}"#]
        {
            assert_eq!(length(bad), None, "{bad}");
        }
    }
}
