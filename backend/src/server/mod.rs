//! The local server: the vendor's API and our extensions, over a unix socket and loopback TCP.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | start, listeners, end |
//! | `listen` | connections, as many as there may be |
//! | `outside` | listening beyond loopback, with TLS |
//! | `access` | who may call |
//! | `answer` | errors and streams as answers |
//! | `sprites` | `/v1/sprites…` |
//! | `checkpoints` | `/v1/sprites/{name}/checkpoint…` |
//! | `policy` | `/v1/sprites/{name}/policy/…` |
//! | `tasks` | `/v1/sprites/{name}/tasks…` |
//! | `account` | the organisation, and looking after a sprite's runtime |
//! | `inside` | questions from inside a sprite |
//! | `nbd` | disks of checkpoints, served to the sprite they belong to |
//! | `web` | sprites' URLs |
//! | `forward` | everything that the agent inside answers |
//! | `join` | two connections made one |
//! | `frames` | the answer of `POST exec`, paced for a client that needs it |
//! | `local` | `/v1/local/…`, our extensions |
//! | `look` | what goes on in a sprite, for those who only look |
//! | `files` | files of a sprite's checkpoints and of its present disk |
//! | `storage` | what disks take, and what to delete first |
//! | `timeline` | what happened to all sprites |
//! | `exports` | sprites as files for other machines |
//! | `images` | building base images, one at a time for all callers |

mod access;
mod account;
mod answer;
mod checkpoints;
mod exports;
mod files;
mod forward;
mod frames;
mod images;
mod inside;
mod join;
mod listen;
mod local;
mod look;
mod nbd;
mod outside;
mod policy;
mod sprites;
mod storage;
mod tasks;
mod timeline;
mod web;

use crate::meter::Meter;
use crate::paths::{PathError, Paths};
use crate::sprites::{NetworkSettings, Settings, SpriteError, Sprites, WebAddress};
use crate::store::{Store, StoreError};
use access::Token;
use answer::ApiError;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, HeaderValue, Method, Uri};
use axum::middleware;
use axum::routing::{any, get, post};
use images::ImageBuilds;
use listenfd::ListenFd;
use outside::Door;
pub use outside::Outside;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{SignalKind, signal};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::timeout::RequestBodyTimeoutLayer;

/// Largest body of a call that is not forwarded, bytes.
const MAX_BODY: usize = 1 << 20;
/// A body that stands still for this long is given up.
const BODY: Duration = Duration::from_secs(30);
/// What answers say about the version; clients take it for the runtime's.
const VERSION: HeaderName = HeaderName::from_static("sprite-version");

/// What a server needs to know.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where things live.
    pub paths: Paths,
    /// The executable whose `machine` subcommand runs a machine; usually the present one.
    pub exe: PathBuf,
    /// TCP port on loopback; 0 takes the one of last time, or any.
    pub port: u16,
    /// After this long without use a running sprite turns warm.
    pub idle: Duration,
    /// After this long a warm sprite turns cold.
    pub warm: Duration,
    /// Where to listen beside loopback.
    pub outside: Option<Outside>,
    /// What sprites may reach.
    pub network: NetworkSettings,
    /// Most sprites that run at once; none: as many as there are.
    pub most_running: Option<usize>,
    /// Most memory that sprites hold while they sleep, bytes; none: as much as they have.
    pub warm_memory: Option<u64>,
    /// Whether checkpoints are made unasked: with every hour of use, before sleep, before a stop.
    pub checkpoints: bool,
}

