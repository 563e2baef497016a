//! Lies in the headers of MP4 files: byte for byte, so that no encoder has to tell them.

/// Where the body of the `nth` box named `name` begins (after its name); boxes are found by their bytes.
fn body(file: &[u8], name: &[u8; 4], nth: usize) -> usize {
    let places = file.windows(4).enumerate().filter(|(_, window)| window == name);
    places.map(|(at, _)| at + 4).nth(nth).unwrap_or_else(|| panic!("no box {}", String::from_utf8_lossy(name)))
}

fn put_u32(file: &mut [u8], at: usize, number: u32) {
    file[at..at + 4].copy_from_slice(&number.to_be_bytes());
}

/// Gives the first track (version 0) a display matrix: where it puts the right and the lower side of the picture.
pub fn turn(file: &mut [u8], right: (i32, i32), lower: (i32, i32)) {
    let matrix = body(file, b"tkhd", 0) + 40;
    let entries = [right.0, right.1, 0, lower.0, lower.1, 0];
    let entries = entries.map(|entry| entry * 0x1_0000).into_iter().chain([0, 0, 0x4000_0000]);
    for (place, number) in entries.enumerate() {
        put_u32(file, matrix + place * 4, number as u32);
    }
}

/// Claims `width` x `height` in the track header and in the sample entry `codec`.
pub fn resize(file: &mut [u8], codec: &[u8; 4], width: u16, height: u16) {
    let track = body(file, b"tkhd", 0);
    put_u32(file, track + 76, u32::from(width) << 16);
    put_u32(file, track + 80, u32::from(height) << 16);
    // The name stands among the brands as well; the sample entry is the first after its table's name.
    let table = body(file, b"stsd", 0);
    let entry = table + body(&file[table..], codec, 0);
    file[entry + 24..entry + 26].copy_from_slice(&width.to_be_bytes());
    file[entry + 26..entry + 28].copy_from_slice(&height.to_be_bytes());
}

/// Claims another duration in the movie header and in every media header (version 0), a multiple of the true one.
pub fn stretch_headers(file: &mut [u8], factor: u32) {
    let movie = body(file, b"mvhd", 0);
    let tracks = file.windows(4).filter(|window| window == b"mdhd").count();
    let media: Vec<usize> = (0..tracks).map(|nth| body(file, b"mdhd", nth)).collect();
    for place in media.into_iter().chain([movie]) {
        let old = u32::from_be_bytes([file[place + 16], file[place + 17], file[place + 18], file[place + 19]]);
        put_u32(file, place + 16, old.saturating_mul(factor));
    }
}

/// Makes the first entry of the first time-to-sample table claim `count` samples.
pub fn claim_samples(file: &mut [u8], count: u32) {
    let table = body(file, b"stts", 0);
    put_u32(file, table + 8, count);
}

/// Overwrites a stretch of the media data, always with the same noise.
pub fn damage(file: &mut [u8]) {
    let media = body(file, b"mdat", 0);
    let size = u32::from_be_bytes([file[media - 8], file[media - 7], file[media - 6], file[media - 5]]) as usize;
    let mut dice = crate::Dice::new(7);
    for place in [size * 2 / 5, size / 2, size * 3 / 5] {
        for byte in &mut file[media + place..media + place + size / 200] {
            *byte = dice.below(256) as u8;
        }
    }
}

/// Repeats the last track of a file whose index is its last box, until it has `tracks` of them.
pub fn multiply_tracks(file: &mut Vec<u8>, tracks: usize) {
    let index = body(file, b"moov", 0) - 8;
    let count = file[index..].windows(4).filter(|window| window == b"trak").count();
    let track = index + body(&file[index..], b"trak", count - 1) - 8;
    let size = u32::from_be_bytes([file[track], file[track + 1], file[track + 2], file[track + 3]]) as usize;
    let copy = file[track..track + size].to_vec();
    for _ in count..tracks {
        file.splice(track..track, copy.iter().copied());
    }
    let size = file.len() - index;
    put_u32(file, index, size as u32);
}
