//! Mouse events as bytes, in the protocol the program asked for.
//!
//! Source: "XTerm Control Sequences", section "Mouse Tracking": modes 1000 (press and release), 1002 (and dragging), 1003 (and every
//! movement); the encodings legacy, 1005 (UTF-8) and 1006 (SGR); 1007 (the wheel as arrow keys on the alternate screen).

use alacritty_terminal::term::TermMode;
use crossterm::event::{KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::Rect;

/// Lines that one step of the wheel moves a program that knows arrow keys only.
const ARROWS_PER_STEP: usize = 3;
/// Added to each value of the older encodings, so that none is a control character.
const OFFSET: u16 = 32;
/// Highest position (counted from 1) the legacy encoding can carry in its one byte.
const MAX_LEGACY: u16 = 255 - OFFSET;
/// Highest position (counted from 1) the UTF-8 encoding can carry in its two bytes.
const MAX_UTF8: u16 = 2047 - OFFSET;
/// Button value for "no button" (a movement, or a release in the older encodings).
const NO_BUTTON: u8 = 3;
/// Added to the button value when the pointer moved.
const MOTION: u8 = 32;

/// The bytes for `event` under `mode`, or `None` when the program has not asked for such an event. `area` is where the console is
/// drawn, in the coordinates of the event.
pub(crate) fn encode(event: MouseEvent, area: Rect, mode: TermMode) -> Option<Vec<u8>> {
    if area.is_empty() {
        return None;
    }
    let inside = area.contains((event.column, event.row).into());
    if !mode.intersects(TermMode::MOUSE_MODE) {
        return if inside { alternate_scroll(event.kind, mode) } else { None };
    }
    let (button, released) = match event.kind {
        MouseEventKind::Down(button) => (number(button), false),
        MouseEventKind::Up(button) => (number(button), true),
        MouseEventKind::Drag(button) if mode.intersects(TermMode::MOUSE_DRAG | TermMode::MOUSE_MOTION) => {
            (number(button) + MOTION, false)
        }
        MouseEventKind::Moved if mode.contains(TermMode::MOUSE_MOTION) => (NO_BUTTON + MOTION, false),
        MouseEventKind::Drag(_) | MouseEventKind::Moved => return None,
        MouseEventKind::ScrollUp => (64, false),
        MouseEventKind::ScrollDown => (65, false),
        MouseEventKind::ScrollLeft => (66, false),
        MouseEventKind::ScrollRight => (67, false),
    };
    // A button that went down inside may be dragged and let go outside; the program must hear of it, at the nearest place.
    let follows_press = matches!(event.kind, MouseEventKind::Up(_) | MouseEventKind::Drag(_));
    if !inside && !follows_press {
        return None;
    }
    let column = event.column.clamp(area.left(), area.right() - 1) - area.left() + 1;
    let row = event.row.clamp(area.top(), area.bottom() - 1) - area.top() + 1;
    let modifiers = modifier_bits(event.modifiers);

    if mode.contains(TermMode::SGR_MOUSE) {
        let last = if released { 'm' } else { 'M' };
        return Some(format!("\x1b[<{};{column};{row}{last}", button | modifiers).into_bytes());
    }
    let button = if released { NO_BUTTON } else { button };
    let utf8 = mode.contains(TermMode::UTF8_MOUSE);
    let most = if utf8 { MAX_UTF8 } else { MAX_LEGACY };
    if column > most || row > most {
        return None;
    }
    let mut bytes = b"\x1b[M".to_vec();
    // At most 67 | 28 + 32 = 127.
    bytes.push((button | modifiers) + OFFSET as u8);
    for position in [column + OFFSET, row + OFFSET] {
        match u8::try_from(position) {
            Ok(byte) if !utf8 || byte < 128 => bytes.push(byte),
            _ => {
                // Two bytes of UTF-8: 110xxxxx 10xxxxxx; the position is below 2048.
                bytes.push(0xc0 | (position >> 6) as u8);
                bytes.push(0x80 | (position & 0x3f) as u8);
            }
        }
    }
    Some(bytes)
}

/// The wheel as arrow keys, for programs with a screen of their own that do not know a mouse (a pager, say).
fn alternate_scroll(kind: MouseEventKind, mode: TermMode) -> Option<Vec<u8>> {
    if !mode.contains(TermMode::ALT_SCREEN | TermMode::ALTERNATE_SCROLL) {
        return None;
    }
    let last = match kind {
        MouseEventKind::ScrollUp => b'A',
        MouseEventKind::ScrollDown => b'B',
        _ => return None,
    };
    let second = if mode.contains(TermMode::APP_CURSOR) { b'O' } else { b'[' };
    Some([0x1b, second, last].repeat(ARROWS_PER_STEP))
}

fn number(button: MouseButton) -> u8 {
    match button {
        MouseButton::Left => 0,
        MouseButton::Middle => 1,
        MouseButton::Right => 2,
    }
}

fn modifier_bits(modifiers: KeyModifiers) -> u8 {
    [(KeyModifiers::SHIFT, 4), (KeyModifiers::ALT, 8), (KeyModifiers::CONTROL, 16)]
        .into_iter()
        .filter(|(modifier, _)| modifiers.contains(*modifier))
        .map(|(_, bit)| bit)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AREA: Rect = Rect { x: 10, y: 5, width: 400, height: 50 };
    const LEFT: MouseEventKind = MouseEventKind::Down(MouseButton::Left);

    fn at(kind: MouseEventKind, column: u16, row: u16, modifiers: KeyModifiers) -> MouseEvent {
        MouseEvent { kind, column, row, modifiers }
    }

    fn sent(kind: MouseEventKind, column: u16, row: u16, mode: TermMode) -> Option<Vec<u8>> {
        encode(at(kind, column, row, KeyModifiers::NONE), AREA, mode)
    }

    #[test]
    fn nothing_is_sent_unasked() {
        assert_eq!(sent(LEFT, 10, 5, TermMode::SGR_MOUSE), None);
        assert_eq!(sent(MouseEventKind::Moved, 10, 5, TermMode::MOUSE_REPORT_CLICK), None);
        assert_eq!(sent(MouseEventKind::Drag(MouseButton::Left), 10, 5, TermMode::MOUSE_REPORT_CLICK), None);
        assert_eq!(sent(MouseEventKind::Moved, 10, 5, TermMode::MOUSE_DRAG), None);
        assert_eq!(sent(LEFT, 9, 5, TermMode::MOUSE_REPORT_CLICK), None);
    }

    #[test]
    fn sgr() {
        let mode = TermMode::MOUSE_MOTION | TermMode::SGR_MOUSE;
        assert_eq!(sent(LEFT, 10, 5, mode).unwrap(), b"\x1b[<0;1;1M");
        assert_eq!(sent(MouseEventKind::Up(MouseButton::Right), 12, 8, mode).unwrap(), b"\x1b[<2;3;4m");
        assert_eq!(sent(MouseEventKind::Moved, 400, 5, mode).unwrap(), b"\x1b[<35;391;1M");
        assert_eq!(sent(MouseEventKind::Drag(MouseButton::Middle), 10, 5, mode).unwrap(), b"\x1b[<33;1;1M");
        assert_eq!(sent(MouseEventKind::ScrollDown, 10, 5, mode).unwrap(), b"\x1b[<65;1;1M");
        let all = KeyModifiers::SHIFT | KeyModifiers::ALT | KeyModifiers::CONTROL;
        assert_eq!(encode(at(LEFT, 10, 5, all), AREA, mode).unwrap(), b"\x1b[<28;1;1M");
    }

    #[test]
    fn legacy_reaches_column_223() {
        let mode = TermMode::MOUSE_REPORT_CLICK;
        assert_eq!(sent(LEFT, 10, 5, mode).unwrap(), b"\x1b[M !!");
        assert_eq!(sent(MouseEventKind::Up(MouseButton::Left), 11, 5, mode).unwrap(), b"\x1b[M#\"!");
        assert_eq!(sent(LEFT, 10 + 222, 5, mode).unwrap(), b"\x1b[M \xff!");
        assert_eq!(sent(LEFT, 10 + 223, 5, mode), None);
    }

    #[test]
    fn utf8_reaches_further() {
        let mode = TermMode::MOUSE_REPORT_CLICK | TermMode::UTF8_MOUSE;
        let bytes = sent(LEFT, 10 + 299, 5, mode).unwrap();
        assert_eq!(std::str::from_utf8(&bytes).unwrap(), "\x1b[M \u{14c}!");
        assert_eq!(sent(LEFT, 10, 5, mode).unwrap(), b"\x1b[M !!");
    }

    #[test]
    fn a_release_outside_is_told_at_the_edge() {
        let mode = TermMode::MOUSE_DRAG | TermMode::SGR_MOUSE;
        assert_eq!(sent(MouseEventKind::Up(MouseButton::Left), 0, 0, mode).unwrap(), b"\x1b[<0;1;1m");
        assert_eq!(
            sent(MouseEventKind::Drag(MouseButton::Left), 999, 999, mode).unwrap(),
            b"\x1b[<32;400;50M"
        );
    }

    #[test]
    fn the_wheel_moves_a_pager() {
        let mode = TermMode::ALT_SCREEN | TermMode::ALTERNATE_SCROLL;
        assert_eq!(sent(MouseEventKind::ScrollUp, 10, 5, mode).unwrap(), b"\x1b[A\x1b[A\x1b[A");
        let mode = mode | TermMode::APP_CURSOR;
        assert_eq!(sent(MouseEventKind::ScrollDown, 10, 5, mode).unwrap(), b"\x1bOB\x1bOB\x1bOB");
        assert_eq!(sent(MouseEventKind::ScrollUp, 10, 5, TermMode::ALTERNATE_SCROLL), None);
        assert_eq!(sent(LEFT, 10, 5, mode), None);
    }

    #[test]
    fn an_area_without_cells_gets_nothing() {
        let mode = TermMode::MOUSE_MOTION | TermMode::SGR_MOUSE;
        assert_eq!(encode(at(LEFT, 0, 0, KeyModifiers::NONE), Rect::new(0, 0, 0, 5), mode), None);
    }
}
