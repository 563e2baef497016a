//! CMAF (ISO/IEC 23000-19): initialisation segments and fragments, one closed group of pictures or run of packets each.

use mp4_atom::esds::{DecoderConfig, DecoderSpecific, EsDescriptor, SLConfig};
use mp4_atom::{
    Audio, Avc1, Avcc, Codec, Decode, Dinf, Dref, DrefEntry, Edts, Elst, ElstEntry, Encode, Esds, FixedPoint, FourCC,
    Ftyp, Hdlr, Mdhd, Mdia, Mfhd, Minf, Moof, Moov, Mp4a, Mvex, Mvhd, Pasp, Smhd, Stbl, Stco, Stsd, Tfdt, Tfhd, Tkhd,
    Traf, Trak, Trex, Trun, TrunEntry, TrunSamples, Url, Visual, Vmhd,
};
use schemas::event::Fragment;
use schemas::manifest::samples::{self, Sample};

use super::{Code, Error};

/// The one track of an initialisation segment.
const TRACK: u32 = 1;
/// `sample_depends_on = 2`: a sample that needs no other.
const SYNC_FLAGS: u32 = 0x0200_0000;
/// `sample_depends_on = 1`, `sample_is_non_sync_sample`.
const DELTA_FLAGS: u32 = 0x0101_0000;

/// An initialisation segment and what playlists say about it.
pub struct Init {
    /// `ftyp` and `moov`.
    pub bytes: Vec<u8>,
    /// RFC 6381 name.
    pub codec: String,
}

/// What a video initialisation segment says.
pub struct VideoInit<'a> {
    /// Sequence parameter set.
    pub sps: &'a [u8],
    /// Picture parameter set.
    pub pps: &'a [u8],
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Ticks per second.
    pub timescale: u32,
    /// Ticks that the edit list takes back.
    pub shift: u64,
}

fn failed(error: mp4_atom::Error) -> Error {
    Error::new(Code::EncoderFailed, format!("write the container: {error}"))
}

/// The initialisation segment of a rung.
pub fn video_init(video: &VideoInit<'_>) -> Result<Init, Error> {
    let avcc = Avcc::new(video.sps, video.pps).map_err(failed)?;
    let codec = format!(
        "avc1.{:02x}{:02x}{:02x}",
        avcc.avc_profile_indication, avcc.profile_compatibility, avcc.avc_level_indication
    );
    let (width, height) = (side(video.width), side(video.height));
    let sample_entry = Codec::Avc1(Avc1 {
        visual: Visual { data_reference_index: 1, width, height, ..Visual::default() },
        avcc,
        btrt: None,
        colr: None,
        pasp: Some(Pasp { h_spacing: 1, v_spacing: 1 }),
        taic: None,
        fiel: None,
        ..Avc1::default()
    });
    let minf = Minf { vmhd: Some(Vmhd::default()), ..minf(sample_entry) };
    let tkhd = Tkhd { width: width.into(), height: height.into(), ..tkhd() };
    let moov =
        moov(tkhd, video.timescale, video.shift, Hdlr { handler: FourCC::new(b"vide"), name: "video".into() }, minf);
    Ok(Init { bytes: with_ftyp(&moov)?, codec })
}

fn side(pixels: u32) -> u16 {
    u16::try_from(pixels).unwrap_or(u16::MAX)
}

/// What an audio initialisation segment says.
pub struct AudioInit<'a> {
    /// MPEG-4 AudioSpecificConfig (ISO/IEC 14496-3).
    pub config: &'a [u8],
    /// Channels.
    pub channels: u32,
    /// Samples per second, the timescale.
    pub sample_rate: u32,
    /// Samples of encoder delay that the edit list takes back.
    pub priming: u64,
    /// Bits per second.
    pub bitrate: u32,
}

