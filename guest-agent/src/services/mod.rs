//! Services: programs that the sprite keeps running.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | the table of services, and what belongs to several of them |
//! | `routes` | `/v1/services…` |
//! | `run` | the life of one |
//! | `log` | what it says |
//! | `store` | definitions on the disk |

mod log;
mod routes;
mod run;
mod store;

pub(crate) use routes::router;

use crate::cgroup::Cgroup;
use crate::config::Config;
use crate::policy::Policy;
use crate::process::reaper::Reaper;
use crate::reply::Refusal;
use axum::http::StatusCode;
use log::Log;
use nix::sys::signal::Signal;
use run::{Context, Service};
use sprites_api::agent::Identity;
use sprites_api::services::{self as api, Definition, EventKind, State};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{Folder, Kept};

/// Services of a sprite.
const SERVICES: usize = 64;
/// A service waits this long for one that it needs to have a process.
const NEED: Duration = Duration::from_secs(10);

/// The services of an agent.
pub(crate) struct Services {
    /// None where there is no place to keep them.
    home: Option<Home>,
    context: Context,
    all: Mutex<BTreeMap<String, Arc<Service>>>,
    /// Those that were loaded and are to be started.
    wanted: Mutex<Vec<String>>,
    /// Held while a definition changes.
    change: tokio::sync::Mutex<()>,
}

struct Home {
    definitions: Folder,
    logs: PathBuf,
}

/// What a new definition led to.
pub(crate) enum Defined {
    /// It runs already, just so.
    Unchanged,
    /// It is to be started.
    Changed,
}

impl Services {
    /// The services that are kept; none runs before [`Services::boot`].
    pub(crate) fn new(
        reaper: Arc<Reaper>,
        cgroup: Option<Arc<Cgroup>>,
        policy: Arc<Policy>,
        config: &Config,
        identity: Arc<dyn Fn() -> Identity + Send + Sync>,
    ) -> Self {
        let home = config.home.as_ref().map(|home| Home {
            definitions: Folder::new(home.join("services")),
            logs: home.join("logs/services"),
        });
        let context = Context { reaper, cgroup, policy, config: config.clone(), identity };
        Self {
            home,
            context,
            all: Mutex::default(),
            wanted: Mutex::default(),
            change: tokio::sync::Mutex::default(),
        }
    }

    /// Learns what services there are. Nobody is answered before that.
    pub(crate) async fn load(&self) {
        let Some(home) = &self.home else { return };
        let _change = self.change.lock().await;
        let definitions = home.definitions.clone();
        let kept = tokio::task::spawn_blocking(move || definitions.load()).await.unwrap_or_default();
        for (name, kept) in kept {
            let service = self.begin(home, &name, kept.definition);
            self.table().insert(name.clone(), service);
            if !kept.stopped {
                self.wanted.lock().unwrap_or_else(PoisonError::into_inner).push(name);
            }
        }
    }

    /// Starts every service that was not stopped, those that others need first.
    pub(crate) async fn boot(&self) {
        let _change = self.change.lock().await;
        let wanted = std::mem::take(&mut *self.wanted.lock().unwrap_or_else(PoisonError::into_inner));
        for name in self.order(&wanted) {
            // What was stopped stays so, though somebody needs it.
            if wanted.contains(&name) {
                self.start_one(&name).await;
            }
        }
    }

    /// Ends all of them, in the reverse order, each by force after `grace`.
    pub(crate) async fn end_all(&self, grace: Duration) {
        let _change = self.change.lock().await;
        let all: Vec<String> = self.table().keys().cloned().collect();
        for name in self.order(&all).into_iter().rev() {
            if let Some(service) = self.find(&name)
                && service.is_wanted()
            {
                service.stop(grace).await;
            }
        }
    }

