//! Output that nobody will see, reduced to what it changes of the terminal for what comes after it.

/// Mode sequences that are kept, bytes.
const LIMIT: usize = 16 << 10;

/// What must be kept of output whose text is out of sight: set and reset mode, scroll region, keypad, character reset.
pub(super) fn modes(bytes: &[u8]) -> Vec<u8> {
    const CANCEL: u8 = 0x18;
    // The output before may have ended, and this part may end, within a sequence.
    let mut kept = vec![CANCEL];
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == 0x1b) {
        rest = &rest[at..];
        let length = match rest.get(1) {
            Some(b'[') => {
                let body = rest[2..].iter().take(64).take_while(|byte| (0x20..0x40).contains(*byte)).count();
                let last = rest.get(2 + body);
                if matches!(last, Some(b'h' | b'l' | b'r')) {
                    kept.extend_from_slice(&rest[..body + 3]);
                }
                2 + body
            }
            Some(b'=' | b'>' | b'c') => {
                kept.extend_from_slice(&rest[..2]);
                2
            }
            _ => 1,
        };
        rest = &rest[length..];
    }
    if kept.len() > LIMIT {
        // Later modes win, so the newest are worth most.
        let cut = kept.len() - LIMIT;
        let whole = kept[cut..].iter().position(|byte| *byte == 0x1b).map_or(kept.len(), |at| cut + at);
        kept.drain(1..whole);
    }
    kept.push(CANCEL);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_only() {
        let kept = modes(b"text\x1b[31mmore\x1b[?1049h\n\x1b]0;title\x07\x1b[2;5r\x1b=x\x1b[?25");
        assert_eq!(kept, b"\x18\x1b[?1049h\x1b[2;5r\x1b=\x18");
        let many = b"\x1b[?25l\x1b[?25h".repeat(10_000);
        assert!(modes(&many).len() <= LIMIT + 2);
    }
}
