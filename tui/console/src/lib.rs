//! A terminal inside a terminal.
//!
//! [`Console`] takes the output of a program, keeps its screen and scrollback, draws them into a ratatui buffer, and turns
//! key, mouse and paste events into the bytes the program expects. It starts no thread, keeps no timer and does no I/O: bytes
//! in, bytes out.
//!
//! The emulation itself is `alacritty_terminal`. What stands around it here is a door against hostile output: everything the
//! program prints may have been made to harm the person who looks at it.
//!
//! | danger | answer |
//! |---|---|
//! | clipboard reads and writes (OSC 52) | dropped |
//! | control strings without end, long titles, hyperlinks in each cell | bounded or dropped, so memory stays bounded |
//! | hundreds of combining characters on one cell | eight are kept |
//! | characters that reorder the line (bidirectional controls) | dropped |
//! | five bytes that ask for 65,535 characters (REP) | work is bounded in proportion to the bytes received |
//! | queries in a flood | replies are bounded per call |
//! | synchronized updates that never end | not supported, and reported so |

#![forbid(unsafe_code)]

mod console;
mod draw;
mod emulator;
mod keys;
mod mouse;
mod palette;
mod paste;
mod strings;

pub use console::{Console, MAX_COLUMNS, MAX_REPLY_BYTES, MAX_ROWS, MAX_SCROLLBACK_CELLS, MAX_TITLE_CHARS};
