//! Commands and consoles.

use crate::arguments::{Console, Exec, PlaceArguments};
use crate::failure::{Failure, Outcome};
use crate::ports::{Forwards, Remarks};
use crate::terminal::{DETACH, Terminal};
use crate::{files, output};
use bytes::Bytes;
use sprites_api::exec::SessionInfo;
use sprites_api::sprite::{Sprite, Status};
use sprites_backend::client::{Client, ExecEvent, ExecReceiver, ExecRequest, ExecSender, ExecSession};
use std::io::{IsTerminal, stdin};
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, stderr, stdin as async_stdin, stdout};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;

/// How long an endpoint may take to tell how a sprite is.
const LOOK: Duration = Duration::from_secs(5);
/// Most bytes read from the terminal at once.
const READ: usize = 32 << 10;

/// `sprite exec`.
pub(crate) async fn exec(place: &PlaceArguments, wish: Exec) -> Outcome {
    let (client, name) = place.both().await?;
    for pair in &wish.file {
        let (source, dest) = pair
            .rsplit_once(':')
            .ok_or_else(|| Failure::Usage(format!("{pair:?} has not the form SOURCE:DEST")))?;
        files::push_one(&client, &name, source.as_ref(), dest, true).await.map_err(Failure::from)?;
    }
    let mut env = variables(&wish.env)?;
    if wish.tty {
        env.splice(..0, Terminal::environment());
    }
    let (rows, cols) = Terminal::size();
    let request = ExecRequest {
        cmd: wish.command,
        tty: wish.tty,
        rows,
        cols,
        env,
        dir: wish.dir,
        stdin: !wish.no_stdin && !wish.http_post,
        linger: None,
    };
    if wish.http_post {
        let done = client.exec_http(&name, &request).await?;
        write(&mut stdout(), &done.stdout).await?;
        write(&mut stderr(), &done.stderr).await?;
        return Ok(code(done.exit_code));
    }
    let flags = place.flags(&name);
    let remarks = if wish.tty { Remarks::kept() } else { Remarks::at_once() };
    let forwards =
        (!wish.no_port_forward).then(|| Forwards::new(client.clone(), name.clone(), flags.clone(), remarks));
    let (tty, takes_input) = (request.tty, request.stdin);
    let session = client.exec(&name, request).await?;
    let outcome = if tty {
        with_terminal(session, forwards, &flags).await
    } else {
        with_pipes(session, takes_input, forwards).await
    };
    explained(&client, &name, outcome).await
}

/// `sprite console`.
pub(crate) async fn console(place: &PlaceArguments, wish: Console) -> Outcome {
    let (client, name) = place.both().await?;
    let (rows, cols) = Terminal::size();
    let mut env = Terminal::environment();
    if let Ok(shell) = std::env::var("SHELL") {
        // Which shell this person likes; the sprite looks whether it has it.
        env.push(("SHELL".into(), shell));
    }
    let request = ExecRequest {
        cmd: vec!["sprite-console".into()],
        tty: true,
        rows,
        cols,
        env,
        stdin: true,
        ..ExecRequest::default()
    };
    let flags = place.flags(&name);
    let forwards = (!wish.no_port_forward)
        .then(|| Forwards::new(client.clone(), name.clone(), flags.clone(), Remarks::kept()));
    let session = client.exec(&name, request).await?;
    let outcome = with_terminal(session, forwards, &flags).await;
    explained(&client, &name, outcome).await
}

/// `sprite attach`.
pub(crate) async fn attach(place: &PlaceArguments, id: &str) -> Outcome {
    let (client, name) = place.both().await?;
    let known = client.sessions(&name).await?.into_iter().find(|session| session.id == id);
    let known = known.ok_or_else(|| {
        Failure::Other(format!("session not found: {id}; `sprite sessions list` tells which there are"))
    })?;
    let size = known.tty.then(Terminal::size);
    let session = client.attach(&name, id, size).await?;
    let outcome = if known.tty {
        with_terminal(session, None, &place.flags(&name)).await
    } else {
        with_pipes(session, true, None).await
    };
    explained(&client, &name, outcome).await
}

/// Of a connection that ended too early, why: the sprite may be asleep for a reason that is told.
async fn explained(client: &Client, name: &str, outcome: Outcome) -> Outcome {
    let Err(Failure::CutOff(why)) = outcome else { return outcome };
    Err(Failure::CutOff(match timeout(LOOK, client.get(name)).await {
        Ok(Ok(Sprite { status, reason: Some(reason), .. })) if status != Status::Running => {
            format!("{why}; {name} is {}: {reason}", status.as_str())
        }
        _ => why,
    }))
}

fn variables(given: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let pairs = given.iter().flat_map(|text| text.split(',')).filter(|pair| !pair.is_empty());
    let pair = |text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Failure::Usage(format!("{text:?} has not the form NAME=VALUE"))),
    };
    pairs.map(pair).collect()
}

