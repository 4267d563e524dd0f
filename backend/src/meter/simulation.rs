//! A month of use, by a scripted clock and scripted machines, against a computation that shares nothing with the meter; and what kills leave.

use super::account::{Account, Reading, Size};
use super::clock::Moment;
use crate::rates;
use crate::store::Store;
use crate::store::bills::By;
use crate::store::usage::Tick;
use fastrand::Rng;
use sprites_api::Time;
use sprites_api::agent::Counters;
use sprites_api::extension::UsageTotals;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// 2026-11-01T00:00:00Z, seconds.
const BEGIN: u64 = 1_793_491_200;
const DAY: u64 = 24 * 3600;
const MONTH: u64 = 30 * DAY;
const SIZE: Size = Size { cpus: 2, memory_bytes: 4 << 30 };

fn moment(second: u64) -> Moment {
    Moment {
        wall: Time::from_micros((BEGIN + second) as i64 * 1_000_000),
        steady: Some(Duration::from_secs(second)),
    }
}

/// A machine that runs at some times, and what it really uses, in whole units: microseconds of CPU, bytes.
struct Machine {
    id: String,
    boot: u64,
    uptime_ms: u64,
    cpu_usec: u64,
    memory_bytes: u64,
    stored_bytes: u64,
    /// Seconds of running that are left, and then of sleep.
    runs: u64,
    sleeps: u64,
}

impl Machine {
    fn new(number: u64) -> Self {
        Self {
            id: number.to_string(),
            boot: number,
            uptime_ms: 1000,
            cpu_usec: 0,
            memory_bytes: 300_000_000,
            stored_bytes: 1_000_000_000,
            runs: 0,
            sleeps: 40 * number,
        }
    }

    /// Lives for a second; true while it runs.
    fn live(&mut self, dice: &mut Rng) -> bool {
        if self.runs == 0 {
            if self.sleeps > 0 {
                self.sleeps -= 1;
                return false;
            }
            self.runs = 30 + dice.u64(..900);
            self.sleeps = 600 + dice.u64(..12 * 3600);
            // Every other time it comes back from cold.
            if dice.u64(..2) == 0 {
                (self.boot, self.uptime_ms, self.cpu_usec) = (self.boot + 1000, 400, 50_000);
            }
        }
        self.runs -= 1;
        self.uptime_ms += 1000;
        self.cpu_usec += [0, 10_000, 62_500, 400_000, 2_000_000][dice.u64(..5) as usize];
        self.memory_bytes = 100_000_000 + dice.u64(..3_000_000_000);
        self.stored_bytes += dice.u64(..1_000_000);
        true
    }

    fn counters(&self) -> Counters {
        Counters {
            boot: self.boot,
            cpu_usec: self.cpu_usec,
            memory_bytes: self.memory_bytes,
            processes: 5,
            read_bytes: 0,
            written_bytes: 0,
            uptime_ms: self.uptime_ms,
            attached_sessions: 0,
            session_idle_ms: None,
        }
    }
}

/// An invoice in whole numbers, from rates in microdollars an hour.
#[derive(Default)]
struct Invoice {
    picodollars: u128,
    last: Option<(u64, u64, u64)>,
}

impl Invoice {
    fn second(&mut self, machine: &Machine, running: bool) {
        // In picodollars x 10^9, which for bytes, GB-hours and microdollars is this:
        let an_hour = |amount: u64, microdollars: u128| u128::from(amount) * microdollars * 1_000_000 / 3600;
        let mut scaled = an_hour(machine.stored_bytes, 27);
        if running {
            let now = (machine.boot, machine.uptime_ms, machine.cpu_usec);
            // The first look at a new boot has nothing to compare with.
            if let Some((_, _, cpu)) = self.last.filter(|(boot, ..)| *boot == now.0) {
                // A thousandth of a CPU-microsecond is to a CPU as a byte to a GB.
                scaled += an_hour((now.2 - cpu).max(62_500) * 1000, 70_000);
                scaled += an_hour(machine.memory_bytes.max(250_000_000), 43_750);
                scaled += an_hour(machine.stored_bytes, 683);
            }
            self.last = Some(now);
        }
        self.picodollars += scaled / 1_000_000_000;
    }

    fn usd(&self) -> f64 {
        self.picodollars as f64 / 1e12
    }
}

/// The server: what it holds in memory, and its database.
struct Server {
    path: PathBuf,
    store: Store,
    accounts: Vec<Option<Account>>,
}

impl Server {
    fn start(path: &Path, machines: usize) -> Self {
        let store = Store::open(path).unwrap();
        Self { path: path.to_owned(), store, accounts: vec![None; machines] }
    }

    /// It is killed and started again: what it held is gone.
    fn killed(self) -> Self {
        let (path, machines) = (self.path.clone(), self.accounts.len());
        drop(self);
        Self::start(&path, machines)
    }

    fn account(&mut self, place: usize, id: &str, now: Moment) -> Account {
        self.accounts[place]
            .take()
            .or_else(|| self.store.account(id).unwrap())
            .unwrap_or_else(|| Account::new(now))
    }

