//! No subcommand: the app.

use super::Outcome;
use sprites_backend::context::{Context, LOCAL, TOKEN};
use sprites_backend::endpoint::Endpoint;
use sprites_backend::paths::Paths;
use sprites_demo::Scene;
use sprites_tui::appearance::{Appearance, Flags};
use sprites_tui::config::Config;
use sprites_tui::run::{self, Start};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Runs the app: on the endpoint at `url`, else on the context of that name, else on this machine.
pub(super) fn run(url: Option<&str>, context: Option<String>, flags: Flags) -> Outcome {
    let paths = Paths::resolve()?;
    let config = Config::load(&paths.config_file());
    let mut contexts = vec![local(&paths)?];
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
    let appearance = Appearance::new(&paths, flags, &config);
    let start = Start { contexts, first, appearance, config, demo: false };
    let runtime = runtime()?;
    let outcome = runtime.block_on(run::run(start));
    // Streams never end by themselves.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if let Some(words) = outcome? {
        println!("{words}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs the app on a server inside this process, whose sprites are not there.
pub(super) fn demo(flags: Flags) -> Outcome {
    let paths = Paths::resolve()?;
    let config = Config { context: None, contexts: Vec::new(), ..Config::load(&paths.config_file()) };
    let place = tempfile::tempdir().map_err(|error| format!("cannot make a folder for the demo: {error}"))?;
    let runtime = runtime()?;
    let mut contexts = Vec::new();
    for (name, scene) in [("demo", Scene::Own), ("team", Scene::Team)] {
        let stage = Paths::under(&place.path().join(name));
        stage.prepare()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::bind(stage.server_socket())?
        };
        runtime.spawn(sprites_demo::serve(listener, scene));
        contexts.push(Context::new(name, Arc::new(move || Ok(Endpoint::local(&stage)))));
    }
    // One that does not answer: that is to be seen as well.
    let away = || Err("away has no token, and in the demo there is none for it".to_owned());
    contexts.push(Context::new("away", Arc::new(away)));
    let appearance = Appearance::new(&paths, flags, &config);
    let start = Start { contexts, first: 0, appearance, config, demo: true };
    let outcome = runtime.block_on(run::run(start));
    runtime.shutdown_timeout(Duration::from_millis(100));
    outcome?;
    Ok(ExitCode::SUCCESS)
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}

/// This machine.
#[cfg(feature = "local")]
fn local(paths: &Paths) -> std::io::Result<Context> {
    use sprites_backend::endpoint::{ensure_local_server, was_stopped};
    let exe = std::env::current_exe()?;
    let (place, stopped, paths) = (paths.clone(), paths.clone(), paths.clone());
    let open = move || -> Result<Endpoint, String> {
        ensure_local_server(&paths, &exe).map_err(|error| error.to_string())?;
        Ok(Endpoint::local(&paths))
    };
    let context = Context::new(LOCAL, Arc::new(open)).with_place(move || Ok(Endpoint::local(&place)));
    Ok(context.with_stopped(move || was_stopped(&stopped)))
}

#[cfg(not(feature = "local"))]
fn local(_: &Paths) -> std::io::Result<Context> {
    let none = || {
        Err("this build has no machines of its own; choose a context or give an address with --url"
            .to_owned())
    };
    Ok(Context::new(LOCAL, Arc::new(none)))
}
