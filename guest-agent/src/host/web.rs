//! A connection to the web app inside, for the sprite's URL.

use super::{Shared, upgrade};
use crate::ports::{DialError, dial};
use crate::reply::Refusal;
use axum::extract::Request;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use hyper_util::rt::TokioIo;
use sprites_api::agent::WEB;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Where a web app is looked for when no service has an HTTP port.
const PORT: u16 = 8080;
/// A service gets this long to open its port.
const SERVICE: Duration = Duration::from_secs(10);
/// Anything else gets this long: it may have been started a moment ago.
const OTHER: Duration = Duration::from_secs(2);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);

/// `GET /v1/agent/web`.
pub(super) async fn connect(State(agent): Shared, request: Request) -> Result<Response, Refusal> {
    let service = agent.services.http();
    if let Some((name, _)) = &service {
        agent.services.ensure(name).await?;
    }
    let (port, patience) = service.as_ref().map_or((PORT, OTHER), |(_, port)| (*port, SERVICE));
    let mut app = match patient(port, patience).await {
        Ok(app) => app,
        Err(error) => {
            let message = match &service {
                Some((name, _)) => format!(
                    "the service {name} does not answer on port {port} ({error}); its log tells more: \
                     /.sprite/logs/services/{name}.log"
                ),
                None => format!(
                    "nothing listens on port {port} of this sprite ({error}); start a web app there, or define a \
                     service with an HTTP port"
                ),
            };
            let late = matches!(error, DialError::Late);
            let status = if late { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY };
            return Err(Refusal::new(status, "no_listener", message));
        }
    };
    upgrade(request, WEB, move |connection| async move {
        // Either side may go away at any moment.
        let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(connection), &mut app).await;
    })
}

async fn patient(port: u16, patience: Duration) -> Result<TcpStream, DialError> {
    let deadline = Instant::now() + patience;
    loop {
        match dial("localhost", port).await {
            Err(DialError::Refused(_)) if Instant::now() < deadline => sleep(AGAIN).await,
            done => return done,
        }
    }
}
