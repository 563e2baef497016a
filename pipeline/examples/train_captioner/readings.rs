//! What is read by whom.

use rand::rngs::StdRng;

use super::voices::Reading;
use super::{grammar, lessons, voices};

/// Sentences by `dice`; those of lessons and exams never meet.
pub fn readings(count: usize, is_lesson: bool, dice: &mut StdRng) -> Result<Vec<Reading>, String> {
    let mut made = Vec::with_capacity(count);
    while made.len() < count {
        let text = grammar::sentence(dice);
        let is_for_exam = text.bytes().fold(7u32, |sum, byte| sum.wrapping_mul(31) ^ u32::from(byte)) % 10 == 0;
        if is_for_exam == is_lesson {
            continue;
        }
        let reading = voices::read(&text, is_lesson, dice)?;
        if reading.samples.len() <= lessons::LONGEST {
            made.push(reading);
        }
    }
    Ok(made)
}
