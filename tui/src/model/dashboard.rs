//! The dashboard: every context at a glance, and below them the sprites that matter, wherever they are.
//!
//! A glance is all that is known here of a context, and holds its name: nothing of it gets into the list of the context that one is in.

use super::{Model, Row};
use crate::search::holds;
use sprites_api::cost::{Budget, Standing};
use sprites_api::extension::UsageSample;
use sprites_api::sprite::Status;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Seconds of the graphs.
pub const SPAN: u64 = 600;
/// Glances that nobody has looked at for so long are told no more.
const STALE: Duration = Duration::from_secs(60);

/// How many sprites are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the states")]
pub struct Counts {
    pub running: usize,
    pub warm: usize,
    pub cold: usize,
    /// Of all of these, those that cannot run.
    pub failed: usize,
}

impl Counts {
    /// Counts one more.
    pub fn add(&mut self, row: &Row) {
        match row.sprite.status {
            _ if row.sprite.failure.is_some() => self.failed += 1,
            Status::Running => self.running += 1,
            Status::Warm => self.warm += 1,
            Status::Cold | Status::Unknown => self.cold += 1,
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.running += more.running;
        self.warm += more.warm;
        self.cold += more.cold;
        self.failed += more.failed;
    }
}

/// What a context costs, US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Money {
    /// An hour, as it is now.
    pub hour: f64,
    /// This month so far; where there is no meter, what was seen.
    pub month: f64,
    /// The month in the end, where that can be told.
    pub forecast: Option<f64>,
    /// How much a month may cost.
    pub budget: Budget,
    /// All of it is the least that can be, for nobody tells the use.
    pub least: bool,
}

impl Money {
    /// How the month stands beside its budget.
    pub fn standing(&self) -> Standing {
        self.budget.standing(self.month)
    }
}

/// A sprite that matters: it is awake, failed, or was denied something.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Its state.
    pub status: Status,
    /// CPUs busy now, where that is told.
    pub cpus: Option<f64>,
    /// Bytes of memory in use now, where that is told.
    pub memory: Option<u64>,
    /// US dollars an hour, while it is awake.
    pub hour: f64,
    /// Why it cannot run.
    pub failure: Option<String>,
    /// Why it is in its state.
    pub why: String,
    /// How often its network denied something lately.
    pub denied: u64,
    /// What it denied at last.
    pub denial: String,
}

/// What was seen of a context that answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Known {
    /// Its sprites.
    pub counts: Counts,
    /// What all together use now, where that is told.
    pub sum: Option<UsageSample>,
    /// What they cost.
    pub money: Money,
    /// The sprites that matter, and only the first of them where there are very many.
    pub sprites: Vec<Seen>,
}

/// What was seen of a context.
#[derive(Clone, Debug, PartialEq)]
pub struct Glance {
    /// Its address, for people; empty where it has none yet.
    pub endpoint: String,
    /// All that is known, or why it does not answer.
    pub known: Result<Known, String>,
}

/// A line that can be selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// A context.
    Context(String),
    /// A sprite of a context.
    Sprite(String, String),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Dashboard {
    /// What was seen, by context.
    pub glances: BTreeMap<String, Glance>,
    /// The selected line.
    pub chosen: Option<Chosen>,
    /// Whether contexts are being looked at.
    pub looking: bool,
    /// When that ended.
    left: Option<Instant>,
    /// Sums of all contexts, oldest first.
    pub past: VecDeque<UsageSample>,
    /// The sprite of another context that somebody is on the way to, behind that context.
    pub going: Option<(String, String)>,
}

impl Dashboard {
    /// Contexts are looked at from now on, or no longer.
    pub fn look(&mut self, on: bool, now: Instant) {
        self.looking = on;
        let was_long_ago = self.left.is_some_and(|left| now.duration_since(left) >= STALE);
        if on && was_long_ago {
            self.glances.clear();
            self.past.clear();
        }
        self.left = (!on).then_some(now);
    }

