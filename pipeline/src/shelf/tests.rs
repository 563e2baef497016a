use std::path::Path;
use std::sync::Mutex;

use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::inventory::{Inventory, Item, Says};
use super::known::Published;
use super::place::Place;
use super::pull::{Pulled, Wanted, WantedFile, Watch, pull, wanted};
use super::verify::verify;
use super::*;

mod pulls;
mod server;
use server::{Answer, Request, Server};

/// Remembers how far a pull said it was.
#[derive(Default)]
struct Told(Mutex<Vec<(String, u64, u64)>>);

impl Watch for Told {
    fn begins(&self, name: &str, at: u64, of: u64) {
        self.0.lock().unwrap().push((name.to_owned(), at, of));
    }

    fn is_at(&self, bytes: u64) {
        self.0.lock().unwrap().last_mut().unwrap().1 = bytes;
    }
}

fn weights() -> Vec<u8> {
    (0..3_000_000_u32).map(|i| (i % 251) as u8).collect()
}

const CONFIG: &[u8] = b"{ \"model_type\": \"whisper\" }";

fn hash(bytes: &[u8]) -> String {
    schemas::id::hex(&Sha256::digest(bytes))
}

fn file(name: &str, bytes: &[u8]) -> WantedFile {
    WantedFile {
        name: name.to_owned(),
        bytes: Some(bytes.len() as u64),
        roughly: bytes.len() as u64,
        sum: Some((hash(bytes), Says::Table)),
    }
}

/// A model of two files, as the table would know it.
fn model() -> Wanted {
    Wanted {
        name: "tiny-test".to_owned(),
        repository: "maker/tiny".to_owned(),
        revision: "abc".to_owned(),
        files: vec![file("config.json", CONFIG), file(WEIGHTS, &weights())],
    }
}

fn place(server: &Server) -> Place {
    Place::parse(&server.url()).unwrap()
}

/// A server that has the model and knows ranges.
fn good() -> Server {
    Server::start(|request, _| served(request))
}

fn served(request: &Request) -> Answer {
    match request.path.as_str() {
        "/tiny-test/config.json" => Answer::ranged(request, CONFIG, "\"c\""),
        "/tiny-test/model.safetensors" => Answer::ranged(request, &weights(), "\"w\""),
        _ => Answer::new(404, b"no"),
    }
}

async fn bring(shelf: &Shelf, model: &Wanted, place: &Place) -> Result<Pulled, Error> {
    pull(shelf, model, place, &Told::default()).await
}

/// A pull that breaks off for good after 1 300 000 bytes.
async fn broken_off(shelf: &Shelf) {
    let server = Server::start(|request, _| match request.path.ends_with(WEIGHTS) {
        true if request.header("range").is_some() => Answer::new(503, b"later"),
        true => served(request).cut(1_300_000),
        false => served(request),
    });
    let error = bring(shelf, &model(), &place(&server)).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_inventory_cannot_reach_out_of_its_folder() {
    let item = |name: &str, sha256: &str| Item {
        name: name.to_owned(),
        bytes: 1,
        sha256: sha256.to_owned(),
        sum: Says::Table,
    };
    let parse = |files: Vec<Item>| {
        let inventory = Inventory { model: "m".to_owned(), revision: String::new(), from: String::new(), files };
        Inventory::parse(&serde_json::to_vec(&inventory).unwrap(), "there")
    };
    let sum = "0".repeat(64);
    assert!(parse(vec![item("a.json", &sum)]).is_ok());
    for name in ["../a", "/etc/passwd", "a/b", ".a", "", "a.part", inventory::FILE] {
        let error = parse(vec![item(name, &sum)]).unwrap_err();
        assert!(error.to_string().starts_with("there cannot be had: `"), "{error}");
    }
    assert!(parse(vec![item("a", &sum), item("a", &sum)]).is_err());
    assert!(parse(vec![item("a", "xyz")]).is_err());
    assert!(Inventory::parse(b"<html>", "there").is_err());
}

#[tokio::test]
async fn a_changed_byte_and_a_missing_file_are_found() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    bring(&shelf, &model(), &place(&good())).await.unwrap();
    let faults = || -> Vec<Option<String>> {
        verify(&shelf, "tiny-test", &Told::default()).unwrap().into_iter().map(|file| file.fault).collect()
    };
    assert_eq!(faults(), [None, None]);
    let path = shelf.at("tiny-test").join(WEIGHTS);
    let mut bytes = weights();
    bytes[1_500_000] ^= 0x80;
    std::fs::write(&path, &bytes).unwrap();
    assert!(shelf.find("tiny-test").is_ok(), "the size is right, and nobody reads gigabytes at each start");
    let should = hash(&weights());
    assert_eq!(faults()[1], Some(format!("its SHA-256 is {} instead of {should}", hash(&bytes))));
    std::fs::write(&path, &bytes[1..]).unwrap();
    assert_eq!(faults()[1].as_deref(), Some("it has 2999999 bytes instead of 3000000"));
    assert_eq!(
        shelf.find("tiny-test").unwrap_err().to_string(),
        "model tiny-test is not whole, model.safetensors has 2999999 bytes instead of 3000000: run streamforge models pull \
         tiny-test"
    );
    std::fs::remove_file(shelf.at("tiny-test").join("config.json")).unwrap();
    assert_eq!(faults()[0].as_deref(), Some("it is missing"));
    let pulled = bring(&shelf, &model(), &place(&good())).await.unwrap();
    assert!(!pulled.was_here, "what is broken is brought again");
    assert_eq!(faults(), [None, None]);
    assert_eq!(entries(home.path()), ["tiny-test"]);
}

