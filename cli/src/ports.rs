//! Forwarded ports: those that somebody names, and those that open in a sprite while a command runs there.

use crate::arguments::{PlaceArguments, Proxy as Wish};
use crate::failure::{Failure, Outcome};
use crate::output;
use sprites_backend::client::Client;
use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

/// Connections of one forwarded port at once.
const CONNECTIONS: usize = 256;
/// Ports that are forwarded by themselves: what runs in a sprite decides which, so not too many.
const AUTOMATIC: usize = 32;
/// And none that belongs to the system.
const FIRST: u16 = 1024;

/// `sprite proxy`.
pub(crate) async fn proxy(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.both().await?;
    if let Some(target) = wish.stdio {
        let (host, port) = target.rsplit_once(':').unwrap_or(("", &target));
        let host = if host.is_empty() { "localhost" } else { host };
        let connection = client.connect(&name, host, number(port)?).await?;
        connection.join(tokio::io::stdin(), tokio::io::stdout()).await;
        return Ok(ExitCode::SUCCESS);
    }
    let mut listening = JoinSet::new();
    for text in &wish.ports {
        let (local, remote) = match text.split_once(':') {
            Some((local, remote)) => (number(local)?, number(remote)?),
            None => (number(text)?, number(text)?),
        };
        let listener = bind(local).await.map_err(Failure::io("listen on", format!("port {local}")))?;
        let local = listener.local_addr().map_or(local, |address| address.port());
        output::remark(&format!("127.0.0.1:{local} leads to port {remote} of {name}; ctrl-c ends it"));
        listening.spawn(serve(listener, client.clone(), name.clone(), remote));
    }
    tokio::signal::ctrl_c().await.map_err(Failure::io("wait for", "ctrl-c"))?;
    Ok(ExitCode::SUCCESS)
}

fn number(text: &str) -> Result<u16, Failure> {
    text.parse().map_err(|_| Failure::Usage(format!("{text:?} is no port")))
}

async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await
}

/// Takes connections for ever.
async fn serve(listener: TcpListener, client: Client, name: String, remote: u16) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        // It is never closed.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        // Small messages are not to wait for more.
        let _ = stream.set_nodelay(true);
        let (client, name) = (client.clone(), name.clone());
        tokio::spawn(async move {
            let _slot = slot;
            match client.connect(&name, "localhost", remote).await {
                Ok(connection) => {
                    let (from, to) = stream.into_split();
                    connection.join(from, to).await;
                }
                // Whoever connected sees it too: the connection closes.
                Err(error) => output::progress(&error.to_string()),
            }
        });
    }
}

/// Ports that are forwarded while a command runs. Dropped, it ends them.
#[derive(Debug)]
pub(crate) struct Forwards {
    client: Client,
    name: String,
    open: HashMap<u16, AbortHandle>,
    /// Whether somebody may be told: not over a screen that a program draws.
    tells: bool,
}

impl Forwards {
    pub(crate) fn new(client: Client, name: String, tells: bool) -> Self {
        Self { client, name, open: HashMap::new(), tells }
    }

    /// A port opened in the sprite.
    pub(crate) async fn open(&mut self, port: u16) {
        if port < FIRST || self.open.len() >= AUTOMATIC || self.open.contains_key(&port) {
            return;
        }
        // One that is in use here stays whose it is.
        let Ok(listener) = bind(port).await else { return };
        let task = tokio::spawn(serve(listener, self.client.clone(), self.name.clone(), port));
        self.open.insert(port, task.abort_handle());
        if self.tells {
            output::progress(&format!("port {port} of {} is now 127.0.0.1:{port}", self.name));
        }
    }

    /// It closed.
    pub(crate) fn close(&mut self, port: u16) {
        if let Some(task) = self.open.remove(&port) {
            task.abort();
        }
    }
}

impl Drop for Forwards {
    fn drop(&mut self) {
        for task in self.open.values() {
            task.abort();
        }
    }
}
