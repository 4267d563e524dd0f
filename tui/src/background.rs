//! Whether the terminal's background is light. Terminals tell when they are asked (`OSC 11`); that it has changed some tell by themselves
//! (mode 2031), which the library that reads keys takes for the beginning of a key, so that they are asked again when the focus comes back.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// The colour behind everything, then what every terminal tells: when that has come, nothing more does.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\\x1b[c";
/// How long a terminal may take that has answered before. It is not waited for, unless it hangs.
const ASK: Duration = Duration::from_secs(2);
/// Most that is read, bytes.
const MAX: usize = 4096;

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// Whether the background is light; none when that was not told.
    pub light: Option<bool>,
    /// Keys that were pressed meanwhile, as far as they are single characters.
    pub keys: Vec<Event>,
}

/// Asks the terminal, which is in raw mode and read by nobody else.
pub fn ask() -> io::Result<Answer> {
    let mut out = io::stdout();
    out.write_all(QUESTION)?;
    out.flush()?;
    let give_up = Instant::now() + ASK;
    let mut bytes = Vec::new();
    let input = io::stdin();
    let mut chunk = [0; 256];
    while !is_over(&bytes) && bytes.len() < MAX {
        let left = give_up.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(input.as_fd(), PollFlags::POLLIN)];
        let wait = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        if left.is_zero() || poll(&mut fds, wait)? == 0 {
            break;
        }
        // Not by way of the standard library's buffer, which would keep bytes from others.
        let count = nix::unistd::read(input.as_fd(), &mut chunk)?;
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..count]);
    }
    Ok(answer(&bytes))
}

/// Whether the second answer is there.
fn is_over(bytes: &[u8]) -> bool {
    sequences(bytes).iter().any(|part| part.starts_with(b"\x1b[?") && part.ends_with(b"c"))
}

fn answer(bytes: &[u8]) -> Answer {
    let mut told = Answer::default();
    for part in sequences(bytes) {
        if let Some(color) = part.strip_prefix(b"\x1b]11;") {
            told.light = is_light(&String::from_utf8_lossy(color));
        } else if let ([byte], true) = (part, part.len() == 1) {
            told.keys.extend(key(*byte));
        }
    }
    told
}

/// The bytes cut into escape sequences and single bytes.
fn sequences(bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(first) = rest.first() {
        let length = match (first, rest.get(1)) {
            (0x1b, Some(b'[')) => {
                rest.iter().skip(2).position(|byte| (0x40..=0x7e).contains(byte)).map(|at| at + 3)
            }
            (0x1b, Some(b']')) => {
                let bell = rest.iter().position(|byte| *byte == 7).map(|at| at + 1);
                let end = rest.windows(2).skip(2).position(|two| two == b"\x1b\\").map(|at| at + 4);
                match (bell, end) {
                    (Some(bell), Some(end)) => Some(bell.min(end)),
                    (bell, end) => bell.or(end),
                }
            }
            (0x1b, Some(_)) => Some(2),
            _ => Some(1),
        };
        let (part, left) = rest.split_at(length.unwrap_or(rest.len()).min(rest.len()));
        parts.push(part);
        rest = left;
    }
    parts
}

fn key(byte: u8) -> Option<Event> {
    let (code, modifiers) = match byte {
        b'\r' => (KeyCode::Enter, KeyModifiers::NONE),
        b'\t' => (KeyCode::Tab, KeyModifiers::NONE),
        0x7f => (KeyCode::Backspace, KeyModifiers::NONE),
        1..=26 => (KeyCode::Char((byte - 1 + b'a') as char), KeyModifiers::CONTROL),
        b' '..=b'~' => (KeyCode::Char(byte as char), KeyModifiers::NONE),
        _ => return None,
    };
    Some(Event::Key(KeyEvent::new(code, modifiers)))
}

/// Reads `rgb:RRRR/GGGG/BBBB`, each of one to four digits.
fn is_light(text: &str) -> Option<bool> {
    let channels = text.trim_end_matches(['\u{7}', '\\', '\u{1b}']).split_once(':')?.1;
    let channels: Option<Vec<f64>> = channels
        .split('/')
        .take(3)
        .map(|digits| {
            let most = 16_u32
                .checked_pow(u32::try_from(digits.len()).ok()?)?
                .checked_sub(1)
                .filter(|most| *most > 0)?;
            Some(f64::from(u32::from_str_radix(digits, 16).ok()?) / f64::from(most))
        })
        .collect();
    let [red, green, blue] = channels?[..] else { return None };
    // As bright as the eye finds it (ITU-R BT.709).
    Some(0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_among_keys() {
        let told = answer(b"q\x1b]11;rgb:ffff/fafa/f0f0\x1b\\\x1b[<0;3;4M\x1b[?62;c\r");
        assert_eq!(told.light, Some(true));
        assert_eq!(told.keys.len(), 2, "{told:?}");
        assert_eq!(answer(b"\x1b]11;rgb:1e/1e/2e\x07\x1b[?1c").light, Some(false));
        for (bytes, over) in
            [(&b"\x1b[?62;4c"[..], true), (b"\x1b]11;rgb:0/0/0\x1b\\\x1b[?62", false), (b"c\x1b[A", false)]
        {
            assert_eq!(is_over(bytes), over);
        }
        for bad in ["", "x", "rgb:", "rgb:/1/2", "rgb:zz/0/0", "rgb:fffffffff/0/0", "rgb:1/2"] {
            assert_eq!(is_light(bad), None, "{bad}");
        }
    }
}
