//! `sprite-agent`: PID 1 of a sprite, or an ordinary process over unix sockets.

use sprites_guest_agent::{Config, Listener, boot, serve, tool};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

// As PID 1 it contains panics of single sessions, which takes a profile that unwinds.
const _: () = assert!(cfg!(panic = "unwind"));

const USAGE: &str = "usage: sprite-agent --host-socket <path> [--socket <path>] [--user <name>]
                    [--adopt-orphans]

Serves the inner API on the given unix sockets, and the host-only calls on the host socket, until
SIGTERM or SIGINT. As PID 1 it takes no arguments and brings a machine up.

  --host-socket <path>  socket for the inner API and the host-only calls
  --socket <path>       socket for the inner API
  --user <name>         run sessions as this user; needs root
  --adopt-orphans       become the parent of orphaned processes, as PID 1 is";

#[derive(Debug, Default)]
struct Arguments {
    socket: Option<PathBuf>,
    host_socket: Option<PathBuf>,
    user: Option<String>,
    adopt_orphans: bool,
}

impl Arguments {
    fn parse(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self::default();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or(format!("{word} needs a value"));
            match word.as_str() {
                "--socket" => arguments.socket = Some(value()?.into()),
                "--host-socket" => arguments.host_socket = Some(value()?.into()),
                "--user" => arguments.user = Some(value()?),
                "--adopt-orphans" => arguments.adopt_orphans = true,
                _ => return Err(format!("unknown argument {word}")),
            }
        }
        if arguments.host_socket.is_none() && arguments.socket.is_none() {
            return Err("there is no socket to serve on".to_owned());
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    if std::process::id() == 1 {
        boot::run();
    }
    let mut words = std::env::args();
    let name = words.next().unwrap_or_default();
    let name = std::path::Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if tool::NAMES.contains(&name)
        && let Some(code) = tool::run(name, words.collect())
    {
        return code;
    }
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(reason) => {
            eprintln!("{reason}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("sprite-agent: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), String> {
    boot::quiet_contained_panics();
    let mut config = Config::process();
    config.user = arguments.user;
    if arguments.adopt_orphans {
        nix::sys::prctl::set_child_subreaper(true)
            .map_err(|error| format!("orphans cannot be adopted: {}", error.desc()))?;
        config.adopt_orphans = true;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| format!("the agent cannot run: {error}"))?;
    runtime.block_on(async {
        let bind = |path: &PathBuf| {
            UnixListener::bind(path).map_err(|error| format!("cannot listen on {}: {error}", path.display()))
        };
        let mut listeners = Vec::new();
        if let Some(path) = &arguments.host_socket {
            listeners.push(Listener::host_unix(bind(path)?));
        }
        if let Some(path) = &arguments.socket {
            listeners.push(Listener::inner_unix(bind(path)?));
        }
        let stop = CancellationToken::new();
        boot::stop_on_signal(stop.clone()).map_err(|error| format!("signals cannot be watched: {error}"))?;
        let result = serve(listeners, config, stop).await.map_err(|error| error.to_string());
        for path in [arguments.host_socket, arguments.socket].into_iter().flatten() {
            // Whoever removed it before us wanted the same.
            let _ = std::fs::remove_file(path);
        }
        result
    })
}
