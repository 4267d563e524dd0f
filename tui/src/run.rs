//! The loop: events in, frames out. The one place that draws, only when something changed, at most every [`FRAME`].

use crate::clipboard;
use crate::config::Config;
use crate::guard::Guard;
use crate::keep::Keep;
use crate::model::{Here, Load, Model, Weight};
use crate::terminal;
use crate::theme::Theme;
use crate::update::{Effect, Event, update};
use crate::view;
use crate::worker::{Worker, run_editor};
use crossterm::clipboard::CopyToClipboard;
use crossterm::cursor::SetCursorStyle;
use crossterm::event::EventStream;
use crossterm::style::Print;
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{execute, queue};
use futures::StreamExt;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use sprites_api::sprite::Status;
use sprites_backend::client::Client;
use sprites_backend::context::Context;
use sprites_backend::paths::Paths;
use std::io::{self, IsTerminal, Stdout};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use termprofile::{DetectorSettings, TermProfile};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Least time between two frames.
const FRAME: Duration = Duration::from_millis(16);
/// Between two looks at what time changes: toasts, ages, unseen consoles.
const TICK: Duration = Duration::from_secs(1);
/// How long the terminal may take to tell its background.
const ASK: Duration = Duration::from_millis(200);
/// Events that may wait; then who sends them waits.
const QUEUE: usize = 1024;
/// Events taken before a frame is due again.
const BATCH: usize = 64;

/// Runs the app until it is left, beginning with the context of index `first`.
///
/// Blocks for as long as its server takes to start, before it takes the terminal. Gives what is to be said when the terminal is back.
pub async fn run(
    contexts: Vec<Context>,
    first: usize,
    config: Config,
    themes: (Vec<Theme>, Vec<String>),
) -> io::Result<Option<String>> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(io::Error::other("the app needs a terminal; use the subcommands in scripts"));
    }
    let (context, client) = open(&contexts, first).await.map_err(io::Error::other)?;
    let (mut themes, mistakes) = themes;
    let profile = TermProfile::detect(&io::stdout(), DetectorSettings::default());
    let wanted = pick(&themes, config.theme.as_deref());
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    if no_color || themes.is_empty() {
        themes = vec![Theme::plain()];
    } else {
        themes = themes.into_iter().map(|theme| theme.map(|color| profile.adapt_color(color))).collect();
    }
    let mut screen = Screen::open()?;
    let size = screen.terminal.size()?;
    let theme = wanted.unwrap_or(0).min(themes.len() - 1);
    let mut model =
        Model::new(here(&context, &client), config.keys, themes, theme, (size.width, size.height));
    model.mux.prefix = config.prefix;
    model.mux.scrollback = config.scrollback.unwrap_or(model.mux.scrollback);
    model.mux.profile = profile;
    let keep = Paths::resolve().ok().map(|paths| paths.consoles());
    match keep.as_deref().map(Keep::load) {
        Some(Ok(kept)) => model.mux.kept = kept,
        Some(Err(why)) => model.say(Weight::Bad, why),
        None => {}
    }
    model.read_only = config.read_only;
    model.contexts = contexts.iter().map(|context| context.name.clone()).collect();
    if wanted.is_none()
        && let Some(name) = &config.theme
    {
        let known: Vec<&str> = model.themes.iter().map(|theme| theme.name.as_str()).collect();
        let known = known.join(", ");
        model.say(Weight::Bad, format!("There is no theme {name:?}; there are {known}."));
    }
    for mistake in config.mistakes.into_iter().chain(mistakes) {
        model.say(Weight::Bad, mistake);
    }
    let outcome = live(&mut screen, &mut model, &contexts, follow(context, client)).await;
    drop(screen);
    let last = model.mux.kept.with(&model);
    if let Some(path) = keep.filter(|_| last != model.mux.kept) {
        // Without it the next run begins without consoles, and their programs go on all the same.
        let _ = last.save(&path);
    }
    outcome.map(|()| farewell(&model))
}

