//! Pictures of every screen, made from frames of the running app, and the page that shows them.
//!
//! `cargo xtask tour`

use snapshots_tests::tour::{THEMES, file, is_first, page, walk};
use std::fs;
use std::path::PathBuf;

fn main() {
    let docs = PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "docs".into()));
    let folder = docs.join("tour");
    // Pictures of screens that are no more go.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("the folder can be made");
    for theme in THEMES {
        walk(theme, |stop, picture| {
            let path = docs.join(file(stop, theme));
            fs::write(&path, &picture).expect("the picture can be written");
            if is_first(stop, theme) {
                fs::write(docs.join("screen.svg"), &picture).expect("the picture can be written");
            }
            println!("{}", path.display());
        });
    }
    fs::write(docs.join("tour.md"), page()).expect("the page can be written");
}
