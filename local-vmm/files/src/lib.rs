//! The files on a sprite's disk, read from the host: listed, read, compared, in any of the disk's states and without the sprite.
//!
//! | file | what it is |
//! |---|---|
//! | `device` | what a file system lies on |
//! | `ext4` | the file system |
//! | `state` | paths, listings, bytes |
//! | `compare` | what is different between two states |
//! | `text` | what is different in one file |
//! | `ask` | questions and answers, as they go between two processes |
//!
//! A guest wrote all that is read here. Whoever asks has it done in a process of its own behind walls (`local_vmm::files`); here every list, walk and size
//! has an end. Why it is no library that reads the file system: `docs/disk.md`.

mod ask;
mod compare;
mod device;
mod error;
mod ext4;
mod state;
#[cfg(test)]
mod tests;
mod text;

pub use ask::{Answer, Ask, Head, answer, refuse};
pub use device::Device;
pub use error::{Error, Result};
