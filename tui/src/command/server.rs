//! `serve` and `machine`: the processes behind the app.

use super::Outcome;
use clap::Args;
use sprites_backend::paths::Paths;
use sprites_backend::server::{self, ServerConfig};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Environment variable that chooses what is logged, in the form of `tracing-subscriber`.
const LOG: &str = "SPRITES_LOG";
/// What is told when it does not say otherwise. What a guest does with its queues is not: the device tells it, and less often.
const USUAL: &str = "info,virtio_queue=off,vhost_user_backend=warn";

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// TCP port on 127.0.0.1; the one of last time when absent
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Seconds without use after which a running sprite turns warm
    #[arg(long, default_value_t = 30)]
    idle: u64,
    /// Seconds after which a warm sprite turns cold
    #[arg(long, default_value_t = 600)]
    warm: u64,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        log();
        let paths = Paths::resolve()?;
        let config = ServerConfig {
            port: self.port,
            idle: Duration::from_secs(self.idle.max(1)),
            warm: Duration::from_secs(self.warm.max(1)),
            ..ServerConfig::new(paths, std::env::current_exe()?)
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let outcome = runtime.block_on(server::run(config));
        // Streams and file work may be under way; none of it needs to be waited for.
        runtime.shutdown_timeout(Duration::from_secs(2));
        outcome?;
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Debug, Args)]
pub(super) struct Machine {
    /// The machine's specification
    #[arg(long)]
    spec: PathBuf,
}

impl Machine {
    pub(super) fn run(self) -> Outcome {
        log();
        local_vmm::machine::run(&self.spec)?;
        Ok(ExitCode::SUCCESS)
    }
}

fn log() {
    let filter = EnvFilter::try_from_env(LOG).unwrap_or_else(|_| EnvFilter::new(USUAL));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        // A log that cannot be written is told on standard error, which is the log, and that ends in a panic.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .init();
}
