//! Addresses behind cells.
//!
//! A program may print another link into each cell, so cells hold a number only, and the table of addresses is bounded: of too many
//! the oldest become plain text.

use std::collections::VecDeque;

use alacritty_terminal::vte::ansi::Hyperlink;

/// Longest address, in bytes; what browsers take.
const MAX_ADDRESS_BYTES: usize = 2083;
/// Most bytes of addresses that are kept.
const MAX_BYTES: usize = 1 << 20;
/// Most addresses that are kept.
const MAX_LINKS: usize = 4096;

/// The addresses of one console.
#[derive(Debug, Default)]
pub(crate) struct Links {
    kept: VecDeque<String>,
    /// The number of the first one that is kept.
    first: u64,
    bytes: usize,
}

impl Links {
    /// What cells hold for a link, or `None` when it is nothing that could be opened.
    pub(crate) fn keep(&mut self, address: &str) -> Option<Hyperlink> {
        if address.len() > MAX_ADDRESS_BYTES || address.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return None;
        }
        // Programs begin the same link anew on each line.
        let number = match self.kept.back() {
            Some(last) if last == address => self.first + self.kept.len() as u64 - 1,
            _ => {
                self.bytes += address.len();
                self.kept.push_back(address.to_owned());
                while self.kept.len() > MAX_LINKS || self.bytes > MAX_BYTES {
                    let gone = self.kept.pop_front();
                    self.bytes -= gone.map_or(0, |gone| gone.len());
                    self.first += 1;
                }
                self.first + self.kept.len() as u64 - 1
            }
        };
        Some(Hyperlink { id: Some(String::new()), uri: number.to_string() })
    }

    /// The address for what a cell holds.
    pub(crate) fn address(&self, held: &str) -> Option<&str> {
        let place = held.parse::<u64>().ok()?.checked_sub(self.first)?;
        self.kept.get(usize::try_from(place).ok()?).map(String::as_str)
    }
}

/// The address of a web page that is written in `text` and covers the character at this place, in bytes.
pub(crate) fn written(text: &str, at: usize) -> Option<&str> {
    let ends =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | '`' | '│' | '|');
    for (begin, _) in text.match_indices("http") {
        let rest = &text[begin..];
        if !rest.starts_with("http://") && !rest.starts_with("https://") {
            continue;
        }
        let mut address = &rest[..rest.find(ends).unwrap_or(rest.len())];
        // What ends a sentence or closes a bracket around it does not belong to it.
        loop {
            let cut = match address.chars().next_back() {
                Some('.' | ',' | ';' | ':' | '!' | '?' | '\'') => true,
                Some(')') => address.matches(')').count() > address.matches('(').count(),
                Some(']') => address.matches(']').count() > address.matches('[').count(),
                _ => false,
            };
            if !cut {
                break;
            }
            address = &address[..address.len() - 1];
        }
        if (begin..begin + address.len()).contains(&at) && address.len() <= MAX_ADDRESS_BYTES {
            return Some(address);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded() {
        let mut links = Links::default();
        let first = links.keep("http://first.example").unwrap();
        assert_eq!(links.address(&first.uri), Some("http://first.example"));
        for number in 0..10_000 {
            let link = links.keep(&format!("http://x.example/{number}/{}", "y".repeat(1000))).unwrap();
            assert!(links.address(&link.uri).unwrap().contains(&format!("/{number}/")));
        }
        assert!(links.bytes <= MAX_BYTES && links.kept.len() <= MAX_LINKS);
        assert_eq!(links.address(&first.uri), None);
        assert_eq!(links.address("x"), None);
        assert!(links.keep(&"x".repeat(5000)).is_none() && links.keep("http://a b").is_none());
        let (one, two) = (links.keep("http://same"), links.keep("http://same"));
        assert_eq!(one.unwrap().uri, two.unwrap().uri);
    }

    #[test]
    fn written_addresses() {
        let text = "see (https://a.example/b_(c)), or http://d.example.";
        assert_eq!(written(text, 6), Some("https://a.example/b_(c)"));
        assert_eq!(written(text, 0), None);
        assert_eq!(written(text, 40), Some("http://d.example"));
        assert_eq!(written(text, text.len() - 1), None);
    }
}
