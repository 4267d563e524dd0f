//! The life of one service: a task that owns its process and takes commands from a queue.
//!
//! A process that ends by itself is started again, at once at first, and later after growing pauses. One that was stopped stays so.

use super::log::{Lines, Log};
use crate::cgroup::{Cgroup, SessionGroup};
use crate::config::Config;
use crate::identity;
use crate::policy::Policy;
use crate::process::file::AsyncFile;
use crate::process::launch::{Child, Program, launch};
use crate::process::reaper::Reaper;
use crate::process::user::User;
use crate::process::{signal, surroundings, tree};
use nix::sys::signal::Signal;
use sprites_api::Time;
use sprites_api::agent::Identity;
use sprites_api::services::{Definition, EventKind, State, Status};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

/// Commands that may wait.
const QUEUE: usize = 16;
/// Pauses before a service is started again, one after the other; the last one for ever.
const PAUSES: [Duration; 7] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
    Duration::from_secs(16),
    Duration::from_secs(32),
    Duration::from_secs(60),
];
/// A service that ran for this long begins with the first pause again.
const GOOD: Duration = Duration::from_secs(30);
/// So many quick ends one after the other, and it is called failed.
const FAILED: usize = 3;
/// After SIGKILL.
const KILLED: Duration = Duration::from_secs(5);
/// A line that is not ended for this long is told all the same.
const UNFINISHED: Duration = Duration::from_millis(300);
/// Most bytes read from a process at once.
const READ: usize = 32 << 10;

/// What a service's task is asked.
pub(super) enum Command {
    /// Run, if it does not.
    Start(oneshot::Sender<()>),
    /// End, by force after this long; answered when it has.
    Stop(Duration, oneshot::Sender<()>),
    /// Tell its process; answered whether there is one.
    Signal(Signal, oneshot::Sender<bool>),
}

/// What a service's task needs of the agent.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) reaper: Arc<Reaper>,
    pub(super) cgroup: Option<Arc<Cgroup>>,
    pub(super) policy: Arc<Policy>,
    pub(super) config: Config,
    /// Who the machine is now.
    pub(super) identity: Arc<dyn Fn() -> Identity + Send + Sync>,
}

/// A service as others see it.
pub(super) struct Service {
    pub(super) definition: Definition,
    pub(super) log: Arc<Log>,
    state: watch::Receiver<State>,
    commands: mpsc::Sender<Command>,
}

impl Service {
    /// Begins its task. It does not run yet.
    pub(super) fn begin(name: &str, definition: Definition, log: Arc<Log>, context: Context) -> Arc<Self> {
        let (sender, commands) = mpsc::channel(QUEUE);
        let (state, shown) = watch::channel(State { name: name.to_owned(), ..State::default() });
        let task = Task { definition: definition.clone(), log: Arc::clone(&log), state, context, quick: 0 };
        tokio::spawn(task.run(commands));
        Arc::new(Self { definition, log, state: shown, commands: sender })
    }

    /// How it is.
    pub(super) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Whether it is meant to run.
    pub(super) fn is_wanted(&self) -> bool {
        self.state.borrow().status != Status::Stopped
    }

