//! The few commands that the demo's consoles know: a line editor and a shell, as bytes in and bytes out.

use std::collections::BTreeMap;

/// A sprite's files, by path below its home.
pub type Files = BTreeMap<String, String>;

/// Longest line, bytes.
const MAX_LINE: usize = 500;
/// Most files of a sprite, and bytes of one.
const MAX_FILES: usize = 100;
const MAX_FILE: usize = 10_000;

/// What the commands tell about.
pub struct Around<'a> {
    pub name: &'a str,
    pub files: &'a mut Files,
    pub processes: Vec<String>,
    pub memory: u64,
}

/// One shell.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    line: String,
    history: Vec<String>,
    /// Of an escape sequence that is being typed.
    escape: bool,
}

/// What comes of keys.
#[derive(Debug, Default)]
pub struct Said {
    pub bytes: Vec<u8>,
    pub ended: bool,
}

impl Said {
    fn say(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.replace('\n', "\r\n").as_bytes());
    }
}

/// What is said first.
pub fn greeting(name: &str) -> String {
    format!(
        "\x1b[1;33mThis is a demo.\x1b[0m {name} is not there; `help` tells what this shell can do.\r\n{}",
        prompt(name)
    )
}

fn prompt(name: &str) -> String {
    format!("\x1b[32msprite@{name}\x1b[0m:\x1b[34m~\x1b[0m$ ")
}

impl Shell {
    /// Takes what is typed.
    pub fn typed(&mut self, bytes: &[u8], around: &mut Around<'_>) -> Said {
        let mut said = Said::default();
        for c in String::from_utf8_lossy(bytes).chars() {
            if self.escape {
                // Of keys such as the arrows nothing is made.
                self.escape = !c.is_ascii_alphabetic() && c != '~';
                continue;
            }
            match c {
                '\x1b' => self.escape = true,
                '\r' | '\n' => {
                    said.say("\n");
                    let line = std::mem::take(&mut self.line);
                    if !line.trim().is_empty() {
                        self.history.push(line.clone());
                    }
                    if self.run(line.trim(), around, &mut said) {
                        said.ended = true;
                        return said;
                    }
                    said.say(&prompt(around.name));
                }
                '\x7f' | '\x08' if self.line.pop().is_some() => said.say("\x08 \x08"),
                '\x03' => {
                    self.line.clear();
                    said.say(&format!("^C\n{}", prompt(around.name)));
                }
                '\x04' if self.line.is_empty() => {
                    said.say("exit\n");
                    said.ended = true;
                    return said;
                }
                '\x0c' => said.say(&format!("\x1b[2J\x1b[H{}{}", prompt(around.name), self.line)),
                c if !c.is_control() && self.line.len() < MAX_LINE => {
                    self.line.push(c);
                    said.say(&c.to_string());
                }
                _ => {}
            }
        }
        said
    }

    /// Runs a line; true when that ends the shell.
    fn run(&mut self, line: &str, around: &mut Around<'_>, said: &mut Said) -> bool {
        let (line, target) = match line.split_once('>') {
            Some((line, file)) => (line.trim(), Some(file.trim_start_matches('>').trim())),
            None => (line, None),
        };
        let words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches(['"', '\''])).collect();
        let Some((command, rest)) = words.split_first() else { return false };
        let out = match *command {
            "exit" | "logout" => return true,
            "clear" => "\x1b[2J\x1b[H".to_owned(),
            "help" => HELP.to_owned(),
            "echo" => format!("{}\n", rest.join(" ")),
            "pwd" => "/home/sprite\n".to_owned(),
            "whoami" => "sprite\n".to_owned(),
            "hostname" => format!("{}\n", around.name),
            "uname" => "Linux (a demo; nothing runs)\n".to_owned(),
            "date" => format!(
                "{}\n",
                sprites_api::Time::now()
                    .timestamp()
                    .to_zoned(jiff::tz::TimeZone::UTC)
                    .strftime("%a %b %e %H:%M:%S %Z %Y")
            ),
            "history" => {
                self.history.iter().enumerate().map(|(n, line)| format!("{:5}  {line}\n", n + 1)).collect()
            }
            "free" => format!("memory used: {} MB (made up)\n", around.memory / 1_000_000),
            "ps" => around.processes.iter().map(|line| format!("{line}\n")).collect(),
            "ls" => around.files.iter().map(|(name, text)| format!("{:>6} {name}\n", text.len())).collect(),
            "cat" => rest
                .iter()
                .map(|name| {
                    around.files.get(*name).cloned().unwrap_or_else(|| format!("cat: {name}: no such file\n"))
                })
                .collect(),
            "touch" => {
                rest.iter().for_each(|name| write(around.files, name, String::new()));
                String::new()
            }
            "rm" => {
                let mut gone = |name: &&str| around.files.remove(*name).is_none();
                rest.iter()
                    .filter(|name| gone(name))
                    .map(|name| format!("rm: {name}: no such file\n"))
                    .collect()
            }
            "seq" => {
                let count: u32 = rest.first().and_then(|word| word.parse().ok()).unwrap_or(0);
                (1..=count.min(5000)).map(|n| format!("{n}\n")).collect()
            }
            other => format!("{other}: this demo's shell does not know that; `help` tells what it does\n"),
        };
        match target.filter(|name| !name.is_empty()) {
            Some(name) => write(around.files, name, out),
            None => said.say(&out),
        }
        false
    }
}

pub fn write(files: &mut Files, name: &str, mut text: String) {
    if files.len() < MAX_FILES || files.contains_key(name) {
        text.truncate(text.floor_char_boundary(MAX_FILE));
        files.insert(name.to_owned(), text);
    }
}

const HELP: &str = "\
ls, cat FILE, touch FILE, rm FILE, echo TEXT > FILE   files; a checkpoint keeps them
ps, free, date, whoami, hostname, uname, pwd           about this sprite
seq N, history, clear, exit
Try: rm notes.txt, leave by the key in the frame, and restore a checkpoint.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session() {
        let mut files = Files::from([("a.txt".to_owned(), "one\n".to_owned())]);
        let mut shell = Shell::default();
        let mut run = |typed: &str| {
            let mut around = Around { name: "box", files: &mut files, processes: Vec::new(), memory: 0 };
            let said = shell.typed(typed.as_bytes(), &mut around);
            (String::from_utf8(said.bytes).unwrap(), said.ended)
        };
        assert!(run("cat a.txtx\x7f\r").0.contains("one\r\n"));
        assert!(run("echo \"two three\" > b\rls\r").0.contains("10 b\r\n"));
        assert!(run("rm a.txt\rcat a.txt\r").0.contains("no such file"));
        assert!(run("\x1b[Anope\r").0.contains("nope: this demo"));
        assert!(!run("exi\x03").1 && run("exit\r").1);
    }
}