/// The initialisation segment of the audio track.
pub fn audio_init(audio: &AudioInit<'_>) -> Result<Init, Error> {
    let sample_entry = Codec::Mp4a(Mp4a {
        audio: Audio {
            data_reference_index: 1,
            channel_count: u16::try_from(audio.channels).unwrap_or(2),
            sample_size: 16,
            sample_rate: FixedPoint::new(u16::try_from(audio.sample_rate).unwrap_or(0), 0),
        },
        esds: Esds {
            es_desc: EsDescriptor {
                es_id: 1,
                dec_config: DecoderConfig {
                    object_type_indication: 0x40,
                    stream_type: 5,
                    max_bitrate: audio.bitrate,
                    avg_bitrate: audio.bitrate,
                    dec_specific: Some(DecoderSpecific { raw: audio.config.to_vec(), ..DecoderSpecific::default() }),
                    ..DecoderConfig::default()
                },
                sl_config: SLConfig::default(),
                ..EsDescriptor::default()
            },
        },
        btrt: None,
        taic: None,
    });
    let minf = Minf { smhd: Some(Smhd::default()), ..minf(sample_entry) };
    let tkhd = Tkhd { volume: FixedPoint::new(1, 0), alternate_group: 1, ..tkhd() };
    let hdlr = Hdlr { handler: FourCC::new(b"soun"), name: "audio".into() };
    let moov = moov(tkhd, audio.sample_rate, audio.priming, hdlr, minf);
    Ok(Init { bytes: with_ftyp(&moov)?, codec: "mp4a.40.2".into() })
}

fn minf(sample_entry: Codec) -> Minf {
    Minf {
        dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
        // An empty list of places is mandatory as well (ISO/IEC 14496-12, 8.7.5); VLC shows nothing without one.
        stbl: Stbl { stsd: Stsd { codecs: vec![sample_entry] }, stco: Some(Stco::default()), ..Stbl::default() },
        ..Minf::default()
    }
}

fn tkhd() -> Tkhd {
    Tkhd { track_id: TRACK, enabled: true, in_movie: true, ..Tkhd::default() }
}

fn moov(tkhd: Tkhd, timescale: u32, shift: u64, hdlr: Hdlr, minf: Minf) -> Moov {
    Moov {
        mvhd: Mvhd { timescale, next_track_id: TRACK + 1, rate: 1.into(), volume: 1.into(), ..Mvhd::default() },
        mvex: Some(Mvex {
            mehd: None,
            trex: vec![Trex { track_id: TRACK, default_sample_description_index: 1, ..Trex::default() }],
        }),
        trak: vec![Trak {
            tkhd,
            // One entry of open length: presentation begins where the shift ends.
            edts: Some(Edts { elst: Some(Elst { entries: vec![edit(0, Some(shift))] }) }),
            mdia: Mdia { mdhd: Mdhd { timescale, language: "und".into(), ..Mdhd::default() }, hdlr, minf },
            ..Trak::default()
        }],
        ..Moov::default()
    }
}

/// One entry of an edit list: `duration` in ticks of the movie from `media_time` in ticks of the track (absent: nothing).
pub fn edit(duration: u64, media_time: Option<u64>) -> ElstEntry {
    ElstEntry { segment_duration: duration, media_time, media_rate: FixedPoint::new(1, 0) }
}

