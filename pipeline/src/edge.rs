//! The edge: everything over HTTP, and the record projection.
//!
//! An edge holds no state that it could not lose: rows lie in the catalog, progress on the log, bytes and manifests in the
//! blob store. Any number of edges serve the same jobs.
//!
//! # Layout
//! - [`accept`]: connections; [`routes`]: which address does what; [`cors`]: who may ask from elsewhere
//! - [`upload`], [`tus`]: bytes in, at once and resumably; [`sweep`]: what became of uploads that broke off
//! - [`jobs`], [`explain`], [`watch`], [`timeline`]: what a job is, why it is not done, how it changes, and who did what when; [`quality`]: how close it is to its source
//! - [`play`], [`hls`], [`manifests`], [`captions`]: bytes out; [`deliver`], [`range`]: which of them
//! - [`board`]: progress in memory; [`record`], [`events`]: events fold into rows
//! - [`watched`]: a folder whose files are uploaded
//! - [`webhooks`]: who is told how jobs fare
//! - [`health`], [`ops`]: for balancers and operators; [`registry`]: schemas for other people's clients; [`workers`], [`dlq`], [`replay`]: for who operates
//! - [`problem`]: errors as clients see them; [`query`], [`body`]: query strings and small bodies; [`page`]: the web page; [`openapi`], [`asyncapi`], [`docs`]: the descriptions

use std::sync::Arc;
use std::time::Duration;

use connectors::Doors;
use schemas::JobId;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::stage::AnyStage;
use accept::Limits;
use board::Board;
use manifests::Manifests;
use sweep::Sweeper;

pub mod accept;
pub mod asyncapi;
pub mod board;
pub mod body;
pub mod captions;
pub mod cors;
pub mod deliver;
pub mod dlq;
pub mod docs;
pub mod events;
pub mod explain;
pub mod health;
pub mod hls;
pub mod jobs;
pub mod manifests;
pub mod openapi;
pub mod ops;
pub mod page;
pub mod pictures;
pub mod play;
pub mod problem;
pub mod quality;
pub mod query;
pub mod range;
pub mod record;
pub mod registry;
pub mod replay;
pub mod routes;
pub mod survey;
pub mod sweep;
pub mod timeline;
pub mod tus;
pub mod upload;
pub mod watch;
pub mod watched;
pub mod webhooks;
pub mod workers;

pub use record::record;

/// How the edge behaves.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most bytes of one upload.
    pub max_upload_bytes: u64,
    /// Prefix under which a proxy shows the edge, `/` for none. Addresses with and without it are answered.
    pub public_path: String,
    /// Name of this process in upload intents, unique per start.
    pub owner: String,
    /// Whether this process is the only one that receives uploads, as on embedded doors.
    pub is_alone: bool,
    /// Whether stages of this process want the bytes of uploads next.
    pub keeps_sources: bool,
    /// How long requests may go on after a shutdown was asked for.
    pub grace: Duration,
    /// How long an upload whose bytes are stored waits for a catalog that is away before its client is told to come back.
    pub catalog_patience: Duration,
    /// Names the job of an upload that begins at so many milliseconds since the Unix epoch; unique among all edges.
    pub new_job: fn(u64) -> JobId,
    /// What the names of topics begin with in a log that several deployments share.
    pub topic_prefix: String,
    /// Whether the ids in the topics are those of a schema registry, which this edge is not.
    pub has_registry: bool,
    /// The stages of the pipeline, wherever they run.
    pub stages: Vec<KnownStage>,
    /// A worker of which nothing was heard for so long counts as gone.
    pub worker_timeout: Duration,
    /// How long a resumable upload waits for more bytes before it is removed.
    pub upload_expiry: Duration,
    /// Whose pages may upload from their own origin.
    pub upload_origins: cors::Origins,
}

/// A stage as the edge knows it, which runs none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownStage {
    /// Its name.
    pub name: &'static str,
    /// Topic of its input.
    pub input: &'static str,
    /// Whether a video is nothing without it.
    pub is_required: bool,
}

impl KnownStage {
    /// What an edge must know of `stage`.
    pub fn of(stage: &dyn AnyStage) -> Self {
        Self { name: stage.name(), input: stage.input(), is_required: stage.is_required() }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_upload_bytes: 500_000_000,
            public_path: "/".to_owned(),
            owner: format!("edge-{}-{:08x}", std::process::id(), rand::random::<u32>()),
            is_alone: true,
            keeps_sources: false,
            grace: Duration::from_secs(20),
            catalog_patience: Duration::from_secs(10),
            new_job: |unix_ms| JobId::from_parts(unix_ms, rand::random()),
            topic_prefix: String::new(),
            has_registry: false,
            stages: Vec::new(),
            worker_timeout: Duration::from_secs(10),
            upload_expiry: Duration::from_secs(24 * 3600),
            upload_origins: cors::Origins::Any,
        }
    }
}

impl Settings {
    /// The public path without its last slash: what addresses begin with.
    fn prefix(&self) -> &str {
        self.public_path.trim_end_matches('/')
    }
}

/// What every request may need.
pub struct Edge {
    settings: Settings,
    doors: Doors,
    board: Arc<Board>,
    manifests: Arc<Manifests>,
    /// Ends what would otherwise never end: event streams and WebSockets.
    shutdown: CancellationToken,
    /// Work that outlives its request, such as tidying up after an upload whose client went away.
    tasks: TaskTracker,
    /// What is known of resumable uploads without reading their bytes.
    sums: tus::Sums,
    /// Tells webhooks.
    courier: Arc<webhooks::Courier>,
}

impl Edge {
    /// An edge that tells event streams to end at `shutdown`.
    pub fn new(settings: Settings, doors: Doors, board: Arc<Board>, shutdown: CancellationToken) -> Arc<Self> {
        let manifests = Arc::clone(board.manifests());
        let (tasks, sums) = (TaskTracker::new(), tus::Sums::default());
        let courier = webhooks::Courier::new(doors.clone(), Arc::clone(&board), settings.public_path.clone());
        Arc::new(Self { settings, doors, board, manifests, shutdown, tasks, sums, courier: Arc::new(courier) })
    }
}

/// Serves HTTP on `listener`, keeps the board up to date and sweeps, until `shutdown`; then lets requests come to their end.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    doors: Doors,
    board: Arc<Board>,
    shutdown: CancellationToken,
) {
    let sweeper = Sweeper { owner: settings.owner.clone(), is_alone: settings.is_alone };
    let worker_timeout = settings.worker_timeout;
    let limits = Limits { grace: settings.grace, ..Limits::default() };
    let edge = Edge::new(settings, doors.clone(), Arc::clone(&board), shutdown.clone());
    let service = routes::service(Arc::clone(&edge));
    tokio::join!(
        accept::accept(listener, service, limits, shutdown.clone()),
        board.follow(shutdown.clone()),
        sweeper.run(&doors, &shutdown),
        survey::run(&doors, &board, worker_timeout, &shutdown),
        Box::pin(edge.tidy_uploads()),
        Box::pin(Arc::clone(&edge.courier).run(&shutdown)),
    );
    edge.tasks.close();
    // Connections are gone by now; what is left tidies up, which takes a moment.
    if tokio::time::timeout(Duration::from_secs(5), edge.tasks.wait()).await.is_err() {
        tracing::warn!(tasks = edge.tasks.len(), "some uploads are left for the sweeper");
    }
}
