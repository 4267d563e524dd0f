//! The loop: events in, frames out. The one place that draws, only when something changed, as often as [`Pace`] lets it.

use crate::appearance::Appearance;
use crate::background;
use crate::clipboard;
use crate::config::table::SETTINGS;
use crate::config::{Config, Remote, edit};
use crate::edits::{Edits, run_editor};
use crate::glances::Glances;
use crate::keep::Keep;
use crate::keys::Keys;
use crate::mishap;
use crate::model::{Here, Load, Model, Tour, Weight};
use crate::moves::Moves;
use crate::pace::Pace;
use crate::screen::Screen;
use crate::terminal;
use crate::theme::Theme;
use crate::update::{Effect, Event, update};
use crate::watch::Watch;
use crate::worker::Worker;
use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{Event as Pressed, EventStream};
use crossterm::execute;
use futures::StreamExt;
use nix::sys::signal::Signal;
use sprites_api::sprite::Status;
use sprites_backend::client::Client;
use sprites_backend::context::Context;
use sprites_backend::paths::Paths;
use std::collections::VecDeque;
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Between two looks at what time changes: toasts, ages, unseen consoles.
const TICK: Duration = Duration::from_secs(1);
/// The same where nothing of that is there: each look wakes the processor.
const QUIET_TICK: Duration = Duration::from_secs(5);
/// How long the terminal may take to tell its background.
const ASK: Duration = Duration::from_millis(200);
/// Events that may wait; then who sends them waits. Each may hold 64 KiB of a console's output, and all of it comes before what follows a ctrl-c.
const QUEUE: usize = 64;
/// How long events are taken before keys and frames have their turn.
const TURN: Duration = Duration::from_millis(4);
/// How late a process may hear that it was let go on.
const LATE: Duration = Duration::from_millis(100);
/// Time between two frames of what moves by itself, where motion is reduced.
const CALM: Duration = Duration::from_secs(10);
/// Least time between two questions for the terminal's background.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// With what the app begins.
pub struct Start {
    /// All contexts.
    pub contexts: Vec<Context>,
    /// Index of the one to begin with.
    pub first: usize,
    /// What things look like.
    pub appearance: Appearance,
    /// What was configured.
    pub config: Config,
    /// Nothing of it is real.
    pub demo: bool,
}

/// Runs the app until it is left.
///
/// Blocks for as long as its server takes to start, before it takes the terminal. Gives what is to be said when the terminal is back.
pub async fn run(start: Start) -> io::Result<Option<String>> {
    let Start { contexts, first, mut appearance, config, demo } = start;
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(io::Error::other("the app needs a terminal; use the subcommands in scripts"));
    }
    let (context, client) = open(&contexts, first).await.map_err(io::Error::other)?;
    // Who has chosen a theme is not to wait for a terminal that does not answer.
    let told = if appearance.follows(&config) { background() } else { None };
    appearance.set_light(told == Some(true));
    let fresh = appearance.fresh(config);
    let mut screen = Screen::open(fresh.look.plain)?;
    let mut model =
        Model::new(here(&context, &client), Keys::default(), vec![Theme::plain()], 0, screen.size()?);
    model.mux.profile = appearance.profile();
    // The consoles of a demo are gone with it.
    let keep = Paths::resolve().ok().map(|paths| paths.consoles()).filter(|_| !demo);
    match keep.as_deref().map(Keep::load) {
        Some(Ok(kept)) => model.mux.kept = kept,
        Some(Err(why)) => model.say(Weight::Bad, why),
        None => {}
    }
    model.read_only = fresh.read_only;
    let configured = Configured { read_only: fresh.read_only, contexts: fresh.contexts.clone() };
    model.contexts = contexts.iter().map(|context| context.name.clone()).collect();
    model.dress(fresh);
    model.demo = demo;
    // Somebody who is here for the first time, and not in a place where all is different.
    let fresh = Paths::resolve().is_ok_and(|paths| !paths.toured().exists());
    model.tour = (fresh && model.here.local).then(Tour::default);
    let surroundings = Surroundings::new(appearance, configured, told.is_some(), &mut model);
    // Glances, moves and edits outlive the worker of a context.
    let (lasting, told) = mpsc::channel(QUEUE);
    let (moves, edits) = (Moves::new(lasting.clone()), Edits::new(lasting.clone()));
    let glances = Glances::new(&contexts, &lasting);
    let beside = Beside { glances, moves: &moves, edits: &edits, told };
    let outcome =
        live(&mut screen, &mut model, &contexts, surroundings, beside, follow(context, client)).await;
    drop(screen);
    let ((), lost) = tokio::join!(moves.end(), edits.end());
    let last = model.mux.kept.with(&model);
    if let Some(path) = keep.filter(|_| last != model.mux.kept) {
        // Without it the next run begins without consoles, and their programs go on all the same.
        let _ = last.save(&path);
    }
    let said: Vec<String> = lost.into_iter().chain(farewell(&model)).collect();
    outcome.map(|()| (!said.is_empty()).then(|| said.join("\n")))
}

