//! Make, list, destroy, use, look, set.

use crate::arguments::{Auth, Config, Console, Create, Destroy, Format, List, PlaceArguments, Url};
use crate::failure::{Failure, Outcome};
use crate::place::{self, Chosen};
use crate::{exec, output};
use futures::StreamExt;
use sprites_api::sprite::{Config as Size, CreateSprite, Sprite, UpdateSprite, UpdateUrlSettings};
use std::env;
use std::io::{BufRead, IsTerminal, Write, stdin, stdout};
use std::process::ExitCode;

pub(crate) async fn create(place: &PlaceArguments, wish: Create) -> Outcome {
    let Create { name, skip_console, label, memory, cpus, format } = wish;
    let name = match name.or_else(|| place.sprite.clone()) {
        Some(name) => name,
        None => ask("Name of the sprite: ")?,
    };
    let size = Size { ram_mb: memory, cpus, ..Size::default() };
    let wanted = size.clone();
    let wish = CreateSprite {
        name,
        labels: (!label.is_empty()).then_some(label),
        config: (size != Size::default()).then_some(size),
        ..CreateSprite::default()
    };
    let made = place.client().await?.create(&wish).await?;
    if format.json {
        output::json(&made);
    } else {
        output::line(&format!("Created {}", made.name));
    }
    if let Some(got) = made.config.as_ref().and_then(|got| other_size(&wanted, got)) {
        output::remark(&format!("{} has {got}: that is what this endpoint gives", made.name));
    }
    // A console is for somebody who sits there.
    if skip_console || format.json || !stdin().is_terminal() || !stdout().is_terminal() {
        return Ok(ExitCode::SUCCESS);
    }
    let place = PlaceArguments { sprite: Some(made.name), ..place.clone() };
    exec::console(&place, Console::default()).await
}

/// What a sprite got where it is not what was asked for, in words.
fn other_size(wanted: &Size, got: &Size) -> Option<String> {
    let told = |wanted: Option<u32>, got: Option<u32>, unit: &str| {
        let (wanted, got) = (wanted?, got?);
        (wanted != got).then(|| format!("{got} {unit} instead of {wanted}"))
    };
    let parts = [told(wanted.cpus, got.cpus, "CPUs"), told(wanted.ram_mb, got.ram_mb, "MiB of memory")];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" and "))
}

