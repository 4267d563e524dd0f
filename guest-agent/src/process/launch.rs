//! Birth of a session's process. One of the modules with `unsafe`.
//!
//! The standard library's `Command` collects a child whose `exec` failed by itself, which cannot live beside a process
//! that collects all children, and it cannot tell which step before `exec` failed. So: everything is prepared before
//! `fork`; the child makes only async-signal-safe calls; it reports the failed step and the error number through a pipe
//! that a successful `exec` closes.

use super::file::AsyncFile;
use super::reaper::Reaper;
use super::rights::{self, Rights};
use super::user::User;
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};
use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;
use tokio::sync::oneshot;

/// A start that takes longer is given up; `exec` only reads the program's first pages.
const EXEC_DEADLINE: Duration = Duration::from_secs(30);
/// Soft limit of open files in a session, the usual one; programs that need more may raise it.
const OPEN_FILES: u64 = 1024;

/// A program about to run.
pub(crate) struct Program {
    /// What to look for: a path when it holds a slash, else a name on PATH.
    pub(crate) name: String,
    pub(crate) argv: Vec<CString>,
    pub(crate) env: Vec<CString>,
    /// Search path for a name without a slash.
    pub(crate) path: String,
    pub(crate) dir: CString,
    pub(crate) user: User,
    pub(crate) rights: Rights,
    /// Standard input is a terminal and becomes the controlling one.
    pub(crate) terminal: bool,
    /// Standard input, output and error.
    pub(crate) stdio: [OwnedFd; 3],
    /// Open `cgroup.procs` of the session's group.
    pub(crate) cgroup: Option<OwnedFd>,
}

/// A process that runs its program.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    /// Its exit code, when it has ended.
    pub(crate) exit: oneshot::Receiver<u8>,
}

/// Why a program does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    /// No such program.
    #[error("{0}: command not found")]
    NotFound(String),
    /// There is one, but it may not or cannot run.
    #[error("{0}: cannot execute: {1}")]
    CannotRun(String, &'static str),
    /// The working directory cannot be entered.
    #[error("cannot enter the working directory: {0}")]
    Directory(&'static str),
    /// The system is out of something, or refused a step that should work.
    #[error("the process could not be started ({0}): {1}")]
    System(&'static str, &'static str),
    /// Nothing happened.
    #[error("the program did not start within 30 s; its file system may hang")]
    Hung,
}

impl LaunchError {
    /// The exit code a shell would give: 127 not found, 126 may not run. `None` when the fault is not the program's.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self {
            Self::NotFound(_) => Some(127),
            Self::CannotRun(..) => Some(126),
            Self::Directory(_) | Self::System(..) | Self::Hung => None,
        }
    }
}

/// Steps of the child, reported when one fails.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Step {
    Stdio = 1,
    Session,
    Terminal,
    Cgroup,
    User,
    Rights,
    Directory,
    Exec,
}

const STEPS: [&str; 9] =
    ["fork", "standard streams", "session", "terminal", "cgroup", "user", "rights", "directory", "exec"];

/// Starts a program and waits until it runs.
pub(crate) async fn launch(reaper: &Reaper, program: Program) -> Result<Child, LaunchError> {
    let system = |step: &'static str, error: Errno| LaunchError::System(step, error.desc());
    let (report, tell) = nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(|error| system("pipe", error))?;
    let report = AsyncFile::new(report)
        .map_err(|error| system("pipe", Errno::from_raw(error.raw_os_error().unwrap_or(0))))?;
    let (pid, exit) = {
        let prepared = Prepared::new(&program, tell.as_raw_fd());
        reaper.launch(|| fork(&prepared)).map_err(|error| system("fork", error))?
    };
    // Our copies of the child's ends must go, or the end of the pipes would never be seen.
    drop(tell);
    let name = program.name.clone();
    drop(program);

    let mut failure = [0u8; 5];
    let mut got = 0;
    let heard = tokio::time::timeout(EXEC_DEADLINE, async {
        while got < failure.len() {
            match report.read(&mut failure[got..]).await {
                Ok(0) | Err(_) => break,
                Ok(count) => got += count,
            }
        }
    })
    .await;
    if heard.is_err() {
        let _ = super::signal::send_group(pid, nix::sys::signal::Signal::SIGKILL);
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        return Err(LaunchError::Hung);
    }
    if got < failure.len() {
        return Ok(Child { pid, exit });
    }
    let errno = Errno::from_raw(i32::from_ne_bytes([failure[1], failure[2], failure[3], failure[4]]));
    let step = STEPS.get(usize::from(failure[0])).copied().unwrap_or("start");
    Err(match (step, errno) {
        ("directory", error) => LaunchError::Directory(error.desc()),
        ("exec", Errno::ENOENT | Errno::ENOTDIR) => LaunchError::NotFound(name),
        ("exec", Errno::ENOMEM | Errno::EAGAIN | Errno::ENFILE | Errno::EMFILE) => system(step, errno),
        ("exec", error) => LaunchError::CannotRun(name, error.desc()),
        (step, error) => system(step, error),
    })
}

/// What the child needs, in the form it needs it: after `fork` nothing may be allocated.
struct Prepared<'a> {
    candidates: Vec<CString>,
    argv: Vec<*const c_char>,
    env: Vec<*const c_char>,
    dir: &'a CStr,
    identity: Option<&'a User>,
    rights: Rights,
    terminal: bool,
    stdio: [RawFd; 3],
    cgroup: Option<RawFd>,
    report: RawFd,
}

