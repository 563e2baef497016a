//! The command line: what can be asked, and who answers.
//!
//! # Layout
//! - here: commands and flags, dispatch
//! - [`roles`]: `up`, `edge` and `work`; [`stop`]: how they are told to end
//! - [`client`]: requests to a server; [`follow`]: its event streams; [`submit`], [`jobs`], [`watch`], [`steer`],
//!   [`workers`], [`replay`], [`dlq`], [`webhooks`]: the commands made of them
//! - [`models`]: models on this machine; [`doctor`], [`settings`]: help yourself
//! - [`show`]: text for people; [`machine`]: memory and disk; [`journal`]: log lines; [`failure`]: how commands end

pub mod captioner;
pub mod client;
mod clients;
pub mod dlq;
pub mod doctor;
pub mod failure;
pub mod follow;
pub mod jobs;
pub mod journal;
pub mod machine;
pub mod models;
pub mod replay;
mod resident;
pub mod roles;
pub mod settings;
pub mod show;
pub mod spectator;
pub mod steer;
pub mod stop;
pub mod submit;
pub mod watch;
pub mod webhooks;
pub mod workers;

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::{Config, Given};
use client::Client;
use failure::Failure;

/// Turns uploaded videos into streams: one binary for every role.
#[derive(Debug, Parser)]
#[command(name = "streamforge", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Exit codes: 0 done, 1 the work failed, 2 wrong usage, 3 cannot reach the server.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// What this process was asked; ends it with help or with what is wrong when that was no command.
    pub fn from_command_line() -> Self {
        Self::parse()
    }
}

