//! The full-screen app.
//!
//! ```text
//! terminal, server ──events──▶ update ──▶ model ──▶ view ──▶ terminal
//!                                └──effects──▶ worker ──▶ server
//! ```
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | everything the app knows, as plain data |
//! | [`action`] | what a person can do: one table for dispatch, keys, help |
//! | [`keys`] | which keys do it |
//! | [`filter`] | terms that choose sprites |
//! | `search` | looking for a text |
//! | [`update`] | events change the model and ask for effects |
//! | [`view`] | the model as cells; reads only |
//! | [`terminal`] | the modes a terminal is in while the app has it |
//! | [`look`] | what a terminal can show, and what its person wants of it |
//! | [`theme`] | colours |
//! | [`appearance`] | from the configuration to keys, colours and look |
//! | [`question`] | questions to the terminal |
//! | [`background`] | whether the terminal is light |
//! | [`watch`] | files that change while the app runs |
//! | [`screen`] | the terminal in the app's hands |
//! | [`mishap`] | panics |
//! | [`pace`] | when a frame may be drawn |
//! | [`plain`] | the screen line by line, for those who hear it |
//! | [`suspend`] | the app in the background of a shell |
//! | [`worker`] | effects, done against a server |
//! | `moves` | exports and imports, which outlive a context |
//! | `edits` | files of sprites edited here, which outlive one too |
//! | [`glances`] | what every context does, for the dashboard |
//! | [`config`] | the configuration file |
//! | [`guard`] | the process that puts the terminal back when the app is killed |
//! | [`prefix`] | the one key of a console, and what can follow it |
//! | [`clipboard`] | the clipboard of the machine that a person sits at |
//! | [`keep`] | which consoles there were, for the next run |
//! | [`browser`] | the browser of the machine that a person sits at |
//! | [`number`] | numbers for people |
//! | [`run`] | the loop: terminal, time, frames |

pub mod action;
pub mod appearance;
pub mod background;
pub mod browser;
pub mod clipboard;
pub mod config;
mod edits;
pub mod filter;
pub mod glances;
pub mod guard;
pub mod keep;
pub mod keys;
pub mod look;
pub mod mishap;
pub mod model;
mod moves;
pub mod number;
pub mod pace;
pub mod plain;
pub mod prefix;
pub mod question;
pub mod run;
pub mod screen;
mod search;
pub mod suspend;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
pub mod watch;
pub mod worker;
