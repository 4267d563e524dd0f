//! `serve` and `machine`: the processes behind the app.

use super::Outcome;
use clap::Args;
use sprites_backend::NetworkSettings;
use sprites_backend::paths::Paths;
use sprites_backend::server::{self, Outside, ServerConfig};
use sprites_tui::config::Config;
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
    #[arg(long)]
    port: Option<u16>,
    /// Seconds without use after which a running sprite turns warm; 30 when absent
    #[arg(long)]
    idle: Option<u64>,
    /// Seconds after which a warm sprite gives its memory back, to disk on KVM, else it turns cold; 600 when absent
    #[arg(long)]
    warm: Option<u64>,
    /// MiB of memory that sprites hold while they sleep, at most; as much as they have when absent
    #[arg(long)]
    warm_mb: Option<u64>,
    /// Most sprites that run at once; as many as there are when absent
    #[arg(long)]
    most_running: Option<usize>,
    /// Listen for other machines too, at https://ADDRESS:PORT or http://ADDRESS:PORT; everything there needs the token
    #[arg(long)]
    listen: Option<String>,
    /// PEM file of the certificate for that, with those it depends on
    #[arg(long)]
    certificate: Option<PathBuf>,
    /// PEM file of its key
    #[arg(long)]
    key: Option<PathBuf>,
    /// Domain whose subdomains are sprites' URLs there
    #[arg(long)]
    domain: Option<String>,
    /// Make no checkpoints unasked
    #[arg(long)]
    no_checkpoints: bool,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        log();
        let paths = Paths::resolve()?;
        let file = Config::load(&paths.config_file());
        file.mistakes.iter().for_each(|mistake| eprintln!("sprites-tui: {mistake}"));
        let usual = ServerConfig::new(paths, std::env::current_exe()?);
        let seconds =
            |wanted: Option<u64>, usual| wanted.map_or(usual, |count| Duration::from_secs(count.max(1)));
        let (certificate, key) = (self.certificate.or(file.server.certificate), self.key.or(file.server.key));
        let domain = self.domain.or(file.server.domain);
        let outside = match self.listen.or(file.server.listen) {
            Some(listen) => Some(Outside::new(&listen, certificate, key, domain)?),
            None => None,
        };
        let network = NetworkSettings {
            off: file.network.off.unwrap_or(false),
            allow_private: file.network.allow_private.unwrap_or(false),
            reachable: file.network.reachable,
            resolvers: file.network.resolvers,
            ipv6: file.network.ipv6,
        };
        let config = ServerConfig {
            outside,
            port: self.port.or(file.server.port).unwrap_or(usual.port),
            idle: seconds(self.idle.or(file.server.idle), usual.idle),
            warm: seconds(self.warm.or(file.server.warm), usual.warm),
            warm_memory: self.warm_mb.or(file.server.warm_mb).map(|most| most.saturating_mul(1 << 20)),
            most_running: self.most_running.or(file.server.most_running).map(|most| most.max(1)),
            network,
            checkpoints: !self.no_checkpoints && file.server.checkpoints.unwrap_or(usual.checkpoints),
            ..usual
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

#[derive(Debug, Args)]
pub(super) struct Gateway {
    /// The network's specification
    #[arg(long)]
    spec: PathBuf,
}

impl Gateway {
    pub(super) fn run(self) -> Outcome {
        log();
        local_vmm::gateway::run(&self.spec)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One question about a disk. What goes wrong is told on standard error, which the server reads.
pub(super) fn files() -> Outcome {
    local_vmm::files::run()?;
    Ok(ExitCode::SUCCESS)
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