/// A session on pipes: input, output, signals, the code to end with.
async fn with_pipes(session: ExecSession, takes_input: bool, mut forwards: Option<Forwards>) -> Outcome {
    let (sender, mut receiver) = session.split();
    if takes_input {
        let sender = sender.clone();
        tokio::spawn(async move {
            let mut input = async_stdin();
            let mut buffer = vec![0; READ];
            while let Ok(count @ 1..) = input.read(&mut buffer).await {
                if sender.input(Bytes::copy_from_slice(&buffer[..count])).await.is_err() {
                    return;
                }
            }
            // The session may be over.
            let _ = sender.eof();
        });
    }
    let failed = |error| Failure::io("watch", "signals")(error);
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupted = false;
    loop {
        let event = tokio::select! {
            event = receiver.next() => event,
            _ = interrupt.recv() => {
                // The second time it is meant for this program.
                if std::mem::replace(&mut interrupted, true) {
                    return Ok(ExitCode::from(130));
                }
                let _ = sender.signal("INT");
                continue;
            }
            _ = terminate.recv() => {
                let _ = sender.signal("TERM");
                continue;
            }
        };
        match event {
            Some(ExecEvent::Stdout(bytes)) => {
                if write(&mut stdout(), &bytes).await.is_err() {
                    // Nobody reads any more, as with any program in a pipe.
                    let _ = sender.signal("PIPE");
                    return Ok(ExitCode::from(141));
                }
            }
            Some(ExecEvent::Stderr(bytes)) => write(&mut stderr(), &bytes).await?,
            Some(ExecEvent::Exit(exit)) => return Ok(code(exit)),
            Some(ExecEvent::Port { open, event }) => port(&mut forwards, open, event.port).await,
            Some(ExecEvent::Error(text)) => output::remark(&format!("sprite: {text}")),
            Some(ExecEvent::Info(_)) => {}
            Some(ExecEvent::Closed) | None => return Err(cut_off(None)),
        }
    }
}

/// The connection ended before the command did, for this reason if one was heard that has not been told yet.
fn cut_off(why: Option<String>) -> Failure {
    let why = why.unwrap_or_else(|| "the connection ended before the command did".into());
    Failure::CutOff(format!("{why}; it may still run, see `sprite sessions list`"))
}

async fn port(forwards: &mut Option<Forwards>, open: bool, port: u16) {
    match forwards {
        Some(forwards) if open => forwards.open(port).await,
        Some(forwards) => forwards.close(port),
        None => {}
    }
}

/// How a console was left.
enum Left {
    /// Its program ended.
    Ended(i32),
    /// By the key.
    Detached,
    /// By a signal.
    Told,
    /// The connection ended, for this reason if one was told.
    CutOff(Option<String>),
}

/// A session on this terminal; `flags` lead to its sprite.
async fn with_terminal(session: ExecSession, mut forwards: Option<Forwards>, flags: &str) -> Outcome {
    let terminal = Terminal::take()?;
    let (sender, mut receiver) = session.split();
    let mut info = SessionInfo::default();
    let left = talk(&sender, &mut receiver, &mut info, &mut forwards).await;
    drop(terminal);
    if matches!(left, Ok(Left::Detached)) {
        // The cursor stands behind whatever the program showed last.
        output::remark("");
    }
    if let Some(forwards) = &forwards {
        forwards.release();
    }
    match left? {
        Left::Ended(exit) => Ok(code(exit)),
        Left::Detached => {
            sender.detach();
            output::remark(&format!(
                "Left running; `sprite attach {} {flags}` comes back to it.",
                info.session_id
            ));
            Ok(ExitCode::SUCCESS)
        }
        Left::Told => {
            sender.detach();
            Ok(ExitCode::from(143))
        }
        Left::CutOff(why) => Err(cut_off(why)),
    }
}

async fn talk(
    sender: &ExecSender,
    receiver: &mut ExecReceiver,
    info: &mut SessionInfo,
    forwards: &mut Option<Forwards>,
) -> Result<Left, Failure> {
    let failed = |error| Failure::io("watch", "signals")(error);
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut input = async_stdin();
    let mut buffer = vec![0; READ];
    let mut reads = stdin().is_terminal();
    let mut said = None;
    loop {
        tokio::select! {
            event = receiver.next() => match event {
                Some(ExecEvent::Stdout(bytes) | ExecEvent::Stderr(bytes)) => write(&mut stdout(), &bytes).await?,
                Some(ExecEvent::Exit(exit)) => return Ok(Left::Ended(exit)),
                Some(ExecEvent::Info(told)) => *info = told,
                Some(ExecEvent::Port { open, event }) => port(forwards, open, event.port).await,
                // Over a screen that a program draws nothing is said; if it is the end, it is told then.
                Some(ExecEvent::Error(why)) => said = Some(why),
                Some(ExecEvent::Closed) | None => return Ok(Left::CutOff(said)),
            },
            count = input.read(&mut buffer), if reads => match count {
                Ok(count @ 1..) => {
                    let bytes = &buffer[..count];
                    let end = bytes.iter().position(|byte| *byte == DETACH);
                    let typed = Bytes::copy_from_slice(&bytes[..end.unwrap_or(count)]);
                    if !typed.is_empty() && sender.input(typed).await.is_err() {
                        return Ok(Left::CutOff(said));
                    }
                    if end.is_some() {
                        return Ok(Left::Detached);
                    }
                }
                Ok(0) | Err(_) => reads = false,
            },
            _ = resized.recv() => {
                let (rows, cols) = Terminal::size();
                // The next one counts.
                let _ = sender.resize(rows, cols);
            }
            _ = terminate.recv() => return Ok(Left::Told),
            _ = hangup.recv() => return Ok(Left::Told),
        }
    }
}

async fn write(to: &mut (impl AsyncWriteExt + Unpin), bytes: &[u8]) -> Result<(), Failure> {
    let written = async {
        to.write_all(bytes).await?;
        to.flush().await
    };
    written.await.map_err(Failure::io("write to", "the output"))
}

fn code(exit: i32) -> ExitCode {
    ExitCode::from(u8::try_from(exit).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_in_one_word_or_several() {
        let read =
            |given: &[&str]| variables(&given.iter().map(|text| text.to_string()).collect::<Vec<_>>()).ok();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(read(&["A=1,B=x=y", "C="]), Some(vec![pair("A", "1"), pair("B", "x=y"), pair("C", "")]));
        assert_eq!(read(&["A"]), None);
        assert_eq!(read(&["=1"]), None);
    }
}
