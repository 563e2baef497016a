//! What can happen on the way of a model.

use super::*;

#[tokio::test]
async fn a_model_comes_whole() {
    let (server, home) = (good(), tempfile::tempdir().unwrap());
    let shelf = Shelf::new(home.path().join("models"));
    assert_eq!(
        shelf.find("tiny-test").unwrap_err().to_string(),
        "no model: run streamforge models pull tiny-test",
        "nothing is there yet, not even the folder"
    );
    let told = Told::default();
    let pulled = pull(&shelf, &model(), &place(&server), &told).await.unwrap();
    assert!(!pulled.was_here);
    let folder = shelf.find("tiny-test").unwrap();
    assert_eq!(std::fs::read(folder.join("config.json")).unwrap(), CONFIG);
    assert_eq!(std::fs::read(folder.join(WEIGHTS)).unwrap(), weights());
    assert_eq!(entries(shelf.folder()), ["tiny-test"], "nothing is left of the way here");
    assert_eq!(entries(&folder), ["config.json", inventory::FILE, WEIGHTS]);
    let inventory = Inventory::read(&folder).unwrap().unwrap();
    assert_eq!((inventory.revision.as_str(), inventory.files[1].sha256.clone()), ("abc", hash(&weights())));
    assert_eq!(inventory.files[0].sum, Says::Table);
    let told = told.0.into_inner().unwrap();
    assert_eq!(told[1], (WEIGHTS.to_owned(), 3_000_000, 3_000_000));
    let again = bring(&shelf, &model(), &place(&server)).await.unwrap();
    assert!(again.was_here);
    assert_eq!(server.requests().len(), 2, "what is here is not fetched again");
}

#[tokio::test]
async fn what_breaks_off_goes_on_by_itself() {
    let server = Server::start(|request, _| {
        let begins = request.header("range").is_none() && request.path.ends_with(WEIGHTS);
        if begins { served(request).cut(1_300_000) } else { served(request) }
    });
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    bring(&shelf, &model(), &place(&server)).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 3);
    let from: u64 =
        requests[2].header("range").unwrap().trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
    assert!((1..=1_300_000).contains(&from), "{from}");
    assert_eq!(requests[2].header("if-range"), Some("\"w\""));
    assert_eq!(std::fs::read(shelf.find("tiny-test").unwrap().join(WEIGHTS)).unwrap(), weights());
}

#[tokio::test]
async fn what_broke_off_is_no_model_and_the_next_pull_goes_on_with_it() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    broken_off(&shelf).await;
    assert_eq!(shelf.state("tiny-test"), State::Absent);
    assert!(shelf.names().unwrap().is_empty());
    let here = shelf.unfinished("tiny-test").unwrap();
    assert!((1_000..1_400_000).contains(&here), "{here}");
    let server = good();
    bring(&shelf, &model(), &place(&server)).await.unwrap();
    let requests = server.requests();
    assert_eq!(requests.len(), 1, "the small file was here already");
    assert_eq!(requests[0].header("range"), Some("bytes=1300000-"));
    assert_eq!(std::fs::read(shelf.find("tiny-test").unwrap().join(WEIGHTS)).unwrap(), weights());
}

#[tokio::test]
async fn a_server_without_ranges_or_with_another_file_by_now_begins_anew() {
    type Serves = fn(&Request) -> Answer;
    let rangeless: Serves = |_| Answer::new(200, &weights());
    let changed: Serves = |request| Answer::ranged(request, &weights(), "\"other\"");
    for serves in [rangeless, changed] {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path());
        broken_off(&shelf).await;
        let server = Server::start(move |request, _| serves(request));
        bring(&shelf, &model(), &place(&server)).await.unwrap();
        assert_eq!(server.requests()[0].header("range"), Some("bytes=1300000-"));
        assert_eq!(std::fs::read(shelf.find("tiny-test").unwrap().join(WEIGHTS)).unwrap(), weights());
    }
}

#[tokio::test]
async fn what_is_no_beginning_of_the_file_is_thrown_away() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    broken_off(&shelf).await;
    let partial = part::folder(home.path(), "tiny-test").join(format!("{WEIGHTS}{}", part::ENDING));
    std::fs::write(&partial, vec![0; 4_000_000]).unwrap();
    bring(&shelf, &model(), &place(&good())).await.unwrap();
    assert_eq!(std::fs::read(shelf.find("tiny-test").unwrap().join(WEIGHTS)).unwrap(), weights());
}

