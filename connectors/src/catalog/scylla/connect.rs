//! A session with the cluster: how requests are routed and repeated, and what is said when no session can be had.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use scylla::client::execution_profile::{ExecutionProfile, ExecutionProfileHandle};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::errors::NewSessionError;
use scylla::frame::Compression;
use scylla::policies::load_balancing::DefaultPolicy;
use scylla::policies::retry::{DefaultRetryPolicy, FallthroughRetryPolicy};
use scylla::policies::speculative_execution::SimpleSpeculativeExecutionPolicy;
use scylla::policies::timestamp_generator::MonotonicTimestampGenerator;
use scylla::statement::{Consistency, SerialConsistency};
use tokio::time::timeout;

use super::Settings;
use crate::catalog::Error;

/// When a read that has no answer is sent to another node as well.
const SECOND_TRY: Duration = Duration::from_millis(100);

/// How often a silent connection is asked whether it lives, and how long it may take to say so.
const KEEPALIVE: Duration = Duration::from_secs(3);

/// How requests are run, by what a second run would do.
pub(super) struct Profiles {
    pub(super) read: ExecutionProfileHandle,
    pub(super) write: ExecutionProfileHandle,
    pub(super) conditional: ExecutionProfileHandle,
}

impl Profiles {
    pub(super) fn new(settings: &Settings) -> Self {
        let mut routes = DefaultPolicy::builder().token_aware(true);
        if let Some(datacenter) = &settings.local_datacenter {
            routes = routes.prefer_datacenter(datacenter.clone()).permit_dc_failover(true);
        }
        let base = ExecutionProfile::builder()
            .load_balancing_policy(routes.build())
            .consistency(Consistency::Quorum)
            .serial_consistency(Some(SerialConsistency::Serial))
            .request_timeout(Some(settings.request_timeout));
        let again = base.clone().retry_policy(Arc::new(DefaultRetryPolicy::new()));
        let twice = SimpleSpeculativeExecutionPolicy { max_retry_count: 1, retry_interval: SECOND_TRY };
        Self {
            read: again.clone().speculative_execution_policy(Some(Arc::new(twice))).build().into_handle(),
            write: again.build().into_handle(),
            // Whether a conditional write that got no answer was heard is found out by reading, not by sending it again.
            conditional: base.retry_policy(Arc::new(FallthroughRetryPolicy::new())).build().into_handle(),
        }
    }
}

/// Opens a session, or says in a sentence why there is none.
pub(super) async fn connect(settings: &Settings, profiles: &Profiles) -> Result<Session, Error> {
    if settings.nodes.is_empty() {
        return Err(Error::Setup("no node of the catalog is given".to_owned()));
    }
    let mut builder = SessionBuilder::new()
        .known_nodes(&settings.nodes)
        .connection_timeout(settings.connect_timeout / 3)
        .hostname_resolution_timeout(Some(settings.connect_timeout / 3))
        .keepalive_interval(KEEPALIVE)
        .keepalive_timeout(KEEPALIVE)
        .compression(Some(Compression::Lz4))
        .default_execution_profile_handle(profiles.write.clone())
        .keyspaces_to_fetch([settings.keyspace.as_str()])
        .fetch_full_schema_metadata(false)
        .schema_agreement_interval(Duration::from_millis(50))
        .schema_agreement_timeout(Duration::from_secs(20))
        .refresh_metadata_on_auto_schema_agreement(false)
        // What one process writes stays in its order, whichever node it goes to.
        .timestamp_generator(Arc::new(MonotonicTimestampGenerator::new()))
        .driver_config_reporting(false);
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        builder = builder.user(user, password);
    }
    let nodes = settings.nodes.join(", ");
    match timeout(settings.connect_timeout, Box::pin(builder.build())).await {
        Ok(Ok(session)) => known_datacenter(settings, session),
        Ok(Err(error)) => Err(Error::Setup(sentence(settings, &nodes, &error))),
        Err(_) => Err(Error::Setup(format!("no node of {nodes} answers within {:?}", settings.connect_timeout))),
    }
}

/// A preferred datacenter that does not exist would leave requests without a node.
fn known_datacenter(settings: &Settings, session: Session) -> Result<Session, Error> {
    let Some(wanted) = &settings.local_datacenter else { return Ok(session) };
    let state = session.get_cluster_state();
    let mut known: Vec<&str> = state.get_nodes_info().iter().filter_map(|node| node.datacenter.as_deref()).collect();
    known.sort_unstable();
    known.dedup();
    if known.is_empty() || known.contains(&wanted.as_str()) {
        return Ok(session);
    }
    let known = known.join(", ");
    Err(Error::Setup(format!("the catalog has no datacenter `{wanted}`: it has {known}")))
}

fn sentence(settings: &Settings, nodes: &str, error: &NewSessionError) -> String {
    if let NewSessionError::FailedToResolveAnyHostname(_) = error {
        return format!("no node of {nodes} has an address: check the names");
    }
    let (mut text, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        // The innermost cause is the one that says something.
        text = cause.to_string();
        source = cause.source();
    }
    if text.contains("Authentication is required") {
        return format!("the nodes of {nodes} want a user and a password, and none is given");
    }
    let whole = error.to_string();
    if whole.contains("Authentication failed") || whole.contains("credentials") {
        let user = settings.user.as_deref().unwrap_or_default();
        return format!("the nodes of {nodes} refuse user `{user}`: wrong user or password");
    }
    format!("no node of {nodes} can be used: {text}")
}