impl ServerConfig {
    /// The usual values.
    pub fn new(paths: Paths, exe: PathBuf) -> Self {
        Self {
            paths,
            exe,
            port: 0,
            idle: Duration::from_secs(30),
            warm: Duration::from_secs(600),
            outside: None,
            checkpoints: true,
            most_running: None,
            warm_memory: None,
            network: NetworkSettings::default(),
        }
    }
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No place to put things.
    #[error(transparent)]
    Paths(#[from] PathError),
    /// Another server runs.
    #[error("a server already runs for {0}; use it, or stop it first")]
    Running(PathBuf),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sprites.
    #[error("the sprites cannot be opened: {0}")]
    Sprites(String),
    /// The token.
    #[error("the token in {path} cannot be used: {why}; remove the file to have a new one made")]
    Token {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A wish for where to listen.
    #[error("cannot listen at {listen}: {why}")]
    Listen {
        /// Where.
        listen: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate or its key.
    #[error("{path} cannot be used for TLS: {why}; it must be a PEM file that this user may read")]
    Certificate {
        /// Its file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A socket or file.
    #[error("cannot {doing} {place}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        place: String,
        /// The host's reason.
        source: io::Error,
    },
}

impl From<SpriteError> for ServerError {
    fn from(error: SpriteError) -> Self {
        Self::Sprites(error.to_string())
    }
}

/// Everything a call may need.
#[derive(Clone)]
struct App {
    sprites: Arc<Sprites>,
    meter: Arc<Meter>,
    images: ImageBuilds,
    files: files::Desk,
    exports: exports::Turns,
}

/// The key under which the TCP port of last time is kept, so that URLs stay valid.
const PORT: &str = "port";

/// Runs the server until SIGTERM, SIGINT or SIGHUP. Machines are left running; the next server takes them over.
pub async fn run(config: ServerConfig) -> Result<(), ServerError> {
    let paths = config.paths.clone();
    paths.prepare()?;
    let lock = take_lock(&paths.server_lock())?;
    let token = Token::load_or_make(&paths.token())?;
    let store = Arc::new(Store::open(&paths.database())?);
    let tcp = bind(config.port, &store).await?;
    let address = tcp.local_addr().map_err(|source| io_error("ask for", "the address", source))?;
    if let Err(error) = store.set(PORT, &address.port().to_string()) {
        tracing::warn!("{error}");
    }
    let door = match &config.outside {
        Some(outside) => Some(outside.bind().await?),
        None => None,
    };
    let settings = Settings {
        exe: config.exe,
        idle: config.idle,
        warm: config.warm,
        checkpoints: config.checkpoints,
        most_running: config.most_running,
        warm_memory: config.warm_memory,
        network: config.network,
        web: web_address(config.outside.as_ref(), door.as_ref(), address.port()),
    };
    let sprites = Sprites::open(paths.clone(), store, settings).await?;
    let meter = Meter::start(Arc::clone(&sprites));
    let app = App {
        images: ImageBuilds::new(paths.images()),
        sprites,
        meter,
        files: files::Desk::default(),
        exports: exports::Turns::default(),
    };

    let beyond = door.as_ref().and_then(|door| door.address().ok());
    let scheme = config.outside.as_ref().map_or("", Outside::scheme);
    let info = serde_json::json!({
        "tcp": format!("http://{address}"),
        "outside": beyond.map(|place| format!("{scheme}://{place}")),
        "pid": std::process::id(),
    });
    let place = paths.server_info();
    // Whole, and before anybody can call: who is answered may look here next.
    let draft = place.with_extension("new");
    fs::write(&draft, info.to_string())
        .and_then(|()| fs::rename(&draft, &place))
        .map_err(|source| io_error("write", &place.display().to_string(), source))?;
    let socket = paths.server_socket();
    let (unix, is_given) = listen_here(&socket)?;
    tracing::info!("serving on {} and http://{address}", socket.display());
    if let Some(place) = beyond {
        tracing::info!("serving other machines on {place}");
    }

    let domain = config.outside.as_ref().and_then(Outside::domain).unwrap_or_default().to_owned();
    let open = router(app.clone());
    inside::start(app.clone(), open.clone());
    let token = Arc::new(token);
    let guarded = router(app.clone())
        .layer(middleware::from_fn_with_state(Arc::clone(&token), access::check))
        .layer(middleware::from_fn_with_state(
            web::Web { ways: web::Ways::new(Arc::clone(&app.sprites)), app, token, domain: domain.into() },
            web::dispatch,
        ));
    let watch = |kind| signal(kind).map_err(|source| io_error("watch", "signals", source));
    let mut terminate = watch(SignalKind::terminate())?;
    let mut interrupt = watch(SignalKind::interrupt())?;
    let mut hangup = watch(SignalKind::hangup())?;
    let most = listen::connections();
    tokio::select! {
        () = listen::serve(unix, open, most) => {}
        () = listen::serve(tcp, guarded.clone(), most) => {}
        () = serve_outside(door, guarded, most) => {}
        // Streams never end by themselves; machines and disks need no farewell from here.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
    let _ = fs::remove_file(paths.server_info());
    // One that somebody else made is his, and brings the next server.
    if !is_given {
        let _ = fs::remove_file(paths.server_socket());
    }
    drop(lock);
    Ok(())
}

/// The socket of this machine's clients: the one that this process was started with (systemd's socket activation, `man 3 sd_listen_fds`), which the
/// second part of the answer tells, or a new one.
fn listen_here(path: &Path) -> Result<(UnixListener, bool), ServerError> {
    let failed = |doing| move |source| io_error(doing, &path.display().to_string(), source);
    let given = ListenFd::from_env().take_unix_listener(0).map_err(failed("listen on"))?;
    if let Some(given) = given {
        given.set_nonblocking(true).map_err(failed("listen on"))?;
        return Ok((UnixListener::from_std(given).map_err(failed("listen on"))?, true));
    }
    // The lock is ours, so whatever stands there is a dead server's.
    let _ = fs::remove_file(path);
    let made = UnixListener::bind(path).map_err(failed("listen on"))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("guard"))?;
    Ok((made, false))
}

/// How sprites' URLs are made: those of this machine, or where other machines reach them as well.
fn web_address(outside: Option<&Outside>, door: Option<&Door>, port: u16) -> WebAddress {
    let beyond = outside.and_then(|outside| Some((outside, outside.domain()?)));
    match beyond.zip(door.and_then(|door| door.address().ok())) {
        Some(((outside, domain), place)) => {
            WebAddress { scheme: outside.scheme(), domain: domain.to_owned(), port: place.port() }
        }
        None => WebAddress { scheme: "http", domain: "localhost".to_owned(), port },
    }
}

async fn serve_outside(door: Option<Door>, router: Router, most: usize) {
    match door {
        Some(door) => listen::serve(door, router, most).await,
        None => std::future::pending().await,
    }
}

fn io_error(doing: &'static str, place: &str, source: io::Error) -> ServerError {
    ServerError::Io { doing, place: place.to_owned(), source }
}

fn take_lock(path: &Path) -> Result<File, ServerError> {
    let file = File::create(path).map_err(|source| io_error("open", &path.display().to_string(), source))?;
    let start = std::time::Instant::now();
    // A machine that is being started holds a copy of its parent's lock for a moment.
    while file.try_lock().is_err() {
        if start.elapsed() > Duration::from_millis(500) {
            return Err(ServerError::Running(path.parent().unwrap_or(path).to_owned()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(file)
}

/// Listens on the wanted port of loopback, else on the one of last time, else on any.
async fn bind(wanted: u16, store: &Store) -> Result<TcpListener, ServerError> {
    let last = store.setting(PORT)?.and_then(|port| port.parse().ok()).unwrap_or(0);
    let choices: &[u16] = if wanted == 0 { &[last, 0] } else { &[wanted] };
    let mut failure = io::ErrorKind::AddrInUse.into();
    for port in choices {
        match TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).await {
            Ok(listener) => return Ok(listener),
            Err(error) => failure = error,
        }
    }
    Err(io_error("listen on", &format!("port {wanted} of 127.0.0.1"), failure))
}

fn router(app: App) -> Router {
    let forwarded = Router::new()
        .route("/v1/sprites/{name}/exec", any(forward::exec))
        .route("/v1/sprites/{name}/exec/{*rest}", any(forward::session))
        .route("/v1/sprites/{name}/fs/{*rest}", any(forward::any))
        .route("/v1/sprites/{name}/services", any(forward::any))
        .route("/v1/sprites/{name}/services/{*rest}", any(forward::any))
        .route("/v1/sprites/{name}/ports/{*rest}", any(forward::any))
        .route("/v1/sprites/{name}/proxy", any(forward::any));
    Router::new()
        .route("/v1/sprites", get(sprites::list).post(sprites::create))
        .route("/v1/sprites/{name}", get(sprites::get).put(sprites::update).delete(sprites::delete))
        .route("/v1/sprites/{name}/checkpoint", post(checkpoints::create))
        .route("/v1/sprites/{name}/checkpoints", get(checkpoints::list))
        .route("/v1/sprites/{name}/checkpoints/{id}", get(checkpoints::get).delete(checkpoints::delete))
        .route("/v1/sprites/{name}/checkpoints/{id}/restore", post(checkpoints::restore))
        .route(
            "/v1/sprites/{name}/policy/network",
            get(policy::network)
                .post(policy::set_network)
                .layer(DefaultBodyLimit::max(sprites_api::policy::MAX_BYTES)),
        )
        .route(
            "/v1/sprites/{name}/policy/privileges",
            get(policy::privileges).post(policy::set_privileges).delete(policy::unset_privileges),
        )
        .route(
            "/v1/sprites/{name}/policy/resources",
            get(policy::resources).post(policy::set_resources).delete(policy::unset_resources),
        )
        .route("/v1/sprites/{name}/tasks", get(tasks::list).post(tasks::create).put(tasks::put))
        .route("/v1/sprites/{name}/tasks/{task}", get(tasks::get).put(tasks::put_one).delete(tasks::delete))
        .route("/v1/sprites/{name}/upgrade", post(account::upgrade))
        .route("/v1/sprites/{name}/restart", post(account::restart))
        .route("/v1/sprites/{name}/check", get(account::check))
        .route("/v1/sprites/{name}/logs", get(account::logs))
        .route("/v1/organization", get(account::organization))
        .route("/v1/local/version", get(local::version))
        .route("/v1/local/openapi.json", get(local::openapi))
        .route("/v1/local/usage", get(local::usage))
        .route("/v1/local/costs", get(local::costs))
        .route("/v1/local/events", get(timeline::timeline))
        .route("/v1/local/budget", get(local::budget).put(local::set_budget))
        .route("/v1/local/sprites/{name}/usage", get(local::history))
        .route("/v1/local/sprites/{name}/network", get(local::network))
        .route("/v1/local/sprites/{name}/events", get(local::events))
        .route("/v1/local/sprites/{name}/inside", get(look::inside))
        .route("/v1/local/sprites/{name}/services/{service}/logs", get(look::logs))
        .route("/v1/local/sprites/{name}/tree", get(local::tree))
        .route("/v1/local/sprites/{name}/fork", post(local::fork))
        .route("/v1/local/sprites/{name}/stop", post(local::stop))
        .route("/v1/local/sprites/{name}/files", get(files::list))
        .route("/v1/local/sprites/{name}/files/read", get(files::read))
        .route("/v1/local/sprites/{name}/diff", get(files::diff))
        .route("/v1/local/sprites/{name}/diff/file", get(files::diff_file))
        .route("/v1/local/sprites/{name}/storage", get(storage::of_sprite))
        .route("/v1/local/storage", get(storage::all))
        .route("/v1/local/sprites/{name}/export", get(exports::export))
        .route("/v1/local/import", post(exports::import))
        .route("/v1/local/images", get(local::images))
        .route("/v1/local/images/build", post(local::build_image))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(RequestBodyTimeoutLayer::new(BODY))
        .merge(forwarded)
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(CatchPanicLayer::custom(answer::panicked))
        .layer(middleware::map_response(stamp))
        .with_state(app)
}

async fn unknown(uri: Uri) -> ApiError {
    ApiError::new(
        404,
        "not_found",
        format!("there is nothing at {}", uri.path().chars().take(120).collect::<String>()),
    )
}

async fn not_allowed(method: Method, uri: Uri) -> ApiError {
    let path: String = uri.path().chars().take(120).collect();
    ApiError::new(405, "method_not_allowed", format!("{method} is not possible on {path}"))
}

/// Every answer tells the version.
async fn stamp(mut response: axum::response::Response) -> axum::response::Response {
    response.headers_mut().entry(VERSION).or_insert(HeaderValue::from_static(env!("CARGO_PKG_VERSION")));
    response
}

#[cfg(test)]
mod tests {
    /// Routes cannot be asked for, so they are read where they stand.
    #[test]
    fn every_route_is_described_and_nothing_else() {
        let source = include_str!("mod.rs");
        let source = &source[..source.find("#[cfg(test)]").unwrap()];
        let routes: Vec<&str> = source
            .split(".route(")
            .skip(1)
            .map(|rest| rest.split('"').nth(1).expect("a route begins with its path"))
            .collect();
        let description: serde_json::Value = serde_json::from_str(sprites_api::OPENAPI).unwrap();
        let described: Vec<&String> = description["paths"].as_object().unwrap().keys().collect();
        // Names of parameters may differ.
        let bare = |path: &str| -> Vec<String> {
            path.split('/')
                .map(|part| {
                    if part.starts_with("{*") {
                        "**"
                    } else if part.starts_with('{') {
                        "*"
                    } else {
                        part
                    }
                })
                .map(str::to_owned)
                .collect()
        };
        let covers = |route: &str, path: &str| {
            let (route, path) = (bare(route), bare(path));
            match route.last().map(String::as_str) {
                Some("**") => {
                    path.len() >= route.len() && path[..route.len() - 1] == route[..route.len() - 1]
                }
                _ => path == route,
            }
        };
        for route in &routes {
            assert!(described.iter().any(|path| covers(route, path)), "{route} is not described");
        }
        for path in described {
            assert!(
                routes.iter().any(|route| covers(route, path)),
                "{path} is described, but there is no route"
            );
        }
    }
}