/// Everything that can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run every role in one process
    Up(SettingFlags),
    /// Run the HTTP role of a bigger deployment: uploads, playback, job rows
    Edge(SettingFlags),
    /// Run stages of a bigger deployment
    Work {
        /// Stages to run, such as `transcode,probe`, or `all`
        #[arg(long, value_delimiter = ',', required = true, value_name = "STAGE")]
        stages: Vec<String>,
        #[command(flatten)]
        settings: SettingFlags,
    },
    /// Upload videos
    Submit {
        /// Videos to upload: files, folders, or patterns such as 'clips/**/*.mp4'
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// How many are sent at a time
        #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=32))]
        parallel: u8,
        /// Follow each job to its end; fail if one fails
        #[arg(long)]
        wait: bool,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// List jobs, newest first, or show one
    Jobs {
        /// The job to show
        id: Option<String>,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        /// Only jobs in this state
        #[arg(long, value_enum, conflicts_with = "id")]
        state: Option<StateWord>,
        /// Only jobs that show or sound like this, such as screen, speech or seashore
        #[arg(long, conflicts_with = "id")]
        label: Option<String>,
        /// How many to list at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000), conflicts_with = "id")]
        limit: u32,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Follow a job to its end
    Watch {
        /// The job
        id: String,
        /// Print one JSON object a line
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Say why a job is not done yet
    Explain {
        /// The job
        id: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Stop the work on jobs and keep their rows
    Cancel {
        /// The jobs
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Remove jobs and everything of theirs
    Delete {
        /// The jobs
        #[arg(required = true, value_name = "ID")]
        ids: Vec<String>,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// List the workers
    Workers {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Run a stage again from the log, without touching what others made
    Replay {
        /// The stage
        #[arg(long)]
        stage: String,
        /// Only events of this job
        #[arg(long, value_name = "ID")]
        job: Option<String>,
        /// Only events since then: 2026-11-23T10:00:00Z, or how long ago: 90s, 30m, 2h, 7d
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only count what would run again
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: ServerFlag,
    },
    /// Look at events that stages gave up on, and decide about them
    Dlq {
        /// What to do with them
        #[command(subcommand)]
        command: dlq::Command,
    },
    /// Have addresses told how jobs fare, signed by the Standard Webhooks specification
    Webhooks {
        /// What to do with them
        #[command(subcommand)]
        command: webhooks::Webhooks,
    },
    /// Look at the models on this machine, bring one here, remove one
    Models {
        /// What to do with them
        #[command(subcommand)]
        command: models::Command,
    },
    /// Check this machine and these settings, and say how to mend what is wrong
    Doctor {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: SettingFlags,
    },
    /// Look at the settings
    Config {
        /// What to do with them
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Decode or encode in a process of its own; stages start it
    #[command(hide = true)]
    MediaChild {
        /// What to do
        request: String,
    },
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show each setting and where it comes from
    Show {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        settings: SettingFlags,
    },
}

/// Which server a client command talks to.
#[derive(Debug, Args)]
pub struct ServerFlag {
    /// Address of the server
    #[arg(long, env = "STREAMFORGE_SERVER", default_value = client::DEFAULT_SERVER, value_name = "URL")]
    pub server: String,
}

/// A state of a job, as a flag says it.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StateWord {
    /// Its bytes are there
    Received,
    /// Stages work on it
    Processing,
    /// It can be watched
    Ready,
    /// It cannot be done
    Failed,
    /// Somebody stopped it
    Cancelled,
}

/// Flags that beat the settings of environment and file. Values are read by the config, not here, so that a wrong one
/// is told in the same words wherever it comes from.
#[derive(Debug, Default, Args)]
pub struct SettingFlags {
    /// Settings file [default: streamforge.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where the edge listens; port 0 takes any free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where metrics, health and readiness are served [default: 127.0.0.1:9464]
    #[arg(long, value_name = "ADDRESS")]
    pub ops_listen: Option<String>,
    /// Folder of everything that the embedded doors keep [default: ./data]
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<String>,
    /// Where events travel: embedded or kafka://host:9092 [default: embedded]
    #[arg(long, value_name = "DOOR")]
    pub log: Option<String>,
    /// Where job rows lie: embedded or scylla://host:9042/keyspace [default: embedded]
    #[arg(long, value_name = "DOOR")]
    pub catalog: Option<String>,
    /// Where bytes lie: file://<folder> or s3://bucket/prefix [default: file://<data>/blobs]
    #[arg(long, value_name = "DOOR")]
    pub blobs: Option<String>,
    /// Prefix under which a proxy shows the edge [default: /]
    #[arg(long, value_name = "PATH")]
    pub public_path: Option<String>,
    /// Largest upload [default: 500 MB]
    #[arg(long, value_name = "SIZE")]
    pub max_upload_bytes: Option<String>,
    /// A folder whose videos are taken as they come, by `up` and by `work --stages watch` [default: none]
    #[arg(long, value_name = "FOLDER")]
    pub watch: Option<String>,
    /// What becomes of a watched file whose video is ready: keep, move (to `done` in the folder) or delete [default: keep]
    #[arg(long, value_name = "WHAT")]
    pub watch_after: Option<String>,
    /// Hours that a resumable upload waits for more bytes before it is removed [default: 24]
    #[arg(long, value_name = "HOURS", allow_negative_numbers = true)]
    pub upload_expiry_h: Option<String>,
    /// Whose pages may upload resumably from elsewhere: *, none, or https://a.example,https://b.example [default: *]
    #[arg(long, value_name = "ORIGINS")]
    pub upload_origins: Option<String>,
    /// Schema registry for Kafka: built-in or http://[user:password@]host:8081[/path] [default: built-in]
    #[arg(long, value_name = "REGISTRY")]
    pub registry: Option<String>,
    /// What names of topics and groups begin with, where several share a Kafka [default: nothing]
    #[arg(long, value_name = "PREFIX")]
    pub topic_prefix: Option<String>,
    /// Name of this process in Kafka's groups, so that a restart keeps its partitions [default: none]
    #[arg(long, value_name = "NAME")]
    pub instance: Option<String>,
    /// Seconds after which a worker that says nothing counts as gone [default: 10]
    #[arg(long, value_name = "SECONDS")]
    pub session_timeout_s: Option<String>,
    /// How many pieces of work run at once [default: one per core]
    #[arg(long, value_name = "COUNT")]
    pub slots: Option<String>,
    /// Seconds that running work may take to finish on shutdown [default: 20]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub grace_s: Option<String>,
    /// Folder in which models lie [default: <data>/models]
    #[arg(long, value_name = "FOLDER")]
    pub models: Option<String>,
    /// The model that hears what is said, by its name; none for no captions [default: whisper-base.en]
    #[arg(long, value_name = "NAME")]
    pub caption_model: Option<String>,
    /// The model that says what pictures show, by its name; none for no model [default: mobilenet-v2-1.0-224]
    #[arg(long, value_name = "NAME")]
    pub image_model: Option<String>,
    /// Where models come from: a folder, or an address with /<name>/ below it [default: Hugging Face]
    #[arg(long, value_name = "PLACE")]
    pub models_from: Option<String>,
    /// How log lines look: text, json or auto [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl SettingFlags {
    /// The settings that hold with these flags.
    pub fn load(self) -> Result<Config, Failure> {
        let flags = [
            ("listen", self.listen),
            ("ops_listen", self.ops_listen),
            ("data", self.data),
            ("log", self.log),
            ("catalog", self.catalog),
            ("blobs", self.blobs),
            ("public_path", self.public_path),
            ("max_upload_bytes", self.max_upload_bytes),
            ("watch", self.watch),
            ("watch_after", self.watch_after),
            ("upload_expiry_h", self.upload_expiry_h),
            ("upload_origins", self.upload_origins),
            ("registry", self.registry),
            ("topic_prefix", self.topic_prefix),
            ("instance", self.instance),
            ("session_timeout_s", self.session_timeout_s),
            ("slots", self.slots),
            ("grace_s", self.grace_s),
            ("models", self.models),
            ("caption_model", self.caption_model),
            ("image_model", self.image_model),
            ("models_from", self.models_from),
            ("log_format", self.log_format),
        ];
        let flags: BTreeMap<_, _> = flags.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let given = Given::with_surroundings(flags, self.config.as_deref())?;
        Ok(Config::from_given(&given)?)
    }
}

/// Does what a command without doors asks. `up`, `edge`, `work` and the media child belong to the life of the process
/// and are not for here.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Submit { files, parallel, wait, json, server } => {
            let wish = submit::Wish { files, wait, json, parallel: parallel.into() };
            submit::run(&Client::new(&server.server)?, &wish).await
        }
        Command::Jobs { id: Some(id), json, server, .. } => jobs::one(&Client::new(&server.server)?, &id, json).await,
        Command::Jobs { id: None, json, state, label, limit, server } => {
            jobs::list(&Client::new(&server.server)?, state, label.as_deref(), limit, json).await
        }
        Command::Watch { id, json, server } => watch::run(&Client::new(&server.server)?, &id, json).await,
        Command::Explain { id, json, server } => steer::explain(&Client::new(&server.server)?, &id, json).await,
        Command::Cancel { ids, server } => steer::cancel(&Client::new(&server.server)?, &ids).await,
        Command::Delete { ids, server } => steer::delete(&Client::new(&server.server)?, &ids).await,
        Command::Workers { json, server } => workers::run(&Client::new(&server.server)?, json).await,
        Command::Replay { stage, job, since, dry_run, json, server } => {
            let wish = replay::Wish { stage, job, since, dry_run };
            replay::run(&Client::new(&server.server)?, &wish, json).await
        }
        Command::Dlq { command } => dlq::run(command).await,
        Command::Webhooks { command } => webhooks::run(command).await,
        Command::Models { command } => models::run(command).await,
        Command::Doctor { json, settings } => doctor::run(settings.load()?, json).await,
        Command::Config { command: ConfigCommand::Show { json, settings } } => settings::show(&settings.load()?, json),
        Command::Completions { shell } => completions(shell),
        Command::Up(_) | Command::Edge(_) | Command::Work { .. } | Command::MediaChild { .. } => {
            Err(Failure::usage("not a command of its own", "run it alone"))
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "streamforge", &mut script);
    show::print(&String::from_utf8_lossy(&script))
}
