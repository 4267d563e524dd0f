//! The sprites of the demo, and what changes them.

use crate::cast::{CAST, Role, Scene};
use crate::load::Load;
use crate::shell::{Around, Files, Said, Shell, greeting};
use sprites_api::checkpoint::CURRENT;
use sprites_api::cost::{Budget, CostRow, Costs};
use sprites_api::exec::Session;
use sprites_api::extension::{
    Event, EventKind, NetworkEvent, NetworkLog, Tree, TreeNode, UsageLine, UsageTotals,
};
use sprites_api::inside::{Inside, Interior, Port, Service};
use sprites_api::policy::NetworkPolicy;
use sprites_api::services::{State, Status as Service_};
use sprites_api::sprite::{Sprite, Status, WatchLine};
use sprites_api::{Time, sprite};
use std::collections::BTreeMap;
use tokio::sync::broadcast;

/// Most sprites, and events of one.
const MAX_SPRITES: usize = 50;
const MAX_EVENTS: usize = 50;
/// Seconds after which a warm sprite turns cold.
const WARM: i64 = 120;
/// Seconds that a sprite stays awake after somebody used it.
const AWAKE: i64 = 30;
/// Most of what a console has shown that is shown again, bytes.
const SHOWN: usize = 32 << 10;
const DAY: i64 = 86_400;

pub type Result<T> = std::result::Result<T, String>;

/// A console that may be attached.
pub struct Console {
    shell: Shell,
    created: Time,
    shown: Vec<u8>,
    pub attached: u32,
    pub output: broadcast::Sender<Vec<u8>>,
}

/// One sprite.
pub struct Actor {
    pub sprite: Sprite,
    load: Load,
    stored: u64,
    totals: UsageTotals,
    nodes: Vec<TreeNode>,
    /// Files of each checkpoint.
    kept: BTreeMap<String, Files>,
    files: Files,
    parent: Option<String>,
    pub events: Vec<Event>,
    pub policy: NetworkPolicy,
    services: Vec<Service>,
    pub consoles: BTreeMap<u32, Console>,
    hosts: (Vec<String>, Vec<String>),
    /// Somebody used it until then; of one that somebody stopped, it rests until then.
    until: i64,
    stopped: bool,
    rested: i64,
}

/// See the module.
pub struct World {
    pub actors: BTreeMap<String, Actor>,
    pub budget: Budget,
    changed: Vec<WatchLine>,
    next: u32,
}

pub fn second() -> i64 {
    Time::now().as_micros() / 1_000_000
}

fn at(second: i64) -> Time {
    Time::from_micros(second * 1_000_000)
}

impl World {
    pub fn new(scene: Scene) -> Self {
        let now = second();
        let actors = scene.cast().iter().map(|role| (role.name.to_owned(), Actor::new(role, now))).collect();
        Self {
            actors,
            budget: Budget { month_usd: Some(scene.budget()), sleep: false },
            changed: Vec::new(),
            next: 100,
        }
    }

    /// A second passes.
    pub fn tick(&mut self) -> Vec<UsageLine> {
        let now = second();
        let mut changed = Vec::new();
        let lines = self.actors.iter_mut().map(|(name, actor)| {
            if let Some(reason) = actor.turn(now) {
                changed.push(actor.line("sprite"));
                actor.happened(EventKind::State, &reason);
            }
            actor.used(name, now)
        });
        let lines = lines.collect();
        self.changed.extend(changed);
        lines
    }

    /// What those who watch have not been told.
    pub fn changes(&mut self) -> Vec<WatchLine> {
        std::mem::take(&mut self.changed)
    }

    pub fn actor(&mut self, name: &str) -> Result<&mut Actor> {
        self.actors.get_mut(name).ok_or_else(|| "sprite not found".to_owned())
    }

