//! `sprite-console`: the login shell that a person wants who opens a console.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Where shells are looked for.
const PLACES: [&str; 3] = ["/usr/local/bin", "/usr/bin", "/bin"];
/// Shells that may be asked for by `$SHELL`, whose value is of another computer.
const SHELLS: [&str; 6] = ["bash", "zsh", "fish", "tcsh", "ksh", "sh"];
/// Where descriptions of terminals are.
const TERMINALS: [&str; 4] = ["/etc/terminfo", "/lib/terminfo", "/usr/lib/terminfo", "/usr/share/terminfo"];

/// Becomes that shell. Returns only if there is none.
pub(super) fn run() -> ExitCode {
    let wanted = std::env::var("SHELL").unwrap_or_default();
    let wanted = Path::new(&wanted).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let first = SHELLS.iter().copied().filter(|shell| *shell == wanted);
    for shell in first.chain(["bash", "sh"]) {
        for place in PLACES {
            let path = Path::new(place).join(shell);
            if !path.exists() {
                continue;
            }
            let mut command = Command::new(&path);
            // A name that begins with a dash makes it a login shell, whichever it is.
            command.arg0(format!("-{shell}")).env("SHELL", &path);
            if !is_known(&std::env::var("TERM").unwrap_or_default()) {
                command.env("TERM", "xterm-256color");
            }
            let error = command.exec();
            eprintln!("sprite-console: {} does not start: {error}", path.display());
        }
    }
    eprintln!("sprite-console: there is no shell in this sprite");
    ExitCode::from(127)
}

fn is_known(terminal: &str) -> bool {
    let Some(first) = terminal.chars().next().filter(|first| first.is_ascii_alphanumeric()) else {
        return false;
    };
    if terminal.contains('/') {
        return false;
    }
    TERMINALS.iter().any(|place| Path::new(place).join(first.to_string()).join(terminal).exists())
}
