//! What a person sees, pinned; and the whole system, driven as a person drives it.

pub mod fit;
pub mod harness;
pub mod person;
pub mod picture;
pub mod process;
pub mod pty;
pub mod said;
pub mod scripted;
pub mod tools;
pub mod world;