    /// One tick; killed before it is written, it leaves nothing of it.
    fn tick(&mut self, machines: &[(Machine, bool)], now: Moment, written: bool) {
        let mut ticks = Vec::new();
        for (place, (machine, running)) in machines.iter().enumerate() {
            let mut account = self.account(place, &machine.id, now);
            let counters = running.then(|| machine.counters());
            let entry =
                account.advance(Reading { counters, ..Reading::default() }, machine.stored_bytes, SIZE, now);
            self.accounts[place] = Some(account.clone());
            ticks.push(Tick {
                sprite: machine.id.clone(),
                name: format!("box-{}", machine.id),
                labels: Vec::new(),
                account,
                entry,
            });
        }
        if written {
            self.store.record(&ticks).unwrap();
        }
    }
}

fn machines(dir: &Path, count: u64) -> (Server, Vec<(Machine, bool)>) {
    let server = Server::start(&dir.join("db"), count as usize);
    let machines: Vec<_> = (1..=count).map(|number| (Machine::new(number), false)).collect();
    for (machine, _) in &machines {
        let record = crate::store::tests::record(&machine.id, &format!("box-{}", machine.id));
        server.store.put(&record).unwrap();
    }
    (server, machines)
}

#[test]
fn a_month_costs_what_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let (mut server, mut machines) = machines(dir.path(), 2);
    let mut invoices: Vec<Invoice> = (0..2).map(|_| Invoice::default()).collect();
    let mut dice = Rng::with_seed(7);
    // The accounts begin.
    server.tick(&machines, moment(0), true);
    for second in 1..MONTH {
        let mut awake = false;
        for ((machine, running), invoice) in machines.iter_mut().zip(&mut invoices) {
            *running = machine.live(&mut dice);
            invoice.second(machine, *running);
            awake |= *running;
        }
        // As the meter does: those that sleep are looked at now and then.
        if awake || second.is_multiple_of(60) || second == MONTH - 1 {
            server.tick(&machines, moment(second), true);
        }
        if second.is_multiple_of(DAY) {
            server.store.roll_up(moment(second).wall).unwrap();
        }
    }
    let (from, until) = (moment(0).wall, moment(MONTH).wall);
    let rows = server.store.costs(from, until, By::Sprite).unwrap();
    assert_eq!(rows.len(), 2);
    for ((machine, _), invoice) in machines.iter().zip(&invoices) {
        let row = rows.iter().find(|row| row.name == format!("box-{}", machine.id)).unwrap();
        let total = server.store.account(&machine.id).unwrap().unwrap().totals;
        let difference = (row.used.cost_usd - invoice.usd()).abs();
        assert!(difference < 0.001, "{} against {}", row.used.cost_usd, invoice.usd());
        assert!((row.used.cost_usd - total.cost_usd).abs() < 1e-6, "the bill and the account disagree");
        assert!(row.used.running_seconds > 3600.0 && row.used.cost_usd > 0.1, "{row:?}");
        // What samples say does not go with them as they are rolled up.
        let samples = server.store.samples(&machine.id, from, usize::MAX).unwrap();
        let seconds: f64 = samples.iter().map(|sample| sample.seconds).sum();
        assert!((seconds - row.used.running_seconds).abs() < 1.0, "{seconds} {row:?}");
    }
    let days = server.store.costs(from, until, By::Day).unwrap();
    assert_eq!(days.len(), 30);
    let all: f64 = days.iter().map(|row| row.used.cost_usd).sum();
    let wanted: f64 = invoices.iter().map(Invoice::usd).sum();
    assert!((all - wanted).abs() < 0.001, "{all} {wanted}");
}

/// Two servers live through the same hour; one is killed at every tick of it, before or after it has written, and comes back a while later.
#[test]
fn kills_lose_and_repeat_nothing() {
    let run = |kill: &dyn Fn(u64) -> bool, away: u64, written: bool| -> UsageTotals {
        let dir = tempfile::tempdir().unwrap();
        let (mut server, mut machines) = machines(dir.path(), 1);
        let mut dice = Rng::with_seed(3);
        let mut back = 0;
        for second in 0..600 {
            machines[0].0.sleeps = machines[0].0.sleeps.min(20);
            machines[0].1 = machines[0].0.live(&mut dice);
            let last = second == 599;
            if second < back && !last {
                continue;
            }
            let dies = kill(second);
            server.tick(&machines, moment(second), written || !dies);
            if dies && !last {
                server = server.killed();
                back = second + away;
            }
        }
        server.store.account("1").unwrap().unwrap().totals
    };
    let whole = run(&|_| false, 0, true);
    assert!(whole.running_seconds > 100.0);
    // What a second of the machine at its busiest costs.
    let sample = {
        let busiest = rates::Running { seconds: 1.0, cpu_seconds: 2.0, memory_bytes: 3.1e9, hot_bytes: 2e9 };
        rates::run(&mut UsageTotals::default(), busiest)
    };
    for at in 60..120 {
        for written in [true, false] {
            let killed = run(&|second| second == at, 1, written);
            let difference = killed.cost_usd - whole.cost_usd;
            assert!(difference.abs() <= sample, "killed at {at}, written {written}: {difference}");
            // Time awake is measured by the guest and does not depend on who looks.
            assert!((killed.running_seconds - whole.running_seconds).abs() <= 1.0, "{killed:?}");
        }
    }
    // Killed all the time: the time awake is there, but for one second of each boot.
    let killed = run(&|second| second % 7 == 0, 3, true);
    assert!((killed.running_seconds - whole.running_seconds).abs() <= 3.0, "{killed:?} {whole:?}");
}
