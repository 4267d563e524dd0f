//! What consoles understand, sequence by sequence, as the public documents have it.
//!
//! In the manner of esctest, which no package brings; `examples/esctest.rs` runs that one. Sources: ECMA-48, DEC's "VT510 Reference",
//! "XTerm Control Sequences". `docs/consoles.md` lists the same names; [`MISSING`] are those that xterm knows and consoles do not, tested to do
//! no harm.

use sprites_console::Console;

/// Name, output, and what the screen of 5 rows and 10 columns shows then, without blank lines at its end.
const SCREENS: &[(&str, &str, &str)] = &[
    ("CUP", "\x1b[2;3Hx\x1b[Hy\x1b[99;99Hz", "y\n  x\n\n\n         z"),
    ("HVP", "\x1b[2;3fx", "\n  x"),
    ("CUU", "\x1b[4;1H\x1b[2Ax\x1b[99Ay", " y\nx"),
    ("CUD", "\x1b[2Bx\x1b[99By", "\n\nx\n\n y"),
    ("CUF", "\x1b[3Cx\x1b[99Cy", "   x     y"),
    ("CUB", "abcdef\x1b[3Dx\x1b[99Dy", "ybcxef"),
    ("CNL", "ab\x1b[2Ex", "ab\n\nx"),
    ("CPL", "\x1b[3;3H\x1b[2Fx", "x"),
    ("CHA", "abc\x1b[2Gx", "axc"),
    ("HPA", "abc\x1b[2`x", "axc"),
    ("HPR", "a\x1b[2ax", "a  x"),
    ("VPA", "a\x1b[3dx", "a\n\n x"),
    ("VPR", "a\x1b[2ex", "a\n\n x"),
    ("BS", "ab\x08\x08\x08x", "xb"),
    ("CR", "ab\rx", "xb"),
    ("LF", "ab\ncd", "ab\n  cd"),
    ("VT", "ab\x0bcd", "ab\n  cd"),
    ("FF", "ab\x0ccd", "ab\n  cd"),
    ("NEL", "ab\x1bEcd", "ab\ncd"),
    ("IND", "ab\x1bDcd", "ab\n  cd"),
    ("RI", "ab\x1bMcd", "  cd\nab"),
    ("HT", "a\tb", "a       b"),
    ("HTS", "\x1b[4G\x1bH\r\tx", "   x"),
    ("TBC", "\x1b[9G\x1b[g\r\tx", "         x"),
    ("TBC all", "\x1b[3g\tx", "         x"),
    ("CBT", "abcdefghij\r\x1b[10G\x1b[Zx", "abcdefghxj"),
    ("CHT", "\x1b[Ix", "        x"),
    ("ED below", "abc\r\ndef\r\nghi\x1b[2;2H\x1b[J", "abc\nd"),
    ("ED above", "abc\r\ndef\r\nghi\x1b[2;2H\x1b[1J", "\n  f\nghi"),
    ("ED all", "abc\x1b[2Jx", "   x"),
    ("DECSED", "abc\r\x1b[?Jx", "x"),
    ("EL right", "abcdef\x1b[3G\x1b[K", "ab"),
    ("EL left", "abcdef\x1b[3G\x1b[1K", "   def"),
    ("EL all", "abcdef\x1b[2K", ""),
    ("DECSEL", "abcdef\x1b[3G\x1b[?K", "ab"),
    ("ECH", "abcdef\x1b[2G\x1b[3X", "a   ef"),
    ("ICH", "abcdef\x1b[2G\x1b[2@", "a  bcdef"),
    ("DCH", "abcdef\x1b[2G\x1b[2P", "adef"),
    ("IL", "a\r\nb\r\nc\x1b[2;1H\x1b[L", "a\n\nb\nc"),
    ("DL", "a\r\nb\r\nc\x1b[2;1H\x1b[M", "a\nc"),
    ("SU", "a\r\nb\r\nc\x1b[S", "b\nc"),
    ("SD", "a\r\nb\x1b[T", "\na\nb"),
    ("REP", "a\x1b[3bx", "aaaax"),
    ("DECSTBM", "1\r\n2\r\n3\r\n4\r\n5\x1b[2;4r\x1b[4;1H\nx", "1\n3\n4\nx\n5"),
    ("DECOM", "\x1b[2;4r\x1b[?6h\x1b[1;1Hx\x1b[99;1Hy", "\nx\n\ny"),
    ("DECOM off", "\x1b[2;4r\x1b[?6h\x1b[?6lx", "x"),
    ("CUU, CUD at margins", "\x1b[2;4r\x1b[3;1H\x1b[9Ax\x1b[9By", "\nx\n\n y"),
    ("CHA with DECOM", "\x1b[2;4r\x1b[?6hab\x1b[1Gx\x1b[By", "\nxb\n y"),
    ("DECAWM on", "abcdefghijkl", "abcdefghij\nkl"),
    ("DECAWM off", "\x1b[?7labcdefghijkl", "abcdefghil"),
    ("a wrap waits", "abcdefghij\rx", "xbcdefghij"),
    ("IRM", "abc\r\x1b[4hx", "xabc"),
    ("LNM", "\x1b[20hab\ncd", "ab\ncd"),
    ("DECSC, DECRC", "ab\x1b7\x1b[3;3Hx\x1b8y", "aby\n\n  x"),
    ("SCOSC, SCORC", "ab\x1b[s\x1b[3;3Hx\x1b[uy", "aby\n\n  x"),
    ("DECALN", "\x1b#8\x1b[2J\x1b#8", "EEEEEEEEEE\nEEEEEEEEEE\nEEEEEEEEEE\nEEEEEEEEEE\nEEEEEEEEEE"),
    ("RIS", "abc\x1b[?7l\x1b[4h\x1bcx", "x"),
    ("DECSTR", "\x1b[2;3r\x1b[?6h\x1b[4h\x1b[!p\x1b[1;1Hab\x1b[1;1Hc", "cb"),
    ("DECRC and DECOM", "\x1b[3;3H\x1b7\x1b[2;4r\x1b[?6h\x1b8\x1b[1;1Hx", "x"),
    ("DECRC and SO", "\x1b)0\x0e\x1b7\x0f\x1b8q\x0f", "─"),
    ("save cursor 1048", "ab\x1b[?1048h\x1b[3;3Hx\x1b[?1048ly", "aby\n\n  x"),
    ("HT behind the last column", "abcdefghij\tx", "abcdefghij\nx"),
    ("DECCOLM clears margins", "a\x1b[2;3r\x1b[?40h\x1b[?3h\x1b[9Bx", "\n\n\n\nx"),
    ("DECCOLM without 40", "ab\x1b[?3lc", "abc"),
    ("SCS", "\x1b(0lqk\x1b(Bx", "┌─┐x"),
    ("SI, SO", "\x1b)0q\x0eq\x0fq", "q─q"),
    ("alternate screen 1049", "main\x1b[?1049h\x1b[Halt\x1b[?1049lx", "mainx"),
    ("alternate screen 47", "main\x1b[?47h\x1b[Halt\x1b[?47l", "main"),
    ("alternate screen 1047", "main\x1b[?1047h\x1b[Halt\x1b[?1047l", "main"),
    ("cursors of both screens", "a\x1b7\x1b[?47h\x1b[3;3H\x1b7\x1b[?47l\x1b8b\x1b[?47h\x1b8c", "\n\n  c"),
    ("cursor and 1047", "ab\x1b[?1047h\x1b[3;3H\x1b[?1047lc", "ab\n\n  c"),
    ("1049 restores DECOM and SO", "\x1b)0\x1b[?1049h\x1b[2;4r\x1b[?6h\x0e\x1b[?1049l\x1b[Hq", "q"),
    ("CAN", "a\x1b[3\x18b", "ab"),
    ("C0 within CSI", "abc\x1b[2\rGx", "axc"),
    ("OSC is swallowed", "a\x1b]1337;File=x\x07b\x1b]9999;x\x1b\\c", "abc"),
    ("DCS, APC, PM, SOS are swallowed", "a\x1bPq#0\x1b\\b\x1b_Gx\x1b\\c\x1b^x\x1b\\d\x1bXx\x1b\\e", "abcde"),
    ("wide at the edge", "abcdefghi漢", "abcdefghi\n漢"),
    ("half of a wide one is cleared", "漢\x1b[2Gx", " x"),
    ("UTF-8 that is none", "a\u{fffd}b", "a\u{fffd}b"),
];

