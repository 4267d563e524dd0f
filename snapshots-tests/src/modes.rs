//! What a program has changed of its terminal and not put back, read from the bytes that it printed.

use std::collections::BTreeSet;

/// Modes of a terminal that a person would be left with.
#[derive(Debug, Default)]
struct Modes {
    /// Private modes that are on.
    on: BTreeSet<u16>,
    /// Keyboard flags that were pushed and not popped: of the usual screen, and of the alternate one (kitty's keyboard protocol has a stack for each).
    keyboard: [usize; 2],
    cursor_hidden: bool,
    /// The cursor has a shape that is not the person's own.
    shape: bool,
}

/// Alternate screens, by their three names.
const ALTERNATE: [u16; 3] = [47, 1047, 1049];

impl Modes {
    fn take(&mut self, parameters: &str, last: char) {
        let screen = usize::from(self.on.iter().any(|mode| ALTERNATE.contains(mode)));
        let number = |text: &str| text.parse::<usize>().unwrap_or(1);
        match (parameters.chars().next(), last) {
            (Some('?'), 'h' | 'l') => {
                for mode in parameters[1..].split(';').filter_map(|mode| mode.parse::<u16>().ok()) {
                    match (mode, last) {
                        (25, _) => self.cursor_hidden = last == 'l',
                        (_, 'h') => drop(self.on.insert(mode)),
                        _ => drop(self.on.remove(&mode)),
                    }
                }
            }
            (Some('>'), 'u') => self.keyboard[screen] += 1,
            (Some('<'), 'u') => {
                let depth = &mut self.keyboard[screen];
                *depth = depth.saturating_sub(number(&parameters[1..]));
            }
            (_, 'q') if parameters.ends_with(' ') => {
                self.shape = !matches!(parameters.trim_end(), "" | "0");
            }
            _ => {}
        }
    }

    fn told(&self) -> Vec<String> {
        let mut told: Vec<String> = self.on.iter().map(|mode| format!("mode {mode} is on")).collect();
        for (screen, depth) in ["usual", "alternate"].into_iter().zip(self.keyboard) {
            if depth > 0 {
                told.push(format!("{depth} keyboard flags are left on the {screen} screen"));
            }
        }
        if self.cursor_hidden {
            told.push("the cursor is hidden".into());
        }
        if self.shape {
            told.push("the cursor has another shape".into());
        }
        told
    }
}

/// What is left of all that was changed; empty when the terminal is as it was.
pub fn left(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut modes = Modes::default();
    for part in text.split("\x1b[").skip(1) {
        let end = part.find(|c: char| ('@'..='~').contains(&c));
        if let Some(end) = end {
            modes.take(&part[..end], part[end..].chars().next().unwrap_or(' '));
        }
    }
    modes.told()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        let all = "\x1b[?1049h\x1b[?1000h\x1b[?25l\x1b[>1u\x1b[=3;1u\x1b[5 q";
        assert_eq!(left(all.as_bytes()).len(), 5);
        let back = "\x1b[<1u\x1b[0 q\x1b[?1000l\x1b[?1049l\x1b[?25h";
        assert_eq!(left(format!("{all}{back}").as_bytes()), Vec::<String>::new());
        // Popped on the other screen, it stays.
        let wrong = format!("{all}\x1b[?1049l\x1b[<1u\x1b[0 q\x1b[?1000l\x1b[?25h");
        assert_eq!(left(wrong.as_bytes()), ["1 keyboard flags are left on the alternate screen"]);
    }
}
