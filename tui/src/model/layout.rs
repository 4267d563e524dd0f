//! What is where on the screen of consoles: a tree of panes, each a console.

use ratatui::layout::{Position, Rect};

/// Least size of a pane with its frame; where there is less room for all, only the one that has the focus is shown.
const LEAST: (u16, u16) = (14, 4);
/// Shares are in so many parts.
const WHOLE: u16 = 1000;

/// A direction on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are what they are called")]
pub enum Side {
    Left,
    Down,
    Up,
    Right,
}

impl Side {
    fn is_vertical(self) -> bool {
        matches!(self, Self::Down | Self::Up)
    }
}

/// A part of the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A console, by its number.
    Pane(u64),
    /// Two parts.
    Split {
        /// One below the other, not side by side.
        below: bool,
        /// What the first gets, of 1000.
        share: u16,
        /// Left, or above.
        first: Box<Node>,
        /// Right, or below.
        second: Box<Node>,
    },
}

/// What a tab shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its panes.
    pub root: Node,
    /// Only the pane with the focus is shown.
    pub zoomed: bool,
    /// The pane that had the focus last.
    pub focus: u64,
}

/// A line between two parts that can be moved: which turns lead to its split (true: the second part).
pub type Way = Vec<bool>;

impl Layout {
    /// A single pane.
    pub fn new(id: u64) -> Self {
        Self { root: Node::Pane(id), zoomed: false, focus: id }
    }

    /// The consoles, from left to right and from above.
    pub fn ids(&self) -> Vec<u64> {
        let mut ids = Vec::new();
        self.root.each(&mut |id| ids.push(id));
        ids
    }

    /// Whether a console is in it.
    pub fn has(&self, id: u64) -> bool {
        self.ids().contains(&id)
    }

    /// The panes that are shown in `area`, with their frames.
    pub fn panes(&self, area: Rect) -> Vec<(u64, Rect)> {
        let mut panes = Vec::new();
        self.root.place(area, &mut panes);
        let fits = |(_, place): &(u64, Rect)| place.width >= LEAST.0 && place.height >= LEAST.1;
        if panes.len() > 1 && (self.zoomed || !panes.iter().all(fits)) {
            return vec![(self.focus, area)];
        }
        panes
    }

    /// Puts `new` beside a console, or below it, and gives it the focus. `false` when there is no room in `area`.
    pub fn split(&mut self, id: u64, new: u64, below: bool, area: Rect) -> bool {
        let before = self.clone();
        self.zoomed = false;
        let node = Node::Split {
            below,
            share: WHOLE / 2,
            first: Box::new(Node::Pane(id)),
            second: Box::new(Node::Pane(new)),
        };
        let there = self.root.replace(id, node);
        self.focus = new;
        if !there || self.panes(area).len() != self.ids().len() {
            *self = before;
            return false;
        }
        true
    }

    /// Takes a console out; its neighbour gets the room. `false` when it was the last.
    pub fn remove(&mut self, id: u64) -> bool {
        let ids = self.ids();
        if ids == [id] {
            return false;
        }
        if let Some(place) = ids.iter().position(|other| *other == id) {
            self.root.remove(id);
            if self.focus == id {
                self.focus = ids[if place == 0 { 1 } else { place - 1 }];
            }
            self.zoomed &= self.ids().len() > 1;
        }
        true
    }

    /// The pane on that side of a console, nearest to its middle.
    pub fn neighbour(&self, id: u64, side: Side, area: Rect) -> Option<u64> {
        let mut panes = Vec::new();
        self.root.place(area, &mut panes);
        let here = panes.iter().find(|(other, _)| *other == id)?.1;
        let middle = Position::new(
            here.x + here.width.saturating_sub(1) / 2,
            here.y + here.height.saturating_sub(1) / 2,
        );
        let beside = |place: &Rect| match side {
            Side::Left => place.right() == here.x,
            Side::Right => place.x == here.right(),
            Side::Up => place.bottom() == here.y,
            Side::Down => place.y == here.bottom(),
        };
        let away = |place: &Rect| match side.is_vertical() {
            true => distance(middle.x, place.x, place.right()),
            false => distance(middle.y, place.y, place.bottom()),
        };
        let beside = panes.iter().filter(|(_, place)| beside(place));
        beside.min_by_key(|(_, place)| away(place)).map(|(id, _)| *id)
    }

    /// Moves the nearest line that bounds a console, to that side, by cells.
    pub fn resize(&mut self, id: u64, side: Side, cells: u16, area: Rect) {
        let before = self.clone();
        let Some(way) = self.root.way_to(id) else { return };
        // The innermost split in this direction has the line that moves.
        let of = |below: bool| below == side.is_vertical();
        let length = (0..way.len()).rev().find(
            |length| matches!(self.root.at(&way[..*length]), Some(Node::Split { below, .. }) if of(*below)),
        );
        let Some(length) = length else { return };
        let forward = matches!(side, Side::Right | Side::Down);
        let by = i32::from(cells) * if forward { 1 } else { -1 };
        let whole = self.root.area_of(&way[..length], area);
        if let Some(Node::Split { below, share, .. }) = self.root.at_mut(&way[..length]) {
            let (one, _) = cut(whole, *below, *share);
            let (extent, first) = if *below { (whole.height, one.height) } else { (whole.width, one.width) };
            *share = share_of(i32::from(first) + by, extent);
        }
        if self.panes(area).len() < before.panes(area).len() {
            *self = before;
        }
    }