/// Name, output, and what is answered.
const ANSWERS: &[(&str, &str, &str)] = &[
    ("DA1", "\x1b[c\x1b[0c\x1bZ", "\x1b[?62;22;52c\x1b[?62;22;52c\x1b[?62;22;52c"),
    ("DA3", "\x1b[=c", "\x1bP!|00000000\x1b\\"),
    ("DSR", "\x1b[5n", "\x1b[0n"),
    ("CPR", "\x1b[2;3H\x1b[6n", "\x1b[2;3R"),
    ("CPR with DECOM", "\x1b[2;4r\x1b[?6h\x1b[2;3H\x1b[6n", "\x1b[2;3R"),
    ("DECXCPR", "\x1b[2;3H\x1b[?6n", "\x1b[?2;3R"),
    ("DECRQM of a mode", "\x1b[4h\x1b[4$p\x1b[4l\x1b[4$p", "\x1b[4;1$y\x1b[4;2$y"),
    (
        "DECRQM of a private mode",
        "\x1b[?1$p\x1b[?1h\x1b[?1$p\x1b[?9999$p",
        "\x1b[?1;2$y\x1b[?1;1$y\x1b[?9999;0$y",
    ),
    ("DECRQM of editing modes", "\x1b[1$p\x1b[19$p\x1b[3$p", "\x1b[1;4$y\x1b[19;4$y\x1b[3;0$y"),
    ("DECRQM of screens", "\x1b[?47$p\x1b[?47h\x1b[?1047$p", "\x1b[?47;2$y\x1b[?1047;1$y"),
    ("DECNKM", "\x1b[?66$p\x1b[?66h\x1b[?66$p\x1b>\x1b[?66$p", "\x1b[?66;2$y\x1b[?66;1$y\x1b[?66;2$y"),
    (
        "DSR of devices",
        "\x1b[?15n\x1b[?25n\x1b[?26n\x1b[?55n\x1b[?56n\x1b[?62n\x1b[?75n\x1b[?85n\x1b[?63;1n",
        "\x1b[?13n\x1b[?21n\x1b[?27;0n\x1b[?50n\x1b[?57;0n\x1b[0*{\x1b[?70n\x1b[?83n",
    ),
    ("DECRQSS DECSTBM", "\x1bP$qr\x1b\\\x1b[2;4r\x1bP$qr\x1b\\", "\x1bP1$r1;5r\x1b\\\x1bP1$r2;4r\x1b\\"),
    ("DECRQSS DECSASD, DECSSDT", "\x1bP$q$}\x1b\\\x1bP$q$~\x1b\\", "\x1bP1$r0$}\x1b\\\x1bP1$r0$~\x1b\\"),
    ("DECRQSS SGR", "\x1b[1;4;31m\x1bP$qm\x1b\\", "\x1bP1$r0;1;4;31m\x1b\\"),
    ("DECRQSS DECSCUSR", "\x1b[3 q\x1bP$q q\x1b\\", "\x1bP1$r3 q\x1b\\"),
    ("DECRQSS of what is not known", "\x1bP$q\"p\x1b\\", "\x1bP0$r\x1b\\"),
    ("XTGETTCAP", "\x1bP+q436F\x1b\\", "\x1bP1+r436F=323536\x1b\\"),
    ("XTWINOPS 18", "\x1b[18t", "\x1b[8;5;10t"),
    ("XTWINOPS 14, 16, 19", "\x1b[14t\x1b[16t\x1b[19t", "\x1b[4;80;80t\x1b[6;16;8t\x1b[9;5;10t"),
    (
        "OSC 4, 10, 11",
        "\x1b]4;1;?\x07\x1b]10;?\x07\x1b]11;?\x07",
        "\x1b]4;1;rgb:cdcd/0000/0000\x07\x1b]10;rgb:e5e5/e5e5/e5e5\x07\x1b]11;rgb:0000/0000/0000\x07",
    ),
    (
        "OSC 4, 10 set, OSC 104, 110",
        "\x1b]4;1;#abc\x07\x1b]4;1;?\x07\x1b]104;1\x07\x1b]4;1;?\x07\x1b]10;rgb:12/34/56\x07\x1b]10;?\x1b\\\x1b]110\x07\x1b]10;?\x07",
        "\x1b]4;1;rgb:a0a0/b0b0/c0c0\x07\x1b]4;1;rgb:cdcd/0000/0000\x07\x1b]10;rgb:1212/3434/5656\x1b\\\x1b]10;rgb:e5e5/e5e5/e5e5\x07",
    ),
    ("kitty keyboard", "\x1b[?u\x1b[>1u\x1b[?u\x1b[<u\x1b[?u", "\x1b[?0u\x1b[?1u\x1b[?0u"),
    ("OSC 52, asking", "\x1b]52;c;?\x07", ""),
    ("titles, asking", "\x1b]2;rm\x07\x1b[20t\x1b[21t", ""),
];

