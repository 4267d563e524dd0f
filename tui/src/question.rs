//! Questions to the terminal, whose answers come among the keys that are pressed meanwhile.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// What every terminal answers: when that has come, nothing more does.
const LAST: &[u8] = b"\x1b[c";
/// Most that is read, bytes.
const MAX: usize = 4096;

/// What the terminal said.
#[derive(Debug, Default, PartialEq)]
pub struct Reply {
    /// Its escape sequences, in their order.
    pub sequences: Vec<Vec<u8>>,
    /// Keys that were pressed meanwhile, as far as they are single characters.
    pub keys: Vec<Event>,
}

/// Asks the terminal, which is in raw mode and read by nobody else. Blocks until it has answered, or for `patience`.
pub fn ask(question: &[u8], patience: Duration) -> io::Result<Reply> {
    let mut out = io::stdout();
    out.write_all(&[question, LAST].concat())?;
    out.flush()?;
    let give_up = Instant::now() + patience;
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
    Ok(reply(&bytes))
}

/// Whether the last answer is there: `ESC [ ? … c`.
fn is_over(bytes: &[u8]) -> bool {
    sequences(bytes).iter().any(|part| part.starts_with(b"\x1b[?") && part.ends_with(b"c"))
}

/// The bytes as what they say.
pub(crate) fn reply(bytes: &[u8]) -> Reply {
    let mut reply = Reply::default();
    for part in sequences(bytes) {
        match part {
            [byte] => reply.keys.extend(key(*byte)),
            part => reply.sequences.push(part.to_vec()),
        }
    }
    reply
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_keys() {
        let told = reply(b"q\x1b]11;rgb:ffff/fafa/f0f0\x1b\\\x1b[<0;3;4M\x1b[?62;c\r");
        assert_eq!((told.keys.len(), told.sequences.len()), (2, 3), "{told:?}");
        for (bytes, over) in [
            (&b"\x1b[?62;4c"[..], true),
            (b"\x1b]11;rgb:0/0/0\x1b\\\x1b[?62", false),
            (b"c\x1b[A", false),
            (b"\x1b[?1u", false),
            (b"cu?c\x1b[?6", false),
        ] {
            assert_eq!(is_over(bytes), over);
        }
    }
}
