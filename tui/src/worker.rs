//! Effects, done against a server; what comes of them goes back as events.

mod files;
mod inside;
mod refresh;

use self::refresh::About;
use crate::clipboard;
use crate::model::timeline::MOST;
use crate::update::{Effect, Event};
use futures::StreamExt;
use sprites_api::checkpoint::{CreateCheckpoint, ProgressLine};
use sprites_api::exec::SessionInfo;
use sprites_api::extension::Fork;
use sprites_api::sprite::CreateSprite;
use sprites_backend::client::{Client, Error, ExecEvent, ExecRequest, ExecSender, Forward, Lines};
use sprites_backend::context::Context;
use sprites_backend::paths::Paths;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio_util::task::AbortOnDropHandle;

/// Between two tries to follow a server that went away. For one that is elsewhere it doubles with each try, up to [`DOUBLED`] times.
const AGAIN: Duration = Duration::from_secs(2);
/// See [`AGAIN`].
const DOUBLED: u32 = 4;
/// A server that was followed for this long is tried again as if for the first time.
const STEADY: Duration = Duration::from_secs(30);
/// Between two looks at the list of a server that does not tell changes.
const LOOK: Duration = Duration::from_secs(15);
/// How long a session may take to begin when its connection is open.
const FIRST: Duration = Duration::from_secs(60);
/// The same for what a server does not offer.
const SELDOM: Duration = Duration::from_secs(300);
/// Told of a server that somebody ended on purpose; it is not started again unasked.
const STOPPED: &str = "The server was stopped, and with it every sprite; f5 starts it again.";
/// The shell that consoles run.
const SHELL: [&str; 2] = ["bash", "-l"];

/// See the module. Clones share their consoles.
#[derive(Clone, Debug)]
pub struct Worker {
    context: Context,
    client: Client,
    events: Sender<Event>,
    consoles: Arc<Mutex<HashMap<u64, ExecSender>>>,
    /// Ports that lead into sprites, by sprite and its port.
    forwards: Arc<Mutex<HashMap<(String, u16), Forward>>>,
    /// The log that is followed.
    following: Arc<Mutex<Option<AbortOnDropHandle<()>>>>,
    /// What is to be asked about single sprites.
    waiting: Arc<refresh::Waiting>,
    /// Somebody wants the server to be tried now.
    now: Arc<Notify>,
}

/// Why the server is followed no longer.
struct Lost {
    why: Error,
    /// Whether it had been followed.
    followed: bool,
}

impl Worker {
    /// A worker for a context that tells what happens to `events`. When nobody listens there any more, all it does ends.
    pub fn new(context: Context, client: Client, events: Sender<Event>) -> Self {
        Self {
            context,
            client,
            events,
            consoles: Arc::default(),
            forwards: Arc::default(),
            following: Arc::default(),
            waiting: Arc::default(),
            now: Arc::default(),
        }
    }

    /// What it asks by.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Begins to follow the server.
    pub fn follow(&self) {
        let worker = self.clone();
        let listed = Arc::new(Notify::new());
        let first = Arc::clone(&listed);
        self.spawn(async move {
            let (mut lost, mut was_stopped, mut failed) = (false, false, 0);
            loop {
                let began = Instant::now();
                let Lost { why, followed } = worker.watch(&mut lost, &listed).await;
                failed = if followed && began.elapsed() >= STEADY { 0 } else { failed + 1 };
                let stopped = worker.context.is_stopped();
                // Proxies on the way to a remote endpoint end streams as they like; it is lost when its list is not to be had either.
                let usual = followed && !worker.is_local() && why.is_unreachable();
                // Told once, not with every try.
                if !usual && (!std::mem::replace(&mut lost, true) || stopped && !was_stopped) {
                    let why = if stopped { STOPPED.to_owned() } else { why.to_string() };
                    worker.tell(Event::Connection(Err(why))).await;
                }
                was_stopped = stopped;
                let context = worker.context.clone();
                // A panic in there would be a failed try like any other.
                let _ = tokio::task::spawn_blocking(move || context.revive()).await;
                tokio::select! {
                    () = tokio::time::sleep(worker.pause(&why, failed)) => {}
                    // Whoever asks wants to hear what comes of it.
                    () = worker.now.notified() => lost = false,
                }
            }
        });
        let worker = self.clone();
        self.spawn(async move {
            // What is told of a sprite that is not in the list yet would be lost, and of one that sleeps it is seldom told again.
            first.notified().await;
            let mut failed = 0;
            loop {
                let mut lines = worker.client.usage_stream();
                let mut pause = AGAIN;
                while let Some(line) = lines.next().await {
                    match line {
                        Ok(line) => {
                            failed = 0;
                            worker.tell(Event::Usage(line)).await;
                        }
                        Err(Error::NotFound(_) | Error::NotSupported { .. }) => pause = SELDOM,
                        Err(error) => {
                            failed += 1;
                            pause = worker.pause(&error, failed);
                        }
                    }
                }
                tokio::time::sleep(pause).await;
            }
        });
    }

