use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn given(flags: &[(&'static str, &str)], environment: &[(&str, &str)], file: Option<&str>) -> Given {
    Given {
        flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        environment: environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        file: file.map(|text| (PathBuf::from("streamforge.toml"), text.to_owned())),
    }
}

fn of_file(text: &str) -> Result<Config, Error> {
    Config::from_given(&given(&[], &[], Some(text)))
}

fn setting(config: &Config, key: &str) -> Setting {
    config.settings.iter().find(|setting| setting.key == key).cloned().unwrap()
}

#[test]
fn nothing_said_gives_the_documented_defaults() {
    let config = Config::from_given(&Given::default()).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.ops_listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.data, PathBuf::from("./data"));
    assert_eq!(config.blobs, BlobsAt::Folder(PathBuf::from("./data/blobs")));
    assert_eq!((&config.log, &config.catalog), (&LogAt::Embedded, &CatalogAt::Embedded));
    assert_eq!(config.session_timeout, Duration::from_secs(10));
    assert_eq!(config.public_path, "/");
    assert_eq!(config.max_upload_bytes, 500_000_000);
    assert_eq!(config.grace, Duration::from_secs(20));
    assert_eq!(config.slots, std::thread::available_parallelism().map_or(1, usize::from));
    assert!(config.settings.iter().all(|setting| setting.origin == Origin::Default));
    assert_eq!(setting(&config, "blobs").shown, "file://./data/blobs");
    assert_eq!(setting(&config, "slots").shown, config.slots.to_string());
    assert_eq!(config.models, PathBuf::from("./data/models"));
    assert_eq!(setting(&config, "models").shown, "./data/models");
    assert_eq!(config.models_from, Place::parse(crate::shelf::place::OFFICIAL).unwrap());
}

#[test]
fn flag_beats_environment_beats_file_beats_default() {
    let file = "listen = \"127.0.0.1:1\"\nops_listen = \"127.0.0.1:2\"\ndata = \"/file\"\n";
    let environment = [("STREAMFORGE_LISTEN", "127.0.0.1:3"), ("STREAMFORGE_OPS_LISTEN", "127.0.0.1:4")];
    let config = Config::from_given(&given(&[("listen", "127.0.0.1:5")], &environment, Some(file))).unwrap();
    assert_eq!((config.listen.port(), setting(&config, "listen").origin), (5, Origin::Flag("--listen".into())));
    let variable = Origin::Environment("STREAMFORGE_OPS_LISTEN".into());
    assert_eq!((config.ops_listen.port(), setting(&config, "ops_listen").origin), (4, variable));
    let in_file = Origin::File("streamforge.toml".into());
    assert_eq!((config.data.clone(), setting(&config, "data").origin), (PathBuf::from("/file"), in_file));
    assert_eq!(setting(&config, "grace_s").origin, Origin::Default);
}

#[test]
fn an_empty_variable_says_nothing() {
    let config = Config::from_given(&given(&[], &[("STREAMFORGE_LISTEN", "")], None)).unwrap();
    assert_eq!(setting(&config, "listen").origin, Origin::Default);
}

#[test]
fn an_unknown_key_names_the_nearest_known_one() {
    for (written, meant) in [
        ("lisen", "listen"),
        ("ops-listen", "ops_listen"),
        ("Data", "data"),
        ("max_upload", "max_upload_bytes"),
        ("cataloge", "catalog"),
        ("grace", "grace_s"),
        ("slot", "slots"),
    ] {
        let error = of_file(&format!("{written} = \"x\"")).unwrap_err();
        let said = format!("unknown setting `{written}` in streamforge.toml; did you mean `{meant}`?");
        assert_eq!(error.to_string(), said);
        assert!(error.advice().contains("max_upload_bytes"), "{}", error.advice());
    }
}

#[test]
fn the_file_takes_numbers_and_texts() {
    let config = of_file("max_upload_bytes = 1_000\nslots = 3\ngrace_s = 0.5").unwrap();
    assert_eq!((config.max_upload_bytes, config.slots, config.grace), (1_000, 3, Duration::from_millis(500)));
    assert_eq!(of_file("max_upload_bytes = \"2GiB\"").unwrap().max_upload_bytes, 2 << 30);
}

#[test]
fn a_wrong_value_says_key_origin_value_and_what_would_be_right() {
    for (text, key) in [
        ("listen = \"8080\"", "listen"),
        ("data = \"\"", "data"),
        ("slots = 0", "slots"),
        ("grace_s = -1", "grace_s"),
        ("grace_s = \"soon\"", "grace_s"),
        ("log_format = \"xml\"", "log_format"),
        ("max_upload_bytes = 0", "max_upload_bytes"),
        ("upload_expiry_h = 0", "upload_expiry_h"),
        ("upload_expiry_h = 9000", "upload_expiry_h"),
        ("watch_after = \"burn\"", "watch_after"),
        ("upload_origins = \"a.example\"", "upload_origins"),
        ("upload_origins = \"https://a.example/path\"", "upload_origins"),
        ("upload_origins = \"\"", "upload_origins"),
        ("max_upload_bytes = \"500 MX\"", "max_upload_bytes"),
        ("public_path = \"video\"", "public_path"),
        ("public_path = \"/a/../b\"", "public_path"),
        ("log = \"nats://host\"", "log"),
        ("catalog = \"sqlite\"", "catalog"),
        ("blobs = \"/tmp/x\"", "blobs"),
        ("registry = \"host\"", "registry"),
        ("registry = \"http://\"", "registry"),
        ("registry = \"http://:secret@host\"", "registry"),
        ("registry = \"http://user:1/secret@host\"", "registry"),
        ("log = \"kafka://\"", "log"),
        ("log = \"kafka://u:p@host\"", "log"),
        ("catalog = \"scylla://host\"", "catalog"),
        ("catalog = \"scylla://host/no-keyspace\"", "catalog"),
        ("blobs = \"s3://Bucket\"", "blobs"),
        ("topic_prefix = \"a/b\"", "topic_prefix"),
        ("session_timeout_s = 1", "session_timeout_s"),
        ("[kafka]\nlinger.ms = []", "kafka.linger.ms"),
        ("listen = true", "listen"),
        ("listen = [\"127.0.0.1:1\"]", "listen"),
    ] {
        let error = of_file(text).unwrap_err();
        let said = error.to_string();
        assert!(matches!(error, Error::BadValue { .. }), "{text}: {said}");
        assert!(said.contains(&format!("`{key}` from streamforge.toml")) && said.contains("it must"), "{said}");
        assert!(!said.contains("secret"), "{said}");
    }
}

#[test]
fn the_other_sides_are_read() {
    let file = "log = \"kafka://a,b:1\"\ncatalog = \"scylla://u:p@a/videos\"\nblobs = \"s3://bucket/prefix\"\n\
                registry = \"http://me:hunter2@a:8081/apis/ccompat/v7/\"\ntopic_prefix = \"test-\"\ninstance = \"w1\"\nsession_timeout_s = 30\n\
                [kafka]\nsasl.username = \"file\"\nlinger.ms = 3\n";
    let environment = [("STREAMFORGE_KAFKA_SASL_USERNAME", "me"), ("STREAMFORGE_KAFKA_SASL_PASSWORD", "hunter2")];
    let config = Config::from_given(&given(&[], &environment, Some(file))).unwrap();
    let LogAt::Kafka(kafka) = &config.log else { panic!("{:?}", config.log) };
    assert_eq!(kafka.brokers, ["a:9092", "b:1"]);
    let properties: Vec<_> = kafka.properties.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(properties, ["linger.ms=3", "sasl.password=hunter2", "sasl.username=me"]);
    assert_eq!((kafka.prefix.as_str(), kafka.instance.as_deref()), ("test-", Some("w1")));
    let registry = kafka.registry.as_ref().map(ToString::to_string);
    assert_eq!(registry.as_deref(), Some("http://a:8081/apis/ccompat/v7"));
    assert_eq!(kafka.session_timeout, Duration::from_secs(30));
    assert_eq!(setting(&config, "registry").shown, "http://***@a:8081/apis/ccompat/v7/");
    let CatalogAt::Scylla(scylla) = &config.catalog else { panic!("{:?}", config.catalog) };
    assert_eq!((scylla.nodes.as_slice(), scylla.keyspace.as_str()), (&["a:9042".to_owned()][..], "videos"));
    assert_eq!(config.blobs, BlobsAt::S3 { bucket: "bucket".into(), prefix: "prefix".into() });
    assert!(config.stray_variables.is_empty(), "{:?}", config.stray_variables);
    assert_eq!((config.check_shared("edge").is_ok(), config.doors().is_one_process()), (true, false));
    assert_eq!(setting(&config, "kafka.linger.ms").shown, "3");
    assert_eq!(setting(&config, "kafka.sasl.password").shown, "***");
    let printed = format!("{config:?}");
    assert!(!printed.contains("hunter2") && !printed.contains("u:p@"), "{printed}");
    assert!(!serde_json::to_string(&config.settings).unwrap().contains("hunter2"));
}

#[test]
fn a_role_that_shares_its_doors_refuses_embedded_ones() {
    let with = |text: &str| of_file(text).unwrap().check_shared("work").unwrap_err();
    let log = with("catalog = \"scylla://a/k\"");
    assert!(log.to_string().contains("`work` shares its log with other processes"), "{log}");
    assert!(
        log.advice().contains("set `log` to kafka://") && log.advice().contains("streamforge up"),
        "{}",
        log.advice()
    );
    let catalog = with("log = \"kafka://a\"");
    assert!(catalog.to_string().contains("shares its catalog"), "{catalog}");
    assert!(catalog.advice().contains("scylla://"), "{}", catalog.advice());
}

#[test]
fn broken_toml_is_told_by_line_and_never_quoted() {
    let error = of_file("listen = \"127.0.0.1:1\"\nregistry = http://u:hunter2@h\n").unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn passwords_are_never_shown() {
    for value in ["kafka://user:hunter2@host:9092", "http://user:hunter2@host", "s3://user:hun/ter2@host/hunter2@x"] {
        let shown = key::masked(value);
        assert!(!shown.contains("hunter2@host") && !shown.contains("user"), "{shown}");
        assert!(shown.contains("://***@"), "{shown}");
    }
    assert_eq!(key::masked("kafka://host:9092"), "kafka://host:9092");
    let error = of_file("catalog = \"nats://user:hunter2@host\"").unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
}

#[test]
fn stray_variables_are_found() {
    let environment = [("STREAMFORGE_LISEN", "x"), ("STREAMFORGE_SERVER", "http://x"), ("STREAMFORGE_CONFIG", "x")];
    let config = Config::from_given(&given(&[], &environment, None)).unwrap();
    assert_eq!(config.stray_variables, ["STREAMFORGE_LISEN"]);
    let told = config.check_spelling().unwrap_err().to_string();
    assert!(told.contains("STREAMFORGE_LISEN ") && told.contains("STREAMFORGE_LISTEN?"), "{told}");
    // What Kubernetes tells every process about a service of this name is nobody's mistake.
    let environment = [("STREAMFORGE_PORT", "tcp://10.0.0.1:80"), ("STREAMFORGE_SERVICE_HOST", "10.0.0.1")];
    Config::from_given(&given(&[], &environment, None)).unwrap().check_spelling().unwrap();
}

#[test]
fn a_cluster_may_say_how_many_copies_and_which_datacenter() {
    let cluster = super::door::cluster("scylla://h/k?replication=2&datacenter=dc1").unwrap();
    assert_eq!((cluster.replication, cluster.datacenter.as_deref()), (Some(2), Some("dc1")));
    assert_eq!((cluster.keyspace.as_str(), cluster.nodes), ("k", vec!["h:9042".to_owned()]));
    for wrong in ["scylla://h/k?replication=0", "scylla://h/k?replication=x", "scylla://h/k?copies=3"] {
        assert!(super::door::cluster(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn public_paths_start_and_end_with_a_slash() {
    for (written, meant) in [("/", "/"), ("/video", "/video/"), ("/video/", "/video/"), ("/a/b", "/a/b/")] {
        assert_eq!(of_file(&format!("public_path = \"{written}\"")).unwrap().public_path, meant);
    }
}

#[test]
fn flags_and_variables_follow_from_the_key() {
    let names: BTreeMap<_, _> = KEYS.iter().map(|key| (key.flag(), key.variable())).collect();
    assert_eq!(names["--ops-listen"], "STREAMFORGE_OPS_LISTEN");
    assert_eq!(names["--max-upload-bytes"], "STREAMFORGE_MAX_UPLOAD_BYTES");
    assert_eq!(names.len(), KEYS.len());
}

#[test]
fn sizes_are_read_as_people_write_them() {
    for (text, bytes) in [
        ("500 MB", 500_000_000),
        ("2GiB", 2 << 30),
        ("1.5 GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("1_000", 1_000),
        ("12 b", 12),
        (" 7k ", 7_000),
        ("1 tib", 1 << 40),
    ] {
        assert_eq!(size::parse(text), Ok(bytes), "{text}");
    }
    for text in ["", "MB", "five MB", "-1", "+1", "1.", "1.2.3 MB", "1 MBB", "1e3", "1 M B"] {
        assert_eq!(size::parse(text), Err(size::Error::NoSize), "{text}");
    }
    assert_eq!(size::parse("99999999 TB"), Err(size::Error::TooLarge));
    assert_eq!(size::parse("99999999999999999999"), Err(size::Error::TooLarge));
}

#[test]
fn sizes_are_shown_with_three_digits() {
    for (bytes, text) in [
        (0, "0 B"),
        (999, "999 B"),
        (1_000, "1 kB"),
        (1_874_097, "1.87 MB"),
        (500_000_000, "500 MB"),
        (999_999, "1 MB"),
        (12_340_000_000, "12.3 GB"),
    ] {
        assert_eq!(size::shown(bytes), text);
    }
}

proptest! {
    #[test]
    fn any_plain_number_is_that_many_bytes(bytes: u64) {
        prop_assert_eq!(size::parse(&bytes.to_string()), Ok(bytes));
    }

    #[test]
    fn a_shown_size_reads_back_within_a_percent(bytes in 0..1_000_000_000_000_000_u64) {
        let text = size::shown(bytes);
        // Sizes above a terabyte are shown in units that nobody writes.
        if let Ok(back) = size::parse(&text) {
            prop_assert!(back.abs_diff(bytes) <= bytes / 100 + 1, "{} {}", text, back);
        }
    }

    #[test]
    fn no_text_makes_reading_fall_over(text: String) {
        let _ = size::parse(&text);
        let _ = key::masked(&text);
        let _ = key::nearest(&text);
        let _ = of_file(&text);
    }
}
