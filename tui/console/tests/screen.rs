//! What a person sees and what a program gets back.

use crossterm::cursor::SetCursorStyle;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use sprites_console::{
    Console, MAX_COLUMNS, MAX_REPLY_BYTES, MAX_ROWS, MAX_SCROLLBACK_CELLS, MAX_TITLE_CHARS,
};

/// A console of 5 rows and 20 columns that was fed `output`.
fn fed(output: &str) -> Console {
    let mut console = Console::new(5, 20, 100);
    let _ = console.feed(output.as_bytes());
    console
}

fn replies(output: &str) -> String {
    String::from_utf8(Console::new(5, 20, 100).feed(output.as_bytes())).unwrap()
}

fn first_line(console: &Console) -> String {
    console.text().lines().next().unwrap_or_default().to_owned()
}

fn drawn(console: &Console) -> Buffer {
    let area = Rect::new(0, 0, 20, 5);
    let mut buffer = Buffer::empty(area);
    console.draw(area, &mut buffer);
    buffer
}

fn row(buffer: &Buffer, y: u16) -> String {
    (buffer.area.left()..buffer.area.right()).map(|x| buffer[(x, y)].symbol()).collect()
}

#[test]
fn a_console_may_move_between_threads() {
    fn movable<T: Send + 'static>(_: &T) {}
    movable(&fed(""));
}

#[test]
fn text_and_cursor() {
    let console = fed("one\r\ntwo");
    assert_eq!(console.text(), "one\ntwo\n\n\n");
    assert_eq!(console.cursor(), Some((3, 1)));
    assert_eq!(fed("\x1b[?25l").cursor(), None);
}

#[test]
fn sequences_may_be_cut_anywhere() {
    let output = "\x1b[31m漢\x1b[0m e\u{301}\x1b]2;title\x1b\\\x1b[3;4Hx".as_bytes();
    let mut whole = Console::new(5, 20, 0);
    let _ = whole.feed(output);
    let mut pieces = Console::new(5, 20, 0);
    for byte in output {
        let _ = pieces.feed(&[*byte]);
    }
    assert_eq!(whole.text(), pieces.text());
    assert_eq!(pieces.title(), Some("title"));
    assert_eq!(drawn(&whole), drawn(&pieces));
}

#[test]
fn line_drawing_characters() {
    assert_eq!(first_line(&fed("\x1b(0lqqk\x1b(Bx")), "┌──┐x");
    assert_eq!(first_line(&fed("\x1b)0a\x0eq\x0fq")), "a─q");
}

#[test]
fn colours_and_attributes() {
    let buffer = drawn(&fed(
        "\x1b[1;31ma\x1b[0;2;3;4;9mb\x1b[0;7mc\x1b[0;38;5;200;48;2;1;2;3md\x1b[0me\x1b[8mf\x1b[0;97mg",
    ));
    assert_eq!(buffer[(0, 0)].fg, Color::Indexed(1));
    assert_eq!(buffer[(0, 0)].modifier, Modifier::BOLD);
    let all = Modifier::DIM | Modifier::ITALIC | Modifier::UNDERLINED | Modifier::CROSSED_OUT;
    assert_eq!(buffer[(1, 0)].modifier, all);
    assert_eq!(buffer[(2, 0)].modifier, Modifier::REVERSED);
    assert_eq!((buffer[(3, 0)].fg, buffer[(3, 0)].bg), (Color::Indexed(200), Color::Rgb(1, 2, 3)));
    assert_eq!((buffer[(4, 0)].fg, buffer[(4, 0)].bg), (Color::Reset, Color::Reset));
    assert_eq!(buffer[(5, 0)].symbol(), " ", "hidden text is not drawn");
    assert_eq!(buffer[(6, 0)].fg, Color::Indexed(15));
}

#[test]
fn the_theme_shows_through_default_colours() {
    let area = Rect::new(0, 0, 20, 5);
    let mut buffer = Buffer::empty(area);
    buffer.set_style(area, Style::new().fg(Color::Green).bg(Color::Black).add_modifier(Modifier::BOLD));
    fed("a\x1b[44mb").draw(area, &mut buffer);
    assert_eq!((buffer[(0, 0)].fg, buffer[(0, 0)].bg), (Color::Green, Color::Black));
    assert_eq!((buffer[(1, 0)].fg, buffer[(1, 0)].bg), (Color::Green, Color::Indexed(4)));
    assert_eq!(buffer[(0, 0)].modifier, Modifier::empty());
}

