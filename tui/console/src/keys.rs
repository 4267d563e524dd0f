//! Keys as bytes.
//!
//! Two languages: the one of xterm ("XTerm Control Sequences", sections "PC-Style Function Keys" and "Alt and Meta Keys"), and the kitty
//! keyboard protocol for programs that ask for it. Of the latter the flags *disambiguate* (1), *report all keys* (8), *report text*
//! (16), and, where the terminal around us tells it, *report releases* (2) are spoken; `keyboard` masks the others, so that a program
//! that asks is told the truth.

use alacritty_terminal::term::TermMode;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyEventState, KeyModifiers};

const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// The bytes for `key` under `mode`; empty for keys that have none (media keys, modifiers alone, releases).
pub(crate) fn encode(key: KeyEvent, mode: TermMode) -> Vec<u8> {
    let all = mode.contains(TermMode::REPORT_ALL_KEYS_AS_ESC);
    let kitty = mode.intersects(TermMode::KITTY_KEYBOARD_PROTOCOL);
    if mode.contains(TermMode::REPORT_EVENT_TYPES) && key.kind != KeyEventKind::Press {
        return encode_event(key, mode);
    }
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    if kitty && let Some((number, modifiers)) = kitty_number(key, all) {
        let text = all && mode.contains(TermMode::REPORT_ASSOCIATED_TEXT);
        return sequence_u(number, modifiers, text.then(|| text_of(key)).flatten());
    }
    encode_xterm(key, mode, kitty)
}

/// A key that is held or let go, for programs that want to know: the sequence of its press, with the kind of event behind its modifiers.
fn encode_event(key: KeyEvent, mode: TermMode) -> Vec<u8> {
    let all = mode.contains(TermMode::REPORT_ALL_KEYS_AS_ESC);
    let release = key.kind == KeyEventKind::Release;
    let plain = matches!(key.code, KeyCode::Enter | KeyCode::Tab | KeyCode::Backspace | KeyCode::Char(_))
        && kitty_number(key, all).is_none();
    let pressed = KeyEvent { kind: KeyEventKind::Press, ..key };
    if plain {
        // Their presses are text, so that their releases are nothing.
        return if release { Vec::new() } else { encode_xterm(pressed, mode, true) };
    }
    let press = match kitty_number(key, all) {
        Some((number, modifiers)) => sequence_u(number, modifiers, None),
        None => encode_xterm(pressed, mode, true),
    };
    with_kind(&press, if release { 3 } else { 2 })
}

/// Puts the kind of event into a sequence `ESC [ number ; modifiers last`, whose parts may be missing, or `ESC O last`.
fn with_kind(press: &[u8], kind: u8) -> Vec<u8> {
    let [ESCAPE, b'[' | b'O', parameters @ .., last] = press else { return Vec::new() };
    let parameters = String::from_utf8_lossy(parameters);
    let (number, modifiers) = parameters.split_once(';').unwrap_or((&parameters, "1"));
    let number = if number.is_empty() { "1" } else { number };
    format!("\x1b[{number};{modifiers}:{kind}{}", char::from(*last)).into_bytes()
}

/// The character a key stands for, as a program is told it.
fn text_of(key: KeyEvent) -> Option<char> {
    let typed = (key.modifiers - KeyModifiers::SHIFT).is_empty();
    match key.code {
        KeyCode::Char(c) if typed && key.modifiers.contains(KeyModifiers::SHIFT) => Some(single_uppercase(c)),
        KeyCode::Char(c) if typed => Some(c),
        _ => None,
    }
}

/// Number and modifiers of keys the kitty protocol encodes its own way. `None`: the key is as in xterm.
fn kitty_number(key: KeyEvent, all: bool) -> Option<(u32, KeyModifiers)> {
    let modified = !(key.modifiers - KeyModifiers::SHIFT).is_empty();
    let number = match key.code {
        KeyCode::Esc => 27,
        KeyCode::Enter if all || !key.modifiers.is_empty() => 13,
        KeyCode::Tab if all || !key.modifiers.is_empty() => 9,
        KeyCode::BackTab => 9,
        KeyCode::Backspace if all || !key.modifiers.is_empty() => 127,
        // The number of a key is that of its character without shift. For letters that is known; for others what we got is the best.
        KeyCode::Char(character) if all || modified => {
            character.to_lowercase().next().unwrap_or(character) as u32
        }
        KeyCode::F(number @ 13..=35) => 57376 + u32::from(number) - 13,
        KeyCode::CapsLock if all => 57358,
        KeyCode::Menu => 57363,
        _ => return None,
    };
    let mut modifiers = key.modifiers;
    let shifted_letter = matches!(key.code, KeyCode::Char(character) if character.is_uppercase());
    if key.code == KeyCode::BackTab || shifted_letter {
        modifiers |= KeyModifiers::SHIFT;
    }
    Some((number, modifiers))
}

