//! Addresses of doors, as people write them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use connectors::open::{BlobsAt, Cluster};

/// Environment variables that begin like this are properties of the Kafka client.
pub const KAFKA_VARIABLES: &str = "STREAMFORGE_KAFKA_";

/// The property that `variable` sets, such as `sasl.username` for `STREAMFORGE_KAFKA_SASL_USERNAME`.
pub fn kafka_property(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(KAFKA_VARIABLES).filter(|name| !name.is_empty())?;
    Some(name.to_lowercase().replace('_', "."))
}

/// Whether the value of a Kafka property must not be shown.
pub fn is_secret(property: &str) -> bool {
    const OPEN: [&str; 2] = ["ssl.key.location", "ssl.keystore.location"];
    let marks = ["password", "secret", "key", "token", "jaas", "oauthbearer.config", "pem", "username"];
    !OPEN.contains(&property) && marks.iter().any(|mark| property.contains(mark))
}

/// The properties in a table of the settings file, nested tables joined with dots. Fails with the name of the one that
/// is neither text nor number nor truth.
pub fn properties(table: &toml::Table) -> Result<BTreeMap<String, String>, String> {
    let mut found = BTreeMap::new();
    let mut open: Vec<(String, &toml::Value)> = table.iter().map(|(name, value)| (name.clone(), value)).collect();
    while let Some((name, value)) = open.pop() {
        let text = match value {
            toml::Value::Table(inner) => {
                open.extend(inner.iter().map(|(part, value)| (format!("{name}.{part}"), value)));
                continue;
            }
            toml::Value::String(text) => text.clone(),
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(truth) => truth.to_string(),
            toml::Value::Array(_) | toml::Value::Datetime(_) => return Err(name),
        };
        found.insert(name, text);
    }
    Ok(found)
}

/// Brokers in `kafka://host:9092[,host:9092]`; fails with what would be right.
pub fn brokers(address: &str) -> Result<Vec<String>, String> {
    let rest = address.strip_prefix("kafka://").unwrap_or(address).trim_end_matches('/');
    if rest.contains('@') {
        return Err("user and password go into STREAMFORGE_KAFKA_SASL_USERNAME and STREAMFORGE_KAFKA_SASL_PASSWORD; \
                    it must name brokers only"
            .to_owned());
    }
    hosts(rest, 9092).ok_or_else(|| "it must be like kafka://host:9092 or kafka://one:9092,two:9092".to_owned())
}

/// The cluster in `scylla://[user[:password]@]host:9042[,host:9042]/keyspace[?replication=3&datacenter=name]`; fails with what would be right.
pub fn cluster(address: &str) -> Result<Cluster, String> {
    const RIGHT: &str =
        "it must be like scylla://host:9042/keyspace or scylla://user:password@one:9042,two:9042/keyspace";
    let rest = address.strip_prefix("scylla://").unwrap_or(address);
    // A password may hold any mark, hosts and keyspaces none: what counts is the last one.
    let (who, place) = rest.rsplit_once('@').map_or((None, rest), |(who, place)| (Some(who), place));
    let (nodes, keyspace) = place.split_once('/').ok_or(RIGHT)?;
    let is_name = |name: &str| {
        name.len() <= 48
            && name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let (keyspace, query) = keyspace.split_once('?').unwrap_or((keyspace, ""));
    let (mut replication, mut datacenter) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("replication", copies)) => match copies.parse::<u32>() {
                Ok(copies @ 1..) => replication = Some(copies),
                _ => return Err("its replication must be a number of copies from 1".to_owned()),
            },
            Some(("datacenter", name)) if !name.is_empty() => datacenter = Some(decoded(name)),
            _ => return Err("after `?` it may say replication=3 and datacenter=name, with `&` between".to_owned()),
        }
    }
    if !is_name(keyspace) {
        return Err(
            "it must end with a keyspace: a small letter, then at most 47 small letters, digits and underscores"
                .to_owned(),
        );
    }
    let nodes = hosts(nodes, 9042).ok_or(RIGHT)?;
    let (user, password) = match who.map(|who| who.split_once(':').map_or((who, None), |(u, p)| (u, Some(p)))) {
        None => (None, None),
        Some(("", _)) => return Err("it must name a user before the password".to_owned()),
        Some((user, password)) => (Some(decoded(user)), password.map(decoded)),
    };
    Ok(Cluster { nodes, keyspace: keyspace.to_owned(), user, password, replication, datacenter })
}

