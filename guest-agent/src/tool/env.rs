//! `sprite-env`: the sprite's own API as commands.

use super::client::{Answer, Trouble, ask};
use hyper::Method;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::process::{Command, ExitCode};

const USAGE: &str = "usage: sprite-env COMMAND

  info                                  who this sprite is
  version                               version of the environment
  services list | get NAME | delete NAME
  services create NAME --cmd PROGRAM [--args A,B] [--env K=V,K=V] [--dir PATH] [--needs A,B]
                       [--http-port N] [--duration 5s] [--no-stream]
  services start NAME [--duration 5s] | stop NAME | restart NAME [--duration 5s]
  services signal NAME SIGNAL | logs NAME [--lines N] [--duration 5s]
  checkpoints list | get ID | create [--comment TEXT] | restore ID
  tasks list | get NAME | create NAME --expire 30m | delete NAME
  curl [OPTIONS] PATH                   any call, by curl

A comma in an argument is written \\,.";

/// Runs a command.
pub(super) fn run(arguments: Vec<String>) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = match runtime {
        Ok(runtime) => runtime.block_on(obey(&arguments)),
        Err(error) => Err(Failed::Trouble(format!("it cannot run: {error}"))),
    };
    match done {
        Ok(code) => code,
        Err(Failed::Usage(reason)) => {
            eprintln!("sprite-env: {reason}\n\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failed::Trouble(reason)) => {
            eprintln!("sprite-env: {reason}");
            ExitCode::FAILURE
        }
    }
}

enum Failed {
    Usage(String),
    Trouble(Trouble),
}

impl From<Trouble> for Failed {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

type Done = Result<ExitCode, Failed>;

async fn obey(arguments: &[String]) -> Done {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] | ["help" | "-h" | "--help"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        ["info"] => show(ask(Method::GET, "/v1/info", None).await?).await,
        ["version"] => {
            println!("{}", env!("CARGO_PKG_VERSION"));
            Ok(ExitCode::SUCCESS)
        }
        ["curl", ref rest @ ..] => curl(rest),
        ["services", ref rest @ ..] => services(rest).await,
        ["checkpoints" | "checkpoint", ref rest @ ..] => checkpoints(rest).await,
        ["tasks" | "task", ref rest @ ..] => tasks(rest).await,
        [other, ..] => Err(Failed::Usage(format!("there is no command {other}"))),
    }
}

async fn services(words: &[&str]) -> Done {
    match words {
        ["list"] => show(ask(Method::GET, "/v1/services", None).await?).await,
        ["get", name] => show(ask(Method::GET, &format!("/v1/services/{}", coded(name)), None).await?).await,
        ["delete", name] => {
            show(ask(Method::DELETE, &format!("/v1/services/{}", coded(name)), None).await?).await
        }
        ["signal", name, signal] => {
            let body = json!({ "name": name, "signal": signal }).to_string();
            show(ask(Method::POST, "/v1/services/signal", Some(body)).await?).await
        }
        ["create", name, rest @ ..] => {
            let mut options = Options::read(
                rest,
                &["--cmd", "--args", "--env", "--dir", "--needs", "--http-port", "--duration"],
                &["--no-stream"],
            )?;
            let body = definition(&mut options)?;
            let quiet = options.switch("--no-stream");
            let duration = if quiet { Some("0s".to_owned()) } else { options.take("--duration") };
            let path = with_time(format!("/v1/services/{}", coded(name)), "duration", duration);
            let answer = ask(Method::PUT, &path, Some(body.to_string())).await?;
            if quiet { silent(answer).await } else { events(answer).await }
        }
        [verb @ ("start" | "restart" | "stop"), name, rest @ ..] => {
            let mut options = Options::read(rest, &["--duration", "--timeout"], &[])?;
            let path = format!("/v1/services/{}/{verb}", coded(name));
            let (key, flag) =
                if *verb == "stop" { ("timeout", "--timeout") } else { ("duration", "--duration") };
            let path = with_time(path, key, options.take(flag));
            events(ask(Method::POST, &path, None).await?).await
        }
        ["logs", name, rest @ ..] => {
            let mut options = Options::read(rest, &["--duration", "--lines"], &[])?;
            let path =
                with_time(format!("/v1/services/{}/logs", coded(name)), "lines", options.take("--lines"));
            let path = with_time(path, "duration", options.take("--duration"));
            events(ask(Method::GET, &path, None).await?).await
        }
        _ => Err(Failed::Usage("this is no command of services".into())),
    }
}

