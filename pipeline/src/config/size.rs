//! Byte counts as people write them.

/// Why a text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a number, or a unit that nobody knows.
    #[error("it must be a size such as 500 MB, 2GiB or a plain number of bytes")]
    NoSize,
    /// More than 64 bits hold.
    #[error("it must be a size below 16 EiB")]
    TooLarge,
}

const UNITS: [(&str, u64); 17] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1_000),
    ("m", 1_000_000),
    ("mb", 1_000_000),
    ("g", 1_000_000_000),
    ("gb", 1_000_000_000),
    ("t", 1_000_000_000_000),
    ("tb", 1_000_000_000_000),
    ("ki", 1 << 10),
    ("kib", 1 << 10),
    ("mi", 1 << 20),
    ("mib", 1 << 20),
    ("gi", 1 << 30),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Bytes that `text` means: `500 MB`, `2GiB`, `1.5 GB`, `1_000_000`; units in any case, `k` is 1000 and `Ki` is 1024.
pub fn parse(text: &str) -> Result<u64, Error> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..unit_at].trim(), text[unit_at..].to_ascii_lowercase());
    let Some(&(_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else { return Err(Error::NoSize) };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole: u64 = whole.replace('_', "").parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        std::num::IntErrorKind::PosOverflow => Error::TooLarge,
        _ => Error::NoSize,
    })?;
    if fraction.is_empty() || fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::NoSize);
    }
    if number.starts_with('+') {
        return Err(Error::NoSize);
    }
    let scale = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(9));
    let part = fraction.parse::<u128>().map_err(|_| Error::NoSize)? * u128::from(factor) / scale;
    u64::try_from(u128::from(whole) * u128::from(factor) + part).map_err(|_| Error::TooLarge)
}

/// `bytes` for a person, with three digits: `500 MB`, `1.87 MB`, `12 B`.
pub fn shown(bytes: u64) -> String {
    const NAMES: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    if bytes < 1_000 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut name = 0;
    // 999.5 would be shown as 1000 of the smaller unit.
    while value >= 999.5 && name + 1 < NAMES.len() {
        value /= 1_000.0;
        name += 1;
    }
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    let number = format!("{value:.digits$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number} {}", NAMES[name])
}
