//! What a machine on KVM needs of the host, opened before its walls are up: behind them there is no `/dev` and no `/proc`.

use super::KvmError;
use crate::MachineSpec;
use kvm_ioctls::Kvm;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;

/// Bytes of a page, in which the kernel counts.
const PAGE: u64 = 4096;

/// See the module.
#[derive(Debug)]
pub struct KvmHost {
    kvm: File,
    pages: File,
    sizes: File,
    network: Option<UnixStream>,
}

impl KvmHost {
    /// Opens all of it, for the calling process.
    pub fn open(spec: &MachineSpec) -> Result<Self, KvmError> {
        let open = |path: &str, write| File::options().read(true).write(write).open(path);
        let failed = KvmError::host("see this process's own memory");
        Ok(Self {
            kvm: open("/dev/kvm", true).map_err(|source| KvmError::Kvm { doing: "be opened", source })?,
            pages: open("/proc/self/pagemap", false).map_err(failed)?,
            sizes: open("/proc/self/statm", false).map_err(failed)?,
            network: match &spec.net {
                None => None,
                Some(net) => {
                    let cable = UnixStream::connect(&net.socket);
                    Some(cable.map_err(KvmError::host("connect the machine's network"))?)
                }
            },
        })
    }

    /// A way to KVM.
    pub(super) fn kvm(&self) -> Result<Kvm, KvmError> {
        let file = self.kvm.try_clone().map_err(KvmError::host("hand KVM on"))?;
        // SAFETY: the descriptor is open, is KVM's, and belongs to nobody else from here on.
        Ok(unsafe { Kvm::from_raw_fd(file.into_raw_fd()) })
    }

    /// The cable of its network card, when it has one.
    pub(super) fn network(&self) -> Result<Option<UnixStream>, KvmError> {
        let cable = self.network.as_ref().map(UnixStream::try_clone);
        cable.transpose().map_err(KvmError::host("hand the machine's network on"))
    }

    /// What the kernel tells of each page of this process (`Documentation/admin-guide/mm/pagemap.rst` of Linux).
    pub(super) fn pages(&self) -> io::Result<File> {
        self.pages.try_clone()
    }

    /// This process's sizes (`man 5 proc`).
    pub(super) fn sizes(&self) -> io::Result<File> {
        self.sizes.try_clone()
    }
}

/// Memory of a process that is really there, bytes, from its file of sizes; 0 when that cannot be read.
pub(crate) fn resident(path: &str) -> u64 {
    File::open(path).map_or(0, |sizes| resident_of(&sizes))
}

/// The same, from that file while it is open.
pub(super) fn resident_of(sizes: &File) -> u64 {
    let mut bytes = [0; 128];
    // Clones of the file may be read at the same time, so each read says where.
    let Ok(read) = sizes.read_at(&mut bytes, 0) else { return 0 };
    let text = String::from_utf8_lossy(&bytes[..read]);
    text.split_ascii_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_some_memory() {
        let sizes = File::open("/proc/self/statm").unwrap();
        for _ in 0..2 {
            assert!(resident_of(&sizes) > 100 * PAGE);
        }
        assert_eq!(resident("/proc/self/none"), 0);
    }
}
