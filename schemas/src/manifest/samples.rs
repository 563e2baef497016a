//! Sample tables, packed: what a `moov` needs to know of each frame, a few bytes a frame.
//!
//! Three LEB128 numbers a sample: `size << 1 | sync`, duration and composition offset in ticks.

/// One frame or audio packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Bytes.
    pub size: u32,
    /// Ticks until the next sample's decode time.
    pub duration: u32,
    /// Presentation time minus decode time, ticks, never negative.
    pub composition_offset: u32,
    /// Whether decoding can start here.
    pub sync: bool,
}

/// A packed table does not end where a sample ends, or holds a number that fits no sample.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("read sample table: cut short or out of range at byte {0}")]
pub struct BadTable(pub(crate) usize);

/// Packs `samples`.
pub fn pack(samples: &[Sample]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(samples.len() * 6);
    for sample in samples {
        put(&mut packed, u64::from(sample.size) << 1 | u64::from(sample.sync));
        put(&mut packed, u64::from(sample.duration));
        put(&mut packed, u64::from(sample.composition_offset));
    }
    packed
}

/// Reads what [`pack`] wrote.
pub fn unpack(packed: &[u8]) -> Result<Vec<Sample>, BadTable> {
    let mut at = 0;
    let mut samples = Vec::new();
    while at < packed.len() {
        let size = take(packed, &mut at)?;
        let duration = take(packed, &mut at)?;
        let composition_offset = take(packed, &mut at)?;
        let fit = |number: u64| u32::try_from(number).map_err(|_| BadTable(at));
        samples.push(Sample {
            size: fit(size >> 1)?,
            duration: fit(duration)?,
            composition_offset: fit(composition_offset)?,
            sync: size & 1 == 1,
        });
    }
    Ok(samples)
}

/// Appends `number` in LEB128.
pub(crate) fn put(packed: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        packed.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    packed.push(number as u8);
}

/// Reads a number in LEB128 at `at`, which moves behind it.
pub(crate) fn take(packed: &[u8], at: &mut usize) -> Result<u64, BadTable> {
    let mut number = 0;
    for shift in (0..=56).step_by(7) {
        let byte = *packed.get(*at).ok_or(BadTable(*at))?;
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(BadTable(*at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tables_read_back(raw in prop::collection::vec((any::<u32>(), any::<u32>(), any::<u32>(), any::<bool>()), 0..50)) {
            let samples: Vec<Sample> = raw
                .into_iter()
                .map(|(size, duration, composition_offset, sync)| Sample { size, duration, composition_offset, sync })
                .collect();
            prop_assert_eq!(unpack(&pack(&samples)).unwrap(), samples);
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpack(&raw);
        }
    }
}
