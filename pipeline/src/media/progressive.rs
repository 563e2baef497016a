//! The head of the virtual MP4: a `moov` whose sample tables point into the blobs that HLS serves too.
//!
//! The file is `ftyp`, `moov`, one `mdat` header, then the chunks' blobs as they are, each followed by its piece of the
//! audio blob. The fragments' own headers lie inside `mdat`, where no sample table points.

use mp4_atom::{
    Co64, Ctts, CttsEntry, Edts, Elst, Encode, FourCC, Ftyp, Moov, Mvhd, Stco, Stsc, StscEntry, Stss, Stsz,
    StszSamples, Stts, SttsEntry, Trak,
};
use schemas::event::Fragment;
use schemas::manifest::samples::Sample;

use super::boxes::{edit, read_init};
use super::{Code, Error};

/// One track of the file.
pub struct Track<'a> {
    /// Initialisation segment, from which the sample entry is taken.
    pub init: &'a [u8],
    /// Ticks per second.
    pub timescale: u32,
    /// Ticks that the edit list takes back.
    pub shift: u64,
    /// Presented length, ticks, from the first sample.
    pub presented: u64,
    /// The pieces, in order of time.
    pub pieces: Vec<Piece<'a>>,
}

/// One blob of a track.
pub struct Piece<'a> {
    /// Its fragments.
    pub fragments: &'a [Fragment],
    /// The samples of all its fragments.
    pub samples: &'a [Sample],
    /// Where each fragment lies in the file, bytes from the beginning of the parts behind the head.
    pub offsets: Vec<u64>,
}

/// The head for a file whose parts behind it are `parts_size` bytes long.
pub fn head(video: &Track<'_>, audio: Option<&Track<'_>>, parts_size: u64) -> Result<Vec<u8>, Error> {
    // The head's length decides the offsets, and their width decides the head's length: 64 bits when in doubt.
    let wide = parts_size > u64::from(u32::MAX) / 2;
    let length = build(video, audio, parts_size, 0, wide)?.len() as u64;
    build(video, audio, parts_size, length, wide)
}

fn build(
    video: &Track<'_>,
    audio: Option<&Track<'_>>,
    parts_size: u64,
    base: u64,
    wide: bool,
) -> Result<Vec<u8>, Error> {
    let failed =
        |error: mp4_atom::Error| Error::new(Code::EncoderFailed, format!("write the progressive file: {error}"));
    let mut bytes = Vec::new();
    Ftyp {
        major_brand: FourCC::new(b"isom"),
        minor_version: 512,
        compatible_brands: [b"isom", b"iso2", b"avc1", b"mp41"].into_iter().map(FourCC::new).collect(),
    }
    .encode(&mut bytes)
    .map_err(failed)?;
    let movie = video.timescale;
    let mut traks = vec![trak(video, 1, movie, base, wide)?];
    if let Some(audio) = audio {
        traks.push(trak(audio, 2, movie, base, wide)?);
    }
    let duration = traks.iter().map(|trak| trak.tkhd.duration).max().unwrap_or(0);
    Moov {
        mvhd: Mvhd {
            timescale: movie,
            duration,
            next_track_id: 3,
            rate: 1.into(),
            volume: 1.into(),
            ..Mvhd::default()
        },
        trak: traks,
        ..Moov::default()
    }
    .encode(&mut bytes)
    .map_err(failed)?;
    match u32::try_from(parts_size + 8) {
        Ok(size) if !wide => {
            bytes.extend_from_slice(&size.to_be_bytes());
            bytes.extend_from_slice(b"mdat");
        }
        _ => {
            bytes.extend_from_slice(&1_u32.to_be_bytes());
            bytes.extend_from_slice(b"mdat");
            bytes.extend_from_slice(&(parts_size + 16).to_be_bytes());
        }
    }
    Ok(bytes)
}