async fn checkpoints(words: &[&str]) -> Done {
    match words {
        ["list", rest @ ..] => {
            let mut options = Options::read(rest, &["--history"], &["--include-auto"])?;
            let mut path = with_time("/v1/checkpoints".into(), "history", options.take("--history"));
            if options.switch("--include-auto") {
                path = with_time(path, "includeAuto", Some("true".into()));
            }
            show(ask(Method::GET, &path, None).await?).await
        }
        ["get", id] => show(ask(Method::GET, &format!("/v1/checkpoints/{}", coded(id)), None).await?).await,
        ["create", rest @ ..] => {
            let comment = Options::read(rest, &["--comment"], &[])?.take("--comment");
            let body = comment.map_or_else(|| json!({}), |comment| json!({ "comment": comment }));
            events(ask(Method::POST, "/v1/checkpoint", Some(body.to_string())).await?).await
        }
        ["restore", id] => {
            let path = format!("/v1/checkpoints/{}/restore", coded(id));
            events(ask(Method::POST, &path, None).await?).await
        }
        _ => Err(Failed::Usage("this is no command of checkpoints".into())),
    }
}

async fn tasks(words: &[&str]) -> Done {
    match words {
        ["list"] => show(ask(Method::GET, "/v1/tasks", None).await?).await,
        ["get", name] => show(ask(Method::GET, &format!("/v1/tasks/{}", coded(name)), None).await?).await,
        ["delete", name] => {
            show(ask(Method::DELETE, &format!("/v1/tasks/{}", coded(name)), None).await?).await
        }
        ["create", name, rest @ ..] => {
            let expire = Options::read(rest, &["--expire"], &[])?.take("--expire");
            let body = json!({ "expire": expire.unwrap_or_else(|| "1h".into()) });
            show(ask(Method::PUT, &format!("/v1/tasks/{}", coded(name)), Some(body.to_string())).await?).await
        }
        _ => Err(Failed::Usage("this is no command of tasks".into())),
    }
}

fn curl(words: &[&str]) -> Done {
    let Some((path, options)) = words.split_last() else {
        return Err(Failed::Usage("curl needs a path such as /v1/services".into()));
    };
    let slash = if path.starts_with('/') { "" } else { "/" };
    let status = Command::new("curl")
        .args(["--silent", "--show-error", "--unix-socket", sprites_api::agent::API_SOCKET])
        .args(["--header", "Content-Type: application/json"])
        .args(options)
        .arg(format!("http://sprite{slash}{path}"))
        .status()
        .map_err(|error| Failed::Trouble(format!("curl does not start: {error}")))?;
    Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// Options after a command: those that take a value, and switches.
struct Options(Map<String, Value>);

impl Options {
    fn read(words: &[&str], valued: &[&str], switches: &[&str]) -> Result<Self, Failed> {
        let mut given = Map::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (*word, None),
            };
            if switches.contains(&name) {
                given.insert(name.to_owned(), Value::Bool(true));
            } else if valued.contains(&name) {
                let missing = || Failed::Usage(format!("{name} needs a value"));
                let value = value.or_else(|| words.next().copied()).ok_or_else(missing)?;
                given.insert(name.to_owned(), value.into());
            } else {
                return Err(Failed::Usage(format!("unknown option {name}")));
            }
        }
        Ok(Self(given))
    }

    fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)?.as_str().map(str::to_owned)
    }

    fn switch(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn definition(options: &mut Options) -> Result<Value, Failed> {
    let cmd = options.take("--cmd").ok_or_else(|| Failed::Usage("a service needs --cmd".into()))?;
    let mut body = json!({ "cmd": cmd });
    for (flag, key) in [("--args", "args"), ("--needs", "needs")] {
        if let Some(text) = options.take(flag) {
            body[key] = list(&text).into();
        }
    }
    if let Some(text) = options.take("--env") {
        let mut env = Map::new();
        for pair in list(&text) {
            let wrong = || Failed::Usage("--env has the form KEY=VALUE,KEY=VALUE".into());
            let (key, value) = pair.split_once('=').ok_or_else(wrong)?;
            env.insert(key.to_owned(), value.into());
        }
        body["env"] = env.into();
    }
    if let Some(dir) = options.take("--dir") {
        body["dir"] = dir.into();
    }
    if let Some(port) = options.take("--http-port") {
        let port: u16 = port.parse().map_err(|_| Failed::Usage("--http-port is a number".into()))?;
        body["http_port"] = port.into();
    }
    Ok(body)
}

/// Words between commas; `\,` is a comma in a word.
fn list(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        let last = words.len() - 1;
        match sign {
            '\\' if signs.peek() == Some(&',') => words[last].extend(signs.next()),
            ',' => words.push(String::new()),
            _ => words[last].push(sign),
        }
    }
    words
}

