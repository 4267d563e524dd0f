//! Make, list, restore, delete.

use crate::arguments::{Checkpoint as Wish, PlaceArguments, Restore};
use crate::failure::{Failure, Outcome};
use crate::{output, sprites};
use futures::StreamExt;
use sprites_api::checkpoint::{Checkpoint, CreateCheckpoint, ProgressLine};
use sprites_backend::client::Lines;
use std::io::{IsTerminal, stdin};
use std::process::ExitCode;

pub(crate) async fn checkpoint(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.both().await?;
    match wish {
        Wish::Create { comment, memory } => {
            let wish = CreateCheckpoint { comment, memory };
            output::progress(&format!("Making a checkpoint of {name} ..."));
            let said = follow(client.checkpoint(&name, &wish)).await?;
            // Details and the good end are what is printed; a warning would be lost with them.
            said.iter().filter(|line| line.starts_with("Warning")).for_each(|line| output::remark(line));
            let id = said.iter().find_map(|line| line.trim().strip_prefix("ID: ").map(str::to_owned));
            output::line(&id.unwrap_or_else(|| "checkpoint created".into()));
        }
        Wish::List { history, include_auto, format } => {
            let mut all = client.checkpoints(&name).await?;
            all.retain(|one| include_auto || !one.is_auto);
            if let Some(line) = history {
                all.retain(|one| {
                    one.id == line || one.history.as_ref().is_some_and(|ids| ids.contains(&line))
                });
            }
            if format.json {
                output::json(&all);
                return Ok(ExitCode::SUCCESS);
            }
            let row = |one: Checkpoint| {
                [
                    one.id,
                    output::time(Some(one.create_time)),
                    one.source_id.unwrap_or_else(|| "-".into()),
                    one.comment.unwrap_or_default(),
                ]
            };
            output::table(format, ["id", "created", "from", "comment"], all.into_iter().map(row).collect());
        }
        Wish::Info { id, format } => {
            let found = client.checkpoints(&name).await?.into_iter().find(|one| one.id == id);
            let one = found.ok_or_else(|| not_found(&id))?;
            if format.json {
                output::json(&one);
            } else {
                output::line(&format!("ID:       {}", one.id));
                output::line(&format!("Created:  {}", output::time(Some(one.create_time))));
                output::line(&format!("From:     {}", one.source_id.as_deref().unwrap_or("-")));
                output::line(&format!("Comment:  {}", one.comment.as_deref().unwrap_or("-")));
            }
        }
        Wish::Delete { id, force } => {
            // Scripts written for the original, which asks nobody, go on as they did.
            if !force && stdin().is_terminal() {
                // One that is not there needs no question.
                client
                    .checkpoints(&name)
                    .await?
                    .iter()
                    .find(|one| one.id == id)
                    .ok_or_else(|| not_found(&id))?;
                let question = format!("Delete checkpoint {id} of {name}? There is no way back to it.");
                if !sprites::agreed(&question)? {
                    output::remark("Nothing was deleted.");
                    return Ok(ExitCode::FAILURE);
                }
            }
            client.delete_checkpoint(&name, &id).await?;
            output::line(&format!("Deleted {id}"));
        }
        Wish::Restore(wish) => return restore(place, wish).await,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn restore(place: &PlaceArguments, wish: Restore) -> Outcome {
    let (client, name) = place.both().await?;
    output::progress(&format!("Taking {name} back to {} ...", wish.id));
    let said = follow(client.restore(&name, &wish.id, wish.memory)).await?;
    // How to undo it, where that is told.
    said.iter().filter(|line| line.contains("is kept as")).for_each(|line| output::progress(line));
    output::line(&format!("Restored {}", wish.id));
    Ok(ExitCode::SUCCESS)
}

fn not_found(id: &str) -> Failure {
    Failure::Other(format!("checkpoint not found: {id}; `sprite checkpoint list` tells which there are"))
}

/// What is told while it is done.
async fn follow(mut lines: Lines<ProgressLine>) -> Result<Vec<String>, Failure> {
    let mut said = Vec::new();
    while let Some(line) = lines.next().await {
        let line = line?;
        if line.kind == "error" {
            let why = line.error.or(line.data).unwrap_or_else(|| "it failed and did not say why".into());
            return Err(Failure::Other(why));
        }
        said.push(line.data.unwrap_or_default());
    }
    Ok(said)
}
