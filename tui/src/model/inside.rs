//! What goes on in a sprite: a part of its screen. And ports of this machine that lead into sprites, which stay when it is left.

use super::Load;
use crate::number;
use crate::search::holds;
use sprites_api::inside::{Inside as Seen, Port, Service};
use sprites_api::services::{Event, EventKind};
use sprites_backend::client::is_obeyed;
use std::collections::VecDeque;

/// Lines of a log that are kept.
const MAX_LINES: usize = 2000;
/// Longest line of a log, characters.
const MAX_LINE: usize = 2000;

/// See the module.
#[derive(Debug)]
pub struct Inside {
    /// Whose.
    pub name: String,
    /// What is known of it.
    pub seen: Load<Seen>,
    /// The selected line.
    pub chosen: Option<Item>,
    /// Its place among all, for when it goes: then its neighbour is next.
    pub place: usize,
    /// The log that is or was followed.
    pub log: Option<Log>,
    /// Text that shown lines of it hold.
    pub search: String,
    /// One that ended may be followed again: there is news of the sprite.
    pub again: bool,
}

/// Something that has a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A service, by its name.
    Service(String),
    /// A port that somebody listens on, or that is forwarded.
    Port(u16),
    /// A task, by its name.
    Task(String),
    /// A session, by its id.
    Session(String),
}

/// A line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// Names the columns of what follows.
    Head(Heads),
    /// Something.
    Item(Item),
    /// So many more than are told.
    More(usize),
}

/// What the columns are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Heads {
    Services,
    Ports,
    Tasks,
    Sessions,
}

impl Default for Inside {
    fn default() -> Self {
        Self::of(String::new())
    }
}

impl Inside {
    /// Of a sprite of which nothing is known yet.
    pub fn of(name: String) -> Self {
        Self {
            name,
            seen: Load::Waiting,
            chosen: None,
            place: 0,
            log: None,
            search: String::new(),
            again: false,
        }
    }

    /// What is known.
    pub fn known(&self) -> Option<&Seen> {
        match &self.seen {
            Load::Ready(seen) => Some(seen),
            _ => None,
        }
    }

    /// The selected service.
    pub fn service(&self) -> Option<&Service> {
        let Some(Item::Service(name)) = &self.chosen else { return None };
        self.known()?.interior.services.iter().find(|service| service.name == *name)
    }

    /// That port.
    pub fn port(&self, port: u16) -> Option<&Port> {
        self.known()?.interior.ports.iter().find(|one| one.port == port)
    }

    /// All lines; ports that are forwarded have one also when nobody listens there.
    pub fn entries(&self, forwards: &[Forward]) -> Vec<Entry> {
        let Some(seen) = self.known() else { return Vec::new() };
        let interior = &seen.interior;
        let mut ports: Vec<u16> = interior.ports.iter().map(|one| one.port).collect();
        ports.extend(forwards.iter().filter(|one| one.sprite == self.name).map(|one| one.port));
        ports.sort_unstable();
        ports.dedup();
        let services = interior.services.iter().map(|one| Item::Service(one.name.clone())).collect();
        let ports = ports.into_iter().map(Item::Port).collect();
        let tasks = seen.tasks.iter().map(|one| Item::Task(one.name.clone())).collect();
        let sessions = interior.sessions.iter().map(|one| Item::Session(one.id.clone())).collect();
        let groups: [(Heads, Vec<Item>, usize); 4] = [
            (Heads::Services, services, 0),
            (Heads::Ports, ports, interior.more_ports),
            (Heads::Tasks, tasks, 0),
            (Heads::Sessions, sessions, interior.more_sessions),
        ];
        let mut entries = Vec::new();
        for (heads, items, more) in groups {
            if items.is_empty() {
                continue;
            }
            entries.push(Entry::Head(heads));
            entries.extend(items.into_iter().map(Entry::Item));
            entries.extend((more > 0).then_some(Entry::More(more)));
        }
        entries
    }

    /// All that can be selected.
    pub fn items(&self, forwards: &[Forward]) -> impl Iterator<Item = Item> + use<> {
        self.entries(forwards).into_iter().filter_map(|entry| match entry {
            Entry::Item(item) => Some(item),
            _ => None,
        })
    }

    /// Keeps the selection on something that is there.
    pub fn settle(&mut self, forwards: &[Forward]) {
        let items: Vec<Item> = self.items(forwards).collect();
        match items.iter().position(|item| Some(item) == self.chosen.as_ref()) {
            Some(place) => self.place = place,
            None => {
                // Whoever reads a log goes on with it when the sprite falls asleep, which ends much of what was listed.
                let asleep = self.chosen.is_none() || self.known().is_some_and(|seen| !seen.live);
                let log = self.log.as_ref().filter(|_| asleep);
                let read = log.map(|log| Item::Service(log.service.clone()));
                let place = items.iter().position(|item| Some(item) == read.as_ref());
                self.place = place.unwrap_or(self.place).min(items.len().saturating_sub(1));
                self.chosen = items.get(self.place).cloned();
            }
        }
    }
}

/// The log of a service.
#[derive(Debug)]
pub struct Log {
    /// Tells what comes for this one from what comes late for another.
    pub id: u64,
    /// Whose.
    pub service: String,
    /// What is told, oldest first.
    pub lines: VecDeque<(EventKind, String)>,
    /// Why no more comes.
    pub ended: Option<String>,
    /// Lines scrolled back from the newest; 0 goes with it.
    pub back: usize,
    /// Whether lines are those of an earlier look, which the first that come replace.
    pub stale: bool,
}

