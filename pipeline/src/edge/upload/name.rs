//! Names of uploaded files: shown, never used as a path.

/// Longest name that is kept, characters.
const LONGEST: usize = 200;

/// `raw` as it can be shown: the last part of a path, without control characters or marks that turn text around, bounded.
///
/// `upload` when nothing is left.
pub fn shown(raw: &str) -> String {
    let last = raw.rsplit(['/', '\\']).find(|part| !part.trim().is_empty()).unwrap_or_default();
    let clean: String = last.chars().filter(|c| !c.is_control() && !turns_text(*c)).take(LONGEST).collect();
    match clean.trim() {
        "" | "." | ".." => "upload".to_owned(),
        name => name.to_owned(),
    }
}

/// Marks that change the order or the look of the characters around them, such as those that hide an extension.
fn turns_text(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_lose_paths_and_tricks() {
        assert_eq!(shown("holiday.mov"), "holiday.mov");
        assert_eq!(shown("../../etc/passwd"), "passwd");
        assert_eq!(shown("C:\\videos\\día 1.MOV"), "día 1.MOV");
        assert_eq!(shown("a\r\nSet-Cookie: b\0.mp4"), "aSet-Cookie: b.mp4");
        assert_eq!(shown("gnp\u{202e}4pm.exe"), "gnp4pm.exe");
        assert_eq!(shown("videos/"), "videos");
        for nothing in ["", " ", "/", "..", "\u{200b}\n"] {
            assert_eq!(shown(nothing), "upload");
        }
        assert_eq!(shown(&"x".repeat(5_000)).len(), LONGEST);
    }

    proptest! {
        #[test]
        fn any_name_can_be_shown(raw in any::<String>()) {
            let name = shown(&raw);
            prop_assert!(!name.is_empty() && name.chars().count() <= LONGEST);
            prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(char::is_control));
        }
    }
}
