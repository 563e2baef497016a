//! Figures become sentences that say what a viewer sees and what the pipeline did about it.

use super::{Metric, RenditionQuality, Summaries, Summary};

/// Grades, best first: the mean luma PSNR and the mean SSIM that each asks for.
const GRADES: [(f64, f64, &str); 4] = [
    (44.0, 0.98, "It can hardly be told from its source"),
    (39.0, 0.95, "It is close to its source"),
    (35.0, 0.90, "It is softer than its source where much moves or much is drawn"),
    (31.0, 0.80, "It is clearly worse than its source"),
];
const WORST: &str = "It has lost much of its source";

/// The verdict on `rendition`, whose own `verdict` is not looked at.
pub fn of(rendition: &RenditionQuality) -> String {
    let Some((psnr, is_measured)) = psnr(&rendition.metrics) else {
        return "Nothing was measured yet.".to_owned();
    };
    let mut sentences = vec![grade(rendition, psnr)];
    sentences.push(spread(psnr, rendition.floor_db));
    sentences.extend(contract(rendition));
    if !is_measured {
        sentences.push(match &rendition.trouble {
            None => "So says the encoder; the decoded pictures have not been compared yet.".to_owned(),
            Some(trouble) => {
                let trouble = trouble.trim_end_matches('.');
                format!("So says the encoder; the decoded pictures could not be compared: {trouble}.")
            }
        });
    }
    if let Some(compared) = rendition.compared
        && compared < rendition.frames
    {
        sentences.push(format!("{compared} of its {} pictures have one of the source beside them.", rendition.frames));
    }
    sentences.join(" ")
}

/// PSNR of luma, and whether it is that of the decoded pictures.
fn psnr(metrics: &Summaries) -> Option<(&Summary, bool)> {
    let decoded = metrics.get(&Metric::PsnrY).map(|summary| (summary, true));
    decoded.or_else(|| metrics.get(&Metric::PsnrEncoded).map(|summary| (summary, false)))
}

fn grade(rendition: &RenditionQuality, psnr: &Summary) -> String {
    let ssim = rendition.metrics.get(&Metric::SsimAll);
    let reaches = |(db, least, _): &&(f64, f64, &str)| psnr.mean >= *db && ssim.is_none_or(|ssim| ssim.mean >= *least);
    let grade = GRADES.iter().find(reaches).map_or(WORST, |(_, _, words)| *words);
    match (ssim, rendition.metrics.get(&Metric::Vmaf)) {
        (Some(ssim), Some(vmaf)) => {
            format!("{grade}: {:.1} dB, SSIM {:.3} and VMAF {:.0} on average.", psnr.mean, ssim.mean, vmaf.mean)
        }
        (Some(ssim), None) => format!("{grade}: {:.1} dB and SSIM {:.3} on average.", psnr.mean, ssim.mean),
        (None, _) => format!("{grade}: {:.1} dB on average.", psnr.mean),
    }
}

fn spread(psnr: &Summary, floor_db: Option<u32>) -> String {
    let worst = if psnr.identical == Some(psnr.frames) {
        return "Every picture is that of the source.".to_owned();
    } else {
        format!("the worst picture, at {:.2} s, has {:.1} dB", psnr.worst_at_s, psnr.worst)
    };
    let floor = floor_db.map_or(f64::MIN, f64::from);
    let tail = if psnr.percentile_5 >= floor {
        format!("It is even: 19 pictures of 20 have {:.1} dB or more", psnr.percentile_5)
    } else {
        format!("It is uneven: 1 picture in 20 has {:.1} dB or less", psnr.percentile_5)
    };
    format!("{tail}, and {worst}.")
}

/// What was done for the floor.
fn contract(rendition: &RenditionQuality) -> Vec<String> {
    let chunks = rendition.chunks.len();
    let floor = rendition.floor_db.unwrap_or_default();
    let again = rendition.chunks.iter().filter(|chunk| chunk.again > 0).count();
    let mut said = Vec::new();
    if again > 0 {
        let (were, times) = (if again == 1 { "was" } else { "were" }, plural(rendition.encoded_again, "time"));
        said.push(format!(
            "{again} of {chunks} chunks {were} below the floor of {floor} dB and encoded again, {times} in all."
        ));
    }
    if rendition.cap_won > 0 {
        let they = if rendition.cap_won == 1 { "stays" } else { "stay" };
        let what = plural(rendition.cap_won, "chunk");
        said.push(format!("{what} {they} below it because the bitrate cap leaves no room: the cap won."));
    }
    let low = |chunk: &&super::ChunkQuality| {
        !chunk.cap_won && psnr(&chunk.metrics).is_some_and(|(psnr, _)| psnr.mean < f64::from(floor))
    };
    let low = rendition.chunks.iter().filter(low).count();
    if low > 0 {
        let they = if low == 1 { "stays" } else { "stay" };
        let what = plural(u32::try_from(low).unwrap_or(u32::MAX), "chunk");
        said.push(format!("{what} {they} below it although the cap leaves room."));
    }
    said
}

