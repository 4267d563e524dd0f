//! Files of a sprite, what changed between two of its states, texts, and what disks take.

use super::text::page;
use super::{filled, geometry};
use crate::model::{Load, Mark, Model};
use crate::number;
use crate::update::shorter;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};
use sprites_api::files::{Entry, FileKind};
use sprites_api::state::{Aspect, Change, Changed, Diff, Seen, Side};
use sprites_api::storage::Storage;
use sprites_backend::client::clean;
use unicode_width::UnicodeWidthStr;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let files = &model.files;
    let now = jiff::Timestamp::now();
    let width = usize::from(geometry::inner(area).width);
    let (title, below, lines): (String, Option<String>, Result<Vec<Line<'static>>, Line<'static>>) =
        match &files.changes {
            Some((from, to, load)) => {
                let title = format!(" changes, {} → {} ", shorter(from), shorter(to));
                match load {
                    Load::Waiting => (title, None, Err(Line::from("Comparing the disks…"))),
                    Load::Failed(why) => (title, None, Err(Line::styled(clean(why), model.colors().bad()))),
                    Load::Ready(diff) if diff.changes.is_empty() && diff.incomplete.is_none() => (
                        title,
                        Some(sum(diff)),
                        Err(Line::styled("Nothing is different.", model.colors().dim())),
                    ),
                    Load::Ready(diff) => {
                        let lines = shown(model, area, diff.changes.len(), |place| {
                            change(model, &diff.changes[place], width)
                        });
                        (title, Some(sum(diff)), Ok(lines))
                    }
                }
            }
            None => {
                let title = format!(" {}, {} ", clean(&files.path), shorter(&files.at));
                match &files.folder {
                    Load::Waiting => (title, None, Err(Line::from("Asking the server…"))),
                    Load::Failed(why) => (title, None, Err(Line::styled(clean(why), model.colors().bad()))),
                    Load::Ready(folder) => {
                        let below = doubt(&files.at, folder.seen);
                        let entries = files.entries();
                        if entries.is_empty() {
                            (title, below, Err(Line::styled("The folder is empty.", model.colors().dim())))
                        } else {
                            (
                                title,
                                below,
                                Ok(shown(model, area, entries.len(), |place| {
                                    entry(model, &entries[place], width, now)
                                })),
                            )
                        }
                    }
                }
            }
        };
    let colors = model.colors();
    let mut block =
        Block::bordered().border_style(colors.border()).title(Span::styled(title, colors.accent()));
    if let Some(below) = below {
        block = block.title_bottom(Span::styled(format!(" {} ", clean(&below)), colors.dim()));
    }
    let text = match lines {
        Ok(lines) => Paragraph::new(lines),
        Err(words) => Paragraph::new(words).wrap(Wrap { trim: true }),
    };
    frame.render_widget(text.block(block), area);
}

/// The lines around the selected one.
fn shown(
    model: &Model,
    area: Rect,
    count: usize,
    line: impl Fn(usize) -> Line<'static>,
) -> Vec<Line<'static>> {
    let height = usize::from(geometry::inner(area).height);
    let chosen = model.files.place.min(count.saturating_sub(1));
    let first = geometry::window(count, height, chosen);
    (first..count.min(first + height))
        .map(
            |place| {
                if place == chosen {
                    line(place).patch_style(model.colors().selection())
                } else {
                    line(place)
                }
            },
        )
        .collect()
}

fn entry(model: &Model, entry: &Entry, width: usize, now: jiff::Timestamp) -> Line<'static> {
    let colors = model.colors();
    let (mark, style) = match entry.kind {
        FileKind::Directory => ("/", colors.accent()),
        FileKind::Symlink => ("@", colors.good()),
        FileKind::File => ("", Style::new()),
    };
    let size = filled(model, if entry.is_dir { String::new() } else { number::bytes(entry.size) });
    let figures = format!(" {:>5} {size:>9} {:>6}", entry.mode, number::age(entry.mod_time, now));
    let room = width.saturating_sub(figures.len());
    let name = number::cut(&format!("{}{mark}", clean(&entry.name)), room);
    let gap = " ".repeat(room.saturating_sub(UnicodeWidthStr::width(name.as_str())));
    Line::from(vec![Span::styled(name, style), Span::raw(gap), Span::styled(figures, colors.dim())])
}

fn change(model: &Model, line: &Changed, width: usize) -> Line<'static> {
    let colors = model.colors();
    let (mark, style) = match line.change {
        Change::Added => ("+ ", colors.good()),
        Change::Changed => ("~ ", colors.warn()),
        Change::Removed => ("- ", colors.bad()),
    };
    let size = |bytes: Option<u64>| bytes.map(number::bytes).unwrap_or_default();
    let sizes = match (line.kind, line.before, line.after) {
        (FileKind::Directory, ..) => String::new(),
        (_, Some(before), Some(after)) if before != after => {
            format!("{} → {}", number::bytes(before), number::bytes(after))
        }
        (_, before, after) => size(after.or(before)),
    };
    let words: Vec<&str> = line
        .aspects
        .iter()
        .filter_map(|aspect| match aspect {
            // That is what a change is, unless it is told otherwise.
            Aspect::Contents => None,
            Aspect::Target => Some("target"),
            Aspect::Mode => Some("mode"),
            Aspect::Owner => Some("owner"),
            Aspect::Kind => Some("kind"),
        })
        .collect();
    let told = format!(" {} {sizes:>22}", words.join(", "));
    let end = if line.kind == FileKind::Directory { "/" } else { "" };
    let room = width.saturating_sub(UnicodeWidthStr::width(told.as_str()) + 2);
    let path = number::cut(&format!("{}{end}", clean(&line.path)), room);
    let gap = " ".repeat(room.saturating_sub(UnicodeWidthStr::width(path.as_str())));
    Line::from(vec![
        Span::styled(mark, style),
        Span::styled(path, style),
        Span::raw(gap),
        Span::styled(told, colors.dim()),
    ])
}

