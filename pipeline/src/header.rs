//! What headers of records say: that an event was given up on, that it comes again.
//!
//! # Layout
//! - [`dead_letter`]: events that a stage gave up on, and what became of them
//! - [`replay`]: events that lie on their topic once more, for one stage alone
//! - [`timing`]: who made an event, and when

use bytes::Bytes;

pub mod dead_letter;
pub mod replay;
pub mod timing;

/// Headers, in order.
pub type Headers = [(String, Bytes)];

/// Whether a header is the house's own word about delivery, which an event leaves behind when it goes back to its topic.
fn is_about_delivery(name: &str) -> bool {
    [replay::REPLAY, timing::BEGAN, timing::WORKER].contains(&name)
        || dead_letter::HEADERS.contains(&name)
        || dead_letter::LEFT_OUT.contains(&name)
}

/// The header `name` as text; bytes that are no UTF-8 are replaced.
pub fn text(headers: &Headers, name: &str) -> Option<String> {
    let value = headers.iter().find(|(known, _)| known == name).map(|(_, value)| value)?;
    Some(String::from_utf8_lossy(value).into_owned())
}