    pub fn create(&mut self, name: &str) -> Result<Sprite> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > 63 || !name.chars().all(fits) {
            return Err("a name is 1 to 63 small letters, digits and '-'".into());
        }
        if self.actors.contains_key(name) {
            return Err(format!("there is a sprite {name} already"));
        }
        if self.actors.len() >= MAX_SPRITES {
            return Err(format!("this demo has room for {MAX_SPRITES} sprites"));
        }
        let role = Role { days: 0, cost: 0.0, checkpoints: &[], hosts: &[], ..CAST[9] };
        let mut actor = Actor::new(&role, second());
        actor.rename(name);
        self.changed.push(actor.line("sprite"));
        let sprite = actor.sprite.clone();
        self.actors.insert(name.to_owned(), actor);
        Ok(sprite)
    }

    pub fn destroy(&mut self, name: &str) -> Result<()> {
        let actor = self.actors.remove(name).ok_or("sprite not found")?;
        self.changed.push(actor.line("deleted"));
        Ok(())
    }

    pub fn fork(&mut self, name: &str, to: &str, checkpoint: Option<&str>) -> Result<Sprite> {
        let actor = self.actor(name)?;
        let files = match checkpoint {
            Some(id) => actor.kept.get(id).ok_or("there is no such checkpoint")?.clone(),
            None => actor.files.clone(),
        };
        let (stored, labels) = (actor.stored, actor.sprite.labels.clone());
        self.create(to)?;
        let fork = self.actor(to)?;
        (fork.files, fork.stored) = (files, stored);
        fork.sprite.labels = labels;
        fork.happened(EventKind::State, &format!("made from {name}"));
        Ok(fork.sprite.clone())
    }

    /// Somebody uses a sprite, which wakes it.
    pub fn wake(&mut self, name: &str, by: &str) -> Result<()> {
        let actor = self.actor(name)?;
        if let Some(why) = &actor.sprite.failure {
            return Err(format!("{name} cannot start: {why}"));
        }
        (actor.until, actor.stopped) = (second() + AWAKE, false);
        if actor.sprite.status != Status::Running {
            actor.sprite.status = Status::Running;
            actor.happened(EventKind::State, &format!("woken by {by}"));
            let line = actor.line("sprite");
            self.changed.push(line);
        }
        Ok(())
    }

    pub fn stop(&mut self, name: &str) -> Result<()> {
        let actor = self.actor(name)?;
        (actor.sprite.status, actor.stopped) = (Status::Cold, true);
        actor.consoles.clear();
        actor.happened(EventKind::State, "stopped by you");
        let line = actor.line("sprite");
        self.changed.push(line);
        Ok(())
    }

    pub fn checkpoint(&mut self, name: &str, comment: Option<String>, memory: bool) -> Result<String> {
        Ok(self.actor(name)?.checkpoint(comment, memory, None))
    }

    pub fn restore(&mut self, name: &str, id: &str) -> Result<String> {
        let actor = self.actor(name)?;
        let files = actor.kept.get(id).ok_or("there is no such checkpoint")?.clone();
        let before = format!("pre-restore-{id}-{}", second());
        actor.checkpoint(Some(format!("Before restoring {id}")), false, Some(before));
        (actor.files, actor.parent) = (files, Some(id.to_owned()));
        actor.consoles.clear();
        actor.sprite.failure = None;
        actor.happened(EventKind::Restore, id);
        Ok(format!("{name} is as it was at {id}."))
    }

    pub fn delete_checkpoint(&mut self, name: &str, id: &str) -> Result<()> {
        let actor = self.actor(name)?;
        let node = actor.nodes.iter().position(|node| node.id == id).ok_or("there is no such checkpoint")?;
        let gone = actor.nodes.remove(node);
        actor.kept.remove(id);
        for other in actor.nodes.iter_mut().filter(|other| other.parent.as_deref() == Some(id)) {
            other.parent.clone_from(&gone.parent);
        }
        if actor.parent.as_deref() == Some(id) {
            actor.parent = gone.parent;
        }
        Ok(())
    }

    /// Another console of a sprite; its number.
    pub fn console(&mut self, name: &str) -> Result<u32> {
        self.wake(name, "a console")?;
        self.next += 1;
        let id = self.next;
        let console = Console {
            shell: Shell::default(),
            created: Time::now(),
            shown: greeting(name).into_bytes(),
            attached: 0,
            output: broadcast::channel(64).0,
        };
        self.actor(name)?.consoles.insert(id, console);
        Ok(id)
    }

    /// Takes what is typed in a console; whether that ended it.
    pub fn typed(&mut self, name: &str, id: u32, bytes: &[u8]) -> Result<bool> {
        self.wake(name, "a console")?;
        let actor = self.actor(name)?;
        let memory = actor.load.sample(second(), 1).memory_bytes;
        let programs = actor.services.iter().map(|service| service.command.clone());
        let processes = programs.chain(["bash -l".to_owned(), "ps".to_owned()]).collect();
        let Actor { files, consoles, .. } = actor;
        let console = consoles.get_mut(&id).ok_or("session not found")?;
        let Said { bytes, ended } =
            console.shell.typed(bytes, &mut Around { name, files, processes, memory });
        console.shown.extend_from_slice(&bytes);
        let over = console.shown.len().saturating_sub(SHOWN);
        console.shown.drain(..over);
        // Nobody may be attached.
        let _ = console.output.send(bytes);
        if ended {
            consoles.remove(&id);
        }
        Ok(ended)
    }

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