/// What goes on when the app has been left; nothing where that is none of this machine's business.
fn farewell(model: &Model) -> Option<String> {
    let Load::Ready(sprites) = &model.sprites else { return None };
    if !model.quit || model.demo || !model.here.local || !model.connected {
        return None;
    }
    let awake = sprites.values().filter(|row| row.sprite.status == Status::Running).count();
    let sprites = match awake {
        0 => String::new(),
        1 => ", and so does 1 sprite until nothing uses it".to_owned(),
        many => format!(", and so do {many} sprites until nothing uses them"),
    };
    Some(format!("The server goes on{sprites}; `sprites-tui stop` ends everything."))
}

/// Opens a context where that may block.
async fn open(contexts: &[Context], index: usize) -> Result<(Context, Client), String> {
    let context = contexts.get(index).cloned().ok_or("there is no such context")?;
    let opened = tokio::task::spawn_blocking(move || context.connect().map(|client| (context, client)));
    opened.await.unwrap_or_else(|_| Err("the context could not be opened".to_owned()))
}

fn here(context: &Context, client: &Client) -> Here {
    let endpoint = client.endpoint();
    Here { context: context.name.clone(), endpoint: endpoint.to_string(), local: endpoint.is_local() }
}

/// A worker for a context, and what it tells.
fn follow(context: Context, client: Client) -> (Worker, mpsc::Receiver<Event>) {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let worker = Worker::new(context, client, sender);
    worker.follow();
    (worker, receiver)
}

/// Whether the terminal is light; none when it does not tell.
fn background() -> Option<bool> {
    let mut options = terminal_colorsaurus::QueryOptions::default();
    options.timeout = ASK;
    let color = terminal_colorsaurus::background_color(options).ok()?;
    Some(color.perceived_lightness() > 0.5)
}

/// What changes around the app while it runs: its files, and the terminal's background.
struct Surroundings {
    appearance: Appearance,
    /// None where changes cannot be seen.
    watch: Option<Watch>,
    /// Whether the terminal tells its background.
    tells: bool,
    /// When it was asked last.
    asked: Instant,
    configured: Configured,
}

/// What the configuration said last of what a person may have changed since.
#[derive(PartialEq)]
struct Configured {
    read_only: bool,
    contexts: Vec<Remote>,
}

impl Surroundings {
    fn new(appearance: Appearance, configured: Configured, tells: bool, model: &mut Model) -> Self {
        let [config, themes] = appearance.files();
        let watch = Watch::new(config, themes).map_err(|why| {
            model.say(
                Weight::Bad,
                format!("changes of the configuration count from the next start on: {why}"),
            );
        });
        Self { watch: watch.ok(), appearance, tells, asked: Instant::now(), configured }
    }