    /// How long to leave the server alone after `failed` tries, the last of them for this reason.
    fn pause(&self, why: &Error, failed: u32) -> Duration {
        let wanted = match why {
            Error::Busy { retry_after: Some(after), .. } => *after,
            _ => Duration::ZERO,
        };
        // One that is ours is being started meanwhile.
        let doubled = if self.is_local() { 0 } else { failed.saturating_sub(1).min(DOUBLED) };
        wanted.max(AGAIN * 2_u32.pow(doubled))
    }

    fn is_local(&self) -> bool {
        self.client.endpoint().is_local()
    }

    /// Tells what there is and then what changes, until the connection is lost.
    async fn watch(&self, lost: &mut bool, listed: &Notify) -> Lost {
        if let Ok(version) = self.client.version().await {
            self.tell(Event::Version(version)).await;
        }
        match self.client.list_sprites().await {
            Ok(sprites) => self.tell(Event::Sprites(Ok(sprites))).await,
            Err(why) => return Lost { why, followed: false },
        }
        listed.notify_one();
        *lost = false;
        self.tell(Event::Connection(Ok(()))).await;
        let mut lines = self.client.watch();
        let why = loop {
            match lines.next().await {
                Some(Ok(line)) => self.tell(Event::Watched(line)).await,
                Some(Err(Error::NotSupported { .. })) => break self.look().await,
                Some(Err(why)) => break why,
                None => break Error::Cut { endpoint: self.client.endpoint().to_string() },
            }
        };
        Lost { why, followed: true }
    }

    /// Asks for the list now and then, until it is not to be had.
    async fn look(&self) -> Error {
        loop {
            tokio::time::sleep(LOOK).await;
            match self.client.list_sprites().await {
                Ok(sprites) => self.tell(Event::Sprites(Ok(sprites))).await,
                Err(why) => return why,
            }
        }
    }

