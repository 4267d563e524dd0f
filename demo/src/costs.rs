//! What they cost: a bill of the month.

use crate::world::World;
use sprites_api::Time;
use sprites_api::cost::{CostRow, Costs};
use sprites_api::extension::UsageTotals;
use std::collections::BTreeMap;

impl World {
    pub fn costs(&self, by: &str) -> Costs {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        let date = now.date();
        let midnight = |date: jiff::civil::Date| {
            let at = date.to_zoned(jiff::tz::TimeZone::UTC);
            at.map_or_else(|_| Time::now(), |at| at.timestamp().into())
        };
        let first = midnight(date.first_of_month());
        let until = midnight(date.last_of_month().tomorrow().unwrap_or(date));
        let mut rows: BTreeMap<String, UsageTotals> = BTreeMap::new();
        let mut total = UsageTotals::default();
        let days = i64::from(now.day());
        for (name, actor) in &self.actors {
            total += actor.totals;
            match by {
                "label" => actor
                    .sprite
                    .labels
                    .iter()
                    .for_each(|label| *rows.entry(label.clone()).or_default() += actor.totals),
                "day" => (1..=days).for_each(|day| {
                    let name = format!("{}-{day:02}", now.strftime("%Y-%m"));
                    *rows.entry(name).or_default() += share(actor.totals, 1.0 / days as f64);
                }),
                _ => *rows.entry(name.clone()).or_default() += actor.totals,
            }
        }
        let spent = (Time::now().as_micros() - first.as_micros()) as f64;
        let part = spent / (until.as_micros() - first.as_micros()).max(1) as f64;
        let mut rows: Vec<CostRow> =
            rows.into_iter().map(|(name, used)| CostRow { name, gone: false, used }).collect();
        if by != "day" {
            rows.sort_by(|one, two| two.used.cost_usd.total_cmp(&one.used.cost_usd));
        }
        let forecast_usd = (part > 0.02).then(|| total.cost_usd / part);
        Costs { from: first, until, rows, total, forecast_usd, budget: self.budget }
    }
}

fn share(all: UsageTotals, part: f64) -> UsageTotals {
    UsageTotals {
        cpu_hours: all.cpu_hours * part,
        memory_gb_hours: all.memory_gb_hours * part,
        hot_gb_hours: all.hot_gb_hours * part,
        stored_gb_hours: all.stored_gb_hours * part,
        running_seconds: all.running_seconds * part,
        sent_bytes: (all.sent_bytes as f64 * part) as u64,
        received_bytes: (all.received_bytes as f64 * part) as u64,
        cost_usd: all.cost_usd * part,
    }
}
