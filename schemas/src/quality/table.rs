//! The figures of each frame, packed: a few bytes a frame.
//!
//! A row is a run of LEB128 numbers: ticks since the frame before (of the first one since zero), a number whose bits say which
//! metrics follow in the order of [`Metric::ALL`], and those, PSNR in hundredths of a decibel, SSIM in millionths above -1 and VMAF in
//! ten-thousandths.

use std::fmt::Write as _;

use super::Metric;
use super::psnr::MOST_DB;
use crate::manifest::samples::{BadTable, put, take};

/// Figures of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// When it is shown, ticks.
    pub pts: i64,
    /// One place per metric, in the order of [`Metric::ALL`].
    pub values: [Option<f64>; Metric::ALL.len()],
}

impl Row {
    /// A frame of which nothing is measured.
    pub fn at(pts: i64) -> Self {
        Self { pts, ..Self::default() }
    }

    /// The same with `value` of `metric`.
    pub fn with(mut self, metric: Metric, value: f64) -> Self {
        self.values[metric as usize] = Some(value);
        self
    }

    /// The figure of `metric`.
    pub fn value(&self, metric: Metric) -> Option<f64> {
        self.values[metric as usize]
    }
}

/// Steps of a packed figure in one.
fn steps(metric: Metric) -> f64 {
    match metric {
        Metric::Vmaf => 1e4,
        _ if metric.is_psnr() => 100.0,
        _ => 1e6,
    }
}

/// What is added so that a figure is never negative.
fn lift(metric: Metric) -> f64 {
    if matches!(metric, Metric::SsimY | Metric::SsimAll) { 1.0 } else { 0.0 }
}

/// The highest figure that is packed.
fn most(metric: Metric) -> f64 {
    match metric {
        Metric::Vmaf => 100.0,
        _ if metric.is_psnr() => MOST_DB,
        _ => 1.0,
    }
}

/// Packs `rows`, which must be in the order in which frames are shown, from zero on.
pub fn pack(rows: &[Row]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(rows.len() * 14);
    let mut before = 0;
    for row in rows {
        put(&mut packed, row.pts.saturating_sub(before).max(0).unsigned_abs());
        before = row.pts.max(before);
        let there = Metric::ALL.map(|metric| row.value(metric).filter(|value| !value.is_nan()));
        let bits = (0..).zip(there).filter(|(_, value)| value.is_some()).map(|(bit, _)| 1_u64 << bit).sum();
        put(&mut packed, bits);
        for (metric, value) in Metric::ALL.into_iter().zip(there) {
            if let Some(value) = value {
                let least = -lift(metric);
                let lifted = value.clamp(least, most(metric)) + lift(metric);
                put(&mut packed, (lifted * steps(metric)).round() as u64);
            }
        }
    }
    packed
}

/// Reads what [`pack`] wrote.
pub fn unpack(packed: &[u8]) -> Result<Vec<Row>, BadTable> {
    let mut rows = Vec::new();
    let (mut at, mut pts) = (0, 0_i64);
    while at < packed.len() {
        let bad = BadTable(at);
        let Some(next) = pts.checked_add_unsigned(take(packed, &mut at)?) else { return Err(bad) };
        pts = next;
        let bits = take(packed, &mut at)?;
        if bits >> Metric::ALL.len() != 0 {
            return Err(bad);
        }
        let mut row = Row::at(pts);
        for (bit, metric) in (0..).zip(Metric::ALL) {
            if bits >> bit & 1 == 1 {
                let value = take(packed, &mut at)? as f64 / steps(metric) - lift(metric);
                row = row.with(metric, value.min(most(metric)));
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// The first line of [`csv`].
pub fn csv_head() -> String {
    let names: Vec<&str> = Metric::ALL.into_iter().map(Metric::as_str).collect();
    format!("frame,time_s,{}\n", names.join(","))
}

/// `rows` as comma-separated values (RFC 4180), one line a frame; `first` is the number of the first one. What is not measured is
/// empty; PSNR of 100 is 100 dB or more, such as that of identical pictures.
pub fn csv(rows: &[Row], first: u64, timescale: u32) -> String {
    let mut text = String::with_capacity(rows.len() * 56);
    for (frame, row) in (first..).zip(rows) {
        // Writing into a string cannot fail.
        let _ = write!(text, "{frame},{:.6}", row.pts as f64 / f64::from(timescale.max(1)));
        for metric in Metric::ALL {
            let _ = match row.value(metric) {
                Some(value) if metric.is_psnr() => write!(text, ",{value:.2}"),
                Some(value) if metric == Metric::Vmaf => write!(text, ",{value:.4}"),
                Some(value) => write!(text, ",{value:.6}"),
                None => write!(text, ","),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_table_is_a_few_bytes_a_frame_and_becomes_lines() {
        let rows = [
            Row::at(0).with(Metric::PsnrEncoded, 41.25),
            Row::at(512).with(Metric::PsnrY, 100.0).with(Metric::SsimAll, 0.987_654).with(Metric::Vmaf, 93.125_71),
        ];
        let packed = pack(&rows);
        assert!(packed.len() < 20, "{} bytes", packed.len());
        let text = csv_head() + &csv(&unpack(&packed).unwrap(), 0, 12_800);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "frame,time_s,psnr_encoded,psnr_y,psnr_all,ssim_y,ssim_all,vmaf",
                "0,0.000000,41.25,,,,,",
                "1,0.040000,,100.00,,,0.987654,93.1257"
            ]
        );
    }

    fn value(metric: Metric) -> BoxedStrategy<Option<f64>> {
        let range = if matches!(metric, Metric::SsimAll) { -1.0..1.0 } else { 0.0..100.0 };
        prop_oneof![Just(None), range.prop_map(Some)].boxed()
    }

    proptest! {
        #[test]
        fn tables_read_back(
            raw in prop::collection::vec(
                (0..1_000_000_i64, value(Metric::PsnrEncoded), value(Metric::PsnrY), value(Metric::SsimAll), value(Metric::Vmaf)), 0..50)
        ) {
            let mut pts = 0;
            let mut rows = Vec::new();
            for (step, encoded, psnr, ssim, vmaf) in raw {
                pts += step;
                let mut row = Row::at(pts);
                row.values = [encoded, psnr, None, None, ssim, vmaf];
                rows.push(row);
            }
            let read = unpack(&pack(&rows)).unwrap();
            prop_assert_eq!(read.len(), rows.len());
            for (was, is) in rows.iter().zip(&read) {
                prop_assert_eq!(was.pts, is.pts);
                for metric in Metric::ALL {
                    match (was.value(metric), is.value(metric)) {
                        (Some(was), Some(is)) => prop_assert!((was - is).abs() <= 0.5001 / steps(metric)),
                        (was, is) => prop_assert_eq!(was, is),
                    }
                }
            }
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_panics(raw in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = unpack(&raw);
        }
    }
}