#[test]
fn redefined_colours() {
    let buffer = drawn(&fed("\x1b]4;1;rgb:12/34/56\x07\x1b[31ma"));
    assert_eq!(buffer[(0, 0)].fg, Color::Rgb(0x12, 0x34, 0x56));
    let buffer = drawn(&fed("\x1b]11;#102030\x07a"));
    assert_eq!(buffer[(0, 0)].bg, Color::Rgb(0x10, 0x20, 0x30));
}

#[test]
fn wide_and_combining_characters() {
    let console = fed("漢字e\u{301}x");
    let buffer = drawn(&console);
    assert_eq!(buffer[(0, 0)].symbol(), "漢");
    assert_eq!(buffer[(2, 0)].symbol(), "字");
    assert_eq!(buffer[(4, 0)].symbol(), "e\u{301}");
    assert_eq!(buffer[(5, 0)].symbol(), "x");
    assert_eq!(console.cursor(), Some((6, 0)));
    assert_eq!(first_line(&console), "漢字e\u{301}x");
}

#[test]
fn a_symbol_never_measures_more_than_its_cells() {
    // A variation selector makes the renderer measure two cells where the program counted one.
    let buffer = drawn(&fed("☺\u{fe0f}x\r\n👩\u{200d}🚀x"));
    for y in 0..2 {
        let width: usize =
            (0..20).map(|x| unicode_width::UnicodeWidthStr::width(buffer[(x, y)].symbol())).sum();
        let spacers =
            (0..20).filter(|x| unicode_width::UnicodeWidthStr::width(buffer[(*x, y)].symbol()) == 2);
        assert_eq!(width - spacers.count(), 20);
    }
    assert_eq!(buffer[(1, 0)].symbol(), "x");
    assert_eq!(buffer[(0, 1)].symbol(), "👩", "the joiner would reach into the next cell");
    assert_eq!(buffer[(2, 1)].symbol(), "🚀");
}

#[test]
fn half_a_wide_character_is_not_drawn() {
    let area = Rect::new(0, 0, 3, 1);
    let mut buffer = Buffer::empty(area);
    fed("漢字").draw(area, &mut buffer);
    assert_eq!(row(&buffer, 0), "漢  ");
}

#[test]
fn drawing_at_an_offset_and_beyond_the_buffer() {
    let console = fed("abc\r\ndef");
    let mut buffer = Buffer::filled(Rect::new(2, 1, 6, 3), ratatui::buffer::Cell::new("."));
    console.draw(Rect::new(4, 2, 100, 100), &mut buffer);
    assert_eq!(row(&buffer, 1), "......");
    assert_eq!(row(&buffer, 2), "..abc ");
    assert_eq!(row(&buffer, 3), "..def ");
    console.draw(Rect::new(3, 1, 2, 1), &mut buffer);
    assert_eq!(row(&buffer, 1), ".ab...");
    console.draw(Rect::new(200, 200, 5, 5), &mut buffer);
    console.draw(Rect::new(3, 1, 0, 0), &mut buffer);
    // The area begins left of and above the buffer: the cut is at the top left.
    console.draw(Rect::new(1, 0, 4, 2), &mut buffer);
    assert_eq!(row(&buffer, 1), "ef ...");
}

#[test]
fn an_area_larger_than_the_console_is_blank_around_it() {
    let area = Rect::new(0, 0, 8, 3);
    let mut buffer = Buffer::filled(area, ratatui::buffer::Cell::new("#"));
    let mut console = Console::new(1, 4, 0);
    let _ = console.feed(b"abcd");
    console.draw(area, &mut buffer);
    assert_eq!(row(&buffer, 0), "abcd    ");
    assert_eq!(row(&buffer, 2), "        ");
}

#[test]
fn scrollback() {
    let mut console = Console::new(3, 10, 100);
    for number in 0..20 {
        let _ = console.feed(format!("line {number}\r\n").as_bytes());
    }
    assert_eq!(console.text(), "line 18\nline 19\n");
    assert_eq!((console.scrollback(), console.scrolled()), (18, 0));
    let before = console.generation();
    console.scroll(2);
    assert!(console.generation() > before);
    assert_eq!(console.text(), "line 16\nline 17\nline 18");
    assert_eq!(console.cursor(), None);
    // New output does not move what is being read.
    let _ = console.feed(b"more\r\n");
    assert_eq!(console.text(), "line 16\nline 17\nline 18");
    assert_eq!(console.scrolled(), 3);
    console.scroll(i32::MAX);
    assert_eq!(console.scrolled(), 19);
    assert_eq!(first_line(&console), "line 0");
    console.scroll(i32::MIN);
    assert_eq!(console.scrolled(), 0);
    console.scroll(1);
    console.scroll_to_bottom();
    assert_eq!(console.text(), "line 19\nmore\n");
}

