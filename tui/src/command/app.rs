//! No subcommand: the app.

use super::Outcome;
use sprites_backend::client::Client;
use sprites_backend::endpoint::Endpoint;
use sprites_backend::paths::Paths;
use sprites_tui::config::Config;
use sprites_tui::run;
use sprites_tui::theme::Theme;
use std::process::ExitCode;
use std::time::Duration;

/// The token of a remote endpoint.
const TOKEN: &str = "SPRITES_TOKEN";

/// Runs the app against a remote endpoint, or against this machine's server, which is started when it does not run.
pub(super) fn run(url: Option<&str>, theme: Option<String>) -> Outcome {
    let paths = Paths::resolve()?;
    let endpoint = match url {
        Some(url) => Endpoint::remote(url, std::env::var(TOKEN).ok().map(Into::into))?,
        None => local(&paths)?,
    };
    let mut config = Config::load(&paths.config_file());
    config.theme = theme.or(config.theme);
    let themes = Theme::all(Some(&paths.themes()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(async {
        run::run(Client::new(endpoint).map_err(std::io::Error::other)?, config, themes).await
    });
    // Streams never end by themselves.
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "local")]
fn local(paths: &Paths) -> Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> {
    sprites_backend::endpoint::ensure_local_server(paths, &std::env::current_exe()?)?;
    Ok(Endpoint::local(paths))
}

#[cfg(not(feature = "local"))]
fn local(_: &Paths) -> Result<Endpoint, Box<dyn std::error::Error + Send + Sync>> {
    Err("this build has no machines of its own; give the address of an endpoint with --url".into())
}
