//! Weights and sound that follow from a formula; the same as `reference/formula.py`.

/// FNV-1a, 64 bits.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |value, byte| (value ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Numbers from -1 to below 1 in steps of 2^-23: SplitMix64, begun with the name's hash.
pub fn numbers(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = name_hash(name);
    (1..=count as u64).map(move |at| {
        let x = hash.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((x ^ (x >> 31)) >> 40) as f64 / f64::from(1 << 23) - 1.0
    })
}

/// The parameter called `name`; `end` and `zero` are the tokens that end a text and say 0.00.
pub fn weight(name: &str, shape: &[usize], end: usize, zero: usize) -> Vec<f32> {
    if name == "model.encoder.embed_positions.weight" {
        return pipeline::ml::whisper::positions::sinusoids(shape[0], shape[1]);
    }
    let made = numbers(name, shape.iter().product());
    if name.ends_with("layer_norm.weight") {
        return made.map(|x| (1.0 + 0.2 * x) as f32).collect();
    }
    if name.ends_with(".bias") {
        return made.map(|x| (0.1 * x) as f32).collect();
    }
    if name.ends_with("embed_tokens.weight") {
        let factor = |row: usize| {
            if row == end {
                2.5
            } else if row >= zero {
                1.2
            } else {
                1.0
            }
        };
        return made.enumerate().map(|(at, x)| (x * factor(at / shape[1])) as f32).collect();
    }
    if name.ends_with("embed_positions.weight") {
        return made.map(|x| (4.0 * x) as f32).collect();
    }
    let is_one_of = |parts: [&str; 2]| parts.iter().any(|part| name.contains(part));
    let sharpness = if is_one_of([".q_proj.", ".k_proj."]) {
        if name.contains("encoder_attn") { 3.0 } else { 1.7 }
    } else if name.contains("decoder") && is_one_of([".out_proj.", ".fc2."]) {
        3.0
    } else {
        1.0
    };
    let scale = sharpness * (3.0 / shape[1..].iter().product::<usize>() as f64).sqrt();
    made.map(|x| (x * scale) as f32).collect()
}

/// Mono at 16 kHz: three triangle waves that change every 0.4 s, some noise, and a pause in every third second.
pub fn sound(seconds: f64) -> Vec<f32> {
    let count = (seconds * 16_000.0) as usize;
    let made = numbers("sound", count).enumerate().map(|(at, noise)| {
        let piece = at / 6400;
        let waves = [90, 37, 11].into_iter().enumerate().fold(0.15 * noise, |sum, (wave, base)| {
            let period = base + piece * (7 + 4 * wave) % 29;
            let phase = (at % period) as f64 / period as f64;
            sum + 0.2 * ((4.0 * phase - 2.0).abs() - 1.0)
        });
        (if (at / 16_000) % 3 == 2 { waves * 0.001 } else { waves }) as f32
    });
    made.collect()
}
