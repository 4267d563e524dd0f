//! A whole installation in a folder of its own: images, server, machines, the real executable. Everything ends with it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portable_pty::CommandBuilder;
use sprites_backend::client::Client;
use sprites_backend::endpoint::{Endpoint, ensure_local_server};
use sprites_backend::paths::{HOME, Paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Environment variable that names the folder of images tests run on.
const IMAGES: &str = "SPRITES_TEST_IMAGES";

/// Environment variable that names an executable which is to be tested as it is.
const GIVEN: &str = "SPRITES_TEST_EXECUTABLE";

/// The real executable, of the same profile as this one, built when it is not up to date.
pub fn executable() -> &'static Path {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| {
        // In the lab there is no cargo.
        if let Some(given) = std::env::var_os(GIVEN) {
            return given.into();
        }
        built("sprites-tui", "sprites-tui")
    })
}

/// The real command line, likewise.
pub fn command_line() -> &'static Path {
    static EXECUTABLE: OnceLock<PathBuf> = OnceLock::new();
    EXECUTABLE.get_or_init(|| built("sprites-cli", "sprite"))
}

fn built(package: &str, program: &str) -> PathBuf {
    // <target>/<profile>/{deps,examples}/<this>
    let own = std::env::current_exe().expect("this process has a file");
    let profile = own.ancestors().nth(2).expect("cargo's folders are that deep").to_owned();
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "-q", "-p", package]);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let done = cargo.status().expect("cargo can be run");
    assert!(done.success(), "{package} does not build");
    profile.join(program)
}

/// See the module.
pub struct Home {
    dir: tempfile::TempDir,
    paths: Paths,
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Home {
    /// An installation with the test image and nothing else.
    pub fn new() -> Self {
        let home = Self::empty();
        let images = std::env::var_os(IMAGES).unwrap_or_else(|| {
            panic!("{IMAGES} names no folder of images; `cargo xtask test` builds one and sets it")
        });
        std::os::unix::fs::symlink(images, home.paths.images()).expect("the images can be linked");
        home
    }

    /// An installation without any image.
    pub fn empty() -> Self {
        // Socket paths are short by nature, so the folder is not deep.
        let dir = tempfile::Builder::new().prefix("sprites-").tempdir().expect("a folder can be made");
        let paths = Paths::under(dir.path());
        paths.prepare().expect("the folders can be made");
        // Nobody is here for the first time.
        std::fs::write(paths.toured(), "").expect("it can be written");
        Self { dir, paths }
    }

    /// Where its things are.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Starts its server, if it does not run.
    pub fn serve(&self) {
        self.serve_with(&[]);
    }

    /// The same with arguments for `sprites-tui serve`.
    pub fn serve_with(&self, arguments: &[&str]) {
        // The server takes the place of its files from the environment, which a test must not change for all others.
        let exe = self.dir.path().join("server");
        let script = format!(
            "#!/bin/sh\n{HOME}='{}' exec '{}' \"$@\" {}\n",
            self.dir.path().display(),
            executable().display(),
            arguments.join(" ")
        );
        fs::write(&exe, script).expect("the script can be written");
        fs::set_permissions(&exe, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("the script can be made executable");
        ensure_local_server(&self.paths, &exe).expect("the server starts");
    }

    /// A client of its server.
    pub fn client(&self) -> Client {
        Client::new(Endpoint::local(&self.paths)).expect("a client can be made")
    }

    /// The executable with this installation as its home.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(executable());
        command.args(arguments).env(HOME, self.dir.path());
        command
    }

    /// The command line with this installation as its home.
    pub fn sprite(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(command_line());
        command.args(arguments).env(HOME, self.dir.path()).current_dir(self.dir.path());
        command.env_remove("SPRITES_API_URL").env_remove("SPRITE_ORG");
        command
    }

    /// The same for a terminal.
    pub fn sprite_in_terminal(&self, arguments: &[&str]) -> CommandBuilder {
        let mut command = CommandBuilder::new(command_line());
        command.args(arguments);
        command.env(HOME, self.dir.path());
        command.cwd(self.dir.path());
        command
    }

    /// The executable with this installation as its home, for a terminal.
    pub fn terminal_command(&self, arguments: &[&str]) -> CommandBuilder {
        let mut command = CommandBuilder::new(executable());
        command.args(arguments);
        command.env(HOME, self.dir.path());
        command.env_remove("NO_COLOR");
        command
    }

    /// Address and token of its server's TCP side.
    pub fn tcp(&self) -> (String, String) {
        let info: serde_json::Value = serde_json::from_slice(
            &fs::read(self.paths.server_info()).expect("the server tells its address"),
        )
        .expect("it is JSON");
        let token = fs::read_to_string(self.paths.token()).expect("there is a token");
        (info["tcp"].as_str().expect("it is a text").to_owned(), token.trim().to_owned())
    }

    /// Process id of its server.
    pub fn server_pid(&self) -> Option<i32> {
        let info: serde_json::Value =
            serde_json::from_slice(&fs::read(self.paths.server_info()).ok()?).ok()?;
        i32::try_from(info["pid"].as_i64()?).ok()
    }

    /// Ends its server in order, and waits until it is gone.
    pub fn end_server(&self) {
        let Some(pid) = self.server_pid() else { return };
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        let give_up = Instant::now() + Duration::from_secs(20);
        while self.server_pid().is_some() && Instant::now() < give_up {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Process ids of its machines.
    pub fn machine_pids(&self) -> Vec<i32> {
        let folders = fs::read_dir(self.paths.run().join("m")).into_iter().flatten().flatten();
        folders
            .filter_map(|entry| fs::read_to_string(entry.path().join("pid")).ok()?.trim().parse().ok())
            .collect()
    }

    /// What server and machines have said, for whoever looks why a test failed.
    fn tell(&self) {
        let machines = fs::read_dir(self.paths.run().join("m")).into_iter().flatten().flatten();
        let logs = machines.flat_map(|entry| {
            ["machine.old", "machine.log", "in/console.old", "in/console.log"]
                .map(|name| entry.path().join(name))
        });
        for path in std::iter::once(self.paths.server_log()).chain(logs) {
            println!(
                "--- {}\n{}",
                path.display(),
                String::from_utf8_lossy(&fs::read(&path).unwrap_or_default())
            );
        }
    }

    /// All processes that have to do with this installation.
    pub fn processes(&self) -> Vec<i32> {
        let place = self.dir.path().to_string_lossy().into_owned();
        let own = format!("{HOME}={place}");
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let pid: i32 = entry.file_name().to_string_lossy().parse().ok()?;
                let holds = |file: &str, text: &str| {
                    fs::read(entry.path().join(file))
                        .is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
                };
                let ours = holds("cmdline", &place) || holds("environ", &own);
                (ours && pid != std::process::id() as i32).then_some(pid)
            })
            .collect()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.tell();
        }
        let give_up = Instant::now() + Duration::from_secs(20);
        loop {
            let left = self.processes();
            for pid in &left {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            if left.is_empty() || Instant::now() > give_up {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