    /// The line at a cell, if there is one to move.
    pub fn line_at(&self, at: Position, area: Rect) -> Option<Way> {
        if self.zoomed || self.panes(area).len() < 2 {
            return None;
        }
        let mut way = Way::new();
        let mut place = area;
        let mut node = &self.root;
        loop {
            let Node::Split { below, share, first, second } = node else { return None };
            let (one, two) = cut(place, *below, *share);
            // The frames of both sides.
            let on_line = match below {
                true => at.y + 1 == one.bottom() || at.y == two.y,
                false => at.x + 1 == one.right() || at.x == two.x,
            };
            if on_line && place.contains(at) {
                return Some(way);
            }
            let second_side = two.contains(at);
            way.push(second_side);
            (node, place) = if second_side { (second, two) } else { (first, one) };
            if !place.contains(at) {
                return None;
            }
        }
    }

    /// Moves a line to a cell.
    pub fn move_line(&mut self, way: &[bool], to: Position, area: Rect) {
        let before = self.clone();
        let whole = self.root.area_of(way, area);
        if let Some(Node::Split { below, share, .. }) = self.root.at_mut(way) {
            let (extent, first) = match below {
                true => (whole.height, i32::from(to.y) - i32::from(whole.y)),
                false => (whole.width, i32::from(to.x) - i32::from(whole.x)),
            };
            *share = share_of(first, extent);
        }
        if self.panes(area).len() < before.panes(area).len() {
            *self = before;
        }
    }
}

impl Node {
    fn each(&self, take: &mut impl FnMut(u64)) {
        match self {
            Self::Pane(id) => take(*id),
            Self::Split { first, second, .. } => {
                first.each(take);
                second.each(take);
            }
        }
    }

    fn place(&self, area: Rect, panes: &mut Vec<(u64, Rect)>) {
        match self {
            Self::Pane(id) => panes.push((*id, area)),
            Self::Split { below, share, first, second } => {
                let (one, two) = cut(area, *below, *share);
                first.place(one, panes);
                second.place(two, panes);
            }
        }
    }

    fn replace(&mut self, id: u64, by: Node) -> bool {
        match self {
            Self::Pane(here) if *here == id => {
                *self = by;
                true
            }
            Self::Pane(_) => false,
            Self::Split { first, second, .. } => first.replace(id, by.clone()) || second.replace(id, by),
        }
    }

    fn remove(&mut self, id: u64) {
        let Self::Split { first, second, .. } = self else { return };
        let is = |node: &Self| matches!(node, Self::Pane(here) if *here == id);
        let stays = match (is(first), is(second)) {
            (true, _) => second,
            (_, true) => first,
            _ => {
                first.remove(id);
                second.remove(id);
                return;
            }
        };
        *self = std::mem::replace(&mut **stays, Self::Pane(id));
    }

    fn way_to(&self, id: u64) -> Option<Way> {
        match self {
            Self::Pane(here) => (*here == id).then(Way::new),
            Self::Split { first, second, .. } => {
                [(false, first), (true, second)].iter().find_map(|(turn, node)| {
                    let mut way = node.way_to(id)?;
                    way.insert(0, *turn);
                    Some(way)
                })
            }
        }
    }

    fn at(&self, way: &[bool]) -> Option<&Self> {
        match (self, way) {
            (node, []) => Some(node),
            (Self::Split { first, second, .. }, [turn, rest @ ..]) => {
                (if *turn { second } else { first }).at(rest)
            }
            _ => None,
        }
    }

    fn at_mut(&mut self, way: &[bool]) -> Option<&mut Self> {
        match (self, way) {
            (node, []) => Some(node),
            (Self::Split { first, second, .. }, [turn, rest @ ..]) => {
                (if *turn { second } else { first }).at_mut(rest)
            }
            _ => None,
        }
    }

    fn area_of(&self, way: &[bool], area: Rect) -> Rect {
        match (self, way) {
            (Self::Split { below, share, first, second }, [turn, rest @ ..]) => {
                let (one, two) = cut(area, *below, *share);
                if *turn { second.area_of(rest, two) } else { first.area_of(rest, one) }
            }
            _ => area,
        }
    }
}

