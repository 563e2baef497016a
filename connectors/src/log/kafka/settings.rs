//! How the door is opened: what users may set, what the door sets itself, and what must not be seen.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;

/// Beginning of the environment variables that name properties of librdkafka.
pub const PREFIX: &str = "STREAMFORGE_KAFKA_";

/// What a fresh member of a group is allowed to be silent before its partitions go to others.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

const STATISTICS: &str = "statistics.interval.ms";
/// How often a client that is polled all the time tells of itself, milliseconds.
const SAMPLED: &str = "5000";

/// Largest record as brokers have it, compressed, bytes. Events carry claims, not media; what is larger is a mistake.
pub(super) const MAX_RECORD_BYTES: u32 = 8 << 20;

/// Largest record that is tried to be appended, before it is compressed, bytes. Somebody else's mistake may be larger when
/// it is read than it is at the broker, and comes back as a dead letter with headers of its own.
const MAX_APPENDED_BYTES: u32 = 32 << 20;

/// Property for topics that are made: copies of each partition. The broker's default if absent.
pub(super) const REPLICATION_FACTOR: &str = "replication.factor";
/// Property for topics that are made: copies that must have a record before it counts as durable.
pub(super) const MIN_IN_SYNC: &str = "min.insync.replicas";

/// Properties that belong to the door, each with the reason.
const OWNED: &[(&str, &str)] = &[
    ("bootstrap.servers", "the brokers are named by the log's address, `kafka://host:port[,host:port]`"),
    ("metadata.broker.list", "the brokers are named by the log's address, `kafka://host:port[,host:port]`"),
    ("group.id", "every stage has its own group, `streamforge.<stage>`"),
    ("group.instance.id", "the name of this process is a setting of its own"),
    ("group.protocol", "commits and rebalances are built on the classic protocol"),
    ("group.protocol.type", "commits and rebalances are built on the classic protocol"),
    ("group.remote.assignor", "commits and rebalances are built on the classic protocol"),
    ("partition.assignment.strategy", "members hand partitions over one by one (cooperative-sticky)"),
    ("session.timeout.ms", "the session timeout is a setting of its own"),
    ("heartbeat.interval.ms", "it follows from the session timeout, which is a setting of its own"),
    ("max.poll.interval.ms", "the door polls by itself, however long the work takes"),
    ("enable.auto.commit", "an offset is committed only when its work is done"),
    ("auto.commit.enable", "an offset is committed only when its work is done"),
    ("auto.commit.interval.ms", "an offset is committed only when its work is done"),
    ("enable.auto.offset.store", "an offset is committed only when its work is done"),
    ("auto.offset.reset", "a group without offsets begins at the oldest record, or events would be lost"),
    ("enable.partition.eof", "readers use it to tell when they have caught up"),
    ("enable.idempotence", "without it a repeated request would write a record twice"),
    ("acks", "an append answers only when every in-sync replica has the record"),
    ("request.required.acks", "an append answers only when every in-sync replica has the record"),
    ("transactional.id", "no transactions are used"),
    ("allow.auto.create.topics", "topics are made from the topic files, with their partitions and retention"),
    ("partitioner", "the event chooses its partition"),
    ("statistics.interval.ms", "metrics are sampled by the door"),
    ("log.queue", "librdkafka's messages go to this process's log"),
    ("plugin.library.paths", "foreign code is not loaded into this process"),
];

/// Parts of names whose values are never shown.
const SECRET: [&str; 8] = ["password", "secret", "pem", "jaas", "token", "credential", "oauthbearer", "private"];

/// A property that cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadProperty {
    /// The door sets it itself.
    #[error("`{name}` cannot be set for Kafka: {why}")]
    Owned {
        /// The property, as librdkafka calls it.
        name: String,
        /// Whose business it is.
        why: &'static str,
    },
    /// Its value cannot be used.
    #[error("`{name}` cannot be `{value}` for Kafka: {wanted} is wanted")]
    Value {
        /// The property.
        name: &'static str,
        /// As it was set.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
    /// The variable names nothing.
    #[error("`{PREFIX}` must be followed by the name of a property, such as {PREFIX}SASL_USERNAME")]
    NoName,
}

