//! Search in screen and scrollback.
//!
//! What is searched for is plain text; without a capital letter in it, capitals do not matter. Lines that were wrapped are searched in
//! one piece.

use super::page::{Page, Place, push};

/// Most places that are found.
const MAX_HITS: usize = 100_000;
/// Longest text that is searched for, in characters.
pub(crate) const MAX_NEEDLE: usize = 200;

/// A place where the text stands: its first and its last cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// All places where `needle` stands, in their order.
pub(crate) fn find(page: Page<'_>, needle: &str) -> Vec<Hit> {
    let mut hits = Vec::new();
    if needle.is_empty() {
        return hits;
    }
    let folded = !needle.chars().any(char::is_uppercase);
    let finder = memchr::memmem::Finder::new(needle.as_bytes());
    let mut text = String::new();
    let mut line = 0;
    while line < page.lines() {
        let first = line;
        text.clear();
        loop {
            // Blanks at the end of a line could be looked for, and nobody does.
            let to = if page.is_wrapped(line) { page.columns() } else { page.end_of(line) + 1 };
            page.row(line)[..to].iter().for_each(|cell| push(cell, &mut text));
            line += 1;
            if !page.is_wrapped(line - 1) {
                break;
            }
        }
        if folded {
            fold(&mut text);
        }
        let mut places = None;
        for at in finder.find_iter(text.as_bytes()) {
            let places = places.get_or_insert_with(|| page.line_of(first).1);
            let cell = |byte: usize| {
                let index = places.partition_point(|(begin, _)| *begin <= byte).saturating_sub(1);
                // Cells behind a wide character begin where it ends, so the first of them is asked for.
                let begin = places[index].0;
                places[places.partition_point(|(other, _)| *other < begin)].1
            };
            let (start, last) = (cell(at), cell(at + needle.len() - 1));
            hits.push(Hit { start, end: page.end_of_cell(page.settled(last)) });
            if hits.len() >= MAX_HITS {
                return hits;
            }
        }
    }
    hits
}

/// Makes capital letters small, where that does not change the number of bytes.
fn fold(text: &mut String) {
    if text.is_ascii() {
        text.make_ascii_lowercase();
        return;
    }
    *text = text
        .chars()
        .map(|c| {
            let mut small = c.to_lowercase();
            match (small.next(), small.next()) {
                (Some(one), None) if one.len_utf8() == c.len_utf8() => one,
                _ => c,
            }
        })
        .collect();
}