fn with_ftyp(moov: &Moov) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(1024);
    Ftyp {
        major_brand: FourCC::new(b"iso6"),
        minor_version: 0,
        compatible_brands: [b"iso6", b"cmfc", b"mp41"].into_iter().map(FourCC::new).collect(),
    }
    .encode(&mut bytes)
    .map_err(failed)?;
    moov.encode(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// Reads the `moov` of an initialisation segment back.
pub fn read_init(init: &[u8]) -> Result<Moov, Error> {
    let mut rest = init;
    Ftyp::decode(&mut rest).map_err(failed)?;
    Moov::decode(&mut rest).map_err(failed)
}

/// Ticks that the edit list of an initialisation segment takes back; zero when there is none.
pub fn shift_of(init: &[u8]) -> u64 {
    read_init(init)
        .ok()
        .and_then(|moov| moov.trak.into_iter().next())
        .and_then(|trak| trak.edts)
        .and_then(|edts| edts.elst)
        .and_then(|elst| elst.entries.into_iter().find_map(|entry| entry.media_time))
        .unwrap_or(0)
}

/// Collects samples into fragments and keeps the books about them.
pub struct Fragments {
    timescale: u32,
    written: u64,
    /// What has been written.
    pub list: Vec<Fragment>,
    /// The samples of all fragments.
    pub samples: Vec<Sample>,
}

impl Fragments {
    /// Books of a blob in which nothing is yet.
    pub fn new(timescale: u32) -> Self {
        Self { timescale, written: 0, list: Vec::new(), samples: Vec::new() }
    }

    /// The bytes of one fragment that begins at decode time `start` (ticks); `data` holds the samples one after the other.
    pub fn write(&mut self, start: i64, samples: &[Sample], data: &[u8]) -> Result<Vec<u8>, Error> {
        let base = u64::try_from(start)
            .map_err(|_| Error::new(Code::EncoderFailed, "write the container: time before the beginning"))?;
        let mut moof = moof(base, self.timescale, samples);
        let mut bytes = Vec::new();
        moof.encode(&mut bytes).map_err(failed)?;
        let header = bytes.len() + 8;
        for run in moof.traf.iter_mut().flat_map(|traf| &mut traf.trun) {
            run.data_offset = Some(i32::try_from(header).unwrap_or(i32::MAX));
        }
        bytes.clear();
        bytes.reserve(header + data.len());
        moof.encode(&mut bytes).map_err(failed)?;
        let size = u32::try_from(data.len() + 8)
            .map_err(|_| Error::new(Code::EncoderFailed, "write the container: a fragment of over 4 GiB"))?;
        bytes.extend_from_slice(&size.to_be_bytes());
        bytes.extend_from_slice(b"mdat");
        bytes.extend_from_slice(data);
        self.list.push(Fragment {
            offset: self.written,
            size: bytes.len() as u64,
            header: u32::try_from(header).unwrap_or(u32::MAX),
            start,
            duration: samples.iter().map(|sample| u64::from(sample.duration)).sum(),
            samples: u32::try_from(samples.len()).unwrap_or(u32::MAX),
        });
        self.written += bytes.len() as u64;
        self.samples.extend_from_slice(samples);
        Ok(bytes)
    }

    /// The sample table, packed.
    pub fn packed(&self) -> Vec<u8> {
        samples::pack(&self.samples)
    }
}

/// Fields that all samples share go into the header, so that a run costs as few bytes as possible.
fn moof(base: u64, timescale: u32, samples: &[Sample]) -> Moof {
    let first = samples.first();
    let duration = first
        .map(|sample| sample.duration)
        .filter(|_| samples.iter().all(|sample| Some(sample.duration) == first.map(|first| first.duration)));
    let reordered = samples.iter().any(|sample| sample.composition_offset != 0);
    let all_sync = samples.iter().all(|sample| sample.sync);
    let entries = samples
        .iter()
        .enumerate()
        .map(|(index, sample)| TrunEntry {
            duration: duration.is_none().then_some(sample.duration),
            size: Some(sample.size),
            flags: (index == 0 && !all_sync).then_some(SYNC_FLAGS),
            cts: reordered.then_some(i64::from(sample.composition_offset)),
        })
        .collect();
    // Numbers must only grow within a track; time does, whoever encoded the chunk.
    let milliseconds = u128::from(base) * 1000 / u128::from(timescale.max(1));
    Moof {
        mfhd: Mfhd { sequence_number: u32::try_from(milliseconds).unwrap_or(u32::MAX - 1) + 1 },
        traf: vec![Traf {
            tfhd: Tfhd {
                track_id: TRACK,
                default_sample_duration: duration,
                default_sample_flags: Some(if all_sync { SYNC_FLAGS } else { DELTA_FLAGS }),
                default_base_is_moof: true,
                ..Tfhd::default()
            },
            tfdt: Some(Tfdt { base_media_decode_time: base }),
            trun: vec![Trun { data_offset: Some(0), samples: TrunSamples::Explicit(entries) }],
            ..Traf::default()
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_initialisation_segment_has_every_box_that_is_mandatory() {
        let audio =
            AudioInit { config: &[0x12, 0x10], channels: 2, sample_rate: 44_100, priming: 1_024, bitrate: 128_000 };
        let bytes = audio_init(&audio).unwrap().bytes;
        for name in
            ["ftyp", "moov", "mvhd", "mvex", "trex", "trak", "tkhd", "edts", "elst", "mdia", "mdhd", "hdlr", "minf"]
        {
            assert!(bytes.windows(4).any(|four| four == name.as_bytes()), "{name}");
        }
        for name in ["smhd", "dinf", "dref", "stbl", "stsd", "stts", "stsc", "stsz", "stco"] {
            assert!(bytes.windows(4).any(|four| four == name.as_bytes()), "{name}");
        }
        assert_eq!(shift_of(&bytes), 1_024);
    }
}
