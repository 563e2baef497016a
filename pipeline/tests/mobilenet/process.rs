//! A model in a process of its own.

use pipeline::ml::Error;
use pipeline::ml::child::Asker;
use pipeline::ml::mobilenet::Picture;

use crate::{folder, formula};

const PROGRAM: &str = env!("CARGO_BIN_EXE_streamforge-ml");

#[tokio::test]
async fn pictures_of_several_jobs_are_seen_by_one_process() {
    let place = folder::make(&folder::fixture("whole"));
    let model = Asker::<Picture>::new(PROGRAM, place.path());
    model.check().await.unwrap();
    let broken = Picture { rgb: vec![0; 5], ..formula::picture(10, 10) };
    let asked = [formula::picture(320, 180), broken, formula::picture(100, 300)];
    let answers = futures::future::join_all(asked.clone().map(|picture| model.ask(picture))).await;
    let alone = folder::load(place.path());
    for (at, (answer, picture)) in answers.into_iter().zip(&asked).enumerate() {
        if at == 1 {
            let said = answer.unwrap_err();
            assert!(matches!(&said, Error::Audio(_)), "{said}");
            assert_eq!(said.to_string(), "a picture of 10x10 pixels has 5 bytes instead of 300");
            continue;
        }
        let (answer, wanted) = (answer.unwrap(), alone.look(&[picture]).remove(0).unwrap());
        assert_eq!(answer.len(), 5);
        for (one, other) in answer.iter().zip(&wanted) {
            assert_eq!((&one.name, one.index), (&other.name, other.index));
        }
    }
}
