//! Bills of a month, what it will have cost, and what happens when it costs too much.

use super::Meter;
use crate::sprites::{SpriteError, blocking};
use crate::store::Store;
use crate::store::bills::By;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use sprites_api::Time;
use sprites_api::cost::{Budget, Costs, Standing};
use std::sync::Arc;

/// The budget's place in the database.
const KEY: &str = "budget";
/// A forecast goes by this many days.
const DAYS: i64 = 7;
/// A forecast from less than this would be a guess, seconds.
const LEAST: f64 = 24.0 * 3600.0;

/// Begin and end of a month (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Month {
    from: Time,
    until: Time,
}

impl Month {
    /// The one that `now` is in.
    pub(crate) fn of(now: Time) -> Self {
        Self::from_day(now.timestamp().to_zoned(TimeZone::UTC).date().first_of_month())
            .unwrap_or(Self { from: now, until: now })
    }

    /// From `2026-11`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        // The parser takes more than one form of a date.
        let plain = text.len() == 7 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let day: Date = plain.then(|| format!("{text}-01"))?.parse().ok()?;
        Self::from_day(day)
    }

    fn from_day(first: Date) -> Option<Self> {
        let time = |day: Date| -> Option<Time> {
            let at: Timestamp = day.to_zoned(TimeZone::UTC).ok()?.timestamp();
            Some(at.into())
        };
        let next = first.checked_add(Span::new().months(1)).ok()?;
        Some(Self { from: time(first)?, until: time(next)? })
    }

    fn has(self, now: Time) -> bool {
        self.from <= now && now < self.until
    }
}

/// What `month` will have cost, US dollars, at `now`: what it has cost, and for its rest the mean of the last days.
/// None as long as it would be a guess.
fn forecast(store: &Store, month: Month, now: Time, so_far: f64) -> Result<Option<f64>, SpriteError> {
    let week = Time::from_micros(now.as_micros() - DAYS * 24 * 3600 * 1_000_000);
    // Days before the first bill say nothing.
    let begin = store.first_bill()?.map_or(now, |first| first.max(week));
    let seconds = now.seconds_since(begin);
    if seconds < LEAST {
        return Ok(None);
    }
    let recent = store.cost(begin, now)?.cost_usd;
    Ok(Some(so_far + recent / seconds * month.until.seconds_since(now).max(0.0)))
}

impl Meter {
    /// The bill of a month; of the present one unless told.
    pub(crate) async fn costs(&self, month: Option<Month>, by: By) -> Result<Costs, SpriteError> {
        let store = Arc::clone(&self.sprites.store);
        let now = Time::now();
        let month = month.unwrap_or_else(|| Month::of(now));
        blocking(move || {
            let rows = store.costs(month.from, month.until, by)?;
            let total = store.cost(month.from, month.until)?;
            let forecast_usd = match month.has(now) {
                true => forecast(&store, month, now, total.cost_usd)?,
                false => None,
            };
            Ok(Costs {
                from: month.from,
                until: month.until,
                rows,
                total,
                forecast_usd,
                budget: read(&store)?,
            })
        })
        .await
    }

    /// The budget.
    pub(crate) async fn budget(&self) -> Result<Budget, SpriteError> {
        let store = Arc::clone(&self.sprites.store);
        blocking(move || read(&store)).await
    }

    /// Changes the budget, which holds at once.
    pub(crate) async fn set_budget(&self, budget: Budget) -> Result<(), SpriteError> {
        budget.check().map_err(SpriteError::Value)?;
        let store = Arc::clone(&self.sprites.store);
        let text = serde_json::to_string(&budget).map_err(|error| SpriteError::Inner(error.to_string()))?;
        blocking(move || Ok(store.set(KEY, &text)?)).await?;
        self.keep_budget().await
    }

    /// Looks whether the budget is used up, and has all sprites sleep if that is wanted.
    pub(super) async fn keep_budget(&self) -> Result<(), SpriteError> {
        let store = Arc::clone(&self.sprites.store);
        let month = Month::of(Time::now());
        let (budget, used) = blocking(move || {
            let budget = read(&store)?;
            // Without one nobody needs to count.
            let used = match budget.month_usd {
                Some(_) => store.cost(month.from, month.until)?.cost_usd,
                None => 0.0,
            };
            Ok((budget, used))
        })
        .await?;
        let over = budget.standing(used) == Standing::Over;
        if self.sprites.set_over_budget(over && budget.sleep) {
            tracing::warn!(
                "this month's budget is used up, and all sprites sleep until it is raised or over"
            );
        }
        Ok(())
    }
}

fn read(store: &Store) -> Result<Budget, SpriteError> {
    let text = store.setting(KEY)?;
    // One that cannot be read would be of a newer version.
    Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Time {
        text.parse().unwrap()
    }

    #[test]
    fn months() {
        let december = Month::of(time("2026-12-31T23:59:59.9Z"));
        assert_eq!(
            (december.from, december.until),
            (time("2026-12-01T00:00:00Z"), time("2027-01-01T00:00:00Z"))
        );
        assert_eq!(Month::parse("2026-12"), Some(december));
        assert!(december.has(december.from) && !december.has(december.until));
        for bad in ["", "2026", "2026-13", "2026-00", "26-12", "2026-12-01", "2026+12", "-026-12", "9999-12"]
        {
            assert_eq!(Month::parse(bad), None, "{bad}");
        }
    }
}
