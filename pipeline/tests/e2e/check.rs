//! Compares what is played with what was uploaded.

use crate::measure::{Measured, Picture};
use crate::sound::Heard;

/// Longest that a single picture may be early or late against its neighbours, seconds: containers that count in
/// milliseconds round both times.
const JITTER: f64 = 0.003;

/// Longest that everything together may be shifted against the source's own zero, seconds.
const SHIFT: f64 = 0.03;

/// One AAC packet at 44.1 kHz: sound ends with a packet.
const PACKET: f64 = 1024.0 / 44_100.0;

/// Which allowances a comparison makes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allow {
    /// Some pictures of the source cannot be read.
    pub is_damaged: bool,
    /// Colours are not the source's but those of the drawing.
    pub is_hdr: bool,
}

/// Middle distance between pictures, seconds.
pub fn frame_time(pictures: &[Picture]) -> f64 {
    let mut gaps: Vec<f64> = pictures.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    gaps.sort_by(f64::total_cmp);
    gaps.get(gaps.len() / 2).copied().unwrap_or(0.04)
}

/// How far the worst beep is from its flash, seconds with its sign (positive: the beep is late); an error when a flash
/// has no beep although there is sound at that time.
pub fn beep_offset(pictures: &[Picture], sound: &Heard) -> Result<f64, String> {
    let beeps = sound.beeps();
    let (begin, end) = sound.audible();
    let mut worst = 0.0_f64;
    let mut was_flash = false;
    for picture in pictures {
        let starts = picture.is_flash && !was_flash;
        was_flash = picture.is_flash;
        if !starts || picture.at < begin - 0.02 || picture.at > end - 0.15 {
            continue;
        }
        let nearest = beeps.iter().map(|beep| beep - picture.at).min_by(|a, b| a.abs().total_cmp(&b.abs()));
        match nearest {
            Some(offset) if offset.abs() < 0.4 => {
                if offset.abs() > worst.abs() {
                    worst = offset;
                }
            }
            _ => return Err(format!("the flash at {:.3} s has no beep; beeps at {beeps:.3?}", picture.at)),
        }
    }
    Ok(worst)
}

/// Problems of the pictures of one rendition.
pub fn pictures(source: &[Picture], shown: &[Picture], origin: f64, allow: Allow) -> Vec<String> {
    let mut problems = Vec::new();
    if shown.len() != source.len() {
        problems.push(format!("{} pictures instead of {}: {}", shown.len(), source.len(), missing(source, shown)));
        return problems;
    }
    let unreadable = |pictures: &[Picture]| pictures.iter().filter(|picture| picture.number.is_none()).count();
    let spare = if allow.is_damaged { source.len() / 20 } else { 0 };
    if unreadable(shown) > unreadable(source) + spare {
        problems.push(format!("{} pictures cannot be read, {} in the source", unreadable(shown), unreadable(source)));
    }
    let wrong = source
        .iter()
        .zip(shown)
        .position(|(source, shown)| source.number.is_some() && shown.number.is_some() && source.number != shown.number);
    if let Some(at) = wrong {
        problems.push(format!("picture {at} is {:?} instead of {:?}", shown[at].number, source[at].number));
    }
    problems.extend(times(source, shown, origin));
    problems.extend(colours(source, shown, allow));
    problems
}

fn missing(source: &[Picture], shown: &[Picture]) -> String {
    let numbers = |pictures: &[Picture]| pictures.iter().filter_map(|picture| picture.number).collect::<Vec<_>>();
    let (before, after) = (numbers(source), numbers(shown));
    let lost: Vec<_> = before.iter().filter(|number| !after.contains(number)).take(8).collect();
    let twice: Vec<_> = after.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).take(8).collect();
    format!("lost {lost:?}, twice {twice:?}")
}

fn times(source: &[Picture], shown: &[Picture], origin: f64) -> Option<String> {
    let (Some(first_source), Some(first_shown)) = (source.first(), shown.first()) else { return None };
    let shift = first_shown.at - (first_source.at - origin);
    if shift.abs() > SHIFT {
        return Some(format!("begins at {:.4} s instead of {:.4} s", first_shown.at, first_source.at - origin));
    }
    let late = source.iter().zip(shown).enumerate().find_map(|(index, (source, shown))| {
        let late = (shown.at - first_shown.at) - (source.at - first_source.at);
        (late.abs() > JITTER).then_some((index, late))
    });
    late.map(|(index, late)| format!("picture {index} is {:.1} ms late against the first", late * 1e3))
}

