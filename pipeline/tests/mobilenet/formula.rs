//! Weights and pictures that follow from a formula; the same as `reference/reference.py`.

use pipeline::ml::mobilenet::Picture;

use crate::numbers::numbers;

/// The parameter called `name`.
pub fn weight(name: &str, shape: &[usize]) -> Vec<f32> {
    let made = numbers(name, shape.iter().product());
    let (summand, factor) = if name.ends_with("normalization.weight") {
        (1.0, 0.2)
    } else if name.ends_with("normalization.bias") {
        (0.0, 0.3)
    } else if name.ends_with("running_mean") {
        (0.0, 0.2)
    } else if name.ends_with("running_var") {
        (1.0, 0.5)
    } else if name.ends_with(".bias") {
        (0.0, 0.1)
    } else {
        let is_wide = name.contains("expand_1x1") || name.starts_with("mobilenet_v2.conv_1x1");
        let sharpness = match name.starts_with("classifier") {
            true => 4.0,
            false if is_wide => 0.7,
            false => 1.5,
        };
        (0.0, sharpness * (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt())
    };
    made.map(|x| if summand == 0.0 { x * factor } else { summand + factor * x } as f32).collect()
}

/// What a network sees, `[1, 3, height, width]`.
pub fn seen(height: usize, width: usize) -> Vec<f32> {
    numbers("seen", 3 * height * width).map(|x| x as f32).collect()
}

/// Brighter to the right in red, downwards in green, and noise in all.
pub fn picture(width: u32, height: u32) -> Picture {
    let noise = numbers("picture", (3 * width * height) as usize).map(|x| ((x + 1.0) * 128.0) as u32);
    let rgb = noise.enumerate().map(|(at, noise)| {
        let (pixel, channel) = (at as u32 / 3, at % 3);
        let made = match channel {
            0 => pixel % width * 255 / (width - 1).max(1),
            1 => pixel / width * 255 / (height - 1).max(1),
            _ => 128,
        };
        ((2 * made + noise) / 3) as u8
    });
    Picture { width, height, rgb: rgb.collect(), most: 5 }
}