/// The properties that environment variables name: `STREAMFORGE_KAFKA_SASL_USERNAME` is `sasl.username`. Variables of
/// other names are passed over, properties that the door sets itself are refused.
///
/// Two names are for topics that StreamForge makes: `replication.factor` and `min.insync.replicas`.
pub fn properties(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<BTreeMap<String, String>, BadProperty> {
    let mut properties = BTreeMap::new();
    for (variable, value) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else { continue };
        if rest.is_empty() {
            return Err(BadProperty::NoName);
        }
        properties.insert(rest.to_ascii_lowercase().replace('_', "."), value);
    }
    check(&properties)?;
    Ok(properties)
}

/// Whether the value of the property `name` must not be shown to anybody.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // `ssl.key.location` is a path, `ssl.key.pem` and `ssl.key.password` are not.
    SECRET.iter().any(|part| name.contains(part))
}

/// How the log on Kafka is opened.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// `host:port`, several with commas between them.
    pub brokers: String,
    /// Properties of librdkafka, and the two of [`properties`] for topics.
    pub properties: BTreeMap<String, String>,
    /// Name of this process, unique among all that run at once and the same after a restart. With it, a restart within
    /// the session timeout moves no partitions (static membership); without it a member that leaves hands over at once.
    pub instance: Option<String>,
    /// How long a member may be silent before its partitions go to others; brokers take 6 s or more by default.
    pub session_timeout: Duration,
}

impl Settings {
    /// The defaults for `brokers`.
    pub fn new(brokers: impl Into<String>) -> Self {
        Self { brokers: brokers.into(), properties: BTreeMap::new(), instance: None, session_timeout: SESSION_TIMEOUT }
    }

    /// Refuses properties that belong to the door, and values for topics that are no numbers.
    pub fn check(&self) -> Result<(), BadProperty> {
        check(&self.properties)
    }

    /// How long an append is tried before it answers that it failed.
    pub(super) fn delivery_timeout(&self) -> Duration {
        let set = ["delivery.timeout.ms", "message.timeout.ms"].iter().find_map(|name| self.properties.get(*name));
        let ms = set.and_then(|ms| ms.parse().ok()).filter(|ms| *ms > 0).unwrap_or(30_000);
        Duration::from_millis(ms)
    }

    /// A number among the properties for topics.
    pub(super) fn for_topics(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(String::as_str)
    }

