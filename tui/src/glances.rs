//! Glances at every context, for the dashboard: each context has a watcher of its own, so that a slow one delays no other.
//!
//! They ask while the dashboard is looked at and at no other time, by calls that wake no sprite and are no use of one, and start no server.
//! What they tell holds the name of its context. A keyring is asked once and away from the screen, for it may wait for a person.

use crate::model::Row;
use crate::model::dashboard::{Counts, Glance, Known, Money, Seen, order, sum};
use crate::update::Event;
use futures::StreamExt;
use sprites_api::Time;
use sprites_api::cost::Budget;
use sprites_api::extension::{EventKind, UsageLine, UsageSample};
use sprites_api::sprite::Status;
use sprites_backend::client::{Client, Error, Lines, clean, is_name};
use sprites_backend::context::Context;
use sprites_backend::estimate::{Estimate, least_hour_usd};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Sender;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// Between two looks at the list of a server that tells what sprites use, and of one that does not.
const PACE: Duration = Duration::from_secs(3);
const SELDOM: Duration = Duration::from_secs(15);
/// Between two looks at the bill, and at what was denied.
const COSTS: Duration = Duration::from_secs(15);
/// A context that does not answer is asked again after this, then after twice as long, up to [`DOUBLED`] times twice.
const AGAIN: Duration = Duration::from_secs(4);
const DOUBLED: u32 = 4;
/// How long a keyring, and how long a server may take to answer.
const KEYRING: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(10);
/// Between two times that what came in is told.
const TELL: Duration = Duration::from_secs(1);
/// How long ago a denial may be that is told, microseconds.
const LATELY: i64 = 3_600_000_000;
/// Most denials that are asked for.
const DENIALS: usize = 500;
/// Most sprites of one context that are told one by one.
const MOST: usize = 200;
/// Told of a server that somebody ended on purpose, or that nobody has started.
const STOPPED: &str = "its server is stopped; going there starts it";

/// What the watchers are to do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Wish {
    /// Somebody looks.
    on: bool,
    /// Grows when all are to be asked at once.
    turn: u64,
}

/// See the module. When it is dropped all watchers end.
#[derive(Debug)]
pub struct Glances {
    wish: watch::Sender<Wish>,
}

impl Glances {
    /// Watchers of these contexts that tell `events` what they see; they ask nothing yet.
    pub fn new(contexts: &[Context], events: &Sender<Event>) -> Self {
        let (wish, _) = watch::channel(Wish::default());
        for context in contexts {
            tokio::spawn(attend(Eye::new(context.clone(), events.clone()), wish.subscribe()));
        }
        Self { wish }
    }

    /// Looks from now on, or no longer.
    pub fn look(&self, on: bool) {
        self.wish.send_modify(|wish| wish.on = on);
    }

    /// Asks all at once.
    pub fn again(&self) {
        self.wish.send_modify(|wish| wish.turn += 1);
    }
}

/// Lets an eye look as long as that is wished.
async fn attend(mut eye: Eye, mut wish: watch::Receiver<Wish>) {
    while wish.wait_for(|wish| wish.on).await.is_ok() {
        tokio::select! {
            changed = wish.changed() => if changed.is_err() { return },
            () = eye.look() => return,
        }
        eye.asked = None;
        if !wish.borrow().on {
            eye.close();
        }
    }
}

/// Why nothing is seen of a context.
enum Trouble {
    /// There is no way to ask it, such as a token.
    Closed(String),
    /// It does not answer now.
    Silent(String),
}

/// Looks at one context.
struct Eye {
    context: Context,
    events: Sender<Event>,
    client: Option<Client>,
    /// The address of the last one, for people.
    endpoint: String,
    /// The keyring is being asked.
    asking: Option<JoinHandle<Result<Client, String>>>,
    /// Rows of the last list.
    rows: BTreeMap<String, Row>,
    /// The last use of those that run.
    samples: HashMap<String, UsageSample>,
    /// What the month costs; none where nobody tells it.
    bill: Option<Money>,
    /// What was seen, where that is so.
    estimate: Estimate,
    /// How often each was denied something lately, and what at last.
    denied: HashMap<String, (u64, String)>,
    /// When bill and denials were asked for.
    asked: Option<Instant>,
}