    /// The sum of all that answer.
    pub fn total(&self) -> Known {
        let mut total = Known::default();
        for known in self.glances.values().filter_map(|glance| glance.known.as_ref().ok()) {
            total.counts += known.counts;
            if let Some(more) = &known.sum {
                total.sum = Some(total.sum.map_or(*more, |sum| together(sum, more)));
            }
            let (money, more) = (&mut total.money, &known.money);
            money.hour += more.hour;
            money.forecast = match (money.forecast, more.forecast) {
                (None, None) => None,
                // Who tells no forecast costs at least what it has cost.
                (sum, one) => Some(sum.unwrap_or(money.month) + one.unwrap_or(more.month)),
            };
            money.month += more.month;
            money.least |= more.least;
        }
        total
    }

    /// A moment passes: the sum of now is kept for the graphs.
    pub fn pass(&mut self, now: sprites_api::Time) {
        let Some(sum) = self.total().sum else { return };
        self.past.push_back(UsageSample { time: now, ..sum });
        let oldest = now.as_micros() - SPAN as i64 * 1_000_000;
        while self.past.front().is_some_and(|sample| sample.time.as_micros() < oldest) {
            self.past.pop_front();
        }
    }
}

/// Two sums of the same length in one.
fn together(one: UsageSample, more: &UsageSample) -> UsageSample {
    UsageSample {
        cpus: one.cpus + more.cpus,
        memory_bytes: one.memory_bytes.saturating_add(more.memory_bytes),
        processes: one.processes.saturating_add(more.processes),
        sent_bytes: one.sent_bytes.saturating_add(more.sent_bytes),
        received_bytes: one.received_bytes.saturating_add(more.received_bytes),
        read_bytes: one.read_bytes.saturating_add(more.read_bytes),
        written_bytes: one.written_bytes.saturating_add(more.written_bytes),
        cost_usd: one.cost_usd + more.cost_usd,
        ..one
    }
}

/// The sum of samples, each brought to one second.
pub fn sum<'s>(samples: impl Iterator<Item = &'s UsageSample>) -> Option<UsageSample> {
    let second = |sample: &UsageSample| {
        let per = |amount: u64| {
            if sample.seconds > 0.0 { (amount as f64 / sample.seconds) as u64 } else { 0 }
        };
        UsageSample {
            seconds: 1.0,
            sent_bytes: per(sample.sent_bytes),
            received_bytes: per(sample.received_bytes),
            read_bytes: per(sample.read_bytes),
            written_bytes: per(sample.written_bytes),
            cost_usd: if sample.seconds > 0.0 { sample.cost_usd / sample.seconds } else { 0.0 },
            ..*sample
        }
    };
    samples.map(second).reduce(|one, more| together(one, &more))
}

impl Model {
    /// Contexts that are shown on the dashboard, in their order.
    pub fn shown_contexts(&self) -> Vec<&str> {
        let fits = |name: &&str| {
            let endpoint = self.dashboard.glances.get(*name).map_or("", |glance| glance.endpoint.as_str());
            self.finds(&[name, endpoint])
        };
        self.contexts.iter().map(String::as_str).filter(fits).collect()
    }

    /// Sprites that are shown there, each behind its context: those that failed, then those that are awake, the dearest first.
    pub fn shown_sprites(&self) -> Vec<(&str, &Seen)> {
        let mut all: Vec<(&str, &Seen)> = Vec::new();
        for (name, glance) in &self.dashboard.glances {
            let sprites = glance.known.iter().flat_map(|known| &known.sprites);
            all.extend(sprites.map(|seen| (name.as_str(), seen)));
        }
        all.retain(|(context, seen)| {
            let failure = seen.failure.as_deref().unwrap_or_default();
            self.finds(&[*context, seen.name.as_str(), seen.why.as_str(), seen.denial.as_str(), failure])
        });
        all.sort_by(|one, two| {
            order(one.1, two.1).then_with(|| (one.0, &one.1.name).cmp(&(two.0, &two.1.name)))
        });
        all
    }