/// `CSI number ; modifiers ; text u`
fn sequence_u(number: u32, modifiers: KeyModifiers, text: Option<char>) -> Vec<u8> {
    match (modifier_value(modifiers), text) {
        (1, None) => format!("\x1b[{number}u"),
        (value, None) => format!("\x1b[{number};{value}u"),
        (1, Some(text)) => format!("\x1b[{number};;{}u", text as u32),
        (value, Some(text)) => format!("\x1b[{number};{value};{}u", text as u32),
    }
    .into_bytes()
}

fn encode_xterm(key: KeyEvent, mode: TermMode, kitty: bool) -> Vec<u8> {
    let modifiers = key.modifiers;
    let control = modifiers.contains(KeyModifiers::CONTROL);
    let on_keypad = key.state.contains(KeyEventState::KEYPAD);
    if on_keypad
        && mode.contains(TermMode::APP_KEYPAD)
        && modifiers.is_empty()
        && let Some(last) = keypad_final(key.code)
    {
        return vec![ESCAPE, b'O', last];
    }
    match key.code {
        KeyCode::Char(character) => encode_character(character, modifiers),
        KeyCode::Enter if mode.contains(TermMode::LINE_FEED_NEW_LINE) => with_alt(b"\r\n", modifiers),
        KeyCode::Enter => with_alt(b"\r", modifiers),
        KeyCode::Tab => with_alt(b"\t", modifiers),
        KeyCode::BackTab => with_alt(b"\x1b[Z", modifiers),
        KeyCode::Backspace => with_alt(if control { b"\x08" } else { &[DELETE] }, modifiers),
        KeyCode::Esc => with_alt(&[ESCAPE], modifiers),
        KeyCode::Null => with_alt(&[0], modifiers),
        // In the kitty protocol these keep their CSI form also when the program asked for application cursor keys.
        KeyCode::Up => cursor_key(b'A', modifiers, mode, kitty),
        KeyCode::Down => cursor_key(b'B', modifiers, mode, kitty),
        KeyCode::Right => cursor_key(b'C', modifiers, mode, kitty),
        KeyCode::Left => cursor_key(b'D', modifiers, mode, kitty),
        KeyCode::KeypadBegin => cursor_key(b'E', modifiers, mode, kitty),
        KeyCode::End => cursor_key(b'F', modifiers, mode, kitty),
        KeyCode::Home => cursor_key(b'H', modifiers, mode, kitty),
        KeyCode::Insert => numbered_key(2, modifiers),
        KeyCode::Delete => numbered_key(3, modifiers),
        KeyCode::PageUp => numbered_key(5, modifiers),
        KeyCode::PageDown => numbered_key(6, modifiers),
        // The kitty protocol gave F3 a number, because `CSI R` is also a cursor position report.
        KeyCode::F(3) if kitty => numbered_key(13, modifiers),
        KeyCode::F(number @ 1..=4) => {
            let last = b'P' + number - 1;
            match modifier_value(modifiers) {
                1 => vec![ESCAPE, b'O', last],
                value => format!("\x1b[1;{value}{}", char::from(last)).into_bytes(),
            }
        }
        KeyCode::F(number) => match function_number(number) {
            Some(number) => numbered_key(number, modifiers),
            None => Vec::new(),
        },
        KeyCode::Menu => numbered_key(29, modifiers),
        KeyCode::CapsLock
        | KeyCode::ScrollLock
        | KeyCode::NumLock
        | KeyCode::PrintScreen
        | KeyCode::Pause
        | KeyCode::Media(_)
        | KeyCode::Modifier(_) => Vec::new(),
    }
}

fn encode_character(character: char, modifiers: KeyModifiers) -> Vec<u8> {
    if modifiers.contains(KeyModifiers::CONTROL)
        && let Some(control) = control_character(character)
    {
        return with_alt(&[control], modifiers);
    }
    // Some terminals send a shifted letter as the small one with a modifier.
    let character =
        if modifiers.contains(KeyModifiers::SHIFT) { single_uppercase(character) } else { character };
    let mut buffer = [0; 4];
    with_alt(character.encode_utf8(&mut buffer).as_bytes(), modifiers)
}

