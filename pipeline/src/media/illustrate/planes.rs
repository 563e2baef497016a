//! Pictures as plain bytes: luma and two planes of chroma of half the size, full range (JFIF).

use schemas::ladder::display_size;
use schemas::source::VideoTrack;

/// Longer side of tiny copies, thumbnails and tiles, pixels.
pub const TINY_BOX: u32 = 160;

/// A picture, 8 bit, 4:2:0. Both sides are even.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planes {
    /// Pixels in a row of luma.
    pub width: usize,
    /// Rows of luma.
    pub height: usize,
    /// Luma, row by row: 0 is black, 255 is white.
    pub y: Vec<u8>,
    /// Blue difference, a quarter as many: 128 is none.
    pub cb: Vec<u8>,
    /// Red difference.
    pub cr: Vec<u8>,
}

impl Planes {
    /// A picture of one colour.
    pub fn plain(width: usize, height: usize, [y, cb, cr]: [u8; 3]) -> Self {
        let (luma, chroma) = (width * height, (width / 2) * (height / 2));
        Self { width, height, y: vec![y; luma], cb: vec![cb; chroma], cr: vec![cr; chroma] }
    }

    /// Puts `tile` with its left upper corner at an even `(x, y)`; what lies outside is left out.
    pub fn paste(&mut self, tile: &Self, x: usize, y: usize) {
        let (width, tile_width) = (self.width, tile.width);
        copy(&mut self.y, width, &tile.y, tile_width, x, y);
        copy(&mut self.cb, width / 2, &tile.cb, tile_width / 2, x / 2, y / 2);
        copy(&mut self.cr, width / 2, &tile.cr, tile_width / 2, x / 2, y / 2);
    }

    /// Red, green and blue of each pixel, row by row, with the matrix of JFIF (ITU-T T.871, section 7).
    pub fn rgb(&self) -> Vec<u8> {
        let mut rgb = Vec::with_capacity(3 * self.y.len());
        for (at, luma) in self.y.iter().enumerate() {
            let (x, y) = (at % self.width / 2, at / self.width / 2);
            let chroma = (y * (self.width / 2) + x).min(self.cb.len().saturating_sub(1));
            let of = |plane: &[u8]| plane.get(chroma).map_or(0, |value| i32::from(*value) - 128);
            let (cb, cr, luma) = (of(&self.cb), of(&self.cr), i32::from(*luma) << 16);
            // 1.402, 0.344136, 0.714136 and 1.772 times 2^16.
            let all = [luma + 91_881 * cr, luma - 22_553 * cb - 46_802 * cr, luma + 116_130 * cb];
            rgb.extend(all.map(|colour| ((colour + 32_768) >> 16).clamp(0, 255) as u8));
        }
        rgb
    }

    /// The picture in half its width and height, as the mean of four pixels; as it is when that leaves nothing.
    pub fn halved(&self) -> Self {
        let (width, height) = (self.width / 4 * 2, self.height / 4 * 2);
        if width == 0 || height == 0 {
            return self.clone();
        }
        Self {
            width,
            height,
            y: half(&self.y, self.width, width, height),
            cb: half(&self.cb, self.width / 2, width / 2, height / 2),
            cr: half(&self.cr, self.width / 2, width / 2, height / 2),
        }
    }
}

fn copy(into: &mut [u8], stride: usize, from: &[u8], width: usize, x: usize, y: usize) {
    let fits = width.min(stride.saturating_sub(x));
    if width == 0 || fits == 0 {
        return;
    }
    let rows = into.chunks_exact_mut(stride).skip(y);
    for (row, tile) in rows.zip(from.chunks_exact(width)) {
        row[x..x + fits].copy_from_slice(&tile[..fits]);
    }
}

fn half(plane: &[u8], stride: usize, width: usize, height: usize) -> Vec<u8> {
    let at = |x: usize, y: usize| u16::from(plane[y * stride + x]);
    let pixel = |x: usize, y: usize| (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1) + 2) / 4;
    (0..height).flat_map(|y| (0..width).map(move |x| pixel(2 * x, 2 * y) as u8)).collect()
}