/// What goes on when the app has been left; nothing where that is none of this machine's business.
fn farewell(model: &Model) -> Option<String> {
    let Load::Ready(sprites) = &model.sprites else { return None };
    if !model.quit || !model.here.local || !model.connected {
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

/// The theme of that name, or the one for the terminal's background.
fn pick(themes: &[Theme], name: Option<&str>) -> Option<usize> {
    let find = |name: &str| themes.iter().position(|theme| theme.name == name);
    match name {
        Some(name) => find(name),
        None => {
            let mut options = terminal_colorsaurus::QueryOptions::default();
            options.timeout = ASK;
            let light = matches!(
                terminal_colorsaurus::theme_mode(options),
                Ok(terminal_colorsaurus::ThemeMode::Light)
            );
            // The first that fits: what is built in comes before the user's own.
            themes.iter().position(|theme| theme.dark != light).or(Some(0))
        }
    }
}

async fn live(
    screen: &mut Screen,
    model: &mut Model,
    contexts: &[Context],
    (mut worker, mut events): (Worker, mpsc::Receiver<Event>),
) -> io::Result<()> {
    let mut keys = EventStream::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut drawn: Option<Instant> = None;
    let mut stale = true;
    // The way into another context takes as long as its server takes to start.
    let mut entering = None;
    // The first frame does not wait for what the terminal says.
    screen.draw(model)?;
    model.mux.key_releases = terminal::speak_keyboard()?;
    let mut edit = None;
    loop {
        if stale && drawn.is_none_or(|at| at.elapsed() >= FRAME) {
            screen.draw(model)?;
            drawn = Some(Instant::now());
            stale = false;
        }
        let due = drawn.map_or(Duration::ZERO, |at| FRAME.saturating_sub(at.elapsed()));
        let mut taken = Vec::new();
        tokio::select! {
            biased;
            key = keys.next() => match key {
                Some(Ok(key)) => taken.push(Event::Terminal(key)),
                // The terminal is gone.
                Some(Err(_)) | None => return Ok(()),
            },
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            () = tokio::time::sleep(due), if stale => continue,
            Some(event) = events.recv() => {
                taken.push(event);
                while taken.len() < BATCH && let Ok(more) = events.try_recv() {
                    taken.push(more);
                }
            }
            () = alarm(model.wakes_at()) => taken.push(Event::Wake),
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
                        model.jobs.clear();
                        model.say(Weight::Bad, why);
                    }
                }
            }
            _ = ticks.tick() => taken.push(Event::Tick(Instant::now())),
        }
        for event in taken {
            // Time alone changes the screen only when it shows something that ages.
            stale |= !matches!(event, Event::Tick(_)) || model.ages();
            for effect in update(model, event) {
                match effect {
                    Effect::Enter(index) => {
                        let contexts = contexts.to_vec();
                        entering = Some(tokio::spawn(async move { open(&contexts, index).await }));
                    }
                    Effect::Copy(text) if clipboard::by_terminal(&text) => {
                        execute!(io::stdout(), CopyToClipboard::to_clipboard_from(&text))?;
                        let what = clipboard::amount(&text);
                        model.say(Weight::Good, format!("Copied {what} through the terminal (OSC 52)"));
                    }
                    Effect::RunEditor(wanted) => edit = Some(wanted),
                    effect => worker.perform(effect),
                }
            }
        }
        if let Some(edit) = edit.take() {
            // Whoever reads keys would take them from the editor.
            drop(keys);
            let outcome = screen.lend(model, edit.copy.clone()).await?;
            keys = EventStream::new();
            stale = true;
            for effect in update(model, Event::Edited(edit, outcome)) {
                worker.perform(effect);
            }
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

/// The terminal in the app's hands; given back whatever happens.
struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
    /// The cursor's shape, where it is not the person's own.
    cursor: SetCursorStyle,
    /// Whether the terminal tells when keys are let go.
    releases: bool,
    /// Told last that all is well.
    _guard: Option<Guard>,
}

impl Screen {
    fn open() -> io::Result<Self> {
        // A panic must be readable, on a terminal that works.
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            terminal::give_back();
            hook(panic);
        }));
        let guard = Guard::start();
        terminal::take()?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        Ok(Self { terminal, cursor: SetCursorStyle::DefaultUserShape, releases: false, _guard: guard })
    }

    /// Draws a frame, in one piece where the terminal knows how, and brings to the terminal what goes beside it.
    fn draw(&mut self, model: &mut Model) -> io::Result<()> {
        queue!(io::stdout(), BeginSynchronizedUpdate)?;
        if std::mem::take(&mut model.mux.repaint) {
            self.terminal.clear()?;
        }
        self.terminal.draw(|frame| view::draw(model, frame))?;
        let cursor = view::cursor_style(model);
        if cursor.to_string() != self.cursor.to_string() {
            queue!(io::stdout(), cursor)?;
            self.cursor = cursor;
        }
        if std::mem::take(&mut model.mux.bell) {
            queue!(io::stdout(), Print('\x07'))?;
        }
        execute!(io::stdout(), EndSynchronizedUpdate)?;
        let releases = model.mux.key_releases && model.wants_releases();
        if releases != self.releases {
            terminal::tell_releases(releases)?;
            self.releases = releases;
        }
        Ok(())
    }
}

impl Screen {
    /// Leaves the terminal to the editor until that ends.
    async fn lend(&mut self, model: &mut Model, copy: PathBuf) -> io::Result<Result<(), String>> {
        terminal::give_back();
        let edited = tokio::task::spawn_blocking(move || run_editor(&copy)).await;
        terminal::take()?;
        // Nothing of what it knows to be drawn is there any more. Its own way to clear asks the terminal for the cursor, and waits.
        self.terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        execute!(io::stdout(), Clear(ClearType::All))?;
        // It has forgotten these as well.
        model.mux.key_releases = terminal::speak_keyboard()?;
        (self.releases, self.cursor) = (false, SetCursorStyle::DefaultUserShape);
        Ok(edited.unwrap_or_else(|_| Err("the editor could not be run".to_owned())))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        terminal::give_back();
    }
}