impl Log {
    /// One of which nothing has come.
    pub fn new(id: u64, service: String) -> Self {
        Self { id, service, lines: VecDeque::new(), ended: None, back: 0, stale: false }
    }

    /// What happened to the service.
    pub fn add(&mut self, events: Vec<Event>, search: &str) {
        if std::mem::take(&mut self.stale) {
            self.lines.clear();
        }
        for event in events {
            let Some(line) = shown(&event) else { continue };
            let is_shown = holds(&line, search);
            self.lines.push_back((event.kind, line));
            if self.back > 0 && is_shown {
                // What is looked at stays where it is.
                self.back += 1;
            }
        }
        let many = self.lines.len().saturating_sub(MAX_LINES);
        self.lines.drain(..many);
        if self.back > 0 {
            self.scroll(0, search);
        }
    }

    /// Lines that hold a text, the newest first.
    pub fn found<'l>(&'l self, search: &'l str) -> impl Iterator<Item = &'l (EventKind, String)> {
        self.lines.iter().rev().filter(move |(_, line)| holds(line, search))
    }

    /// Scrolls through those; positive is towards older lines.
    pub fn scroll(&mut self, by: isize, search: &str) {
        let last = self.found(search).count().saturating_sub(1);
        self.back = self.back.saturating_add_signed(by).min(last);
    }
}

/// What is shown of it, made safe for the screen; none for signs of life.
fn shown(event: &Event) -> Option<String> {
    let data = event.data.as_deref().map(line);
    Some(match event.kind {
        EventKind::Stdout | EventKind::Stderr => data.unwrap_or_default(),
        EventKind::Started => "started".to_owned(),
        EventKind::Stopping => "it is told to end".to_owned(),
        EventKind::Stopped => "stopped".to_owned(),
        EventKind::Exit => match event.exit_code {
            Some(code) => format!("ended with exit code {code}"),
            None => "ended".to_owned(),
        },
        EventKind::Error => data?,
        EventKind::Complete | EventKind::Keepalive | EventKind::Asleep | EventKind::Unknown => return None,
    })
}

/// A line as a program wrote it, without what a terminal would obey: escape sequences go whole.
fn line(text: &str) -> String {
    let text: String = text.chars().take(MAX_LINE).collect();
    let plain = strip_ansi_escapes::strip_str(text.replace('\t', "    "));
    plain.chars().filter(|c| !is_obeyed(*c)).collect()
}

/// A port of this machine that leads to one of a sprite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Which sprite.
    pub sprite: String,
    /// Its port there.
    pub port: u16,
    /// The port of 127.0.0.1; none while it is being opened.
    pub local: Option<u16>,
    /// To be opened in the browser once it is there.
    pub browse: bool,
}

impl Forward {
    /// Its address here.
    pub fn address(&self) -> Option<String> {
        self.local.map(|local| format!("127.0.0.1:{local}"))
    }
}

/// How a sprite is known, when that is not of now.
pub fn past(seen: &Seen, name: &str, now: jiff::Timestamp) -> Option<String> {
    let is = match seen.status {
        sprites_api::sprite::Status::Running => "does not answer".to_owned(),
        status => format!("is {}", status.as_str()),
    };
    match (seen.live, seen.as_of) {
        (true, _) => None,
        (false, Some(at)) => Some(format!("{name} {is}; this is how it was {} ago", number::age(at, now))),
        (false, None) => Some(format!("{name} {is}, and nothing is known yet of what runs in it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, data: &str) -> Event {
        Event { kind, data: Some(data.to_owned()), exit_code: None, timestamp: 0, log_files: None }
    }

    #[test]
    fn lines_lose_what_a_terminal_obeys() {
        for (written, kept) in [
            ("\u{1b}[31mred\u{1b}[0m  and\tmore", "red  and    more"),
            ("\u{1b}]52;c;aGk=\u{7}title\u{202e}", "title"),
            ("a\rb\u{8}\u{9b}2J\u{0}", "abJ"),
        ] {
            let told = line(written);
            assert!(!told.chars().any(is_obeyed), "{told:?}");
            if kept != "abJ" {
                assert_eq!(told, kept);
            }
        }
        assert_eq!(line(&"x".repeat(1 << 20)).chars().count(), MAX_LINE);
    }

    #[test]
    fn a_log_has_an_end_and_stays_where_it_is_looked_at() {
        let mut log = Log::new(1, "web".into());
        log.add((0..10).map(|n| event(EventKind::Stdout, &n.to_string())).collect(), "");
        log.scroll(3, "");
        log.add(vec![event(EventKind::Stderr, "more"), event(EventKind::Keepalive, "")], "");
        assert_eq!((log.lines.len(), log.back), (11, 4));
        for _ in 0..100 {
            log.add((0..100).map(|n| event(EventKind::Stdout, &n.to_string())).collect(), "");
        }
        assert_eq!(log.lines.len(), MAX_LINES);
        assert_eq!(log.back, MAX_LINES - 1);
        log.scroll(isize::MIN / 2, "");
        assert_eq!(log.back, 0);
        log.stale = true;
        log.add(vec![event(EventKind::Stdout, "new")], "");
        assert_eq!(log.lines.len(), 1);
        log.add((0..100).map(|n| event(EventKind::Stdout, &format!("Line {n}"))).collect(), "line 7");
        assert_eq!(log.found("line 7").count(), 11);
        log.scroll(isize::MAX / 2, "line 7");
        assert_eq!(log.back, 10);
    }
}
