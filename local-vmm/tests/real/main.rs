//! Real machines: those of this host's kind, emulated or on KVM. `cargo xtask lab` runs the same on a real KVM.
//!
//! | file | what it is |
//! |---|---|
//! | `rig` | image, disk, process, and commands inside |
//! | `life` | what every kind of machine can do |
//! | `jail` | what somebody finds who took one over |
//! | `calls` | what threads ask of the kernel, against what they may |
//! | `kvm` | what only our own monitor can do |

mod calls;
mod jail;
mod kvm;
mod life;
mod rig;
