//! Short calls to the agent inside a machine. What it answers is a guest's word.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header};
use hyper_util::rt::TokioIo;
use local_vmm::MachineHandle;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// How long it may take to take what it is told.
const TELL: Duration = Duration::from_secs(20);

/// A connection for questions that are asked again and again. It is kept between them, and made anew when it has ended, as it does with its machine.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<Option<SendRequest<Full<Bytes>>>>);

impl Line {
    /// Asks for `/v1/agent/{what}`, for an answer of at most so many bytes. The caller sets the deadline; a question that was given up takes its
    /// connection with it.
    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        machine: &MachineHandle,
        what: &str,
        most: usize,
    ) -> Option<T> {
        let held = self.lock().take().filter(SendRequest::is_ready);
        let mut sender = match held {
            Some(sender) => sender,
            None => {
                let stream = machine.connect().await.ok()?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
                // Its end shows in the answers.
                tokio::spawn(connection);
                sender
            }
        };
        let answer = sender.send_request(request(Method::GET, what, Bytes::new()).ok()?).await.ok()?;
        let body = Limited::new(answer.into_body(), most).collect().await.ok()?;
        *self.lock() = Some(sender);
        serde_json::from_slice(&body.to_bytes()).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Option<SendRequest<Full<Bytes>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn request(method: Method, what: &str, body: Bytes) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    Request::builder()
        .method(method)
        .uri(format!("/v1/agent/{what}"))
        .header(header::HOST, "agent")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
}

/// Tells it something, at `/v1/agent/{what}`. The error is a part of a sentence.
pub(crate) async fn tell(machine: &MachineHandle, what: &str, body: &impl Serialize) -> Result<(), String> {
    let body = serde_json::to_vec(body).map_err(|error| error.to_string())?.into();
    let told = call(machine, Method::PUT, what, body, async |answer: Response<Incoming>| answer.status());
    match timeout(TELL, told).await {
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(StatusCode::NOT_FOUND)) => Err("its agent is too old for it".to_owned()),
        Ok(Ok(status)) => Err(format!("its agent answers {status}")),
        Ok(Err(why)) => Err(why),
        Err(_) => Err(format!("its agent does not answer within {} s", TELL.as_secs())),
    }
}

async fn call<T>(
    machine: &MachineHandle,
    method: Method,
    what: &str,
    body: Bytes,
    then: impl AsyncFnOnce(Response<Incoming>) -> T,
) -> Result<T, String> {
    let failed = |error: hyper::Error| error.to_string();
    let stream = machine.connect().await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = request(method, what, body).map_err(|error| error.to_string())?;
    let exchange = async { Ok(then(sender.send_request(request).await.map_err(failed)?).await) };
    tokio::select! {
        outcome = exchange => outcome,
        ended = connection => Err(ended.err().map_or_else(|| "the connection ended".to_owned(), |e| e.to_string())),
    }
}