    /// All lines of the dashboard that can be selected, contexts first.
    pub fn dashboard_lines(&self) -> Vec<Chosen> {
        let contexts = self.shown_contexts().into_iter().map(|name| Chosen::Context(name.to_owned()));
        let sprites = self.shown_sprites().into_iter();
        contexts
            .chain(sprites.map(|(context, seen)| Chosen::Sprite(context.to_owned(), seen.name.clone())))
            .collect()
    }

    /// Place of the selected line; the first where that is gone.
    pub fn dashboard_place(&self, lines: &[Chosen]) -> usize {
        let chosen = self.dashboard.chosen.as_ref();
        lines.iter().position(|line| Some(line) == chosen).unwrap_or(0)
    }

    /// Whether somebody is on the way from the dashboard to what is in this context, and its list is not here yet.
    pub fn is_arriving(&self) -> bool {
        self.dashboard.going.as_ref().is_some_and(|(context, _)| *context == self.here.context)
    }

    /// Whether one of the texts holds what is searched for.
    pub fn finds(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| holds(text, &self.search))
    }
}

/// Failures first, then by cost, then those that sleep.
pub(crate) fn order(one: &Seen, two: &Seen) -> Ordering {
    let rank = |seen: &Seen| match (&seen.failure, seen.status) {
        (Some(_), _) => 0,
        (None, Status::Running) => 1,
        (None, _) => 2,
    };
    rank(one).cmp(&rank(two)).then(two.hour.total_cmp(&one.hour)).then(two.denied.cmp(&one.denied))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: f64, cpus: f64, cost_usd: f64, sent_bytes: u64) -> UsageSample {
        UsageSample {
            time: sprites_api::Time::from_micros(0),
            seconds,
            cpus,
            memory_bytes: 100,
            processes: 1,
            sent_bytes,
            received_bytes: 0,
            read_bytes: 0,
            written_bytes: 0,
            cost_usd,
        }
    }

    #[test]
    fn samples_of_any_length_add_up_to_a_second() {
        let sum = sum([sample(1.0, 0.5, 0.01, 10), sample(60.0, 1.0, 0.6, 600)].iter()).unwrap();
        assert_eq!((sum.seconds, sum.cpus, sum.memory_bytes, sum.sent_bytes), (1.0, 1.5, 200, 20));
        assert!((sum.cost_usd - 0.02).abs() < 1e-12);
        assert!(super::sum(std::iter::empty()).is_none());
    }

    #[test]
    fn all_together_are_at_least_what_each_is() {
        let glance = |month, forecast, least| Glance {
            endpoint: String::new(),
            known: Ok(Known {
                money: Money { hour: 0.1, month, forecast, least, ..Money::default() },
                sum: (!least).then(|| sample(1.0, 0.5, 0.0, 0)),
                ..Known::default()
            }),
        };
        let mut dashboard = Dashboard::default();
        dashboard.glances.insert("a".into(), glance(2.0, Some(5.0), false));
        dashboard.glances.insert("b".into(), glance(1.0, None, true));
        dashboard.glances.insert("c".into(), Glance { endpoint: String::new(), known: Err("gone".into()) });
        let total = dashboard.total();
        assert_eq!((total.money.month, total.money.forecast, total.money.least), (3.0, Some(6.0), true));
        for second in 0..2 * SPAN as i64 {
            dashboard.pass(sprites_api::Time::from_micros(second * 1_000_000));
        }
        assert_eq!(dashboard.past.len() as u64, SPAN + 1);
        // What was seen long ago is told no more.
        let now = Instant::now();
        dashboard.look(true, now);
        dashboard.look(false, now);
        dashboard.look(true, now + STALE / 2);
        assert_eq!(dashboard.glances.len(), 3);
        dashboard.look(false, now);
        dashboard.look(true, now + STALE);
        assert!(dashboard.glances.is_empty() && dashboard.past.is_empty());
    }
}
