//! Tokens and text: `tokenizer.json`, and the tokens that steer the model.
//!
//! Radford et al. 2022, section 2.3 and figure 1: a prompt is `<|startofprev|>`, earlier text, `<|startoftranscript|>`, a
//! language, a task, and perhaps `<|notimestamps|>`.

use std::path::Path;

use tokenizers::Tokenizer;

use super::config::{Config, Generation};
use crate::ml::Error;

/// Tokens with a meaning of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    /// Ends a text; every token below it is text.
    pub end: u32,
    /// Starts a transcript.
    pub start: u32,
    /// Asks for English.
    pub translate: u32,
    /// Asks for the language that is spoken.
    pub transcribe: u32,
    /// What comes before this window follows.
    pub previous: u32,
    /// Says that nobody speaks.
    pub no_speech: Option<u32>,
    /// Asks for no timestamps.
    pub no_times: u32,
    /// The timestamp zero; every token from here on is one.
    pub zero: u32,
    /// Codes such as `en`, and their tokens; empty in a model for English alone.
    pub languages: Vec<(String, u32)>,
}

/// Everything about tokens.
#[derive(Debug)]
pub struct Vocabulary {
    tokenizer: Tokenizer,
    /// Tokens with a meaning of their own.
    pub special: Special,
    /// Tokens that never come in a text.
    pub suppressed: Vec<u32>,
    /// Tokens that no text begins with.
    pub not_first: Vec<u32>,
}

impl Vocabulary {
    /// Reads `tokenizer.json` in `folder`, which has to fit the rest of the folder.
    pub fn read(folder: &Path, config: &Config, generation: &Generation) -> Result<Self, Error> {
        let path = folder.join("tokenizer.json");
        let unfit = |what: String| Error::Unfit(format!("{} {what}", path.display()));
        std::fs::metadata(&path).map_err(|error| Error::read(&path, error))?;
        let tokenizer = Tokenizer::from_file(&path).map_err(|error| unfit(format!("cannot be understood: {error}")))?;
        let special = special(&tokenizer, generation.is_multilingual(config))
            .map_err(|token| unfit(format!("lacks the token {token}, so it is not Whisper's")))?;
        let last = u32::try_from(config.vocab_size).unwrap_or(u32::MAX);
        if special.zero >= last || special.end > special.start {
            return Err(unfit(format!("has tokens up to {} where the model knows {last}", special.zero)));
        }
        if let Some(stated) = generation.no_timestamps_token_id.filter(|stated| *stated != special.no_times) {
            let own = special.no_times;
            return Err(unfit(format!("has <|notimestamps|> as {own}, generation_config.json as {stated}")));
        }
        let mut this = Self { tokenizer, special, suppressed: Vec::new(), not_first: Vec::new() };
        this.not_first = this.encode(" ")?.into_iter().chain([this.special.end]).collect();
        this.suppressed = match generation.suppressed(config) {
            Some(listed) => listed,
            None => this.not_speech()?,
        };
        this.suppressed.extend(this.steering());
        this.suppressed.sort_unstable();
        this.suppressed.dedup();
        Ok(this)
    }

    /// The tokens of `text`.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, Error> {
        let encoded = self.tokenizer.encode_fast(text, false);
        let unfit = |error| Error::Unfit(format!("tokenizer.json cannot spell {text:?}: {error}"));
        Ok(encoded.map_err(unfit)?.get_ids().to_vec())
    }

    /// The text of `tokens`, without those that have a meaning of their own.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        let text: Vec<u32> = tokens.iter().copied().filter(|token| *token < self.special.end).collect();
        let unfit = |error| Error::Unfit(format!("tokenizer.json cannot read {text:?}: {error}"));
        self.tokenizer.decode(&text, true).map_err(unfit)
    }

    /// The token of a language by its code.
    pub fn language(&self, code: &str) -> Option<u32> {
        self.special.languages.iter().find(|(known, _)| known == code).map(|(_, token)| *token)
    }

    /// Tokens that steer the model and are no part of a text.
    fn steering(&self) -> Vec<u32> {
        let special = &self.special;
        let mut steering = vec![special.transcribe, special.translate, special.start, special.previous];
        steering.extend(special.no_speech);
        steering.extend(self.tokenizer.token_to_id("<|startoflm|>"));
        steering
    }

    /// Tokens of signs that are not spoken, such as brackets and notes, as the reference lists them.
    fn not_speech(&self) -> Result<Vec<u32>, Error> {
        const SIGNS: &str = "\" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』 << >> <<< >>> -- --- -( -[ (' (\" (( )) \
                             ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪";
        // Of these the first of several tokens is enough: all of them are musical signs.
        const NOTES: &str = "♩ ♪ ♫ ♬ ♭ ♮ ♯";
        let mut found = Vec::new();
        for sign in [" -", " '"] {
            found.extend(self.encode(sign)?.first());
        }
        let signs = SIGNS.split_whitespace().map(|sign| (sign, false));
        for (sign, is_note) in signs.chain(NOTES.split_whitespace().map(|sign| (sign, true))) {
            for spelled in [self.encode(sign)?, self.encode(&format!(" {sign}"))?] {
                if spelled.len() == 1 || is_note {
                    found.extend(spelled.first());
                }
            }
        }
        Ok(found)
    }
}

/// The tokens with a meaning of their own, or the one that is missing.
fn special(tokenizer: &Tokenizer, is_multilingual: bool) -> Result<Special, &'static str> {
    let find = |token: &'static str| tokenizer.token_to_id(token).ok_or(token);
    let start = find("<|startoftranscript|>")?;
    let translate = find("<|translate|>")?;
    let no_times = find("<|notimestamps|>")?;
    let languages = (start + 1..translate).filter(|_| is_multilingual).filter_map(|token| {
        let name = tokenizer.id_to_token(token)?;
        Some((name.trim_matches(['<', '|', '>']).to_owned(), token))
    });
    Ok(Special {
        end: find("<|endoftext|>")?,
        start,
        translate,
        transcribe: find("<|transcribe|>")?,
        previous: find("<|startofprev|>")?,
        // Its older name is the second.
        no_speech: find("<|nospeech|>").or_else(|_| find("<|nocaptions|>")).ok(),
        no_times,
        // Some files do not spell the timestamps out.
        zero: find("<|0.00|>").unwrap_or(no_times + 1),
        languages: languages.collect(),
    })
}
