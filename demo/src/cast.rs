//! Who is in the demo.

use crate::load::Load;

/// One sprite.
pub struct Role {
    pub name: &'static str,
    pub labels: &'static [&'static str],
    pub load: Load,
    /// Bytes of its disk.
    pub stored: u64,
    /// US dollars this month, before the demo began.
    pub cost: f64,
    /// Days since it was made.
    pub days: i64,
    /// Comments of its checkpoints, oldest first; those with a number branch off that one.
    pub checkpoints: &'static [(&'static str, Option<usize>)],
    /// Service, its command and its port.
    pub services: &'static [(&'static str, &'static str, u16)],
    /// What keeps it awake for a while.
    pub tasks: &'static [&'static str],
    /// Hosts it reaches.
    pub hosts: &'static [&'static str],
    /// Hosts it is denied.
    pub denied: &'static [&'static str],
    /// Why it cannot start.
    pub failure: Option<&'static str>,
}

const QUIET: (i64, f64) = (900, 0.12);
const STEADY: (i64, f64) = (600, 1.0);
const BURSTS: (i64, f64) = (240, 0.45);

const fn load(seed: u64, cpus: f64, memory: f64, traffic: (f64, f64), round: (i64, f64)) -> Load {
    Load { seed, cpus, memory, traffic, round }
}

const PLAIN: Role = Role {
    name: "",
    labels: &[],
    load: load(0, 0.1, 1e8, (1e3, 1e3), QUIET),
    stored: 400_000_000,
    cost: 0.1,
    days: 3,
    checkpoints: &[("first", None)],
    services: &[],
    tasks: &[],
    hosts: &["deb.debian.org"],
    denied: &[],
    failure: None,
};

/// Whose sprites they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// One person's.
    Own,
    /// Those of a team, in another place.
    Team,
}

impl Scene {
    pub(crate) fn cast(self) -> &'static [Role] {
        match self {
            Self::Own => &CAST,
            Self::Team => &TEAM,
        }
    }

    /// US dollars that a month may cost.
    pub(crate) fn budget(self) -> f64 {
        match self {
            Self::Own => 40.0,
            // It comes to its end.
            Self::Team => 12.0,
        }
    }
}

/// Those of a team.
const TEAM: [Role; 4] = [
    Role {
        name: "nightly",
        labels: &["ci"],
        load: load(21, 2.4, 1.6e9, (400e3, 60e3), BURSTS),
        stored: 9_200_000_000,
        cost: 5.61,
        days: 77,
        hosts: &["static.crates.io", "github.com"],
        ..PLAIN
    },
    Role {
        name: "preview-118",
        labels: &["review", "web"],
        load: load(22, 0.3, 440e6, (50e3, 210e3), STEADY),
        cost: 0.72,
        services: &[("web", "node server.js", 3000)],
        hosts: &["registry.npmjs.org"],
        denied: &["metrics.example.net"],
        ..PLAIN
    },
    Role {
        name: "reviewer",
        labels: &["agent"],
        load: load(23, 0.9, 720e6, (180e3, 30e3), STEADY),
        stored: 2_900_000_000,
        cost: 3.94,
        days: 21,
        hosts: &["api.anthropic.com", "github.com"],
        ..PLAIN
    },
    Role { name: "sandbox", load: load(24, 0.1, 90e6, (1e3, 1e3), QUIET), ..PLAIN },
];

