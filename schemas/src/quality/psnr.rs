//! PSNR of the frames of a chunk, packed: hundredths of a decibel, two bytes a frame, the higher one first.

/// Decibels that are counted at most: two pictures that are the same have no error, and so no end of decibels.
pub const MOST_DB: f64 = 100.0;

/// Hundredths in [`MOST_DB`].
const MOST: u16 = 10_000;

/// Packs `decibels`; what is above [`MOST_DB`], or no number, counts as that.
pub fn pack(decibels: impl IntoIterator<Item = f64>) -> Vec<u8> {
    let hundredths = |db: f64| if db.is_nan() { MOST } else { (db.clamp(0.0, MOST_DB) * 100.0).round() as u16 };
    decibels.into_iter().flat_map(|db| hundredths(db).to_be_bytes()).collect()
}

/// Hundredths of a decibel of each frame in `packed`.
pub fn hundredths(packed: &[u8]) -> impl Iterator<Item = u32> {
    packed.chunks_exact(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]).min(MOST)))
}

/// Decibels of each frame in `packed`.
pub fn unpack(packed: &[u8]) -> impl Iterator<Item = f64> {
    hundredths(packed).map(|hundredths| f64::from(hundredths) / 100.0)
}

/// Mean of `packed` in hundredths of a decibel, in whole numbers, so that it is the same on every machine; absent when empty.
pub fn mean_hundredths(packed: &[u8]) -> Option<u64> {
    let frames = packed.len() as u64 / 2;
    let sum: u64 = hundredths(packed).map(u64::from).sum();
    (frames > 0).then(|| sum / frames)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_picture_has_as_much_as_can_be_counted() {
        let packed = pack([f64::INFINITY, 100.0, f64::NAN, -3.0, 41.254]);
        assert_eq!(unpack(&packed).collect::<Vec<_>>(), [100.0, 100.0, 100.0, 0.0, 41.25]);
        assert_eq!(mean_hundredths(&pack([40.0, 41.0])), Some(4050));
        assert_eq!(mean_hundredths(&[]), None);
    }

    proptest! {
        #[test]
        fn what_is_packed_reads_back_to_half_a_hundredth(decibels in prop::collection::vec(0.0_f64..100.0, 0..300)) {
            let packed = pack(decibels.iter().copied());
            prop_assert_eq!(packed.len(), decibels.len() * 2);
            for (was, is) in decibels.iter().zip(unpack(&packed)) {
                prop_assert!((was - is).abs() <= 0.005 + 1e-9);
            }
        }

        #[test]
        fn garbage_is_read_as_decibels(packed in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert!(unpack(&packed).all(|db| (0.0..=MOST_DB).contains(&db)));
        }
    }
}
