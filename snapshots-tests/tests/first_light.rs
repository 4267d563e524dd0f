//! The first whole path: a person with a keyboard makes a sprite, works in its console, makes a checkpoint, breaks something, restores it,
//! forks it, quits, and finds it again.

use snapshots_tests::harness::Home;
use snapshots_tests::person::{ENTER, LEAVE, LONG, SHORT, checkpoint, leave_to_sprite, open_console};
use snapshots_tests::pty::Pty;

const ESC: &str = "\x1b";

#[test]
fn a_person_makes_uses_breaks_and_restores_a_sprite() {
    let home = Home::new();
    let mut app = Pty::spawn(home.terminal_command(&[]), 40, 120);
    app.wait_for("no sprite yet", LONG);

    // Make one.
    app.send("n");
    app.wait_for("New sprite", SHORT);
    app.send("Box");
    app.send(ENTER);
    app.wait_for("lower-case", SHORT);
    app.send("\x15box");
    app.send(ENTER);
    app.wait_for("○ cold", SHORT);

    // Its console.
    open_console(&mut app, "box:~$");
    app.send("echo 6 times 7 is $((6*7)) | tee precious\r");
    app.wait_for("6 times 7 is 42", SHORT);
    app.send("clear\r");
    app.wait(SHORT, "a clear screen", |screen| !screen.contents().contains("times"));

    // A checkpoint, then the file's end.
    leave_to_sprite(&mut app);
    checkpoint(&mut app, "with the file");
    open_console(&mut app, "box:~$");
    app.send("rm precious; clear; ls precious\r");
    app.wait_for("No such file", SHORT);

    // Back to the checkpoint: another key than R is no.
    app.send(LEAVE);
    app.wait_for("with the file", SHORT);
    app.send("gg");
    app.send("r");
    app.wait_for("Press R", SHORT);
    app.send("x");
    app.wait(SHORT, "no dialog", |screen| !screen.contents().contains("Press R"));
    app.send("r");
    app.wait_for("Press R", SHORT);
    app.send("R");
    app.wait_for("pre-restore-v0", LONG);
    app.send("T");
    app.wait_for("box:~$", LONG);
    app.send("cat precious\r");
    app.wait_for("6 times 7 is 42", SHORT);
    // A burst of keys, as macros type, is input to the last; also what comes when the program has ended is no command of the app.
    app.send(format!("clear; echo {} | wc -c\r", "cqzZ".repeat(250)));
    app.wait_for("1001", SHORT);
    app.send("exit\rqcq");
    app.wait_for("ended with code 0", SHORT);
    app.send(ESC);

    // A fork has it too, and costs nothing.
    app.wait_for("with the file", SHORT);
    app.send("gg");
    app.send("f");
    app.wait_for("Fork of box", SHORT);
    app.send("twin");
    app.send(ENTER);
    app.wait_for("twin is made from box", LONG);
    app.send(ESC);
    // By what only the list has: a key right behind an escape would be one key with it.
    app.wait_for("name ▾", SHORT);

    // Quit with a program in a console; everything is still there afterwards, the program too.
    app.send("gg");
    open_console(&mut app, "box:~$");
    app.send("echo 5 times 7 is $((5*7)); read\r");
    app.wait_for("5 times 7 is 35", SHORT);
    app.send(LEAVE);
    app.wait_for("t console", SHORT);
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
    let mut app = Pty::spawn(home.terminal_command(&[]), 24, 80);
    app.wait_for("twin", SHORT);
    app.wait_for("1 (box)", SHORT);
    app.send("1");
    app.wait_for("5 times 7 is 35", SHORT);
    app.send(LEAVE);
    app.wait_for("t console", SHORT);

    // Stopped, its disk can be checked.
    app.send("z");
    app.wait_for("Press Z", SHORT);
    app.send("Z");
    app.wait_for("box is stopped", LONG);
    let checked = home.command(&["disk", "check", "box"]).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    app.send("G");
    app.send("x");
    app.wait_for("Type twin", SHORT);
    app.send("box");
    app.send(ENTER);
    app.wait_for("type twin to destroy", SHORT);
    app.send("\x15twin");
    app.send(ENTER);
    app.wait(LONG, "twin is gone", |screen| {
        !screen.contents().contains("○ cold") || !screen.contents().contains("twin  ")
    });
    app.send("q");
    assert_eq!(app.end(SHORT), 0);
}
