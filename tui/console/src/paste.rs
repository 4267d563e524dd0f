//! Pasted text, made safe to send.
//!
//! Text from a clipboard may hold anything, also bytes that end a bracketed paste early and go on as typed commands. So control
//! characters do not pass, except tabs and line ends.

/// What ends a bracketed paste.
const END: &str = "\x1b[201~";
/// What begins a bracketed paste.
const BEGIN: &str = "\x1b[200~";

/// The bytes to send for pasted `text`; in brackets when the program asked for them. Line ends become carriage returns, as if
/// typed.
pub(crate) fn encode(text: &str, bracketed: bool) -> Vec<u8> {
    let mut out = String::with_capacity(text.len() + if bracketed { BEGIN.len() + END.len() } else { 0 });
    if bracketed {
        out.push_str(BEGIN);
    }
    // The end marker goes as a whole, so that its printable half does not stay behind. Taking one out may join two halves to
    // a new one; the filter below takes its escape character away in any case.
    for part in text.split(END) {
        let mut characters = part.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\r' => {
                    characters.next_if_eq(&'\n');
                    out.push('\r');
                }
                '\n' => out.push('\r'),
                '\t' => out.push('\t'),
                character if character.is_control() => {}
                character => out.push(character),
            }
        }
    }
    if bracketed {
        out.push_str(END);
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        String::from_utf8(encode(text, false)).unwrap()
    }

    #[test]
    fn line_ends_become_carriage_returns() {
        assert_eq!(plain("a\nb\r\nc\rd\te\n\n"), "a\rb\rc\rd\te\r\r");
    }

    #[test]
    fn control_characters_do_not_pass() {
        assert_eq!(plain("a\x1b[31mb\x03c\u{9b}d\x7fe\0"), "a[31mbcde");
    }

    #[test]
    fn a_bracketed_paste_cannot_be_broken_out_of() {
        for hostile in ["x\x1b[201~rm -rf\n", "x\x1b[20\x1b[201~1~y", "\x1b\x1b[201~[201~", "\u{9b}201~"] {
            let bytes = encode(hostile, true);
            let text = String::from_utf8(bytes).unwrap();
            assert!(text.starts_with(BEGIN) && text.ends_with(END), "{text:?}");
            let inside = &text[BEGIN.len()..text.len() - END.len()];
            assert!(!inside.contains(['\x1b', '\u{9b}']), "{inside:?}");
        }
        assert_eq!(encode("x\x1b[201~y", true), b"\x1b[200~xy\x1b[201~");
    }

    #[test]
    fn wide_and_combined_text_stays() {
        assert_eq!(plain("漢字 e\u{301} 👩\u{200d}🚀"), "漢字 e\u{301} 👩\u{200d}🚀");
    }
}
