//! Output made to harm: nothing panics, and memory stays bounded.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sprites_console::{Console, MAX_COLUMNS, MAX_REPLY_BYTES};

/// One thing that can happen to a console.
#[derive(Debug, Clone)]
enum Step {
    Feed(Vec<u8>),
    Resize(u16, u16),
    Scroll(i32),
    Draw(Rect),
    Copy(KeyEvent),
    Press((u16, u16), u8),
    Drag((i32, i32)),
    Release,
    Key(KeyEvent),
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        (0u32..30).prop_map(|n| n.to_string()),
        Just("65535".to_owned()),
        Just("4294967296".to_owned()),
    ]
}

/// Bytes that look like what terminals are sent: real sequences with odd parameters.
fn sequence() -> impl Strategy<Value = Vec<u8>> {
    let csi = (
        prop::sample::select(vec!["", "?", ">", "=", "<", "!", " ", "$"]),
        prop::collection::vec(number(), 0..4),
        prop::sample::select("@ABCDEFGHIJKLMPSTXZ`abcdefghlmnpqrstu".chars().collect::<Vec<_>>()),
    )
        .prop_map(|(mark, numbers, last)| format!("\x1b[{mark}{}{last}", numbers.join(";")).into_bytes());
    let mode = (
        prop::sample::select(vec![
            1, 3, 4, 5, 6, 7, 12, 20, 25, 47, 69, 1000, 1002, 1003, 1005, 1006, 1007, 1047, 1048, 1049, 2004,
            2026,
        ]),
        prop::bool::ANY,
        prop::bool::ANY,
    )
        .prop_map(|(mode, private, set)| {
            let (mark, last) = (if private { "?" } else { "" }, if set { 'h' } else { 'l' });
            format!("\x1b[{mark}{mode}{last}").into_bytes()
        });
    let command = (
        prop_oneof![
            number(),
            prop::sample::select(vec!["7", "8;", "9", "52;c", "777;notify"]).prop_map(str::to_owned)
        ],
        "(http://)?[ -~]{0,20}",
        prop::sample::select(vec!["\x07", "\x1b\\", "\x18", ""]),
    )
        .prop_map(|(code, text, end)| format!("\x1b]{code};{text}{end}").into_bytes());
    let device = prop::sample::select(vec!["$qm", "$q q", "+q524742", "1;2|x"])
        .prop_map(|text| format!("\x1bP{text}\x1b\\").into_bytes());
    let escape = prop::sample::select("78=>cDEHMNOPXZ()*+#%]^_\\".chars().collect::<Vec<_>>())
        .prop_map(|c| vec![0x1b, c as u8]);
    let text = prop::sample::select(vec![
        "a",
        "漢",
        "e\u{301}",
        "\u{301}",
        "👩\u{200d}🚀",
        "👍🏽",
        "🇩🇪",
        "🇩",
        "http://a.example/b",
        "\x1b[?2026h",
        "\x1b[?2026l",
        "\u{202e}",
        "\t",
        "\r",
        "\n",
        "\r\n",
        "\x08",
        "\x0b",
        "\x0e",
        "\x0f",
        "\x7f",
        "ﷺ",
        "\u{ad}",
        "\u{fe0f}",
        "\u{1160}",
        "xxxxxxxxxxxxxxxxxxxx",
        "漢漢漢漢漢漢漢漢漢漢",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    prop_oneof![3 => csi, 1 => mode, 1 => command, 1 => device, 1 => escape, 4 => text, 1 => prop::collection::vec(any::<u8>(), 0..8)]
}

fn key() -> impl Strategy<Value = KeyEvent> {
    let letters: Vec<char> = "hjklwbe0^$gGHMLvVoyYqnN/?{} abxuX漢".chars().collect();
    let codes = prop_oneof![
        8 => prop::sample::select(letters).prop_map(KeyCode::Char),
        1 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Up, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home,
            KeyCode::End, KeyCode::Backspace, KeyCode::F(3), KeyCode::BackTab, KeyCode::CapsLock,
        ]),
    ];
    let kinds = prop::sample::select(vec![KeyEventKind::Press, KeyEventKind::Repeat, KeyEventKind::Release]);
    (codes, 0u8..16, kinds).prop_map(|(code, modifiers, kind)| {
        // Most keys come without modifiers.
        let modifiers = KeyModifiers::from_bits_truncate(if modifiers < 8 { modifiers } else { 0 });
        KeyEvent { kind, ..KeyEvent::new(code, modifiers) }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => key().prop_map(Step::Copy),
        1 => key().prop_map(Step::Key),
        1 => ((0u16..40, 0u16..20), 0u8..4).prop_map(|(at, times)| Step::Press(at, times)),
        2 => (-5i32..40, -5i32..20).prop_map(Step::Drag),
        1 => Just(Step::Release),
        8 => prop::collection::vec(sequence(), 1..20).prop_map(|parts| Step::Feed(parts.concat())),
        2 => (0u16..12, 0u16..30).prop_map(|(rows, cols)| Step::Resize(rows, cols)),
        1 => any::<i32>().prop_map(Step::Scroll),
        1 => (0u16..20, 0u16..20, 0u16..40, 0u16..20).prop_map(|(x, y, w, h)| Step::Draw(Rect::new(x, y, w, h))),
    ]
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(300)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_output_makes_it_panic(
        rows in 0u16..12,
        cols in 0u16..30,
        scrollback in 0usize..40,
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut console = Console::new(rows, cols, scrollback);
        let mut buffer = Buffer::empty(Rect::new(3, 2, 25, 10));
        for step in steps {
            match step {
                Step::Feed(bytes) => prop_assert!(console.feed(&bytes).len() <= MAX_REPLY_BYTES),
                Step::Resize(rows, cols) => console.resize(rows, cols),
                Step::Scroll(lines) => console.scroll(lines),
                Step::Draw(area) => console.draw(area, &mut buffer),
                Step::Copy(key) => {
                    console.copy();
                    let _ = console.copy_key(key);
                }
                Step::Press(at, times) => console.copy_press(at, times),
                Step::Drag(to) => console.copy_drag(to),
                Step::Release => drop(console.copy_release()),
                Step::Key(key) => drop(console.key(key)),
            }
            console.draw(buffer.area, &mut buffer);
            let (rows, cols) = console.dimensions();
            if let Some((column, row)) = console.cursor() {
                prop_assert!(column < cols && row < rows);
            }
            prop_assert!(console.scrollback() <= scrollback);
            let _ = console.text();
            let _ = console.link((cols / 2, rows / 2));
            let _ = console.happenings();
            if let Some(status) = console.copying() {
                prop_assert!((1..=status.lines).contains(&status.line));
            }
        }
    }

    #[test]
    fn random_bytes(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut console = Console::new(10, 40, 100);
        for chunk in chunks {
            let _ = console.feed(&chunk);
        }
        let mut buffer = Buffer::empty(Rect::new(0, 0, 40, 10));
        console.draw(buffer.area, &mut buffer);
    }
}

#[test]
fn a_control_string_without_end_does_not_fill_memory() {
    let mut console = Console::new(5, 20, 0);
    let before = resident_bytes();
    let _ = console.feed(b"\x1b]2;");
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..64 {
        let _ = console.feed(&chunk);
    }
    assert!(resident_bytes().saturating_sub(before) < 32 << 20);
    let _ = console.feed(b"\x07still here");
    assert!(console.text().starts_with("still here"));
}

#[test]
fn combining_characters_do_not_pile_up() {
    let mut console = Console::new(5, 20, 0);
    let _ = console.feed("a".as_bytes());
    for _ in 0..100 {
        let _ = console.feed("\u{301}".repeat(10_000).as_bytes());
    }
    assert!(console.text().trim_end().chars().count() <= 9);
    // The same behind a wide character, where they go to the cell before its spacer.
    let _ = console.feed(format!("\r漢{}", "\u{301}".repeat(1000)).as_bytes());
    assert!(console.text().trim_end().chars().count() <= 9);
}

#[test]
fn scrolling_inside_a_region_does_not_move_the_view_beyond_the_oldest_line() {
    let mut console = Console::new(5, 20, 100);
    let _ = console.feed("line\r\n".repeat(8).as_bytes());
    console.scroll(100);
    let _ = console.feed(&b"\x1b[2;4r\x1b[2;1H\x1b[3M".repeat(50));
    assert!(console.scrolled() <= console.scrollback());
    assert!(console.text().starts_with("line"));
}

#[test]
fn few_bytes_cannot_ask_for_much_work() {
    // Without a bound these would print hundreds of millions of characters.
    let mut console = Console::new(50, 200, 1000);
    let _ = console.feed(&b"x\x1b[65535b".repeat(8_000));
    let _ = console.feed(&b"\x1b[65535I\x1b[65535Z\r".repeat(4_000));
    // Nor would it come to its end soon to clear so many cells.
    let mut large = Console::new(300, 1000, 1000);
    for clearing in
        ["\x1b[2J", "\x1b#8", "\x1b[J", "\x1b[300S", "\x1b[300L", "\x1bc", "\x1b[?1049h\x1b[?1049l"]
    {
        let _ = large.feed(&format!("x{clearing}").into_bytes().repeat(50_000));
        let _ = large.feed(b"\x1b[H\x1b[2Jagain");
        assert_eq!(large.text().trim(), "again");
    }
    // A row drawn by repetition, as programs do, arrives whole.
    let mut console = Console::new(5, 80, 0);
    let _ = console.feed(b"-\x1b[79b");
    assert_eq!(console.text().lines().next().unwrap(), "-".repeat(80));
}

#[test]
fn links_in_each_cell_cost_nothing() {
    let mut console = Console::new(50, MAX_COLUMNS, 100_000);
    let before = resident_bytes();
    let address = "x".repeat(2000);
    let one = format!("\x1b]8;;http://{address}\x07y");
    for _ in 0..20 {
        let _ = console.feed(one.repeat(1000).as_bytes());
    }
    assert!(resident_bytes().saturating_sub(before) < 32 << 20);
}

/// Resident memory of this process, as the kernel counts it.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
