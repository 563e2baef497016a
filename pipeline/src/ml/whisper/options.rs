//! How to listen: everything that the reference lets one choose, with its defaults.

use serde::{Deserialize, Serialize};

use super::decode::judge::Thresholds;

/// What to write down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// What is said, as it is said.
    #[default]
    Transcribe,
    /// What is said, in English.
    Translate,
}

/// How to listen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// What to write down.
    pub task: Task,
    /// Code of the language, such as `en`; absent: what the first window sounds like.
    pub language: Option<String>,
    /// Tried one after the other until a text is believed.
    pub temperatures: Vec<f32>,
    /// Rows of a beam at temperature 0; absent: greedy.
    pub beam: Option<usize>,
    /// Texts that a beam waits for, as a multiple of its rows.
    pub patience: f64,
    /// Tries above temperature 0.
    pub best_of: usize,
    /// Exponent of the length penalty, 0 to 1; absent: the mean log probability decides.
    pub length_penalty: Option<f64>,
    /// Whether the model places its text in time; without, a window is one segment.
    pub with_times: bool,
    /// Seconds after which the first timestamp of a window cannot be; absent: anywhere.
    pub latest_first_s: Option<f64>,
    /// Forbids tokens of signs that are not spoken.
    pub suppresses_signs: bool,
    /// Forbids that a text begins with a blank or is empty.
    pub suppresses_blank: bool,
    /// What a text is judged by.
    pub thresholds: Thresholds,
    /// Text that could have come before.
    pub prompt: String,
    /// Whether a window is told what the windows before it said: more coherent, and loops may go on for ever.
    pub continues: bool,
    /// Most tokens of a window; absent: half of what the decoder can hold.
    pub most_tokens: Option<usize>,
    /// What chance above temperature 0 depends on.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            task: Task::Transcribe,
            language: None,
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            beam: Some(5),
            patience: 1.0,
            best_of: 5,
            length_penalty: None,
            with_times: true,
            latest_first_s: Some(1.0),
            suppresses_signs: true,
            suppresses_blank: true,
            thresholds: Thresholds::default(),
            prompt: String::new(),
            continues: false,
            most_tokens: None,
            seed: 0,
        }
    }
}
