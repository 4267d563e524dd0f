//! `image`: base images by hand.

use super::Outcome;
use clap::Subcommand;
use sprites_backend::paths::Paths;
use sprites_tui::number;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use vmm_image::{Cancel, Config, ImageStore, Progress};

/// Cells of the bar.
const BAR: usize = 30;

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Build a new image; sprites that exist keep theirs
    Build(Build),
    /// Build an image if there is none
    Ensure,
    /// Remove images; sprites made from them keep what they use
    Remove {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// Also the last one, without which no sprite can be made
        #[arg(short, long)]
        force: bool,
    },
    /// List images, newest last
    List {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// Add compilers and headers
    #[arg(long)]
    build_tools: bool,
    /// More Debian packages
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// Files of package sources instead of the host's own
    #[arg(long = "sources", value_name = "FILE")]
    sources: Vec<PathBuf>,
}

impl Image {
    pub(super) fn run(self) -> Outcome {
        let paths = Paths::resolve()?;
        paths.prepare()?;
        let store = ImageStore::open(paths.images())?;
        match self {
            Self::Build(build) => {
                let mut config = Config { build_tools: build.build_tools, ..Config::default() };
                config.packages.extend(build.packages);
                if !build.sources.is_empty() {
                    config.sources = build.sources;
                }
                make(&store, &config)
            }
            Self::Ensure => match store.latest() {
                Ok(_) => Ok(ExitCode::SUCCESS),
                Err(vmm_image::Error::NoImages) => make(&store, &Config::default()),
                Err(error) => Err(error.into()),
            },
            Self::Remove { ids, force } => {
                let all = store.list()?;
                if !force && !all.is_empty() && all.iter().all(|image| ids.contains(&image.info.id)) {
                    let why = "then there is no image any more, and no sprite can be made until `sprites-tui image build` has made another; `--force` removes it all the same";
                    return Err(why.into());
                }
                for id in ids {
                    store.remove(&id)?;
                    println!("{id} is removed.");
                }
                Ok(ExitCode::SUCCESS)
            }
            Self::List { json } => list(&store, json),
        }
    }
}

fn make(store: &ImageStore, config: &Config) -> Outcome {
    let mut bar = Bar { terminal: io::stderr().is_terminal(), last: String::new() };
    let built = store.build(config, |progress| bar.show(&progress), &Cancel::new());
    if built.is_ok() {
        bar.show(&Progress { fraction: 1.0, step: "The base image is ready.".into() });
    }
    bar.end();
    let image = built?;
    println!("{}", image.info.id);
    Ok(ExitCode::SUCCESS)
}

fn list(store: &ImageStore, json: bool) -> Outcome {
    let images = store.list()?;
    if json {
        let all: Vec<_> = images.iter().map(|image| &image.info).collect();
        println!("{}", serde_json::to_string_pretty(&all)?);
        return Ok(ExitCode::SUCCESS);
    }
    if images.is_empty() {
        println!("There is no image yet; `sprites-tui image build` makes one.");
    }
    for image in images {
        println!(
            "{}  Debian {}  kernel {}  {}",
            image.info.id,
            image.info.suite,
            image.info.kernel,
            number::bytes(image.info.stored_bytes)
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Progress on a terminal as a bar, in a pipe as a line for each step.
struct Bar {
    terminal: bool,
    last: String,
}

impl Bar {
    fn show(&mut self, progress: &Progress) {
        let mut out = io::stderr();
        // That nobody can see it is no reason not to build.
        if self.terminal {
            let full = (progress.fraction.clamp(0.0, 1.0) * BAR as f64) as usize;
            let step: String = progress.step.chars().filter(|c| !c.is_control()).collect();
            let line = format!(
                "[{}{}] {:3.0} %  {step}",
                "█".repeat(full),
                "░".repeat(BAR - full),
                progress.fraction * 100.0
            );
            // One that went on in the next row could not be written over.
            let columns = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
            let _ = write!(out, "\r\x1b[K{}", number::cut(&line, columns.saturating_sub(1)));
            let _ = out.flush();
        } else if progress.step != self.last {
            let _ = writeln!(out, "{:3.0} %  {}", progress.fraction * 100.0, progress.step);
            self.last.clone_from(&progress.step);
        }
    }

    fn end(&self) {
        if self.terminal {
            let _ = writeln!(io::stderr());
        }
    }
}
