//! A keyspace of one's own for each test, dropped at its end, whatever that is.

use std::future::Future;
use std::sync::Arc;

use connectors::catalog::scylla::{Scylla, Settings, open, open_on};
use connectors::clock::Clock;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use scylla::statement::unprepared::Statement;

/// How to get at the keyspace of a test.
#[derive(Clone)]
pub struct Open {
    pub node: String,
    pub keyspace: String,
}

impl Open {
    pub fn settings(&self) -> Settings {
        Settings::new(vec![self.node.clone()], &self.keyspace)
    }

    /// The catalog, as another process would open it.
    pub async fn catalog(&self) -> Arc<Scylla> {
        Arc::new(open(self.settings()).await.unwrap())
    }

    pub async fn catalog_on(&self, clock: Arc<dyn Clock>) -> Arc<Scylla> {
        Arc::new(open_on(self.settings(), clock).await.unwrap())
    }

    /// A session that goes past the catalog.
    pub async fn session(&self) -> Session {
        SessionBuilder::new().known_node(&self.node).build().await.unwrap()
    }

    /// Answers the numbers in the one column that `text` reads; `KS.` stands for the keyspace.
    pub async fn numbers(&self, text: &str) -> Vec<i64> {
        let session = self.session().await;
        let answer = session.query_unpaged(self.named(text), ()).await.unwrap();
        answer.into_rows_result().unwrap().rows::<(i64,)>().unwrap().map(|row| row.unwrap().0).collect()
    }

    pub async fn run(&self, text: &str) {
        self.session().await.query_unpaged(self.named(text), ()).await.unwrap();
    }

    /// Names of jobs may have the two letters in them, so the dot counts.
    fn named(&self, text: &str) -> String {
        text.replace("KS.", &format!("{}.", self.keyspace))
    }

    async fn drop_keyspace(&self) {
        let mut drop = Statement::new(format!("DROP KEYSPACE IF EXISTS \"{}\"", self.keyspace));
        drop.set_request_timeout(Some(std::time::Duration::from_secs(60)));
        self.session().await.query_unpaged(drop, ()).await.unwrap();
    }
}

/// The CQL server that tests may use; says so when there is none.
pub fn server() -> Option<String> {
    let node = std::env::var("STREAMFORGE_TEST_CQL").ok().filter(|node| !node.is_empty());
    if node.is_none() {
        println!("not run here: the catalog on ScyllaDB or Cassandra needs cassandra; ./dev engines up");
    }
    node
}

/// Runs `check` with a keyspace of its own, where there is a server.
pub async fn in_own_keyspace<F: Future<Output = ()> + Send + 'static>(check: impl FnOnce(Open) -> F) {
    let Some(node) = server() else { return };
    let open = Open { node, keyspace: format!("test_{:016x}", rand::random::<u64>()) };
    // As a task, so that the keyspace goes although the check fails.
    let result = tokio::spawn(check(open.clone())).await;
    open.drop_keyspace().await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}
