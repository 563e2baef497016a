//! What a picture is like, and how it differs from the next one: colours, areas, edges, and whether anything is alive in it.
//!
//! What people draw or a computer shows has few colours, flat areas and edges that are steep and, for text and windows, run along
//! the axes. What a camera sees has none of these, and its noise makes every frame another one even where nothing moves.

use serde::{Deserialize, Serialize};

use crate::media::illustrate::planes::Planes;

/// A row or column no pixel of which is brighter is border, luma.
const BORDER: u8 = 32;

/// A pixel below the first is dark, one from the second on is lit, luma.
const DARK: u8 = 40;
const LIT: u8 = 56;

/// Side of a block, pixels.
const BLOCK: usize = 8;

/// A block whose luma spans no more is flat.
const FLAT: u8 = 4;

/// Steps between neighbours: up to the first there is none, up to the second it is texture, from the third on an edge, luma.
const NONE: u8 = 1;
const TEXTURE: u8 = 14;
const EDGE: u8 = 40;

/// Share of a step over four pixels that lies between its middle two when the edge is crisp.
const CRISP: f64 = 0.75;

/// Pixels in a row over which an edge is straight.
const STRAIGHT: u64 = 10;

/// A block is alive when it differs from the same block of the next picture by more than its mean brightness, levels of luma.
const ALIVE: f64 = 0.2;

/// Share of the pixels that a palette covers.
const COVERED: f64 = 0.9;

/// What a picture is like. Shares are of the picture inside its borders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Look {
    /// Share of the whole picture that is black border.
    pub borders: f64,
    /// Share of the pixels that are dark.
    pub dark: f64,
    /// Share of the pixels that are lit.
    pub lit: f64,
    /// Mean distance of colours from grey, as a share of the range.
    pub saturation: f64,
    /// Colours that cover most of the picture, of 8192.
    pub palette: f64,
    /// Share of the blocks that are of one tone.
    pub flat: f64,
    /// Share of the neighbours between which there is a small step.
    pub texture: f64,
    /// Share of the neighbours between which there is an edge.
    pub edges: f64,
    /// Share of the edges that are crisp.
    pub crisp: f64,
    /// Share of the edges that run along an axis for a while.
    pub straight: f64,
    /// Share of the blocks that differ from those of the next picture.
    pub alive: f64,
    /// How much the quieter half of the blocks that are no flat black or white differs from the next picture, levels of luma.
    pub noise: f64,
}

/// How many numbers a [`Look`] has.
const COUNT: usize = 12;

impl Look {
    /// The look of `picture`, with what only `next`, which follows it at once, can tell.
    pub fn of(picture: &Planes, next: Option<&Planes>) -> Self {
        let inner = Inner::of(picture);
        let (dark, lit) = inner.light();
        let (saturation, palette) = inner.colours();
        let (texture, edges, crisp, straight) = inner.steps();
        let next = next.filter(|next| next.y.len() == picture.y.len());
        let (alive, noise) = next.map_or((0.0, 0.0), |next| inner.change(next));
        let borders = 1.0 - (inner.width() * inner.height()) as f64 / picture.y.len().max(1) as f64;
        let flat = inner.flat();
        Self { borders, dark, lit, saturation, palette, flat, texture, edges, crisp, straight, alive, noise }
    }

    /// All of it, by name.
    pub fn features(&self) -> [(&'static str, f64); COUNT] {
        let Self { borders, dark, lit, saturation, palette, flat, texture, edges, crisp, straight, alive, noise } =
            *self;
        [
            ("borders", borders),
            ("dark", dark),
            ("lit", lit),
            ("saturation", saturation),
            ("palette", palette),
            ("flat", flat),
            ("texture", texture),
            ("edges", edges),
            ("crisp", crisp),
            ("straight", straight),
            ("alive", alive),
            ("noise", noise),
        ]
    }

    fn of_numbers(numbers: [f64; COUNT]) -> Self {
        let [borders, dark, lit, saturation, palette, flat, texture, edges, crisp, straight, alive, noise] = numbers;
        Self { borders, dark, lit, saturation, palette, flat, texture, edges, crisp, straight, alive, noise }
    }
}

/// The mean of looks.
#[derive(Default)]
pub struct Mean {
    sums: [f64; COUNT],
    count: f64,
}

impl Mean {
    /// One more.
    pub fn add(&mut self, look: &Look) {
        for (sum, (_, value)) in self.sums.iter_mut().zip(look.features()) {
            *sum += value;
        }
        self.count += 1.0;
    }

