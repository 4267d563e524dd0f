//! One sprite of the demo: its state, and how time changes it.

use crate::cast::Role;
use crate::files;
use crate::load::Load;
use crate::session::Console;
use crate::shell::Files;
use crate::world::{at, second};
use sprites_api::Time;
use sprites_api::extension::{Event, EventKind, TreeNode, UsageHistory, UsageLine, UsageSample, UsageTotals};
use sprites_api::inside::Service;
use sprites_api::policy::NetworkPolicy;
use sprites_api::services::{State, Status as Service_};
use sprites_api::sprite::{Sprite, Status, WatchLine};
use sprites_api::task::Task;
use std::collections::BTreeMap;

/// Most events of one.
const MAX_EVENTS: usize = 50;
/// Seconds after which a warm sprite turns cold.
const WARM: i64 = 120;
const DAY: i64 = 86_400;

/// One sprite.
pub struct Actor {
    pub sprite: Sprite,
    pub load: Load,
    pub stored: u64,
    pub totals: UsageTotals,
    pub nodes: Vec<TreeNode>,
    /// Files of each checkpoint.
    pub kept: BTreeMap<String, Files>,
    pub files: Files,
    pub parent: Option<String>,
    pub events: Vec<Event>,
    pub policy: NetworkPolicy,
    pub services: Vec<Service>,
    /// What keeps it awake.
    pub tasks: Vec<Task>,
    pub consoles: BTreeMap<u32, Console>,
    pub hosts: (Vec<String>, Vec<String>),
    /// Somebody used it until then; of one that somebody stopped, it rests until then.
    pub until: i64,
    pub stopped: bool,
    pub rested: i64,
}

impl Actor {
    pub fn new(role: &Role, now: i64) -> Self {
        let created = now - role.days * DAY - 3600 * i64::from(role.name.len() as u8);
        let mut kept: BTreeMap<String, Files> = BTreeMap::new();
        let mut nodes: Vec<TreeNode> = Vec::new();
        let first = files::beginning(role.name);
        for (index, (comment, from)) in role.checkpoints.iter().enumerate() {
            let parent = from.or(index.checked_sub(1)).map(|parent| format!("v{parent}"));
            let before = parent.as_ref().and_then(|parent| kept.get(parent)).unwrap_or(&first);
            let files = files::worked_on(before, index, comment);
            kept.insert(format!("v{index}"), files);
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
        let parent = nodes.last().map(|node| node.id.clone());
        let before = parent.as_ref().and_then(|parent| kept.get(parent)).unwrap_or(&first);
        let files = match nodes.len() {
            0 => first,
            steps => files::worked_on(before, steps, "what is being worked on"),
        };
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
            parent,
            nodes,
            kept,
            files,
            events: Vec::new(),
            policy: NetworkPolicy::default(),
            services: services.collect(),
            tasks: role.tasks.iter().map(|name| task(name, now)).collect(),
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

    pub fn rename(&mut self, name: &str) {
        self.sprite.name = name.to_owned();
        self.sprite.url = Some(format!("http://{name}.demo.invalid"));
    }

    pub fn line(&self, kind: &str) -> WatchLine {
        let status = (kind != "deleted").then_some(self.sprite.status);
        WatchLine { kind: kind.into(), name: Some(self.sprite.name.clone()), status, ..WatchLine::default() }
    }

    /// Keeps what happened; the newest is told first.
    pub fn happened(&mut self, kind: EventKind, reason: &str) {
        if kind == EventKind::State {
            self.sprite.reason = Some(reason.to_owned());
        }
        let (time, status, reason) = (Time::now(), self.sprite.status, reason.to_owned());
        self.events.push(Event { time, kind, status, reason });
        let over = self.events.len().saturating_sub(MAX_EVENTS);
        self.events.drain(..over);
    }

    /// Falls asleep or awakes, where it is time; the reason.
    pub fn turn(&mut self, now: i64) -> Option<String> {
        self.tasks.retain(|task| at(now) < task.expires_at);
        let attached = self.consoles.values().any(|console| console.attached > 0);
        self.sprite.in_use_by = self
            .consoles
            .iter()
            .filter(|(_, console)| console.attached > 0)
            .map(|(id, _)| format!("session {id}"))
            .chain(self.tasks.iter().map(|task| format!("task {}", task.name)))
            .collect();
        let used = attached || now < self.until || !self.tasks.is_empty() && !self.stopped;
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

    /// A second passes: what it uses in it is added to what it has used.
    pub fn pass(&mut self, now: i64) {
        let Some(sample) = self.sample(now) else { return };
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

    fn sample(&self, now: i64) -> Option<UsageSample> {
        (self.sprite.status == Status::Running).then(|| self.load.sample(now, 1))
    }

    /// What is told of a second.
    pub fn usage(&self, now: i64) -> UsageLine {
        UsageLine {
            name: self.sprite.name.clone(),
            sample: self.sample(now),
            stored_bytes: self.stored,
            shared_bytes: 0,
            totals: self.totals,
        }
    }

    /// What it has used in that many seconds.
    pub fn history(&self, window: i64) -> UsageHistory {
        let samples = self.load.past(second(), window);
        UsageHistory { samples, totals: self.totals, stored_bytes: self.stored }
    }
}

/// One that began a while ago and goes on for longer than most people look.
fn task(name: &str, now: i64) -> Task {
    Task { name: name.to_owned(), started_at: at(now - 700), expires_at: at(now + 2700) }
}
