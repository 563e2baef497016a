//! Sinusoidal positions.
//!
//! Vaswani et al. 2017, section 3.5, with sines in the first half of the width and cosines in the second.

/// `[length * width]`, row by row; `width` is even and at least 4.
pub fn sinusoids(length: usize, width: usize) -> Vec<f32> {
    let half = width / 2;
    let step = 10_000f64.ln() / half.saturating_sub(1).max(1) as f64;
    let angle = move |position: usize, at: usize| position as f64 * (-step * at as f64).exp();
    let rows = (0..length).flat_map(|position| {
        let sines = (0..half).map(move |at| angle(position, at).sin());
        let cosines = (0..half).map(move |at| angle(position, at).cos());
        sines.chain(cosines)
    });
    rows.map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_position_is_zero_and_one_and_all_are_different() {
        let rows = sinusoids(1500, 8);
        assert_eq!(rows[..8], [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]);
        let row = |at: usize| &rows[at * 8..][..8];
        let apart = |a: usize, b: usize| row(a).iter().zip(row(b)).map(|(x, y)| (x - y).abs()).sum::<f32>();
        assert!((1..1500).all(|at| apart(at, 0) > 1e-3 && apart(at, at - 1) > 1e-3));
    }

    #[test]
    fn the_slowest_wave_is_ten_thousand_times_slower() {
        let rows = sinusoids(3, 384);
        assert!((rows[384] - 1f32.sin()).abs() < 1e-6);
        assert!((rows[384 + 191] - 1e-4f32.sin()).abs() < 1e-9);
    }
}
