//! The threads that run the CPUs.
//!
//! A thread is in one of two places: in the kernel, running the guest, or at the gate, waiting. To bring it from the first to the second it
//! gets a signal, which does nothing but end the kernel's work; since it may come a moment before that work begins, it is repeated until the
//! thread stands at the gate.

use super::KvmError;
use super::bus::{Bus, Wish};
use crate::jail::{self, Role};
use crate::monitor::End;
use kvm_ioctls::{VcpuExit, VcpuFd};
use nix::sys::pthread::{Pthread, pthread_kill, pthread_self};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Interrupts a thread's work in the kernel.
const KICK: Signal = Signal::SIGUSR1;
/// Between two kicks.
const AGAIN: Duration = Duration::from_millis(1);

/// What the threads are to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Run,
    Wait,
}

#[derive(Debug)]
struct State {
    order: Order,
    end: Option<End>,
    /// Threads that stand at the gate.
    waiting: usize,
    /// Threads that have not ended.
    alive: Vec<Pthread>,
}

/// Where threads wait.
#[derive(Debug)]
pub(super) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each step leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether threads should come to the gate.
    fn is_closed(&self) -> bool {
        let state = self.lock();
        state.order == Order::Wait || state.end.is_some()
    }

    /// Waits while that is ordered. False when the machine has ended.
    fn pass(&self) -> bool {
        let mut state = self.lock();
        if state.order == Order::Wait && state.end.is_none() {
            state.waiting += 1;
            self.changed.notify_all();
            state = self
                .changed
                .wait_while(state, |state| state.order == Order::Wait && state.end.is_none())
                .unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
        state.end.is_none()
    }

    /// Ends the machine, unless it has ended already.
    pub(super) fn end(&self, end: End) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        kick(&state);
        self.changed.notify_all();
    }

    /// How the machine ended, as soon as it has and its threads are gone; none when the deadline passes.
    pub(super) fn ended(&self, deadline: Option<Duration>) -> Option<End> {
        let give_up = deadline.map(|deadline| Instant::now() + deadline);
        let mut state = self.lock();
        loop {
            if state.end.is_some() && state.alive.is_empty() {
                return state.end.clone();
            }
            let left = give_up.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            // Threads on their way out may need another kick.
            let pause = if state.end.is_some() { Some(AGAIN) } else { left };
            state = match pause {
                Some(pause) => {
                    self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
            if state.end.is_some() {
                kick(&state);
            }
        }
    }

    /// Brings all threads to the gate.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.order = Order::Wait;
        while state.end.is_none() && state.waiting < state.alive.len() {
            kick(&state);
            state = self.changed.wait_timeout(state, AGAIN).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Lets them go on.
    pub(super) fn open(&self) {
        self.lock().order = Order::Run;
        self.changed.notify_all();
    }
}

fn kick(state: &State) {
    for thread in &state.alive {
        // Threads strike themselves off before they end.
        let _ = pthread_kill(*thread, KICK);
    }
}

extern "C" fn nothing(_: libc::c_int) {}

/// Starts the threads; they wait at the gate, which is closed.
pub(super) fn start(vcpus: &[Arc<Mutex<VcpuFd>>], bus: &Arc<Bus>) -> Result<Arc<Gate>, KvmError> {
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing, so it may run anywhere.
    unsafe { sigaction(KICK, &action) }
        .map_err(|errno| KvmError::host("take over a signal")(errno.into()))?;
    let gate = Arc::new(Gate {
        state: Mutex::new(State { order: Order::Wait, end: None, waiting: 0, alive: Vec::new() }),
        changed: Condvar::new(),
    });
    let count = vcpus.len();
    for (number, vcpu) in vcpus.iter().enumerate() {
        let (vcpu, bus, at) = (Arc::clone(vcpu), Arc::clone(bus), Arc::clone(&gate));
        let body = move || {
            let myself = pthread_self();
            at.lock().alive.push(myself);
            at.changed.notify_all();
            let end = run(&vcpu, &bus, &at);
            let mut state = at.lock();
            state.alive.retain(|thread| *thread != myself);
            if let Some(end) = end {
                state.end.get_or_insert(end);
                kick(&state);
            }
            at.changed.notify_all();
        };
        jail::spawn(Role::Cpu, &format!("vcpu-{number}"), body)
            .map_err(KvmError::host("start a CPU's thread"))?;
    }
    let state = gate.lock();
    drop(gate.changed.wait_while(state, |state| state.alive.len() < count));
    Ok(gate)
}

/// Runs a CPU until its machine ends; tells why, when it is the reason.
///
/// The CPU is locked while it runs; whoever closed the gate may lock it.
fn run(vcpu: &Mutex<VcpuFd>, bus: &Bus, gate: &Gate) -> Option<End> {
    loop {
        if gate.is_closed() {
            // What the guest read from a device reaches its registers with the next entry, and may ask for more: an instruction that the kernel
            // carries out piece by piece. None of that must wait for the gate.
            loop {
                let mut vcpu = vcpu.lock().unwrap_or_else(PoisonError::into_inner);
                vcpu.set_kvm_immediate_exit(1);
                let step = step(&mut vcpu, bus);
                vcpu.set_kvm_immediate_exit(0);
                match step {
                    Step::Again => {}
                    Step::Interrupted => break,
                    Step::End(end) => return Some(end),
                }
            }
            if !gate.pass() {
                return None;
            }
        }
        let mut vcpu = vcpu.lock().unwrap_or_else(PoisonError::into_inner);
        if let Step::End(end) = step(&mut vcpu, bus) {
            return Some(end);
        }
    }
}

/// What came of running a CPU once.
enum Step {
    /// It wants to go on.
    Again,
    /// Something outside the guest ended it.
    Interrupted,
    End(End),
}

/// Runs a CPU until it needs something.
fn step(vcpu: &mut VcpuFd, bus: &Bus) -> Step {
    let failed = |why: String| Step::End(End::Failed(why));
    match vcpu.run() {
        Ok(VcpuExit::IoOut(port, data)) => match bus.port_write(port, data) {
            Wish::Nothing => Step::Again,
            Wish::Reset => Step::End(End::Reset),
            Wish::Off => Step::End(End::Off),
        },
        Ok(VcpuExit::IoIn(port, data)) => {
            bus.port_read(port, data);
            Step::Again
        }
        Ok(VcpuExit::MmioRead(address, data)) => {
            bus.read(address, data);
            Step::Again
        }
        Ok(VcpuExit::MmioWrite(address, data)) => {
            bus.write(address, data);
            Step::Again
        }
        Ok(VcpuExit::Hlt) => Step::Again,
        Ok(VcpuExit::Intr) => Step::Interrupted,
        Ok(VcpuExit::Shutdown) => {
            if let (Ok(regs), Ok(sregs)) = (vcpu.get_regs(), vcpu.get_sregs()) {
                tracing::error!(
                    "a CPU faulted threefold: rip {:#x} rsp {:#x} cr2 {:#x}",
                    regs.rip,
                    regs.rsp,
                    sregs.cr2
                );
            }
            Step::End(End::Fault)
        }
        Ok(VcpuExit::InternalError) => failed("KVM could not carry out what the guest did".into()),
        Ok(VcpuExit::FailEntry(reason, cpu)) => {
            failed(format!("KVM cannot run CPU {cpu} (reason {reason:#x})"))
        }
        Ok(other) => failed(format!("KVM gives up on a CPU ({other:?})")),
        Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => Step::Interrupted,
        Err(error) => failed(format!("KVM cannot run a CPU: {error}")),
    }
}
