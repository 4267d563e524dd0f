//! What sprites cost, and how much they may. Extensions of the local server, below `/v1/local/`.
//!
//! | call | answer |
//! |---|---|
//! | `GET /v1/local/costs?month=2026-11&by=sprite` | [`Costs`]; the month is the present one (UTC) unless it is told, `by` is `sprite`, `label` or `day` |
//! | `GET /v1/local/budget` | [`Budget`] |
//! | `PUT /v1/local/budget` with [`Budget`] | 204 |
//!
//! Amounts are what the vendor would charge by its published price list for the same use.

use crate::Time;
use crate::extension::UsageTotals;
use serde::{Deserialize, Serialize};

/// Largest budget, US dollars.
const MAX_USD: f64 = 1e9;

/// One line of a bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostRow {
    /// Of the sprite, the label, or the day (`2026-11-25`).
    pub name: String,
    /// The sprite has been destroyed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gone: bool,
    /// What was used.
    pub used: UsageTotals,
}

/// A bill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Begin of the month.
    pub from: Time,
    /// End of the month.
    pub until: Time,
    /// The dearest first; days in their order. A sprite counts for each of its labels.
    pub rows: Vec<CostRow>,
    /// All together.
    pub total: UsageTotals,
    /// What the month will have cost, US dollars, if it goes on as in the last seven days; for the present month alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_usd: Option<f64>,
    /// How much it may cost.
    #[serde(default)]
    pub budget: Budget,
}

/// How much a month may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// US dollars a month; none: as much as it does. To be said in any case: who says nothing has forgotten it.
    #[serde(deserialize_with = "Option::deserialize")]
    pub month_usd: Option<f64>,
    /// When it is used up every sprite is put to sleep and none wakes until the next month, or until it is raised.
    #[serde(default)]
    pub sleep: bool,
}

/// How a month stands beside its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Well within, or without one.
    Within,
    /// More than [`Budget::WARN`] of it is used.
    Near,
    /// It is used up.
    Over,
}

impl Budget {
    /// From this part on it is told that the budget comes to its end.
    pub const WARN: f64 = 0.8;

    /// Whether it can be meant; the error is a sentence.
    pub fn check(&self) -> Result<(), String> {
        match self.month_usd {
            Some(usd) if !(0.0..=MAX_USD).contains(&usd) => {
                Err(format!("`month_usd` is 0 to {MAX_USD:.0} US dollars, or null for none"))
            }
            None if self.sleep => Err("`sleep` needs a `month_usd` at which it begins".into()),
            _ => Ok(()),
        }
    }

    /// How this much beside it stands.
    pub fn standing(&self, used_usd: f64) -> Standing {
        match self.month_usd {
            Some(most) if used_usd >= most => Standing::Over,
            Some(most) if used_usd >= most * Self::WARN => Standing::Near,
            _ => Standing::Within,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets() {
        let budget = |month_usd, sleep| Budget { month_usd, sleep };
        assert!(budget(None, false).check().is_ok() && budget(Some(0.0), true).check().is_ok());
        for bad in [budget(Some(-1.0), false), budget(Some(f64::NAN), false), budget(None, true)] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        let ten = budget(Some(10.0), false);
        let standings = [7.99, 8.0, 10.0].map(|used| ten.standing(used));
        assert_eq!(standings, [Standing::Within, Standing::Near, Standing::Over]);
        assert_eq!(Budget::default().standing(1e6), Standing::Within);
    }
}
