//! The English that is taught: sentences of a small grammar, 74 words.

use rand::Rng;
use rand::seq::IndexedRandom;

const ARTICLES: &[&str] = &["the", "a", "every", "my", "your"];
const NUMBERS: &[&str] = &["two", "three", "seven", "nine", "twelve"];
const ADJECTIVES: &[&str] = &["small", "old", "red", "green", "quick", "happy", "quiet", "heavy", "bright", "cold"];
const THINGS: &[&str] = &[
    "dog", "house", "river", "child", "teacher", "garden", "window", "train", "bird", "market", "doctor", "mountain",
    "table", "farmer", "letter", "kitchen",
];
const VERBS: &[&str] =
    &["finds", "sees", "opens", "carries", "follows", "paints", "watches", "leaves", "remembers", "builds"];
const PLACES: &[&str] = &["near", "behind", "under", "beside", "without", "across"];
const TIMES: &[&str] = &["today", "again", "slowly", "together", "tomorrow", "often"];
const LINKS: &[&str] = &["and", "but", "when", "because"];
const PERSONS: &[&str] = &["she", "he", "it"];
const PLURALS: &[&str] = &["dogs", "houses", "birds", "trains", "letters", "windows", "tables", "gardens", "farmers"];

/// Every word.
pub fn words() -> Vec<&'static str> {
    [ARTICLES, NUMBERS, ADJECTIVES, THINGS, VERBS, PLACES, TIMES, LINKS, PERSONS, PLURALS].concat()
}

/// A sentence of four to nine words, lower case, without signs.
pub fn sentence(dice: &mut impl Rng) -> String {
    let mut said = Vec::new();
    if dice.random_bool(0.3) {
        said.push(any(PERSONS, dice));
    } else {
        thing(&mut said, dice);
    }
    said.push(any(VERBS, dice));
    object(&mut said, dice);
    if said.len() < 6 && dice.random_bool(0.5) {
        match dice.random_range(0..3) {
            0 => said.push(any(TIMES, dice)),
            1 => {
                said.push(any(PLACES, dice));
                object(&mut said, dice);
            }
            _ => {
                said.push(any(LINKS, dice));
                said.push(any(PERSONS, dice));
                said.push(any(VERBS, dice));
                said.push(any(TIMES, dice));
            }
        }
    }
    said.join(" ")
}

fn any(of: &[&'static str], dice: &mut impl Rng) -> &'static str {
    of.choose(dice).copied().unwrap_or("the")
}

fn thing(said: &mut Vec<&'static str>, dice: &mut impl Rng) {
    said.push(any(ARTICLES, dice));
    if dice.random_bool(0.5) {
        said.push(any(ADJECTIVES, dice));
    }
    said.push(any(THINGS, dice));
}

fn object(said: &mut Vec<&'static str>, dice: &mut impl Rng) {
    if dice.random_bool(0.3) {
        said.push(any(NUMBERS, dice));
        if dice.random_bool(0.4) {
            said.push(any(ADJECTIVES, dice));
        }
        said.push(any(PLURALS, dice));
    } else {
        thing(said, dice);
    }
}
