//! Sessions: list, attach, kill.

use crate::arguments::{PlaceArguments, Sessions};
use crate::failure::Outcome;
use crate::{exec, output};
use futures::StreamExt;
use sprites_api::exec::{KillLine, Session};
use std::process::ExitCode;

pub(crate) async fn sessions(place: &PlaceArguments, command: Sessions) -> Outcome {
    match command {
        Sessions::List(format) => {
            let (client, name) = place.both().await?;
            let all = client.sessions(&name).await?;
            if format.json {
                output::json(&all);
                return Ok(ExitCode::SUCCESS);
            }
            let row = |one: Session| {
                let kind = if one.tty { "tty" } else { "pipes" };
                [
                    one.id,
                    kind.to_owned(),
                    output::time(Some(one.created)),
                    output::time(one.last_activity),
                    one.command,
                ]
            };
            output::table(
                format,
                ["id", "kind", "created", "last activity", "command"],
                all.into_iter().map(row).collect(),
            );
            Ok(ExitCode::SUCCESS)
        }
        Sessions::Attach { id } => attach(place, &id).await,
        Sessions::Kill { id, signal } => {
            let (client, name) = place.both().await?;
            let mut lines = client.kill_session(&name, &id, &signal);
            let mut failed = false;
            while let Some(line) = lines.next().await {
                match line? {
                    KillLine::Error { message } => {
                        failed = true;
                        output::remark(&message);
                    }
                    KillLine::Signal { message, .. }
                    | KillLine::Timeout { message }
                    | KillLine::Exited { message }
                    | KillLine::Killed { message } => output::line(&message),
                    KillLine::Complete { .. } => {}
                }
            }
            Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

pub(crate) async fn attach(place: &PlaceArguments, id: &str) -> Outcome {
    exec::attach(place, id).await
}
