//! What an image is made of.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What every image holds: the tools a person expects in a computer.
const PACKAGES: &[&str] = &[
    "bash",
    "bash-completion",
    "bzip2",
    "ca-certificates",
    "coreutils",
    "curl",
    "file",
    "git",
    "iproute2",
    "iputils-ping",
    "less",
    "locales",
    "nano",
    "netbase",
    "openssh-client",
    "procps",
    "psmisc",
    "python3",
    "python3-venv",
    "sudo",
    "tzdata",
    "unzip",
    "vim-tiny",
    "xz-utils",
];

/// What [`Config::build_tools`] adds.
const BUILD_TOOLS: &[&str] = &["build-essential", "pkg-config", "python3-dev"];

/// Settings of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Debian release, by code name.
    pub suite: String,
    /// Packages beside the standard ones.
    pub packages: Vec<String>,
    /// Adds a C and C++ compiler, make and Python's headers.
    pub build_tools: bool,
    /// Adds `nested.cpio`: the modules of a machine that runs machines itself. Tests of the monitor need it.
    pub nested: bool,
    /// Size of the root file system in GiB; it is sparse.
    pub size_gib: u64,
    /// Files of package sources in one of apt's two formats. Empty: the host's own when it runs the same release, else
    /// what mmdebstrap takes by itself.
    pub sources: Vec<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            suite: "bookworm".into(),
            packages: Vec::new(),
            build_tools: false,
            nested: false,
            size_gib: 100,
            sources: Vec::new(),
        }
    }
}

impl Config {
    /// Refuses what would not be a release or a package, before any of it reaches a command line.
    pub fn check(&self) -> Result<()> {
        let bad = |setting, why: String| Err(Error::Config { setting, why });
        let word = |text: &str, more: &str| {
            !text.is_empty()
                && text.len() <= 100
                && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c))
        };
        if !word(&self.suite, "-") {
            return bad("suite", format!("{:?} is not the code name of a Debian release", self.suite));
        }
        if let Some(package) = self.packages.iter().find(|package| !word(package, "+-.:")) {
            return bad("packages", format!("{package:?} is not the name of a Debian package"));
        }
        if self.packages.len() > 1000 {
            return bad("packages", "more than 1,000 packages".into());
        }
        if !(4..=16_000).contains(&self.size_gib) {
            return bad("size_gib", format!("{} is not between 4 and 16,000", self.size_gib));
        }
        if let Some(path) = self.sources.iter().find(|path| !path.is_file()) {
            return bad("sources", format!("there is no file {}", path.display()));
        }
        Ok(())
    }

    /// Everything to install, without repetition.
    pub(crate) fn all_packages(&self) -> Vec<&str> {
        let tools: &[&str] = if self.build_tools { BUILD_TOOLS } else { &[] };
        let mut all: Vec<&str> =
            PACKAGES.iter().chain(tools).copied().chain(self.packages.iter().map(String::as_str)).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The source files to hand to mmdebstrap, when there is something better than its own choice.
    pub(crate) fn source_files(&self) -> Vec<PathBuf> {
        if !self.sources.is_empty() {
            return self.sources.clone();
        }
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        if !release.lines().any(|line| line.trim() == format!("VERSION_CODENAME={}", self.suite)) {
            return Vec::new();
        }
        // Only Debian's own files: whatever else the host installs from is none of a sprite's business.
        ["/etc/apt/sources.list", "/etc/apt/sources.list.d/debian.sources"]
            .into_iter()
            .map(PathBuf::from)
            .filter(|path| holds_a_source(path))
            .collect()
    }
}

fn holds_a_source(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| {
        text.lines().map(str::trim).any(|line| line.starts_with("deb ") || line.starts_with("URIs:"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_be_an_option_or_a_path() {
        let with = |packages: &[&str]| Config {
            packages: packages.iter().map(|p| p.to_string()).collect(),
            ..Config::default()
        };
        assert!(with(&["ripgrep", "g++", "libc6:amd64"]).check().is_ok());
        for bad in ["--hook=x", "a b", "", "../x", "a,b", "Ä"] {
            assert!(with(&[bad]).check().is_err(), "{bad:?}");
        }
        assert!(Config { suite: "-x".into(), ..Config::default() }.check().is_err());
        assert!(Config { size_gib: 0, ..Config::default() }.check().is_err());
        assert!(Config { sources: vec!["/nowhere".into()], ..Config::default() }.check().is_err());
    }

    #[test]
    fn packages_are_listed_once() {
        let config =
            Config { packages: vec!["git".into(), "jq".into()], build_tools: true, ..Config::default() };
        let all = config.all_packages();
        assert_eq!(all.iter().filter(|package| **package == "git").count(), 1);
        assert!(all.contains(&"jq") && all.contains(&"build-essential"));
    }
}
