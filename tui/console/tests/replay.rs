//! Recorded sessions of real programs come to the screen that tmux made of them.
//!
//! `corpus/record.sh` recorded them. vt100 is the second opinion.

use sprites_console::Console;
use std::fs;
use std::path::PathBuf;

const ROWS: u16 = 24;
const COLUMNS: u16 = 80;

const RECORDED: [&str; 6] = ["vim", "less", "htop", "fzf", "tmux", "apt"];

fn corpus(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Lines without blanks at their ends, none missing.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.resize(usize::from(ROWS), String::new());
    lines
}

#[test]
fn recorded_sessions_come_to_the_same_screen() {
    for name in RECORDED {
        let bytes = corpus(&format!("{name}.bytes"));
        let reference = String::from_utf8(corpus(&format!("{name}.screen"))).unwrap();
        let (cursor, screen) = reference.split_once('\n').unwrap();
        let (column, row) = cursor.split_once(' ').unwrap();
        let at = (column.parse().unwrap(), row.parse().unwrap());
        let wanted = lines(screen);

        // In one piece, and in pieces of any size.
        for size in [bytes.len(), 1, 7, 1000] {
            let mut console = Console::new(ROWS, COLUMNS, 100);
            for piece in bytes.chunks(size) {
                let _ = console.feed(piece);
            }
            assert_eq!(lines(&console.text()), wanted, "{name} in pieces of {size}");
            if let Some(cursor) = console.cursor() {
                assert_eq!(cursor, at, "{name}: the cursor");
            }
        }

        let mut parser = vt100::Parser::new(ROWS.try_into().unwrap(), COLUMNS.try_into().unwrap(), 0);
        parser.process(&bytes);
        let rows: Vec<String> = parser.screen().rows(0, COLUMNS).collect();
        assert_eq!(lines(&rows.join("\n")), wanted, "{name}: vt100");
    }
}