    /// The mean; nothing of everything when there was none.
    pub fn look(&self) -> Look {
        Look::of_numbers(self.sums.map(|sum| sum / self.count.max(1.0)))
    }
}

/// A picture without its black borders.
struct Inner<'a> {
    picture: &'a Planes,
    columns: std::ops::Range<usize>,
    rows: std::ops::Range<usize>,
}

impl<'a> Inner<'a> {
    fn of(picture: &'a Planes) -> Self {
        let (width, height) = (picture.width, picture.height);
        let is_black_row = |row: &usize| picture.y[row * width..(row + 1) * width].iter().all(|luma| *luma < BORDER);
        let top = (0..height).take_while(is_black_row).count();
        let whole = Self { picture, columns: 0..width, rows: 0..height };
        if top == height {
            // A black picture has no borders.
            return whole;
        }
        let below = (top..height).rev().take_while(is_black_row).count();
        // Borders are as wide on either side; what is black on one side alone belongs to the picture.
        let rows = top.min(below)..height - top.min(below);
        let is_black_column = |x: &usize| rows.clone().all(|y| picture.y[y * width + x] < BORDER);
        let left = (0..width).take_while(is_black_column).count();
        let beside = (left..width).rev().take_while(is_black_column).count();
        let columns = left.min(beside)..width - left.min(beside);
        // What is left of black with a speck in it is no picture.
        if columns.len() * rows.len() * 4 < width * height {
            return whole;
        }
        Self { picture, columns, rows }
    }

    fn width(&self) -> usize {
        self.columns.len()
    }

    fn height(&self) -> usize {
        self.rows.len()
    }

    fn row<'b>(&self, of: &'b Planes, y: usize) -> &'b [u8] {
        let start = y * of.width;
        &of.y[start + self.columns.start..start + self.columns.end]
    }

    fn lines(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.rows.clone().map(|y| self.row(self.picture, y))
    }

    fn light(&self) -> (f64, f64) {
        let (mut dark, mut lit) = (0_u64, 0_u64);
        for luma in self.lines().flatten() {
            dark += u64::from(*luma < DARK);
            lit += u64::from(*luma >= LIT);
        }
        let all = (self.width() * self.height()).max(1) as f64;
        (dark as f64 / all, lit as f64 / all)
    }

    /// Saturation, and how many of 32 x 16 x 16 colours cover [`COVERED`] of the picture.
    fn colours(&self) -> (f64, f64) {
        let mut counts = vec![0_u32; 8192];
        let (mut distance, mut all) = (0.0, 0_u32);
        let stride = self.picture.width / 2;
        for y in self.rows.start.div_ceil(2)..self.rows.end / 2 {
            for x in self.columns.start.div_ceil(2)..self.columns.end / 2 {
                let luma = self.picture.y[2 * y * self.picture.width + 2 * x];
                let (cb, cr) = (self.picture.cb[y * stride + x], self.picture.cr[y * stride + x]);
                counts[usize::from(luma >> 3) << 8 | usize::from(cb >> 4) << 4 | usize::from(cr >> 4)] += 1;
                let (blue, red) = (f64::from(cb) - 128.0, f64::from(cr) - 128.0);
                distance += (blue * blue + red * red).sqrt() / 128.0;
                all += 1;
            }
        }
        counts.sort_unstable_by(|one, other| other.cmp(one));
        let (mut covered, wanted) = (0, (f64::from(all) * COVERED) as u32);
        let palette = counts.iter().take_while(|count| **count > 0).take_while(|count| {
            let is_short = covered < wanted;
            covered += **count;
            is_short
        });
        (distance / f64::from(all.max(1)), palette.count() as f64)
    }

    /// Left upper corners of the blocks.
    fn blocks(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let rows = (self.rows.start..self.rows.end.saturating_sub(BLOCK - 1)).step_by(BLOCK);
        rows.flat_map(|y| {
            let columns = self.columns.start..self.columns.end.saturating_sub(BLOCK - 1);
            columns.step_by(BLOCK).map(move |x| (x, y))
        })
    }

    fn flat(&self) -> f64 {
        let (mut flat, mut all) = (0_u64, 0_u64);
        for (x, y) in self.blocks() {
            let (mut low, mut high) = (u8::MAX, 0);
            for luma in block(self.picture, x, y) {
                (low, high) = (low.min(luma), high.max(luma));
            }
            flat += u64::from(high - low <= FLAT);
            all += 1;
        }
        flat as f64 / all.max(1) as f64
    }

    /// Shares of steps that are texture and that are edges, and shares of the edges that are crisp and that are straight.
    fn steps(&self) -> (f64, f64, f64, f64) {
        let mut steps = Steps::default();
        let mut down = vec![0; self.width()];
        let mut near: [&[u8]; 4] = [&[]; 4];
        for (number, line) in self.lines().enumerate() {
            // Steps to the right, whose edges run down.
            for (run, four) in down.iter_mut().zip(line.windows(4)) {
                let is_edge = steps.count([four[0], four[1], four[2], four[3]]);
                steps.follow(run, is_edge);
            }
            // Steps down, whose edges run to the right.
            near.rotate_left(1);
            near[3] = line;
            if number < 3 {
                continue;
            }
            let mut right = 0;
            for x in 0..line.len() {
                let is_edge = steps.count(near.map(|line| line[x]));
                steps.follow(&mut right, is_edge);
            }
            steps.ended(right);
        }
        down.into_iter().for_each(|run| steps.ended(run));
        steps.shares()
    }

    /// How many blocks are alive, and how much the quieter half of them differs.
    fn change(&self, next: &Planes) -> (f64, f64) {
        let mut changes = Vec::new();
        for (x, y) in self.blocks() {
            let count = (BLOCK * BLOCK) as f64;
            let by =
                || block(self.picture, x, y).zip(block(next, x, y)).map(|(old, new)| f64::from(new) - f64::from(old));
            let mean = by().sum::<f64>() / count;
            let light = block(self.picture, x, y).map(f64::from).sum::<f64>() / count;
            let change = by().map(|by| (by - mean).abs()).sum::<f64>() / count;
            // Where light ends, noise does.
            changes.push((change, (12.0..=243.0).contains(&light)));
        }
        let alive = changes.iter().filter(|(change, _)| *change > ALIVE).count() as f64 / changes.len().max(1) as f64;
        let mut grey: Vec<f64> =
            changes.into_iter().filter(|(_, is_grey)| *is_grey).map(|(change, _)| change).collect();
        grey.sort_by(f64::total_cmp);
        let quiet = &grey[..grey.len().div_ceil(2)];
        (alive, quiet.iter().sum::<f64>() / quiet.len().max(1) as f64)
    }
}

