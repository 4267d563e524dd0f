//! A sprite as everybody but its task sees it: what is known of it, and asking its task for changes.

use super::holds::Holds;
use super::life::{self, Command, Wish};
use super::limits::{Allowance, Places};
use super::network::Network;
use super::sight::Sight;
use super::usage::{Guard, Usage};
use super::{ORGANIZATION, SpriteError, Sprites, blocking};
use crate::agent;
use crate::lock::locked;
use crate::store::Record;
use local_vmm::{MachineHandle, kvm};
use sprites_api::Time;
use sprites_api::sprite::{Sprite as ApiSprite, Status, WatchLine};
use sprites_api::task::Task;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use vmm_disk::{Checkpoint, Restored};

/// Commands that may wait.
const QUEUE: usize = 256;
/// How long any command may take, waiting in the queue included.
const COMMAND: Duration = Duration::from_secs(240);

/// How a sprite is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub status: Status,
    /// Why it is so, as the end of a sentence that begins with the status.
    pub reason: String,
    /// Why the last start or the machine failed.
    pub failure: Option<String>,
}

/// A checkpoint that is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct NewCheckpoint {
    pub comment: Option<String>,
    /// Made by the system.
    pub auto: bool,
    /// With all that runs.
    pub memory: bool,
}

/// A checkpoint that was made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub checkpoint: Checkpoint,
    /// Whether all that was written before is in it. Otherwise it is what a power cut would have left.
    pub at_rest: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Sprite {
    id: String,
    record: Mutex<Record>,
    pub(super) state: watch::Sender<State>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) usage: Arc<Usage>,
    /// The machine, for those who only look at it.
    machine: Mutex<Option<MachineHandle>>,
    pub(crate) url: String,
    /// Tasks, which programs inside have taken.
    holds: Holds,
    /// Who waits for questions from inside.
    pub(crate) waiting: Places,
    /// Who follows logs of its services without using it.
    pub(crate) following: Places,
    /// What goes on in it, for those who only look.
    pub(super) sight: Sight,
    /// Disks of checkpoints that are served to it.
    pub(crate) serving: Places,
    /// Checkpoints that code inside may make now.
    pub(crate) inside_budget: Allowance,
    /// Where its agent is asked what it uses and does.
    pub(crate) agent: agent::Line,
    /// What it tries to reach.
    pub(crate) network: Arc<Network>,
    /// Counts changes of its list of checkpoints, and machines, which begin without knowing it.
    list: AtomicUsize,
    /// Keeps two changes of the record apart until they are written.
    changing: tokio::sync::Mutex<()>,
}

impl Sprite {
    /// Starts the task of a sprite. `machine` is one that already runs.
    pub(super) async fn spawn(
        sprites: &Arc<Sprites>,
        record: Record,
        machine: Option<MachineHandle>,
    ) -> Arc<Self> {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let status = match &machine {
            Some(machine) => match machine.status().await.map(|status| status.state) {
                Ok(local_vmm::State::Paused) => Status::Warm,
                Ok(_) => Status::Running,
                Err(_) => Status::Cold,
            },
            None if kvm::is_kept(&sprites.paths.memory(&record.id)) => Status::Warm,
            None => Status::Cold,
        };
        let (store, id) = (Arc::clone(&sprites.store), record.id.clone());
        // What was written down when it became so; a server before this one may have been killed meanwhile.
        let last = blocking(move || Ok(store.events(&id, 1)?)).await.unwrap_or_default().pop();
        let reason = match last {
            Some(last) if last.status == status => last.reason,
            None if status == Status::Cold => "not used yet".to_owned(),
            _ => "found so when the server started".to_owned(),
        };
        let sprite = Arc::new(Self {
            id: record.id.clone(),
            url: sprites.settings.web.url(&format!("{}-{}", record.name, short(&record.id))),
            record: Mutex::new(record),
            state: watch::Sender::new(State { status, reason, failure: None }),
            commands: sender,
            usage: Usage::new(),
            machine: Mutex::new(machine.clone()),
            holds: Holds::default(),
            waiting: Places::default(),
            following: Places::default(),
            sight: Sight::default(),
            serving: Places::default(),
            inside_budget: Allowance::default(),
            agent: agent::Line::default(),
            network: Arc::default(),
            list: AtomicUsize::new(1),
            changing: tokio::sync::Mutex::default(),
        });
        life::begin(&sprite, sprites, machine, receiver);
        sprite
    }

