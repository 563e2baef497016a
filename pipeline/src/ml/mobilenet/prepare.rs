//! From a picture to the numbers that a network is fed: resized, cut out of the middle, normalised.
//!
//! As the image processor of the published models does it (`preprocessor_config.json`): the shorter side becomes 256 pixels and the
//! longer one keeps the aspect; bilinear, the filter as wide as the picture shrinks, in whole numbers of 22 bits and rounded
//! to bytes after each direction, which is what Pillow does (`Resample.c`), byte for byte; then 224 x 224 out of the middle.
//! Only what is cut out is computed.

use super::Picture;
use super::config::Preparation;
use crate::ml::Error;

/// Bits of a filter's weights, as in Pillow.
const BITS: u32 = 22;

/// Longest side that is looked at, pixels.
const LONGEST: u32 = 16_384;

/// What one pixel of a line is made of.
struct Tap {
    /// Where the first pixel lies.
    start: usize,
    /// Weights, 2^22 in sum.
    weights: Vec<i32>,
}

/// The middle of `picture` as bytes: `[height, width, 3]` of the crop.
pub fn middle(picture: &Picture, how: &Preparation) -> Result<Vec<u8>, Error> {
    let (width, height) = (picture.width as usize, picture.height as usize);
    let refused = |what: String| Err(Error::Audio(format!("a picture of {width}x{height} pixels {what}")));
    if picture.width.min(picture.height) == 0 || picture.width.max(picture.height) > LONGEST {
        return refused("is not looked at".to_owned());
    }
    if picture.rgb.len() != 3 * width * height {
        return refused(format!("has {} bytes instead of {}", picture.rgb.len(), 3 * width * height));
    }
    let (wide, high) = resized(width, height, how.shortest_edge());
    let (crop_width, crop_height) = how.crop();
    let (left, top) = ((wide - crop_width) / 2, (high - crop_height) / 2);
    let columns = taps(width, wide, left, crop_width);
    let rows = taps(height, high, top, crop_height);

    // Across first, and only the rows that are needed; then down.
    let first = rows.iter().map(|tap| tap.start).min().unwrap_or(0);
    let last = rows.iter().map(|tap| tap.start + tap.weights.len()).max().unwrap_or(0);
    let mut across = Vec::with_capacity((last - first) * crop_width * 3);
    for row in picture.rgb.chunks_exact(3 * width).take(last).skip(first) {
        for tap in &columns {
            let pixels = row[3 * tap.start..].chunks_exact(3);
            across.extend(weighed(pixels.zip(&tap.weights)));
        }
    }
    let line = 3 * crop_width;
    let mut middle = Vec::with_capacity(crop_height * line);
    for tap in &rows {
        for column in 0..crop_width {
            let pixels = across[(tap.start - first) * line + 3 * column..].chunks(line);
            middle.extend(weighed(pixels.zip(&tap.weights)));
        }
    }
    Ok(middle)
}

/// The middle of `picture` as numbers: `[3, height, width]` of the crop, from -1 to 1 with the means of the published models.
pub fn normal(picture: &Picture, how: &Preparation) -> Result<Vec<f32>, Error> {
    let middle = middle(picture, how)?;
    let of_channel = |channel: usize| {
        let (mean, deviation) = (how.image_mean[channel], how.image_std[channel]);
        let scale = how.rescale_factor as f32;
        middle.iter().skip(channel).step_by(3).map(move |byte| (f32::from(*byte) * scale - mean) / deviation)
    };
    Ok((0..3).flat_map(of_channel).collect())
}

/// Width and height when the shorter side becomes `edge`.
fn resized(width: usize, height: usize, edge: usize) -> (usize, usize) {
    if width <= height { (edge, edge * height / width) } else { (edge * width / height, edge) }
}

/// What the `count` pixels from `from` on are made of, when `old` pixels become `new`.
fn taps(old: usize, new: usize, from: usize, count: usize) -> Vec<Tap> {
    if old == new {
        // Pillow leaves such a direction alone, and so does a weight of one.
        return (from..from + count).map(|start| Tap { start, weights: vec![1 << BITS] }).collect();
    }
    let scale = old as f64 / new as f64;
    let widening = scale.max(1.0);
    let narrowing = 1.0 / widening;
    let tap = |pixel: usize| {
        let centre = (pixel as f64 + 0.5) * scale;
        let start = (centre - widening + 0.5).max(0.0) as usize;
        let end = ((centre + widening + 0.5) as usize).min(old);
        let triangle = |at: usize| (1.0 - ((at as f64 - centre + 0.5) * narrowing).abs()).max(0.0);
        let weights: Vec<f64> = (start..end).map(triangle).collect();
        let sum: f64 = weights.iter().sum();
        let whole = |weight: f64| (0.5 + weight / sum * f64::from(1 << BITS)) as i32;
        Tap { start, weights: weights.into_iter().map(whole).collect() }
    };
    (from..from + count).map(tap).collect()
}

/// Red, green and blue of pixels by their weights.
fn weighed<'a>(pixels: impl Iterator<Item = (&'a [u8], &'a i32)>) -> [u8; 3] {
    let mut sums = [1_i64 << (BITS - 1); 3];
    for (pixel, weight) in pixels {
        for (sum, byte) in sums.iter_mut().zip(pixel) {
            *sum += i64::from(*byte) * i64::from(*weight);
        }
    }
    sums.map(|sum| (sum >> BITS).clamp(0, 255) as u8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn flat(width: u32, height: u32, colour: [u8; 3]) -> Picture {
        let rgb = colour.into_iter().cycle().take(3 * (width * height) as usize).collect();
        Picture { width, height, rgb, most: 1 }
    }

    proptest! {
        #[test]
        fn a_flat_picture_of_any_size_stays_flat(width in 1..900_u32, height in 1..900_u32, colour: [u8; 3]) {
            let middle = middle(&flat(width, height, colour), &Preparation::default()).unwrap();
            prop_assert_eq!(middle.len(), 3 * 224 * 224);
            prop_assert!(middle.chunks(3).all(|pixel| pixel == colour));
        }
    }

    #[test]
    fn colours_become_planes_from_minus_one_to_one() {
        let numbers = normal(&flat(300, 300, [0, 255, 127]), &Preparation::default()).unwrap();
        let plane = 224 * 224;
        assert_eq!((numbers[0], numbers[plane], numbers.len()), (-1.0, 1.0, 3 * plane));
        assert!((numbers[2 * plane] + 0.0039).abs() < 1e-4);
    }

    #[test]
    fn a_picture_that_is_none_is_refused() {
        let how = Preparation::default();
        for picture in [
            flat(0, 10, [0; 3]),
            flat(10, 0, [0; 3]),
            Picture { rgb: vec![0; 299], ..flat(10, 10, [0; 3]) },
            Picture { width: 20_000, ..flat(10, 10, [0; 3]) },
        ] {
            assert!(matches!(middle(&picture, &how), Err(Error::Audio(_))));
        }
    }
}
