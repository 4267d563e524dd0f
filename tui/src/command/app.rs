//! No subcommand: the app.

use super::Outcome;
use sprites_backend::context::{Context, LOCAL, Open, TOKEN};
use sprites_backend::endpoint::Endpoint;
use sprites_backend::paths::Paths;
use sprites_tui::config::Config;
use sprites_tui::run;
use sprites_tui::theme::Theme;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Runs the app: on the endpoint at `url`, else on the context of that name, else on this machine.
pub(super) fn run(
    url: Option<&str>,
    context: Option<String>,
    theme: Option<String>,
    read_only: bool,
) -> Outcome {
    let paths = Paths::resolve()?;
    let mut config = Config::load(&paths.config_file());
    config.theme = theme.or(config.theme);
    config.read_only |= read_only;
    let mut contexts = vec![Context::new(LOCAL, local(&paths)?).with_stopped({
        let paths = paths.clone();
        move || sprites_backend::endpoint::was_stopped(&paths)
    })];
    for remote in &config.contexts {
        contexts.push(Context::remote(&remote.name, &remote.url, remote.token_env.as_deref()));
    }
    let first = match (url, context.or(config.context.clone())) {
        (Some(url), _) => {
            // A token for this address alone: the keyring is for those that have a name.
            let endpoint = Endpoint::remote(url, std::env::var(TOKEN).ok().map(Into::into))?;
            contexts.push(Context::new("remote", Arc::new(move || Ok(endpoint.clone()))));
            contexts.len() - 1
        }
        (None, Some(name)) => contexts.iter().position(|context| context.name == name).ok_or_else(|| {
            format!("there is no context {name:?}; `sprites-tui context list` tells which there are")
        })?,
        (None, None) => 0,
    };
    let themes = Theme::all(Some(&paths.themes()));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let outcome = runtime.block_on(run::run(contexts, first, config, themes));
    // Streams never end by themselves.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if let Some(words) = outcome? {
        println!("{words}");
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "local")]
fn local(paths: &Paths) -> std::io::Result<Open> {
    let (paths, exe) = (paths.clone(), std::env::current_exe()?);
    Ok(Arc::new(move || {
        sprites_backend::endpoint::ensure_local_server(&paths, &exe).map_err(|error| error.to_string())?;
        Ok(Endpoint::local(&paths))
    }))
}

#[cfg(not(feature = "local"))]
fn local(_: &Paths) -> std::io::Result<Open> {
    Ok(Arc::new(|| {
        Err("this build has no machines of its own; choose a context or give an address with --url"
            .to_owned())
    }))
}
