//! A Cassandra of a test's own, to be killed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ports;

/// A node in a folder of its own on free ports; killed when dropped.
pub struct Node {
    home: PathBuf,
    folder: tempfile::TempDir,
    cql: u16,
    child: Option<Child>,
}

impl Node {
    /// Starts a node that wants passwords, where its programs are; says so when they are not.
    pub fn start() -> Option<Self> {
        let Some(home) = std::env::var_os("STREAMFORGE_TEST_CASSANDRA_HOME").map(PathBuf::from) else {
            println!("not run here: killing a catalog node needs cassandra; ./dev engines up");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let [cql, gossip, gossip_tls] = ports::free();
        let templates = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/cassandra");
        let fill = |name: &str, more: &str| {
            let text = std::fs::read_to_string(templates.join(name)).unwrap();
            let text = text
                .replace("@CQL@", &cql.to_string())
                .replace("@GOSSIP@", &gossip.to_string())
                .replace("@GOSSIP_TLS@", &gossip_tls.to_string());
            std::fs::write(folder.path().join(name), text + more).unwrap();
        };
        fill("cassandra.yaml", "\nauthenticator: PasswordAuthenticator\nauthorizer: CassandraAuthorizer\n");
        fill("logback.xml", "");
        fill("jvm17.args", "");
        let mut node = Self { home, folder, cql, child: None };
        node.restart();
        Some(node)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.cql)
    }

    /// Starts the process and waits until it takes connections.
    pub fn restart(&mut self) {
        let (home, folder) = (self.home.display(), self.folder.path().display());
        let java = std::env::var("STREAMFORGE_TEST_JAVA").unwrap_or_else(|_| "java".to_owned());
        let mut command = Command::new(if may_drop_rights() { "setpriv" } else { &java });
        if may_drop_rights() {
            // Root may lock memory, and then the whole heap is kept there.
            command.args(["--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock", &java]);
        }
        command.arg(format!("@{folder}/jvm17.args"));
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xms64m", "-Xmx256m", "-Xss512k"]);
        command.arg(format!("-javaagent:{home}/jamm-0.4.0.jar"));
        command.arg(format!("-Dcassandra.config=file://{folder}/cassandra.yaml"));
        command.arg(format!("-Dlogback.configurationFile=file://{folder}/logback.xml"));
        command.arg(format!("-Dcassandra.storagedir={folder}/data"));
        command.args([
            "-Dcassandra-foreground=yes",
            "-Dcassandra.skip_wait_for_gossip_to_settle=0",
            "-Dcassandra.ring_delay_ms=100",
            "-Dcassandra.superuser_setup_delay_ms=0",
        ]);
        command.args(["-cp", &format!("{home}/*"), "org.apache.cassandra.service.CassandraDaemon"]);
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).stdin(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let address: SocketAddr = self.address().parse().unwrap();
        let started = Instant::now();
        while std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(started.elapsed() < Duration::from_secs(120), "cassandra does not start: {log}");
            assert!(self.child.as_mut().unwrap().try_wait().unwrap().is_none(), "cassandra has ended: {log}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Ends the process at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

fn may_drop_rights() -> bool {
    let args = ["--bounding-set", "-ipc_lock", "--inh-caps", "-ipc_lock", "true"];
    Command::new("setpriv").args(args).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}
