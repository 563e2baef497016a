//! A [`Whisper`] as a [`Model`] of a thread: spans of any jobs, those with the same wishes together.

use super::loaded::Whisper;
use super::{Span, Transcript};
use crate::ml::Error;
use crate::ml::thread::Model;

impl Model for Whisper {
    type Request = Span;
    type Answer = Transcript;

    fn answer(&mut self, spans: Vec<Span>) -> Vec<Result<Transcript, Error>> {
        let mut answers: Vec<Option<Result<Transcript, Error>>> = spans.iter().map(|_| None).collect();
        while let Some(first) = answers.iter().position(Option::is_none) {
            let options = &spans[first].options;
            let alike: Vec<usize> = (first..spans.len())
                .filter(|span| answers[*span].is_none() && spans[*span].options == *options)
                .collect();
            let audio: Vec<&[f32]> = alike.iter().map(|span| spans[*span].samples.as_slice()).collect();
            match self.transcribe(&audio, options) {
                Ok(heard) => alike.iter().zip(heard).for_each(|(span, heard)| answers[*span] = Some(Ok(heard))),
                Err(error) => alike.iter().for_each(|span| answers[*span] = Some(Err(error.clone()))),
            }
        }
        answers.into_iter().flatten().collect()
    }
}
