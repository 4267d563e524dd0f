//! From a request to a running session, and the tasks that carry its bytes.

use super::log::Log;
use super::rate::Activity;
use super::view::View;
use super::{Attachment, Input, Piece, Session, Terminal};
use crate::cgroup::Cgroup;
use crate::config::Config;
use crate::process::file::AsyncFile;
use crate::process::launch::{Child, LaunchError, Program, launch};
use crate::process::pty;
use crate::process::reaper::Reaper;
use crate::process::rights::Rights;
use crate::process::surroundings::{self, own, pipe_size, strings};
use crate::process::user::User;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;
use sprites_api::Time;
use sprites_api::exec::stream;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

/// Group that owns terminals, by convention.
const TTY_GROUP: u32 = 5;
/// Most bytes read from a process at once.
const READ: usize = 32 << 10;
/// After the end of its process, a terminal that others still hold open is read until it is silent for this long.
const QUIET: Duration = Duration::from_millis(50);
/// And no further than this, bytes.
const AFTERMATH: usize = 256 << 10;

/// What a client asks to run. Checked: no NUL bytes, every environment entry has a `=`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Never empty.
    pub(crate) argv: Vec<String>,
    pub(crate) path: String,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) dir: Option<String>,
    pub(crate) tty: bool,
    pub(crate) cols: u16,
    pub(crate) rows: u16,
    pub(crate) stdin: bool,
    pub(crate) linger: Option<Duration>,
}

/// Why a session did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// As many sessions as may be.
    #[error("{0} sessions are running, which is the limit; end one of them first")]
    Full(usize),
    /// The working directory is not there.
    #[error("the working directory {0} does not exist in the sprite")]
    NoDirectory(String),
    /// The program did not start.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The system is out of something.
    #[error("the session's terminal or pipes could not be made: {0}")]
    System(#[from] io::Error),
}

/// The process's side and ours of its standard streams.
struct Streams {
    theirs: [OwnedFd; 3],
    master: Option<Arc<AsyncFile>>,
    stdin: Option<AsyncFile>,
    outputs: Vec<(u8, Arc<AsyncFile>)>,
}

/// Starts a session with its creator attached. The caller enters it in the registry and then calls [`Started::run`].
pub(super) async fn start(
    request: Request,
    place: OwnedSemaphorePermit,
    reaper: &Reaper,
    cgroup: Option<&Arc<Cgroup>>,
    rights: Rights,
    config: &Config,
) -> Result<Started, StartError> {
    let user = User::find(config.user.as_deref());
    let dir = surroundings::directory(&user, request.dir.as_deref()).map_err(StartError::NoDirectory)?;
    let env = surroundings::environment(&user, request.tty, request.env.iter().cloned());
    let streams = streams(&request, &user)?;
    let group = cgroup.map(|cgroup| cgroup.session()).transpose()?;
    let program = Program {
        name: request.path.clone(),
        argv: strings(request.argv.iter().cloned()),
        path: env.get("PATH").cloned().unwrap_or_default(),
        env: surroundings::words(env),
        dir: CString::new(dir.as_str()).unwrap_or_default(),
        user,
        rights,
        terminal: request.tty,
        stdio: streams.theirs,
        cgroup: group.as_ref().map(|group| group.entrance()).transpose()?,
    };
    let child = launch(reaper, program).await?;

    let limits = &config.limits;
    let terminal = streams.master.map(|master| Terminal {
        master,
        view: View::new(request.cols, request.rows, limits.scrollback),
        size: (request.cols, request.rows).into(),
    });
    let (queue, pieces) = mpsc::unbounded_channel();
    let takes_input = terminal.is_some() || streams.stdin.is_some();
    let session = Arc::new(Session {
        id: child.pid.to_string(),
        pid: child.pid,
        command: request.argv.join(" "),
        workdir: dir,
        created: Time::now(),
        born: Instant::now(),
        tty: request.tty,
        activity: Activity::new(),
        linger: request.linger,
        log: Log::new(limits.window, limits.history, !request.tty),
        input: Input {
            queue: takes_input.then_some(queue),
            room: Arc::new(Semaphore::new(limits.input)),
            limit: limits.input,
        },
        terminal,
        clients: watch::Sender::new(0),
        client_limit: limits.clients,
        exit: watch::Sender::new(None),
        group,
        _place: place,
    });
    let owner = session.attach_owner();
    Ok(Started { session, owner, child, stdin: streams.stdin, pieces, outputs: streams.outputs })
}

/// A session whose process runs, and whose bytes do not flow yet.
pub(super) struct Started {
    pub(super) session: Arc<Session>,
    owner: Attachment,
    child: Child,
    stdin: Option<AsyncFile>,
    pieces: mpsc::UnboundedReceiver<Piece>,
    outputs: Vec<(u8, Arc<AsyncFile>)>,
}

impl Started {
    /// Lets the bytes flow, and watches over the session until its end; `gone` is called when the process has ended.
    pub(super) fn run(self, gone: impl FnOnce() + Send + 'static) -> Attachment {
        let session = self.session;
        let input = tokio::spawn(feed(session.clone(), self.stdin, self.pieces));
        let pumps = self
            .outputs
            .into_iter()
            .map(|(stream, file)| tokio::spawn(pump(session.clone(), stream, file)))
            .collect();
        tokio::spawn(watch_over(session, self.child, input, pumps, gone));
        self.owner
    }
}