    /// Runs a task for as long as somebody listens.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = events.closed() => {}
            }
        });
    }

    /// Does one thing.
    pub fn perform(&self, effect: Effect) {
        match effect {
            // Order matters here, so these are done on the spot.
            Effect::ConsoleInput(id, bytes) => {
                let sent = self.locked().get(&id).map(|sender| sender.try_input(bytes));
                // Of one that is over, its end is told by itself.
                if let Some(Err(error @ Error::SessionFull)) = sent {
                    let _ = self.events.try_send(Event::InputLost(id, error.to_string()));
                }
            }
            Effect::ConsoleResize(id, rows, cols) => {
                if let Some(sender) = self.locked().get(&id) {
                    // A session that is over has no size.
                    let _ = sender.resize(rows, cols);
                }
            }
            Effect::ConsoleDetach(id) => {
                if let Some(sender) = self.locked().remove(&id) {
                    sender.detach();
                }
            }
            Effect::FollowLog { id, name, service } => self.follow_log(id, &name, &service),
            Effect::UnfollowLog => *self.following() = None,
            Effect::CloseForward(name, port) => drop(self.forwards().remove(&(name, port))),
            effect => {
                let worker = self.clone();
                self.spawn(async move { worker.work(effect).await });
            }
        }
    }

    async fn work(&self, effect: Effect) {
        let client = &self.client;
        match effect {
            Effect::Start => {
                let context = self.context.clone();
                let started = tokio::task::spawn_blocking(move || context.endpoint()).await;
                match started {
                    Ok(Err(why)) => self.tell(Event::Connection(Err(why))).await,
                    _ => self.now.notify_one(),
                }
            }
            Effect::LoadSprites => self.list().await,
            Effect::LoadSprite(name) => self.refresh(About::Sprite(name)),
            Effect::LoadSessions(name) => self.refresh(About::Sessions(name)),
            Effect::LoadTree(name) => {
                let outcome = client.tree(&name).await.map_err(|error| error.to_string());
                self.tell(Event::Tree(name, outcome)).await;
            }
            Effect::LoadHistory(name, window) => {
                let outcome = client
                    .usage_history(&name, Duration::from_secs(window))
                    .await
                    .map_err(|error| error.to_string());
                self.tell(Event::History(name, window, outcome)).await;
            }
            Effect::LoadImages => {
                if let Ok(images) = client.images().await {
                    self.tell(Event::Images(images)).await;
                }
            }
            Effect::LoadCosts(group) => match client.costs(None, group.into()).await {
                Ok(costs) => self.tell(Event::Costs(group, Ok(Box::new(costs)))).await,
                Err(error) => self.tell(Event::Costs(group, Err(error.to_string()))).await,
            },
            Effect::LoadEvents(name) => {
                let outcome = client.events(&name).await.map(|events| events.events);
                self.tell(Event::Events(name, outcome.map_err(|error| error.to_string()))).await;
            }
            Effect::LoadTimeline(since) => {
                let outcome = client.timeline(since, None, MOST).await;
                self.tell(Event::Timeline(since, outcome.map_err(|error| error.to_string()))).await;
            }
            Effect::LoadNetwork(name) => {
                let outcome = client.network_log(&name).await.map(Box::new);
                self.tell(Event::Network(name, outcome.map_err(|error| error.to_string()))).await;
            }
            Effect::LoadNetworkPolicy(name) => {
                let outcome = client.network_policy(&name).await;
                self.tell(Event::NetworkPolicy(name, outcome.map_err(|error| error.to_string()))).await;
            }
            Effect::SetNetworkPolicy { job, name, policy } => {
                let outcome = client.set_network_policy(&name, &policy).await;
                let said = outcome.map(|()| format!("The rules of {name} hold."));
                self.done(job, said.map_err(|error| error.to_string()), Some(name)).await;
            }
            Effect::SetBudget { job, budget } => {
                let outcome = client.set_budget(&budget).await.map(|()| match budget.month_usd {
                    Some(usd) => format!("A month may cost {}.", crate::number::dollars(usd)),
                    None => "There is no budget any more.".to_owned(),
                });
                self.done(job, outcome.map_err(|error| error.to_string()), None).await;
            }
            Effect::BuildImage => {
                let mut lines = client.build_image();
                while let Some(line) = lines.next().await {
                    let line = line.unwrap_or_else(|error| sprites_api::extension::BuildLine {
                        error: Some(error.to_string()),
                        ..Default::default()
                    });
                    self.tell(Event::Build(line)).await;
                }
            }
            Effect::Create { job, name } => {
                let wish = CreateSprite { name: name.clone(), ..CreateSprite::default() };
                let outcome =
                    client.create(&wish).await.map(|_| format!("{name} is made; t opens a console in it."));
                self.done(job, outcome.map_err(|error| error.to_string()), None).await;
            }
            Effect::Destroy { job, name } => {
                let outcome = client.delete(&name).await.map(|()| format!("{name} is destroyed."));
                self.done(job, outcome.map_err(|error| error.to_string()), None).await;
            }
            Effect::Checkpoint { job, name, comment, memory } => {
                let outcome = last(client.checkpoint(&name, &CreateCheckpoint { comment, memory })).await;
                self.done(job, outcome, Some(name)).await;
            }
            Effect::Restore { job, name, id, undo, memory } => {
                let mut outcome = last(client.restore(&name, &id, memory)).await;
                if undo {
                    outcome = outcome.map(|_| format!("The last restore of {name} is undone."));
                }
                self.done(job, outcome, Some(name)).await;
            }
            Effect::Stop { job, name } => {
                let outcome =
                    client.stop(&name).await.map(|()| format!("{name} is stopped; its disk is at rest."));
                self.done(job, outcome.map_err(|error| error.to_string()), Some(name)).await;
            }
            Effect::LoadInside(name) => self.inside(name).await,
            Effect::LoadFiles { name, at, path } => self.load_files(name, at, path).await,
            Effect::ReadFile { id, name, at, path, link } => self.read_file(id, name, at, path, link).await,
            Effect::CopyOut { job, name, at, path } => self.copy_out(job, &name, &at, &path).await,
            Effect::LoadDiff { name, from, to } => {
                let outcome = client.diff(&name, &from, &to).await.map(Box::new).map_err(files::told);
                self.tell(Event::Diff { name, from, to, outcome }).await;
            }
            Effect::LoadFileDiff { id, name, from, to, path } => {
                let outcome = client.diff_file(&name, &from, &to, &path).await.map(Box::new);
                self.tell(Event::FileDiff(id, outcome.map_err(files::told))).await;
            }
            Effect::LoadStorage => {
                let outcome = client.storage().await.map_err(files::told);
                self.tell(Event::Storage(outcome)).await;
            }
            Effect::FetchEdit { job, name, path } => self.fetch_edit(job, name, path).await,
            Effect::Service { job, name, service, action } => self.service(job, name, &service, action).await,
            Effect::OpenForward(name, port) => self.open_forward(name, port).await,
            Effect::Browse(address) => self.browse(address).await,
            Effect::DeleteCheckpoint { job, name, id } => {
                let outcome = client
                    .delete_checkpoint(&name, &id)
                    .await
                    .map(|()| format!("Checkpoint {id} is deleted."));
                self.done(job, outcome.map_err(|error| error.to_string()), Some(name)).await;
            }
            Effect::Fork { job, name, to, checkpoint, memory } => {
                let wish = Fork { name: to.clone(), checkpoint, memory };
                let outcome = client.fork(&name, &wish).await.map(|_| format!("{to} is made from {name}."));
                self.done(job, outcome.map_err(|error| error.to_string()), Some(name)).await;
            }
            Effect::OpenConsole { id, name, session, rows, cols, fresh } => {
                self.console(id, &name, session, rows, cols, fresh).await
            }
            Effect::Copy(text) => {
                let copied = tokio::task::spawn_blocking(move || {
                    let paths = Paths::resolve().map_err(|error| format!("Nothing is copied: {error}."))?;
                    let way = clipboard::elsewhere(&text, &paths.copied())?;
                    Ok(format!("Copied {} {way}", clipboard::amount(&text)))
                });
                let outcome = copied.await.unwrap_or_else(|_| Err("Nothing is copied.".to_owned()));
                self.tell(Event::Told(outcome)).await;
            }
            Effect::Toured => {
                // Without it they are told again, which is no harm.
                let _ = tokio::task::spawn_blocking(|| {
                    Paths::resolve().map(|paths| std::fs::write(paths.toured(), ""))
                })
                .await;
            }
            Effect::Keep(keep) => {
                let saved = tokio::task::spawn_blocking(move || match Paths::resolve() {
                    Ok(paths) => keep.save(&paths.consoles()).map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                });
                if let Ok(Err(why)) = saved.await {
                    let why = format!("Consoles are not kept for the next run: {why}");
                    self.tell(Event::Told(Err(why))).await;
                }
            }
            Effect::ConsoleInput(..)
            | Effect::ConsoleResize(..)
            | Effect::ConsoleDetach(_)
            | Effect::FollowLog { .. }
            | Effect::UnfollowLog
            | Effect::CloseForward(..)
            | Effect::RunEditor(_)
            | Effect::SaveEdit(_)
            | Effect::Enter(_)
            | Effect::Glance(_)
            | Effect::GlanceAgain
            | Effect::Configure(..)
            | Effect::Export { .. }
            | Effect::Import { .. }
            | Effect::Suspend => {}
        }
    }

    /// Connects a console: to its session, to one that a console before it left behind, or to a new one.
    async fn console(&self, id: u64, name: &str, session: Option<String>, rows: u16, cols: u16, fresh: bool) {
        let size = Some((rows, cols));
        let known = session.clone();
        let left_behind = if session.is_none() && !fresh { self.left_behind(name).await } else { None };
        let mut opened = None;
        if let Some(session) = session.or(left_behind) {
            match self.client.attach(name, &session, size).await {
                Ok(connection) => opened = Some(Ok(connection)),
                // It ended meanwhile, so a new one takes its place.
                Err(Error::NotFound(_)) => {}
                Err(error) => opened = Some(Err(error)),
            }
        }
        let opened = match opened {
            Some(outcome) => outcome,
            None => {
                let request = ExecRequest {
                    cmd: SHELL.map(str::to_owned).into(),
                    tty: true,
                    rows,
                    cols,
                    env: vec![
                        ("TERM".into(), "xterm-256color".into()),
                        ("COLORTERM".into(), "truecolor".into()),
                    ],
                    stdin: true,
                    ..ExecRequest::default()
                };
                self.client.exec(name, request).await
            }
        };
        match opened {
            Ok(connection) => {
                let (sender, mut receiver) = connection.split();
                self.locked().insert(id, sender);
                let Ok(mut event) = tokio::time::timeout(FIRST, receiver.next()).await else {
                    if let Some(sender) = self.locked().remove(&id) {
                        sender.detach();
                    }
                    let (endpoint, seconds) = (self.client.endpoint(), FIRST.as_secs());
                    let why = format!(
                        "{endpoint} opened a connection in which no session began within {seconds} s"
                    );
                    return self.tell(Event::ConsoleFailed(id, why)).await;
                };
                if matches!(event, Some(ExecEvent::Stdout(_))) {
                    // A server that does not say which session it is has one all the same.
                    let info =
                        SessionInfo { session_id: known.unwrap_or_default(), ..SessionInfo::default() };
                    self.tell(Event::Console(id, ExecEvent::Info(info))).await;
                }
                while let Some(happened) = event {
                    self.tell(Event::Console(id, happened)).await;
                    event = receiver.next().await;
                }
            }
            Err(error) => self.tell(Event::ConsoleFailed(id, error.to_string())).await,
        }
    }

    /// A shell with a terminal that nobody is connected to.
    async fn left_behind(&self, name: &str) -> Option<String> {
        let sessions = self.client.sessions(name).await.ok()?;
        let shell = |command: &str| command.starts_with(SHELL[0]);
        sessions
            .into_iter()
            .rev()
            .find(|session| session.tty && session.attached == 0 && shell(&session.command))
            .map(|session| session.id)
    }

    async fn done(&self, job: u64, outcome: Result<String, String>, sprite: Option<String>) {
        self.tell(Event::Done(job, outcome, sprite)).await;
    }

    async fn tell(&self, event: Event) {
        // When the app has ended nobody listens, and nothing is lost.
        let _ = self.events.send(event).await;
    }

    fn forwards(&self) -> MutexGuard<'_, HashMap<(String, u16), Forward>> {
        self.forwards.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn following(&self) -> MutexGuard<'_, Option<AbortOnDropHandle<()>>> {
        self.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<u64, ExecSender>> {
        self.consoles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Beginning of a line that tells what is not as it should be.
const WARNING: &str = "Warning: ";

/// The last word of work that is told line by line.
async fn last(mut lines: Lines<ProgressLine>) -> Result<String, String> {
    let mut word = Err("the server said nothing".to_owned());
    let mut warning = None;
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| error.to_string())?;
        match line.kind.as_str() {
            "complete" => word = Ok(line.data.unwrap_or_else(|| "Done.".into())),
            "error" => {
                word = Err(line.error.unwrap_or_else(|| "it failed, and the server does not say why".into()))
            }
            _ => warning = line.data.filter(|text| text.starts_with(WARNING)).or(warning),
        }
    }
    match (word, warning) {
        // What is done and not as it should be is no reason to be content.
        (Ok(done), Some(warning)) => Err(format!("{done} {warning}")),
        (word, _) => word,
    }
}
