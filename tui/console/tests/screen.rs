//! What a person sees and what a program gets back.

use crossterm::cursor::SetCursorStyle;
use crossterm::event::{
    KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use sprites_console::{
    Console, Happening, MAX_COLUMNS, MAX_REPLY_BYTES, MAX_ROWS, MAX_SCROLLBACK_CELLS, MAX_TITLE_CHARS,
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
    assert_eq!(replies("\x1b[c"), "\x1b[?62;22;52c");
    assert_eq!(replies("ab\r\nc\x1b[6n"), "\x1b[2;2R");
    assert_eq!(replies("\x1b[5n"), "\x1b[0n");
    assert_eq!(replies("\x1b[18t"), "\x1b[8;5;20t");
    assert_eq!(replies("\x1b[?2004h\x1b[?2004$p"), "\x1b[?2004;1$y");
    assert_eq!(replies("\x1b[?2026$p"), "\x1b[?2026;2$y");
    assert!(replies("\x1b[>q\x1b[c").starts_with("\x1bP>|sprites-tui("), "in the order of the queries");
    assert_eq!(replies("ab\x1b[?6n"), "\x1b[?1;3R");
    assert_eq!(replies("\x1b[14t\x1b[16t\x1b[19t"), "\x1b[4;80;160t\x1b[6;16;8t\x1b[9;5;20t");
    assert_eq!(replies("\x1b]2;x\x07\x1b[21t\x1b[20t"), "", "a title that came back would be typed");
    assert_eq!(replies("\x1b[1;38;2;1;2;3;44m\x1bP$qm\x1b\\"), "\x1bP1$r0;1;38:2::1:2:3;44m\x1b\\");
    assert_eq!(replies("\x1b[5 q\x1bP$q q\x1b\\\x1bP$qx\x1b\\"), "\x1bP1$r5 q\x1b\\\x1bP0$r\x1b\\");
    assert_eq!(replies("\x1bP+q524742;5858\x1b\\"), "\x1bP1+r524742=38\x1b\\\x1bP0+r\x1b\\");
    assert_eq!(replies("\x1b]11;?\x07"), "\x1b]11;rgb:0000/0000/0000\x07");
    let mut console = Console::new(5, 20, 0);
    console.set_default_colors((1, 2, 3), (0xff, 0xfe, 0xfd));
    assert_eq!(console.feed(b"\x1b]11;?\x1b\\"), b"\x1b]11;rgb:ffff/fefe/fdfd\x1b\\");
    assert_eq!(console.feed(b"\x1b]4;9;?\x07"), b"\x1b]4;9;rgb:ffff/0000/0000\x07");
}

#[test]
fn keyboard_flags_we_do_not_speak_are_not_granted() {
    assert_eq!(replies("\x1b[>31u\x1b[?u"), "\x1b[?25u");
    assert_eq!(replies("\x1b[=6;1u\x1b[?u"), "\x1b[?0u");
    let mut console = fed("\x1b[>1u");
    let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
    assert_eq!(console.key(escape), b"\x1b[27u");
    let _ = console.feed(b"\x1b[<u");
    assert_eq!(console.key(escape), b"\x1b");
    // The other screen has flags of its own.
    let _ = console.feed(b"\x1b[>1u\x1b[?1049h");
    assert_eq!(console.key(escape), b"\x1b");
    let _ = console.feed(b"\x1b[>9u\x1b[?1049l");
    assert_eq!(console.key(escape), b"\x1b[27u");
    console.set_key_releases(true);
    assert!(!console.wants_releases());
    assert_eq!(console.feed(b"\x1b[=3u\x1b[?u"), b"\x1b[?3u");
    assert!(console.wants_releases());
    assert_eq!(console.key(KeyEvent { kind: KeyEventKind::Release, ..escape }), b"\x1b[27;1:3u");
}

#[test]
fn keyboard_flags_may_be_pushed_without_end() {
    let mut console = fed(&"\x1b[>1u".repeat(10_000));
    assert_eq!(console.feed(b"\x1b[<20u\x1b[?u"), b"\x1b[?0u");
}

#[test]
fn a_synchronized_update_shows_the_screen_before_it() {
    let mut console = fed("before");
    let shown = |console: &Console| row(&drawn(console), 0).trim_end().to_owned();
    let _ = console.feed(b"\x1b[?2026h\x1b[2J\x1b[Hhalf");
    assert_eq!(shown(&console), "before");
    assert_eq!(console.cursor(), Some((6, 0)));
    assert!(console.changes_at().is_some());
    assert_eq!(console.feed(b"\x1b[?2026$p"), b"\x1b[?2026;1$y", "queries do not wait");
    let _ = console.feed(b" done\x1b[?2026l");
    assert_eq!(shown(&console), "half done");
    assert_eq!((console.cursor(), console.changes_at()), (Some((9, 0)), None));
    // One without an end shows what there is after its time.
    let _ = console.feed(b"\x1b[?2026h\x1b[2J\x1b[Hx");
    let until = console.changes_at().unwrap();
    std::thread::sleep(until.saturating_duration_since(std::time::Instant::now()));
    assert_eq!(shown(&console), "x");
    // Beginning again without an end, over and over, is no way to be shown never.
    let _ = console.feed(b"\x1b[?2026h");
    let until = console.changes_at().unwrap();
    let _ = console.feed(b"\x1b[?2026h\x1b[?2026h");
    assert_eq!(console.changes_at(), Some(until));
    console.resize(6, 20);
    assert_eq!(console.changes_at(), None);
}

#[test]
fn links_are_kept_and_found() {
    let mut console =
        fed("\x1b]8;id=1;https://a.example/x\x1b\\here\x1b]8;;\x1b\\ and http://b.example/a-long-on\r\n");
    assert_eq!(console.link((3, 0)).as_deref(), Some("https://a.example/x"));
    assert_eq!(console.link((4, 0)), None);
    assert_eq!(console.link((3, 1)).as_deref(), Some("http://b.example/a-long-on"), "wrapped");
    assert_eq!(console.link((99, 99)), None);
    console.copy();
    assert_eq!(console.link((0, 0)).as_deref(), Some("https://a.example/x"));
}

#[test]
fn a_soft_reset_leaves_the_text() {
    let console = fed("\x1b[?1h\x1b[?25l\x1b[2;3r\x1b[4h\x1b[1mab\x1b[!p");
    assert_eq!(first_line(&console), "ab");
    assert_eq!(console.cursor(), Some((2, 0)));
    assert_eq!(console.key(KeyEvent::new(KeyCode::Up, KeyModifiers::NONE)), b"\x1b[A");
}

#[test]
fn a_directory_and_notices_are_told() {
    let mut console =
        fed("\x1b]7;file://box/home/me\x07\x1b]9;built\x07\x1b]9;4;1;50\x07\x1b]777;notify;Title;all \x07");
    assert_eq!(console.directory(), Some("/home/me"));
    let notice = |title: &str, text: &str| Happening::Notice(title.into(), text.into());
    assert_eq!(console.happenings(), [notice("", "built"), notice("Title", "all ")]);
    assert_eq!(console.happenings(), []);
    let _ = console.feed("\x1b]9;x\x07".repeat(1000).as_bytes());
    assert!(console.happenings().len() < 20);
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
fn programs_copy_and_do_not_read_the_clipboard() {
    assert_eq!(replies("\x1b]52;c;cm0gLXJm\x07\x1b]52;c;?\x07\x1b]52;p;?\x1b\\"), "");
    let mut console = fed("\x1b]52;c;aGVsbG8Kd29ybGQb\x07\x1b]52;;eA\x1b\\\x1b]52;c;?\x07\x1b]52;c;!!\x07");
    let copy = |text: &str| Happening::Copy(text.into());
    assert_eq!(console.happenings(), [copy("hello\nworld"), copy("x")]);
}

#[test]
fn a_flood_of_queries_gets_bounded_replies() {
    let mut console = Console::new(5, 20, 0);
    assert!(console.feed(&b"\x1b[c".repeat(100_000)).len() <= MAX_REPLY_BYTES);
    assert_eq!(console.feed(b"\x1b[c"), b"\x1b[?62;22;52c");
}

#[test]
fn emoji_take_the_cells_they_were_counted_for() {
    // A skin colour would be joined with the hand before it; a flag is two letters.
    let buffer = drawn(&fed("👍🏽x🇩🇪y"));
    assert_eq!(buffer[(0, 0)].symbol(), "👍");
    assert_eq!((buffer[(2, 0)].symbol(), buffer[(4, 0)].symbol()), (" ", "x"));
    assert_eq!((buffer[(5, 0)].symbol(), buffer[(6, 0)].symbol()), ("🇩🇪", " "));
    assert_eq!(buffer[(7, 0)].symbol(), "y");
}

#[test]
fn text_does_not_change_its_order() {
    // Shown as it is stored: reordering controls are dropped, so code reads as it runs.
    let console = fed("a\u{202e}b\u{2066}c\u{200f}d");
    assert_eq!(first_line(&console), "abcd");
}
