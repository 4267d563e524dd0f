//! `costs` and `budget`: bills of this machine's sprites, and how much a month may cost.

use super::Outcome;
use clap::ValueEnum;
use sprites_api::cost::Budget;
use sprites_backend::client::{Client, clean};
use sprites_backend::endpoint::{Endpoint, ensure_local_server};
use sprites_backend::paths::Paths;
use sprites_tui::number;
use std::process::ExitCode;

/// The bill of a month, at the vendor's published prices.
#[derive(Debug, clap::Args)]
pub(super) struct Costs {
    /// Which month, such as 2026-11; the present one when absent
    #[arg(long)]
    month: Option<String>,
    /// What its lines are
    #[arg(long, value_enum, default_value = "sprite")]
    by: By,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    Sprite,
    Label,
    Day,
}

/// Tells or changes how much a month may cost.
#[derive(Debug, clap::Args)]
pub(super) struct Change {
    /// US dollars a month, or `none`
    amount: Option<String>,
    /// When it is used up all sprites sleep, until it is raised or the month is over
    #[arg(long, requires = "amount")]
    sleep: bool,
}

fn client() -> Result<(Client, tokio::runtime::Runtime), Box<dyn std::error::Error + Send + Sync>> {
    let paths = Paths::resolve()?;
    ensure_local_server(&paths, &std::env::current_exe()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok((Client::new(Endpoint::local(&paths))?, runtime))
}

impl Costs {
    pub(super) fn run(self) -> Outcome {
        let (client, runtime) = client()?;
        let by = match self.by {
            By::Sprite => "sprite",
            By::Label => "label",
            By::Day => "day",
        };
        let costs = runtime.block_on(client.costs(self.month.as_deref(), by))?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&costs)?);
            return Ok(ExitCode::SUCCESS);
        }
        let width = costs.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max(by.len());
        println!(
            "{by:width$}  {:>9}  {:>8}  {:>9}  {:>11}  {:>11}  {:>9}  {:>9}",
            "cost", "awake", "CPU-h", "memory GB-h", "stored GB-h", "sent", "received"
        );
        for row in &costs.rows {
            let (name, used) = (clean(&row.name), row.used);
            println!(
                "{name:width$}  {:>9}  {:>8}  {:>9.3}  {:>11.2}  {:>11.2}  {:>9}  {:>9}{}",
                number::dollars(used.cost_usd),
                number::length(used.running_seconds),
                used.cpu_hours,
                used.memory_gb_hours,
                used.stored_gb_hours,
                number::bytes(used.sent_bytes),
                number::bytes(used.received_bytes),
                if row.gone { "  (destroyed)" } else { "" }
            );
        }
        println!("{:width$}  {:>9}", "", number::dollars(costs.total.cost_usd));
        if let Some(usd) = costs.forecast_usd {
            println!("About {} by the end of the month.", number::dollars(usd));
        }
        println!("{}", told(&costs.budget));
        println!(
            "Amounts are what Fly.io would charge by its price list; awake, a sprite pays for 1/16 CPU and 0.25 GB at least."
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl Change {
    pub(super) fn run(self) -> Outcome {
        let (client, runtime) = client()?;
        if let Some(amount) = self.amount {
            let month_usd = match amount.trim_start_matches('$') {
                "none" => None,
                amount => Some(
                    amount.parse().map_err(|_| format!("{amount:?} is no amount; write 20, 4.50 or none"))?,
                ),
            };
            let budget = Budget { month_usd, sleep: self.sleep };
            budget.check()?;
            runtime.block_on(client.set_budget(&budget))?;
        }
        println!("{}", told(&runtime.block_on(client.budget())?));
        Ok(ExitCode::SUCCESS)
    }
}

fn told(budget: &Budget) -> String {
    match budget {
        Budget { month_usd: None, .. } => "There is no budget; `sprites-tui budget 20` sets one.".to_owned(),
        Budget { month_usd: Some(usd), sleep: true } => {
            format!("A month may cost {}; when that is used up, all sprites sleep.", number::dollars(*usd))
        }
        Budget { month_usd: Some(usd), sleep: false } => {
            format!("A month may cost {}.", number::dollars(*usd))
        }
    }
}
