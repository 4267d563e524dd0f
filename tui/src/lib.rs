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
//! | [`update`] | events change the model and ask for effects |
//! | [`view`] | the model as cells; reads only |
//! | [`terminal`] | the modes a terminal is in while the app has it |
//! | [`theme`] | colours |
//! | [`worker`] | effects, done against a server |
//! | [`config`] | the configuration file |
//! | [`guard`] | the process that puts the terminal back when the app is killed |
//! | [`browser`] | the browser of the machine that a person sits at |
//! | [`number`] | numbers for people |
//! | [`run`] | the loop: terminal, time, frames |

pub mod action;
pub mod browser;
pub mod config;
pub mod filter;
pub mod guard;
pub mod keys;
pub mod model;
pub mod number;
pub mod run;
pub mod terminal;
pub mod theme;
pub mod update;
pub mod view;
pub mod worker;