/// The pixels of the block at `(x, y)`.
fn block(picture: &Planes, x: usize, y: usize) -> impl Iterator<Item = u8> + '_ {
    (y..y + BLOCK).flat_map(move |y| picture.y[y * picture.width + x..][..BLOCK].iter().copied())
}

/// Counts steps between neighbours.
#[derive(Default)]
struct Steps {
    all: u64,
    texture: u64,
    edges: u64,
    crisp: u64,
    straight: u64,
}

impl Steps {
    /// Counts the step between the middle two of four pixels in a row; whether it is an edge.
    fn count(&mut self, [before, left, right, after]: [u8; 4]) -> bool {
        let step = left.abs_diff(right);
        self.all += 1;
        self.texture += u64::from(step > NONE && step <= TEXTURE);
        let is_edge = step >= EDGE;
        if is_edge {
            self.edges += 1;
            let whole = before.abs_diff(after).max(step);
            self.crisp += u64::from(f64::from(step) >= CRISP * f64::from(whole));
        }
        is_edge
    }

    /// An edge goes on beside the last one of its run, or the run ends.
    fn follow(&mut self, run: &mut u64, is_edge: bool) {
        if is_edge {
            *run += 1;
        } else {
            self.ended(std::mem::take(run));
        }
    }

    fn ended(&mut self, run: u64) {
        if run >= STRAIGHT {
            self.straight += run;
        }
    }

