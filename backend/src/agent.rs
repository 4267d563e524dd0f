//! Calls to the agent inside a machine. What it answers is a guest's word.

use crate::lock::locked;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use local_vmm::MachineHandle;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long it may take to take what it is told.
const TELL: Duration = Duration::from_secs(20);

/// Speaks HTTP on a connection to it. Given up, a request takes the connection with it.
pub(crate) async fn open<B>(stream: UnixStream) -> hyper::Result<SendRequest<B>>
where
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        // Its end shows in the answers.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

/// Asks for `/v1/agent/{what}` as a connection of that protocol. The caller sets the deadline.
pub(crate) async fn upgrade(
    stream: UnixStream,
    what: &str,
    protocol: &str,
) -> Result<Response<Incoming>, Box<dyn Error + Send + Sync>> {
    let request = request(what).header(header::CONNECTION, "upgrade").header(header::UPGRADE, protocol);
    let mut sender = open(stream).await?;
    Ok(sender.send_request(request.body(Empty::<Bytes>::new())?).await?)
}

fn request(what: &str) -> Builder {
    Request::get(format!("/v1/agent/{what}")).header(header::HOST, "agent")
}

/// A connection for questions that are asked again and again. It is kept between them, and made anew when it has ended, as it does with its machine.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<Option<SendRequest<Empty<Bytes>>>>);

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
            None => open(machine.connect().await.ok()?).await.ok()?,
        };
        let answer = sender.send_request(request(what).body(Empty::new()).ok()?).await.ok()?;
        let body = Limited::new(answer.into_body(), most).collect().await.ok()?;
        *self.lock() = Some(sender);
        serde_json::from_slice(&body.to_bytes()).ok()
    }

    fn lock(&self) -> MutexGuard<'_, Option<SendRequest<Empty<Bytes>>>> {
        locked(&self.0)
    }
}

/// Tells it something, at `/v1/agent/{what}`. The error is a part of a sentence.
pub(crate) async fn tell(machine: &MachineHandle, what: &str, body: &impl Serialize) -> Result<(), String> {
    let body = serde_json::to_vec(body).map_err(|error| error.to_string())?;
    let told = async {
        let request = request(what).method("PUT").header(header::CONTENT_TYPE, "application/json");
        let mut sender = open(machine.connect().await?).await?;
        let answer = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(answer.status())
    };
    match timeout(TELL, told).await {
        Ok(Ok(status)) if status.is_success() => Ok(()),
        Ok(Ok(StatusCode::NOT_FOUND)) => Err("its agent is too old for it".to_owned()),
        Ok(Ok(status)) => Err(format!("its agent answers {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("its agent does not answer within {} s", TELL.as_secs())),
    }
}
