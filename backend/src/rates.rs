//! What use costs: the published rates, floors and formulas, without any clock or machine.
//!
//! Source: the vendor's public price list; GB is 10^9 bytes.

use sprites_api::extension::UsageTotals;

/// US dollars per CPU-hour.
const CPU_HOUR: f64 = 0.07;
/// US dollars per GB-hour of memory.
const MEMORY_GB_HOUR: f64 = 0.043_75;
/// US dollars per GB-hour of disk in use while running.
const HOT_GB_HOUR: f64 = 0.000_683;
/// US dollars per GB-hour of stored blocks, always.
const STORED_GB_HOUR: f64 = 0.000_027;
/// Least CPU that is counted while running, CPUs.
const CPU_FLOOR: f64 = 0.0625;
/// Least memory that is counted while running, GB.
const MEMORY_FLOOR_GB: f64 = 0.25;
const GB: f64 = 1e9;
const HOUR: f64 = 3600.0;

/// Use of a running sprite during a short time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Running {
    /// Length, seconds.
    pub seconds: f64,
    /// CPU time used, seconds.
    pub cpu_seconds: f64,
    /// Memory in use, bytes.
    pub memory_bytes: f64,
    /// Disk in use, bytes.
    pub hot_bytes: f64,
}

/// Adds a time of running to the totals; returns its price. Storage is not in it.
pub fn run(totals: &mut UsageTotals, use_: Running) -> f64 {
    let cpu = use_.cpu_seconds.max(CPU_FLOOR * use_.seconds) / HOUR;
    let memory = (use_.memory_bytes / GB).max(MEMORY_FLOOR_GB) * use_.seconds / HOUR;
    let hot = use_.hot_bytes / GB * use_.seconds / HOUR;
    totals.cpu_hours += cpu;
    totals.memory_gb_hours += memory;
    totals.hot_gb_hours += hot;
    totals.running_seconds += use_.seconds;
    let cost = cpu * CPU_HOUR + memory * MEMORY_GB_HOUR + hot * HOT_GB_HOUR;
    totals.cost_usd += cost;
    cost
}

/// Adds a time of keeping bytes to the totals; returns its price.
pub fn keep(totals: &mut UsageTotals, seconds: f64, stored_bytes: f64) -> f64 {
    let stored = stored_bytes / GB * seconds / HOUR;
    totals.stored_gb_hours += stored;
    totals.cost_usd += storage_usd(stored);
    storage_usd(stored)
}

/// Price of keeping.
pub fn storage_usd(stored_gb_hours: f64) -> f64 {
    stored_gb_hours * STORED_GB_HOUR
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours of running with constant use, second by second, and hours of keeping.
    fn bill(
        running_hours: u32,
        cpus: f64,
        memory_gb: f64,
        hot_gb: f64,
        kept_hours: f64,
        stored_gb: f64,
    ) -> UsageTotals {
        let mut totals = UsageTotals::default();
        for _ in 0..running_hours * 3600 {
            let second = Running {
                seconds: 1.0,
                cpu_seconds: cpus,
                memory_bytes: memory_gb * GB,
                hot_bytes: hot_gb * GB,
            };
            run(&mut totals, second);
        }
        keep(&mut totals, kept_hours * HOUR, stored_gb * GB);
        totals
    }

    #[test]
    fn the_four_hour_session_of_the_price_list() {
        let totals = bill(4, 0.6, 1.5, 5.0, 4.0, 10.0);
        assert!((totals.cpu_hours - 2.4).abs() < 1e-6 && (totals.memory_gb_hours - 6.0).abs() < 1e-6);
        assert!((totals.cost_usd - 0.4452).abs() < 5e-5, "{}", totals.cost_usd);
    }

    #[test]
    fn the_small_web_app_of_the_price_list() {
        let totals = bill(30, 0.2, 1.0, 3.0, 732.0, 5.0);
        assert!((totals.cost_usd - 1.8928).abs() < 5e-5, "{}", totals.cost_usd);
    }

    #[test]
    fn an_idle_hour_costs_the_floors() {
        let totals = bill(1, 0.0, 0.0, 0.0, 0.0, 0.0);
        assert!((totals.cost_usd - 0.0153).abs() < 5e-5, "{}", totals.cost_usd);
    }

    #[test]
    fn floors_hold_each_second_not_on_average() {
        let mut totals = UsageTotals::default();
        for cpu_seconds in [1.0, 0.0] {
            run(&mut totals, Running { seconds: 1.0, cpu_seconds, memory_bytes: 0.0, hot_bytes: 0.0 });
        }
        assert!((totals.cpu_hours * HOUR - 1.0625).abs() < 1e-9);
    }
}