fn plural(count: u32, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::super::figures::{Figure, summarize};
    use super::super::{ChunkQuality, Summaries};
    use super::*;
    use crate::Claim;

    fn summary(metric: Metric, values: &[f64]) -> Summary {
        let figures =
            (0..).zip(values).map(|(frame, value)| Figure { frame, at_s: frame as f64 / 25.0, value: *value });
        summarize(metric, figures).unwrap()
    }

    fn rendition(psnr: &[f64], ssim: Option<&[f64]>) -> RenditionQuality {
        let mut metrics = Summaries::new();
        match ssim {
            Some(ssim) => {
                metrics.insert(Metric::PsnrY, summary(Metric::PsnrY, psnr));
                metrics.insert(Metric::SsimAll, summary(Metric::SsimAll, ssim));
            }
            None => drop(metrics.insert(Metric::PsnrEncoded, summary(Metric::PsnrEncoded, psnr))),
        }
        let frames = psnr.len() as u64;
        let (again, cap_won) = (0, false);
        let chunk =
            ChunkQuality { index: 0, start_s: 0.0, end_s: 1.0, frames, again, cap_won, metrics: metrics.clone() };
        RenditionQuality {
            quality: "360p".into(),
            width: 640,
            height: 360,
            verdict: String::new(),
            assessed: ssim.is_some(),
            frames,
            floor_db: Some(33),
            encoded_again: 0,
            cap_won: 0,
            metrics,
            chunks: vec![chunk],
            notes: Vec::new(),
            compared: ssim.map(|_| frames),
            maker: String::new(),
            timescale: 1000,
            trouble: None,
            table: Claim { uri: String::new(), size: 0, sha256: String::new() },
        }
    }

    #[test]
    fn a_good_rendition_is_called_good_with_its_figures() {
        assert_eq!(
            of(&rendition(&[42.0, 41.0, 40.0], Some(&[0.97, 0.96, 0.98]))),
            "It is close to its source: 41.0 dB and SSIM 0.970 on average. It is even: 19 pictures of 20 have 40.0 dB or \
             more, and the worst picture, at 0.08 s, has 40.0 dB."
        );
    }

    #[test]
    fn structure_that_is_lost_is_no_good_however_many_decibels_there_are() {
        assert!(of(&rendition(&[45.0], Some(&[0.7]))).starts_with("It has lost much of its source"));
        assert!(of(&rendition(&[28.0], Some(&[0.99]))).starts_with("It has lost much of its source"));
    }

    #[test]
    fn what_only_the_encoder_said_is_told_as_that() {
        let said = of(&rendition(&[40.0, 30.0], None));
        assert!(said.contains("It is uneven: 1 picture in 20 has 30.0 dB or less"), "{said}");
        assert!(said.ends_with("the decoded pictures have not been compared yet."), "{said}");
    }

    #[test]
    fn what_was_done_for_the_floor_is_told_and_that_the_cap_won() {
        let mut low = rendition(&[32.0], Some(&[0.9]));
        low.encoded_again = 2;
        low.chunks[0].again = 2;
        let said = of(&low);
        assert!(
            said.contains("1 of 1 chunks was below the floor of 33 dB and encoded again, 2 times in all."),
            "{said}"
        );
        assert!(said.contains("1 chunk stays below it although the cap leaves room."), "{said}");
        low.cap_won = 1;
        low.chunks[0].cap_won = true;
        let said = of(&low);
        assert!(said.contains("1 chunk stays below it because the bitrate cap leaves no room: the cap won."), "{said}");
        assert!(!said.contains("leaves room."), "{said}");
    }

    #[test]
    fn pictures_without_a_partner_and_pictures_without_an_error_are_told() {
        let mut some = rendition(&[40.0, 40.0], Some(&[0.99, 0.99]));
        some.compared = Some(1);
        assert!(of(&some).ends_with("1 of its 2 pictures have one of the source beside them."));
        let same = of(&rendition(&[f64::INFINITY], Some(&[1.0])));
        assert!(same.contains("Every picture is that of the source."), "{same}");
        let mut nothing = rendition(&[40.0], None);
        nothing.trouble = Some("the source is gone.".to_owned());
        assert!(of(&nothing).ends_with("the decoded pictures could not be compared: the source is gone."));
        nothing.metrics.clear();
        assert_eq!(of(&nothing), "Nothing was measured yet.");
    }
}
