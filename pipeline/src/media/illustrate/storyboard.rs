//! Which moments a storyboard shows, its sheet, and the WebVTT that says which tile stands for which time.

use std::fmt::Write as _;

use super::Sheet;
use super::planes::Planes;

/// Most tiles on a sheet.
pub const MOST_TILES: usize = 100;

/// Tiles in a row.
pub const COLUMNS: usize = 10;

/// Shortest time that a tile stands for, microseconds.
const LEAST_US: i64 = 1_000_000;

/// The last tile shows a moment so long before the end, microseconds, at most.
const LAST_US: i64 = 1_000_000;

/// A tile: what time it stands for, and the moment that it shows, microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Where its time begins.
    pub start_us: i64,
    /// What it shows.
    pub shown_us: i64,
}

/// The moments of a video of `duration_us` with `frames` frames, at most `most`: equal shares of the time, each shown by its
/// middle, and the last by what is shown a second before the end where its middle is earlier.
pub fn times(duration_us: i64, frames: u64, most: usize) -> Vec<Moment> {
    let duration_us = duration_us.max(1);
    let seconds = usize::try_from(duration_us.saturating_add(LEAST_US - 1) / LEAST_US).unwrap_or(MOST_TILES);
    let count = seconds.min(usize::try_from(frames).unwrap_or(MOST_TILES)).clamp(1, MOST_TILES).min(most);
    let begins = |tile: usize| (i128::from(duration_us) * tile as i128 / count.max(1) as i128) as i64;
    (0..count)
        .map(|tile| {
            let (start_us, end_us) = (begins(tile), begins(tile + 1));
            let middle = start_us + (end_us - start_us) / 2;
            let shown_us = if tile + 1 == count { middle.max(end_us - LAST_US) } else { middle };
            Moment { start_us, shown_us }
        })
        .collect()
}

/// A storyboard under way.
pub struct Board {
    moments: Vec<Moment>,
    tiles: Vec<Planes>,
    size: (u32, u32),
    before: Option<Planes>,
}

impl Board {
    /// A board of tiles of `size` at `moments`; none where there are no moments.
    pub fn new(moments: Vec<Moment>, size: (u32, u32)) -> Option<Self> {
        (!moments.is_empty()).then(|| Self { moments, tiles: Vec::new(), size, before: None })
    }

    /// Takes note of the frame that is shown from `at_us` on.
    pub fn pass(&mut self, frame: Planes, at_us: i64) {
        while let Some(moment) = self.moments.get(self.tiles.len()) {
            // Up to now the frame before was shown; before the first one, nothing was.
            let shown = match &self.before {
                _ if moment.shown_us == at_us => &frame,
                Some(before) if moment.shown_us < at_us => before,
                None if moment.shown_us < at_us => &frame,
                _ => break,
            };
            self.tiles.push(shown.clone());
        }
        self.before = Some(frame);
    }

    /// The board when no frame follows; none where there was none.
    pub fn finish(mut self) -> Option<Self> {
        let last = self.before.take()?;
        self.tiles.resize(self.moments.len(), last);
        Some(self)
    }

    /// Every other tile, standing for its neighbour's time as well; none of one.
    pub fn thinned(&self) -> Option<Self> {
        if self.tiles.len() < 2 {
            return None;
        }
        // From the end, so that the last seconds keep their tile.
        let kept = |at: &usize| (self.tiles.len() - 1 - at).is_multiple_of(2);
        let places: Vec<usize> = (0..self.tiles.len()).filter(kept).collect();
        let mut moments: Vec<Moment> = Vec::new();
        let mut start_us = self.moments[0].start_us;
        for place in &places {
            moments.push(Moment { start_us, shown_us: self.moments[*place].shown_us });
            start_us = self.moments.get(place + 1).map_or(start_us, |next| next.start_us);
        }
        let tiles = places.iter().map(|place| self.tiles[*place].clone()).collect();
        Some(Self { moments, tiles, size: self.size, before: None })
    }

    /// Bytes of its cues, or a few more.
    pub fn cues_bytes(&self) -> u64 {
        8 + 84 * self.tiles.len() as u64
    }

