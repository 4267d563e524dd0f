//! A command named by a JSON body: `POST /v1/exec` with `{"command": "echo hello"}`, as the website shows it. The shell runs it, and the answer is one
//! object with its output and its exit code.

use super::{Stillborn, start};
use crate::Agent;
use crate::reply::Refusal;
use crate::session::Attachment;
use crate::session::log::Next;
use crate::session::start::Request;
use axum::body::Body;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sprites_api::exec::stream as ids;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Output that is kept of each stream, bytes; the rest is dropped, and the answer says so.
const KEPT: usize = 8 << 20;
/// Bytes taken from a session at once.
const PIECE: usize = 64 << 10;
/// A command that says nothing for so long gets a blank into its answer, so that nobody on the way takes the connection for dead.
const ALIVE: Duration = Duration::from_secs(20);

/// What is to be run.
#[derive(Debug, Deserialize)]
pub(super) struct Wish {
    command: Command,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    dir: Option<String>,
    #[serde(default)]
    stdin: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`command` is a line for the shell or a list of words")]
enum Command {
    /// For the shell.
    Line(String),
    /// A program and its arguments.
    Words(Vec<String>),
}

#[derive(Debug, Default, Serialize)]
struct Output {
    stdout: String,
    stderr: String,
    exit_code: u8,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

/// The wish of a body; the error is a sentence.
pub(super) fn read(body: &[u8]) -> Result<Wish, String> {
    const FORM: &str = "no command is given: the query takes `cmd`, or the body is JSON such as {\"command\": \"echo hello\"}";
    let begins = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if begins != Some(&b'{') {
        return Err(FORM.to_owned());
    }
    serde_json::from_slice(body).map_err(|error| format!("{FORM}; this body is not ({error})"))
}

impl Wish {
    fn request(&self) -> Result<Request, Refusal> {
        let argv = match &self.command {
            Command::Line(line) => vec!["bash".to_owned(), "-c".to_owned(), line.clone()],
            Command::Words(words) if words.is_empty() => return Err(Refusal::bad("`command` is empty")),
            Command::Words(words) => words.clone(),
        };
        let texts = argv.iter().chain(self.env.values()).chain(self.env.keys()).chain(&self.dir);
        if texts.into_iter().any(|text| text.contains('\0')) {
            return Err(Refusal::bad("a program cannot be given a NUL byte"));
        }
        if self.env.keys().any(|key| key.is_empty() || key.contains('=')) {
            return Err(Refusal::bad("the name of a variable is not empty and has no '='"));
        }
        Ok(Request {
            path: argv[0].clone(),
            argv,
            env: self.env.clone().into_iter().collect(),
            dir: self.dir.clone(),
            stdin: self.stdin.is_some(),
            // There is no way back to such a session, so it must not outlive its client.
            linger: Some(Duration::ZERO),
            ..Request::default()
        })
    }
}

/// Runs it.
pub(super) async fn run(agent: &Arc<Agent>, wish: Wish) -> Result<Response, Refusal> {
    let request = wish.request()?;
    let source = match start(agent, request).await? {
        Ok(attachment) => {
            if let Some(input) = wish.stdin {
                let session = attachment.session.clone();
                tokio::spawn(async move {
                    session.write(Bytes::from(input)).await;
                    session.end_input();
                });
            }
            Source::Live(Box::new(attachment), Box::default())
        }
        Err(Stillborn { code, message }) => {
            Source::Over(Output { stderr: format!("{message}\n"), exit_code: code, ..Output::default() })
        }
    };
    let body = Body::from_stream(futures::stream::unfold(Some(source), |source| async {
        let (piece, rest) = source?.next().await;
        Some((Ok::<_, Infallible>(piece), rest))
    }));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

#[derive(Default)]
struct Gathered {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    truncated: bool,
}

enum Source {
    Live(Box<Attachment>, Box<Gathered>),
    Over(Output),
}

impl Source {
    /// The next piece of the answer, and what gives the one after it.
    async fn next(self) -> (Bytes, Option<Self>) {
        let (mut attachment, mut gathered) = match self {
            Self::Live(attachment, gathered) => (attachment, gathered),
            // Plain data with string keys always has a JSON form.
            Self::Over(output) => return (serde_json::to_vec(&output).unwrap_or_default().into(), None),
        };
        loop {
            let exit_code = match tokio::time::timeout(ALIVE, attachment.next(PIECE, true)).await {
                Err(_) => return (Bytes::from_static(b" "), Some(Self::Live(attachment, gathered))),
                Ok(Next::Data(frame)) => {
                    gathered.add(&frame);
                    continue;
                }
                Ok(Next::End(code)) => code,
                Ok(Next::Lost) => {
                    gathered.truncated = true;
                    u8::MAX
                }
            };
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let Gathered { stdout, stderr, truncated } = &*gathered;
            let output =
                Output { stdout: text(stdout), stderr: text(stderr), exit_code, truncated: *truncated };
            return (serde_json::to_vec(&output).unwrap_or_default().into(), None);
        }
    }
}

impl Gathered {
    fn add(&mut self, frame: &[u8]) {
        let Some((id, bytes)) = frame.split_first() else { return };
        let into = if *id == ids::STDERR { &mut self.stderr } else { &mut self.stdout };
        let room = KEPT.saturating_sub(into.len());
        self.truncated |= bytes.len() > room;
        into.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}