#[tokio::test]
async fn other_bytes_than_those_of_the_model_leave_nothing_behind() {
    let mut other = weights();
    other[2_999_999] ^= 1;
    let mut longer = weights();
    longer.push(0);
    for (bytes, why) in [
        (other.clone(), format!("its SHA-256 is {}, not {}", hash(&other), hash(&weights()))),
        (longer, "it has 3000001 bytes there, not 3000000".to_owned()),
        (Vec::new(), "it has 0 bytes there, not 3000000".to_owned()),
    ] {
        let server = Server::start(move |request, _| match request.path.ends_with(WEIGHTS) {
            true => Answer::ranged(request, &bytes, "\"w\""),
            false => served(request),
        });
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path());
        let error = bring(&shelf, &model(), &place(&server)).await.unwrap_err();
        assert_eq!(error.to_string(), format!("{WEIGHTS} is not what belongs to tiny-test: {why}"));
        assert!(entries(home.path()).is_empty(), "{:?}", entries(home.path()));
    }
}

#[tokio::test]
async fn a_beginning_that_went_bad_on_the_disk_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    broken_off(&shelf).await;
    let partial = part::folder(home.path(), "tiny-test").join(format!("{WEIGHTS}{}", part::ENDING));
    let mut kept = std::fs::read(&partial).unwrap();
    kept[7] ^= 1;
    std::fs::write(&partial, kept).unwrap();
    let server = good();
    let error = bring(&shelf, &model(), &place(&server)).await.unwrap_err();
    assert!(matches!(error, Error::Wrong { .. }), "{error}");
    assert!(entries(home.path()).is_empty());
    bring(&shelf, &model(), &place(&server)).await.unwrap();
}

#[tokio::test]
async fn an_answer_that_says_no_is_told_with_the_address() {
    let server = Server::start(|_, _| Answer::new(404, b"no"));
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    let error = bring(&shelf, &model(), &place(&server)).await.unwrap_err();
    let address = format!("{}/tiny-test/config.json", server.url());
    assert_eq!(error.to_string(), format!("{address} cannot be had: the server answered 404 not found"));
    assert!(entries(home.path()).is_empty());
    let nobody = Place::parse("http://user:secret@127.0.0.1:1").unwrap();
    let error = bring(&shelf, &model(), &nobody).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { .. }) && !error.to_string().contains("secret"), "{error}");
    assert!(!nobody.to_string().contains("secret"), "{nobody}");
    assert!(entries(home.path()).is_empty());
}

/// A file whose sum nobody has published.
fn unsummed() -> Wanted {
    let mut model = model();
    model.files.iter_mut().for_each(|file| file.sum = None);
    model.files[1].bytes = None;
    model
}

#[tokio::test]
async fn a_sum_that_is_announced_on_the_way_holds_and_one_that_is_not_is_written_down() {
    // As Hugging Face does it: the sum is in the redirect, and where the bytes are the tag is the hash of something else.
    let serve = |sum: String| {
        Server::start(move |request, _| match request.path.as_str() {
            "/tiny-test/model.safetensors" => {
                Answer::new(302, b"").with("location", "/elsewhere").with("x-linked-etag", format!("\"{sum}\""))
            }
            "/elsewhere" => Answer::ranged(request, &weights(), &format!("\"{}\"", "0".repeat(64))),
            _ => served(request),
        })
    };
    let home = tempfile::tempdir().unwrap();
    let shelf = Shelf::new(home.path());
    let pulled = bring(&shelf, &unsummed(), &place(&serve(hash(&weights())))).await.unwrap();
    let says: Vec<Says> = pulled.inventory.files.iter().map(|item| item.sum).collect();
    assert_eq!(says, [Says::FirstUse, Says::Server]);
    assert_eq!(pulled.inventory.files[0].sha256, hash(CONFIG));
    assert!(verify(&shelf, "tiny-test", &Told::default()).unwrap().iter().all(|file| file.fault.is_none()));

    let home = tempfile::tempdir().unwrap();
    let error = bring(&Shelf::new(home.path()), &unsummed(), &place(&serve(hash(b"other")))).await.unwrap_err();
    assert!(error.to_string().contains(&hash(b"other")), "{error}");
    assert!(entries(home.path()).is_empty());
}

