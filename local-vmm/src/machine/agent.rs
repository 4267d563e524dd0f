//! Calls to the agent inside, each with a deadline: the agent belongs to the guest, and a guest may be silent.

use crate::MachineSpec;
use crate::devices::vsock::Vsock;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sprites_api::agent::{Health, Quiesce, Quiesced, SEED, Wake};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most bytes of an answer.
const MAX_ANSWER: usize = 64 << 10;

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentError {
    /// No answer in time.
    #[error("the agent inside does not answer {0}; the sprite may be overloaded or broken inside")]
    Silent(&'static str),
    /// The connection broke.
    #[error("the connection to the agent broke during {call}: {why}")]
    Broken {
        /// Which call.
        call: &'static str,
        /// What happened.
        why: String,
    },
    /// It said no.
    #[error("the agent refuses {call} ({status})")]
    Refused {
        /// Which call.
        call: &'static str,
        /// Its status.
        status: StatusCode,
    },
}

impl AgentError {
    /// Whether it said nothing at all.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, Self::Silent(_))
    }

    fn broken(call: &'static str) -> impl Fn(String) -> Self {
        move |why| Self::Broken { call, why }
    }
}

/// The way to the agent. Each call has a connection of its own: one that was kept would be closed by the agent after a minute of silence, which would
/// show only in the call for which it was kept, and a checkpoint or a stop must not fail for that.
pub(super) struct Agent {
    sockets: Arc<Vsock>,
    /// One call at a time.
    runtime: Mutex<tokio::runtime::Runtime>,
}

impl Agent {
    pub(super) fn new(sockets: Arc<Vsock>) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { sockets, runtime: Mutex::new(runtime) })
    }

    pub(super) fn health(&self, deadline: Duration) -> Result<Health, AgentError> {
        self.json("health", Method::GET, Bytes::new(), deadline)
    }

    /// Brings the file system inside to rest, has the disk's bell rung, and lets writers go on.
    pub(super) fn quiesce(&self, word: String, deadline: Duration) -> Result<Quiesced, AgentError> {
        self.json("quiesce", Method::POST, encode(&Quiesce { word }), deadline)
    }

    /// Tells a machine that stood still the time, gives it fresh randomness, and tells it who it is and what its network has when it may have been
    /// another.
    pub(super) fn wake(&self, now_is: Option<&MachineSpec>, deadline: Duration) -> Result<(), AgentError> {
        let mut seed = [0; SEED];
        crate::random::fill(&mut seed);
        let seed = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        let body = encode(&Wake {
            now: sprites_api::Time::now(),
            seed,
            identity: now_is.map(MachineSpec::identity),
            ipv6: now_is.map(MachineSpec::has_ipv6),
        });
        self.call("wake", Method::POST, body, deadline).map(drop)
    }

    pub(super) fn shutdown(&self, deadline: Duration) -> Result<(), AgentError> {
        self.call("shutdown", Method::POST, Bytes::new(), deadline).map(drop)
    }

    fn json<T: DeserializeOwned>(
        &self,
        call: &'static str,
        method: Method,
        body: Bytes,
        deadline: Duration,
    ) -> Result<T, AgentError> {
        let answer = self.call(call, method, body, deadline)?;
        serde_json::from_slice(&answer).map_err(|error| AgentError::broken(call)(error.to_string()))
    }

    fn call(
        &self,
        call: &'static str,
        method: Method,
        body: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, AgentError> {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        runtime.block_on(async {
            match tokio::time::timeout(deadline, exchange(&self.sockets, call, method, body)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(AgentError::Silent(call)),
            }
        })
    }
}

async fn exchange(
    sockets: &Vsock,
    call: &'static str,
    method: Method,
    body: Bytes,
) -> Result<Bytes, AgentError> {
    let broken = AgentError::broken(call);
    let stream = sockets.connect().map_err(|error| broken(error.to_string()))?;
    stream.set_nonblocking(true).map_err(|error| broken(error.to_string()))?;
    let stream = tokio::net::UnixStream::from_std(stream).map_err(|error| broken(error.to_string()))?;
    let (mut sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(|error| broken(error.to_string()))?;
    let request = Request::builder()
        .method(method)
        .uri(format!("/v1/agent/{call}"))
        .header("host", "agent")
        .header("content-type", "application/json")
        .body(Full::new(body))
        .map_err(|error| broken(error.to_string()))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|error| broken(error.to_string()))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER)
            .collect()
            .await
            .map_err(|error| broken(error.to_string()))?;
        if status.is_success() { Ok(body.to_bytes()) } else { Err(AgentError::Refused { call, status }) }
    };
    // Together, and both over with the call: nobody drives a connection between two calls.
    let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
    let mut stands = true;
    loop {
        tokio::select! {
            outcome = &mut exchange => return outcome,
            _ = &mut connection, if stands => stands = false,
        }
    }
}

fn encode(body: &impl Serialize) -> Bytes {
    // These are plain structures of numbers and text, which always have a JSON form.
    serde_json::to_vec(body).unwrap_or_default().into()
}
