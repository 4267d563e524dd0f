//! Whether the terminal's background is light. Terminals tell when they are asked (`OSC 11`); that it has changed some tell by themselves
//! (mode 2031), which the library that reads keys takes for the beginning of a key, so that they are asked again when the focus comes back.

use crate::question::{self, Reply};
use crossterm::event::Event;
use std::io;
use std::time::Duration;

/// The colour behind everything.
const QUESTION: &[u8] = b"\x1b]11;?\x1b\\";
/// How long a terminal may take that has answered before. It is not waited for, unless it hangs.
const ASK: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Default, PartialEq)]
pub struct Answer {
    /// Whether the background is light; none when that was not told.
    pub light: Option<bool>,
    /// Keys that were pressed meanwhile.
    pub keys: Vec<Event>,
}

/// Asks the terminal, which is in raw mode and read by nobody else.
pub fn ask() -> io::Result<Answer> {
    question::ask(QUESTION, ASK).map(answer)
}

fn answer(reply: Reply) -> Answer {
    let color = |part: &Vec<u8>| is_light(&String::from_utf8_lossy(part.strip_prefix(b"\x1b]11;")?));
    Answer { light: reply.sequences.iter().find_map(color), keys: reply.keys }
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
    fn colours_are_light_or_dark() {
        let light = |bytes: &[u8]| answer(question::reply(bytes)).light;
        assert_eq!(light(b"q\x1b]11;rgb:ffff/fafa/f0f0\x1b\\\x1b[?62;c\r"), Some(true));
        assert_eq!(light(b"\x1b]11;rgb:1e/1e/2e\x07\x1b[?1c"), Some(false));
        assert_eq!(light(b"\x1b[?1c"), None);
        for bad in ["", "x", "rgb:", "rgb:/1/2", "rgb:zz/0/0", "rgb:fffffffff/0/0", "rgb:1/2"] {
            assert_eq!(is_light(bad), None, "{bad}");
        }
    }
}
