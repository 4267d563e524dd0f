//! Files of checkpoints: what changed between two, one file's contents; what disks take.

use crate::arguments::{Cat, Diff as Wish, Format, PlaceArguments};
use crate::failure::{Failure, Outcome};
use crate::files::to_output;
use crate::output;
use sprites_api::state::{Aspect, Change, Changed, Contents, Diff, FileDiff, Seen, Side};
use sprites_api::storage::SpriteStorage;
use sprites_backend::client::Client;
use std::process::ExitCode;

/// What is different, as `diff` does it: the code is 1 when anything is.
pub(crate) async fn diff(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.both().await?;
    if let Some(path) = &wish.path {
        return file(&client, &name, &wish, path).await;
    }
    let diff = client.diff(&name, &wish.from, &wish.to).await?;
    if wish.format.json {
        output::json(&diff);
    } else {
        diff.changes.iter().for_each(|line| output::row(&told(line)));
        sum(&diff);
    }
    let is_same = diff.added + diff.changed + diff.removed == 0 && diff.incomplete.is_none();
    Ok(if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One line for scripts and people: a sign, the size before and after, the path.
fn told(line: &Changed) -> Vec<String> {
    let sign = match line.change {
        Change::Added => '+',
        Change::Changed => '~',
        Change::Removed => '-',
    };
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), output::bytes);
    let aspects: Vec<&str> = line
        .aspects
        .iter()
        .map(|aspect| match aspect {
            Aspect::Contents => "contents",
            Aspect::Target => "target",
            Aspect::Mode => "mode",
            Aspect::Owner => "owner",
            Aspect::Kind => "kind",
        })
        .collect();
    let mut cells = vec![sign.to_string(), size(line.before), size(line.after), line.path.clone()];
    if !aspects.is_empty() {
        cells.push(aspects.join(", "));
    }
    cells
}

fn sum(diff: &Diff) {
    let Diff { added, changed, removed, .. } = diff;
    output::remark(&format!("{added} added, {changed} changed, {removed} removed"));
    let more = (added + changed + removed).saturating_sub(diff.changes.len() as u64);
    if more > 0 {
        output::remark(&format!("{more} of them are not listed"));
    }
    diff.incomplete.iter().for_each(|why| output::remark(why));
    sides(&diff.from, &diff.to);
}

/// What was looked at, where that is not what was asked for.
fn sides(from: &Side, to: &Side) {
    for side in [from, to] {
        if side.at != side.asked {
            output::remark(&format!("{} is kept as {}", side.asked, side.at));
        }
        if side.seen == Seen::AsWritten {
            output::remark(&format!(
                "{} is what stands on the disk; what the sleeping sprite has not written yet is not in it",
                side.asked
            ));
        }
    }
}

async fn file(client: &Client, name: &str, wish: &Wish, path: &str) -> Outcome {
    let diff: FileDiff = client.diff_file(name, &wish.from, &wish.to, path).await?;
    if wish.format.json {
        output::json(&diff);
    } else {
        match diff.contents {
            Contents::Same => {}
            Contents::Text => {
                let (from, to) = (&diff.from.at, &diff.to.at);
                output::line(&format!("--- {from}:{path}"));
                output::line(&format!("+++ {to}:{path}"));
                output::text(diff.unified.trim_end_matches('\n'));
            }
            Contents::Binary => output::line(&format!("Binary files {path} differ")),
            Contents::Large => {
                output::line(&format!("Files {path} differ and are too large to compare by lines"))
            }
        }
        if diff.is_cut {
            output::remark("the comparison is longer and was cut off here");
        }
        sides(&diff.from, &diff.to);
    }
    Ok(if diff.contents == Contents::Same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn cat(place: &PlaceArguments, wish: Cat) -> Outcome {
    let (client, name) = place.both().await?;
    let failed = |error: sprites_backend::client::Error| Failure::from(error);
    to_output(client.read_at(&name, &wish.at, &wish.path, None).await?, failed).await
}

pub(crate) async fn storage(place: &PlaceArguments, format: Format, all: bool) -> Outcome {
    let sprites = if all {
        let storage = place.client().await?.storage().await?;
        if format.json {
            output::json(&storage);
            return Ok(ExitCode::SUCCESS);
        }
        storage.sprites
    } else {
        let (client, name) = place.both().await?;
        let storage = client.storage_of(&name).await?;
        if format.json {
            output::json(&storage);
            return Ok(ExitCode::SUCCESS);
        }
        vec![storage]
    };
    if all {
        let row = |sprite: &SpriteStorage| {
            [
                sprite.name.clone(),
                output::bytes(sprite.stored_bytes),
                output::bytes(sprite.first_bytes),
                sprite.first.len().to_string(),
            ]
        };
        output::table(
            format,
            ["sprite", "stored", "freed by", "checkpoints"],
            sprites.iter().map(row).collect(),
        );
        output::remark(
            "\"freed by\" is what deleting that many automatic checkpoints frees; `sprite storage -s NAME` lists them",
        );
        return Ok(ExitCode::SUCCESS);
    }
    for sprite in &sprites {
        let rows = sprite.checkpoints.iter().map(|one| {
            let word = match (one.is_used, one.is_auto) {
                (true, _) => "in use",
                (false, true) => "first",
                (false, false) => "",
            };
            [
                one.id.clone(),
                output::time(Some(one.create_time)),
                output::bytes(one.frees_bytes),
                word.to_owned(),
            ]
        });
        output::table(format, ["id", "created", "frees", "delete"], rows.collect());
        output::remark(&format!(
            "{} are stored; deleting those marked \"first\" frees at least {}",
            output::bytes(sprite.stored_bytes),
            output::bytes(sprite.first_bytes)
        ));
    }
    Ok(ExitCode::SUCCESS)
}
