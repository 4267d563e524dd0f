//! The pictures of the documentation show every screen there is.

use snapshots_tests::tour::{STOPS, Shows, THEMES, file, page};
use sprites_tui::action::Part;
use sprites_tui::model::Screen;
use std::fs;
use std::path::Path;
use strum::IntoEnumIterator;

#[test]
fn every_screen_and_part_has_a_picture() {
    let has = |what: Shows| STOPS.iter().any(|stop| stop.shows == what);
    let screens = Screen::iter().map(|screen| Shows::Screen(screen.into()));
    let parts = Part::iter().map(Shows::Part);
    let missing: Vec<Shows> = screens.chain(parts).filter(|what| !has(*what)).collect();
    assert!(missing.is_empty(), "snapshots-tests/src/tour.rs does not go there: {missing:?}");
}

#[test]
fn the_page_shows_what_is_there() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let told = fs::read_to_string(docs.join("tour.md")).unwrap();
    assert_eq!(told, page(), "`cargo xtask tour` makes it anew");
    for stop in STOPS {
        for theme in THEMES {
            let picture = fs::read_to_string(docs.join(file(stop, theme))).unwrap();
            assert!(picture.starts_with("<svg") && picture.len() < 60_000, "{}", stop.name);
        }
    }
    let pictures = fs::read_dir(docs.join("tour")).unwrap().count();
    assert_eq!(pictures, STOPS.len() * THEMES.len(), "a picture is of no stop");
}
