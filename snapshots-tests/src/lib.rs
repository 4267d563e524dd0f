//! What a person sees, pinned; and the whole system, driven as a person drives it.

pub mod fit;
pub mod harness;
pub mod modes;
pub mod person;
pub mod picture;
pub mod process;
pub mod programs;
pub mod pty;
pub mod said;
pub mod scripted;
pub mod tools;
pub mod tour;
pub mod world;