fn with_time(path: String, key: &str, value: Option<String>) -> String {
    match value {
        Some(value) => {
            let sign = if path.contains('?') { '&' } else { '?' };
            format!("{path}{sign}{key}={}", coded(&value))
        }
        None => path,
    }
}

/// Percent-encoded for a path or a query.
fn coded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// An answer that is one piece of JSON.
async fn show(answer: Answer) -> Done {
    if !answer.status.is_success() {
        return refused(answer).await;
    }
    let text = answer.text().await?;
    if !text.is_empty() {
        let pretty = serde_json::from_str::<Value>(&text)
            .ok()
            .and_then(|value| serde_json::to_string_pretty(&value).ok())
            .unwrap_or(text);
        println!("{pretty}");
    }
    Ok(ExitCode::SUCCESS)
}

/// An answer whose lines do not matter, unless they tell of a failure.
async fn silent(answer: Answer) -> Done {
    if answer.status.is_success() { Ok(ExitCode::SUCCESS) } else { refused(answer).await }
}

/// An answer of lines that tell what happens.
async fn events(answer: Answer) -> Done {
    if !answer.status.is_success() {
        return refused(answer).await;
    }
    let mut failed = false;
    let mut rest = Vec::new();
    answer
        .print(|piece| {
            rest.extend_from_slice(piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                if let Ok(event) = serde_json::from_slice::<Value>(&line) {
                    failed |= event["type"] == "error";
                    tell(&event)?;
                }
            }
            Ok(())
        })
        .await?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(event: &Value) -> io::Result<()> {
    let data =
        event["data"].as_str().or_else(|| event["error"].as_str()).or_else(|| event["message"].as_str());
    match (event["type"].as_str(), data) {
        (Some("stderr" | "error"), Some(data)) => writeln!(io::stderr(), "{data}"),
        (Some("complete"), None) => Ok(()),
        (_, Some(data)) => writeln!(io::stdout(), "{data}"),
        (Some("exit"), None) => writeln!(io::stdout(), "exit {}", event["exit_code"]),
        (Some(kind), None) => writeln!(io::stdout(), "{kind}"),
        (None, None) => Ok(()),
    }
}

async fn refused(answer: Answer) -> Done {
    let status = answer.status;
    let text = answer.text().await?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let reason = body["message"].as_str().or_else(|| body["error"].as_str()).unwrap_or(&text);
    Err(Failed::Trouble(if reason.is_empty() { status.to_string() } else { reason.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_between_commas() {
        assert_eq!(list("-m,http.server"), ["-m", "http.server"]);
        assert_eq!(list(r"a\,b,c\d"), ["a,b", r"c\d"]);
        assert_eq!(list(""), [""]);
    }

    #[test]
    fn a_definition() {
        let words = ["--cmd", "python3", "--args=-m,http.server", "--env", "A=1,B=x=y", "--http-port", "80"];
        let valued = ["--cmd", "--args", "--env", "--http-port"];
        let mut options = Options::read(&words, &valued, &[]).unwrap_or_else(|_| panic!());
        let body = definition(&mut options).unwrap_or_else(|_| panic!());
        let wanted = json!({ "cmd": "python3", "args": ["-m", "http.server"], "env": { "A": "1", "B": "x=y" }, "http_port": 80 });
        assert_eq!(body, wanted);
        assert!(Options::read(&["--what"], &valued, &[]).is_err());
        assert!(Options::read(&["--cmd"], &valued, &[]).is_err());
    }
}