#[tokio::test]
async fn a_file_whose_size_is_not_known_to_the_byte_cannot_be_endless() {
    let home = tempfile::tempdir().unwrap();
    let mut model = unsummed();
    model.files[1].roughly = 1_000;
    let error = bring(&Shelf::new(home.path()), &model, &place(&good())).await.unwrap_err();
    let why = "it has more than 1052576 bytes, 1000 were awaited";
    assert_eq!(error.to_string(), format!("{WEIGHTS} is not what belongs to tiny-test: {why}"));
    assert!(entries(home.path()).is_empty());
}

#[tokio::test]
async fn a_redirect_to_nowhere_ends() {
    for location in [Some("/tiny-test/config.json"), Some("file:///etc/passwd"), None] {
        let server = Server::start(move |_, _| match location {
            Some(location) => Answer::new(302, b"").with("location", location),
            None => Answer::new(302, b""),
        });
        let home = tempfile::tempdir().unwrap();
        let error = bring(&Shelf::new(home.path()), &model(), &place(&server)).await.unwrap_err();
        assert!(matches!(error, Error::Refused { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_shelf_is_a_mirror_for_others_even_of_what_the_table_does_not_know() {
    let (first, second, third) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    bring(&Shelf::new(first.path()), &model(), &place(&good())).await.unwrap();
    for from in [first.path().to_owned(), first.path().join("tiny-test")] {
        let mirror = Place::parse(&format!("file://{}", from.display())).unwrap();
        let listed = wanted("tiny-test", &mirror).await.unwrap();
        let shelf = Shelf::new(second.path());
        let pulled = bring(&shelf, &listed, &mirror).await.unwrap();
        assert_eq!((pulled.inventory.files[1].sum, pulled.inventory.revision.as_str()), (Says::Inventory, "abc"));
        assert!(shelf.remove("tiny-test").unwrap());
    }
    let folder = first.path().to_owned();
    let server = Server::start(move |request, _| match std::fs::read(folder.join(&request.path[1..])) {
        Ok(bytes) => Answer::new(200, &bytes),
        Err(_) => Answer::new(404, b"no"),
    });
    let mirror = Place::parse(&format!("{}/", server.url())).unwrap();
    let listed = wanted("tiny-test", &mirror).await.unwrap();
    bring(&Shelf::new(third.path()), &listed, &mirror).await.unwrap();
    let error = wanted("tiny-tost", &mirror).await.unwrap_err();
    assert_eq!(error.to_string(), "no model `tiny-tost` is known");
    let error = wanted("whisper-bass.en", &mirror).await.unwrap_err();
    assert_eq!(error.to_string(), "no model `whisper-bass.en` is known; did you mean `whisper-base.en`?");
    let official = Place::parse(place::OFFICIAL).unwrap();
    assert!(matches!(wanted("tiny-test", &official).await.unwrap_err(), Error::Unknown { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pulls_at_once_bring_it_once() {
    let server = good();
    let home = tempfile::tempdir().unwrap();
    let (shelf, model, place) = (Shelf::new(home.path()), model(), place(&server));
    let one = bring(&shelf, &model, &place);
    let two = bring(&shelf, &model, &place);
    let (one, two) = tokio::join!(one, two);
    assert!(one.unwrap().was_here != two.unwrap().was_here);
    assert_eq!(server.requests().len(), 2);
    assert_eq!(entries(home.path()), ["tiny-test"]);
}

#[tokio::test]
async fn what_the_disk_has_no_room_for_is_refused_before_it_comes() {
    let server = good();
    let home = tempfile::tempdir().unwrap();
    let mut model = model();
    model.files[1].roughly = u64::MAX / 2;
    let error = bring(&Shelf::new(home.path()), &model, &place(&server)).await.unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error}");
    assert_eq!(error.advice(), "make room, or name a folder on another disk with --models");
    assert!(server.requests().is_empty() && entries(home.path()).is_empty());
}
