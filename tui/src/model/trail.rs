//! Where somebody has been, to go there again.

use super::{Model, Screen};
use crate::action::Part;

/// Most places that are remembered.
const MOST: usize = 100;

/// A place to go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Spot {
    /// The list of sprites.
    List,
    /// A part of this sprite's screen.
    Sprite(String, Part),
    /// A console, by its number.
    Console(u64),
    /// A screen of text, of this sprite where it is one's.
    Text(Screen, Option<String>),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Trail {
    spots: Vec<Spot>,
    at: usize,
}

impl Trail {
    /// Somebody is here. What lay ahead is forgotten when it is another place.
    pub fn note(&mut self, spot: Spot) {
        if self.spots.get(self.at) == Some(&spot) {
            return;
        }
        self.spots.truncate(self.at + 1);
        self.spots.push(spot);
        if self.spots.len() > MOST {
            self.spots.remove(0);
        }
        self.at = self.spots.len() - 1;
    }

    /// Whether there is a place before this one.
    pub fn has_before(&self) -> bool {
        self.at > 0
    }

    /// Whether there is one to go forward to.
    pub fn has_after(&self) -> bool {
        self.at + 1 < self.spots.len()
    }

    /// Goes to the nearest place in a direction that is still there.
    pub fn walk(&mut self, forward: bool, exists: impl Fn(&Spot) -> bool) -> Option<Spot> {
        loop {
            let next = if forward { self.at.checked_add(1) } else { self.at.checked_sub(1) };
            let spot = self.spots.get(next?)?.clone();
            if exists(&spot) {
                self.at = next?;
                return Some(spot);
            }
            self.spots.remove(next?);
            // Those behind have moved up by one.
            self.at -= usize::from(!forward);
        }
    }
}

impl Model {
    /// Where somebody is.
    pub fn spot(&self) -> Spot {
        match self.screen {
            Screen::List => Spot::List,
            Screen::Sprite => match &self.selected {
                Some(name) => Spot::Sprite(name.clone(), self.part),
                None => Spot::List,
            },
            Screen::Console(id) => Spot::Console(id),
            Screen::Events => Spot::Text(self.screen, self.events.as_ref().map(|(name, _)| name.clone())),
            screen => Spot::Text(screen, None),
        }
    }

    /// Whether that place is still there.
    pub fn has_spot(&self, spot: &Spot) -> bool {
        let known = |name: &String| matches!(&self.sprites, super::Load::Ready(sprites) if sprites.contains_key(name));
        match spot {
            Spot::List => true,
            Spot::Sprite(name, _) => known(name),
            Spot::Console(id) => self.consoles.iter().any(|tab| tab.id == *id),
            Spot::Text(_, name) => name.as_ref().is_none_or(known),
        }
    }

    /// The way to where somebody is, for people.
    pub fn crumbs(&self) -> Vec<String> {
        let sprite = || self.selected.clone().into_iter();
        match self.screen {
            Screen::List => Vec::new(),
            Screen::Sprite => sprite().chain([self.part.title().to_owned()]).collect(),
            Screen::Console(id) => {
                let tab = self.consoles.iter().find(|tab| tab.id == id);
                tab.map(|tab| tab.sprite.clone()).into_iter().chain(["console".to_owned()]).collect()
            }
            Screen::Help => vec!["help".into()],
            Screen::Log => vec!["log".into()],
            Screen::Costs => vec!["costs".into()],
            Screen::Storage => vec!["disks".into()],
            Screen::Settings => vec!["settings".into()],
            Screen::Sheet => sprite().chain(["files".to_owned()]).collect(),
            Screen::Events => sprite().chain(["events".to_owned()]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(name: &str) -> Spot {
        Spot::Sprite(name.into(), Part::Checkpoints)
    }

    #[test]
    fn one_goes_back_and_forward_over_what_is_gone() {
        let mut trail = Trail::default();
        trail.note(Spot::List);
        for name in ["a", "a", "b", "c"] {
            trail.note(spot(name));
        }
        assert!(trail.has_before() && !trail.has_after());
        let all = |_: &Spot| true;
        assert_eq!(trail.walk(false, all), Some(spot("b")));
        trail.note(spot("b"));
        assert!(trail.has_after());
        assert_eq!(trail.walk(false, |found| *found != spot("a")), Some(Spot::List));
        assert_eq!(trail.walk(false, all), None);
        assert_eq!(trail.walk(true, all), Some(spot("b")));
        assert_eq!(trail.walk(true, |_| false), None);
        assert!(!trail.has_after());
        trail.note(spot("d"));
        assert_eq!(trail.walk(false, all), Some(spot("b")));
        trail.note(spot("e"));
        assert_eq!(trail.walk(true, all), None);
        for number in 0..3 * MOST {
            trail.note(spot(&number.to_string()));
        }
        assert_eq!(trail.spots.len(), MOST);
    }
}
