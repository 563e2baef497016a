//! Containers by their first bytes; names and content types are never asked.

/// A container that StreamForge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Container {
    /// ISO base media (ISO/IEC 14496-12).
    Mp4,
    /// QuickTime.
    Mov,
    /// RIFF AVI.
    Avi,
    /// Matroska with the `webm` document type.
    Webm,
    /// Matroska.
    Mkv,
    /// MPEG-2 transport stream, with or without the four-byte time stamps of M2TS.
    MpegTs,
}

impl Container {
    /// The word in events and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::Avi => "avi",
            Self::Webm => "webm",
            Self::Mkv => "mkv",
            Self::MpegTs => "mpegts",
        }
    }
}

/// Bytes of a file's beginning that [`sniff`] wants to see, if there are so many.
pub const SNIFF_BYTES: usize = 4096;

/// Brands of still pictures: the box structure of MP4, but nothing to play.
const PICTURE_BRANDS: [&[u8; 4]; 4] = [b"heic", b"heix", b"mif1", b"avif"];

/// The container that begins with `head`; absent when it is none that is taken.
pub fn sniff(head: &[u8]) -> Option<Container> {
    if head.starts_with(b"RIFF") && head.get(8..12).is_some_and(|form| form == b"AVI ") {
        return Some(Container::Avi);
    }
    if head.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) {
        return matroska(head);
    }
    boxes(head).or_else(|| transport_stream(head))
}

/// QuickTime and MP4 begin with a box: big-endian size, then four characters.
fn boxes(head: &[u8]) -> Option<Container> {
    let size = u32::from_be_bytes(head.get(..4)?.try_into().ok()?);
    // 0 reaches to the end of the file, 1 says that a 64-bit size follows; other boxes hold at least their header.
    if (2..8).contains(&size) {
        return None;
    }
    match head.get(4..8)? {
        b"ftyp" => match head.get(8..12) {
            Some(b"qt  ") => Some(Container::Mov),
            Some(brand) if PICTURE_BRANDS.iter().any(|picture| brand == *picture) => None,
            Some(_) => Some(Container::Mp4),
            None => None,
        },
        b"styp" => Some(Container::Mp4),
        b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot" => Some(Container::Mov),
        _ => None,
    }
}

/// The EBML header names its document type in element 0x4282.
fn matroska(head: &[u8]) -> Option<Container> {
    let header = &head[..head.len().min(256)];
    let at = header.windows(2).position(|pair| pair == [0x42, 0x82])?;
    // The length fits one byte: document types are short.
    let length = usize::from(*header.get(at + 2)?).checked_sub(0x80)?;
    let name = header.get(at + 3..at + 3 + length)?;
    match name.split(|byte| *byte == 0).next()? {
        b"webm" => Some(Container::Webm),
        b"matroska" => Some(Container::Mkv),
        _ => None,
    }
}

/// Packets of 188 bytes (192 in M2TS) begin with 0x47; one match would be the letter G of any text.
fn transport_stream(head: &[u8]) -> Option<Container> {
    let synced = |first: usize, packet: usize| {
        let mut packets = (first..head.len()).step_by(packet).take(8).peekable();
        packets.len() >= 3 && packets.all(|at| head[at] == 0x47)
    };
    (synced(0, 188) || synced(4, 192)).then_some(Container::MpegTs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ebml(name: &[u8]) -> Vec<u8> {
        let mut head = vec![0x1a, 0x45, 0xdf, 0xa3, 0xa3, 0x42, 0x86, 0x81, 0x01, 0x42, 0x82, 0x80 | name.len() as u8];
        head.extend_from_slice(name);
        head.extend_from_slice(&[0x42, 0x87, 0x81, 0x04]);
        head
    }

    #[test]
    fn each_container_shows_in_its_first_bytes() {
        assert_eq!(sniff(b"\0\0\0\x18ftypisom\0\0\x02\0"), Some(Container::Mp4));
        assert_eq!(sniff(b"\0\0\0\x14ftypqt  \0\0\x02\0"), Some(Container::Mov));
        assert_eq!(sniff(b"\0\0\0\x01mdat\0\0\0\0\0\x10\0\0"), Some(Container::Mov));
        assert_eq!(sniff(b"\0\0\0\x08wide\0\0\0\0mdat"), Some(Container::Mov));
        assert_eq!(sniff(b"RIFF\x10\0\0\0AVI LIST"), Some(Container::Avi));
        assert_eq!(sniff(&ebml(b"webm")), Some(Container::Webm));
        assert_eq!(sniff(&ebml(b"matroska")), Some(Container::Mkv));
        let mut packets = vec![0xff; 188 * 4];
        packets.iter_mut().step_by(188).for_each(|byte| *byte = 0x47);
        assert_eq!(sniff(&packets), Some(Container::MpegTs));
        let mut stamped = vec![0xff; 192 * 4];
        stamped.iter_mut().skip(4).step_by(192).for_each(|byte| *byte = 0x47);
        assert_eq!(sniff(&stamped), Some(Container::MpegTs));
    }

    #[test]
    fn what_is_no_video_is_nothing() {
        let texts: [&[u8]; 9] = [
            b"",
            b"G",
            b"Good morning, this is a text that begins with the sync byte of a transport stream",
            b"#EXTM3U\n#EXT-X-VERSION:3\nfile:///etc/passwd\n",
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"\0\0\0\x18ftypheic\0\0\0\0",
            b"RIFF\x10\0\0\0WAVEfmt ",
            b"\0\0\0\x03ftypisom",
            b"\x1a\x45\xdf\xa3",
        ];
        for text in texts {
            assert_eq!(sniff(text), None, "{}", String::from_utf8_lossy(text));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(head in prop::collection::vec(any::<u8>(), 0..600)) {
            let _ = sniff(&head);
            let mut matroska = vec![0x1a, 0x45, 0xdf, 0xa3];
            matroska.extend_from_slice(&head);
            let _ = sniff(&matroska);
        }
    }
}