    /// Its id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// How it is.
    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// How it is, and what becomes of that.
    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// What is known about it.
    pub(crate) fn record(&self) -> Record {
        locked(&self.record).clone()
    }

    /// Its machine, while it runs and is awake.
    pub(crate) fn running_machine(&self) -> Option<MachineHandle> {
        let running = self.state.borrow().status == Status::Running;
        locked(&self.machine).clone().filter(|_| running)
    }

    /// CPUs and MiB of memory of its machine.
    pub(crate) fn size(&self) -> (u32, u32) {
        life::size(&locked(&self.record).config)
    }

    /// Whether this is the last part of its host name's first label, after its name.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        short(&self.id) == word
    }

    /// Holds that have not expired, by name.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        self.holds.list()
    }

    /// Takes or renews a hold.
    pub(crate) fn hold(&self, name: &str, length: Duration) -> Result<Task, SpriteError> {
        let task = self.holds.take(name, length)?;
        self.usage.touch();
        Ok(task)
    }

    /// Gives a hold back; false if there is none of that name.
    pub(crate) fn release(&self, name: &str) -> bool {
        self.holds.release(name)
    }

    /// What keeps it awake now.
    fn in_use_by(&self) -> Vec<String> {
        let mut uses = self.usage.uses();
        uses.extend(self.tasks().into_iter().map(|task| format!("the task {}", task.name)));
        uses
    }

    /// A number that changes when its list of checkpoints does, and when what is inside cannot know it.
    pub(crate) fn list_number(&self) -> usize {
        self.list.load(Ordering::SeqCst)
    }

    /// Has the list told anew to what is inside.
    pub(super) fn list_changed(&self) {
        self.list.fetch_add(1, Ordering::SeqCst);
    }

    /// Something happened inside that keeps it awake for a while.
    pub(crate) fn touch(&self) {
        self.usage.touch();
    }

    /// Whether something was done to its disk since the last call.
    pub(crate) fn take_changed(&self) -> bool {
        self.usage.changed.swap(false, Ordering::Relaxed)
    }

    /// As the API shows it.
    pub(crate) fn view(&self) -> ApiSprite {
        let (record, state) = (self.record(), self.state());
        ApiSprite {
            id: record.id,
            name: record.name,
            organization: Some(ORGANIZATION.into()),
            org_slug: Some(ORGANIZATION.into()),
            status: state.status,
            url: Some(self.url.clone()),
            url_settings: Some(record.url_settings),
            labels: record.labels,
            version: Some(env!("CARGO_PKG_VERSION").into()),
            environment_version: record.image,
            created_at: Some(record.created_at),
            updated_at: Some(record.updated_at),
            last_running_at: record.last_running_at,
            last_warming_at: record.last_warming_at,
            config: Some(record.config).filter(|config| *config != sprites_api::sprite::Config::default()),
            environment: Some(record.environment).filter(|environment| !environment.is_empty()),
            failure: state.failure,
            in_use_by: self.in_use_by(),
            reason: Some(state.reason),
        }
    }

    /// As a watcher is told of it.
    pub(crate) fn watch_line(&self) -> WatchLine {
        let record = self.record();
        WatchLine {
            kind: "sprite".into(),
            name: Some(record.name),
            status: Some(self.state().status),
            running_version: Some(env!("CARGO_PKG_VERSION").into()),
            last_running_at: record.last_running_at,
            last_warming_at: record.last_warming_at,
            timestamp: Some(Time::now()),
            org: None,
        }
    }

    /// Changes the record, in memory, database and folder.
    pub(super) async fn change(
        &self,
        sprites: &Sprites,
        change: impl FnOnce(&mut Record),
    ) -> Result<(), SpriteError> {
        let _one_by_one = self.changing.lock().await;
        let mut record = self.record();
        change(&mut record);
        let (store, disks) = (Arc::clone(&sprites.store), sprites.disks.clone());
        // It holds when it is written down: what is answered with an error must not be so all the same.
        let record = blocking(move || {
            store.put(&record)?;
            Ok((disks.write(&record), record))
        })
        .await;
        let (written, record) = record?;
        *locked(&self.record) = record;
        written
    }

    /// A connection to the agent inside, waking the sprite if needed. It stays awake at least as long as the guard lives; `what` tells others what
    /// for, such as "the command make".
    pub(crate) async fn connect(&self, what: impl Into<String>) -> Result<(UnixStream, Guard), SpriteError> {
        let wish = Wish { what: what.into(), since: Instant::now() };
        self.ask(|reply| Command::Connect(wish, reply)).await
    }

    /// Wakes it if needed. It stays awake at least as long as the guard lives; `what` as in [`connect`](Self::connect).
    pub(crate) async fn awake(&self, what: impl Into<String>) -> Result<Guard, SpriteError> {
        let wish = Wish { what: what.into(), since: Instant::now() };
        self.ask(|reply| Command::Awake(wish, reply)).await
    }

    /// Has those who run inside told what they may do; one that sleeps is told when it wakes.
    pub(crate) async fn apply_policies(&self) -> Result<(), SpriteError> {
        self.ask(Command::ApplyPolicies).await
    }

    /// Makes a checkpoint; a running sprite hardly notices, a cold one stays cold.
    pub(crate) async fn checkpoint(&self, new: NewCheckpoint) -> Result<Made, SpriteError> {
        self.ask(|reply| Command::Checkpoint(new, reply)).await
    }

    /// Goes back to a checkpoint; with `memory` to all that ran as well. A sprite that ran starts again from it.
    pub(crate) async fn restore(&self, id: &str, memory: bool) -> Result<Restored, SpriteError> {
        self.ask(|reply| Command::Restore(id.to_owned(), memory, reply)).await
    }

    /// Deletes a checkpoint and gives its bytes back.
    pub(crate) async fn forget(&self, id: &str) -> Result<(), SpriteError> {
        self.ask(|reply| Command::Forget(id.to_owned(), reply)).await
    }

    /// Takes the machine down in order; programs end, the disk is at rest afterwards. The next use starts it again.
    pub(crate) async fn stop(&self) -> Result<(), SpriteError> {
        self.ask(Command::Stop).await
    }

    /// Takes the machine down at once and ends the task.
    pub(super) async fn end(&self) -> Result<(), SpriteError> {
        self.ask(Command::End).await
    }

    /// Shows the machine to those who only look at it.
    pub(super) fn publish(&self, machine: Option<MachineHandle>) {
        *locked(&self.machine) = machine;
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SpriteError>>) -> Command,
    ) -> Result<T, SpriteError> {
        let (sender, receiver) = oneshot::channel();
        let work = async {
            self.commands.send(command(sender)).await.map_err(|_| SpriteError::Ending)?;
            receiver.await.map_err(|_| SpriteError::Ending)?
        };
        timeout(COMMAND, work).await.unwrap_or(Err(SpriteError::Late(COMMAND.as_secs())))
    }
}

/// The part of an id that tells two sprites of one name apart, of which the first was destroyed.
fn short(id: &str) -> &str {
    let bare = id.strip_prefix("sprite-").unwrap_or(id);
    bare.get(..5).unwrap_or(bare)
}
