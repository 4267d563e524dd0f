//! The clipboard of the machine that a person sits at.
//!
//! First choice is the terminal itself (OSC 52): it is where the person is, also over ssh. Where a terminal is known to take nothing, and
//! for texts longer than terminals take, a helper of this machine does it; where there is none, the text goes to a file.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest text that terminals are given, bytes: xterm takes so many, others more.
const MAX_BY_TERMINAL: usize = 74_994;
/// How long a helper may take.
const HELPER: Duration = Duration::from_secs(2);

/// Whether a variable is set, and to what.
type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

fn environment(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether the terminal is given this text.
pub fn by_terminal(text: &str) -> bool {
    text.len() <= MAX_BY_TERMINAL && takes(&environment)
}

/// Terminals that do not take text are known by their names; of others most do, and none is harmed.
fn takes(env: Env<'_>) -> bool {
    let is = |name: &str, value: &str| env(name).as_deref() == Some(value);
    // tmux takes it from programs only when it is told to, and has a way of its own.
    let elsewhere = env("TMUX").is_some();
    // GNOME's and its relatives; macOS's own; the kernel's console.
    let deaf = env("VTE_VERSION").is_some() || is("TERM_PROGRAM", "Apple_Terminal") || is("TERM", "linux");
    !elsewhere && !deaf
}

/// Copies without the terminal; gives the way it took, for a sentence. Blocks, for two seconds at most.
pub fn elsewhere(text: &str, file: &Path) -> Result<String, String> {
    for helper in helpers(&environment) {
        if run(helper, text).is_ok() {
            return Ok(format!("with {}", helper[0]));
        }
    }
    let write = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(text.as_bytes())
    };
    match write() {
        Ok(()) => Ok(format!("to the file {}, because nothing here has a clipboard", file.display())),
        Err(error) => {
            Err(format!("Nothing here has a clipboard, and {} cannot be written: {error}.", file.display()))
        }
    }
}

/// Helpers in the order they are tried. Over ssh those of this machine would copy where nobody sits.
fn helpers(env: Env<'_>) -> Vec<&'static [&'static str]> {
    let has = |name: &str| env(name).is_some();
    let mut helpers: Vec<&[&str]> = Vec::new();
    if has("TMUX") {
        helpers.push(&["tmux", "load-buffer", "-w", "-"]);
    }
    if has("SSH_CONNECTION") || has("SSH_TTY") {
        return helpers;
    }
    if cfg!(target_os = "macos") {
        helpers.push(&["pbcopy"]);
    }
    if has("WAYLAND_DISPLAY") {
        helpers.push(&["wl-copy"]);
    }
    if has("DISPLAY") {
        helpers.push(&["xclip", "-selection", "clipboard"]);
        helpers.push(&["xsel", "--input", "--clipboard"]);
    }
    if has("WSL_DISTRO_NAME") {
        helpers.push(&["clip.exe"]);
    }
    helpers
}

fn run(helper: &[&str], text: &str) -> io::Result<()> {
    let mut command = Command::new(helper[0]);
    command.args(&helper[1..]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn()?;
    let Some(mut input) = child.stdin.take() else { return Err(io::Error::other("no input")) };
    let text = text.to_owned();
    // One that does not read must not hold us.
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let give_up = Instant::now() + HELPER;
    loop {
        if let Some(status) = child.try_wait()? {
            let written = writer.join().unwrap_or_else(|_| Err(io::Error::other("it was not written")));
            return if status.success() { written } else { Err(io::Error::other("it failed")) };
        }
        if Instant::now() >= give_up {
            let _ = child.kill();
            let _ = child.wait();
            let _ = writer.join();
            return Err(io::Error::other("it did not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What was copied, for a sentence.
pub fn amount(text: &str) -> String {
    match text.trim_end_matches('\n').lines().count() {
        0 | 1 => match text.trim_end_matches('\n').chars().count() {
            1 => "1 character".to_owned(),
            count => format!("{count} characters"),
        },
        lines => format!("{lines} lines"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(set: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<String> {
        move |name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn the_terminal_comes_first_also_over_ssh() {
        assert!(takes(&with(&[("TERM", "xterm-256color")])));
        assert!(takes(&with(&[("SSH_CONNECTION", "x"), ("TERM", "xterm-kitty")])));
        assert!(!takes(&with(&[("VTE_VERSION", "7200")])));
        assert!(!takes(&with(&[("TERM", "linux")])));
        assert!(!takes(&with(&[("TMUX", "/tmp/x")])));
    }

    #[test]
    fn helpers_are_those_of_the_machine_one_sits_at() {
        let names = |set| helpers(&with(set)).iter().map(|helper| helper[0]).collect::<Vec<_>>();
        assert_eq!(names(&[("SSH_TTY", "x"), ("DISPLAY", ":0")]), Vec::<&str>::new());
        assert_eq!(names(&[("TMUX", "x"), ("SSH_TTY", "x")]), ["tmux"]);
        let local = names(&[("WAYLAND_DISPLAY", "w"), ("DISPLAY", ":0")]);
        assert!(local.ends_with(&["wl-copy", "xclip", "xsel"]), "{local:?}");
    }

    #[test]
    fn a_helper_gets_the_text_and_its_time() {
        assert!(run(&["sh", "-c", "test \"$(cat)\" = hello"], "hello").is_ok());
        assert!(run(&["false"], "hello").is_err());
        assert!(run(&["/nonexistent/helper"], "hello").is_err());
        let begin = Instant::now();
        assert!(run(&["sleep", "60"], &"x".repeat(1 << 20)).is_err());
        assert!(begin.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn amounts() {
        assert_eq!(amount("x"), "1 character");
        assert_eq!(amount("x漢\n"), "2 characters");
        assert_eq!(amount("x\ny\n"), "2 lines");
    }
}