    fn shares(&self) -> (f64, f64, f64, f64) {
        let (all, edges) = (self.all.max(1) as f64, self.edges.max(1) as f64);
        let of = |count: u64, all: f64| count as f64 / all;
        (of(self.texture, all), of(self.edges, all), of(self.crisp, edges), of(self.straight, edges))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A picture with the luma of a function.
    fn drawn(width: usize, height: usize, luma: impl Fn(usize, usize) -> u8) -> Planes {
        let mut planes = Planes::plain(width, height, [0, 128, 128]);
        planes.y.iter_mut().enumerate().for_each(|(at, pixel)| *pixel = luma(at % width, at / width));
        planes
    }

    /// Something like noise, the same each time.
    fn grain(x: usize, y: usize, seed: usize) -> u8 {
        let mixed = (x * 7919 + y * 104_729 + seed * 1_299_709) % 65_537;
        (mixed * mixed % 65_537 % 9) as u8
    }

    #[test]
    fn a_drawing_is_flat_crisp_straight_and_of_few_colours() {
        let windows = drawn(320, 180, |x, y| if x / 40 % 2 == y / 30 % 2 { 60 } else { 200 });
        let look = Look::of(&windows, Some(&windows));
        assert!(look.palette <= 2.0 && look.flat > 0.6 && look.texture == 0.0, "{look:?}");
        assert!(look.crisp > 0.99 && look.straight > 0.9 && look.edges > 0.01, "{look:?}");
        assert_eq!((look.alive, look.noise, look.saturation), (0.0, 0.0, 0.0));
    }

    #[test]
    fn what_a_camera_sees_is_alive_and_textured() {
        let seen = |seed| {
            drawn(320, 180, move |x, y| {
                (90.0 + 60.0 * (x as f64 / 23.0).sin() * (y as f64 / 17.0).cos()) as u8 + grain(x, y, seed)
            })
        };
        let look = Look::of(&seen(1), Some(&seen(2)));
        assert!(look.palette > 8.0 && look.flat < 0.1 && look.texture > 0.5, "{look:?}");
        assert!(look.alive > 0.99 && look.noise > 1.0, "{look:?}");
        let lamp = |light: u8| drawn(320, 180, move |x, _| (x / 4) as u8 + light);
        let look = Look::of(&lamp(60), Some(&lamp(70)));
        assert_eq!((look.alive, look.noise), (0.0, 0.0), "light that changes is no noise");
    }

    #[test]
    fn edges_that_lean_or_are_blurred_are_told_apart() {
        let leaning = drawn(320, 180, |x, y| if (x + y) / 30 % 2 == 0 { 40 } else { 210 });
        let look = Look::of(&leaning, None);
        assert!(look.crisp > 0.99 && look.straight == 0.0, "{look:?}");
        let blurred = drawn(320, 180, |x, _| [40, 90, 140, 190, 210, 160, 110, 60][x % 8]);
        assert!(Look::of(&blurred, None).crisp < 0.1);
    }

    #[test]
    fn borders_are_no_part_of_a_picture() {
        let wide = drawn(320, 180, |_, y| if (30..150).contains(&y) { 128 } else { 16 });
        let look = Look::of(&wide, None);
        assert!((look.borders - 1.0 / 3.0).abs() < 1e-9 && look.dark == 0.0 && look.lit == 1.0, "{look:?}");
        let terminal = drawn(320, 180, |x, y| if x < 150 && y < 100 && x / 5 % 2 == 0 { 200 } else { 16 });
        assert!(Look::of(&terminal, None).borders < 0.01, "what is black on one side alone is no border");
        let black = Look::of(&drawn(320, 180, |_, _| 16), None);
        assert_eq!((black.borders, black.dark, black.lit), (0.0, 1.0, 0.0));
    }

    proptest! {
        #[test]
        fn all_of_it_is_shares(width in 1_usize..20, height in 1_usize..20, seed in 0_usize..9, times in 0_usize..30) {
            let of = |seed| drawn(width * 2, height * 2, move |x, y| (grain(x, y, seed) as usize * times % 256) as u8);
            let look = Look::of(&of(seed), Some(&of(seed + 1)));
            for (name, value) in look.features() {
                let most = match name { "palette" => 8192.0, "noise" => 255.0, "saturation" => 1.5, _ => 1.0 };
                prop_assert!((0.0..=most).contains(&value), "{} {}", name, value);
            }
        }

        #[test]
        fn the_mean_of_one_look_is_that_look(luma: u8, times in 1_usize..9) {
            let look = Look::of(&drawn(64, 48, |x, y| luma.wrapping_add((x * y % 7) as u8)), None);
            let mut mean = Mean::default();
            (0..times).for_each(|_| mean.add(&look));
            for ((_, one), (_, other)) in mean.look().features().into_iter().zip(look.features()) {
                prop_assert!((one - other).abs() < 1e-9);
            }
        }
    }
}
