//! What can be said. Names and flags are the original's; what it does not have is marked.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Heading of the options that every command has.
const WHICH: &str = "Which sprite";

/// Sprites: small persistent Linux computers, on this machine or in the cloud.
#[derive(Debug, Parser)]
#[command(name = "sprite", version, about, max_term_width = 100, propagate_version = true)]
pub struct Arguments {
    /// Which endpoint and which sprite.
    #[command(flatten)]
    pub place: PlaceArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Which endpoint and which sprite; these can stand before and after a command.
#[derive(Args, Clone, Debug, Default)]
pub struct PlaceArguments {
    /// Sprite; else the one that `sprite use` chose for this folder
    #[arg(short, long, global = true, help_heading = WHICH, value_name = "NAME")]
    pub sprite: Option<String>,
    /// Organization of the official command line's configuration, or `local` for this machine
    #[arg(short, long, global = true, help_heading = WHICH, value_name = "NAME", env = "SPRITE_ORG", hide_env_values = true)]
    pub org: Option<String>,
    /// Context of sprites-tui's configuration, or `local` for this machine
    #[arg(long, global = true, help_heading = WHICH, value_name = "NAME", conflicts_with = "org")]
    pub context: Option<String>,
}

/// The same mistake, without a letter suggested for a word: `services` is no `s`.
pub fn better(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let words = match error.remove(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(word)) => vec![word],
        Some(ContextValue::Strings(words)) => words,
        _ => Vec::new(),
    };
    let words: Vec<String> = words.into_iter().filter(|word| word.len() > 1).collect();
    if !words.is_empty() {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(words));
    }
    if matches!(error.get(ContextKind::Suggested), Some(ContextValue::StyledStrs(tips)) if tips.is_empty()) {
        error.remove(ContextKind::Suggested);
    }
    let service = |word: &ContextValue| matches!(word, ContextValue::String(word) if word == "service" || word == "services");
    if error.get(ContextKind::InvalidSubcommand).is_some_and(service) {
        let tip = "services are looked after inside: sprite exec -- sprite-env services list";
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    }
    error
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a sprite
    Create(Create),
    /// List sprites
    #[command(visible_alias = "ls")]
    List(List),
    /// Destroy sprites with everything in them
    Destroy(Destroy),
    /// Choose a sprite for this folder: commands here mean it when they name none
    Use {
        /// Its name
        name: Option<String>,
        /// Choose none
        #[arg(long, conflicts_with = "name")]
        unset: bool,
    },
    /// Tell what is known of a sprite
    Info {
        /// Its name; else the one of `-s` or `sprite use`
        name: Option<String>,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
    /// Run a command in a sprite
    #[command(visible_alias = "x")]
    Exec(Exec),
    /// Open a shell in a sprite; ctrl-\ leaves it running
    #[command(visible_alias = "c")]
    Console(Console),
    /// Sessions: commands that run in a sprite
    #[command(visible_alias = "s")]
    Sessions {
        /// What to do
        #[command(subcommand)]
        command: Sessions,
    },
    /// Attach to a session that runs
    Attach {
        /// Its id
        id: String,
    },
    /// Checkpoints: states of a sprite's disk to go back to
    #[command(visible_alias = "checkpoints")]
    Checkpoint {
        /// What to do
        #[command(subcommand)]
        command: Checkpoint,
    },
    /// Go back to a checkpoint
    Restore(Restore),
    /// Forward ports of a sprite to this machine
    Proxy(Proxy),
    /// A sprite's web address
    Url {
        /// Its name; else the one of `-s` or `sprite use`
        name: Option<String>,
        /// What to do
        #[command(subcommand)]
        command: Option<Url>,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
    /// A sprite's settings
    Config {
        /// What to do
        #[command(subcommand)]
        command: Config,
    },
    /// A sprite's files
    File {
        /// What to do
        #[command(subcommand)]
        command: File,
    },
    /// What changed between two checkpoints, or since one, without waking the sprite; the code is 1 when anything did (this machine only)
    Diff(Diff),
    /// Print a file of a checkpoint, or of the present, without waking the sprite (this machine only)
    Cat(Cat),
    /// What a sprite's disk takes, and which checkpoints to delete first (this machine only)
    Storage {
        /// All sprites
        #[arg(short, long)]
        all: bool,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
    /// Write a sprite into one file for another machine, or into an object store (this machine only)
    Export(Export),
    /// Make a sprite from an exported one (this machine only)
    Import {
        /// A file, `-` for the standard input, or s3://BUCKET/KEY
        from: String,
        /// Name of the new sprite; else the exported one's
        name: Option<String>,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
    /// List the exported sprites in an object store
    Exports {
        /// Where, as s3://BUCKET/ or s3://BUCKET/FOLDER/
        at: String,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
    /// Copy a file or a folder from one sprite to another, which may be of another context
    Copy(Copy),
    /// Call the API by curl, signed
    Api(Api),
    /// List the places sprites are: this machine, contexts, organizations
    Contexts(Format),
    /// Print a completion script for a shell
    Completion {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Write manual pages into a folder, one for each command
    Manual {
        /// Where to, such as ~/.local/share/man/man1; it is made
        folder: PathBuf,
    },
}

/// Form of the output.
#[derive(Args, Clone, Copy, Debug, Default)]
pub struct Format {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

/// See [`Command::Create`].
#[derive(Args, Debug)]
pub struct Create {
    /// Its name
    pub name: Option<String>,
    /// Do not open a console afterwards
    #[arg(long)]
    pub skip_console: bool,
    /// A label; may be given several times
    #[arg(long, value_name = "LABEL")]
    pub label: Vec<String>,
    /// Memory in MiB (this machine only)
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// Number of CPUs (this machine only)
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Form of the output
    #[command(flatten)]
    pub format: Format,
}

/// See [`Command::List`].
#[derive(Args, Debug)]
pub struct List {
    /// Only those whose name begins so
    #[arg(long, value_name = "PREFIX", default_value = "")]
    pub prefix: String,
    /// Go on with every change
    #[arg(short, long)]
    pub watch: bool,
    /// Form of the output
    #[command(flatten)]
    pub format: Format,
}

/// See [`Command::Destroy`].
#[derive(Args, Debug)]
pub struct Destroy {
    /// Their names; else the one of `-s` or `sprite use`
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
}

/// See [`Command::Exec`].
#[derive(Args, Debug)]
pub struct Exec {
    /// Working directory
    #[arg(long, value_name = "PATH")]
    pub dir: Option<String>,
    /// With a terminal
    #[arg(long, short = 't')]
    pub tty: bool,
    /// Environment variables, K=V,K2=V2; may be given several times
    #[arg(long, value_name = "K=V")]
    pub env: Vec<String>,
    /// Copy a file into the sprite first, SOURCE:DEST; may be given several times
    #[arg(long, value_name = "SRC:DEST")]
    pub file: Vec<String>,
    /// By plain HTTP instead of a WebSocket: no input, output at the end
    #[arg(long)]
    pub http_post: bool,
    /// Send no input
    #[arg(long)]
    pub no_stdin: bool,
    /// Do not forward ports that open meanwhile
    #[arg(long)]
    pub no_port_forward: bool,
    /// Accepted for the original's sake; connections are what they are
    #[arg(long, hide = true)]
    pub control: bool,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// See [`Command::Console`].
#[derive(Args, Debug, Default)]
pub struct Console {
    /// Do not forward ports that open meanwhile
    #[arg(long)]
    pub no_port_forward: bool,
}

/// See [`Command::Sessions`].
#[derive(Debug, Subcommand)]
pub enum Sessions {
    /// List them
    #[command(visible_alias = "ls")]
    List(Format),
    /// Attach to one
    Attach {
        /// Its id
        id: String,
    },
    /// End one
    Kill {
        /// Its id
        id: String,
        /// Signal; one that does not end it is followed by SIGKILL after ten seconds
        #[arg(long, default_value = "SIGTERM")]
        signal: String,
    },
}

/// See [`Command::Checkpoint`].
#[derive(Debug, Subcommand)]
pub enum Checkpoint {
    /// Make one
    Create {
        /// What to remember it by
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// With all that runs (this machine with real KVM only)
        #[arg(long)]
        memory: bool,
    },
    /// List them
    #[command(visible_alias = "ls")]
    List {
        /// Only those that come from this one
        #[arg(long, value_name = "ID")]
        history: Option<String>,
        /// Also those that were made by themselves
        #[arg(long)]
        include_auto: bool,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
    /// Tell what is known of one
    Info {
        /// Its id
        id: String,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
    /// Delete one; at a terminal it asks
    #[command(visible_alias = "rm")]
    Delete {
        /// Its id
        id: String,
        /// Do not ask
        #[arg(short, long)]
        force: bool,
    },
    /// Go back to one
    Restore(Restore),
}

/// See [`Command::Restore`].
#[derive(Args, Debug)]
pub struct Restore {
    /// Id of the checkpoint
    pub id: String,
    /// With all that ran (this machine with real KVM only)
    #[arg(long)]
    pub memory: bool,
}

/// See [`Command::Proxy`].
#[derive(Args, Debug)]
pub struct Proxy {
    /// Join standard input and output to a port, [HOST]:PORT
    #[arg(short = 'W', long, value_name = "[HOST]:PORT", conflicts_with = "ports")]
    pub stdio: Option<String>,
    /// PORT, or LOCAL:REMOTE
    #[arg(required_unless_present = "stdio", value_name = "PORT|LOCAL:REMOTE")]
    pub ports: Vec<String>,
}

/// See [`Command::Url`].
#[derive(Debug, Subcommand)]
pub enum Url {
    /// Say who may open it
    Update {
        /// Who
        #[arg(short, long)]
        auth: Auth,
    },
}

/// Who may open a sprite's web address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Everybody.
    Public,
    /// Who has the token.
    Sprite,
}

/// See [`Command::Config`].
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Change settings
    Update {
        /// Who may open its web address
        #[arg(long)]
        url_auth: Option<Auth>,
        /// Which members, under `sprite`
        #[arg(long, value_parser = ["admins", "org_users"])]
        private_access: Option<String>,
        /// A label; all of them together replace what there is
        #[arg(long, value_name = "LABEL")]
        label: Vec<String>,
        /// No labels
        #[arg(long, conflicts_with = "label")]
        clear_labels: bool,
    },
}

/// See [`Command::File`].
#[derive(Debug, Subcommand)]
pub enum File {
    /// Copy a file from here into the sprite
    Push {
        /// From here; `-` is the standard input
        local: PathBuf,
        /// To there; a name that ends in a slash is a folder
        remote: String,
        /// A folder with everything below, links and permissions too
        #[arg(short, long)]
        recursive: bool,
        /// Make folders that are missing
        #[arg(short, long)]
        parents: bool,
    },
    /// Copy a file from the sprite to here
    Pull {
        /// From there
        remote: String,
        /// To here; `-` is the standard output. This folder, under its own name, when absent
        local: Option<PathBuf>,
        /// A folder with everything below, permissions too, and links that stay below it
        #[arg(short, long)]
        recursive: bool,
    },
    /// Edit a file of the sprite with $EDITOR
    Edit {
        /// Which
        remote: String,
    },
    /// List a folder
    #[command(visible_alias = "ls")]
    List {
        /// Which; else home
        #[arg(default_value = ".")]
        remote: String,
        /// Everything below as well
        #[arg(short, long)]
        recursive: bool,
        /// As it was at this checkpoint, or is now (`Current`), without waking the sprite; takes a path that begins with a slash
        #[arg(long, value_name = "ID", conflicts_with = "recursive")]
        at: Option<String>,
        /// Form of the output
        #[command(flatten)]
        format: Format,
    },
}

/// See [`Command::Diff`].
#[derive(Args, Debug)]
pub struct Diff {
    /// One checkpoint
    pub from: String,
    /// The other, or the present
    #[arg(default_value = "Current")]
    pub to: String,
    /// What changed in one file, line by line
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
    /// Form of the output
    #[command(flatten)]
    pub format: Format,
}

/// See [`Command::Cat`].
#[derive(Args, Debug)]
pub struct Cat {
    /// As it was at this checkpoint; else as it is
    #[arg(long, value_name = "ID", default_value = "Current")]
    pub at: String,
    /// Which file; without a slash at its beginning it begins at home
    pub path: String,
}

/// See [`Command::Export`].
#[derive(Args, Debug)]
pub struct Export {
    /// Its name; else the one of `-s` or `sprite use`
    pub name: Option<String>,
    /// This checkpoint, without waking the sprite; else the present
    #[arg(long, value_name = "ID")]
    pub checkpoint: Option<String>,
    /// Only what changed since this checkpoint, which the other machine must have
    #[arg(long, value_name = "ID", conflicts_with = "without_image")]
    pub since: Option<String>,
    /// Without the base image's blocks: far smaller, for a machine that has the very same image
    #[arg(long)]
    pub without_image: bool,
    /// A file, a folder, `-` for the standard output, or s3://BUCKET/KEY; else NAME-CHECKPOINT.sprite in this folder
    #[arg(long, value_name = "PLACE")]
    pub to: Option<String>,
    /// Write over what stands there
    #[arg(short, long)]
    pub force: bool,
}

/// See [`Command::Copy`].
#[derive(Args, Debug)]
pub struct Copy {
    /// From there; a path without a slash at its beginning begins at home
    #[arg(value_name = "[CONTEXT/]NAME:PATH")]
    pub from: String,
    /// To there; a name that ends in a slash is a folder
    #[arg(value_name = "[CONTEXT/]NAME:PATH")]
    pub to: String,
    /// Write over files that are there
    #[arg(short, long)]
    pub force: bool,
}

/// See [`Command::Api`].
#[derive(Args, Debug)]
pub struct Api {
    /// Path, such as /v1/sprites; with -s below that sprite, such as /fs/list?path=/
    pub path: String,
    /// Options of curl
    #[arg(last = true, value_name = "CURL OPTIONS")]
    pub options: Vec<String>,
}
