//! The list of sprites: rows, order, selection.

use super::{Load, Model};
use crate::filter::Filter;
use sprites_api::extension::{UsageSample, UsageTotals};
use sprites_api::sprite::Sprite;
use sprites_backend::client::clean;
use std::cmp::Ordering;
use std::collections::VecDeque;
use strum::{EnumIter, IntoEnumIterator};

/// Samples of the small graphs.
const RECENT: usize = 120;

/// What to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter)]
#[allow(missing_docs, reason = "they are the columns' names")]
pub enum Column {
    Name,
    State,
    Cpu,
    Memory,
    Storage,
    Cost,
    Age,
}

impl Column {
    /// Its title.
    pub fn word(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::State => "state",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Storage => "stored",
            Self::Cost => "cost",
            Self::Age => "age",
        }
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self::iter().cycle().skip_while(|column| *column != self).nth(1).unwrap_or(self)
    }
}

/// A sprite with its use.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// What the server says of it, made safe for the screen.
    pub sprite: Sprite,
    /// The last samples, oldest first; empty while it does not run.
    pub recent: VecDeque<UsageSample>,
    /// Bytes on the host's disk.
    pub stored: u64,
    /// Of these, bytes that forks hold as well.
    pub shared: u64,
    /// Use so far.
    pub totals: UsageTotals,
}

impl Row {
    /// A row for a sprite about which nothing else is known.
    pub fn new(mut sprite: Sprite) -> Self {
        sprite.id = clean(&sprite.id);
        sprite.labels = sprite.labels.iter().map(|label| clean(label)).collect();
        sprite.failure = sprite.failure.as_deref().map(clean);
        sprite.reason = sprite.reason.as_deref().map(clean);
        sprite.in_use_by = sprite.in_use_by.iter().map(|what| clean(what)).collect();
        Self { sprite, ..Self::default() }
    }

    /// Adds a sample.
    pub fn add(&mut self, sample: UsageSample) {
        self.recent.push_back(sample);
        while self.recent.len() > RECENT {
            self.recent.pop_front();
        }
    }

    /// The newest sample.
    pub fn now(&self) -> Option<&UsageSample> {
        self.recent.back()
    }
}

impl Model {
    /// Puts the names in order, and the selection where it still makes sense.
    pub fn arrange(&mut self) {
        self.stale_order = false;
        let Load::Ready(sprites) = &self.sprites else { return };
        let place = self
            .selected
            .as_ref()
            .and_then(|name| self.order.iter().position(|other| other == name))
            .unwrap_or(0);
        // Only what can be meant is kept, so this is no mistake.
        let filter: Filter = self.filter.parse().unwrap_or_default();
        let mut order = filter.choose(sprites.values());
        self.marked.retain(|name| sprites.contains_key(name));
        order.sort_by(|first, second| {
            let key = match self.sort {
                Column::Name => Ordering::Equal,
                Column::State => first.sprite.status.as_str().cmp(second.sprite.status.as_str()),
                Column::Cpu => by(first.now().map(|now| now.cpus), second.now().map(|now| now.cpus)),
                Column::Memory => by(
                    first.now().map(|now| now.memory_bytes as f64),
                    second.now().map(|now| now.memory_bytes as f64),
                ),
                Column::Storage => second.stored.cmp(&first.stored),
                Column::Cost => by(Some(first.totals.cost_usd), Some(second.totals.cost_usd)),
                Column::Age => second.sprite.created_at.cmp(&first.sprite.created_at),
            };
            key.then_with(|| first.sprite.name.cmp(&second.sprite.name))
        });
        let mut order: Vec<String> = order.into_iter().map(|row| row.sprite.name.clone()).collect();
        if self.reverse {
            order.reverse();
        }
        self.order = order;
        if !self.selected.as_ref().is_some_and(|name| self.order.contains(name)) {
            // What was selected is gone: its neighbour is next.
            self.selected = self.order.get(place.min(self.order.len().saturating_sub(1))).cloned();
        }
    }

    /// Moves the selection.
    pub fn select(&mut self, by: isize) {
        let place = self
            .selected
            .as_ref()
            .and_then(|name| self.order.iter().position(|other| other == name))
            .unwrap_or(0);
        let last = self.order.len().saturating_sub(1);
        let to = place.saturating_add_signed(by).min(last);
        self.selected = self.order.get(to).cloned();
    }
}

/// Largest first; what is not known last.
fn by(one: Option<f64>, two: Option<f64>) -> Ordering {
    two.unwrap_or(-1.0).total_cmp(&one.unwrap_or(-1.0))
}