/// Those of one person.
pub const CAST: [Role; 12] = [
    Role {
        name: "agent-checkout",
        labels: &["agent", "shop"],
        load: load(1, 0.8, 610e6, (220e3, 40e3), STEADY),
        stored: 3_400_000_000,
        cost: 2.31,
        days: 9,
        checkpoints: &[
            ("clean clone", None),
            ("tests green", None),
            ("before the big refactoring", None),
            ("another way", Some(1)),
            ("review done", None),
        ],
        services: &[("preview", "npm run dev", 5173)],
        tasks: &["review of the checkout"],
        hosts: &["api.anthropic.com", "github.com", "registry.npmjs.org"],
        denied: &["telemetry.example.net"],
        ..PLAIN
    },
    Role {
        name: "agent-docs",
        labels: &["agent"],
        load: load(2, 0.4, 380e6, (120e3, 20e3), BURSTS),
        stored: 1_100_000_000,
        cost: 0.87,
        days: 4,
        checkpoints: &[("clean clone", None), ("chapter 1", None), ("chapter 2", None)],
        hosts: &["api.anthropic.com", "github.com"],
        ..PLAIN
    },
    Role {
        name: "api-staging",
        labels: &["staging", "web"],
        load: load(3, 0.25, 420e6, (60e3, 300e3), STEADY),
        stored: 2_200_000_000,
        cost: 4.12,
        days: 41,
        checkpoints: &[("release 1.8", None), ("release 1.9", None), ("release 2.0", None)],
        services: &[("api", "node server.js", 3000), ("worker", "node worker.js --queue mail", 0)],
        hosts: &["db.example.com", "hooks.example.org"],
        ..PLAIN
    },
    Role {
        name: "bench",
        labels: &["ci"],
        load: load(4, 3.2, 1.9e9, (10e3, 5e3), (300, 0.3)),
        stored: 5_900_000_000,
        cost: 3.02,
        ..PLAIN
    },
    Role {
        name: "blog",
        labels: &["web"],
        load: load(5, 0.03, 90e6, (4e3, 60e3), QUIET),
        days: 120,
        services: &[("caddy", "caddy run", 8080)],
        hosts: &["acme-v02.api.letsencrypt.org"],
        ..PLAIN
    },
    Role {
        name: "ci-arm",
        labels: &["ci"],
        load: load(6, 1.6, 800e6, (900e3, 100e3), BURSTS),
        stored: 7_700_000_000,
        cost: 1.94,
        checkpoints: &[("toolchain", None), ("caches warm", None)],
        tasks: &["nightly build"],
        hosts: &["static.crates.io", "index.crates.io", "github.com"],
        ..PLAIN
    },
    Role {
        name: "ci-x86",
        labels: &["ci"],
        load: load(7, 2.1, 1.2e9, (800e3, 90e3), (180, 0.6)),
        stored: 8_100_000_000,
        cost: 2.55,
        checkpoints: &[("toolchain", None), ("caches warm", None)],
        hosts: &["static.crates.io", "github.com"],
        ..PLAIN
    },
    Role {
        name: "notebook",
        labels: &["data"],
        load: load(8, 0.6, 2.6e9, (30e3, 10e3), (1200, 0.35)),
        stored: 12_400_000_000,
        cost: 1.2,
        days: 18,
        services: &[("jupyter", "jupyter lab --no-browser", 8888)],
        ..PLAIN
    },
    Role {
        name: "old-import",
        load: load(9, 0.1, 1e8, (0.0, 0.0), (3600, 0.0)),
        days: 200,
        failure: Some(
            "its disk is damaged: block 4711 of the base is unreadable; restore a checkpoint, or destroy it",
        ),
        ..PLAIN
    },
    Role {
        name: "playground",
        load: load(10, 0.05, 70e6, (1e3, 1e3), QUIET),
        checkpoints: &[
            ("empty", None),
            ("with tools", None),
            ("an experiment", Some(0)),
            ("another one", Some(0)),
        ],
        ..PLAIN
    },
    Role {
        name: "scraper",
        labels: &["data"],
        load: load(11, 0.2, 260e6, (700e3, 30e3), (120, 0.5)),
        stored: 900_000_000,
        cost: 0.44,
        hosts: &["en.wikipedia.org"],
        denied: &["10.0.0.7", "ads.example.com"],
        ..PLAIN
    },
    Role {
        name: "web-shop",
        labels: &["shop", "web"],
        load: load(12, 0.35, 510e6, (90e3, 420e3), STEADY),
        stored: 1_800_000_000,
        cost: 5.4,
        days: 63,
        checkpoints: &[("launch", None), ("new cart", None)],
        services: &[("shop", "python -m shop", 8000), ("redis", "redis-server", 6379)],
        hosts: &["payments.example.com"],
        denied: &["169.254.169.254"],
        ..PLAIN
    },
];
