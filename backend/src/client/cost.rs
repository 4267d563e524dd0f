//! Bills, budgets and what happened: extensions of the local server.

use super::{Client, Method, Result};
use sprites_api::Time;
use sprites_api::cost::{Budget, Costs};
use sprites_api::extension::{EventKind, Events, Happened, Timeline};

impl Client {
    /// The bill of the present month, or of another such as `2026-11`; `by` is `sprite`, `label` or `day`. Local servers only.
    pub async fn costs(&self, month: Option<&str>, by: &str) -> Result<Costs> {
        let mut call = self.get_call(&["v1", "local", "costs"])?;
        call.url.query_pairs_mut().append_pair("by", by);
        if let Some(month) = month {
            call.url.query_pairs_mut().append_pair("month", month);
        }
        self.local("bills", self.transport.json(call).await)
    }

    /// How much a month may cost. Local servers only.
    pub async fn budget(&self) -> Result<Budget> {
        self.local("budgets", self.transport.json(self.get_call(&["v1", "local", "budget"])?).await)
    }

    /// Changes how much a month may cost. Local servers only.
    pub async fn set_budget(&self, budget: &Budget) -> Result<()> {
        let mut call = self.post(&["v1", "local", "budget"], budget)?;
        call.method = Method::PUT;
        self.local("budgets", self.transport.body(call).await.map(drop))
    }

    /// When a sprite took on which state, and why. Local servers only.
    pub async fn events(&self, name: &str) -> Result<Events> {
        let call = self.get_call(&["v1", "local", "sprites", name, "events"])?;
        self.local("what happened", self.transport.json(call).await)
    }

    /// What happened to all sprites after `since`, newest first, of one kind or of all; the last `most`, 1,000 at most. Local servers only.
    pub async fn timeline(
        &self,
        since: Option<Time>,
        kind: Option<EventKind>,
        most: usize,
    ) -> Result<Vec<Happened>> {
        let mut call = self.get_call(&["v1", "local", "events"])?;
        let mut ask = |key: &str, value: &str| {
            call.url.query_pairs_mut().append_pair(key, value);
        };
        ask("limit", &most.to_string());
        if let Some(since) = since {
            ask("since", &since.to_string());
        }
        if let Some(kind) = kind {
            ask("kind", kind.as_str());
        }
        let timeline: Timeline = self.local("what happened", self.transport.json(call).await)?;
        Ok(timeline.events)
    }
}
