//! Query strings.

use super::problem::Problem;

/// The first value of `name` in `query`, with percent signs and plus signs resolved; bytes that are no UTF-8 are replaced.
pub fn value(query: &str, name: &str) -> Option<String> {
    query.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(key) == name).then(|| decode(value))
    })
}

/// The number of things that one page of an answer may have: what `query` says as `limit`, at most `most`, or `usual`.
pub fn limit(query: &str, usual: usize, most: usize) -> Result<usize, Problem> {
    match value(query, "limit").filter(|text| !text.is_empty()) {
        None => Ok(usual),
        Some(text) => match text.parse::<usize>() {
            Ok(limit @ 1..) => Ok(limit.min(most)),
            _ => Err(Problem::bad_request("bad_limit", "limit must be a number from 1")),
        },
    }
}

/// `text` with percent signs and plus signs resolved.
pub fn decode(text: &str) -> String {
    percent_decoded(&text.replace('+', " "))
}

/// `text` with percent signs resolved.
pub fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = bytes.get(at + 1..at + 3).and_then(|hex| Some(digit(hex[0])? << 4 | digit(hex[1])?));
        match (byte, escaped) {
            (b'%', Some(escaped)) => {
                decoded.push(escaped);
                at += 2;
            }
            (byte, _) => decoded.push(*byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_and_decoded() {
        assert_eq!(value("a=1&name=d%C3%ADa+1%2Emov", "name").as_deref(), Some("día 1.mov"));
        assert_eq!(value("name", "name").as_deref(), Some(""));
        assert_eq!(value("name=%zz%4", "name").as_deref(), Some("%zz%4"));
        assert_eq!(value("names=x", "name"), None);
        assert_eq!(value("", "name"), None);
        assert_eq!(percent_decoded("a+b%20c"), "a+b c", "only queries write a space as a plus sign");
    }
}
