//! What a blob may be called, and what an address in a claim stands for.

use std::path::Path;

use super::Error;

/// Stands before the key in the address of a claim.
pub(super) const SCHEME: &str = "blob:";
/// Folder of half-written files; no key lies in it.
pub(super) const STAGING: &str = ".incoming";
const MAX_KEY: usize = 1024;
const MAX_PART: usize = 255;

/// Refuses keys that mean something else to a file system or to a terminal.
pub(super) fn check(key: &str) -> Result<(), Error> {
    match flaw(key) {
        None => Ok(()),
        Some(why) => Err(refused(key, why)),
    }
}

/// The error for a key that no blob can have.
pub(super) fn refused(key: &str, why: &'static str) -> Error {
    let shown: String = key.chars().take(80).flat_map(char::escape_default).collect();
    Error::Store { doing: "use key", key: shown, source: why.into() }
}

fn flaw(key: &str) -> Option<&'static str> {
    if key.len() > MAX_KEY {
        return Some("keys have at most 1024 bytes");
    }
    if key.chars().any(|c| c.is_control() || c == '\\') {
        return Some("keys have no control characters and no backslash");
    }
    for part in key.split('/') {
        match part {
            "" => return Some("keys have no empty parts"),
            "." | ".." => return Some("keys have no parts `.` or `..`"),
            long if long.len() > MAX_PART => return Some("parts of keys have at most 255 bytes"),
            _ => {}
        }
    }
    if key.split('/').next() == Some(STAGING) {
        return Some("this folder is for half-written blobs");
    }
    let digits = |tail: &str| !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit());
    if key.rsplit('/').next().and_then(|name| name.split_once('#')).is_some_and(|(_, tail)| digits(tail)) {
        return Some("names ending in `#` and digits are for half-written blobs");
    }
    None
}

/// The key as the store wants it.
pub(super) fn location(key: &str) -> Result<object_store::path::Path, Error> {
    object_store::path::Path::parse(key).map_err(|error| Error::Store {
        doing: "use key",
        key: key.to_owned(),
        source: Box::new(error),
    })
}

/// The folder `prefix` as the store wants it, with or without a slash at its end; absent for all.
pub(super) fn prefix(prefix: &str) -> Result<Option<object_store::path::Path>, Error> {
    let trimmed = prefix.strip_suffix('/').unwrap_or(prefix);
    if trimmed.is_empty() && prefix.len() <= 1 {
        return if prefix.is_empty() { Ok(None) } else { Err(refused(prefix, "keys have no empty parts")) };
    }
    check(trimmed)?;
    location(trimmed).map(Some)
}

/// The key that `uri` stands for in the store at `store`, if it is one.
pub(super) fn resolve(store: &str, uri: &str) -> Option<String> {
    if let Some(key) = uri.strip_prefix(SCHEME) {
        return flaw(key).is_none().then(|| key.to_owned());
    }
    let below = |uri: &str| {
        let rest = uri.strip_prefix(store)?;
        let key = if store.ends_with('/') { rest } else { rest.strip_prefix('/')? };
        flaw(key).is_none().then(|| key.to_owned())
    };
    below(uri).filter(|key| !key.contains('%')).or_else(|| below(&unescape(uri)?))
}

/// Undoes percent encoding.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The file of `key` below `root`. The key has been checked, so it cannot lead out.
pub(super) fn file(root: &Path, key: &str) -> std::path::PathBuf {
    let mut path = root.to_owned();
    path.extend(key.split('/'));
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_resolve_to_keys_of_this_store_only() {
        let store = "file:///data/my blobs";
        assert_eq!(resolve(store, "blob:jobs/a/b.mp4").as_deref(), Some("jobs/a/b.mp4"));
        assert_eq!(resolve(store, "file:///data/my blobs/in/x.mp4").as_deref(), Some("in/x.mp4"));
        assert_eq!(resolve(store, "file:///data/my%20blobs/in/x%231.mp4").as_deref(), Some("in/x#1.mp4"));
        for foreign in [
            "blob:",
            "blob:/etc/passwd",
            "blob:../secret",
            "blob:jobs//x",
            "blob:jobs/./x",
            "file:///data/my blobs/../secret",
            "file:///data/my%20blobs/%2e%2e/secret",
            "file:///data/my blobsecret/x",
            "file:///etc/passwd",
            "s3://bucket/x",
            "jobs/a",
            "blob:.incoming/x",
            "blob:a\nb",
        ] {
            assert_eq!(resolve(store, foreign), None, "{foreign}");
        }
    }

    proptest! {
        #[test]
        fn no_key_leads_out_of_the_folder(key in "[a./\\\\#0-9 %\u{0}-\u{1f}ü]{0,12}") {
            if check(&key).is_ok() {
                let root = Path::new("/data/blobs");
                let path = file(root, &key);
                prop_assert!(path.starts_with(root) && path != root);
                prop_assert!(path.components().all(|part| part != std::path::Component::ParentDir));
                prop_assert_eq!(location(&key).unwrap().to_string(), key);
            }
        }
    }
}
