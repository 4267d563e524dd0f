//! Checkpoints as folders below `/.sprite/checkpoints`: the host tells which there are, and each is mounted when somebody enters it. Its disk is the
//! host's to serve, read-only, over a connection to it.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | which there are, and mounting one |
//! | `autofs` | the folder whose entries are mounted when somebody enters them |
//! | `nbd` | disks that somebody else serves |

mod autofs;
mod nbd;

use crate::Agent;
use autofs::{Folder, Questions};
use hyper_util::rt::TokioIo;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use sprites_api::agent::{NBD, SIZE};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::timeout;

/// Most that are shown.
const MOST: usize = 16;
/// Longest name, bytes.
const MAX_NAME: usize = 100;
/// Whoever looks at one that is no longer shown may go on for so long.
const LINGER: Duration = Duration::from_secs(600);
/// Whoever enters one waits at most so long.
const MOUNT: Duration = Duration::from_secs(20);

/// Which checkpoints are shown.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    names: Mutex<HashSet<String>>,
    folder: Mutex<Option<Arc<Folder>>>,
    /// Those that are mounted, and what serves each.
    served: Mutex<HashMap<String, AbortHandle>>,
}

impl Shown {
    fn has(&self, name: &str) -> bool {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).contains(name)
    }
}

/// Shows these from now on, and no others.
pub(crate) async fn set(agent: &Arc<Agent>, names: Vec<String>) -> io::Result<()> {
    let Some(home) = agent.config.home.as_ref().filter(|_| agent.config.is_machine) else { return Ok(()) };
    let root = home.join("checkpoints");
    let names: HashSet<String> = names.into_iter().filter(|name| is_name(name)).take(MOST).collect();
    let (told, runtime) = (Arc::clone(agent), Handle::current());
    let questions = spawn_blocking(move || told.shown.change(&root, names, &runtime))
        .await
        .map_err(io::Error::other)??;
    if let Some((folder, questions)) = questions {
        tokio::spawn(answer(Arc::clone(agent), folder, questions));
    }
    Ok(())
}

impl Shown {
    /// What serves one, and puts another in its place.
    fn served(&self, name: &str, now: Option<AbortHandle>) -> Option<AbortHandle> {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(now) => served.insert(name.to_owned(), now),
            None => served.remove(name),
        }
    }

    /// Makes and removes entries; gives the way questions come when this is the first time that there are any.
    fn change(
        &self,
        root: &Path,
        names: HashSet<String>,
        runtime: &Handle,
    ) -> io::Result<Option<(Arc<Folder>, Questions)>> {
        // Also keeps two changes apart.
        let mut folder = self.folder.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = None;
        if folder.is_none() {
            if names.is_empty() {
                return Ok(None);
            }
            crate::boot::load_later_modules()?;
            let (opened, questions) = autofs::open(root)?;
            let opened = Arc::new(opened);
            *folder = Some(Arc::clone(&opened));
            fresh = Some((opened, questions));
        }
        let before =
            std::mem::replace(&mut *self.names.lock().unwrap_or_else(PoisonError::into_inner), names.clone());
        for name in before.difference(&names) {
            let _ = umount2(&root.join(name), MntFlags::MNT_DETACH);
            let _ = fs::remove_dir(root.join(name));
            if let Some(served) = self.served(name, None) {
                runtime.spawn(async move {
                    tokio::time::sleep(LINGER).await;
                    served.abort();
                });
            }
        }
        for name in names.difference(&before) {
            match fs::create_dir(root.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        Ok(fresh)
    }
}

async fn answer(agent: Arc<Agent>, folder: Arc<Folder>, mut questions: Questions) {
    while let Some(wanted) = questions.next().await {
        let (agent, folder) = (Arc::clone(&agent), Arc::clone(&folder));
        tokio::spawn(async move {
            let shown = match timeout(MOUNT, show(&agent, &wanted.name)).await {
                Ok(Ok(())) => true,
                Ok(Err(error)) => {
                    eprintln!("sprite-agent: the checkpoint {} cannot be shown: {error}", wanted.name);
                    false
                }
                Err(_) => false,
            };
            let _ = spawn_blocking(move || folder.answer(&wanted, shown)).await;
        });
    }
}

/// Mounts one for as long as the host serves it.
async fn show(agent: &Arc<Agent>, name: &str) -> io::Result<()> {
    let Some(home) = agent.config.home.as_ref().filter(|_| agent.shown.has(name)) else {
        return Err(io::ErrorKind::NotFound.into());
    };
    let place = home.join("checkpoints").join(name);
    let (connection, answer) = agent
        .outward
        .change(&format!("/v1/checkpoints/{name}/disk"), NBD)
        .await
        .ok_or_else(|| io::Error::other("the host does not serve it"))?;
    let size = answer.get(SIZE).and_then(|size| size.to_str().ok()?.parse().ok());
    let size = size.ok_or_else(|| io::Error::other("the host does not tell its size"))?;
    let (device, requests) = spawn_blocking(move || nbd::attach(size)).await.map_err(io::Error::other)??;
    requests.set_nonblocking(true)?;
    let mut requests = tokio::net::UnixStream::from_std(requests)?;
    let (mounted, source) = (place.clone(), device.clone());
    let serving = tokio::spawn(async move {
        // Its end is the end of the host's patience, of the machine's sleep, or of the checkpoint.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(connection), &mut requests).await;
        drop(requests);
        let _ = spawn_blocking(move || {
            // Somebody may have unmounted it, and entered it again since, which mounted another.
            if is_mounted(&source, &mounted) {
                let _ = umount2(&mounted, MntFlags::MNT_DETACH);
            }
        })
        .await;
    });
    // One that was unmounted by hand is of no more use to anybody.
    if let Some(before) = agent.shown.served(name, Some(serving.abort_handle())) {
        before.abort();
    }
    spawn_blocking(move || put(&device, &place)).await.map_err(io::Error::other)?
}

/// Whether this device is what is mounted there (`man 5 proc_mounts`).
fn is_mounted(device: &Path, place: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let source = fields.next()?;
        // Neither has a character that is written in another way there.
        (fields.next()? == place.to_str()?).then(|| Path::new(source) == device)
    }) == Some(true)
}

/// Mounts a disk where it can be looked at. Its journal stays as it is: a checkpoint is at rest, or as a power cut would have left it.
fn put(device: &PathBuf, place: &PathBuf) -> io::Result<()> {
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    Ok(mount(Some(device), place, Some("ext4"), flags, Some("noload"))?)
}

/// Whether this can be the name of a checkpoint; it becomes one of a folder.
fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
}