/// What xterm knows and consoles do not, and what is shown then. None of it may break what comes behind it.
const MISSING: &[(&str, &str, &str)] = &[
    ("DECDHL, DECDWL", "\x1b#3a\x1b#6b", "ab"),
    ("DECSLRM", "\x1b[?69h\x1b[3;5sabc", "abc"),
    ("DECFRA, DECERA, DECCRA", "\x1b[88;1;1;2;2$xa\x1b[1;1;2;2$zb\x1b[1;1;2;2;1;3;3;1$v", "ab"),
    ("DECIC, DECDC", "ab\r\x1b[2'}\x1b[2'~c", "cb"),
    ("DECBI, DECFI", "a\x1b6b\x1b9c", "abc"),
    ("SPA, EPA", "a\x1bVb\x1bW\x1b[2K", ""),
    ("reverse wrap", "\x1b[?45;1045h\x1b[2;1H\x08x", "\nx"),
    ("XTSAVE, XTRESTORE", "ab\x1b[?7s\x1b[?7l\x1b[?7rc", "abc"),
    ("special colours", "a\x1b]5;0;#fff\x07b", "ab"),
    ("DECSCA", "a\x1b[1\"qb\x1b[0\"q\r\x1b[?2K", ""),
    ("DECSCNM", "a\x1b[?5hb", "ab"),
    ("VT52", "a\x1b[?2lb", "ab"),
    ("8-bit controls", "a\x1b Gb\x1b F", "ab"),
    ("national character sets", "\x1b(A#\x1b(B", "#"),
    ("sixel, kitty images", "a\x1bPq\"1;1;1;1#0~-\x1b\\\x1b_Ga=T;AAAA\x1b\\b", "ab"),
    ("DECRQCRA", "a\x1b[1;1;1;1;1;1*yb", "ab"),
    ("DECSCPP, DECSNLS", "a\x1b[132$|\x1b[48*|b", "ab"),
];

