//! What `sprite` says of itself: help, manual pages, completions.

use clap::{Command, CommandFactory};
use sprites_cli::arguments::Arguments;
use std::fmt::Write as _;
use std::process::{Command as Process, Output};

fn sprite(arguments: &[&str]) -> Output {
    let output =
        Process::new(env!("CARGO_BIN_EXE_sprite")).args(arguments).env_remove("COLUMNS").output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Every command, each with the words that lead to it.
fn commands(command: &Command, words: &[String]) -> Vec<(Vec<String>, Command)> {
    let mut all = vec![(words.to_vec(), command.clone())];
    for below in command.get_subcommands().filter(|below| below.get_name() != "help" && !below.is_hide_set())
    {
        let words = [words, &[below.get_name().to_owned()]].concat();
        all.extend(commands(below, &words));
    }
    all
}

fn every_command() -> Vec<(Vec<String>, Command)> {
    let mut root = Arguments::command();
    root.build();
    commands(&root, &[])
}

#[test]
fn every_command_explains_itself() {
    let mut all = String::new();
    for (words, command) in every_command() {
        let arguments: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
        let text = String::from_utf8(sprite(&arguments).stdout).unwrap();
        writeln!(all, "$ sprite {}\n{text}", arguments.join(" ")).unwrap();
        assert!(text.lines().all(|line| line.chars().count() <= 100), "a line of {words:?} is too long");
        // Nothing can be given of which nobody knows what it does.
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{words:?} does not say what {} does", argument.get_id());
        }
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    sprite(&["manual", &folder.path().display().to_string()]);
    for (words, _) in every_command() {
        let name = ["sprite".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join("-");
        let page = std::fs::read_to_string(folder.path().join(format!("{name}.1")))
            .unwrap_or_else(|error| panic!("{name} has no page: {error}"));
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION"] {
            assert!(page.contains(section), "{name} has no {section}");
        }
    }
    insta::assert_snapshot!(
        "page_of_exec",
        std::fs::read_to_string(folder.path().join("sprite-exec.1")).unwrap()
    );
}

/// What bash offers after these words.
fn offered(script: &str, words: &[&str]) -> Vec<String> {
    let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let last = words.last().unwrap();
    let before = words[words.len() - 2];
    let program = format!(
        "{script}\nCOMP_WORDS=({line}); COMP_CWORD={}; _sprite sprite '{last}' '{before}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1
    );
    let output = Process::new("bash").args(["--norc", "-c", &program]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn shells_complete() {
    let script = String::from_utf8(sprite(&["completion", "bash"]).stdout).unwrap();
    let of = |words: &[&str]| offered(&script, words);
    assert_eq!(of(&["sprite", "cre"]), ["create"]);
    assert_eq!(of(&["sprite", "checkpoint", "li"]), ["list"]);
    assert!(of(&["sprite", "exec", "--"]).contains(&"--tty".to_owned()));
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        let script = String::from_utf8(sprite(&["completion", shell]).stdout).unwrap();
        assert!(script.contains("sprite") && script.contains("checkpoint"), "{shell}");
    }
    // A shell that is none is told with those there are.
    let output = Process::new(env!("CARGO_BIN_EXE_sprite")).args(["completion", "tcsh"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("bash"));
}
