//! `disk`: looking after disks of sprites that do not run.

use super::Outcome;
use clap::{Subcommand, ValueEnum};
use sprites_backend::paths::Paths;
use sprites_backend::stored_disks;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vmm_disk::CURRENT;

#[derive(Debug, Subcommand)]
pub(super) enum Disk {
    /// Look over disks: all of them, or those of the named sprites
    Check {
        /// Names or ids of sprites, or folders of disks
        sprites: Vec<String>,
        /// Tidy up what can be tidied
        #[arg(long)]
        repair: bool,
    },
    /// Write a disk into one file that other programs open
    Export {
        /// Name or id of a sprite, or folder of a disk
        sprite: String,
        /// The file; it must not exist
        to: PathBuf,
        /// Which state of it
        #[arg(long, default_value = CURRENT)]
        checkpoint: String,
        /// In which form
        #[arg(long, value_enum, default_value = "qcow2")]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// Bytes in their places, with holes
    Raw,
    /// QEMU's own
    Qcow2,
}

impl Disk {
    pub(super) fn run(self) -> Outcome {
        let paths = Paths::resolve()?;
        match self {
            Self::Check { sprites, repair } => check(&paths, &sprites, repair),
            Self::Export { sprite, to, checkpoint, format } => {
                let dir = find(&paths, &sprite)?;
                let format = match format {
                    Format::Raw => vmm_disk::Format::Raw,
                    Format::Qcow2 => vmm_disk::Format::Qcow2,
                };
                let shown = io::stderr().is_terminal();
                vmm_disk::export(&dir, &checkpoint, &to, format, |done, all| {
                    if shown {
                        let _ = write!(io::stderr(), "\r{:3} %", done * 100 / all.max(1));
                    }
                })?;
                if shown {
                    let _ = writeln!(io::stderr());
                }
                println!("{}", to.display());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

fn check(paths: &Paths, sprites: &[String], repair: bool) -> Outcome {
    let chosen: Vec<(String, PathBuf)> = if sprites.is_empty() {
        stored_disks(paths).into_iter().map(|sprite| (sprite.name, sprite.volume)).collect()
    } else {
        sprites.iter().map(|name| Ok((name.clone(), find(paths, name)?))).collect::<Result<_, String>>()?
    };
    let mut clean = true;
    let mut passed = 0;
    for (name, dir) in chosen {
        match vmm_disk::check(&dir, repair) {
            Ok(report) => {
                let word = if report.is_clean() { "clean" } else { "DAMAGED" };
                println!("{name}: {word}, {} layers, {} checkpoints", report.layers, report.checkpoints);
                report.problems.iter().for_each(|line| println!("  problem: {line}"));
                report.notes.iter().for_each(|line| println!("  note: {line}; the next start tidies it up"));
                report.repaired.iter().for_each(|line| println!("  repaired: {line}"));
                clean &= report.is_clean();
            }
            Err(vmm_disk::Error::InUse(_)) => {
                println!("{name}: not checked, because it runs");
                // Only who asked for this one is told that it failed.
                clean &= sprites.is_empty();
                passed += 1;
            }
            Err(error) => {
                println!("{name}: {error}");
                clean = false;
            }
        }
    }
    if passed > 0 {
        println!("Disks are checked at rest: stop a sprite (z in the app), then check it.");
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn find(paths: &Paths, wanted: &str) -> Result<PathBuf, String> {
    if wanted.contains('/') && Path::new(wanted).is_dir() {
        return Ok(wanted.into());
    }
    let known = stored_disks(paths).into_iter().find(|sprite| sprite.name == wanted || sprite.id == wanted);
    known.map(|sprite| sprite.volume).ok_or_else(|| format!("there is no sprite {wanted:?} on this machine"))
}
