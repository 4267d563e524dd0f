//! However output is cut into pieces, the screen comes out the same: byte by byte nothing takes the way of whole runs.

use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use sprites_console::Console;

const ROWS: u16 = 8;
const COLUMNS: u16 = 20;

/// Text in runs, and what can stand around them: sequences whole and cut off, strings, halves of characters, other character sets.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let run = "[ -~]{1,70}".prop_map(String::into_bytes);
    let over = "[ -~]{30,40}\r\n ?(漢字){3,6}\r[ -~]{8,16}".prop_map(String::into_bytes);
    let other = prop::sample::select(vec![
        "\r\n".as_bytes(),
        b"\n",
        b"\r",
        b"\t",
        b"\x08",
        b"\x7f",
        b"\x0e",
        b"\x0f",
        b"\x18",
        "漢字".as_bytes(),
        "漢字漢字漢\r".as_bytes(),
        " 漢字漢字\x1b[5D".as_bytes(),
        "e\u{301}".as_bytes(),
        "Grüße".as_bytes(),
        "👩‍💻".as_bytes(),
        b"\xe6",
        b"\xe6\xbc",
        b"\xf0\x9f",
        b"\xff",
        b"\x9c",
        b"\xc3",
        b"\x1b",
        b"\x1b ",
        b"\x1b#",
        b"\x1b(0",
        b"\x1b(B",
        b"\x1b)0",
        b"\x1b#8",
        b"\x1bX",
        b"\x1b_",
        b"\x1b^",
        b"\x1bP",
        b"\x1bPq",
        b"\x1b\\",
        b"\x1b]0;",
        b"\x1b]",
        b"\x07",
        b"\x1b[",
        b"\x1b[1",
        b"\x1b[?",
        b"\x1b[3b",
        b"\x1b[4h",
        b"\x1b[4l",
        b"\x1b[?7l",
        b"\x1b[?7h",
        b"\x1b[?6h",
        b"\x1b[2;5r",
        b"\x1b[r",
        b"\x1b[H",
        b"\x1b[3;19H",
        b"\x1b[5;2H",
        b"\x1b[2J",
        b"\x1b[K",
        b"\x1b[1;31m",
        b"\x1b[44m",
        b"\x1b[4;58;5;9m",
        b"\x1b[0m",
        b"\x1b[2@",
        b"\x1b[3P",
        b"\x1b7",
        b"\x1b8",
        b"\x1bM",
        b"\x1bc",
        b"\x1b[?1049h",
        b"\x1b[?1049l",
        b"\x1b]8;;http://a.example\x07",
        b"\x1b]8;;\x07",
    ])
    .prop_map(<[u8]>::to_vec);
    prop::collection::vec(prop_oneof![8 => run, 1 => over, 8 => other], 1..40)
        .prop_map(|parts| parts.concat())
}

/// What is seen, all of the scrollback first, and where the cursor is.
fn seen(console: &mut Console) -> (Vec<Buffer>, Option<(u16, u16)>) {
    let area = Rect::new(0, 0, COLUMNS, ROWS);
    let mut screens = Vec::new();
    console.scroll(1_000_000);
    loop {
        let mut buffer = Buffer::empty(area);
        console.draw(area, &mut buffer);
        screens.push(buffer);
        let before = console.scrolled();
        console.scroll(-i32::from(ROWS));
        if console.scrolled() == before {
            return (screens, console.cursor());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_screen_is_the_same(output in output(), cut in 0usize..2_000) {
        let mut whole = Console::new(ROWS, COLUMNS, 100);
        let _ = whole.feed(&output);
        let mut halves = Console::new(ROWS, COLUMNS, 100);
        let (first, second) = output.split_at(cut % (output.len() + 1));
        let _ = halves.feed(first);
        let _ = halves.feed(second);
        let mut bytes = Console::new(ROWS, COLUMNS, 100);
        for byte in &output {
            let _ = bytes.feed(&[*byte]);
        }
        let expected = seen(&mut bytes);
        prop_assert_eq!(seen(&mut whole), expected.clone());
        prop_assert_eq!(seen(&mut halves), expected);
    }
}
