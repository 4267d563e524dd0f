//! What must hold of every screen, whatever it shows: that it can be read in each theme, without colours, and in ASCII.
//!
//! Screens are drawn in a theme in which each role has a colour of its own, so that what was drawn tells which roles met.

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::Color;
use sprites_tui::theme::contrast::{SHAPE, TEXT, ratio};
use sprites_tui::theme::{ROLES, Theme};
use sprites_tui::view::ascii;
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The red of all its colours, which nothing else has.
const MARK: u8 = 0xa7;

/// A theme in which each role has a colour of its own.
pub fn marked() -> Theme {
    let roles =
        ROLES.iter().enumerate().map(|(index, (role, _))| format!("{role} = \"#{MARK:02x}00{index:02x}\"\n"));
    let text = format!("name = \"marked\"\ndark = true\n{}", roles.collect::<String>());
    Theme::parse(&text, "marked").expect("it is a theme")
}

/// The role of a colour: none of the terminal's own, and a mistake of any other.
fn role(color: Color) -> Result<Option<&'static str>, String> {
    match color {
        Color::Reset => Ok(None),
        Color::Rgb(MARK, 0, index) => Ok(ROLES.get(usize::from(index)).map(|(role, _)| *role)),
        other => Err(format!("{other:?} is of no theme")),
    }
}

/// Checks a screen that was drawn in the marked theme. In `beyond` stands what a program in a console drew.
pub fn check(screen: &Buffer, beyond: impl Fn(u16, u16) -> bool) {
    let mut met = BTreeSet::new();
    let mut wrong = BTreeSet::new();
    for y in 0..screen.area.height {
        for x in 0..screen.area.width {
            let cell = &screen[(x, y)];
            if beyond(x, y) {
                continue;
            }
            match (role(cell.fg), role(cell.bg)) {
                (Ok(fore), Ok(back)) if shows(cell) => {
                    // Reversed, the contrast is the same.
                    met.insert((fore, back, is_shape(cell) || is_graph(fore)));
                }
                (Ok(_), Ok(_)) => {}
                (Err(why), _) | (_, Err(why)) => drop(wrong.insert(why)),
            }
            // Signs of our own have a likeness; letters of others need not.
            let sign = cell.symbol().chars().next().filter(|c| !c.is_ascii() && !c.is_alphanumeric());
            if let Some(sign) = sign.filter(|c| ascii::like(*c).is_none()) {
                wrong.insert(format!("{sign:?} has no likeness in `view/ascii.rs`"));
            }
        }
    }
    for theme in themes() {
        for (fore, back, shape) in &met {
            let color = |role: &Option<&str>| role.and_then(|role| own(theme, role));
            let unset_selection = *back == Some("selection") && theme.selection.is_none();
            // Without a colour of its own the selected line is reversed, which is the same contrast.
            let behind = if unset_selection { theme.background } else { color(back) };
            let ratio = ratio(theme.foreground(color(fore)), theme.behind(behind));
            let least = if *shape { SHAPE } else { TEXT };
            if ratio < least {
                let (fore, back) = (fore.unwrap_or("the terminal's"), back.unwrap_or("the terminal's"));
                wrong.insert(format!("{}: {fore} on {back} has a contrast of {ratio:.2}", theme.name));
            }
        }
    }
    let mut plain = screen.clone();
    ascii::only(&mut plain);
    assert!(plain.content.iter().all(|cell| cell.symbol().is_ascii()), "something is drawn beyond ASCII");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn themes() -> &'static [Theme] {
    static THEMES: OnceLock<Vec<Theme>> = OnceLock::new();
    THEMES.get_or_init(|| Theme::all(None).0)
}

/// The colour of a role in a theme.
fn own(theme: &Theme, role: &str) -> Option<Color> {
    match role {
        "network" => theme.network.or(theme.cpu),
        "disk" => theme.disk.or(theme.memory),
        role => theme.role(role),
    }
}

fn shows(cell: &Cell) -> bool {
    !cell.symbol().trim().is_empty()
}

/// Whatever characters a graph or a frame is drawn with.
fn is_graph(role: Option<&str>) -> bool {
    matches!(role, Some("cpu" | "memory" | "cost" | "network" | "disk" | "border"))
}

/// Frames, graphs and bars; everything else is text.
fn is_shape(cell: &Cell) -> bool {
    let shape = |c: char| ('\u{2500}'..='\u{259f}').contains(&c) || ('\u{2800}'..='\u{28ff}').contains(&c);
    cell.symbol().chars().all(shape)
}
