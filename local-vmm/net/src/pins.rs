//! Which addresses the guest has learned from answers, and under which names.
//!
//! Under a policy an address may be connected to only if an answer for a name that is allowed *now* has given it to this guest. Programs keep
//! addresses for longer than they should, so a pin outlives the answer a little.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An answer counts for at least that long.
const SHORTEST: Duration = Duration::from_secs(60);
/// And at most that long.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// How long a pin outlives its answer.
const GRACE: Duration = Duration::from_secs(5 * 60);
/// Most addresses.
const ADDRESSES: usize = 8192;
/// Addresses that make room for new ones at once.
const ROOM: usize = ADDRESSES / 8;
/// Most names of an address.
const NAMES: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Pins {
    /// The newest name is the last.
    by_address: HashMap<IpAddr, Vec<Pin>>,
}

#[derive(Debug)]
struct Pin {
    name: Arc<str>,
    expires: Instant,
}

impl Pins {
    /// The guest was told that the name has the address, for that many seconds.
    pub(crate) fn add(&mut self, name: &Arc<str>, address: IpAddr, seconds: u32, now: Instant) {
        let lives = Duration::from_secs(seconds.into()).clamp(SHORTEST, LONGEST) + GRACE;
        let mut expires = now + lives;
        if self.by_address.len() >= ADDRESSES && !self.by_address.contains_key(&address) {
            self.make_room(now);
        }
        let pins = self.by_address.entry(address).or_default();
        if let Some(at) = pins.iter().position(|pin| pin.name == *name) {
            expires = expires.max(pins.remove(at).expires);
        }
        if pins.len() >= NAMES {
            pins.remove(0);
        }
        pins.push(Pin { name: name.clone(), expires });
    }

    /// Names under which the guest knows the address, the newest first.
    pub(crate) fn names(&self, address: IpAddr, now: Instant) -> impl Iterator<Item = &Arc<str>> {
        let pins = self.by_address.get(&address).map(Vec::as_slice).unwrap_or_default();
        pins.iter().rev().filter(move |pin| pin.expires > now).map(|pin| &pin.name)
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&mut self, now: Instant) {
        self.by_address.retain(|_, pins| {
            pins.retain(|pin| pin.expires > now);
            !pins.is_empty()
        });
    }

    fn make_room(&mut self, now: Instant) {
        self.sweep(now);
        if self.by_address.len() < ADDRESSES {
            return;
        }
        let last = |pins: &[Pin]| pins.iter().map(|pin| pin.expires).max();
        let mut all: Vec<_> = self.by_address.iter().map(|(address, pins)| (last(pins), *address)).collect();
        // Those that would go first anyway; many at once, or a guest that asks on and on has all looked through each time.
        all.select_nth_unstable(ROOM);
        for (_, address) in &all[..ROOM] {
            self.by_address.remove(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn names(pins: &Pins, address: IpAddr, now: Instant) -> Vec<String> {
        pins.names(address, now).map(ToString::to_string).collect()
    }

    #[test]
    fn a_pin_outlives_its_answer_a_little() {
        let (mut pins, start) = (Pins::default(), Instant::now());
        let address = Ipv4Addr::new(192, 0, 2, 1).into();
        let later = |seconds| start + Duration::from_secs(seconds);
        pins.add(&"short.example".into(), address, 1, start);
        pins.add(&"long.example".into(), address, 1000, start);
        pins.add(&"endless.example".into(), address, u32::MAX, start);
        assert_eq!(names(&pins, address, later(359)), ["endless.example", "long.example", "short.example"]);
        assert_eq!(names(&pins, address, later(361)), ["endless.example", "long.example"]);
        assert_eq!(names(&pins, address, later(1301)), ["endless.example"]);
        assert_eq!(names(&pins, address, later(24 * 3600 + 301)), [] as [&str; 0]);
        pins.sweep(later(1301));
        assert_eq!(pins.by_address[&address].len(), 1);
        pins.sweep(later(48 * 3600));
        assert!(pins.by_address.is_empty());
    }

    #[test]
    fn asking_again_makes_a_name_the_newest_and_never_shortens_it() {
        let (mut pins, start) = (Pins::default(), Instant::now());
        let address = Ipv4Addr::new(192, 0, 2, 1).into();
        pins.add(&"a".into(), address, 1000, start);
        pins.add(&"b".into(), address, 60, start);
        pins.add(&"a".into(), address, 1, start);
        assert_eq!(names(&pins, address, start + Duration::from_secs(1000)), ["a"]);
        assert_eq!(names(&pins, address, start), ["a", "b"]);
    }

    #[test]
    fn there_are_only_so_many() {
        let (mut pins, now) = (Pins::default(), Instant::now());
        let address = |number: u32| IpAddr::from(Ipv4Addr::from_bits(number));
        for number in 0..100 {
            pins.add(&format!("{number}").into(), address(0), 60, now);
        }
        assert_eq!(names(&pins, address(0), now)[0], "99");
        assert_eq!(names(&pins, address(0), now).len(), NAMES);
        for number in 0..ADDRESSES as u32 + 10 {
            pins.add(&"a".into(), address(number), 60 + number, now);
        }
        assert_eq!(pins.by_address.len(), ADDRESSES - ROOM + 10);
        // Those that would have gone first are gone.
        assert_eq!(names(&pins, address(1), now), [] as [&str; 0]);
        assert_eq!(names(&pins, address(ADDRESSES as u32 + 9), now), ["a"]);
    }
}
