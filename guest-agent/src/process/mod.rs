//! Starting, watching and ending processes.

pub(crate) mod file;
pub(crate) mod launch;
pub(crate) mod pty;
pub(crate) mod reaper;
pub(crate) mod rights;
pub(crate) mod signal;
pub(crate) mod surroundings;
pub(crate) mod tree;
pub(crate) mod user;