/// Upright size with square pixels and even sides that fits into a square of `side` pixels, and into the source.
pub fn fitting(track: &VideoTrack, side: u32) -> (u32, u32) {
    let (width, height) = display_size(track);
    let scale = (f64::from(side) / width.max(height).max(1.0)).min(1.0);
    let even = |length: f64| ((length * scale / 2.0).round() as u32 * 2).clamp(2, side.max(2));
    (even(width), even(height))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use schemas::source::{Ratio, Transfer};

    use super::*;

    fn track(width: u32, height: u32, rotation: i32, sar: (i32, i32)) -> VideoTrack {
        VideoTrack {
            index: 0,
            codec: String::new(),
            width,
            height,
            fps: Ratio { num: 25, den: 1 },
            rotation,
            mirrored: false,
            sar: Ratio { num: sar.0, den: sar.1 },
            pixel_format: String::new(),
            interlaced: false,
            transfer: Transfer::Sdr,
            time_base: Ratio { num: 1, den: 25 },
            start: 0,
            end: 1,
            frames: 1,
            longest_gap: 1,
        }
    }

    #[test]
    fn sizes_are_upright_even_and_of_the_right_aspect() {
        assert_eq!(fitting(&track(1920, 1080, 0, (1, 1)), 1280), (1280, 720));
        assert_eq!(fitting(&track(1920, 1080, 90, (1, 1)), 1280), (720, 1280));
        assert_eq!(fitting(&track(720, 576, 0, (64, 45)), 160), (160, 90));
        assert_eq!(fitting(&track(161, 121, 0, (1, 1)), 1280), (162, 122), "odd sides become even");
        assert_eq!(fitting(&track(8192, 2, 0, (1, 1)), 160), (160, 2));
        assert_eq!(fitting(&track(1, 1, 0, (1, 1)), 160), (2, 2));
    }

    #[test]
    fn a_tile_lies_where_it_is_put() {
        let mut sheet = Planes::plain(8, 6, [0, 128, 128]);
        sheet.paste(&Planes::plain(4, 2, [200, 10, 20]), 4, 2);
        let at = |x: usize, y: usize| sheet.y[y * 8 + x];
        assert_eq!([at(3, 2), at(4, 2), at(7, 3), at(4, 4)], [0, 200, 200, 0]);
        assert_eq!(sheet.cb, [128, 128, 128, 128, 128, 128, 10, 10, 128, 128, 128, 128]);
        sheet.paste(&Planes::plain(4, 4, [90, 128, 128]), 6, 4);
        assert_eq!(sheet.y[47], 90, "what lies outside is left out");
    }

    #[test]
    fn colours_are_those_of_jfif() {
        let rgb = |colour| Planes::plain(2, 2, colour).rgb();
        assert_eq!(rgb([255, 128, 128]), [255; 12]);
        assert_eq!(rgb([76, 85, 255])[..3], [254, 0, 0], "red");
        assert_eq!(rgb([150, 44, 21])[..3], [0, 255, 1], "green");
        assert_eq!(rgb([29, 255, 107])[9..], [0, 0, 254], "blue");
    }

    proptest! {
        #[test]
        fn half_a_picture_is_as_bright(side in 1_usize..20, other in 1_usize..20, y: u8, cb: u8, cr: u8) {
            let whole = Planes::plain(side * 2, other * 2, [y, cb, cr]);
            let half = whole.halved();
            prop_assert!(half.width <= whole.width && half.width.is_multiple_of(2) && half.height.is_multiple_of(2));
            prop_assert_eq!(half.y.len(), half.width * half.height);
            prop_assert_eq!(half.cb.len(), half.width / 2 * (half.height / 2));
            prop_assert!(half.y.iter().all(|pixel| *pixel == y) && half.cr.iter().all(|pixel| *pixel == cr));
        }
    }
}
