//! A real model on a thread of its own.

use std::time::Duration;

use pipeline::ml::thread::{Handle, Settings};
use pipeline::ml::whisper::Span;
use pipeline::ml::whisper::Whisper;
use pipeline::ml::whisper::options::Options;

use crate::{folder, formula};

#[tokio::test]
async fn spans_of_several_jobs_are_heard_by_one_thread() {
    let settings = Settings { delay: Duration::from_millis(5), ..Settings::default() };
    let handle = Handle::<Whisper>::new(settings, || Ok(folder::load("english")));
    let options = |most| Options { beam: None, most_tokens: Some(most), temperatures: vec![0.0], ..Options::default() };
    let span = |seconds, most| Span { samples: formula::sound(seconds), options: options(most) };
    let asked = [span(3.0, 8), span(5.0, 8), span(3.0, 4)].map(|span| handle.ask(span));
    let answers = futures::future::join_all(asked).await;
    let alone = folder::load("english");
    for (answer, (seconds, most)) in answers.into_iter().zip([(3.0, 8), (5.0, 8), (3.0, 4)]) {
        let wanted = alone.transcribe(&[&formula::sound(seconds)], &options(most)).unwrap().remove(0);
        let tokens = answer.unwrap().segments.into_iter().map(|segment| segment.tokens);
        assert!(tokens.eq(wanted.segments.into_iter().map(|segment| segment.tokens)));
    }
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_named() {
    let handle = Handle::<Whisper>::new(Settings::default(), || Whisper::load("/nowhere/at/all".as_ref()));
    let asked = Span { samples: Vec::new(), options: Options::default() };
    let said = handle.ask(asked).await.unwrap_err().to_string();
    assert!(said.contains("/nowhere/at/all/config.json"), "{said}");
}