impl Eye {
    fn new(context: Context, events: Sender<Event>) -> Self {
        Self {
            context,
            events,
            client: None,
            endpoint: String::new(),
            asking: None,
            rows: BTreeMap::new(),
            samples: HashMap::new(),
            bill: None,
            estimate: Estimate::default(),
            denied: HashMap::new(),
            asked: None,
        }
    }

    /// Nobody looks any more; what runs meanwhile is not seen.
    fn close(&mut self) {
        self.samples.clear();
        self.estimate.look(std::iter::empty(), Instant::now());
    }

    /// Looks until nobody listens.
    async fn look(&mut self) {
        let mut failed = 0;
        let mut usage = None;
        loop {
            let began = Instant::now();
            match self.round().await {
                Ok(client) => {
                    failed = 0;
                    // A list that takes long is not asked for all the time.
                    let took = began.elapsed();
                    self.ask_seldom(&client).await;
                    let usual = if self.bill.is_some() { PACE } else { SELDOM };
                    // Who tells no bill tells no use.
                    if usage.is_none() && self.bill.is_some() {
                        usage = Some(client.usage_stream());
                    }
                    if !self.follow(&mut usage, usual.max(took * 10)).await {
                        return;
                    }
                }
                Err(trouble) => {
                    usage = None;
                    self.close();
                    let (Trouble::Closed(why) | Trouble::Silent(why)) = &trouble;
                    if !self.send(Err(clean(why))).await {
                        return;
                    }
                    if let Trouble::Closed(_) = trouble {
                        // Until somebody wants it: a keyring may ask a person each time.
                        std::future::pending::<()>().await;
                    }
                    sleep(AGAIN * 2_u32.pow(failed)).await;
                    failed = if self.context.is_stopped() { 0 } else { (failed + 1).min(DOUBLED) };
                }
            }
        }
    }