#[test]
fn the_scrollback_is_bounded_in_lines_and_in_cells() {
    let mut console = Console::new(3, 10, 5);
    let _ = console.feed("x\r\n".repeat(50).as_bytes());
    assert_eq!(console.scrollback(), 5);

    let mut console = Console::new(3, MAX_COLUMNS, usize::MAX);
    let _ = console.feed(&b"x\r\n".repeat(2 * MAX_SCROLLBACK_CELLS / usize::from(MAX_COLUMNS)));
    assert!(console.scrollback() * usize::from(MAX_COLUMNS) <= MAX_SCROLLBACK_CELLS);
    console.resize(3, 2);
    assert!(console.scrollback() * 2 <= MAX_SCROLLBACK_CELLS);
}

#[test]
fn lines_reflow_when_the_width_changes() {
    let mut console = Console::new(4, 10, 100);
    let _ = console.feed(b"0123456789abcde\r\nnext");
    assert_eq!(console.text(), "0123456789\nabcde\nnext\n");
    console.resize(4, 20);
    assert_eq!(console.text(), "0123456789abcde\nnext\n\n");
    console.resize(4, 5);
    // Lines that became two push the first ones into the scrollback.
    assert_eq!(console.text(), "abcde\nnext\n\n");
    assert_eq!(console.cursor(), Some((4, 1)));
    console.scroll(2);
    assert_eq!(console.text(), "01234\n56789\nabcde\nnext");
}

#[test]
fn sizes_are_clamped() {
    let mut console = Console::new(0, 0, 10);
    assert_eq!(console.dimensions(), (1, 2));
    console.resize(u16::MAX, u16::MAX);
    assert_eq!(console.dimensions(), (MAX_ROWS, MAX_COLUMNS));
    console.resize(24, 80);
    let _ = console.feed("漢".repeat(100).as_bytes());
    console.resize(1, 1);
    let _ = console.feed("漢x漢".as_bytes());
    assert_eq!(console.dimensions(), (1, 2));
    let mut buffer = Buffer::empty(Rect::new(0, 0, 1, 1));
    console.draw(buffer.area, &mut buffer);
}

#[test]
fn a_title_survives_a_resize() {
    let mut console = fed("\x1b]0;kept\x07");
    console.resize(10, 30);
    let _ = console.feed(b"x");
    assert_eq!(console.title(), Some("kept"));
}

#[test]
fn the_alternate_screen_leaves_no_trace() {
    let mut console = fed("shell$ ");
    let _ = console.feed(b"\x1b[?1049h\x1b[2J\x1b[Heditor");
    assert!(console.alternate_screen());
    assert_eq!(first_line(&console), "editor");
    console.scroll(10);
    assert_eq!(console.scrolled(), 0);
    let _ = console.feed(b"\x1b[?1049l");
    assert!(!console.alternate_screen());
    assert_eq!(first_line(&console), "shell$");
}

#[test]
fn the_older_names_of_the_alternate_screen() {
    for mode in [47, 1047] {
        let mut console = fed(&format!("shell$ \x1b[?{mode}h\x1b[Htop"));
        assert!(console.alternate_screen());
        let _ = console.feed(format!("\x1b[?{mode}l").as_bytes());
        assert_eq!(first_line(&console), "shell$");
    }
}

#[test]
fn cursor_styles() {
    assert_eq!(fed("").cursor_style(), SetCursorStyle::DefaultUserShape);
    assert_eq!(fed("\x1b[5 q").cursor_style(), SetCursorStyle::BlinkingBar);
    assert_eq!(fed("\x1b[4 q").cursor_style(), SetCursorStyle::SteadyUnderScore);
    assert_eq!(fed("\x1b[2 q").cursor_style(), SetCursorStyle::SteadyBlock);
    assert_eq!(fed("\x1b[2 q\x1b[0 q").cursor_style(), SetCursorStyle::DefaultUserShape);
}

#[test]
fn queries_are_answered() {
    assert_eq!(replies("\x1b[c"), "\x1b[?6c");
    assert_eq!(replies("ab\r\nc\x1b[6n"), "\x1b[2;2R");
    assert_eq!(replies("\x1b[5n"), "\x1b[0n");
    assert_eq!(replies("\x1b[18t"), "\x1b[8;5;20t");
    assert_eq!(replies("\x1b[?2004h\x1b[?2004$p"), "\x1b[?2004;1$y");
    assert_eq!(replies("\x1b[?2026$p"), "\x1b[?2026;0$y", "synchronized updates are not supported");
    assert_eq!(replies("\x1b]11;?\x07"), "\x1b]11;rgb:0000/0000/0000\x07");
    let mut console = Console::new(5, 20, 0);
    console.set_default_colors((1, 2, 3), (0xff, 0xfe, 0xfd));
    assert_eq!(console.feed(b"\x1b]11;?\x1b\\"), b"\x1b]11;rgb:ffff/fefe/fdfd\x1b\\");
    assert_eq!(console.feed(b"\x1b]4;9;?\x07"), b"\x1b]4;9;rgb:ffff/0000/0000\x07");
}

