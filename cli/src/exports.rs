//! Sprites as files: written, read, kept in object stores.

use crate::arguments::{Export as Wish, Format, PlaceArguments};
use crate::failure::{Failure, Outcome};
use crate::files::{PIECE, STANDARD, to_output};
use crate::output::{self, Moving};
use sprites_api::sprite::Sprite;
use sprites_backend::client::ExportWish;
use sprites_backend::depot::{self, Listed, Place};
use std::io::{IsTerminal, stdin, stdout};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

/// To end with when somebody broke it off, as after the signal for it.
const INTERRUPTED: i32 = 130;

pub(crate) async fn export(place: &PlaceArguments, wish: Wish) -> Outcome {
    let (client, name) = place.named(wish.name).both().await?;
    let what =
        ExportWish { checkpoint: wish.checkpoint, since: wish.since, without_image: wish.without_image };
    if wish.to.as_deref() == Some(STANDARD) {
        if stdout().is_terminal() {
            return Err(Failure::Usage(
                "an export is not for a terminal; send it to a file or a program".into(),
            ));
        }
        let export = client.export(&name, &what).await?;
        return to_output(export.bytes, Failure::from).await;
    }
    let to = Place::parse(wish.to.as_deref().unwrap_or(".")).map_err(Failure::Usage)?;
    let (moving, cancel) = (Moving::new(), interrupted());
    let stored = depot::export(&client, &name, &what, &to, wish.force, &cancel, |done| {
        moving.tell(done, None);
    });
    let stored = stored.await;
    moving.end();
    let stored = stored?;
    output::line(&stored.place.to_string());
    output::progress(&format!("{name} at {} ({})", stored.checkpoint, output::bytes(stored.bytes)));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn import(
    place: &PlaceArguments,
    from: &str,
    name: Option<String>,
    format: Format,
) -> Outcome {
    let client = place.client().await?;
    let name = name.as_deref();
    let made: Sprite = if from == STANDARD {
        if stdin().is_terminal() {
            return Err(Failure::Usage("an export does not come from a terminal; name a file".into()));
        }
        client.import(name, None, ReaderStream::with_capacity(tokio::io::stdin(), PIECE)).await?
    } else {
        let from = Place::parse(from).map_err(Failure::Usage)?;
        let (moving, cancel) = (Arc::new(Moving::new()), interrupted());
        let told = Arc::clone(&moving);
        let made = depot::import(&client, &from, name, &cancel, move |done, all| told.tell(done, all));
        let made = made.await;
        moving.end();
        made?
    };
    if format.json {
        output::json(&made);
    } else {
        output::line(&format!("Made {}", made.name));
    }
    Ok(ExitCode::SUCCESS)
}

/// `sprite exports`.
pub(crate) async fn list(at: &str, format: Format) -> Outcome {
    let listed = depot::list(&Place::parse(at).map_err(Failure::Usage)?).await?;
    if format.json {
        output::json(&listed);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |one: Listed| {
        let word = |word: Option<String>| word.unwrap_or_else(|| "-".into());
        [
            word(one.name),
            word(one.checkpoint),
            output::time(Some(one.stored)),
            output::bytes(one.bytes),
            one.address,
        ]
    };
    let heads = ["name", "checkpoint", "stored", "size", "address"];
    output::table(format, heads, listed.into_iter().map(row).collect());
    Ok(ExitCode::SUCCESS)
}

/// Is cancelled when somebody breaks this off, so that what was begun elsewhere is taken back first. Who cannot wait says so again.
fn interrupted() -> CancellationToken {
    let token = CancellationToken::new();
    let told = token.clone();
    // A terminal that is closed and somebody who ends programs want the same as the key; whoever wants it twice does not wait for order.
    tokio::spawn(async move {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else { return };
        for time in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            if time > 0 {
                std::process::exit(INTERRUPTED);
            }
            told.cancel();
        }
    });
    token
}