fn screen(output: &str) -> String {
    let mut console = Console::new(5, 10, 0);
    let _ = console.feed(output.as_bytes());
    console.text().trim_end_matches('\n').to_owned()
}

#[test]
fn screens_are_as_documented() {
    let wrong: Vec<String> = SCREENS
        .iter()
        .filter(|(_, output, wanted)| screen(output) != *wanted)
        .map(|(name, output, wanted)| format!("{name}: {:?} is not {wanted:?}", screen(output)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn answers_are_as_documented() {
    for (name, output, wanted) in ANSWERS {
        let mut console = Console::new(5, 10, 0);
        let answer = String::from_utf8(console.feed(output.as_bytes())).unwrap();
        assert_eq!(answer, *wanted, "{name}");
    }
}

#[test]
fn what_is_missing_does_no_harm() {
    for (name, output, wanted) in MISSING {
        assert_eq!(screen(output), *wanted, "{name}");
    }
}

/// The list in the documents is this one.
#[test]
fn the_documents_list_all_of_it() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/consoles.md");
    let text = std::fs::read_to_string(path).unwrap();
    let names = SCREENS.iter().chain(ANSWERS).chain(MISSING).map(|(name, ..)| *name);
    let absent: Vec<&str> = names.filter(|name| !text.contains(name)).collect();
    assert!(absent.is_empty(), "docs/consoles.md does not tell of {}", absent.join(", "));
}
