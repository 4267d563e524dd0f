//! `stop`: the end of what runs on this machine.

use super::Outcome;
use local_vmm::MachineHandle;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sprites_api::sprite::Status;
use sprites_backend::client::Client;
use sprites_backend::endpoint::{Endpoint, ensure_local_server};
use sprites_backend::paths::Paths;
use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Stops sprites in order; their disks stay.
#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// Names of sprites; all of them and the server when there are none
    sprites: Vec<String>,
}

impl Stop {
    pub(super) fn run(self) -> Outcome {
        let paths = Paths::resolve()?;
        if !anything_runs(&paths) {
            println!("Nothing runs.");
            return Ok(ExitCode::SUCCESS);
        }
        // Machines may be left of a server that is gone; the next one takes them over and can stop them.
        ensure_local_server(&paths, &std::env::current_exe()?)?;
        let client = Client::new(Endpoint::local(&paths))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let stopped = runtime.block_on(stop(&client, &self.sprites));
        runtime.shutdown_background();
        if !stopped? {
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether there is a server, be it one that just starts or ends, or a machine that a former one has left.
fn anything_runs(paths: &Paths) -> bool {
    let server = || UnixStream::connect(paths.server_socket()).is_ok();
    let held = || File::open(paths.server_lock()).is_ok_and(|lock| lock.try_lock_shared().is_err());
    let machine = || {
        let folders = fs::read_dir(paths.run().join("m")).into_iter().flatten().flatten();
        folders.into_iter().any(|folder| MachineHandle::at(&folder.path()).is_held())
    };
    server() || held() || machine()
}

/// Stops the named sprites, or all and the server; true when each of them is stopped.
async fn stop(client: &Client, names: &[String]) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let mut names = names.to_vec();
    let all = names.is_empty();
    if all {
        let awake = client.list_sprites().await?.into_iter().filter(|sprite| sprite.status != Status::Cold);
        names.extend(awake.map(|sprite| sprite.name));
    }
    let mut well = true;
    for name in names {
        match client.stop(&name).await {
            Ok(()) => println!("{name} is stopped."),
            Err(error) => {
                eprintln!("{name} is not stopped: {error}");
                well = false;
            }
        }
    }
    if all && well {
        let server = i32::try_from(client.version().await?.pid)?;
        kill(Pid::from_raw(server), Signal::SIGTERM)?;
        println!("The server is stopped.");
    }
    Ok(well)
}