impl Actor {
    fn new(role: &Role, now: i64) -> Self {
        let created = now - role.days * DAY - 3600 * i64::from(role.name.len() as u8);
        let mut kept = BTreeMap::new();
        let mut nodes: Vec<TreeNode> = Vec::new();
        let mut files = Files::from([
            (
                "README.md".to_owned(),
                format!("# {}\n\nA sprite of the demo. Nothing here is real.\n", role.name),
            ),
            ("notes.txt".to_owned(), "Checkpoints keep files: remove this one and restore.\n".to_owned()),
        ]);
        for (index, (comment, from)) in role.checkpoints.iter().enumerate() {
            let parent = from.or(index.checked_sub(1)).map(|parent| format!("v{parent}"));
            files.insert(format!("work-{index}.txt"), format!("{comment}\n"));
            kept.insert(format!("v{index}"), files.clone());
            nodes.push(TreeNode {
                id: format!("v{index}"),
                parent,
                create_time: at(
                    created + (now - created) * (index as i64 + 1) / (role.checkpoints.len() as i64 + 1)
                ),
                comment: Some((*comment).to_owned()),
                is_auto: false,
                exclusive_bytes: role.stored / 40 * (index as u64 % 3 + 1),
                shared_bytes: 0,
                memory_bytes: (index == 1).then_some(role.load.memory as u64 / 3),
            });
        }
        let status = if role.load.is_busy(now) { Status::Running } else { Status::Cold };
        let services = role.services.iter().enumerate().map(|(index, (name, command, port))| Service {
            name: (*name).to_owned(),
            command: (*command).to_owned(),
            http_port: (*port > 0).then_some(*port),
            state: State {
                name: (*name).to_owned(),
                status: Service_::Running,
                pid: Some(200 + index as i32),
                started_at: Some(at(now - 5000)),
                ..State::default()
            },
        });
        let hours = role.cost / 0.12;
        let mut actor = Self {
            sprite: Sprite {
                id: format!("sprite-demo-{:04}", role.load.seed),
                status,
                labels: role.labels.iter().map(|label| (*label).to_owned()).collect(),
                created_at: Some(at(created)),
                failure: role.failure.map(str::to_owned),
                ..Sprite::default()
            },
            load: role.load,
            stored: role.stored,
            totals: UsageTotals {
                cpu_hours: hours * role.load.cpus,
                memory_gb_hours: hours * role.load.memory / 1e9,
                hot_gb_hours: hours,
                stored_gb_hours: role.stored as f64 / 1e9 * 24.0 * 20.0,
                running_seconds: hours * 3600.0,
                sent_bytes: (role.load.traffic.1 * hours * 900.0) as u64,
                received_bytes: (role.load.traffic.0 * hours * 900.0) as u64,
                cost_usd: role.cost,
            },
            parent: nodes.last().map(|node| node.id.clone()),
            nodes,
            kept,
            files,
            events: Vec::new(),
            policy: NetworkPolicy::default(),
            services: services.collect(),
            consoles: BTreeMap::new(),
            hosts: (
                role.hosts.iter().map(|host| (*host).to_owned()).collect(),
                role.denied.iter().map(|host| (*host).to_owned()).collect(),
            ),
            until: 0,
            stopped: false,
            rested: now - 60,
        };
        actor.rename(role.name);
        // Not all at the same moment.
        let ago = 37 * i64::try_from(role.load.seed).unwrap_or_default();
        for (before, kind, status, reason) in [
            (7200, EventKind::State, Status::Cold, "unused for 10 m"),
            (5400, EventKind::State, Status::Running, "started by a request to its web address"),
            (4100, EventKind::Checkpoint, Status::Running, "auto-1, made unasked"),
        ] {
            actor.events.push(Event { time: at(now - before - ago), kind, status, reason: reason.into() });
        }
        if let Some(why) = role.failure {
            actor.happened(EventKind::Failure, &format!("its start failed: {why}"));
        }
        actor.happened(
            EventKind::State,
            if status == Status::Running { "its work began" } else { "unused for 30 s" },
        );
        actor
    }