/// The store in `file://<folder>` or `s3://bucket[/prefix]`; fails with what would be right.
pub fn blobs(address: &str) -> Result<BlobsAt, String> {
    if let Some(folder) = address.strip_prefix("file://").filter(|folder| !folder.is_empty()) {
        return Ok(BlobsAt::Folder(PathBuf::from(folder)));
    }
    let rest = address.strip_prefix("s3://").ok_or("it must start with `file://` or `s3://`")?;
    if rest.contains('@') {
        return Err(
            "keys go into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; it must be like s3://bucket/prefix".into()
        );
    }
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.' || byte == b'-';
    if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(plain) {
        return Err(
            "it must name a bucket of 3 to 63 small letters, digits, dots and hyphens, like s3://bucket/prefix".into(),
        );
    }
    let prefix = prefix.trim_matches('/');
    let is_part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if !prefix.is_empty() && !prefix.split('/').all(is_part) {
        return Err("it must have a plain prefix of letters, digits, hyphens, underscores and dots".into());
    }
    Ok(BlobsAt::S3 { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
}

/// `host[:port]` separated by commas, each with a port.
fn hosts(list: &str, port: u16) -> Option<Vec<String>> {
    list.split(',').map(|host| with_port(host.trim(), port)).collect()
}

fn with_port(host: &str, port: u16) -> Option<String> {
    let (name, given) = match host.strip_prefix('[') {
        Some(rest) => {
            let (ip, rest) = rest.split_once(']')?;
            ip.parse::<std::net::Ipv6Addr>().ok()?;
            (format!("[{ip}]"), rest.strip_prefix(':').or_else(|| rest.is_empty().then_some(""))?.to_owned())
        }
        None => {
            let (name, given) = host.split_once(':').unwrap_or((host, ""));
            if host.contains(':') && given.is_empty() {
                return None;
            }
            (name.to_owned(), given.to_owned())
        }
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte);
    if name.is_empty() || !name.bytes().all(plain) {
        return None;
    }
    let port = if given.is_empty() { port } else { given.parse().ok().filter(|port| *port > 0)? };
    Some(format!("{name}:{port}"))
}

/// `text` with percent signs resolved.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digit = |place: usize| bytes.get(place).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn brokers_get_the_port_they_lack() {
        assert_eq!(brokers("kafka://a,b:1,[::1]:2"), Ok(vec!["a:9092".into(), "b:1".into(), "[::1]:2".into()]));
        assert_eq!(brokers("kafka://a:9092/"), Ok(vec!["a:9092".into()]));
        for wrong in
            ["kafka://", "kafka://a:", "kafka://a:0", "kafka://a:99999", "kafka://a,,b", "kafka://a b", "kafka://a/b"]
        {
            assert!(brokers(wrong).unwrap_err().contains("kafka://host:9092"), "{wrong}");
        }
        assert!(brokers("kafka://user:x@a:9092").unwrap_err().contains("STREAMFORGE_KAFKA_SASL_PASSWORD"));
    }

    #[test]
    fn a_cluster_has_nodes_a_keyspace_and_perhaps_a_user() {
        let plain = cluster("scylla://a:1,b/videos").unwrap();
        assert_eq!((plain.nodes, plain.keyspace.as_str()), (vec!["a:1".into(), "b:9042".into()], "videos"));
        assert_eq!((plain.user, plain.password), (None, None));
        let secret = cluster("scylla://me:p%40s/s:x@y@a/k").unwrap();
        assert_eq!((secret.user.as_deref(), secret.password.as_deref()), (Some("me"), Some("p@s/s:x@y")));
        assert_eq!(cluster("scylla://me@a/k").unwrap().password, None);
        for wrong in [
            "scylla://a",
            "scylla:///k",
            "scylla://a/",
            "scylla://a/1k",
            "scylla://a/K",
            "scylla://a/k-k",
            "scylla://:p@a/k",
        ] {
            assert!(cluster(wrong).unwrap_err().starts_with("it must"), "{wrong}");
        }
    }

    #[test]
    fn blobs_are_a_folder_or_a_bucket() {
        assert_eq!(blobs("file:///srv/x"), Ok(BlobsAt::Folder("/srv/x".into())));
        let bucket = |prefix: &str| Ok(BlobsAt::S3 { bucket: "b-1".into(), prefix: prefix.into() });
        assert_eq!(
            (blobs("s3://b-1"), blobs("s3://b-1/"), blobs("s3://b-1/a/b/")),
            (bucket(""), bucket(""), bucket("a/b"))
        );
        for wrong in ["file://", "/x", "s3://", "s3://B", "s3://bucket/a//b", "s3://bucket/../x", "s3://k:s@bucket"] {
            assert!(blobs(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn properties_come_from_variables_and_from_tables() {
        assert_eq!(kafka_property("STREAMFORGE_KAFKA_SASL_USERNAME").as_deref(), Some("sasl.username"));
        assert_eq!((kafka_property("STREAMFORGE_KAFKA_"), kafka_property("STREAMFORGE_LOG")), (None, None));
        let table: toml::Table =
            "security.protocol = \"ssl\"\n\"sasl.username\" = \"u\"\nlinger.ms = 3".parse().unwrap();
        let found = properties(&table).unwrap();
        assert_eq!(
            found.into_iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>(),
            ["linger.ms=3", "sasl.username=u", "security.protocol=ssl"]
        );
        assert_eq!(properties(&"a.b = [1]".parse().unwrap()), Err("a.b".to_owned()));
    }

    #[test]
    fn what_opens_a_cluster_is_secret() {
        for property in
            ["sasl.password", "ssl.key.password", "ssl.key.pem", "sasl.oauthbearer.client.secret", "sasl.jaas.config"]
        {
            assert!(is_secret(property), "{property}");
        }
        for property in ["security.protocol", "sasl.mechanism", "linger.ms", "ssl.ca.location", "ssl.key.location"] {
            assert!(!is_secret(property), "{property}");
        }
    }

    proptest! {
        #[test]
        fn no_address_makes_reading_fall_over(text: String) {
            let _ = (brokers(&text), cluster(&text), blobs(&text), kafka_property(&text));
            let _ = (brokers(&format!("kafka://{text}")), cluster(&format!("scylla://{text}")), blobs(&format!("s3://{text}")));
        }
    }
}