fn single_uppercase(character: char) -> char {
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => character, // 'ß' has no single capital here.
    }
}

/// What control makes of a character. The digits are how the keys of the codes 0x1c to 0x1f arrive from crossterm, and how
/// xterm has them on keyboards without those signs.
fn control_character(character: char) -> Option<u8> {
    Some(match character {
        'a'..='z' | 'A'..='Z' => character.to_ascii_lowercase() as u8 - b'a' + 1,
        ' ' | '@' | '2' | '`' => 0x00,
        '[' | '{' | '3' => 0x1b,
        '\\' | '|' | '4' => 0x1c,
        ']' | '}' | '5' => 0x1d,
        '^' | '~' | '6' => 0x1e,
        '_' | '/' | '-' | '7' => 0x1f,
        '?' | '8' => DELETE,
        _ => return None,
    })
}

fn with_alt(bytes: &[u8], modifiers: KeyModifiers) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 1);
    if modifiers.intersects(KeyModifiers::ALT | KeyModifiers::META) {
        out.push(ESCAPE);
    }
    out.extend_from_slice(bytes);
    out
}

fn cursor_key(last: u8, modifiers: KeyModifiers, mode: TermMode, kitty: bool) -> Vec<u8> {
    match modifier_value(modifiers) {
        1 if mode.contains(TermMode::APP_CURSOR) && !kitty => vec![ESCAPE, b'O', last],
        1 => vec![ESCAPE, b'[', last],
        value => format!("\x1b[1;{value}{}", char::from(last)).into_bytes(),
    }
}

fn numbered_key(number: u8, modifiers: KeyModifiers) -> Vec<u8> {
    match modifier_value(modifiers) {
        1 => format!("\x1b[{number}~").into_bytes(),
        value => format!("\x1b[{number};{value}~").into_bytes(),
    }
}

/// xterm's number of a function key. The gaps are those of the VT220's keyboard.
fn function_number(key: u8) -> Option<u8> {
    Some(match key {
        1..=5 => key + 10,
        6..=10 => key + 11,
        11..=14 => key + 12,
        15..=16 => key + 13,
        17..=20 => key + 14,
        _ => return None,
    })
}

/// Keypad keys in application mode: `ESC O` and this.
fn keypad_final(code: KeyCode) -> Option<u8> {
    Some(match code {
        KeyCode::Enter => b'M',
        KeyCode::Char(digit @ '0'..='9') => digit as u8 - b'0' + b'p',
        KeyCode::Char('*') => b'j',
        KeyCode::Char('+') => b'k',
        KeyCode::Char(',') => b'l',
        KeyCode::Char('-') => b'm',
        KeyCode::Char('.') => b'n',
        KeyCode::Char('/') => b'o',
        KeyCode::Char('=') => b'X',
        _ => return None,
    })
}