    fn rename(&mut self, name: &str) {
        self.sprite.name = name.to_owned();
        self.sprite.url = Some(format!("http://{name}.demo.invalid"));
    }

    fn line(&self, kind: &str) -> WatchLine {
        let status = (kind != "deleted").then_some(self.sprite.status);
        WatchLine { kind: kind.into(), name: Some(self.sprite.name.clone()), status, ..WatchLine::default() }
    }

    /// Keeps what happened; the newest is told first.
    fn happened(&mut self, kind: EventKind, reason: &str) {
        if kind == EventKind::State {
            self.sprite.reason = Some(reason.to_owned());
        }
        let (time, status, reason) = (Time::now(), self.sprite.status, reason.to_owned());
        self.events.push(Event { time, kind, status, reason });
        let over = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..over);
    }

    /// Falls asleep or awakes, where it is time; the reason.
    fn turn(&mut self, now: i64) -> Option<String> {
        let attached = self.consoles.values().any(|console| console.attached > 0);
        self.sprite.in_use_by = self
            .consoles
            .iter()
            .filter(|(_, console)| console.attached > 0)
            .map(|(id, _)| format!("session {id}"))
            .collect();
        let used = attached || now < self.until;
        let wanted = self.sprite.failure.is_none() && (used || !self.stopped && self.load.is_busy(now));
        let (status, reason) = match (self.sprite.status, wanted) {
            (Status::Warm | Status::Cold, true) => (Status::Running, "woken by a request to its web address"),
            (Status::Running, false) => {
                self.rested = now;
                (Status::Warm, "unused for 30 s")
            }
            (Status::Warm, false) if now - self.rested > WARM => (Status::Cold, "warm for 2 m"),
            _ => return None,
        };
        self.sprite.status = status;
        Some(reason.to_owned())
    }

    /// The line of a second.
    fn used(&mut self, name: &str, now: i64) -> UsageLine {
        let sample = (self.sprite.status == Status::Running).then(|| self.load.sample(now, 1));
        if let Some(sample) = &sample {
            self.totals += UsageTotals {
                cpu_hours: sample.cpus / 3600.0,
                memory_gb_hours: sample.memory_bytes as f64 / 1e9 / 3600.0,
                running_seconds: 1.0,
                sent_bytes: sample.sent_bytes,
                received_bytes: sample.received_bytes,
                cost_usd: sample.cost_usd,
                ..UsageTotals::default()
            };
        }
        UsageLine {
            name: name.to_owned(),
            sample,
            stored_bytes: self.stored,
            shared_bytes: 0,
            totals: self.totals,
        }
    }

    pub fn history(&self, window: i64) -> sprites_api::extension::UsageHistory {
        let samples = self.load.past(second(), window);
        sprites_api::extension::UsageHistory { samples, totals: self.totals, stored_bytes: self.stored }
    }

    fn checkpoint(&mut self, comment: Option<String>, memory: bool, id: Option<String>) -> String {
        let auto = id.is_some();
        let numbers = self.nodes.iter().filter_map(|node| node.id.strip_prefix('v')?.parse::<u32>().ok());
        let id = id.unwrap_or(format!("v{}", numbers.max().map_or(0, |last| last + 1)));
        self.kept.insert(id.clone(), self.files.clone());
        let about = comment.as_ref().map(|comment| format!(", {comment}")).unwrap_or_default();
        self.happened(EventKind::Checkpoint, &format!("{id}{about}"));
        self.nodes.push(TreeNode {
            id: id.clone(),
            parent: self.parent.replace(id.clone()),
            create_time: Time::now(),
            comment,
            is_auto: auto,
            exclusive_bytes: 1_300_000,
            shared_bytes: 0,
            memory_bytes: memory.then_some(self.load.memory as u64 / 3),
        });
        id
    }

    pub fn tree(&self) -> Tree {
        let current = TreeNode {
            id: CURRENT.into(),
            parent: self.parent.clone(),
            create_time: Time::now(),
            comment: None,
            is_auto: false,
            exclusive_bytes: 4_200_000,
            shared_bytes: 0,
            memory_bytes: None,
        };
        Tree { nodes: self.nodes.iter().cloned().chain([current]).collect() }
    }

    pub fn network(&self) -> NetworkLog {
        let now = second();
        let (allowed, denied) = &self.hosts;
        let event = |index: usize, host: &String, verdict: &str| NetworkEvent {
            at: at(now - 7 * (index as i64 + 1)),
            kind: "tcp".into(),
            name: host.parse::<std::net::IpAddr>().is_err().then(|| host.clone()),
            address: host.parse().ok(),
            port: Some(443),
            verdict: verdict.into(),
            reason: (verdict == "denied").then(|| "private addresses are not reachable".into()),
            rule: None,
            sent: 1200 * (index as u64 + 1),
            received: 54_000 * (index as u64 + 1),
            count: 1,
        };
        let hosts =
            allowed.iter().map(|host| (host, "allowed")).chain(denied.iter().map(|host| (host, "denied")));
        let events = hosts.enumerate().map(|(index, (host, verdict))| event(index, host, verdict)).collect();
        NetworkLog {
            sent: self.totals.sent_bytes,
            received: self.totals.received_bytes,
            connections: allowed.len() as u64,
            events,
            ..NetworkLog::default()
        }
    }

    pub fn inside(&self) -> Inside {
        let live = self.sprite.status == Status::Running;
        let ports = self.services.iter().filter_map(|service| {
            let program = service.command.split(' ').next().unwrap_or_default().to_owned();
            let port = service.http_port.filter(|_| service.state.status == Service_::Running)?;
            Some(Port { port, address: "0.0.0.0".into(), pid: service.state.pid.unwrap_or(0), program })
        });
        let interior = Interior {
            services: self.services.clone(),
            ports: ports.collect(),
            sessions: self.sessions(),
            ..Interior::default()
        };
        Inside { status: self.sprite.status, as_of: Some(Time::now()), live, tasks: Vec::new(), interior }
    }

    pub fn sessions(&self) -> Vec<Session> {
        let session = |(id, console): (&u32, &Console)| Session {
            id: id.to_string(),
            command: "bash -l".into(),
            workdir: "/home/sprite".into(),
            created: console.created,
            bytes_per_second: 0.0,
            is_active: false,
            tty: true,
            last_activity: None,
            attached: console.attached,
        };
        self.consoles.iter().map(session).collect()
    }

    pub fn service(&mut self, name: &str, runs: bool) -> Result<()> {
        let service =
            self.services.iter_mut().find(|service| service.name == name).ok_or("service not found")?;
        service.state.status = if runs { Service_::Running } else { Service_::Stopped };
        service.state.started_at = runs.then(Time::now);
        service.state.pid = runs.then_some(300);
        Ok(())
    }

    /// What a console that is attached now shows first, and how it goes on.
    pub fn attach(&mut self, id: u32) -> Result<(Vec<u8>, broadcast::Receiver<Vec<u8>>)> {
        let console = self.consoles.get_mut(&id).ok_or("session not found")?;
        console.attached += 1;
        Ok((console.shown.clone(), console.output.subscribe()))
    }

    pub fn detach(&mut self, id: u32) {
        if let Some(console) = self.consoles.get_mut(&id) {
            console.attached = console.attached.saturating_sub(1);
        }
        self.until = second() + AWAKE;
    }
}

/// All sprites as the list tells them.
pub fn list(world: &World) -> sprite::SpriteList {
    let sprites: Vec<Sprite> = world.actors.values().map(|actor| actor.sprite.clone()).collect();
    sprite::SpriteList { sprites, ..sprite::SpriteList::default() }
}
