//! What sprites cost that do nothing, and how soon they do something again. Prints one JSON object a figure; `cargo xtask bench` makes a table of them.
//!
//! `SPRITES_BENCH_SPRITES` is how many run at once, 50 unless it says otherwise.

use futures::StreamExt;
use serde_json::json;
use snapshots_tests::harness::Home;
use snapshots_tests::process::{cpu, memory, naming};
use sprites_api::sprite::{CreateSprite, Status};
use sprites_backend::client::{Client, ExecEvent, ExecRequest};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(300);
/// Wakes of a sprite whose machine stands still, and of one without a machine.
const WARM: usize = 20;
const COLD: usize = 5;
/// How long those that run are metered.
const METERED: Duration = Duration::from_secs(60);
/// Sprites that start at once.
const ABREAST: usize = 2;
const MIB: f64 = 1048576.0;

#[tokio::main]
async fn main() {
    let parts = std::env::var("SPRITES_BENCH_PARTS").unwrap_or_default();
    let wanted = |part| parts.is_empty() || parts.split(',').any(|named| named == part);
    if wanted("wake") {
        wake().await;
    }
    if wanted("meter") {
        meter().await;
    }
}

fn figure(name: &str, value: f64, unit: &str, limit: Option<&str>) {
    println!("{}", json!({ "name": name, "value": value, "unit": unit, "ratio": null, "limit": limit }));
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn create(client: &Client, name: &str) {
    let wish = CreateSprite { name: name.into(), ..CreateSprite::default() };
    client.create(&wish).await.expect("a sprite can be made");
}

/// Milliseconds from the call to the first output of a command.
async fn first_output(client: &Client, name: &str) -> f64 {
    let start = Instant::now();
    let cmd = ["echo", "awake"].map(str::to_owned).to_vec();
    let request = ExecRequest { cmd, ..ExecRequest::default() };
    let (_sender, mut events) = client.exec(name, request).await.expect("the command runs").split();
    let mut first = None;
    while let Some(event) = events.next().await {
        if matches!(event, ExecEvent::Stdout(_)) {
            first.get_or_insert(start.elapsed());
        }
    }
    first.expect("it says something").as_secs_f64() * 1e3
}

/// From asleep to the first output, and what is held meanwhile.
async fn wake() {
    let home = Home::new();
    home.serve_with(&["--idle", "1", "--warm", "3600", "--no-checkpoints"]);
    let client = home.client();
    create(&client, "bench").await;
    first_output(&client, "bench").await;
    let asleep = async || {
        let give_up = Instant::now() + LONG;
        while client.get("bench").await.expect("it is there").status == Status::Running {
            assert!(Instant::now() < give_up, "it never sleeps");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut times = Vec::new();
    for _ in 0..WARM {
        asleep().await;
        times.push(first_output(&client, "bench").await);
    }
    figure("a warm sprite wakes: to the first output", median(times), "ms", Some("<= 250"));
    asleep().await;
    held(&home, "asleep in memory");
    let mut times = Vec::new();
    for _ in 0..COLD {
        client.stop("bench").await.expect("it can be stopped");
        times.push(first_output(&client, "bench").await);
    }
    figure("a cold sprite starts: to the first output", median(times), "ms", None);
}

/// What the processes of the only sprite hold.
fn held(home: &Home, how: &str) {
    let all = naming(home.paths().run());
    let of = |is: fn(&str) -> bool| -> f64 {
        let wanted = all.iter().filter(|(_, line)| is(line) && !line.contains(" serve"));
        wanted.map(|(pid, _)| memory(*pid)).sum::<u64>() as f64 / MIB
    };
    figure(&format!("memory of a sprite {how}, all its processes"), of(|_| true), "MiB", None);
    figure("of it, its network", of(|line| line.contains(" gateway ")), "MiB", Some("<= 10"));
    figure("of it, its machine's process", of(|line| line.contains(" machine ")), "MiB", None);
}

/// What the server uses while many run and each is metered every second.
async fn meter() {
    let many = std::env::var("SPRITES_BENCH_SPRITES").ok().and_then(|text| text.parse().ok()).unwrap_or(50);
    let home = Home::new();
    home.serve_with(&["--idle", "3600", "--no-checkpoints"]);
    let client = home.client();
    let names: Vec<String> = (0..many).map(|number| format!("bench-{number}")).collect();
    futures::stream::iter(&names)
        .for_each_concurrent(ABREAST, async |name| {
            create(&client, name).await;
            first_output(&client, name).await;
        })
        .await;
    let server = home.server_pid().expect("the server runs");
    // What was begun with the last start is over.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let (start, before) = (Instant::now(), cpu(server));
    tokio::time::sleep(METERED).await;
    let part = (cpu(server) - before) / start.elapsed().as_secs_f64() * 100.0;
    figure(&format!("CPU of the server, {many} running sprites metered"), part, "%", Some("<= 1"));
    figure("memory of the server then", memory(server) as f64 / MIB, "MiB", None);
    for name in &names {
        let samples = client.usage_history(name, METERED).await.expect("it has a history").samples;
        let metered: f64 = samples.iter().map(|sample| sample.seconds).sum();
        assert!(metered > METERED.as_secs_f64() * 0.9, "{name} was metered for {metered} s only");
    }
}