    /// Runs it; its start may fail later than this returns.
    pub(super) async fn start(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Start(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Ends it, by force after `patience`.
    pub(super) async fn stop(&self, patience: Duration) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Stop(patience, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Sends its process a signal; false if there is none.
    pub(super) async fn signal(&self, signal: Signal) -> bool {
        let (done, wait) = oneshot::channel();
        let sent = self.commands.send(Command::Signal(signal, done)).await;
        sent.is_ok() && wait.await.unwrap_or(false)
    }

    /// Waits until it has a process; false if that takes longer than `patience` or it ended instead.
    pub(super) async fn runs(&self, patience: Duration) -> bool {
        let mut state = self.state.clone();
        let wait = state.wait_for(|state| !matches!(state.status, Status::Starting | Status::Stopping));
        timeout(patience, wait)
            .await
            .is_ok_and(|state| state.is_ok_and(|state| state.status == Status::Running))
    }
}

struct Task {
    definition: Definition,
    log: Arc<Log>,
    state: watch::Sender<State>,
    context: Context,
    /// Quick ends one after the other.
    quick: usize,
}

/// A process of the service.
struct Running {
    child: Child,
    group: Option<SessionGroup>,
    since: Instant,
    pumps: Vec<JoinHandle<()>>,
    ended: watch::Sender<bool>,
}

/// What comes next.
enum Next {
    Rest,
    Launch,
    Pause(Instant),
    Watch(Running),
}

impl Task {
    async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = Next::Rest;
        loop {
            next = match next {
                Next::Launch => self.launch().await,
                Next::Rest => match commands.recv().await {
                    None => return,
                    Some(command) => self.without_process(command, Next::Rest),
                },
                Next::Pause(until) => tokio::select! {
                    () = sleep_until(until) => {
                        self.state.send_modify(|state| state.restart_count += 1);
                        Next::Launch
                    }
                    command = commands.recv() => match command {
                        None => return,
                        Some(command) => self.without_process(command, Next::Pause(until)),
                    }
                },
                Next::Watch(mut running) => tokio::select! {
                    code = &mut running.child.exit => self.ended(running, code.unwrap_or(u8::MAX)).await,
                    command = commands.recv() => match command {
                        // Its owner is gone: nobody may be left behind that nobody knows.
                        None => {
                            self.end(running, Duration::ZERO).await;
                            return;
                        }
                        Some(Command::Start(done)) => {
                            let _ = done.send(());
                            Next::Watch(running)
                        }
                        Some(Command::Signal(signal, done)) => {
                            let _ = done.send(signal::send_group(running.child.pid, signal).is_ok());
                            Next::Watch(running)
                        }
                        Some(Command::Stop(patience, done)) => {
                            self.end(running, patience).await;
                            let _ = done.send(());
                            Next::Rest
                        }
                    }
                },
            };
        }
    }

    fn without_process(&mut self, command: Command, stay: Next) -> Next {
        match command {
            Command::Start(done) => {
                self.quick = 0;
                self.show(Status::Starting, |state| state.error = None);
                let _ = done.send(());
                Next::Launch
            }
            Command::Stop(_, done) => {
                self.show(Status::Stopped, |state| state.error = None);
                self.log.tell(EventKind::Stopped, None, None);
                let _ = done.send(());
                Next::Rest
            }
            Command::Signal(_, done) => {
                let _ = done.send(false);
                stay
            }
        }
    }

    fn show(&self, status: Status, more: impl FnOnce(&mut State)) {
        self.state.send_modify(|state| {
            state.status = status;
            (state.pid, state.started_at, state.next_restart_at) = (None, None, None);
            more(state);
        });
    }

    async fn launch(&mut self) -> Next {
        match self.try_launch().await {
            Ok(running) => {
                self.show(Status::Running, |state| {
                    state.pid = Some(running.child.pid);
                    state.started_at = Some(Time::now());
                });
                self.log.tell(EventKind::Started, None, None);
                Next::Watch(running)
            }
            Err((code, reason)) => {
                self.log.lines(EventKind::Stderr, vec![reason.clone()]).await;
                self.log.tell(EventKind::Exit, None, Some(code.into()));
                self.again(Duration::ZERO, reason)
            }
        }
    }

    /// The error is an exit code as a shell would give it, and a sentence.
    async fn try_launch(&self) -> Result<Running, (u8, String)> {
        let failed = |reason: String| (u8::MAX, reason);
        let user = User::find(self.context.config.user.as_deref());
        let dir = surroundings::directory(&user, self.definition.dir.as_deref())
            .map_err(|dir| failed(format!("the working directory {dir} does not exist in the sprite")))?;
        let machine = (self.context.identity)();
        let told = identity::environment(&machine);
        let own = self.definition.env.iter().map(|(key, value)| (key.clone(), value.clone()));
        let env = surroundings::environment(&user, false, told.chain(own));
        let system =
            |error: std::io::Error| failed(format!("the service's pipes could not be made: {error}"));
        let group = self.context.cgroup.as_ref().map(Cgroup::session).transpose().map_err(system)?;
        let (their_out, out) = surroundings::output(&user).map_err(system)?;
        let (their_err, err) = surroundings::output(&user).map_err(system)?;
        let argv = std::iter::once(self.definition.cmd.clone()).chain(self.definition.args.iter().cloned());
        let program = Program {
            name: self.definition.cmd.clone(),
            argv: surroundings::strings(argv),
            path: env.get("PATH").cloned().unwrap_or_default(),
            env: surroundings::words(env),
            dir: std::ffi::CString::new(dir).unwrap_or_default(),
            user,
            rights: self.context.policy.rights(),
            terminal: false,
            stdio: [File::open("/dev/null").map_err(system)?.into(), their_out, their_err],
            cgroup: group.as_ref().map(SessionGroup::entrance).transpose().map_err(system)?,
        };
        let child = launch(&self.context.reaper, program)
            .await
            .map_err(|error| (error.exit_code().unwrap_or(u8::MAX), error.to_string()))?;
        let ended = watch::Sender::new(false);
        let pumps = [(EventKind::Stdout, out), (EventKind::Stderr, err)]
            .into_iter()
            .map(|(kind, pipe)| tokio::spawn(pump(Arc::clone(&self.log), kind, pipe, ended.subscribe())))
            .collect();
        Ok(Running { child, group, since: Instant::now(), pumps, ended })
    }

    /// It ended by itself.
    async fn ended(&mut self, running: Running, code: u8) -> Next {
        let lived = running.since.elapsed();
        // What it left behind would hold its port when it is started again.
        kill(&running);
        drained(running).await;
        self.log.tell(EventKind::Exit, None, Some(code.into()));
        self.again(lived, format!("it ended by itself with exit code {code}"))
    }

    /// Plans the next start.
    fn again(&mut self, lived: Duration, reason: String) -> Next {
        self.quick = if lived >= GOOD { 0 } else { self.quick + 1 };
        let pause = PAUSES[self.quick.saturating_sub(1).min(PAUSES.len() - 1)];
        let status = if self.quick >= FAILED { Status::Failed } else { Status::Starting };
        let at = Time::from_micros(Time::now().as_micros() + pause.as_micros() as i64);
        self.show(status, |state| {
            state.error = Some(reason);
            state.next_restart_at = Some(at);
        });
        Next::Pause(Instant::now() + pause)
    }

    /// Ends the process: asks it, and after `patience` makes it.
    async fn end(&self, mut running: Running, patience: Duration) {
        self.state.send_modify(|state| state.status = Status::Stopping);
        self.log.tell(EventKind::Stopping, None, None);
        // It may have ended in this instant, which is as good.
        let _ = signal::send_group(running.child.pid, Signal::SIGTERM);
        let _ = signal::send_group(running.child.pid, Signal::SIGCONT);
        let mut code = timeout(patience, &mut running.child.exit).await.ok();
        kill(&running);
        if code.is_none() {
            code = timeout(KILLED, &mut running.child.exit).await.ok();
        }
        drained(running).await;
        if let Some(code) = code {
            self.log.tell(EventKind::Exit, None, Some(code.unwrap_or(u8::MAX).into()));
        }
        self.show(Status::Stopped, |state| state.error = None);
        self.log.tell(EventKind::Stopped, None, None);
    }
}

/// Ends every process of the service at once.
fn kill(running: &Running) {
    if running.group.as_ref().is_none_or(|group| group.kill().is_err()) {
        tree::kill_session(running.child.pid);
    }
}

/// Waits until all that was written is kept.
async fn drained(running: Running) {
    running.ended.send_replace(true);
    for pump in running.pumps {
        // A pump that panicked has delivered what it could.
        let _ = pump.await;
    }
}

/// Carries output from a pipe to the log until it ends, or until the process has ended and what it wrote has been read.
async fn pump(log: Arc<Log>, kind: EventKind, pipe: AsyncFile, mut ended: watch::Receiver<bool>) {
    let mut lines = Lines::default();
    let mut buffer = vec![0; READ];
    loop {
        let whole = tokio::select! {
            count = pipe.read(&mut buffer) => match count {
                Ok(0) | Err(_) => break,
                Ok(count) => lines.push(&buffer[..count]),
            },
            _ = ended.changed() => break,
            () = tokio::time::sleep(UNFINISHED), if lines.is_waiting() => lines.flush(),
        };
        log.lines(kind, whole).await;
    }
    let mut left = surroundings::pipe_size(&pipe, READ);
    while left > 0 {
        let most = left.min(READ);
        match pipe.read_now(&mut buffer[..most]) {
            Ok(Some(0) | None) | Err(_) => break,
            Ok(Some(count)) => {
                left -= count;
                log.lines(kind, lines.push(&buffer[..count])).await;
            }
        }
    }
    log.lines(kind, lines.flush()).await;
}