    /// The sheet, and how it is laid out.
    pub fn sheet(&self) -> (Planes, Sheet) {
        let (width, height) = self.size;
        let columns = self.tiles.len().min(COLUMNS);
        let rows = self.tiles.len().div_ceil(COLUMNS);
        let (tile_width, tile_height) = (width as usize, height as usize);
        let mut planes = Planes::plain(columns * tile_width, rows * tile_height, [0, 128, 128]);
        for (at, tile) in self.tiles.iter().enumerate() {
            planes.paste(tile, at % COLUMNS * tile_width, at / COLUMNS * tile_height);
        }
        let starts_us = self.moments.iter().map(|moment| moment.start_us).collect();
        let sheet = Sheet { tile_width: width, tile_height: height, columns: columns as u32, starts_us };
        (planes, sheet)
    }
}

/// WebVTT (W3C, "WebVTT: The Web Video Text Tracks Format") whose cues name rectangles of `sprite` as media fragments (W3C, "Media
/// Fragments URI 1.0", section 4.2.2).
pub fn cues(sheet: &Sheet, duration_us: i64, sprite: &str) -> String {
    let mut text = String::from("WEBVTT\n");
    for (tile, start_us) in sheet.starts_us.iter().enumerate() {
        let end_us = sheet.starts_us.get(tile + 1).copied().unwrap_or(duration_us);
        let (start_ms, end_ms) = (start_us / 1000, (end_us / 1000).max(start_us / 1000 + 1));
        let (column, row) = (tile as u32 % sheet.columns.max(1), tile as u32 / sheet.columns.max(1));
        let (x, y) = (column * sheet.tile_width, row * sheet.tile_height);
        let (from, to) = (clock(start_ms), clock(end_ms));
        let _ = write!(text, "\n{from} --> {to}\n{sprite}#xywh={x},{y},{},{}\n", sheet.tile_width, sheet.tile_height);
    }
    text
}

fn clock(ms: i64) -> String {
    format!("{:02}:{:02}:{:02}.{:03}", ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cues_name_times_and_rectangles() {
        let sheet = Sheet { tile_width: 160, tile_height: 90, columns: 10, starts_us: vec![0, 1_000_000] };
        assert_eq!(
            cues(&sheet, 3_661_500_000, "storyboard.jpg"),
            "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\nstoryboard.jpg#xywh=0,0,160,90\n\n\
             00:00:01.000 --> 01:01:01.500\nstoryboard.jpg#xywh=160,0,160,90\n"
        );
    }

    #[test]
    fn a_tile_shows_the_frame_that_is_on_the_screen() {
        let moments = times(4_000_000, 4, MOST_TILES);
        assert_eq!(moments.len(), 4);
        let mut board = Board::new(moments, (2, 2)).unwrap();
        // Frames at 0 s, 2.4 s and 3.2 s.
        for (shade, at_us) in [(10, 0), (20, 2_400_000), (30, 3_200_000)] {
            board.pass(Planes::plain(2, 2, [shade, 128, 128]), at_us);
        }
        let board = board.finish().unwrap();
        let shades: Vec<u8> = board.tiles.iter().map(|tile| tile.y[0]).collect();
        assert_eq!(shades, [10, 10, 20, 30]);
        let half = board.thinned().unwrap();
        assert_eq!(half.tiles.iter().map(|tile| tile.y[0]).collect::<Vec<_>>(), [10, 30]);
        assert_eq!(half.sheet().1.starts_us, [0, 2_000_000], "the last seconds keep their tile");
        assert!(half.thinned().unwrap().thinned().is_none());
        assert!(Board::new(Vec::new(), (2, 2)).is_none());
    }

    proptest! {
        #[test]
        fn moments_cover_the_video_to_its_end(duration_us in -5_i64..50_000_000_000, frames in 0_u64..10_000, most in 1_usize..200) {
            let moments = times(duration_us, frames, most);
            prop_assert!((1..=MOST_TILES).contains(&moments.len()) && moments.len() <= most);
            prop_assert_eq!(moments[0].start_us, 0);
            prop_assert!(moments.windows(2).all(|pair| pair[0].start_us < pair[1].start_us || duration_us < 1000));
            prop_assert!(moments.iter().all(|moment| moment.shown_us >= moment.start_us));
            let last = moments[moments.len() - 1];
            prop_assert!(last.shown_us <= duration_us.max(1) && last.shown_us >= duration_us - LAST_US);
            let sheet = Sheet { tile_width: 2, tile_height: 2, columns: 10, starts_us: moments.iter().map(|m| m.start_us).collect() };
            let text = cues(&sheet, duration_us.max(1), "s.jpg");
            prop_assert_eq!(text.matches(" --> ").count(), moments.len());
            prop_assert!(text.len() <= 8 + 90 * moments.len());
        }
    }
}
