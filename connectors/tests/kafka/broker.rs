//! A broker of one test's own, which may be killed.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::ports;

/// Where the jars lie; says so where they are not.
fn jars(what: &str) -> Option<String> {
    let home = std::env::var("STREAMFORGE_TEST_KAFKA_HOME").ok().map(PathBuf::from);
    let has_jars = |folder: &Path| {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with("kafka_2"))
    };
    let found =
        home.and_then(|home| [home.clone(), home.join("libs"), home.join("lib")].into_iter().find(|f| has_jars(f)));
    let has_java = Command::new(program()).arg("-version").stderr(Stdio::null()).status().is_ok();
    match found {
        Some(folder) if has_java => Some(format!("{}/*", folder.display())),
        _ => {
            println!("not run here: {what} needs the jars of Kafka; ./dev engines up");
            None
        }
    }
}

fn program() -> String {
    std::env::var("STREAMFORGE_TEST_JAVA").unwrap_or_else(|_| "java".to_owned())
}

pub struct Broker {
    classpath: String,
    folder: tempfile::TempDir,
    process: Option<Child>,
    /// Where clients without a login connect.
    pub plain: u16,
    /// Where they need one, by its name in lower case.
    pub logins: Vec<(String, u16)>,
}

impl Broker {
    /// A broker for anybody.
    pub fn start(what: &str) -> Option<Self> {
        Self::with(what, "", &[], &[])
    }

    /// A broker with `lines` in its settings, listeners beside the open one (name, protocol), and arguments for the
    /// formatting of its store.
    pub fn with(what: &str, lines: &str, listeners: &[(&str, &str)], format: &[&str]) -> Option<Self> {
        let classpath = jars(what)?;
        let folder = tempfile::tempdir().unwrap();
        let [plain, controller, a, b, c] = ports::free();
        let logins: Vec<(String, u16)> =
            listeners.iter().zip([a, b, c]).map(|((name, _), port)| (name.to_lowercase(), port)).collect();
        let with = |own: &str, port: u16| format!("{own}://127.0.0.1:{port}");
        let mut addresses = vec![with("PLAINTEXT", plain)];
        addresses.extend(listeners.iter().zip(&logins).map(|((name, _), (_, port))| with(name, *port)));
        let mut protocols = vec!["PLAINTEXT:PLAINTEXT".to_owned(), "CONTROLLER:PLAINTEXT".to_owned()];
        protocols.extend(listeners.iter().map(|(name, protocol)| format!("{name}:{protocol}")));
        let settings = format!(
            "process.roles=broker,controller\n\
             node.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners={},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners={}\n\
             controller.listener.names=CONTROLLER\n\
             listener.security.protocol.map={}\n\
             inter.broker.listener.name=PLAINTEXT\n\
             log.dirs={}\n\
             offsets.topic.replication.factor=1\n\
             offsets.topic.num.partitions=4\n\
             transaction.state.log.replication.factor=1\n\
             transaction.state.log.min.isr=1\n\
             transaction.state.log.num.partitions=4\n\
             share.coordinator.state.topic.replication.factor=1\n\
             share.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             auto.create.topics.enable=false\n\
             log.cleaner.dedupe.buffer.size=8388608\n\
             broker.session.timeout.ms=3000\n\
             broker.heartbeat.interval.ms=500\n\
             {lines}\n",
            addresses.join(","),
            addresses.join(","),
            protocols.join(","),
            folder.path().join("data").display(),
        );
        std::fs::write(folder.path().join("server.properties"), settings).unwrap();
        let quiet = "rootLogger.level=warn\nrootLogger.appenderRef.out.ref=out\nappender.out.type=Console\n\
                     appender.out.name=out\nappender.out.layout.type=PatternLayout\nappender.out.layout.pattern=%p %m%n\n";
        std::fs::write(folder.path().join("log4j2.properties"), quiet).unwrap();
        let mut broker = Self { classpath, folder, process: None, plain, logins };
        let formatted = broker
            .java("kafka.tools.StorageTool")
            .args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c"])
            .arg(broker.folder.path().join("server.properties"))
            .args(format)
            .output()
            .unwrap();
        assert!(formatted.status.success(), "{}", String::from_utf8_lossy(&formatted.stderr));
        broker.up();
        Some(broker)
    }

    fn java(&self, class: &str) -> Command {
        let mut java = Command::new(program());
        java.args(["-Xmx256m", "-Xms64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Dlog4j2.configurationFile={}", self.folder.path().join("log4j2.properties").display()))
            .args(["-cp", &self.classpath, class]);
        java
    }

    /// Starts it and waits until it accepts connections.
    pub fn up(&mut self) {
        let mut process = self
            .java("kafka.Kafka")
            .arg(self.folder.path().join("server.properties"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in
                out.lines().map_while(Result::ok).filter(|line| line.starts_with("ERROR") || line.contains("Exception"))
            {
                println!("broker: {line}");
            }
        });
        self.process = Some(process);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.plain)).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the broker does not start");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// SIGKILL; answers when it is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.plain)
    }

    pub fn login(&self, name: &str) -> String {
        let (_, port) = self.logins.iter().find(|(known, _)| known == name).unwrap();
        format!("127.0.0.1:{port}")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}