    fn client(&self, defaults: &[(&str, String)], owned: &[(&str, String)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value) in [
            ("client.id", "streamforge"),
            // A broker that comes back is found within a second.
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "1000"),
            // A network that swallows packets is noticed before the session is over.
            ("socket.timeout.ms", "15000"),
            ("socket.keepalive.enable", "true"),
            ("log.connection.close", "false"),
            ("enable.metrics.push", "false"),
        ] {
            config.set(name, value);
        }
        for (name, value) in defaults {
            config.set(*name, value);
        }
        for (name, value) in &self.properties {
            if name != REPLICATION_FACTOR && name != MIN_IN_SYNC {
                config.set(name, value);
            }
        }
        config.set("bootstrap.servers", &self.brokers);
        config.set("allow.auto.create.topics", "false");
        // They wait in the client until it is polled: only those that always are get any.
        config.set(STATISTICS, "0");
        for (name, value) in owned {
            config.set(*name, value);
        }
        config
    }

    /// For the one producer: what it acknowledges is durable, once, in order.
    pub(super) fn producer(&self) -> ClientConfig {
        let text = str::to_owned;
        let defaults = [
            ("compression.codec", text("zstd")),
            // The first record goes out at once; those that come while it is under way share the next request.
            ("linger.ms", text("0")),
            ("delivery.timeout.ms", self.delivery_timeout().as_millis().to_string()),
            ("message.max.bytes", MAX_APPENDED_BYTES.to_string()),
            ("queue.buffering.max.kbytes", text("65536")),
        ];
        let owned = [("enable.idempotence", text("true")), ("acks", text("all")), (STATISTICS, text(SAMPLED))];
        self.client(&defaults, &owned)
    }

    /// For creating topics and asking about them.
    pub(super) fn admin(&self) -> ClientConfig {
        self.client(&[], &[])
    }

    fn consumer(&self, owned: &[(&str, String)]) -> ClientConfig {
        let text = str::to_owned;
        let defaults = [
            // Bounds of what is read ahead: events are tiny, and the runner has its own bound in records.
            ("queued.min.messages", text("20000")),
            ("queued.max.messages.kbytes", text("8192")),
            ("fetch.message.max.bytes", text("1048576")),
            ("fetch.max.bytes", MAX_RECORD_BYTES.to_string()),
            // The defaults of these wait half a second or more after a moment of trouble or of a full queue.
            ("fetch.queue.backoff.ms", text("5")),
            ("fetch.error.backoff.ms", text("50")),
            ("message.max.bytes", MAX_RECORD_BYTES.to_string()),
        ];
        let mut all = vec![
            ("enable.auto.commit", text("false")),
            ("enable.auto.offset.store", text("false")),
            ("auto.offset.reset", text("earliest")),
        ];
        all.extend_from_slice(owned);
        self.client(&defaults, &all)
    }

    /// For a member of `group`, named `instance` where membership is static.
    pub(super) fn member(&self, group: &str, instance: Option<&str>) -> ClientConfig {
        let session = self.session_timeout.as_millis();
        let mut owned = vec![
            ("group.id", group.to_owned()),
            ("group.protocol", "classic".to_owned()),
            ("partition.assignment.strategy", "cooperative-sticky".to_owned()),
            ("session.timeout.ms", session.to_string()),
            ("heartbeat.interval.ms", (session / 4).clamp(1, 3_000).to_string()),
            // The door polls by itself, so this says nothing about the work; it only must not be below the session.
            ("max.poll.interval.ms", session.max(300_000).to_string()),
            (STATISTICS, SAMPLED.to_owned()),
        ];
        if let Some(instance) = instance {
            owned.push(("group.instance.id", instance.to_owned()));
        }
        self.consumer(&owned)
    }

    /// For single questions and reads, which are in no group. librdkafka wants the name of one all the same; nobody ever
    /// joins it.
    pub(super) fn reader(&self, group: &str) -> ClientConfig {
        self.consumer(&[("group.id", group.to_owned()), ("enable.partition.eof", "true".to_owned())])
    }

    /// For a reader that stays.
    pub(super) fn tail(&self, group: &str) -> ClientConfig {
        let mut config = self.reader(group);
        config.set(STATISTICS, SAMPLED);
        config
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self
            .properties
            .iter()
            .map(|(name, value)| (name.as_str(), if is_secret(name) { "(hidden)" } else { value.as_str() }))
            .collect();
        f.debug_struct("Settings")
            .field("brokers", &self.brokers)
            .field("properties", &shown)
            .field("instance", &self.instance)
            .field("session_timeout", &self.session_timeout)
            .finish()
    }
}

