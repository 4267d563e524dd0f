//! Where things live; the table of `docs/architecture.md` in code.

use directories::BaseDirs;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Environment variable that replaces all three roots by its `data`, `run` and `config` folders.
pub const HOME: &str = "SPRITES_TUI_HOME";

/// Characters of a sprite's id that name its machine's run folder: socket paths are short by nature.
const RUN_ID: usize = 12;

/// Why there is no place to put things.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// This user has no home.
    #[error("this user has no home folder; set {HOME} to a folder of its own")]
    NoHome,
    /// A folder cannot be made.
    #[error("cannot make the folder {path}: {source}")]
    Make {
        /// Which one.
        path: PathBuf,
        /// The host's reason.
        source: io::Error,
    },
    /// The run folder is not safe to use.
    #[error("the folder {path} belongs to another user; remove it or set {HOME}")]
    Foreign {
        /// Which one.
        path: PathBuf,
    },
}

/// All places of one installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    data: PathBuf,
    run: PathBuf,
    config: PathBuf,
}

impl Paths {
    /// The places of this user, by environment and convention.
    pub fn resolve() -> Result<Self, PathError> {
        if let Some(home) = std::env::var_os(HOME).filter(|home| !home.is_empty()) {
            return Ok(Self::under(
                &std::path::absolute(&home)
                    .map_err(|source| PathError::Make { path: home.into(), source })?,
            ));
        }
        let base = BaseDirs::new().ok_or(PathError::NoHome)?;
        let run = match base.runtime_dir() {
            Some(run) => run.join("sprites-tui"),
            None => PathBuf::from(format!("/tmp/sprites-tui-{}", nix::unistd::getuid())),
        };
        Ok(Self {
            data: base.data_dir().join("sprites-tui"),
            run,
            config: base.config_dir().join("sprites-tui"),
        })
    }

    /// All places below one folder.
    pub fn under(home: &Path) -> Self {
        Self { data: home.join("data"), run: home.join("run"), config: home.join("config") }
    }

    /// Makes the roots, for this user only.
    pub fn prepare(&self) -> Result<(), PathError> {
        for path in [&self.data, &self.run, &self.config] {
            let failed = |source| PathError::Make { path: path.clone(), source };
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
            // Below /tmp somebody else may have been there first.
            let found = fs::symlink_metadata(path).map_err(failed)?;
            if !found.is_dir() || found.uid() != nix::unistd::getuid().as_raw() {
                return Err(PathError::Foreign { path: path.clone() });
            }
            if found.mode() & 0o077 != 0 {
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Everything that must last.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Everything that ends with the session.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// What a person writes.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The server's database.
    pub fn database(&self) -> PathBuf {
        self.data.join("server.db")
    }

    /// There when the first steps have been told.
    pub fn toured(&self) -> PathBuf {
        self.data.join("toured")
    }

    /// Which consoles the app showed last.
    pub fn consoles(&self) -> PathBuf {
        self.data.join("consoles.json")
    }

    /// What was copied last where there is no clipboard.
    pub fn copied(&self) -> PathBuf {
        self.data.join("copied.txt")
    }

    /// Base images.
    pub fn images(&self) -> PathBuf {
        self.data.join("images")
    }

    /// All sprites' folders; the root of the disk store.
    pub fn sprites(&self) -> PathBuf {
        self.data.join("sprites")
    }

    /// The folder of one sprite.
    pub fn sprite(&self, id: &str) -> PathBuf {
        self.sprites().join(id)
    }

    /// The disk of one sprite.
    pub fn volume(&self, id: &str) -> PathBuf {
        self.sprite(id).join("volume")
    }

    /// The memory of one sprite while it sleeps on disk, and of its checkpoints that have any.
    pub fn memory(&self, id: &str) -> PathBuf {
        self.sprite(id).join("memory")
    }

    /// The run folder of one sprite's machine.
    pub fn machine(&self, id: &str) -> PathBuf {
        let digits: String =
            id.trim_start_matches("sprite-").chars().filter(char::is_ascii_hexdigit).take(RUN_ID).collect();
        self.run.join("m").join(digits)
    }

    /// The server's socket.
    pub fn server_socket(&self) -> PathBuf {
        self.run.join("server.sock")
    }

    /// Held locked by the one server.
    pub fn server_lock(&self) -> PathBuf {
        self.run.join("server.lock")
    }

    /// Where the server tells its TCP address.
    pub fn server_info(&self) -> PathBuf {
        self.run.join("server.json")
    }

    /// The log of a server that was started on demand.
    pub fn server_log(&self) -> PathBuf {
        self.run.join("server.log")
    }

    /// The bearer token of the local server's TCP address.
    pub fn token(&self) -> PathBuf {
        self.config.join("token")
    }

    /// The app's configuration.
    pub fn config_file(&self) -> PathBuf {
        self.config.join("config.toml")
    }

    /// The user's own themes.
    pub fn themes(&self) -> PathBuf {
        self.config.join("themes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_private_and_run_folders_short() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        paths.prepare().unwrap();
        fs::set_permissions(paths.run(), fs::Permissions::from_mode(0o755)).unwrap();
        paths.prepare().unwrap();
        assert_eq!(fs::metadata(paths.run()).unwrap().mode() & 0o777, 0o700);
        let machine = paths.machine("sprite-0d5c1f0e-7c39-4e0e-9d0a-5a0c2f1b7a11");
        assert!(machine.ends_with("m/0d5c1f0e7c39"), "{}", machine.display());
    }

    #[test]
    fn a_file_in_the_place_of_a_root_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths::under(dir.path());
        std::os::unix::fs::symlink("/tmp", dir.path().join("run")).unwrap();
        assert!(paths.prepare().is_err());
    }
}