pub(crate) async fn list(place: &PlaceArguments, wish: List) -> Outcome {
    let client = place.client().await?;
    let List { prefix, watch, format } = wish;
    if watch {
        let mut lines = client.watch();
        while let Some(line) = lines.next().await {
            let line = line?;
            let Some(name) = line.name.clone().filter(|name| name.starts_with(&prefix)) else { continue };
            if format.json {
                output::json_line(&line);
            } else {
                let status = line.status.map_or("deleted", |status| status.as_str());
                output::row(&[output::time(line.timestamp), name, status.to_owned()]);
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut all = client.list_sprites().await?;
    all.retain(|sprite| sprite.name.starts_with(&prefix));
    if format.json {
        output::json(&all);
        return Ok(ExitCode::SUCCESS);
    }
    let row = |sprite: Sprite| {
        [
            sprite.name,
            sprite.status.as_str().to_owned(),
            output::time(sprite.created_at),
            output::time(sprite.last_running_at),
            sprite.labels.join(","),
        ]
    };
    output::table(
        format,
        ["name", "status", "created", "last running", "labels"],
        all.into_iter().map(row).collect(),
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn destroy(place: &PlaceArguments, wish: Destroy) -> Outcome {
    let mut names = Vec::new();
    for name in wish.names {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        names.push(place.sprite()?);
    }
    let client = place.client().await?;
    // One that is not there needs no question, and may mean that another is meant too.
    for name in &names {
        client.get(name).await?;
    }
    let all = names.join(", ");
    if !wish.force {
        if !stdin().is_terminal() {
            return Err(Failure::Usage(format!("destroying {all} is for ever; say so with --force")));
        }
        let (disks, one) = if names.len() == 1 { ("its disk", "") } else { ("their disks", "all of them, ") };
        if !agreed(&format!("Destroy {all}, {one}with {disks} and all checkpoints? There is no way back."))? {
            output::remark("Nothing was destroyed.");
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut well = true;
    for name in &names {
        match client.delete(name).await {
            Ok(()) => output::line(&format!("Destroyed {name}")),
            Err(error) if names.len() == 1 => return Err(error.into()),
            // The others were meant as well.
            Err(error) => {
                well = false;
                output::remark(&format!("sprite: {name} is not destroyed: {error}"));
            }
        }
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(crate) async fn choose(place: &PlaceArguments, name: Option<String>, unset: bool) -> Outcome {
    let here = env::current_dir().map_err(Failure::io("find", "this folder"))?;
    if unset {
        match place::chosen(&here) {
            Some((path, _)) => {
                std::fs::remove_file(&path).map_err(Failure::io("remove", path.display()))?;
                output::line(&format!("Removed {}", path.display()));
            }
            None => output::line("No sprite is chosen here"),
        }
        return Ok(ExitCode::SUCCESS);
    }
    let client = place.client().await?;
    let name = match name.or_else(|| place.sprite.clone()) {
        Some(name) => client.get(&name).await?.name,
        None => {
            let all = client.list_sprites().await?;
            for (number, sprite) in all.iter().enumerate() {
                output::line(&format!("{:>3}  {}", number + 1, sprite.name));
            }
            let said = ask("Number or name: ")?;
            let by_number = said.parse::<usize>().ok().and_then(|number| all.get(number.checked_sub(1)?));
            match by_number.or_else(|| all.iter().find(|sprite| sprite.name == said)) {
                Some(sprite) => sprite.name.clone(),
                None => return Err(Failure::Usage(format!("there is no sprite {said:?}"))),
            }
        }
    };
    let chosen = Chosen { organization: place.org.clone().unwrap_or_default(), sprite: name.clone() };
    let path = place::choose(&here, &chosen)?;
    output::line(&format!("Commands here now mean {name} ({})", path.display()));
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn info(place: &PlaceArguments, format: Format) -> Outcome {
    let (client, name) = place.both().await?;
    let sprite = client.get(&name).await?;
    if format.json {
        output::json(&sprite);
        return Ok(ExitCode::SUCCESS);
    }
    let auth = sprite.url_settings.as_ref().map_or_else(|| "-".to_owned(), |settings| settings.auth.clone());
    for (head, value) in [
        ("Name", sprite.name.clone()),
        ("Id", sprite.id.clone()),
        ("Status", sprite.status.as_str().to_owned()),
        ("URL", sprite.url.clone().unwrap_or_else(|| "-".into())),
        ("Auth", auth),
        ("Labels", sprite.labels.join(", ")),
        ("Created", output::time(sprite.created_at)),
        ("Last running", output::time(sprite.last_running_at)),
        ("Failure", sprite.failure.clone().unwrap_or_default()),
    ] {
        if !value.is_empty() {
            output::line(&format!("{head:<14}{value}"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn url(place: &PlaceArguments, command: Option<Url>, format: Format) -> Outcome {
    let (client, name) = place.both().await?;
    let sprite = match command {
        None => client.get(&name).await?,
        Some(Url::Update { auth }) => {
            let patch = UpdateUrlSettings { auth: Some(word(auth).into()), ..UpdateUrlSettings::default() };
            client
                .update(&name, &UpdateSprite { url_settings: Some(patch), ..UpdateSprite::default() })
                .await?
        }
    };
    show_url(&sprite, format);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn config(place: &PlaceArguments, command: Config) -> Outcome {
    let Config::Update { url_auth, private_access, label, clear_labels } = command;
    let patch = UpdateUrlSettings { auth: url_auth.map(|auth| word(auth).into()), private_access };
    let wish = UpdateSprite {
        url_settings: (patch != UpdateUrlSettings::default()).then_some(patch),
        labels: (!label.is_empty()).then_some(label),
        clear_labels: clear_labels.then_some(true),
    };
    if wish.url_settings.is_none() && wish.labels.is_none() && wish.clear_labels.is_none() {
        return Err(Failure::Usage(
            "nothing to change is given; give --url-auth, --private-access, --label or --clear-labels".into(),
        ));
    }
    let (client, name) = place.both().await?;
    let before = settings(&client.get(&name).await?);
    let after = settings(&client.update(&name, &wish).await?);
    let mut changed = false;
    for ((head, old), (_, new)) in before.into_iter().zip(after) {
        if old != new {
            changed = true;
            output::line(&format!("{head}: {new} (was {old})"));
        }
    }
    if !changed {
        output::line(&format!("Nothing changed: {name} has these settings already"));
    }
    Ok(ExitCode::SUCCESS)
}

/// What `config update` can change, in words.
fn settings(sprite: &Sprite) -> [(&'static str, String); 3] {
    let url = sprite.url_settings.clone().unwrap_or_default();
    let labels = if sprite.labels.is_empty() { "none".to_owned() } else { sprite.labels.join(", ") };
    let access = url.private_access.unwrap_or_else(|| "not set".into());
    [("Auth", url.auth), ("Private access", access), ("Labels", labels)]
}

fn word(auth: Auth) -> &'static str {
    match auth {
        Auth::Public => "public",
        Auth::Sprite => "sprite",
    }
}

fn show_url(sprite: &Sprite, format: Format) {
    let url = sprite.url.clone().unwrap_or_default();
    let auth = sprite.url_settings.as_ref().map_or("sprite", |settings| &settings.auth);
    if format.json {
        output::json(&serde_json::json!({ "url": url, "auth": auth }));
    } else {
        output::line(&format!("URL: {url}"));
        output::line(&format!("Auth: {auth}"));
    }
}

/// Asks the person at the terminal for a yes.
pub(crate) fn agreed(question: &str) -> Result<bool, Failure> {
    Ok(matches!(ask(&format!("{question} [y/N] "))?.as_str(), "y" | "Y" | "yes"))
}

/// Asks the person at the terminal.
fn ask(question: &str) -> Result<String, Failure> {
    if !stdin().is_terminal() {
        return Err(Failure::Usage(format!(
            "{} must be given, because nobody can be asked here",
            question.trim_end_matches([':', ' '])
        )));
    }
    let mut out = std::io::stderr();
    let asked = write!(out, "{question}").and_then(|()| out.flush());
    asked.map_err(Failure::io("ask at", "the terminal"))?;
    let mut said = String::new();
    stdin().lock().read_line(&mut said).map_err(Failure::io("read from", "the terminal"))?;
    Ok(said.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sprite_got_instead_is_told() {
        let size = |cpus, ram_mb| Size { cpus, ram_mb, ..Size::default() };
        assert_eq!(other_size(&size(Some(2), Some(512)), &size(Some(2), Some(512))), None);
        assert_eq!(other_size(&size(None, None), &size(Some(2), Some(512))), None);
        // An endpoint that does not say has nothing to be held against.
        assert_eq!(other_size(&size(Some(2), None), &size(None, None)), None);
        let told = other_size(&size(Some(64), Some(1)), &size(Some(2), Some(256))).unwrap();
        assert_eq!(told, "2 CPUs instead of 64 and 256 MiB of memory instead of 1");
    }
}
