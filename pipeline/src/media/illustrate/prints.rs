//! What a frame looks like in a few numbers: means of luma and chroma on a coarse grid.

use super::planes::Planes;

/// Cells along the longer side, and along the shorter.
const GRID: (usize, usize) = (32, 20);

/// How far one print may be moved over another to see whether only the camera has moved, cells.
const REACH: isize = 5;

/// The print of a frame.
#[derive(Clone, Debug, PartialEq)]
pub struct Print {
    /// Cells in a row.
    width: usize,
    /// Luma, cb and cr of each cell, row by row, 0 to 255.
    cells: Vec<[f32; 3]>,
}

impl Print {
    /// The print of `picture`.
    pub fn of(picture: &Planes) -> Self {
        let (long, short) = GRID;
        let (width, height) = if picture.width >= picture.height { (long, short) } else { (short, long) };
        let (width, height) = (width.min(picture.width / 2).max(1), height.min(picture.height / 2).max(1));
        let luma = means(&picture.y, picture.width, picture.height, width, height);
        let cb = means(&picture.cb, picture.width / 2, picture.height / 2, width, height);
        let cr = means(&picture.cr, picture.width / 2, picture.height / 2, width, height);
        let cells = luma.into_iter().zip(cb).zip(cr).map(|((y, cb), cr)| [y, cb, cr]).collect();
        Self { width, cells }
    }

    /// How much two prints differ, 0 to 2: mean distance of luma, and half that of chroma, as a share of the range.
    pub fn distance(&self, other: &Self) -> f64 {
        let pairs = self.cells.iter().zip(&other.cells);
        let sum: f64 = pairs.map(|(a, b)| apart(a, b)).sum();
        sum / (255.0 * self.cells.len().max(1) as f64)
    }

    /// How far this print is from the point between `a` and `b` at `share` of the way, as [`Print::distance`].
    pub fn off_the_way(&self, a: &Self, b: &Self, share: f32) -> f64 {
        let between = |a: f32, b: f32| a + (b - a) * share;
        let cells = self.cells.iter().zip(a.cells.iter().zip(&b.cells));
        let off = cells.map(|(cell, (a, b))| apart(cell, &std::array::from_fn(|at| between(a[at], b[at]))));
        off.sum::<f64>() / (255.0 * self.cells.len().max(1) as f64)
    }

    /// What share of the distance of luma is left where it is least when one print is moved over the other: little where the
    /// camera has moved; 1 where there is no distance of luma.
    pub fn left_when_moved(&self, other: &Self) -> f64 {
        let height = self.cells.len() / self.width;
        let (most_x, most_y) = (REACH.min(self.width as isize / 3), REACH.min(height as isize / 3));
        let mut least = f64::MAX;
        for dy in -most_y..=most_y {
            for dx in -most_x..=most_x {
                least = least.min(self.moved_by(other, dx, dy, height));
            }
        }
        let unmoved = self.moved_by(other, 0, 0, height);
        if unmoved < 0.004 { 1.0 } else { least / unmoved }
    }

    fn moved_by(&self, other: &Self, dx: isize, dy: isize, height: usize) -> f64 {
        let (width, rows) = (self.width as isize, height as isize);
        let (mut sum, mut count) = (0.0, 0.0);
        for y in dy.max(0)..rows.min(rows + dy) {
            for x in dx.max(0)..width.min(width + dx) {
                let (here, there) = ((y * width + x) as usize, ((y - dy) * width + x - dx) as usize);
                sum += f64::from((self.cells[here][0] - other.cells[there][0]).abs());
                count += 1.0;
            }
        }
        sum / (255.0 * f64::max(count, 1.0))
    }

    /// What share of the cells differs by at least half of what they differ by on average: little where only a title comes.
    pub fn share_changed(&self, other: &Self) -> f64 {
        let least = 0.5 * 255.0 * self.distance(other);
        let changed = self.cells.iter().zip(&other.cells).filter(|(a, b)| apart(a, b) >= least).count();
        changed as f64 / self.cells.len().max(1) as f64
    }

    /// Whether both show the same things in another light: what is bright in one is bright in the other, with a contrast of the
    /// same order.
    pub fn is_relit(&self, other: &Self) -> bool {
        let luma = |print: &Self| -> Vec<f64> { print.cells.iter().map(|cell| f64::from(cell[0])).collect() };
        let (a, b) = (luma(self), luma(other));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let (mean_a, mean_b) = (mean(&a), mean(&b));
        let pairs = a.iter().zip(&b);
        let (mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0);
        for (a, b) in pairs {
            let (a, b) = (a - mean_a, b - mean_b);
            (aa, bb, ab) = (aa + a * a, bb + b * b, ab + a * b);
        }
        let is_alike = ab > 0.0 && ab * ab > 0.7 * aa * bb;
        is_alike && aa < 9.0 * bb && bb < 9.0 * aa
    }

    /// Whether it is of one tone all over.
    pub fn is_plain(&self) -> bool {
        (0..3).all(|at| self.span(at) < 16.0)
    }

