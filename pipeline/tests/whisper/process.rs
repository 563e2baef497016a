//! A real model in a process of its own.

use std::os::unix::fs::PermissionsExt;

use pipeline::ml::Error;
use pipeline::ml::child::{self, Asker};
use pipeline::ml::whisper::options::Options;
use pipeline::ml::whisper::{Span, Transcript};

use crate::{fixture, folder, formula};

const PROGRAM: &str = env!("CARGO_BIN_EXE_streamforge-ml");

fn span(seconds: f64, most: usize) -> Span {
    let options = Options { beam: None, most_tokens: Some(most), temperatures: vec![0.0], ..Options::default() };
    Span { samples: formula::sound(seconds), options }
}

fn tokens(transcript: &Transcript) -> Vec<Vec<u32>> {
    transcript.segments.iter().map(|segment| segment.tokens.clone()).collect()
}

#[tokio::test]
async fn spans_of_several_jobs_are_heard_by_one_process() {
    let place = folder::make(&fixture::read("english"));
    let model = Asker::<Span>::new(PROGRAM, place.path());
    model.check().await.unwrap();
    let asked = [span(3.0, 8), span(5.0, 8), span(3.0, 4)];
    let answers = futures::future::join_all(asked.clone().map(|span| model.ask(span))).await;
    let alone = folder::load("english");
    for (answer, span) in answers.into_iter().zip(asked) {
        let wanted = alone.transcribe(&[&span.samples], &span.options).unwrap().remove(0);
        assert!(!wanted.segments.is_empty());
        assert_eq!(tokens(&answer.unwrap()), tokens(&wanted));
    }
}

#[tokio::test]
async fn a_folder_that_does_not_fit_is_told_in_one_sentence_before_and_when_it_is_asked() {
    let place = folder::make(&fixture::read("english"));
    let weights = place.path().join("model.safetensors");
    let bytes = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &bytes[..bytes.len() - 7]).unwrap();
    let model = Asker::<Span>::new(PROGRAM, place.path());
    for said in [model.check().await.unwrap_err(), model.ask(span(1.0, 2)).await.unwrap_err()] {
        let Error::Unfit(said) = said else { panic!("{said:?}") };
        assert!(
            said.contains("model.safetensors") && said.contains("cut short") && said.lines().count() == 1,
            "{said}"
        );
    }
    // Put right, it is used without anybody starting anything again.
    std::fs::write(&weights, &bytes).unwrap();
    model.ask(span(1.0, 2)).await.unwrap();
}

#[tokio::test]
async fn a_process_that_dies_is_named_and_the_next_question_gets_another_one() {
    let place = tempfile::tempdir().unwrap();
    let program = place.path().join("dies");
    std::fs::write(&program, "#!/bin/sh\necho out of memory >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let model = Asker::<Span>::new(&program, place.path());
    for _ in 0..2 {
        let Error::Gone(said) = model.ask(span(1.0, 2)).await.unwrap_err() else { panic!("another error") };
        assert!(said.contains("out of memory"), "{said}");
    }
    let Error::Gone(said) = model.check().await.unwrap_err() else { panic!("another error") };
    assert!(said.contains("out of memory") && said.contains('3'), "{said}");
    std::fs::remove_file(&program).unwrap();
    assert!(matches!(model.ask(span(1.0, 2)).await, Err(Error::Read { .. })));
}

#[test]
fn it_says_what_it_computes_on_and_that_it_is_not_for_people() {
    assert!(child::about(PROGRAM.as_ref()).unwrap().starts_with("libtorch 2.13"));
    let said = std::process::Command::new(PROGRAM).output().unwrap();
    assert_eq!(said.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&said.stderr).contains("streamforge"));
}

/// Loading libtorch costs each start a quarter of a second, and a server starts a process for each source.
#[test]
fn the_program_that_serves_is_not_linked_with_libtorch() {
    if cfg!(debug_assertions) {
        println!("not run here: only an optimised build leaves out what it does not call");
        return;
    }
    let needs = |program: &str| {
        let said = std::process::Command::new("ldd").arg(program).output().unwrap();
        assert!(said.status.success());
        String::from_utf8_lossy(&said.stdout).contains("libtorch")
    };
    assert!(needs(PROGRAM), "else this test finds nothing");
    assert!(!needs(env!("CARGO_BIN_EXE_streamforge")));
}
