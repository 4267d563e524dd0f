//! All live sessions.

use super::start::{Request, StartError, start};
use super::{ACTIVE_FOR, Attachment, Session};
use crate::cgroup::Cgroup;
use crate::config::Config;
use crate::policy::Policy;
use crate::process::reaper::Reaper;
use nix::sys::signal::Signal;
use sprites_api::Time;
use sprites_api::exec::{self, SessionList};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};

/// Ended sessions remembered, so that a kill that comes too late is told so.
const ENDED: usize = 512;
/// After SIGKILL, processes get this long to be gone.
const KILLED: Duration = Duration::from_secs(2);

/// The sessions of an agent.
pub(crate) struct Sessions {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    limit: usize,
    reaper: Arc<Reaper>,
    cgroup: Option<Arc<Cgroup>>,
    policy: Arc<Policy>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// A session has ended.
    ended: Notify,
}

#[derive(Default)]
struct State {
    live: HashMap<String, Arc<Session>>,
    ended: VecDeque<String>,
}

/// Where a session id leads.
pub(crate) enum Found {
    /// It runs.
    Live(Arc<Session>),
    /// It has ended not long ago.
    Ended,
    /// Never heard of.
    Unknown,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sessions {
    pub(crate) fn new(
        reaper: Arc<Reaper>,
        cgroup: Option<Arc<Cgroup>>,
        policy: Arc<Policy>,
        config: &Config,
    ) -> Self {
        let limit = config.limits.sessions;
        let sessions = Self {
            shared: Arc::default(),
            places: Arc::new(Semaphore::new(limit)),
            limit,
            reaper: reaper.clone(),
            cgroup: cgroup.clone(),
            policy,
        };
        if let Some(cgroup) = cgroup {
            // Groups of ended sessions can be removed when an orphan has ended.
            let weak = Arc::downgrade(&reaper);
            drop(reaper);
            tokio::spawn(async move {
                while let Some(reaper) = weak.upgrade() {
                    // The deadline lets this task notice the end of the agent.
                    let _ = tokio::time::timeout(Duration::from_secs(60), reaper.collected()).await;
                    cgroup.clean();
                }
            });
        }
        sessions
    }

    /// Starts a session; its creator is attached.
    pub(crate) async fn start(&self, request: Request, config: &Config) -> Result<Attachment, StartError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| StartError::Full(self.limit))?;
        let started =
            start(request, place, &self.reaper, self.cgroup.as_ref(), self.policy.rights(), config).await?;
        let session = started.session.clone();
        {
            let mut state = self.shared.lock();
            state.ended.retain(|id| *id != session.id);
            state.live.insert(session.id.clone(), session.clone());
        }
        let shared = self.shared.clone();
        Ok(started.run(move || {
            let mut state = shared.lock();
            // A new process may have been given the same number already.
            if state.live.get(&session.id).is_some_and(|live| Arc::ptr_eq(live, &session)) {
                state.live.remove(&session.id);
                if state.ended.len() >= ENDED {
                    state.ended.pop_front();
                }
                state.ended.push_back(session.id.clone());
            }
            drop(state);
            shared.ended.notify_waiters();
        }))
    }

    /// Looks a session up.
    pub(crate) fn find(&self, id: &str) -> Found {
        let state = self.shared.lock();
        match state.live.get(id) {
            Some(session) => Found::Live(session.clone()),
            None if state.ended.iter().any(|ended| ended == id) => Found::Ended,
            None => Found::Unknown,
        }
    }

    /// All live sessions, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        let mut all: Vec<_> = self.shared.lock().live.values().cloned().collect();
        all.sort_by_key(|session| session.born);
        all
    }

    /// The group that holds all sessions, when there is one.
    pub(crate) fn cgroup(&self) -> Option<&Cgroup> {
        self.cgroup.as_deref()
    }

    /// Ends all sessions: politely, and after `grace` with SIGKILL. Returns when they are gone.
    pub(crate) async fn end_all(&self, grace: Duration) {
        // No more starts from here on.
        self.places.close();
        for session in self.all() {
            for signal in [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGCONT] {
                // A session that is gone needs no signal.
                let _ = session.signal(signal);
            }
        }
        if tokio::time::timeout(grace, self.empty()).await.is_ok() {
            return;
        }
        if let Some(cgroup) = &self.cgroup {
            // Without it each session is still killed by itself.
            let _ = cgroup.kill();
        }
        for session in self.all() {
            session.kill();
        }
        // What SIGKILL does not end in this time hangs in the kernel, and waiting longer would not help.
        let _ = tokio::time::timeout(KILLED, self.empty()).await;
    }

    async fn empty(&self) {
        loop {
            let ended = self.shared.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.shared.lock().live.is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// The list as clients get it.
    pub(crate) fn list(&self) -> SessionList {
        let sessions: Vec<exec::Session> = self.all().iter().map(|session| describe(session)).collect();
        SessionList { count: sessions.len(), sessions }
    }
}

/// A live session as clients see it.
pub(crate) fn describe(session: &Session) -> exec::Session {
    let attached = session.client_count();
    let idle = session.activity.idle();
    exec::Session {
        id: session.id.clone(),
        command: session.command.clone(),
        workdir: session.workdir.clone(),
        created: session.created,
        bytes_per_second: session.activity.bytes_per_second(),
        is_active: attached > 0 || idle < ACTIVE_FOR,
        tty: session.tty,
        last_activity: Some(Time::from_micros(Time::now().as_micros() - idle.as_micros() as i64)),
        attached: attached as u32,
    }
}
