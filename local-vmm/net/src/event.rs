//! What the owner hears: what was denied and by which rule, what was connected and how much it carried.
//!
//! The log is a ring, and within a second what repeats itself becomes a count. So a guest that does nothing but what is denied costs a fixed
//! amount of memory, and a reader a few lines.

use crate::frame::Dropped;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sprites_api::policy::RuleRef;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Something happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When it happened, or first of all that are counted.
    pub at: Timestamp,
    /// Who began it.
    pub direction: Direction,
    /// Of which kind it was.
    pub kind: Kind,
    /// The name asked for, or under which the guest knows the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<Arc<str>>,
    /// Where it went.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// Which port there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// What became of it.
    pub verdict: Outcome,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The rule that decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Arc<RuleRef>>,
    /// Bytes from the guest, when it has ended.
    #[serde(default)]
    pub sent: u64,
    /// Bytes for the guest, when it has ended.
    #[serde(default)]
    pub received: u64,
    /// How often it happened.
    pub count: u64,
}

/// Who began something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The guest. So far nobody else can.
    Out,
}

/// Of which kind something was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A question for a name.
    Dns,
    /// A connection.
    Tcp,
    /// Datagrams.
    Udp,
    /// Echo requests.
    Icmp,
    /// A frame that is none of these.
    Frame,
}

/// What became of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was connected, or answered.
    Allowed,
    /// It was not to be.
    Denied,
    /// It could have been, but nobody answered.
    Failed,
    /// It has ended.
    Closed,
    /// It was ended, because it is allowed no more.
    Cut,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A rule denies it.
    Rule,
    /// No rule speaks of it.
    NoRule,
    /// No allowed name has this address, as far as the guest has asked.
    Unresolved,
    /// The address is within a private network.
    Private,
    /// The address leads to the host, to a cloud's secrets, or nowhere.
    Forbidden,
    /// Under a policy only the gateway is asked for names.
    OtherResolver,
    /// Under a policy records of that type are not asked for.
    RecordType,
    /// There are too many already.
    TooMany,
    /// The server refused it.
    Refused,
    /// There is no way to it.
    Unreachable,
    /// Nobody answered in time.
    TimedOut,
    /// Nothing moved for long.
    Idle,
    /// The host lets no program do that without privileges.
    NotPermitted,
    /// What was dropped, and why.
    Dropped(Dropped),
}

impl Event {
    /// An event that the guest began, now and once.
    pub(crate) fn new(kind: Kind, verdict: Outcome) -> Self {
        Self {
            at: Timestamp::now(),
            direction: Direction::Out,
            kind,
            name: None,
            address: None,
            port: None,
            verdict,
            reason: None,
            rule: None,
            sent: 0,
            received: 0,
            count: 1,
        }
    }
}

/// Events that nobody has read yet.
#[derive(Debug)]
pub(crate) struct Log {
    ring: VecDeque<Event>,
    /// Number of the first one in the ring.
    first: u64,
    /// Those of this second, by what makes them the same.
    window: HashMap<Key, u64>,
    began: Instant,
    lost: u64,
}

/// Most events that wait.
const KEPT: usize = 1024;
/// Most different ones in a second. What comes beyond is counted by kind and reason only.
const DIFFERENT: usize = 128;
/// How long what repeats itself is counted.
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: Kind,
    verdict: Outcome,
    reason: Option<Reason>,
    place: Option<Place>,
}

/// Where something went.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    name: Option<Arc<str>>,
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl Log {
    pub(crate) fn new(now: Instant) -> Self {
        Self { ring: VecDeque::new(), first: 0, window: HashMap::new(), began: now, lost: 0 }
    }

    /// Something happened.
    pub(crate) fn add(&mut self, mut event: Event, now: Instant) {
        if now.saturating_duration_since(self.began) >= WINDOW {
            self.window.clear();
            self.began = now;
        }
        let place = Place { name: event.name.clone(), address: event.address, port: event.port };
        let Event { kind, verdict, reason, .. } = event;
        let mut key = Key { kind, verdict, reason, place: Some(place) };
        if !self.window.contains_key(&key) && self.window.len() >= DIFFERENT {
            (event.name, event.address, event.port, event.rule) = (None, None, None, None);
            key.place = None;
        }
        let there = self.window.get(&key).and_then(|number| {
            let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
            self.ring.get_mut(at)
        });
        if let Some(there) = there {
            there.count += event.count;
            there.sent += event.sent;
            there.received += event.received;
            return;
        }
        if self.ring.len() >= KEPT {
            self.lost += self.ring.pop_front().map_or(0, |event| event.count);
            self.first += 1;
        }
        self.window.insert(key, self.first + self.ring.len() as u64);
        self.ring.push_back(event);
    }

    /// Takes all events, and how many are lost because nobody took them.
    pub(crate) fn take(&mut self) -> (Vec<Event>, u64) {
        self.first += self.ring.len() as u64;
        self.window.clear();
        (self.ring.drain(..).collect(), std::mem::take(&mut self.lost))
    }

    /// Whether there is anything to take.
    pub(crate) fn is_empty(&self) -> bool {
        self.ring.is_empty() && self.lost == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn denied(number: u32) -> Event {
        let address = Some(Ipv4Addr::from_bits(number).into());
        Event {
            address,
            port: Some(80),
            reason: Some(Reason::Unresolved),
            ..Event::new(Kind::Tcp, Outcome::Denied)
        }
    }

    #[test]
    fn a_flood_becomes_counts() {
        let now = Instant::now();
        let mut log = Log::new(now);
        for number in 0..100_000 {
            log.add(denied(number % 5), now);
        }
        for number in 0..100_000 {
            log.add(denied(number), now);
        }
        let (events, lost) = log.take();
        assert_eq!((events.iter().map(|event| event.count).sum::<u64>(), lost), (200_000, 0));
        // One more than may be different: the one that stands for all others.
        assert_eq!(events.len(), DIFFERENT + 1);
        assert!(events[..5].iter().all(|event| event.count == 20_001));
        let rest = events.last().unwrap();
        assert_eq!((rest.address, rest.kind, rest.reason), (None, Kind::Tcp, Some(Reason::Unresolved)));
        assert!(log.is_empty());
        log.add(denied(0), now);
        assert_eq!(log.take().0.len(), 1);
    }

    #[test]
    fn what_nobody_reads_is_lost_and_counted() {
        let start = Instant::now();
        let mut log = Log::new(start);
        for second in 0..2000 {
            log.add(denied(1), start + WINDOW * second);
        }
        let (events, lost) = log.take();
        assert_eq!((events.len(), lost), (KEPT, 2000 - KEPT as u64));
    }

    #[test]
    fn how_an_event_is_written() {
        let mut event = denied(0x0102_0304);
        event.at = Timestamp::UNIX_EPOCH;
        event.rule = Some(Arc::new(RuleRef { index: 3, text: "*.example.com".into() }));
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            r#"{"at":"1970-01-01T00:00:00Z","direction":"out","kind":"tcp","address":"1.2.3.4","port":80,"verdict":"denied","reason":"unresolved","rule":{"index":3,"text":"*.example.com"},"sent":0,"received":0,"count":1}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
        let dropped = Reason::Dropped(Dropped::Spoofed);
        assert_eq!(serde_json::to_string(&dropped).unwrap(), r#"{"dropped":"spoofed"}"#);
    }
}
