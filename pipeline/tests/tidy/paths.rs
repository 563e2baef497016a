//! Reads just enough Rust to know which paths a file names.

/// `source` without what comments and literals say; lines stay where they are.
pub fn code_of(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match (chars[at], chars.get(at + 1)) {
            ('/', Some('/')) => line_end(&chars, at),
            ('/', Some('*')) => comment_end(&chars, at),
            ('"', _) => text_end(&chars, at),
            ('r', Some('"' | '#')) if !joined(&chars, at) => raw_end(&chars, at).unwrap_or(at),
            ('\'', _) => character_end(&chars, at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Whether the character at `at` goes on with a word; `br"…"` is a raw literal all the same.
fn joined(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |length| at + length)
}

fn comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 1),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 1),
            _ => {}
        }
        at += 1;
        if depth == 0 {
            break;
        }
    }
    at
}

fn text_end(chars: &[char], mut at: usize) -> usize {
    at += 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// The end of `r#"…"#`; nothing for a raw identifier such as `r#type`.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let body = at + 1 + hashes;
    if chars.get(body) != Some(&'"') {
        return None;
    }
    let closes =
        |end: usize| chars[end] == '"' && chars[end + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes;
    Some((body + 1..chars.len()).find(|end| closes(*end)).map_or(chars.len(), |end| end + 1 + hashes))
}

/// The end of a character literal; a lifetime has none.
fn character_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let close = chars[at + 3..].iter().position(|c| *c == '\'');
            close.map_or(at, |length| at + 3 + length + 1)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// All paths that `code` names, trees of imports unfolded: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
///
/// A lone name counts only where it is imported.
pub fn paths(code: &str) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let imported = tokens[at] == "use";
        if imported {
            at += 1;
        }
        let mut leaves = Vec::new();
        let end = tree(&tokens, at, &[], &mut leaves);
        found.extend(leaves.into_iter().filter(|path| imported || path.len() > 1));
        at = end.max(at + 1);
    }
    found
}

/// Reads one path or tree of paths from `at` on; answers where it ends.
fn tree(tokens: &[String], mut at: usize, prefix: &[String], leaves: &mut Vec<Vec<String>>) -> usize {
    let mut path = prefix.to_vec();
    if tokens.get(at).is_some_and(|token| token == "::") {
        at += 1;
    }
    loop {
        match tokens.get(at).map(String::as_str) {
            // Outside imports a brace is a block, and its contents are read on their own.
            Some("{") if !path.is_empty() || tokens.get(at.wrapping_sub(1)).is_some_and(|token| token == "use") => {
                at += 1;
                while let Some(token) = tokens.get(at) {
                    match token.as_str() {
                        "}" => return at + 1,
                        "," => at += 1,
                        // The new name of `a as b` is nobody's path.
                        "as" => at += 2,
                        _ => at = tree(tokens, at, &path, leaves).max(at + 1),
                    }
                }
                return at;
            }
            Some(token) if is_name(token) => path.push(token.to_owned()),
            _ => break,
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token != "::") {
            break;
        }
        at += 1;
    }
    if path.len() > prefix.len() {
        leaves.push(path);
    }
    at
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and every other sign on its own.
fn tokens(code: &str) -> Vec<String> {
    let mut tokens: Vec<String> = Vec::new();
    let mut chars = code.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            let mut word = String::from(c);
            while let Some(next) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                word.push(next);
            }
            tokens.push(word);
        } else if c == ':' && chars.next_if_eq(&':').is_some() {
            tokens.push("::".into());
        } else if !c.is_whitespace() {
            tokens.push(c.into());
        }
    }
    tokens
}

#[test]
fn comments_and_literals_say_nothing() {
    let source = "a // b::c\n/* d /* e */ f */ g \"h\\\"i\" 'j' '\\'' '\\n' <'k> r\"l\" br##\"m\"#n\"## o";
    let words: Vec<String> =
        tokens(&code_of(source)).into_iter().filter(|token| is_name(token) && token != "b").collect();
    assert_eq!(words, ["a", "g", "k", "o"]);
    assert_eq!(code_of("\"a\nb\"").lines().count(), 2);
}

#[test]
fn trees_of_imports_unfold() {
    let joined = |code: &str| -> Vec<String> { paths(code).into_iter().map(|path| path.join("::")).collect() };
    assert_eq!(joined("use a::{b, c::{self, d}, e as f};"), ["a::b", "a::c::self", "a::c::d", "a::e"]);
    assert_eq!(joined("use {a::b, c};"), ["a::b", "c"]);
    assert_eq!(joined("fn f(x: a::B<c::D>) { if x == e::F { g::h(); } }"), ["a::B", "c::D", "e::F", "g::h"]);
    assert_eq!(joined("match x { a::B { c } => d::e::<f::G>(c), _ => ::h::i!() }"), ["a::B", "d::e", "f::G", "h::i"]);
}
