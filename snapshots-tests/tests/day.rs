//! A day of use in minutes: sprites are made, used, stopped, restored and destroyed at random, and at every moment none is awake without a reason and
//! none asleep with one. At the end nothing is left of any.
//!
//! In the suite it is a short day of a few. By hand, `SPRITES_TEST_DAY=50:600` is one of fifty sprites in ten minutes.

use snapshots_tests::harness::Home;
use sprites_api::checkpoint::{CreateCheckpoint, ProgressLine};
use sprites_api::sprite::{CreateSprite, Sprite, Status};
use sprites_backend::client::{Client, Error, ExecEvent, ExecRequest};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::StreamExt;

/// Seconds without use until a sprite sleeps.
const IDLE: u64 = 3;
/// A busy machine may be late by this.
const SLACK: Duration = Duration::from_secs(20);
/// Longest pause between two things that are done with a sprite, for each sprite: so all together do as much as few, which is as much as two
/// software CPUs can start.
const PACE: Duration = Duration::from_millis(2400);
/// However busy the machine is, a call is over by then.
const CALL: Duration = Duration::from_secs(240);

/// How many sprites, and how long.
fn size() -> (u64, Duration) {
    let text = std::env::var("SPRITES_TEST_DAY").unwrap_or_else(|_| "3:20".into());
    let (count, seconds) = text.split_once(':').expect("SPRITES_TEST_DAY is COUNT:SECONDS");
    (count.parse().unwrap(), Duration::from_secs(seconds.parse().unwrap()))
}

async fn run(client: &Client, name: &str, script: &str) -> Result<i32, Error> {
    let cmd = ["sh", "-c", script].map(str::to_owned).to_vec();
    let (_sender, mut events) =
        client.exec(name, ExecRequest { cmd, ..ExecRequest::default() }).await?.split();
    while let Some(event) = events.next().await {
        if let ExecEvent::Exit(code) = event {
            return Ok(code);
        }
    }
    Ok(-1)
}

