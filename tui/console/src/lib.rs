//! A terminal inside a terminal.