#[tokio::test]
async fn a_model_is_removed_with_what_a_cut_pull_left() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    assert!(!shelf.remove("tiny-test").unwrap());
    broken_off(&shelf).await;
    assert!(shelf.remove("tiny-test").unwrap());
    bring(&shelf, &model(), &place(&good())).await.unwrap();
    assert_eq!(shelf.names().unwrap(), ["tiny-test"]);
    assert!(shelf.remove("tiny-test").unwrap());
    assert!(entries(home.path()).is_empty());
    std::fs::create_dir(home.path().join("mine")).unwrap();
    for name in ["", ".", "..", "a/b", "../mine", "mine.part"] {
        assert!(!shelf.remove(name).unwrap(), "{name}");
    }
    assert_eq!(entries(home.path()), ["mine"]);
}

#[test]
fn a_model_that_was_put_there_by_hand_counts_when_its_sizes_are_right() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    let known = known::find("whisper-tiny.en").unwrap();
    let folder = shelf.at(known.name);
    std::fs::create_dir(&folder).unwrap();
    let create = |file: &known::KnownFile, bytes: u64| {
        std::fs::File::create(folder.join(file.name)).unwrap().set_len(bytes).unwrap();
    };
    known.files.iter().for_each(|file| create(file, file.size.roughly()));
    assert_eq!(shelf.find(known.name).unwrap(), folder);
    create(&known.files[0], 3);
    assert_eq!(shelf.state(known.name), State::Broken("config.json has 3 bytes instead of 1937".to_owned()));
    let own = shelf.at("of-my-own");
    std::fs::create_dir(&own).unwrap();
    assert_eq!(shelf.state("of-my-own"), State::Broken("model.safetensors is missing".to_owned()));
    std::fs::write(own.join(WEIGHTS), b"x").unwrap();
    assert_eq!(shelf.state("of-my-own"), State::Whole);
}

#[test]
fn the_table_is_complete() {
    let mut names: Vec<&str> = known::all().iter().map(|known| known.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), known::all().len(), "two of one name");
    for known in known::all() {
        let name = known.name;
        assert!(is_name(name) && known.revision.len() == 40, "{name}");
        assert!(known.revision.bytes().all(|byte| byte.is_ascii_hexdigit()), "{name}");
        assert!(known.about.len() <= 30 && !known.licence.is_empty(), "{name}");
        let weights = known.files.last().unwrap();
        assert_eq!(weights.name, WEIGHTS, "{name}: the large file comes last");
        assert!(weights.sha256.is_some(), "{name}: weights are never taken unseen");
        assert!(known.files.iter().all(|file| file.sha256.is_none_or(sum::is_sum)), "{name}");
        if name.starts_with("whisper-") {
            let files: Vec<&str> = known.files.iter().map(|file| file.name).collect();
            assert_eq!(files, ["config.json", "generation_config.json", "tokenizer.json", WEIGHTS], "{name}");
        }
        if let Some(Published::WordError(percent) | Published::TopOne(percent)) = known.published {
            assert!((0.1..100.0).contains(&percent), "{name}");
        }
        let official = Place::parse(place::OFFICIAL).unwrap();
        let url = official.address(&Wanted::of(known), WEIGHTS).unwrap();
        assert_eq!(url.as_str(), format!("{}/resolve/{}/{WEIGHTS}", known.page(), known.revision));
    }
}

#[test]
fn a_place_is_a_folder_or_an_address() {
    let parse = |text: &str| Place::parse(text);
    assert_eq!(parse("/mnt/models"), Ok(Place::Folder("/mnt/models".into())));
    assert_eq!(parse("file:///mnt/models"), Ok(Place::Folder("/mnt/models".into())));
    assert_eq!(parse("https://host/m/"), Ok(Place::Server("https://host/m/{name}".to_owned())));
    for wrong in ["", "ftp://host", "file://", "http://", "http://host/{model}", "http://host/?a={name}"] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

proptest! {
    #[test]
    fn no_text_that_means_a_place_makes_an_address_that_leaves_it(path in "[a-z{}/.]{0,30}") {
        if let Ok(place) = Place::parse(&format!("http://host/{path}"))
            && let Some(url) = place.address(&model(), WEIGHTS)
        {
            prop_assert_eq!(url.host_str(), Some("host"));
            prop_assert!(url.path().ends_with("/model.safetensors"));
        }
    }
}