fn colours(source: &[Picture], shown: &[Picture], allow: Allow) -> Vec<String> {
    let mean = |pictures: &[Picture], patch: usize| -> [f64; 3] {
        let sum = pictures.iter().fold([0.0; 3], |sum: [f64; 3], picture| {
            std::array::from_fn(|channel| sum[channel] + f64::from(picture.patches[patch][channel]))
        });
        sum.map(|value| value / pictures.len().max(1) as f64)
    };
    let black = shown.iter().map(|picture| f64::from(picture.black)).sum::<f64>() / shown.len().max(1) as f64;
    let mut problems = Vec::new();
    if black > 40.0 {
        problems.push(format!("black is {black:.0}"));
    }
    if allow.is_hdr {
        let [red, green, blue, gray, white] = std::array::from_fn(|patch| mean(shown, patch));
        let strong = |colour: [f64; 3], channel: usize| {
            (0..3).all(|other| other == channel || colour[channel] > colour[other] + 40.0)
        };
        let flat = |colour: [f64; 3]| colour.iter().all(|value| (value - colour[1]).abs() < 25.0);
        if !(strong(red, 0) && strong(green, 1) && strong(blue, 2) && flat(gray) && flat(white)) {
            problems.push(format!("colours fade: {red:.0?} {green:.0?} {blue:.0?} {gray:.0?} {white:.0?}"));
        }
        if white[1] < 150.0 || gray[1] > white[1] - 30.0 || gray[1] < black + 30.0 {
            problems.push(format!("levels are off: black {black:.0}, gray {:.0}, white {:.0}", gray[1], white[1]));
        }
    } else {
        for patch in 0..crate::clip::PATCHES.len() {
            let (before, after) = (mean(source, patch), mean(shown, patch));
            if before.iter().zip(after).any(|(before, after)| (before - after).abs() > 24.0) {
                problems.push(format!("{} is {after:.0?} instead of {before:.0?}", crate::clip::PATCHES[patch]));
            }
        }
    }
    problems
}

/// Problems of the sound, and of the sound against the pictures.
pub fn sound(source: &Measured, shown: &Measured, pictures: &[Picture], allow: Allow) -> Vec<String> {
    let mut problems = Vec::new();
    let (before, after) = match (&source.sound, &shown.sound) {
        (Some(before), Some(after)) => (before, after),
        _ => return problems,
    };
    let frame = frame_time(source.pictures());
    match (beep_offset(source.pictures(), before), beep_offset(pictures, after)) {
        (Ok(before), Ok(after)) if (after - before).abs() > frame || after.abs() > frame.max(before.abs()) + 0.002 => {
            problems.push(format!(
                "beeps are {:.1} ms from their flashes, {:.1} in the source",
                after * 1e3,
                before * 1e3
            ));
        }
        (Err(problem), _) => problems.push(format!("source: {problem}")),
        (_, Err(problem)) => problems.push(problem),
        _ => {}
    }
    if after.beeps().len() != before.beeps().len() {
        problems.push(format!("{} beeps instead of {}", after.beeps().len(), before.beeps().len()));
    }
    if after.worst_gap() > 2.0 / after.rate {
        problems.push(format!("sound has a gap of {:.1} ms", after.worst_gap() * 1e3));
    }
    let (broken, was_broken) = (after.breaks(), before.breaks());
    // What was unreadable is silence here and a hole there.
    let spare = if allow.is_damaged { 10 } else { 0 };
    if broken.len() > was_broken.len() + spare {
        problems.push(format!("the tone breaks at {:.2?} s, in the source at {was_broken:.2?} s", first_of(&broken)));
    }
    let length = |heard: &Heard| heard.audible().1 - heard.audible().0;
    let (was, is) = (length(before), length(after));
    if (was - is).abs() > frame.max(PACKET) + JITTER {
        problems.push(format!("sound lasts {is:.3} s instead of {was:.3} s"));
    }
    problems
}

fn first_of(times: &[f64]) -> &[f64] {
    &times[..times.len().min(6)]
}

/// When the source ends by its own clock, seconds from its origin; its last picture is held for `hold` seconds more.
pub fn duration(source: &Measured, hold: f64) -> f64 {
    let pictures = source.pictures();
    let picture = pictures.last().map(|picture| picture.at + frame_time(pictures) + hold);
    let sound = source.sound.as_ref().and_then(Heard::end);
    picture.into_iter().chain(sound).fold(0.0, f64::max) - source.origin()
}