    /// Asks for the list.
    async fn round(&mut self) -> Result<Client, Trouble> {
        let client = self.client().await?;
        if self.context.is_stopped() {
            return Err(Trouble::Silent(STOPPED.to_owned()));
        }
        let listed = match timeout(ANSWER, client.list_sprites()).await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => {
                if matches!(error, Error::Unauthorized(_) | Error::Forbidden(_)) {
                    // Another token may be there by the next time.
                    self.client = None;
                }
                return Err(Trouble::Silent(error.to_string()));
            }
            Err(_) => {
                let why = format!("no answer from {} within {} s", client.endpoint(), ANSWER.as_secs());
                return Err(Trouble::Silent(why));
            }
        };
        let listed = listed.into_iter().filter(|sprite| is_name(&sprite.name));
        self.rows = listed.map(|sprite| (sprite.name.clone(), Row::new(sprite))).collect();
        let running = self.rows.values().filter(|row| runs(row)).map(|row| row.sprite.name.as_str());
        self.estimate.look(running, Instant::now());
        self.samples.retain(|name, _| self.rows.get(name).is_some_and(runs));
        Ok(client)
    }

    async fn client(&mut self) -> Result<Client, Trouble> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let context = self.context.clone();
        // One that waits for a person is not asked again meanwhile.
        let asking = self.asking.get_or_insert_with(|| tokio::task::spawn_blocking(move || context.look()));
        let Ok(opened) = timeout(KEYRING, &mut *asking).await else {
            let seconds = KEYRING.as_secs();
            return Err(Trouble::Silent(format!("no token from the keyring within {seconds} s; unlock it")));
        };
        self.asking = None;
        let opened = opened.unwrap_or_else(|_| Err("the context could not be opened".to_owned()));
        let client = opened.map_err(Trouble::Closed)?;
        self.endpoint = client.endpoint().to_string();
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Asks for the bill and for what was denied, where it is time. What cannot be had is not shown.
    async fn ask_seldom(&mut self, client: &Client) {
        if self.asked.is_some_and(|asked| asked.elapsed() < COSTS) {
            return;
        }
        self.asked = Some(Instant::now());
        match timeout(ANSWER, client.costs(None, "sprite")).await {
            Ok(Ok(costs)) => {
                self.bill = Some(Money {
                    hour: 0.0,
                    month: costs.total.cost_usd,
                    forecast: costs.forecast_usd,
                    budget: costs.budget,
                    least: false,
                });
            }
            Ok(Err(Error::NotSupported { .. } | Error::NotFound(_))) => self.bill = None,
            // As it was.
            Ok(Err(_)) | Err(_) => {}
        }
        if self.bill.is_none() {
            return;
        }
        let since = Time::from_micros(Time::now().as_micros() - LATELY);
        let denials = timeout(ANSWER, client.timeline(Some(since), Some(EventKind::Denied), DENIALS)).await;
        if let Ok(Ok(denials)) = denials {
            self.denied.clear();
            // Newest first.
            for denial in denials {
                let what = || clean(&denial.event.reason);
                self.denied.entry(denial.sprite).or_insert_with(|| (0, what())).0 += 1;
            }
        }
    }

    /// Takes in what sprites use until it is time to ask again; false when nobody listens any more.
    async fn follow(&mut self, usage: &mut Option<Lines<UsageLine>>, pace: Duration) -> bool {
        let until = tokio::time::Instant::now() + pace;
        let mut tell = tokio::time::interval(TELL);
        let mut fresh = true;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until) => return true,
                _ = tell.tick() => if std::mem::take(&mut fresh) && !self.tell().await { return false },
                line = next(usage) => match line {
                    Some(Ok(line)) => {
                        self.used(line);
                        fresh = true;
                    }
                    // It is opened again with the next list.
                    Some(Err(_)) | None => *usage = None,
                },
            }
        }
    }

    fn used(&mut self, line: UsageLine) {
        match line.sample {
            // A name that is not in the list would stay for ever.
            Some(sample) if self.rows.get(&line.name).is_some_and(runs) => {
                self.samples.insert(line.name, sample);
            }
            _ => drop(self.samples.remove(&line.name)),
        }
    }

    /// Tells what is known; false when nobody listens any more.
    async fn tell(&self) -> bool {
        self.send(Ok(self.known())).await
    }

    async fn send(&self, known: Result<Known, String>) -> bool {
        let glance = Glance { endpoint: self.endpoint.clone(), known };
        self.events.send(Event::Glance(self.context.name.clone(), Box::new(glance))).await.is_ok()
    }

    fn known(&self) -> Known {
        let mut counts = Counts::default();
        self.rows.values().for_each(|row| counts.add(row));
        let sum = sum(self.samples.values());
        let now = Instant::now();
        let money = match self.bill {
            Some(bill) => Money { hour: sum.map_or(0.0, |sum| sum.cost_usd * 3600.0), ..bill },
            None => Money {
                hour: counts.running as f64 * least_hour_usd(),
                month: self.estimate.least_usd(now),
                forecast: None,
                budget: Budget::default(),
                least: true,
            },
        };
        let mut sprites: Vec<Seen> = self.rows.values().filter_map(|row| self.seen(row)).collect();
        sprites.sort_by(order);
        sprites.truncate(MOST);
        Known { counts, sum, money, sprites }
    }

    /// A sprite, if it matters.
    fn seen(&self, row: &Row) -> Option<Seen> {
        let sprite = &row.sprite;
        let denied = self.denied.get(&sprite.name);
        let runs = runs(row);
        if !runs && sprite.failure.is_none() && denied.is_none() {
            return None;
        }
        let sample = self.samples.get(&sprite.name);
        let hour = match (sample, runs) {
            (Some(sample), _) if sample.seconds > 0.0 => sample.cost_usd / sample.seconds * 3600.0,
            (None, true) if self.bill.is_none() => least_hour_usd(),
            _ => 0.0,
        };
        let mut why = sprite.reason.clone().unwrap_or_default();
        if !sprite.in_use_by.is_empty() {
            why = format!("{why}; in use by {}", sprite.in_use_by.join(", "));
        }
        Some(Seen {
            name: sprite.name.clone(),
            status: sprite.status,
            cpus: sample.map(|sample| sample.cpus),
            memory: sample.map(|sample| sample.memory_bytes),
            hour,
            failure: sprite.failure.clone(),
            why: why.trim_start_matches("; ").to_owned(),
            denied: denied.map_or(0, |(count, _)| *count),
            denial: denied.map(|(_, what)| what.clone()).unwrap_or_default(),
        })
    }
}

fn runs(row: &Row) -> bool {
    row.sprite.status == Status::Running
}

/// The next line; never, where there is no stream.
async fn next(usage: &mut Option<Lines<UsageLine>>) -> Option<Result<UsageLine, Error>> {
    match usage {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}
