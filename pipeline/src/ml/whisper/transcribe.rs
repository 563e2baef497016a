//! Long audio: windows of 30 s that advance by their timestamps, in one audio one after the other, in many side by side.
//!
//! Radford et al. 2022, section 4.5. Windows of different audio that are heard at the same time are computed as one batch.

use tch::Tensor;

use super::decode::Heard;
use super::decode::judge::{Case, compression_ratio};
use super::decode::window::{self, FRAMES_PER_S};
use super::loaded::Whisper;
use super::options::Options;
use super::{Segment, Transcript};
use crate::ml::Error;

/// Above this temperature a text is too wild to be told to the next window.
const TOO_WILD: f32 = 0.5;

/// One audio on its way.
struct Course {
    /// `[m, t]`, a window of silence at the end.
    mel: Tensor,
    /// Frames of the audio itself.
    frames: usize,
    /// Where the next window begins, frames.
    seek: usize,
    transcript: Transcript,
    /// What could be told to the next window.
    earlier: Vec<u32>,
    /// How much of it is not told any more.
    forgotten: usize,
}

/// The rows `which` of `audio`, `[n, 1500, d]`; without a copy when these are all of them.
fn some_of(audio: &Tensor, which: &[usize]) -> Result<Tensor, Error> {
    let rows: Vec<i64> = which.iter().map(|row| i64::try_from(*row).unwrap_or_default()).collect();
    if rows.iter().copied().eq(0..audio.size()[0]) {
        return Ok(audio.shallow_clone());
    }
    Ok(audio.f_index_select(0, &Tensor::f_from_slice(&rows)?.f_to(audio.device())?)?)
}

/// A window's text and how it was found.
struct Text {
    heard: Heard,
    case: Case,
    temperature: f32,
}

impl Whisper {
    /// What is said in mono `audio` at 16 kHz, in a batch of any number; each as if it was alone.
    pub fn transcribe(&self, audio: &[&[f32]], options: &Options) -> Result<Vec<Transcript>, Error> {
        let _no_grad = tch::no_grad_guard();
        let courses = audio.iter().map(|samples| self.course(samples, options));
        let mut courses = courses.collect::<Result<Vec<_>, Error>>()?;
        if options.language.is_none() {
            self.find_languages(&mut courses)?;
        }
        loop {
            let mut open: Vec<&mut Course> = courses.iter_mut().filter(|one| one.seek < one.frames).collect();
            if open.is_empty() {
                break;
            }
            self.advance(&mut open, options)?;
        }
        Ok(courses.into_iter().map(|course| course.transcript).collect())
    }

    fn course(&self, samples: &[f32], options: &Options) -> Result<Course, Error> {
        let mel = self.spectrogram(samples)?;
        let total = usize::try_from(mel.size2()?.1).unwrap_or_default();
        let prompt = options.prompt.trim();
        let earlier = if prompt.is_empty() { Vec::new() } else { self.vocabulary.encode(&format!(" {prompt}"))? };
        let is_english = self.vocabulary.special.languages.is_empty();
        let language = if is_english { Some("en".to_owned()) } else { options.language.clone() };
        let transcript = Transcript { language, segments: Vec::new() };
        let frames = total.saturating_sub(self.window_frames());
        Ok(Course { mel, frames, seek: 0, transcript, earlier, forgotten: 0 })
    }

    /// Listens to the beginning of each audio for its language.
    fn find_languages(&self, courses: &mut [Course]) -> Result<(), Error> {
        let mut unknown: Vec<&mut Course> =
            courses.iter_mut().filter(|one| one.transcript.language.is_none() && one.frames > 0).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let whole = i64::try_from(self.window_frames()).unwrap_or_default();
        let windows = unknown.iter().map(|one| Ok(one.mel.f_narrow(1, 0, whole)?));
        let audio = self.encode(&windows.collect::<Result<Vec<_>, Error>>()?)?;
        for (course, languages) in unknown.iter_mut().zip(self.languages(&audio)?) {
            let likeliest = languages.into_iter().reduce(|best, one| if one.1 > best.1 { one } else { best });
            course.transcript.language = likeliest.map(|(code, _)| code);
        }
        Ok(())
    }