/// A line of work that goes well.
fn well(line: Result<ProgressLine, Error>) -> Result<(), String> {
    match line {
        Ok(line) if line.kind == "error" => Err(format!("{line:?}")),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// What this sprite is used for by the test, which is a reason to be awake.
#[derive(Default)]
struct Held(AtomicUsize);

/// One sprite's day.
async fn live(
    client: Client,
    name: String,
    held: Arc<Held>,
    seed: u64,
    pace: Duration,
    until: Instant,
    done: Arc<AtomicUsize>,
) {
    let mut dice = Rng::with_seed(seed);
    let good = |what: &str, outcome: Result<(), String>| {
        if let Err(why) = outcome {
            panic!("{name}: {what}: {why}");
        }
    };
    let pause = |dice: &mut Rng| Duration::from_millis(dice.u64(..pace.as_millis() as u64));
    tokio::time::sleep(pause(&mut dice)).await;
    while Instant::now() < until {
        let told = |error: Error| error.to_string();
        match dice.u64(..8) {
            0..=2 => {
                let script = format!("echo {seed} >> day; sleep 0.{}", dice.u64(..9));
                held.0.fetch_add(1, Ordering::SeqCst);
                let outcome = run(&client, &name, &script).await.map_err(told);
                held.0.fetch_sub(1, Ordering::SeqCst);
                good(
                    "exec",
                    outcome.and_then(|code| if code == 0 { Ok(()) } else { Err(format!("exit {code}")) }),
                );
            }
            3 => {
                let lines: Vec<_> = client.checkpoint(&name, &CreateCheckpoint::default()).collect().await;
                good("checkpoint", lines.into_iter().try_for_each(well));
            }
            4 => {
                let all = client.checkpoints(&name).await.map_err(told);
                let newest = all.map(|all| all.into_iter().find(|one| one.id != "Current"));
                match newest {
                    Ok(Some(newest)) => {
                        let lines: Vec<_> = client.restore(&name, &newest.id, false).collect().await;
                        good("restore", lines.into_iter().try_for_each(well));
                    }
                    Ok(None) => {}
                    Err(why) => good("checkpoints", Err(why)),
                }
            }
            5 => good("stop", client.stop(&name).await.map_err(told)),
            _ => {}
        }
        tokio::time::sleep(pause(&mut dice)).await;
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Since when each sprite has been as it should not be.
type Wrong = Mutex<std::collections::HashMap<String, Instant>>;

fn look(sprites: &[Sprite], held: &[(String, Arc<Held>)], wrong: &Wrong) {
    let mut wrong = wrong.lock().unwrap();
    for sprite in sprites {
        let uses = held
            .iter()
            .find(|(name, _)| *name == sprite.name)
            .map_or(0, |(_, held)| held.0.load(Ordering::SeqCst));
        assert!(sprite.reason.is_some(), "{} has no reason to be {}", sprite.name, sprite.status.as_str());
        let awake = sprite.status == Status::Running;
        let starts = sprite.reason.as_ref().is_some_and(|reason| reason.starts_with("starting for "));
        // Awake for nobody, or asleep though somebody waits for it: for a moment that is as it should be. How long a start may take, calls see to.
        let odd = awake && sprite.in_use_by.is_empty() || !awake && !starts && uses > 0;
        match odd {
            false => drop(wrong.remove(&sprite.name)),
            true => {
                let since = *wrong.entry(sprite.name.clone()).or_insert_with(Instant::now);
                let most = Duration::from_secs(IDLE) + SLACK;
                assert!(
                    since.elapsed() < most,
                    "{} has been {} for {:?} without a reason ({:?}, used by {:?})",
                    sprite.name,
                    sprite.status.as_str(),
                    since.elapsed(),
                    sprite.reason,
                    sprite.in_use_by
                );
            }
        }
    }
}

fn files(home: &Home) -> usize {
    fs::read_dir(format!("/proc/{}/fd", home.server_pid().unwrap())).unwrap().count()
}

fn mounts() -> usize {
    fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count()
}

#[test]
fn a_day_in_minutes() {
    let (count, length) = size();
    let home = Home::new();
    let mounted = mounts();
    home.serve_with(&["--idle", &IDLE.to_string(), "--no-checkpoints"]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let client = home.client();
    let held: Vec<(String, Arc<Held>)> =
        (0..count).map(|number| (format!("day-{number}"), Arc::<Held>::default())).collect();
    let done = Arc::new(AtomicUsize::new(0));
    let before = runtime.block_on(async {
        for (name, _) in &held {
            let wish = CreateSprite { name: name.clone(), ..CreateSprite::default() };
            client.create(&wish).await.unwrap();
        }
        files(&home)
    });
    let until = Instant::now() + length;
    runtime.block_on(async {
        let wrong = Wrong::default();
        let mut lives = tokio::task::JoinSet::new();
        for (number, (name, held)) in held.iter().enumerate() {
            let (client, name, held, done) =
                (client.clone(), name.clone(), Arc::clone(held), Arc::clone(&done));
            lives.spawn(live(client, name, held, number as u64, PACE * count as u32, until, done));
        }
        let work = async {
            while let Some(life) = lives.join_next().await {
                life.unwrap();
            }
        };
        tokio::pin!(work);
        loop {
            tokio::select! {
                over = tokio::time::timeout(length + CALL, &mut work) => {
                    over.expect("a call that never ends");
                    break;
                }
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    look(&client.list_sprites().await.unwrap(), &held, &wrong);
                }
            }
        }
        // In the evening all sleep.
        let give_up = Instant::now() + Duration::from_secs(IDLE) + SLACK;
        while client.list_sprites().await.unwrap().iter().any(|sprite| sprite.status == Status::Running) {
            assert!(Instant::now() < give_up, "somebody does not sleep");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for (name, _) in &held {
            client.delete(name).await.unwrap();
        }
    });
    println!("{count} sprites, {} deeds in {} s", done.load(Ordering::SeqCst), length.as_secs());
    let give_up = Instant::now() + CALL;
    loop {
        // The server alone.
        let left = home.processes();
        // Connections of the client that are kept for the next call.
        if left.len() == 1 && files(&home) <= before + 16 && mounts() == mounted {
            break;
        }
        assert!(Instant::now() < give_up, "left: {left:?}, {} files, {} mounts", files(&home), mounts());
        std::thread::sleep(Duration::from_millis(100));
    }
}