/// Modifiers as a parameter: one more than the sum of their bits; 1 is none.
fn modifier_value(modifiers: KeyModifiers) -> u8 {
    [
        (KeyModifiers::SHIFT, 1),
        (KeyModifiers::ALT, 2),
        (KeyModifiers::CONTROL, 4),
        (KeyModifiers::SUPER, 8),
        (KeyModifiers::HYPER, 16),
        (KeyModifiers::META, 32),
    ]
    .into_iter()
    .filter(|(modifier, _)| modifiers.contains(*modifier))
    .map(|(_, bit)| bit)
    .sum::<u8>()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: KeyModifiers = KeyModifiers::NONE;
    const SHIFT: KeyModifiers = KeyModifiers::SHIFT;
    const ALT: KeyModifiers = KeyModifiers::ALT;
    const CONTROL: KeyModifiers = KeyModifiers::CONTROL;

    fn sent(code: KeyCode, modifiers: KeyModifiers, mode: TermMode) -> String {
        String::from_utf8(encode(KeyEvent::new(code, modifiers), mode)).unwrap()
    }

    #[test]
    fn xterm_table() {
        let table: &[(KeyCode, KeyModifiers, &str)] = &[
            (KeyCode::Char('a'), NONE, "a"),
            (KeyCode::Char('A'), SHIFT, "A"),
            (KeyCode::Char('a'), SHIFT, "A"),
            (KeyCode::Char('ß'), SHIFT, "ß"),
            (KeyCode::Char('漢'), NONE, "漢"),
            (KeyCode::Char('a'), ALT, "\x1ba"),
            (KeyCode::Char('c'), CONTROL, "\x03"),
            (KeyCode::Char('C'), CONTROL | SHIFT, "\x03"),
            (KeyCode::Char('c'), CONTROL | ALT, "\x1b\x03"),
            (KeyCode::Char(' '), CONTROL, "\0"),
            (KeyCode::Char('4'), CONTROL, "\x1c"),
            (KeyCode::Char('5'), CONTROL, "\x1d"),
            (KeyCode::Char('6'), CONTROL, "\x1e"),
            (KeyCode::Char('7'), CONTROL, "\x1f"),
            (KeyCode::Char('\\'), CONTROL, "\x1c"),
            (KeyCode::Char('1'), CONTROL, "1"),
            (KeyCode::Enter, NONE, "\r"),
            (KeyCode::Enter, ALT, "\x1b\r"),
            (KeyCode::Tab, NONE, "\t"),
            (KeyCode::BackTab, SHIFT, "\x1b[Z"),
            (KeyCode::Backspace, NONE, "\x7f"),
            (KeyCode::Backspace, CONTROL, "\x08"),
            (KeyCode::Backspace, ALT, "\x1b\x7f"),
            (KeyCode::Esc, NONE, "\x1b"),
            (KeyCode::Esc, ALT, "\x1b\x1b"),
            (KeyCode::Up, NONE, "\x1b[A"),
            (KeyCode::Down, SHIFT, "\x1b[1;2B"),
            (KeyCode::Right, CONTROL, "\x1b[1;5C"),
            (KeyCode::Left, CONTROL | ALT | SHIFT, "\x1b[1;8D"),
            (KeyCode::Home, NONE, "\x1b[H"),
            (KeyCode::End, CONTROL, "\x1b[1;5F"),
            (KeyCode::Insert, NONE, "\x1b[2~"),
            (KeyCode::Delete, CONTROL, "\x1b[3;5~"),
            (KeyCode::PageUp, SHIFT, "\x1b[5;2~"),
            (KeyCode::PageDown, NONE, "\x1b[6~"),
            (KeyCode::F(1), NONE, "\x1bOP"),
            (KeyCode::F(4), NONE, "\x1bOS"),
            (KeyCode::F(3), SHIFT, "\x1b[1;2R"),
            (KeyCode::F(5), NONE, "\x1b[15~"),
            (KeyCode::F(6), NONE, "\x1b[17~"),
            (KeyCode::F(10), NONE, "\x1b[21~"),
            (KeyCode::F(11), NONE, "\x1b[23~"),
            (KeyCode::F(12), CONTROL, "\x1b[24;5~"),
            (KeyCode::F(13), NONE, "\x1b[25~"),
            (KeyCode::F(14), NONE, "\x1b[26~"),
            (KeyCode::F(15), NONE, "\x1b[28~"),
            (KeyCode::F(16), NONE, "\x1b[29~"),
            (KeyCode::F(17), NONE, "\x1b[31~"),
            (KeyCode::F(20), NONE, "\x1b[34~"),
            (KeyCode::F(21), NONE, ""),
            (KeyCode::CapsLock, NONE, ""),
        ];
        for (code, modifiers, bytes) in table {
            assert_eq!(sent(*code, *modifiers, TermMode::NONE), *bytes, "{code:?} {modifiers:?}");
        }
    }

    #[test]
    fn application_modes() {
        let mode = TermMode::APP_CURSOR | TermMode::APP_KEYPAD;
        assert_eq!(sent(KeyCode::Up, NONE, mode), "\x1bOA");
        assert_eq!(sent(KeyCode::Home, NONE, mode), "\x1bOH");
        assert_eq!(sent(KeyCode::Up, CONTROL, mode), "\x1b[1;5A");
        assert_eq!(sent(KeyCode::Char('5'), NONE, mode), "5");
        let keypad = |code| KeyEvent { state: KeyEventState::KEYPAD, ..KeyEvent::new(code, NONE) };
        assert_eq!(encode(keypad(KeyCode::Char('5')), mode), b"\x1bOu");
        assert_eq!(encode(keypad(KeyCode::Enter), mode), b"\x1bOM");
        assert_eq!(encode(keypad(KeyCode::Char('5')), TermMode::NONE), b"5");
        assert_eq!(sent(KeyCode::Enter, NONE, TermMode::LINE_FEED_NEW_LINE), "\r\n");
    }

    #[test]
    fn releases_are_silent_and_repeats_are_presses() {
        let mut key = KeyEvent::new(KeyCode::Char('a'), NONE);
        key.kind = KeyEventKind::Release;
        assert_eq!(encode(key, TermMode::NONE), b"");
        key.kind = KeyEventKind::Repeat;
        assert_eq!(encode(key, TermMode::NONE), b"a");
    }

    #[test]
    fn kitty_disambiguates() {
        let mode = TermMode::DISAMBIGUATE_ESC_CODES | TermMode::APP_CURSOR;
        let table: &[(KeyCode, KeyModifiers, &str)] = &[
            (KeyCode::Char('a'), NONE, "a"),
            (KeyCode::Char('A'), SHIFT, "A"),
            (KeyCode::Char('i'), CONTROL, "\x1b[105;5u"),
            (KeyCode::Char('A'), CONTROL, "\x1b[97;6u"),
            (KeyCode::Char('a'), ALT, "\x1b[97;3u"),
            (KeyCode::Esc, NONE, "\x1b[27u"),
            (KeyCode::Enter, NONE, "\r"),
            (KeyCode::Enter, SHIFT, "\x1b[13;2u"),
            (KeyCode::Tab, CONTROL, "\x1b[9;5u"),
            (KeyCode::BackTab, SHIFT, "\x1b[9;2u"),
            (KeyCode::Backspace, NONE, "\x7f"),
            (KeyCode::Up, NONE, "\x1b[A"),
            (KeyCode::F(3), NONE, "\x1b[13~"),
            (KeyCode::F(13), NONE, "\x1b[57376u"),
        ];
        for (code, modifiers, bytes) in table {
            assert_eq!(sent(*code, *modifiers, mode), *bytes, "{code:?} {modifiers:?}");
        }
    }

    #[test]
    fn kitty_reports_all_keys() {
        let mode = TermMode::REPORT_ALL_KEYS_AS_ESC;
        assert_eq!(sent(KeyCode::Char('a'), NONE, mode), "\x1b[97u");
        assert_eq!(sent(KeyCode::Char('A'), SHIFT, mode), "\x1b[97;2u");
        assert_eq!(sent(KeyCode::Enter, NONE, mode), "\x1b[13u");
        assert_eq!(sent(KeyCode::Backspace, NONE, mode), "\x1b[127u");
        let mode = mode | TermMode::REPORT_ASSOCIATED_TEXT;
        assert_eq!(sent(KeyCode::Char('a'), NONE, mode), "\x1b[97;;97u");
        assert_eq!(sent(KeyCode::Char('a'), SHIFT, mode), "\x1b[97;2;65u");
        assert_eq!(sent(KeyCode::Char('a'), CONTROL, mode), "\x1b[97;5u");
    }

    #[test]
    fn kitty_reports_releases() {
        let mode = TermMode::DISAMBIGUATE_ESC_CODES | TermMode::REPORT_EVENT_TYPES | TermMode::APP_CURSOR;
        let of = |code, modifiers, kind, mode| {
            String::from_utf8(encode(KeyEvent { kind, ..KeyEvent::new(code, modifiers) }, mode)).unwrap()
        };
        let (held, gone) = (KeyEventKind::Repeat, KeyEventKind::Release);
        assert_eq!(of(KeyCode::Up, NONE, gone, mode), "\x1b[1;1:3A");
        assert_eq!(of(KeyCode::Up, CONTROL, held, mode), "\x1b[1;5:2A");
        assert_eq!(of(KeyCode::F(1), NONE, gone, mode), "\x1b[1;1:3P");
        assert_eq!(of(KeyCode::F(5), NONE, gone, mode), "\x1b[15;1:3~");
        assert_eq!(of(KeyCode::Esc, NONE, gone, mode), "\x1b[27;1:3u");
        assert_eq!(of(KeyCode::Char('a'), CONTROL, held, mode), "\x1b[97;5:2u");
        assert_eq!(of(KeyCode::Char('a'), NONE, gone, mode), "");
        assert_eq!(of(KeyCode::Char('a'), NONE, held, mode), "a");
        assert_eq!(of(KeyCode::Enter, NONE, gone, mode), "");
        let all = mode | TermMode::REPORT_ALL_KEYS_AS_ESC;
        assert_eq!(of(KeyCode::Char('a'), NONE, gone, all), "\x1b[97;1:3u");
        assert_eq!(of(KeyCode::Media(crossterm::event::MediaKeyCode::Play), NONE, gone, all), "");
    }
}