impl<'a> Prepared<'a> {
    fn new(program: &'a Program, report: RawFd) -> Self {
        let pointers = |list: &[CString]| {
            list.iter().map(|item| item.as_ptr()).chain([ptr::null()]).collect::<Vec<*const c_char>>()
        };
        Self {
            candidates: candidates(&program.name, &program.path),
            argv: pointers(&program.argv),
            env: pointers(&program.env),
            dir: &program.dir,
            rights: program.rights,
            identity: program.user.is_other().then_some(&program.user),
            terminal: program.terminal,
            stdio: [&program.stdio[0], &program.stdio[1], &program.stdio[2]].map(AsRawFd::as_raw_fd),
            cgroup: program.cgroup.as_ref().map(AsRawFd::as_raw_fd),
            report,
        }
    }
}

/// Files to try, in order. An empty name finds nothing; an empty entry of PATH means the working directory.
fn candidates(name: &str, path: &str) -> Vec<CString> {
    let names: Vec<String> = if name.is_empty() {
        Vec::new()
    } else if name.contains('/') {
        vec![name.to_owned()]
    } else {
        path.split(':')
            .map(|dir| if dir.is_empty() { format!("./{name}") } else { format!("{dir}/{name}") })
            .collect()
    };
    names.into_iter().filter_map(|name| CString::new(name).ok()).collect()
}

fn fork(prepared: &Prepared<'_>) -> Result<i32, Errno> {
    // With signals blocked, no handler of ours can run in the child and write into the runtime's shared wake-up pipe.
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    // SAFETY: the child calls only `child`, which makes async-signal-safe calls on memory prepared before the fork and
    // never returns.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: we are the only thread of a new process, and `prepared` was copied with it.
        unsafe { child(prepared) }
    }
    let result = if pid < 0 { Err(Errno::last()) } else { Ok(pid) };
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    result
}

/// The child's life until `exec`.
///
/// # Safety
///
/// Only to be called in a freshly forked process.
unsafe fn child(prepared: &Prepared<'_>) -> ! {
    let fail = |step: Step, errno: i32| -> ! {
        let mut message = [step as u8, 0, 0, 0, 0];
        message[1..].copy_from_slice(&errno.to_ne_bytes());
        // SAFETY: the pipe is open and five bytes are written at once; `_exit` runs no destructor.
        unsafe {
            libc::write(prepared.report, message.as_ptr().cast(), message.len());
            libc::_exit(127)
        }
    };
    let last = || Errno::last_raw();
    // SAFETY: every call below is async-signal-safe and gets descriptors and NUL-terminated strings that `prepared`
    // keeps alive.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        for (target, source) in prepared.stdio.iter().enumerate() {
            if libc::dup2(*source, target as i32) < 0 {
                fail(Step::Stdio, last());
            }
        }
        if libc::setsid() < 0 {
            fail(Step::Session, last());
        }
        if prepared.terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
            fail(Step::Terminal, last());
        }
        if let Some(cgroup) = prepared.cgroup
            && libc::write(cgroup, c"0".as_ptr().cast(), 1) < 0
        {
            fail(Step::Cgroup, last());
        }
        // The agent is shielded from the kernel's out-of-memory killer; what it starts must not be.
        let score = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if score >= 0 {
            libc::write(score, c"0".as_ptr().cast(), 1);
        }
        let mut files = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut files) == 0 && files.rlim_cur > OPEN_FILES {
            files.rlim_cur = OPEN_FILES;
            libc::setrlimit(libc::RLIMIT_NOFILE, &files);
        }
        // All our descriptors close on exec; this holds for those that a library may have opened otherwise.
        libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
        if !rights::before_user(prepared.rights) {
            fail(Step::Rights, last());
        }
        if let Some(user) = prepared.identity {
            // System calls, not the library's functions: those would look for other threads, of which there are none.
            if libc::syscall(libc::SYS_setgroups, user.groups.len(), user.groups.as_ptr()) < 0
                || libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid) < 0
                || libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid) < 0
            {
                fail(Step::User, last());
            }
        }
        if !rights::after_user(prepared.rights) {
            fail(Step::Rights, last());
        }
        libc::umask(0o022);
        // After the change of user, so that it is the user who must have the right.
        if libc::chdir(prepared.dir.as_ptr()) < 0 {
            fail(Step::Directory, last());
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
        let mut verdict = libc::ENOENT;
        for candidate in &prepared.candidates {
            libc::execve(candidate.as_ptr(), prepared.argv.as_ptr(), prepared.env.as_ptr());
            match last() {
                // As a shell does: a file that may not run does not hide one further down the search path.
                libc::EACCES => verdict = libc::EACCES,
                libc::ENOENT | libc::ENOTDIR | libc::ELOOP | libc::ENAMETOOLONG => {}
                error => fail(Step::Exec, error),
            }
        }
        fail(Step::Exec, verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search() {
        let text =
            |list: Vec<CString>| list.into_iter().map(|item| item.into_string().unwrap()).collect::<Vec<_>>();
        assert_eq!(text(candidates("ls", "/bin:/usr/bin")), ["/bin/ls", "/usr/bin/ls"]);
        assert_eq!(text(candidates("./ls", "/bin")), ["./ls"]);
        assert_eq!(text(candidates("ls", "")), ["./ls"]);
        assert!(candidates("", "/bin").is_empty());
    }
}
