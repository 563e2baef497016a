//! Triangular filters that gather a spectrum into mel bands.
//!
//! Radford et al. 2022, section 2.2, with the scale of Slaney 1998 (linear below 1 kHz, logarithmic above) and each triangle of
//! one area.

/// Samples a second.
pub const RATE: u32 = 16_000;
/// Samples of one Fourier transform.
pub const TRANSFORM: usize = 400;
/// Frequencies of a spectrum.
pub const FREQUENCIES: usize = TRANSFORM / 2 + 1;

const LINEAR_HZ: f64 = 200.0 / 3.0;
const BEND_HZ: f64 = 1000.0;
const BEND_MEL: f64 = BEND_HZ / LINEAR_HZ;

/// `ln(6.4) / 27`: 27 bands from 1 to 6.4 kHz.
fn log_step() -> f64 {
    6.4f64.ln() / 27.0
}

fn mel(hz: f64) -> f64 {
    if hz < BEND_HZ { hz / LINEAR_HZ } else { BEND_MEL + (hz / BEND_HZ).ln() / log_step() }
}

fn hz(mel: f64) -> f64 {
    if mel < BEND_MEL { mel * LINEAR_HZ } else { BEND_HZ * (log_step() * (mel - BEND_MEL)).exp() }
}

/// `[bands * FREQUENCIES]`, row by row.
pub fn filters(bands: usize) -> Vec<f32> {
    let most = mel(f64::from(RATE) / 2.0);
    let corners: Vec<f64> = (0..bands + 2).map(|at| hz(most * at as f64 / (bands + 1) as f64)).collect();
    let frequency = |bin: usize| f64::from(RATE) / TRANSFORM as f64 * bin as f64;
    let triangles = corners.windows(3).flat_map(|corner| {
        let (low, middle, high) = (corner[0], corner[1], corner[2]);
        (0..FREQUENCIES).map(move |bin| {
            let up = (frequency(bin) - low) / (middle - low);
            let down = (high - frequency(bin)) / (high - middle);
            // Rounded twice, as the published table is.
            let height = up.min(down).max(0.0) as f32;
            (f64::from(height) * (2.0 / (high - low))) as f32
        })
    });
    triangles.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_its_own_inverse() {
        for frequency in [0.0, 100.0, 999.0, 1000.0, 4321.0, 8000.0] {
            assert!((hz(mel(frequency)) - frequency).abs() < 1e-9);
        }
    }

    #[test]
    fn each_band_hears_something_and_all_have_one_area() {
        for bands in [80, 128] {
            let filters = filters(bands);
            assert_eq!(filters.len(), bands * FREQUENCIES);
            for (band, row) in filters.chunks(FREQUENCIES).enumerate() {
                assert!(row.iter().any(|weight| *weight > 0.0), "band {band} of {bands} is deaf");
            }
            // Wide triangles are sampled finely enough to see their area: 1 over the step of 40 Hz.
            let last: f32 = filters[(bands - 1) * FREQUENCIES..].iter().sum();
            assert!((last * 40.0 - 1.0).abs() < 0.05, "{last}");
        }
    }
}