/// Cuts an area in two.
fn cut(area: Rect, below: bool, share: u16) -> (Rect, Rect) {
    let part = |extent: u16| {
        let wanted = (u32::from(extent) * u32::from(share) + u32::from(WHOLE) / 2) / u32::from(WHOLE);
        // Not more than the whole.
        (wanted as u16).min(extent)
    };
    if below {
        let height = part(area.height);
        let second = Rect { y: area.y + height, height: area.height - height, ..area };
        (Rect { height, ..area }, second)
    } else {
        let width = part(area.width);
        let second = Rect { x: area.x + width, width: area.width - width, ..area };
        (Rect { width, ..area }, second)
    }
}

/// The share that gives the first part so many cells of `extent`.
fn share_of(first: i32, extent: u16) -> u16 {
    let extent = i32::from(extent.max(1));
    let parts = (first * i32::from(WHOLE) + extent / 2) / extent;
    // Between 50 and 950.
    parts.clamp(i32::from(WHOLE) / 20, i32::from(WHOLE) * 19 / 20) as u16
}

/// From a point to the nearest of a range.
fn distance(point: u16, begin: u16, end: u16) -> u16 {
    if point < begin { begin - point } else { point.saturating_sub(end.saturating_sub(1)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AREA: Rect = Rect { x: 0, y: 1, width: 120, height: 40 };

    fn three() -> Layout {
        let mut layout = Layout::new(1);
        assert!(layout.split(1, 2, false, AREA));
        assert!(layout.split(2, 3, true, AREA));
        layout
    }

    #[test]
    fn panes_are_split_and_removed() {
        let mut layout = three();
        assert_eq!(
            layout.panes(AREA),
            [(1, Rect::new(0, 1, 60, 40)), (2, Rect::new(60, 1, 60, 20)), (3, Rect::new(60, 21, 60, 20)),]
        );
        layout.zoomed = true;
        assert_eq!(layout.panes(AREA), [(3, AREA)]);
        assert!(layout.remove(3));
        assert_eq!((layout.focus, layout.zoomed), (2, true));
        assert!(layout.remove(1) && !layout.remove(2));
        assert!(!layout.split(2, 4, true, Rect::new(0, 0, 20, 5)), "there is no room");
        assert_eq!(layout.ids(), [2]);
    }

    #[test]
    fn the_focus_goes_to_neighbours() {
        let layout = three();
        assert_eq!(layout.neighbour(1, Side::Right, AREA), Some(2));
        assert_eq!(layout.neighbour(3, Side::Left, AREA), Some(1));
        assert_eq!(layout.neighbour(3, Side::Up, AREA), Some(2));
        assert_eq!(layout.neighbour(1, Side::Left, AREA), None);
    }

    #[test]
    fn lines_are_moved_by_key_and_by_mouse() {
        let mut layout = three();
        layout.resize(1, Side::Right, 10, AREA);
        assert_eq!(layout.panes(AREA)[0].1.width, 70);
        layout.resize(3, Side::Up, 5, AREA);
        assert_eq!(layout.panes(AREA)[1].1.height, 15);
        let way = layout.line_at(Position::new(69, 10), AREA).unwrap();
        assert_eq!(way, Way::new());
        layout.move_line(&way, Position::new(40, 10), AREA);
        assert_eq!(layout.panes(AREA)[0].1.width, 40);
        assert_eq!(layout.line_at(Position::new(60, 15), AREA), Some(vec![true]));
        assert_eq!(layout.line_at(Position::new(10, 10), AREA), None);
        // A pane does not vanish.
        layout.move_line(&[], Position::new(0, 10), AREA);
        assert_eq!(layout.panes(AREA).len(), 3);
    }

    proptest! {
        #[test]
        fn whatever_is_done_panes_cover_the_area(
            steps in prop::collection::vec((0u8..6, 0u64..8, 0u16..140, 0u16..50), 0..40),
            (width, height) in (1u16..200, 1u16..60),
        ) {
            let area = Rect::new(0, 1, width, height);
            let mut layout = Layout::new(0);
            let mut next = 1;
            for (what, pick, x, y) in steps {
                let ids = layout.ids();
                let id = ids[pick as usize % ids.len()];
                let side = [Side::Left, Side::Down, Side::Up, Side::Right][pick as usize % 4];
                match what {
                    0 | 1 => {
                        if layout.split(id, next, what == 0, area) {
                            next += 1;
                        }
                    }
                    2 => drop(layout.remove(id)),
                    3 => layout.resize(id, side, x, area),
                    4 => {
                        if let Some(way) = layout.line_at(Position::new(x, y), area) {
                            layout.move_line(&way, Position::new(y, x), area);
                        }
                    }
                    _ => layout.zoomed = !layout.zoomed,
                }
                let panes = layout.panes(area);
                prop_assert!(!panes.is_empty());
                prop_assert!(layout.has(layout.focus));
                let cells: u32 = panes.iter().map(|(_, place)| place.area()).sum();
                prop_assert_eq!(cells, area.area());
                for (_, place) in panes {
                    prop_assert_eq!(place.intersection(area), place);
                }
            }
        }
    }
}