/// A client is gone for too long: the session is asked to end, and after this long made to.
const ASKED: Duration = Duration::from_secs(5);

async fn watch_over(
    session: Arc<Session>,
    mut child: Child,
    input: JoinHandle<()>,
    pumps: Vec<JoinHandle<()>>,
    gone: impl FnOnce(),
) {
    let code = tokio::select! {
        code = &mut child.exit => code,
        () = session.abandoned() => {
            // It may have ended in this instant, which is as good.
            let _ = session.signal(nix::sys::signal::Signal::SIGTERM);
            match tokio::time::timeout(ASKED, &mut child.exit).await {
                Ok(code) => code,
                Err(_) => {
                    session.kill();
                    child.exit.await
                }
            }
        }
    };
    // Without a sender the reaper itself has ended, and with it the agent.
    let code = code.unwrap_or(u8::MAX);
    gone();
    input.abort();
    session.exit.send_replace(Some(code));
    for pump in pumps {
        // A pump that panicked has delivered what it could.
        let _ = pump.await;
    }
    session.log.finish(code);
}

/// Carries input to the process.
async fn feed(session: Arc<Session>, stdin: Option<AsyncFile>, mut pieces: mpsc::UnboundedReceiver<Piece>) {
    let master = session.terminal.as_ref().map(|terminal| terminal.master.clone());
    drop(session);
    while let Some(Piece::Data(bytes, _room)) = pieces.recv().await {
        let written = match (&master, &stdin) {
            (Some(master), _) => master.write_all(&bytes).await,
            (None, Some(stdin)) => stdin.write_all(&bytes).await,
            (None, None) => return,
        };
        if written.is_err() {
            // The process has closed its input. Dropping the queue lets waiting clients go on.
            return;
        }
    }
}

/// Carries output of one stream from the process to the log until the stream ends, or until the process has ended and
/// what it wrote has been read. Other processes that hold the stream open are not waited for.
async fn pump(session: Arc<Session>, stream: u8, file: Arc<AsyncFile>) {
    let mut exit = session.exit.subscribe();
    let mut buffer = vec![0; READ];
    loop {
        session.log.room().await;
        let count = tokio::select! {
            count = file.read(&mut buffer) => count,
            _ = exit.wait_for(Option::is_some) => break,
        };
        match count {
            Ok(0) | Err(_) => return,
            Ok(count) => deliver(&session, stream, &buffer[..count]).await,
        }
    }
    // A pipe already holds all that the process wrote. A terminal passes it on a little later.
    let mut left = if session.tty { AFTERMATH } else { pipe_size(&*file, AFTERMATH) };
    while left > 0 {
        session.log.room().await;
        let limit = left.min(READ);
        let count = if session.tty {
            match tokio::time::timeout(QUIET, file.read(&mut buffer[..limit])).await {
                Ok(count) => count.map(Some),
                Err(_) => Ok(None),
            }
        } else {
            file.read_now(&mut buffer[..limit])
        };
        match count {
            Ok(Some(0) | None) | Err(_) => return,
            Ok(Some(count)) => {
                left -= count;
                deliver(&session, stream, &buffer[..count]).await;
            }
        }
    }
}

async fn deliver(session: &Arc<Session>, stream: u8, bytes: &[u8]) {
    session.activity.note(bytes.len());
    let Some(terminal) = &session.terminal else {
        session.log.append(stream, bytes);
        return;
    };
    if terminal.view.append(bytes, || session.log.append(stream, bytes)) {
        let session = session.clone();
        // Drawing is slower than output can be; waiting for it is what holds the process back.
        let work = tokio::task::spawn_blocking(move || {
            if let Some(terminal) = &session.terminal {
                terminal.view.draw();
            }
        });
        let _ = work.await;
    }
}

fn streams(request: &Request, user: &User) -> io::Result<Streams> {
    if request.tty {
        let pty = pty::open(request.cols, request.rows)?;
        own(&pty.slave, user, Some(TTY_GROUP));
        let master = Arc::new(AsyncFile::new(pty.master)?);
        return Ok(Streams {
            theirs: [pty.slave.try_clone()?, pty.slave.try_clone()?, pty.slave],
            outputs: vec![(stream::STDOUT, master.clone())],
            master: Some(master),
            stdin: None,
        });
    }
    let (their_in, our_in) = if request.stdin {
        let (theirs, ours) = pipe2(OFlag::O_CLOEXEC)?;
        (theirs, Some(AsyncFile::new(ours)?))
    } else {
        (File::open("/dev/null")?.into(), None)
    };
    let (their_out, our_out) = surroundings::output(user)?;
    let (their_err, our_err) = surroundings::output(user)?;
    if our_in.is_some() {
        own(&their_in, user, None);
    }
    Ok(Streams {
        theirs: [their_in, their_out, their_err],
        master: None,
        stdin: our_in,
        outputs: vec![(stream::STDOUT, Arc::new(our_out)), (stream::STDERR, Arc::new(our_err))],
    })
}
