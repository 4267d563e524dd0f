//! The description the server gives of itself, against what it does.

use snapshots_tests::harness::Home;
use snapshots_tests::tools::{environment, must, source};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

/// Environment variable with the seconds for which calls are made up; some in the suite, more by hand.
const SECONDS: &str = "SPRITES_TEST_API_SECONDS";

const LONG: Duration = Duration::from_secs(120);

/// Sends a request as it is; gives the status of the answer, and the body.
fn call(home: &Home, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(home.paths().server_socket()).unwrap();
    stream.set_read_timeout(Some(LONG)).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut answer = Vec::new();
    // Some answers have no end; their head is enough.
    let mut chunk = [0; 16 << 10];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
        }
        if path.ends_with("/local/usage") {
            break;
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
}

#[test]
fn what_is_described_exists_and_what_is_not_does_not() {
    let home = Home::new();
    home.serve();
    assert_eq!(call(&home, "POST", "/v1/sprites", r#"{"name":"box"}"#).0, 201);
    let (status, text) = call(&home, "GET", "/v1/local/openapi.json", "");
    assert_eq!(status, 200);
    let description: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (path, item) in description["paths"].as_object().unwrap() {
        let described: BTreeSet<&str> = item.as_object().unwrap().keys().map(String::as_str).collect();
        let real = path
            .replace("{name}", "box")
            .replace("{id}", "99")
            .replace("{service}", "none")
            .replace("{task}", "none");
        for method in ["get", "post", "put", "delete", "patch"] {
            // These do what they say, to the sprite that the others need.
            let drastic = matches!(
                (method, path.as_str()),
                ("delete", "/v1/sprites/{name}") | ("post", "/v1/local/images/build")
            );
            if drastic {
                continue;
            }
            let (status, body) = call(&home, &method.to_uppercase(), &real, "");
            let nothing = status == 405 || body.contains("there is nothing at");
            assert_eq!(
                !nothing,
                described.contains(method),
                "{method} {path} answers {status}, and is {}described: {body}",
                if described.contains(method) { "" } else { "not " }
            );
            let documented = item[method]["responses"].as_object();
            assert!(
                nothing || documented.is_some_and(|answers| answers.contains_key(&status.to_string())),
                "{method} {path} answers {status}, which is not described: {body}"
            );
        }
    }
}

/// Calls made up from the description, right and wrong ones, are answered as it says.
#[test]
fn what_schemathesis_makes_up() {
    let programs = environment("schemathesis", &source("schemathesis/requirements.txt"));
    let home = Home::new();
    home.serve();
    for name in ["box", "other"] {
        assert_eq!(call(&home, "POST", "/v1/sprites", &format!(r#"{{"name":"{name}"}}"#)).0, 201);
        let service = r#"{"cmd":"sleep","args":["1000"]}"#;
        assert_eq!(
            call(&home, "PUT", &format!("/v1/sprites/{name}/services/web?duration=0s"), service).0,
            200
        );
    }
    let (url, token) = home.tcp();
    let seconds = std::env::var(SECONDS).unwrap_or_else(|_| "20".into());
    let output = must(
        Command::new(programs.join("st"))
            .args(["run", &format!("{url}/v1/local/openapi.json"), "--url", &url])
            .args(["--header", &format!("Authorization: Bearer {token}")])
            .arg("--checks")
            .arg("not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance")
            // One has no end, one ends when the sprite sleeps, and the third takes minutes.
            .args(["--exclude-operation-id", "usageStream", "--exclude-operation-id", "followServiceLogs"])
            .args(["--exclude-operation-id", "buildImage"])
            // One that is used up puts all to sleep, and every other call would be answered with that.
            .args(["--exclude-operation-id", "setBudget"])
            .args(["--phases", "coverage,fuzzing", "--max-time", &seconds, "--request-timeout", "60"])
            .args(["--continue-on-failure", "--no-color"])
            .current_dir(source("schemathesis"))
            .env("PYTHONDONTWRITEBYTECODE", "1"),
    );
    println!("{}", String::from_utf8_lossy(&output.stdout));
}
