//! How far a build is, read from what the tools say.

/// State of a build, for a progress bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// 0 to 1; never falls.
    pub fraction: f64,
    /// What is being done now, for a person.
    pub step: String,
}

/// Where each stage of mmdebstrap begins and what it is called for a person. The shares are those of a measured build.
const STAGES: &[(&str, f64, &str)] = &[
    ("running apt-get update", 0.01, "Reading the package lists"),
    ("downloading packages", 0.10, "Downloading the base system"),
    ("extracting archives", 0.20, "Unpacking the base system"),
    ("installing essential packages", 0.25, "Installing the base system"),
    ("installing remaining packages", 0.42, "Installing the tools"),
    ("running --customize-hook", 0.72, "Fetching the kernel"),
    ("creating tarball", 0.78, "Packing the root file system"),
];

/// Where mmdebstrap's part ends.
pub(crate) const BOOTSTRAP_END: f64 = 0.84;

/// Reads the output of mmdebstrap (`--verbose`) and of the apt and dpkg it runs.
#[derive(Debug)]
pub(crate) struct Reader {
    fraction: f64,
    end: f64,
    step: &'static str,
    expected: f64,
    seen: f64,
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { fraction: 0.0, end: STAGES[0].1, step: "Starting", expected: 1.0, seen: 0.0 }
    }

    /// Takes one line; answers when there is something new to show.
    pub(crate) fn line(&mut self, line: &str) -> Option<Progress> {
        if let Some(words) = line.strip_prefix("I: ") {
            let at = STAGES.iter().position(|(prefix, ..)| words.starts_with(prefix))?;
            let (_, start, step) = STAGES[at];
            self.fraction = self.fraction.max(start);
            self.end = STAGES.get(at + 1).map_or(BOOTSTRAP_END, |next| next.1);
            (self.step, self.seen) = (step, 0.0);
            return Some(self.show(step.into()));
        }
        // apt announces how many packages it will handle; each is then fetched, unpacked and set up in one line each.
        if line.contains(" newly installed") {
            let count = line
                .split(',')
                .find_map(|part| part.trim().strip_suffix(" newly installed")?.parse::<f64>().ok());
            self.expected = (count.unwrap_or(1.0) * 3.0).max(1.0);
            return None;
        }
        let detail =
            ["Get:", "Unpacking ", "Setting up "].iter().find_map(|prefix| line.strip_prefix(prefix))?;
        self.seen += 1.0;
        let left = self.end - self.fraction;
        self.fraction += left * (1.0 / (self.expected - self.seen).max(3.0));
        let package = detail.split_whitespace().next().filter(|_| !line.starts_with("Get:"));
        Some(self.show(match package {
            Some(package) => format!("{}: {package}", self.step),
            None => self.step.into(),
        }))
    }

    fn show(&self, step: String) -> Progress {
        Progress { fraction: self.fraction.clamp(0.0, BOOTSTRAP_END), step }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_through_the_stages_and_never_falls() {
        let mut reader = Reader::new();
        let mut last = 0.0;
        let mut lines = vec!["I: running apt-get update...".to_owned()];
        lines.push("I: installing essential packages...".into());
        lines.push("0 upgraded, 40 newly installed, 0 to remove and 0 not upgraded.".into());
        lines.extend((0..120).map(|n| format!("Setting up package{n} (1.0) ...")));
        lines.push("I: running apt-get update...".into());
        lines.push("I: creating tarball...".into());
        lines.extend((0..500).map(|n| format!("Unpacking p{n} (1.0) ...")));
        for line in &lines {
            if let Some(progress) = reader.line(line) {
                assert!(
                    progress.fraction >= last && progress.fraction <= BOOTSTRAP_END,
                    "{line}: {progress:?}"
                );
                last = progress.fraction;
            }
        }
        assert!(last > 0.75);
    }

    #[test]
    fn names_the_package() {
        let mut reader = Reader::new();
        reader.line("I: installing remaining packages inside the chroot...");
        let progress = reader.line("Setting up git (1:2.39.5-0+deb12u2) ...").unwrap();
        assert_eq!(progress.step, "Installing the tools: git");
        assert_eq!(reader.line("Reading database ..."), None);
    }
}
