//! The query of an exec request.

use crate::reply::Refusal;
use crate::session::start::Request;
use sprites_api::duration;
use std::time::Duration;

/// Decoded pairs in order; names may repeat.
pub(super) type Pairs = Vec<(String, String)>;

/// Terminal size when the client tells none.
const SIZE: (u16, u16) = (80, 24);
/// Life of a session without terminal after its last client has gone, when the client tells none.
const LINGER: Duration = Duration::from_secs(10);

/// The last non-empty value of a name. Some clients send empty ones for what they do not mean.
fn get<'a>(pairs: &'a Pairs, name: &str) -> Option<&'a str> {
    pairs.iter().rev().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

fn all<'a>(pairs: &'a Pairs, name: &str) -> impl Iterator<Item = &'a str> {
    pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn flag(pairs: &Pairs, name: &str) -> Result<Option<bool>, Refusal> {
    match get(pairs, name) {
        None => Ok(None),
        Some("true" | "1") => Ok(Some(true)),
        Some("false" | "0") => Ok(Some(false)),
        Some(_) => Err(Refusal::bad(format!("`{name}` must be true or false"))),
    }
}

fn cells(pairs: &Pairs, name: &str) -> Result<Option<u16>, Refusal> {
    get(pairs, name)
        .map(|text| match text.parse() {
            // Zero is what clients send who do not know their size.
            Ok(0) => Ok(None),
            Ok(cells) => Ok(Some(cells)),
            Err(_) => Err(Refusal::bad(format!("`{name}` must be a number of cells up to 65535"))),
        })
        .transpose()
        .map(Option::flatten)
}

/// The session to attach to, when the request means that.
pub(super) fn session_id(pairs: &Pairs) -> Option<String> {
    get(pairs, "id").or_else(|| get(pairs, "session_id")).map(str::to_owned)
}

/// A full size, when one is given.
pub(super) fn size(pairs: &Pairs) -> Result<Option<(u16, u16)>, Refusal> {
    Ok(cells(pairs, "cols")?.zip(cells(pairs, "rows")?))
}

/// Whether an attaching client may type: unless it says no.
pub(super) fn attach_stdin(pairs: &Pairs) -> Result<bool, Refusal> {
    Ok(flag(pairs, "stdin")?.unwrap_or(true))
}

/// A command to start.
pub(super) fn start(pairs: &Pairs) -> Result<Request, Refusal> {
    for (key, value) in pairs {
        if matches!(key.as_str(), "cmd" | "path" | "env" | "dir") && value.contains('\0') {
            return Err(Refusal::bad(format!("`{key}` holds a NUL byte, which no program can be given")));
        }
    }
    let mut argv: Vec<String> = all(pairs, "cmd").map(str::to_owned).collect();
    if argv.is_empty() {
        argv.push("bash".to_owned());
    }
    let env = all(pairs, "env")
        .filter(|entry| !entry.is_empty())
        .map(|entry| match entry.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err(Refusal::bad("`env` must have the form KEY=VALUE")),
        })
        .collect::<Result<_, _>>()?;
    let tty = flag(pairs, "tty")?.unwrap_or(false);
    let detachable = flag(pairs, "detachable")?.unwrap_or(false);
    let linger = match get(pairs, "max_run_after_disconnect") {
        Some(text) => Some(duration::parse(text).ok_or_else(|| {
            Refusal::bad(
                "`max_run_after_disconnect` must be a duration such as 30s, 5m or a number of seconds",
            )
        })?),
        None if tty || detachable => None,
        None => Some(LINGER),
    };
    Ok(Request {
        path: get(pairs, "path").unwrap_or(&argv[0]).to_owned(),
        argv,
        env,
        dir: get(pairs, "dir").map(str::to_owned),
        tty,
        cols: cells(pairs, "cols")?.unwrap_or(SIZE.0),
        rows: cells(pairs, "rows")?.unwrap_or(SIZE.1),
        stdin: flag(pairs, "stdin")?.unwrap_or(tty),
        // Zero means for ever.
        linger: linger.filter(|linger| !linger.is_zero()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Pairs {
        list.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn defaults() {
        let request = start(&pairs(&[])).unwrap();
        assert_eq!(request.argv, ["bash"]);
        assert_eq!(request.path, "bash");
        assert_eq!((request.cols, request.rows), (80, 24));
        assert!(!request.tty && !request.stdin);
        assert_eq!(request.linger, Some(Duration::from_secs(10)));
        let terminal = start(&pairs(&[("tty", "true")])).unwrap();
        assert!(terminal.stdin);
        assert_eq!(terminal.linger, None);
    }

    #[test]
    fn everything_given() {
        let request = start(&pairs(&[
            ("cmd", "sh"),
            ("cmd", "-c"),
            ("cmd", ""),
            ("path", "/bin/sh"),
            ("env", "A=1"),
            ("env", "B=x=y"),
            ("dir", "/tmp"),
            ("cols", "100"),
            ("rows", "40"),
            ("stdin", "true"),
            ("cc", "true"),
            ("max_run_after_disconnect", "600"),
        ]))
        .unwrap();
        assert_eq!(request.argv, ["sh", "-c", ""]);
        assert_eq!(request.path, "/bin/sh");
        assert_eq!(request.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "x=y".to_owned())]);
        assert_eq!((request.cols, request.rows), (100, 40));
        assert_eq!(request.linger, Some(Duration::from_secs(600)));
    }

    #[test]
    fn life_after_disconnect() {
        let linger = |list: &[(&str, &str)]| start(&pairs(list)).unwrap().linger;
        assert_eq!(linger(&[("detachable", "true")]), None);
        assert_eq!(linger(&[("max_run_after_disconnect", "0")]), None);
        assert_eq!(
            linger(&[("tty", "true"), ("max_run_after_disconnect", "1m")]),
            Some(Duration::from_secs(60))
        );
    }

    #[test]
    fn refused() {
        for list in [
            [("cmd", "a\0b")],
            [("env", "novalue")],
            [("env", "=x")],
            [("tty", "maybe")],
            [("cols", "-1")],
            [("rows", "70000")],
            [("max_run_after_disconnect", "soon")],
        ] {
            assert!(start(&pairs(&list)).is_err(), "{list:?}");
        }
    }

    #[test]
    fn ids() {
        assert_eq!(session_id(&pairs(&[("id", "7")])).as_deref(), Some("7"));
        assert_eq!(
            session_id(&pairs(&[("session_id", "8"), ("cmd", ""), ("path", "")])).as_deref(),
            Some("8")
        );
        assert_eq!(session_id(&pairs(&[("id", "")])), None);
    }
}
