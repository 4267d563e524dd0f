//! A terminal inside a terminal.
//!
//! [`Console`] takes the output of a program, keeps its screen and scrollback, draws them into a ratatui buffer, and turns
//! key, mouse and paste events into the bytes the program expects. It starts no thread, keeps no timer and does no I/O: bytes
//! in, bytes out. Copy mode, in which text is looked for and taken from screen and scrollback, is a part of it.
//!
//! The emulation itself is `alacritty_terminal`. What stands around it here is a door against hostile output: everything the
//! program prints may have been made to harm the person who looks at it.
//!
//! | danger | answer |
//! |---|---|
//! | reading the clipboard (OSC 52) | no answer |
//! | writing it | told to the caller as text without control characters |
//! | control strings without end, long titles, another link in each cell | bounded, so memory stays bounded |
//! | keyboard flags pushed without end | a bounded stack of our own |
//! | hundreds of combining characters on one cell | eight are kept |
//! | characters that reorder the line (bidirectional controls) | dropped |
//! | five bytes that ask for 65,535 characters (REP) | work is bounded in proportion to the bytes received |
//! | queries in a flood | replies are bounded per call |
//! | synchronized updates that never end | shown after 150 ms |
//! | asking for the title, which would come back as if typed | no answer |

#![forbid(unsafe_code)]

mod console;
mod copy;
mod cursors;
mod door;
mod draw;
mod emulator;
mod hold;
mod keyboard;
mod keys;
mod links;
mod margins;
mod modes;
mod mouse;
mod outbox;
mod palette;
mod paste;
mod scan;
mod sequences;

pub use console::{Console, MAX_COLUMNS, MAX_REPLY_BYTES, MAX_ROWS, MAX_SCROLLBACK_CELLS, MAX_TITLE_CHARS};
pub use copy::{Marks, Outcome, Shape, Status};
pub use sequences::Happening;
