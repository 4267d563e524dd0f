//! Listening beyond loopback: with TLS, with the token, under a domain.

use snapshots_tests::harness::Home;
use std::fs;
use std::process::{Command, Output};

/// A server with a certificate of its own for `sprites.test`, and where it listens.
fn serve(home: &Home) -> String {
    let names = ["sprites.test".to_owned(), "*.sprites.test".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let place = |name: &str| home.paths().config_file().with_file_name(name);
    fs::write(place("certificate.pem"), made.cert.pem()).unwrap();
    fs::write(place("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let config = format!(
        "[server]\nlisten = \"https://127.0.0.1:0\"\ndomain = \"sprites.test\"\ncertificate = {:?}\nkey = {:?}\n",
        place("certificate.pem"),
        place("key.pem")
    );
    fs::write(home.paths().config_file(), config).unwrap();
    home.serve();
    let info: serde_json::Value =
        serde_json::from_slice(&fs::read(home.paths().server_info()).unwrap()).unwrap();
    info["outside"].as_str().unwrap().to_owned()
}

/// curl, which trusts that certificate and takes every name below the domain for this machine.
fn curl(home: &Home, url: &str, arguments: &[&str]) -> Output {
    let host = url.split('/').nth(2).unwrap();
    Command::new("curl")
        .args(["-sS", "--max-time", "60", "--noproxy", "*", "--connect-to", &format!("{host}:127.0.0.1:")])
        .arg("--cacert")
        .arg(home.paths().config_file().with_file_name("certificate.pem"))
        .args(arguments)
        .arg(url)
        .output()
        .unwrap()
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn other_machines_need_tls_and_the_token() {
    let home = Home::new();
    let outside = serve(&home);
    let port = outside.rsplit(':').next().unwrap().to_owned();
    let (_, token) = home.tcp();
    let bearer = format!("Authorization: Bearer {token}");
    let api = format!("https://sprites.test:{port}/v1/sprites");
    assert!(text(curl(&home, &api, &[])).contains("unauthorized"));
    assert!(text(curl(&home, &api, &["-H", &bearer])).contains("\"sprites\""));
    // Without TLS there is nothing, and a certificate that nobody vouches for is none.
    assert!(!curl(&home, &api.replace("https", "http"), &["-H", &bearer]).status.success());
    let trusting_nobody = Command::new("curl")
        .args(["-sS", "--max-time", "60", "--noproxy", "*", "--connect-to", "::127.0.0.1:", &api])
        .output()
        .unwrap();
    assert!(!trusting_nobody.status.success());

    // A sprite's URL is a subdomain, and tells the app how it was reached.
    let made =
        text(curl(&home, &api, &["-H", &bearer, "-d", r#"{"name":"web","url_settings":{"auth":"public"}}"#]));
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let url = made["url"].as_str().unwrap();
    assert!(url.starts_with("https://web-") && url.ends_with(&format!(".sprites.test:{port}")), "{url}");
    let app = "import http.server as h\nclass H(h.BaseHTTPRequestHandler):\n def do_GET(s):\n  b=str(s.headers).encode()\n  \
               s.send_response(200);s.send_header('Content-Length',str(len(b)));s.end_headers();s.wfile.write(b)\n\
               h.HTTPServer(('',8000),H).serve_forever()";
    let service = serde_json::json!({ "cmd": "python3", "args": ["-c", app], "http_port": 8000 }).to_string();
    let defined = ["-H", &bearer, "-X", "PUT", "-d", &service];
    text(curl(&home, &format!("{api}/web/services/app?duration=0s"), &defined));
    let headers = text(curl(&home, url, &[])).to_lowercase();
    assert!(headers.contains("x-forwarded-proto: https"), "{headers}");
    assert!(headers.contains("x-forwarded-for: 127.0.0.1"), "{headers}");
}

#[test]
fn what_cannot_be_listened_for_is_told() {
    let home = Home::new();
    for (arguments, word) in [
        (vec!["--listen", "https://0.0.0.0:8443"], "certificate"),
        (
            vec!["--listen", "https://127.0.0.1:0", "--certificate", "/none.pem", "--key", "/none.pem"],
            "/none.pem",
        ),
        (vec!["--listen", "example.org"], "https://ADDRESS:PORT"),
    ] {
        let output = home.command(&[&["serve"], &arguments[..]].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(word), "{said}");
    }
}