fn trak(track: &Track<'_>, id: u32, movie: u32, base: u64, wide: bool) -> Result<Trak, Error> {
    let moov = read_init(track.init)?;
    let mut trak = moov.trak.into_iter().next().ok_or_else(|| {
        Error::new(Code::EncoderFailed, "write the progressive file: no track in the initialisation segment")
    })?;
    let first = track.pieces.iter().flat_map(|piece| piece.fragments).map(|fragment| fragment.start).min().unwrap_or(0);
    let durations = durations(track);
    let media: u64 = durations.iter().map(|duration| u64::from(*duration)).sum();
    // A track that begins later than the other waits behind an empty edit.
    let wait = in_movie(u64::try_from(first).unwrap_or(0), track.timescale, movie);
    let presented = in_movie(track.presented, track.timescale, movie);
    let mut entries = vec![edit(presented, Some(track.shift))];
    if wait > 0 {
        entries.insert(0, edit(wait, None));
    }
    trak.edts = Some(Edts { elst: Some(Elst { entries }) });
    trak.tkhd.track_id = id;
    trak.tkhd.duration = wait + presented;
    trak.mdia.mdhd.duration = media;
    let stbl = &mut trak.mdia.minf.stbl;
    let samples: Vec<&Sample> = track.pieces.iter().flat_map(|piece| piece.samples).collect();
    stbl.stts = Stts {
        entries: runs(durations.iter().copied())
            .map(|(sample_count, sample_delta)| SttsEntry { sample_count, sample_delta })
            .collect(),
    };
    stbl.ctts = samples.iter().any(|sample| sample.composition_offset != 0).then(|| Ctts {
        entries: runs(samples.iter().map(|sample| sample.composition_offset))
            .map(|(sample_count, offset)| CttsEntry { sample_count, sample_offset: i64::from(offset) })
            .collect(),
    });
    stbl.stss = samples.iter().any(|sample| !sample.sync).then(|| Stss {
        entries: (1..).zip(&samples).filter(|(_, sample)| sample.sync).map(|(number, _)| number).collect(),
    });
    stbl.stsz = Stsz { samples: StszSamples::Different { sizes: samples.iter().map(|sample| sample.size).collect() } };
    let fragments = || track.pieces.iter().flat_map(|piece| piece.fragments.iter().zip(&piece.offsets));
    let mut chunk = 0;
    stbl.stsc = Stsc {
        entries: runs(fragments().map(|(fragment, _)| fragment.samples))
            .map(|(count, samples_per_chunk)| {
                let first_chunk = chunk + 1;
                chunk += count;
                StscEntry { first_chunk, samples_per_chunk, sample_description_index: 1 }
            })
            .collect(),
    };
    let offsets: Vec<u64> = fragments().map(|(fragment, offset)| base + offset + u64::from(fragment.header)).collect();
    if wide {
        stbl.stco = None;
        stbl.co64 = Some(Co64 { entries: offsets });
    } else {
        stbl.stco =
            Some(Stco { entries: offsets.iter().map(|offset| u32::try_from(*offset).unwrap_or(u32::MAX)).collect() });
    }
    Ok(trak)
}

/// Sample durations; the last of each piece reaches to where the next one begins, whatever its encoder knew.
fn durations(track: &Track<'_>) -> Vec<u32> {
    let mut durations = Vec::new();
    for (index, piece) in track.pieces.iter().enumerate() {
        durations.extend(piece.samples.iter().map(|sample| sample.duration));
        let start = piece.fragments.first().map(|fragment| fragment.start);
        let next = track.pieces.get(index + 1).and_then(|next| next.fragments.first()).map(|fragment| fragment.start);
        if let (Some(start), Some(next), Some(last)) = (start, next, durations.last_mut()) {
            let before: i64 =
                piece.samples.iter().map(|sample| i64::from(sample.duration)).sum::<i64>() - i64::from(*last);
            *last = u32::try_from(next - start - before).unwrap_or(*last);
        }
    }
    durations
}

/// Equal neighbours, counted.
fn runs(values: impl Iterator<Item = u32>) -> impl Iterator<Item = (u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for value in values {
        match runs.last_mut() {
            Some((count, of)) if *of == value => *count += 1,
            _ => runs.push((1, value)),
        }
    }
    runs.into_iter()
}

fn in_movie(ticks: u64, timescale: u32, movie: u32) -> u64 {
    let ticks = u128::from(ticks) * u128::from(movie) + u128::from(timescale / 2);
    u64::try_from(ticks / u128::from(timescale.max(1))).unwrap_or(u64::MAX)
}