    /// All of them, by name.
    pub(crate) fn list(&self) -> Vec<api::Service> {
        self.table().iter().map(|(name, service)| shown(name, service)).collect()
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Result<api::Service, Refusal> {
        self.known(name).map(|service| shown(name, &service))
    }

    /// The one that answers the sprite's URL, and its port.
    pub(crate) fn http(&self) -> Option<(String, u16)> {
        let port =
            |(name, service): (&String, &Arc<Service>)| Some((name.clone(), service.definition.http_port?));
        self.table().iter().find_map(port)
    }

    /// Makes or changes one. It is not started by this, and one that changes has ended afterwards.
    async fn define(&self, name: &str, definition: Definition) -> Result<Defined, Refusal> {
        let Some(home) = &self.home else {
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "no_services",
                "this agent has no place for services",
            ));
        };
        api::check_name(name).map_err(Refusal::bad)?;
        check(&definition).map_err(Refusal::bad)?;
        let _change = self.change.lock().await;
        let old = self.find(name);
        if let Some(old) = old.as_ref().filter(|old| old.definition == definition) {
            return Ok(if old.is_wanted() { Defined::Unchanged } else { Defined::Changed });
        }
        if old.is_none() && self.table().len() >= SERVICES {
            let message = format!("a sprite has at most {SERVICES} services; delete one first");
            return Err(Refusal::limit("service_limit_exceeded", message, SERVICES));
        }
        if definition.http_port.is_some() && self.http().is_some_and(|(other, _)| other != name) {
            let message = "another service already has an HTTP port configured";
            return Err(Refusal::new(StatusCode::CONFLICT, "http_port_taken", message));
        }
        if self.is_circle(name, &definition) {
            return Err(Refusal::bad(format!("{name} would need itself, by way of what it needs")));
        }
        self.save(name, Kept { definition: definition.clone(), stopped: false }).await?;
        if let Some(old) = old {
            old.stop(Duration::from_secs(api::STOP)).await;
        }
        let service = self.begin(home, name, definition);
        self.table().insert(name.to_owned(), service);
        Ok(Defined::Changed)
    }

    /// Starts one, and first what it needs.
    async fn start(&self, name: &str) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        for each in self.order(&[name.to_owned()]) {
            let Ok(service) = self.known(&each) else { continue };
            if !service.is_wanted() {
                let kept = Kept { definition: service.definition.clone(), stopped: false };
                self.save(&each, kept).await?;
            }
            self.start_one(&each).await;
        }
        Ok(())
    }

    /// Starts one if it is not meant to run already.
    pub(crate) async fn ensure(&self, name: &str) -> Result<(), Refusal> {
        if self.known(name)?.is_wanted() { Ok(()) } else { self.start(name).await }
    }

    async fn start_one(&self, name: &str) {
        let Some(service) = self.find(name) else { return };
        for need in &service.definition.needs {
            let runs = match self.find(need) {
                Some(needed) => needed.runs(NEED).await,
                None => false,
            };
            if !runs {
                let message = format!("{name} needs {need}, which does not run; it is started all the same");
                service.log.tell(EventKind::Error, Some(message), None);
            }
        }
        service.start().await;
    }

    /// Ends one; it stays so.
    async fn stop(&self, name: &str, patience: Duration) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        let service = self.known(name)?;
        self.save(name, Kept { definition: service.definition.clone(), stopped: true }).await?;
        service.stop(patience).await;
        Ok(())
    }

    /// Ends one and removes it. Its log stays.
    async fn remove(&self, name: &str) -> Result<(), Refusal> {
        let _change = self.change.lock().await;
        let service = self.known(name)?;
        if let Some(home) = &self.home {
            let (definitions, name) = (home.definitions.clone(), name.to_owned());
            disk(move || definitions.remove(&name)).await?;
        }
        service.stop(Duration::from_secs(api::STOP)).await;
        self.table().remove(name);
        Ok(())
    }

    /// Sends a signal to one that runs.
    async fn signal(&self, name: &str, signal: Signal) -> Result<(), Refusal> {
        if self.known(name)?.signal(signal).await { Ok(()) } else { Err(not_running(name)) }
    }

    fn begin(&self, home: &Home, name: &str, definition: Definition) -> Arc<Service> {
        // One log for a service, though its definition changes.
        let log = self
            .find(name)
            .map_or_else(|| Log::new(home.logs.join(format!("{name}.log"))), |old| Arc::clone(&old.log));
        Service::begin(name, definition, log, self.context.clone())
    }

    async fn save(&self, name: &str, kept: Kept) -> Result<(), Refusal> {
        let Some(home) = &self.home else { return Ok(()) };
        let (definitions, name) = (home.definitions.clone(), name.to_owned());
        disk(move || definitions.save(&name, &kept)).await
    }

    /// Those of `names`, and all they need, each after what it needs.
    fn order(&self, names: &[String]) -> Vec<String> {
        let table = self.table();
        let mut done = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            visit(
                name,
                &|name| table.get(name).map(|service| service.definition.needs.clone()),
                &mut seen,
                &mut done,
            );
        }
        done
    }

    fn is_circle(&self, name: &str, definition: &Definition) -> bool {
        let table = self.table();
        let needs = |one: &str| table.get(one).map(|service| service.definition.needs.clone());
        let (mut seen, mut done) = (BTreeSet::new(), Vec::new());
        for need in &definition.needs {
            visit(need, &needs, &mut seen, &mut done);
        }
        seen.contains(name)
    }

    fn find(&self, name: &str) -> Option<Arc<Service>> {
        self.table().get(name).cloned()
    }

    fn known(&self, name: &str) -> Result<Arc<Service>, Refusal> {
        self.find(name).ok_or_else(|| {
            let text = format!("service not found: {name:.64}");
            Refusal::new(StatusCode::NOT_FOUND, &text, text.clone())
        })
    }

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Service>>> {
        // Each use is one look or one change.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Depth first. What was seen is not entered again, so that a circle, which a disk may hold, has an end.
fn visit(
    name: &str,
    needs: &impl Fn(&str) -> Option<Vec<String>>,
    seen: &mut BTreeSet<String>,
    done: &mut Vec<String>,
) {
    if !seen.insert(name.to_owned()) {
        return;
    }
    let Some(mine) = needs(name) else { return };
    for need in &mine {
        visit(need, needs, seen, done);
    }
    done.push(name.to_owned());
}

async fn disk(work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> Result<(), Refusal> {
    let failed = |reason: String| {
        let message = format!("the definition could not be kept on the disk: {reason}");
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "disk", message)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("the agent failed".into())),
    }
}

fn shown(name: &str, service: &Service) -> api::Service {
    let state: State = service.state();
    api::Service { name: name.to_owned(), definition: service.definition.clone(), state: Some(state) }
}

fn not_running(name: &str) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "not_running", format!("the service {name:.64} does not run"))
}

/// Whether a program could be run from it.
fn check(definition: &Definition) -> Result<(), &'static str> {
    let Definition { cmd, args, needs, env, dir, http_port } = definition;
    if cmd.trim().is_empty() {
        return Err("a service needs a `cmd`, the program to run");
    }
    let has_nul = |text: &String| text.contains('\0');
    if has_nul(cmd) || args.iter().any(has_nul) || dir.iter().any(has_nul) {
        return Err("a program cannot be given a NUL byte");
    }
    if env.iter().any(|(key, value)| key.is_empty() || key.contains(['=', '\0']) || has_nul(value)) {
        return Err("the name of a variable is not empty and has no '='; no value has a NUL byte");
    }
    if needs.len() > SERVICES || needs.iter().any(|need| api::check_name(need).is_err()) {
        return Err("`needs` lists names of services");
    }
    if *http_port == Some(0) {
        return Err("`http_port` is a port from 1 to 65535");
    }
    Ok(())
}
