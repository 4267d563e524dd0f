//! What a person does with the keyboard, step by step, each until its effect is on the screen.

use crate::pty::Pty;
use std::time::Duration;

/// Longest that anything with a machine in it may take.
pub const LONG: Duration = Duration::from_secs(180);
/// Longest that anything else may take.
pub const SHORT: Duration = Duration::from_secs(30);
/// Leaves a console.
pub const LEAVE: &str = "\x1dd";
/// Confirms, opens.
pub const ENTER: &str = "\r";

/// Makes a sprite, in the list.
pub fn make_sprite(app: &mut Pty, name: &str) {
    app.send("n");
    app.wait_for("New sprite", SHORT);
    app.send(name);
    app.send(ENTER);
    app.wait_for(&format!("{name} is made"), LONG);
}

/// Opens a console of the selected sprite and waits for its shell, whose prompt ends with `prompt`.
pub fn open_console(app: &mut Pty, prompt: &str) {
    app.send("t");
    app.wait_for(prompt, LONG);
}

/// Leaves the console for the list, and opens the screen of its sprite.
pub fn leave_to_sprite(app: &mut Pty) {
    app.send(LEAVE);
    app.wait_for("● running", SHORT);
    app.send(ENTER);
    app.wait_for("the live disk", SHORT);
}

/// Makes a checkpoint, on the screen of a sprite.
pub fn checkpoint(app: &mut Pty, comment: &str) {
    app.send("c");
    app.wait_for("A comment", SHORT);
    app.send(comment);
    app.send(ENTER);
    app.wait_for(comment, LONG);
}