    /// Waits until a file has changed.
    async fn changed(&mut self) {
        match &mut self.watch {
            Some(watch) => watch.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Takes in what the files say now.
    fn read(&mut self, model: &mut Model) {
        let fresh = self.appearance.read();
        let configured = Configured { read_only: fresh.read_only, contexts: fresh.contexts.clone() };
        let before = std::mem::replace(&mut self.configured, configured);
        if before.read_only != fresh.read_only {
            model.read_only = fresh.read_only;
        }
        if before.contexts != fresh.contexts {
            model.say(Weight::Good, "Contexts hold as they are written now when the app is started again.");
        }
        if fresh.mistakes.is_empty() {
            model.say(Weight::Good, "The configuration was read again.");
        }
        model.dress(fresh);
    }

    /// Changes a setting in the file.
    fn configure(&mut self, model: &mut Model, setting: usize, value: Option<&str>) {
        let Some(setting) = SETTINGS.get(setting) else { return };
        match edit::change(self.appearance.files()[0], setting, value) {
            Err(why) => model.say(Weight::Bad, why),
            // Else it is read again in a moment, as whatever else changes there.
            Ok(()) if self.watch.is_none() => self.read(model),
            Ok(()) => {}
        }
    }

    /// Whether the terminal is to be asked again: where a person was elsewhere, it may have changed.
    fn is_due(&self, event: &Event, model: &Model) -> bool {
        matches!(event, Event::Terminal(Pressed::FocusGained))
            && self.tells
            && model.wanted.is_none()
            && !model.turned
            && self.asked.elapsed() >= ASK_AGAIN
    }

    /// Asks the terminal, whose keys nobody reads meanwhile; gives those that were pressed.
    fn ask(&mut self, model: &mut Model) -> Vec<Event> {
        self.asked = Instant::now();
        let Ok(answer) = background::ask() else { return Vec::new() };
        // One that is slower than any would be taken for keys.
        self.tells = answer.light.is_some();
        if answer.light.is_some_and(|light| self.appearance.set_light(light)) {
            model.dress(self.appearance.read());
        }
        answer.keys.into_iter().map(Event::Terminal).collect()
    }
}

/// What goes on beside the worker of the context that one is in, whichever that is.
struct Beside<'m> {
    glances: Glances,
    moves: &'m Moves,
    edits: &'m Edits,
    told: mpsc::Receiver<Event>,
}

async fn live(
    screen: &mut Screen,
    model: &mut Model,
    contexts: &[Context],
    mut surroundings: Surroundings,
    Beside { glances, moves, edits, told: mut lasting }: Beside<'_>,
    (mut worker, mut events): (Worker, mpsc::Receiver<Event>),
) -> io::Result<()> {
    terminal::watch_for_its_end()?;
    let mut keys = EventStream::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut stop = signal(SignalKind::from_raw(Signal::SIGTSTP as i32))?;
    let mut go_on = signal(SignalKind::from_raw(Signal::SIGCONT as i32))?;
    let mut mishap = mishap::Asked::new()?;
    let mut ticked = Instant::now();
    // Something moved by itself, which can wait.
    let mut moved = false;
    // The way into another context takes as long as its server takes to start.
    let mut entering = None;
    // The first frame does not wait for what the terminal says.
    screen.draw(model)?;
    let mut drawn = Instant::now();
    let mut pace = Pace::new(drawn);
    let mut stale = false;
    let mut edit = None;
    // What was pressed while nobody read keys, and what came of it.
    let mut taken: VecDeque<Event> = screen.speak_keyboard(model)?.into_iter().map(Event::Terminal).collect();
    loop {
        stale |= moved && drawn.elapsed() >= CALM;
        if stale && pace.wait(Instant::now()).is_zero() {
            screen.draw(model)?;
            drawn = Instant::now();
            pace.drawn(drawn);
            (stale, moved) = (false, false);
        }
        let due = pace.wait(Instant::now());
        let tick = if model.is_quiet() { QUIET_TICK } else { TICK };
        let (mut suspended, mut woken) = (false, false);
        let mut flows = false;
        tokio::select! {
            biased;
            () = std::future::ready(()), if !taken.is_empty() => {}
            key = keys.next() => match key {
                Some(Ok(key)) => taken.push_back(Event::Terminal(key)),
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = stop.recv() => suspended = true,
            // Whoever had the terminal in between has left it as they like it.
            _ = go_on.recv() => woken = true,
            () = mishap.come() => {}
            () = tokio::time::sleep(due), if stale => continue,
            Some(event) = lasting.recv() => taken.push_back(event),
            () = alarm(model.wakes_at()) => taken.push_back(Event::Wake),
            opened = arrival(&mut entering) => {
                entering = None;
                stale = true;
                match opened {
                    Ok((context, client)) => {
                        model.enter(here(&context, &client));
                        // With the old channel everything ends that was done for the context before.
                        (worker, events) = follow(context, client);
                    }
                    Err(why) => {
                        model.end_jobs();
                        model.say(Weight::Bad, why);
                    }
                }
            }
            () = surroundings.changed() => {
                surroundings.read(model);
                stale = true;
            }
            () = tokio::time::sleep_until((ticked + tick).into()) => {
                ticked = Instant::now();
                if terminal::is_gone() {
                    return Ok(());
                }
                taken.extend(mishap::told().map(|why| Event::Told(Err(why))));
                taken.push_back(Event::Tick(Instant::now()));
            }
            // A console that floods is never without an event; what stands above comes seldom.
            Some(event) = events.recv() => {
                taken.push_back(event);
                flows = true;
            }
        }
        if taken.front().is_some_and(|event| surroundings.is_due(event, model)) {
            drop(keys);
            // Whoever read keys until now has let go of them when they can be looked for.
            let _ = crossterm::event::poll(Duration::ZERO);
            taken.extend(surroundings.ask(model));
            keys = EventStream::new();
        }
        if taken.iter().any(|event| matches!(event, Event::Terminal(Pressed::Resize(..)))) {
            // Of several sizes in a row perhaps only the last is seen, which may be the first again; what was cut off meanwhile is not there.
            screen.repaint()?;
        }
        let turn = Instant::now();
        while let Some(event) = taken.pop_front() {
            // Time alone changes the screen only when it shows something that ages.
            let changes = !matches!(event, Event::Tick(_)) || model.ages();
            match model.look.reduced_motion && event.is_unasked() {
                true => moved |= changes,
                false => stale |= changes,
            }
            for effect in update(model, event) {
                match effect {
                    Effect::Enter(index) => {
                        let contexts = contexts.to_vec();
                        entering = Some(tokio::spawn(async move { open(&contexts, index).await }));
                    }
                    Effect::Glance(on) => glances.look(on),
                    Effect::GlanceAgain => glances.again(),
                    Effect::Suspend => suspended = true,
                    Effect::Keep(_) | Effect::Toured if model.demo => {}
                    // Whoever only looks is not to find other settings afterwards.
                    Effect::Configure(..) if model.demo => {
                        model.say(Weight::Bad, "A demo leaves the configuration as it is.");
                    }
                    Effect::Copy(text) if clipboard::by_terminal(&text) => {
                        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(&text))?;
                        let what = clipboard::amount(&text);
                        model.say(Weight::Good, format!("Copied {what} through the terminal (OSC 52)"));
                    }
                    Effect::Configure(setting, value) => {
                        surroundings.configure(model, setting, value.as_deref())
                    }
                    Effect::RunEditor(wanted) => edit = Some(wanted),
                    Effect::SaveEdit(edit) => edits.save(worker.client().clone(), edit),
                    effect => {
                        if let Some(effect) = moves.begin(worker.client(), effect) {
                            worker.perform(effect);
                        }
                    }
                }
            }
            if flows && turn.elapsed() < TURN {
                taken.extend(events.try_recv());
            }
        }
        if suspended || woken {
            drop(keys);
            let _ = crossterm::event::poll(Duration::ZERO);
            let pressed = if suspended { screen.suspend(model)? } else { screen.renew(model)? };
            if suspended {
                // The end of a stop of our own is told as well; where no shell could stop it, there is none.
                let _ = timeout(LATE, go_on.recv()).await;
            }
            taken.extend(pressed.into_iter().map(Event::Terminal));
            keys = EventStream::new();
            stale = true;
        }
        if let Some(edit) = edit.take() {
            // Whoever reads keys would take them from the editor.
            drop(keys);
            screen.give_back();
            let copy = edit.copy.clone();
            let edited = tokio::task::spawn_blocking(move || run_editor(&copy)).await;
            let outcome = edited.unwrap_or_else(|_| Err("the editor could not be run".to_owned()));
            // Whatever became of the terminal meanwhile, and whoever wants the app to end.
            for effect in update(model, Event::Edited(edit, outcome)) {
                match effect {
                    Effect::SaveEdit(edit) => edits.save(worker.client().clone(), edit),
                    effect => worker.perform(effect),
                }
            }
            taken.extend(screen.take_again(model)?.into_iter().map(Event::Terminal));
            keys = EventStream::new();
            stale = true;
        }
        if model.quit {
            return Ok(());
        }
    }
}

/// What comes of the way into another context; never, when there is none.
async fn arrival(
    entering: &mut Option<JoinHandle<Result<(Context, Client), String>>>,
) -> Result<(Context, Client), String> {
    match entering {
        Some(opening) => opening.await.unwrap_or_else(|_| Err("the context could not be opened".to_owned())),
        None => std::future::pending().await,
    }
}

/// Waits for that moment; forever when there is none.
async fn alarm(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
