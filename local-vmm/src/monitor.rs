//! What runs a machine: our own monitor where KVM is real, QEMU's software CPU elsewhere. Kernel, agent, disk and devices are the same.

use crate::MachineSpec;
use crate::devices::block::Block;
use crate::devices::vsock::Vsock;
use crate::emulated::{Disk, Emulated, EmulatedError};
use crate::kvm::{Begin, KvmError, KvmHost, KvmMachine, KvmState, probe};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How a machine is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// By the host's hardware.
    Kvm,
    /// By QEMU's software CPU.
    Emulated,
}

impl Kind {
    /// How machines are run here. The first call takes as long as the probe.
    pub fn of_this_host() -> Self {
        static KIND: OnceLock<Kind> = OnceLock::new();
        *KIND.get_or_init(|| if probe() == KvmState::Usable { Self::Kvm } else { Self::Emulated })
    }

    /// Its name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Emulated => "emulated",
        }
    }
}

/// What a monitor needs of the host, opened before the walls are up.
#[derive(Debug)]
pub enum Host {
    /// For our own.
    Kvm(KvmHost),
    /// QEMU opens what it needs itself, but for the cable of the machine's network.
    Emulated(Option<UnixStream>),
}

impl Host {
    /// Opens it.
    pub fn open(spec: &MachineSpec) -> Result<Self, MonitorError> {
        Ok(match spec.kind {
            Kind::Kvm => Self::Kvm(KvmHost::open(spec)?),
            Kind::Emulated => {
                let cable = spec.net.as_ref().map(|net| UnixStream::connect(&net.socket)).transpose();
                Self::Emulated(cable.map_err(EmulatedError::host("connect the machine's network"))?)
            }
        })
    }
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The guest turned it off.
    Off,
    /// The guest wanted to begin again.
    Reset,
    /// One of its CPUs lost its way so that only a reset was left.
    Fault,
    /// We were told to.
    Killed,
    /// It cannot go on.
    Failed(String),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off | Self::Reset => f.write_str("it was turned off or restarted inside"),
            Self::Fault => f.write_str("one of its CPUs faulted in its own fault handler"),
            Self::Killed => f.write_str("it was killed"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

/// Why a machine cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// Our own monitor.
    #[error(transparent)]
    Kvm(#[from] KvmError),
    /// Only our own can.
    #[error("an emulated machine cannot be kept on disk; it sleeps in memory, or is stopped")]
    Unable,
    /// QEMU.
    #[error(transparent)]
    Emulated(#[from] EmulatedError),
}

/// A running machine.
#[derive(Debug)]
pub enum Monitor {
    /// On KVM.
    Kvm(KvmMachine),
    /// On QEMU.
    Emulated(Emulated),
}

impl Monitor {
    /// Starts the machine of a specification. Its console goes to `console`.
    ///
    /// Must be called from a thread that lives as long as the machine should.
    pub fn start(
        spec: &MachineSpec,
        host: &Host,
        begin: Begin<'_>,
        disk: Block,
        sockets: &Arc<Vsock>,
        console: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, MonitorError> {
        Ok(match (host, begin) {
            (Host::Kvm(host), begin) => {
                Self::Kvm(KvmMachine::start(spec, host, begin, disk, sockets, console)?)
            }
            (Host::Emulated(cable), Begin::Boot(initramfs)) => Self::Emulated(Emulated::start(
                spec,
                initramfs,
                cable.as_ref(),
                Disk::Ours(Box::new(disk)),
                sockets,
                console,
            )?),
            (Host::Emulated(_), Begin::GoOn(_)) => return Err(MonitorError::Unable),
        })
    }

    /// How it is run.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Kvm(_) => Kind::Kvm,
            Self::Emulated(_) => Kind::Emulated,
        }
    }

    /// Host memory that backs the machine now, bytes.
    pub fn memory_bytes(&self) -> u64 {
        match self {
            Self::Kvm(machine) => machine.memory_bytes(),
            Self::Emulated(machine) => machine.memory_bytes(),
        }
    }

    /// Stops all virtual CPUs.
    pub fn pause(&self) -> Result<(), MonitorError> {
        match self {
            Self::Kvm(machine) => machine.pause()?,
            Self::Emulated(machine) => machine.pause()?,
        }
        Ok(())
    }

    /// Lets them go on.
    pub fn resume(&self) -> Result<(), MonitorError> {
        match self {
            Self::Kvm(machine) => machine.resume()?,
            Self::Emulated(machine) => machine.resume()?,
        }
        Ok(())
    }

    /// Keeps a paused machine in a folder, from which one like it can go on. Gives the number of bytes of memory written.
    pub fn keep(&self, spec: &MachineSpec, dir: &Path) -> Result<u64, MonitorError> {
        match self {
            Self::Kvm(machine) => Ok(machine.keep(spec, dir)?),
            Self::Emulated(_) => Err(MonitorError::Unable),
        }
    }

    /// What an emulated machine has computed so far, where it can be told.
    pub fn cpu_time(&self) -> Option<Duration> {
        match self {
            Self::Kvm(_) => None,
            Self::Emulated(machine) => machine.cpu_time(),
        }
    }

    /// Lets an emulated machine begin again from its kernel. Ours needs no such thing.
    pub fn reset(&self) -> Result<(), MonitorError> {
        match self {
            Self::Kvm(_) => {}
            Self::Emulated(machine) => machine.reset()?,
        }
        Ok(())
    }

    /// Ends the machine at once, as pulling the plug would; what the guest flushed is safe.
    pub fn kill(&self) {
        match self {
            Self::Kvm(machine) => machine.kill(),
            Self::Emulated(machine) => machine.kill(),
        }
    }

    /// Waits until the machine has ended or the deadline has passed.
    pub fn wait(&self, deadline: Option<Duration>) -> Option<End> {
        match self {
            Self::Kvm(machine) => machine.wait(deadline),
            Self::Emulated(machine) => machine
                .wait(deadline)
                .map(|status| if status.success() { End::Off } else { End::Failed(status.to_string()) }),
        }
    }
}