fn sum(diff: &Diff) -> String {
    let Diff { added, changed, removed, .. } = diff;
    let mut text = format!("{added} added, {changed} changed, {removed} removed");
    let more = (added + changed + removed).saturating_sub(diff.changes.len() as u64);
    if more > 0 {
        text.push_str(&format!(", {more} not listed"));
    }
    if let Some(why) = &diff.incomplete {
        text.push_str(&format!("; {why}"));
    }
    for Side { asked, at, seen } in [&diff.from, &diff.to] {
        if at != asked {
            text.push_str(&format!("; the present is kept as {at}"));
        } else if *seen == Seen::AsWritten {
            text.push_str("; as written to the disk so far");
        }
    }
    text
}

/// How far what is shown is what was asked for, where that needs a word.
fn doubt(at: &str, seen: Seen) -> Option<String> {
    match seen {
        Seen::Whole => None,
        Seen::Live => Some("as the sprite tells, which runs".into()),
        Seen::AsWritten => {
            Some(format!("{}: as its disk has it; it sleeps with what it has not written", shorter(at)))
        }
    }
}

/// A text.
pub(super) fn sheet(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let Some(sheet) = &model.sheet else { return };
    let lines = match &sheet.lines {
        Load::Waiting => vec![Line::from("Asking the server…")],
        Load::Failed(why) => vec![Line::styled(clean(why), colors.bad())],
        Load::Ready(lines) => {
            let style = |mark: Mark| match mark {
                Mark::Plain => Style::new(),
                Mark::Added => colors.good(),
                Mark::Removed => colors.bad(),
                Mark::Aside => colors.dim(),
            };
            lines.iter().map(|(mark, line)| Line::styled(line.as_str(), style(*mark))).collect()
        }
    };
    page(model, frame, body, &format!(" {} ", clean(&sheet.title)), lines, model.scroll);
}

/// What disks take.
pub(super) fn storage(model: &Model, frame: &mut Frame<'_>, body: Rect) {
    let colors = model.colors();
    let lines = match &model.storage {
        Load::Waiting => vec![Line::from("Asking the server…")],
        Load::Failed(why) => vec![Line::styled(clean(why), colors.bad())],
        Load::Ready(storage) => disks(model, storage),
    };
    page(model, frame, body, " disks ", lines, model.scroll);
}

fn disks(model: &Model, storage: &Storage) -> Vec<Line<'static>> {
    let colors = model.colors();
    let now = jiff::Timestamp::now();
    let deleting = match storage.first_bytes {
        0 => "There is nothing to delete first.".to_owned(),
        bytes => format!("Deleting what is marked ● frees at least {}.", number::bytes(bytes)),
    };
    let (stored, free) = (number::bytes(storage.stored_bytes), number::bytes(storage.free_bytes));
    let mut lines = vec![
        Line::from(format!("{stored} stored, {free} free on this machine. {deleting}")),
        Line::default(),
    ];
    for sprite in &storage.sprites {
        let shared = match sprite.shared_bytes {
            0 => String::new(),
            bytes => format!(", {} shared with forks", number::bytes(bytes)),
        };
        let first = match sprite.first.len() {
            0 => String::new(),
            1 => format!("; 1 automatic checkpoint holds {}", number::bytes(sprite.first_bytes)),
            count => format!("; {count} automatic checkpoints hold {}", number::bytes(sprite.first_bytes)),
        };
        lines.push(Line::from(vec![
            Span::styled(clean(&sprite.name), colors.accent()),
            Span::raw(format!("  {}{shared}{first}", number::bytes(sprite.stored_bytes))),
        ]));
        for one in &sprite.checkpoints {
            let (mark, style) = match (one.is_used, one.is_auto) {
                (true, _) => ("  ", colors.dim()),
                (false, true) => ("● ", colors.warn()),
                (false, false) => ("○ ", Style::new()),
            };
            let word = if one.is_used {
                "  the disk stands on it".to_owned()
            } else {
                one.comment.as_deref().map(|text| format!("  {}", clean(text))).unwrap_or_default()
            };
            lines.push(Line::from(vec![
                Span::styled(format!("  {mark}{:<28}", clean(&one.id)), style),
                Span::raw(format!(
                    "{:>10}  {:>6}",
                    number::bytes(one.frees_bytes),
                    number::age(one.create_time, now)
                )),
                Span::styled(word, colors.dim()),
            ]));
        }
        lines.push(Line::default());
    }
    lines
}
