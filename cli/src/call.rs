//! Any call of the API, made by curl: the address and the token are ours.

use crate::arguments::{Api, PlaceArguments};
use crate::failure::{Failure, Outcome};
use sprites_backend::endpoint::Access;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitCode, Stdio};

pub(crate) async fn api(place: &PlaceArguments, wish: Api) -> Outcome {
    let client = place.client().await?;
    let path = if wish.path.starts_with('/') { wish.path.clone() } else { format!("/{}", wish.path) };
    let path = match &place.sprite {
        // Below the sprite, unless the whole path is given.
        Some(sprite) if !path.starts_with("/v1/") => format!("/v1/sprites/{sprite}{path}"),
        _ => path,
    };
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error"]).args(&wish.options);
    let (url, token) = match client.endpoint().access() {
        Access::Socket(socket) => {
            curl.arg("--unix-socket").arg(socket);
            (format!("http://localhost{path}"), None)
        }
        Access::Url(base, token) => (format!("{}{path}", base.trim_end_matches('/')), token),
    };
    // By its input, not by its arguments, which everybody can see.
    curl.args(["--config", "-"]).arg(url).stdin(Stdio::piped());
    let mut child = curl.spawn().map_err(Failure::io("run", "curl"))?;
    if let Some(mut input) = child.stdin.take() {
        let config = token
            .map(|token| format!("header = \"Authorization: Bearer {}\"\n", quoted(&token)))
            .unwrap_or_default();
        // curl tells by itself when it cannot go on.
        let _ = input.write_all(config.as_bytes());
    }
    let status = child.wait().map_err(Failure::io("wait for", "curl"))?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// As it stands between quotes in a configuration of curl's.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