#[test]
fn keyboard_flags_we_do_not_speak_are_not_granted() {
    assert_eq!(replies("\x1b[>31u\x1b[?u"), "\x1b[?9u");
    assert_eq!(replies("\x1b[=6;1u\x1b[?u"), "\x1b[?0u");
    let mut console = fed("\x1b[>1u");
    let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
    assert_eq!(console.key(escape), b"\x1b[27u");
    let _ = console.feed(b"\x1b[<u");
    assert_eq!(console.key(escape), b"\x1b");
}

#[test]
fn modes_reach_keys_mouse_paste_and_focus() {
    let up = KeyEvent::new(KeyCode::Up, KeyModifiers::NONE);
    assert_eq!(fed("").key(up), b"\x1b[A");
    assert_eq!(fed("\x1b[?1h").key(up), b"\x1bOA");

    let area = Rect::new(0, 0, 20, 5);
    let click = MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column: 2,
        row: 1,
        modifiers: KeyModifiers::NONE,
    };
    assert!(!fed("").wants_mouse());
    assert_eq!(fed("").mouse(click, area), None);
    let console = fed("\x1b[?1000h\x1b[?1006h");
    assert!(console.wants_mouse());
    assert_eq!(console.mouse(click, area).unwrap(), b"\x1b[<0;3;2M");
    let wheel = MouseEvent { kind: MouseEventKind::ScrollUp, ..click };
    assert_eq!(fed("\x1b[?1049h").mouse(wheel, area).unwrap(), b"\x1b[A\x1b[A\x1b[A");

    assert_eq!(fed("").paste("a\nb"), b"a\rb");
    assert_eq!(fed("\x1b[?2004h").paste("a\nb"), b"\x1b[200~a\rb\x1b[201~");

    assert_eq!(fed("").focus(true), None);
    assert_eq!(fed("\x1b[?1004h").focus(false), Some(b"\x1b[O".as_slice()));
}

#[test]
fn titles_are_bounded_and_cleaned() {
    let mut console = fed("\x1b]0;one\u{202e}two\x07");
    assert_eq!(console.title(), Some("onetwo"));
    let _ = console.feed(format!("\x1b]2;{}\x07", "x".repeat(5000)).as_bytes());
    assert_eq!(console.title().unwrap().chars().count(), MAX_TITLE_CHARS);
    let _ = console.feed(b"\x1b]2;\x07");
    assert_eq!(console.title(), None);
    // Saved and restored by programs that set their own.
    let _ = console.feed(b"\x1b]2;shell\x07\x1b[22t\x1b]2;vim\x07");
    assert_eq!(console.title(), Some("vim"));
    let _ = console.feed(b"\x1b[23t");
    assert_eq!(console.title(), Some("shell"));
}

#[test]
fn the_bell_rings_once() {
    let mut console = fed("\x07\x07");
    assert!(console.bell());
    assert!(!console.bell());
}

#[test]
fn the_clipboard_is_out_of_reach() {
    assert_eq!(replies("\x1b]52;c;cm0gLXJm\x07\x1b]52;c;?\x07\x1b]52;p;?\x1b\\"), "");
}

#[test]
fn a_flood_of_queries_gets_bounded_replies() {
    let mut console = Console::new(5, 20, 0);
    assert!(console.feed(&b"\x1b[c".repeat(100_000)).len() <= MAX_REPLY_BYTES);
    assert_eq!(console.feed(b"\x1b[c"), b"\x1b[?6c");
}

#[test]
fn selected_text() {
    let console = fed("first line\r\n漢字 second\r\nabcdefghijklmnopqrstuvwxyz");
    assert_eq!(console.select((0, 0), (4, 0)), "first");
    assert_eq!(console.select((6, 0), (1, 1)), "line\n漢");
    assert_eq!(console.select((1, 1), (6, 0)), "line\n漢", "backwards");
    assert_eq!(
        console.select((0, 2), (999, 999)),
        "abcdefghijklmnopqrstuvwxyz\n",
        "wrapped lines are joined"
    );
    assert_eq!(console.select((999, 999), (999, 999)), "");
}

#[test]
fn text_does_not_change_its_order() {
    // Shown as it is stored: reordering controls are dropped, so code reads as it runs.
    let console = fed("a\u{202e}b\u{2066}c\u{200f}d");
    assert_eq!(first_line(&console), "abcd");
}