fn check(properties: &BTreeMap<String, String>) -> Result<(), BadProperty> {
    for (name, value) in properties {
        if let Some((_, why)) = OWNED.iter().find(|(owned, _)| owned == name) {
            return Err(BadProperty::Owned { name: name.clone(), why });
        }
        for number in [REPLICATION_FACTOR, MIN_IN_SYNC] {
            if name == number && !value.parse::<i16>().is_ok_and(|copies| copies > 0) {
                return Err(BadProperty::Value { name: number, value: value.clone(), wanted: "a number from 1 on" });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<BTreeMap<String, String>, BadProperty> {
        properties(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn variables_name_properties_of_librdkafka() {
        let found = from(&[
            ("STREAMFORGE_KAFKA_SASL_USERNAME", "me"),
            ("STREAMFORGE_KAFKA_REPLICATION_FACTOR", "3"),
            ("STREAMFORGE_LOG", "kafka://x"),
            ("PATH", "/bin"),
        ]);
        let expected = [("replication.factor", "3"), ("sasl.username", "me")];
        assert_eq!(found.unwrap(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(from(&[]).unwrap(), BTreeMap::new());
    }

    #[test]
    fn what_the_door_owns_is_refused_with_the_reason() {
        for (owned, _) in OWNED {
            let variable = format!("{PREFIX}{}", owned.to_uppercase().replace('.', "_"));
            let refused = from(&[(&variable, "x")]).unwrap_err().to_string();
            assert!(refused.contains(owned) && refused.contains("cannot be set for Kafka: "), "{refused}");
        }
        assert_eq!(from(&[(PREFIX, "x")]), Err(BadProperty::NoName));
        for bad in ["0", "-1", "three", ""] {
            let refused = from(&[("STREAMFORGE_KAFKA_MIN_INSYNC_REPLICAS", bad)]).unwrap_err().to_string();
            assert!(refused.contains("min.insync.replicas") && refused.contains("a number from 1 on"), "{refused}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let mut settings = Settings::new("a:1,b:2");
        for (name, value) in [
            ("sasl.username", "reader"),
            ("sasl.password", "hunter2"),
            ("ssl.key.pem", "-----BEGIN"),
            ("ssl.key.password", "hunter2"),
            ("ssl.keystore.password", "hunter2"),
            ("sasl.oauthbearer.client.secret", "hunter2"),
            ("sasl.oauthbearer.config", "principal=hunter2"),
            ("ssl.ca.location", "/etc/ca.crt"),
        ] {
            settings.properties.insert(name.to_owned(), value.to_owned());
        }
        let shown = format!("{settings:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("BEGIN"), "{shown}");
        for text in ["reader", "a:1,b:2", "/etc/ca.crt", "sasl.password"] {
            assert!(shown.contains(text), "{shown}");
        }
    }

    #[test]
    fn what_is_not_refused_is_passed_on() {
        let all = |settings: &Settings| {
            let (member, tail) = (settings.member("g", Some("one")), settings.tail("g"));
            [settings.producer(), settings.admin(), member, settings.reader("g"), tail]
        };
        let set = |config: &ClientConfig| config.config_map().keys().map(|name| name.to_string()).collect::<Vec<_>>();
        for name in all(&Settings::new("a:1")).iter().flat_map(set) {
            let mut settings = Settings::new("a:1");
            settings.properties.insert(name.clone(), "as the user wants it".into());
            let is_silent = all(&settings).iter().any(|config| config.get(&name) != Some("as the user wants it"));
            assert!(settings.check().is_err() || !is_silent, "{name} is neither refused nor passed on");
        }
    }

    #[test]
    fn only_clients_that_are_polled_all_the_time_gather_statistics() {
        let settings = Settings::new("a:1");
        let gathers = |config: ClientConfig| config.get(STATISTICS) != Some("0");
        assert!(gathers(settings.producer()) && gathers(settings.member("g", None)) && gathers(settings.tail("g")));
        // Nobody would take them from these, and they would grow for as long as the process lives.
        assert!(!gathers(settings.reader("g")) && !gathers(settings.admin()));
    }

    #[test]
    fn users_change_defaults_and_never_what_the_door_owns() {
        let mut settings = Settings::new("a:1");
        settings.properties.insert("linger.ms".into(), "7".into());
        settings.properties.insert("replication.factor".into(), "2".into());
        let producer = settings.producer();
        let of = |name: &str| producer.get(name);
        assert_eq!((of("linger.ms"), of("acks"), of("enable.idempotence")), (Some("7"), Some("all"), Some("true")));
        assert_eq!((of("replication.factor"), of("bootstrap.servers")), (None, Some("a:1")));
        let member = settings.member("g", Some("one"));
        assert_eq!((member.get("enable.auto.commit"), member.get("group.instance.id")), (Some("false"), Some("one")));
        assert_eq!(
            (member.get("session.timeout.ms"), member.get("heartbeat.interval.ms")),
            (Some("10000"), Some("2500"))
        );
    }
}