    /// Hears the next window of each course.
    fn advance(&self, courses: &mut [&mut Course], options: &Options) -> Result<(), Error> {
        let size = |course: &Course| self.window_frames().min(course.frames - course.seek);
        let windows = courses.iter().map(|course| {
            let [from, count] = [course.seek, size(course)].map(|frames| i64::try_from(frames).unwrap_or_default());
            Ok(course.mel.f_narrow(1, from, count)?)
        });
        let audio = self.encode(&windows.collect::<Result<Vec<_>, Error>>()?)?;
        let prompts = courses.iter().map(|course| {
            let earlier = course.earlier.get(course.forgotten..).unwrap_or(&[]);
            self.prompt(options, course.transcript.language.as_deref(), earlier)
        });
        let texts = self.texts(&audio, &prompts.collect::<Result<Vec<_>, Error>>()?, options)?;
        for (course, text) in courses.iter_mut().zip(texts) {
            let frames = size(course);
            self.take(course, frames, text, options)?;
        }
        Ok(())
    }

    /// A text for each window, decoded again at higher temperatures until it is believed.
    fn texts(&self, audio: &Tensor, prompts: &[Vec<u32>], options: &Options) -> Result<Vec<Text>, Error> {
        let mut texts: Vec<Option<Text>> = prompts.iter().map(|_| None).collect();
        let mut open: Vec<usize> = (0..prompts.len()).collect();
        for &temperature in &options.temperatures {
            let mut doubted = Vec::new();
            for group in by_length(&open, prompts) {
                let of_group: Vec<Vec<u32>> = group.iter().map(|row| prompts[*row].clone()).collect();
                let heard = self.decode(&some_of(audio, &group)?, &of_group, options, temperature)?;
                for (row, heard) in group.into_iter().zip(heard) {
                    let text = self.text(heard, temperature)?;
                    if options.thresholds.wants_another(&text.case) {
                        doubted.push(row);
                    }
                    texts[row] = Some(text);
                }
            }
            open = doubted;
            if open.is_empty() {
                break;
            }
        }
        let texts: Option<Vec<Text>> = texts.into_iter().collect();
        texts.ok_or_else(|| Error::Audio("no temperature to decode at is given".to_owned()))
    }

    fn text(&self, heard: Heard, temperature: f32) -> Result<Text, Error> {
        let text = self.vocabulary.decode(&heard.found.tokens)?;
        let case = Case {
            compression_ratio: compression_ratio(text.trim()),
            avg_logprob: heard.found.avg_logprob(),
            no_speech: heard.no_speech,
        };
        Ok(Text { heard, case, temperature })
    }

    /// Writes down what a window of `frames` gave, and moves on.
    fn take(&self, course: &mut Course, frames: usize, text: Text, options: &Options) -> Result<(), Error> {
        if options.thresholds.is_silence(&text.case) {
            course.seek += frames;
            return Ok(());
        }
        let zero = self.vocabulary.special.zero;
        let cut = window::cut(&text.heard.found.tokens, zero, self.frames_a_step(), frames);
        let offset_s = course.seek as f64 / FRAMES_PER_S;
        for part in cut.segments {
            let spoken = self.vocabulary.decode(&part.tokens)?;
            // What takes no time or says nothing is no segment.
            if part.start_s >= part.end_s || spoken.trim().is_empty() {
                continue;
            }
            course.earlier.extend(&part.tokens);
            course.transcript.segments.push(Segment {
                start_s: offset_s + part.start_s,
                end_s: offset_s + part.end_s,
                text: spoken,
                tokens: part.tokens,
                temperature: text.temperature,
                avg_logprob: text.case.avg_logprob,
                compression_ratio: text.case.compression_ratio,
                no_speech: text.case.no_speech,
            });
        }
        if !options.continues || text.temperature > TOO_WILD {
            course.forgotten = course.earlier.len();
        }
        // A window that does not move on would be heard for ever.
        course.seek += if cut.advance == 0 { frames } else { cut.advance };
        Ok(())
    }
}

/// The rows `open`, those with prompts of one length together.
fn by_length(open: &[usize], prompts: &[Vec<u32>]) -> Vec<Vec<usize>> {
    let mut groups = std::collections::BTreeMap::<usize, Vec<usize>>::new();
    for row in open {
        groups.entry(prompts[*row].len()).or_default().push(*row);
    }
    groups.into_values().collect()
}