    /// How far its darkest and brightest cell are apart, 0 to 255.
    pub fn contrast(&self) -> f32 {
        self.span(0)
    }

    fn span(&self, at: usize) -> f32 {
        let values = self.cells.iter().map(|cell| cell[at]);
        let (low, high) = values.fold((f32::MAX, f32::MIN), |(low, high), value| (low.min(value), high.max(value)));
        (high - low).max(0.0)
    }

    /// Mean luma, 0 to 255.
    pub fn luma(&self) -> f64 {
        self.cells.iter().map(|cell| f64::from(cell[0])).sum::<f64>() / self.cells.len().max(1) as f64
    }
}

fn apart(a: &[f32; 3], b: &[f32; 3]) -> f64 {
    f64::from((a[0] - b[0]).abs()) + 0.5 * f64::from((a[1] - b[1]).abs() + (a[2] - b[2]).abs())
}

/// Means of the cells of a grid over a plane.
fn means(plane: &[u8], width: usize, height: usize, columns: usize, rows: usize) -> Vec<f32> {
    let mut cells = Vec::with_capacity(columns * rows);
    for row in 0..rows {
        let (top, bottom) = (row * height / rows, (row + 1) * height / rows);
        let mut sums = vec![0_u32; columns];
        for line in plane.chunks_exact(width).take(bottom).skip(top) {
            for (column, sum) in sums.iter_mut().enumerate() {
                let cell = &line[column * width / columns..(column + 1) * width / columns];
                *sum += cell.iter().map(|pixel| u32::from(*pixel)).sum::<u32>();
            }
        }
        for (column, sum) in sums.into_iter().enumerate() {
            let across = (column + 1) * width / columns - column * width / columns;
            cells.push(sum as f32 / ((bottom - top) * across).max(1) as f32);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A picture whose luma is drawn by `draw`.
    fn drawn(width: usize, height: usize, draw: impl Fn(usize, usize) -> u8) -> Planes {
        let mut planes = Planes::plain(width, height, [0, 128, 128]);
        planes.y.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = draw(at % width, at / width));
        planes
    }

    #[test]
    fn black_and_white_are_as_far_apart_as_can_be() {
        let print = |y| Print::of(&Planes::plain(160, 90, [y, 128, 128]));
        assert!((print(0).distance(&print(255)) - 1.0).abs() < 1e-6);
        assert_eq!(print(77).distance(&print(77)), 0.0);
        assert!((print(51).luma() - 51.0).abs() < 1e-6);
        assert!(print(51).is_plain());
    }

    #[test]
    fn a_picture_that_only_moved_is_found_again() {
        let texture = |x: usize, y: usize| ((x / 10 * 37 + y / 9 * 91) % 230) as u8;
        let (here, there) = (drawn(160, 90, texture), drawn(160, 90, |x, y| texture(x + 20, y)));
        let (here, there) = (Print::of(&here), Print::of(&there));
        assert!(here.distance(&there) > 0.1 && !here.is_plain());
        assert!(here.left_when_moved(&there) < 0.1);
    }

    #[test]
    fn a_title_changes_a_part_of_the_picture() {
        let texture = |x: usize, y: usize| ((x / 10 * 37 + y / 9 * 91) % 200) as u8;
        let bare = Print::of(&drawn(160, 90, texture));
        let titled =
            drawn(160, 90, |x, y| if (40..120).contains(&x) && (30..50).contains(&y) { 255 } else { texture(x, y) });
        assert!(bare.share_changed(&Print::of(&titled)) < 0.25);
        assert!(bare.share_changed(&Print::of(&drawn(160, 90, |x, y| texture(y, x)))) > 0.5);
    }

    #[test]
    fn another_light_is_no_other_picture() {
        let texture = |x: usize, y: usize| ((x / 10 * 37 + y / 9 * 91) % 200) as u8;
        let bright = Print::of(&drawn(160, 90, texture));
        let dim = Print::of(&drawn(160, 90, |x, y| texture(x, y) / 2));
        let dark = Print::of(&drawn(160, 90, |x, y| texture(x, y) / 20));
        let other = Print::of(&drawn(160, 90, |x, y| texture(y, x)));
        assert!(bright.is_relit(&dim));
        assert!(!bright.is_relit(&dark), "a fade to black leaves nothing of it");
        assert!(!bright.is_relit(&other));
    }

    proptest! {
        #[test]
        fn prints_of_any_size_can_be_compared(width in 1_usize..90, height in 1_usize..90, a: u8, b: u8) {
            let print = |y| Print::of(&Planes::plain(width * 2, height * 2, [y, 128, 128]));
            let (one, other) = (print(a), print(b));
            let far = f64::from(a.abs_diff(b)) / 255.0;
            prop_assert!((one.distance(&other) - far).abs() < 1e-6);
            prop_assert!((one.left_when_moved(&other) - 1.0).abs() < 1e-6);
            prop_assert!((one.off_the_way(&one, &other, 0.5) - far / 2.0).abs() < 1e-6);
        }
    }
}
