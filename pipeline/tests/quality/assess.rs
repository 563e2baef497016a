//! Figures of frames.

use schemas::quality::table::Row;
use schemas::quality::{Metric, RenditionQuality};

use crate::house::House;
use crate::reference;

/// Two pictures of which ffmpeg says that they are the same have as many decibels as are counted.
fn counted(decibels: f64) -> f64 {
    decibels.min(100.0)
}

/// Compares a report with what ffmpeg says of the same files.
fn compare(report: &RenditionQuality, rows: &[Row], said: &[reference::Frame], what: &str) {
    assert_eq!(rows.len(), said.len(), "{what}");
    let measured = [Metric::PsnrY, Metric::PsnrAll, Metric::SsimY, Metric::SsimAll];
    for (number, (row, said)) in rows.iter().zip(said).enumerate() {
        for (metric, said) in measured.into_iter().zip(said) {
            let found = row.value(metric).unwrap_or_else(|| panic!("{what}: frame {number} has no {metric:?}"));
            let (said, most) = if metric.is_psnr() { (counted(*said), 0.01) } else { (*said, 0.001) };
            assert!((found - said).abs() <= most + 1e-9, "{what}: frame {number}, {metric:?}: {found} and {said}");
        }
    }
    for (place, metric) in measured.into_iter().enumerate() {
        let said = said.iter().map(|frame| if metric.is_psnr() { counted(frame[place]) } else { frame[place] });
        let mean = said.clone().sum::<f64>() / said.len() as f64;
        let found = &report.metrics[&metric];
        let most = if metric.is_psnr() { 0.01 } else { 0.001 };
        assert!((found.mean - mean).abs() < most, "{what}: {metric:?}: {} and {mean}", found.mean);
        let worst = said.fold(f64::INFINITY, f64::min);
        assert!((found.worst - worst).abs() < most, "{what}: {metric:?}: {} and {worst}", found.worst);
    }
}

/// Compares the rows of a report with what ffmpeg's filter says, where there is one; both have it or neither.
fn compare_vmaf(rows: &[Row], said: Option<Vec<f64>>, what: &str) {
    let found: Option<Vec<f64>> = rows.iter().map(|row| row.value(Metric::Vmaf)).collect();
    match (found, said) {
        (Some(found), Some(said)) => {
            let most = found.iter().zip(&said).map(|(found, said)| (found - said).abs()).fold(0.0, f64::max);
            assert!(found.len() == said.len() && most < 0.01, "{what}: VMAF is off by up to {most}");
        }
        (None, None) => println!("not run here: VMAF needs an FFmpeg with libvmaf"),
        (found, said) => panic!("{what}: VMAF is measured by one alone: {} {}", found.is_some(), said.is_some()),
    }
}

/// Lets a video become ready and compares the reports on its renditions with ffmpeg's filters; `filters` stand before the scaler.
async fn check(house: &House, filters: &str, what: &str) -> Vec<RenditionQuality> {
    let mut reports = Vec::new();
    for event in house.ready().await {
        let assessed = house.assess(&event).await.unwrap();
        let (report, rows) = house.report(&assessed).await;
        let file = house.file(&event.quality).await;
        let said = reference::frames(&file, &house.source, filters, (event.width, event.height));
        let what = format!("{what} {}", event.quality);
        compare(&report, &rows, &said, &what);
        if filters.is_empty() {
            compare_vmaf(&rows, reference::vmaf(&file, &house.source, (event.width, event.height)), &what);
        }
        assert_eq!(report.compared, Some(event.frames), "{what}");
        assert_eq!(assessed.psnr_db, report.metrics[&Metric::PsnrY].mean, "{what}");
        assert!(report.notes.iter().all(|note| note.starts_with("VMAF")), "{what}: {:?}", report.notes);
        reports.push(report);
    }
    reports
}

#[tokio::test]
async fn figures_are_those_of_ffmpeg_s_filters_in_every_rendition_and_chunk() {
    let house = House::new(
        "in.mp4",
        "-f lavfi -i testsrc2=size=1280x720:rate=25:duration=5,noise=alls=6:allf=t -pix_fmt yuv420p -c:v libx264 \
         -preset ultrafast -g 25",
    );
    let reports = check(&house, "", "test picture").await;
    assert_eq!(reports.iter().map(|report| report.quality.as_str()).collect::<Vec<_>>(), ["720p", "360p"]);
    for report in &reports {
        assert!(report.chunks.len() > 1, "{report:?}");
        let all = &report.metrics[&Metric::SsimAll];
        let by_chunk: f64 =
            report.chunks.iter().map(|chunk| chunk.metrics[&Metric::SsimAll].mean * chunk.frames as f64).sum();
        assert!((by_chunk / report.frames as f64 - all.mean).abs() < 1e-9);
        assert!(all.worst <= all.percentile_5 && all.harmonic_mean <= all.mean);
    }
}

#[tokio::test]
async fn turned_interlaced_and_uneven_videos_are_compared_with_what_the_encoder_was_given() {
    let turned = House::new(
        "turned.mov",
        "-f lavfi -i testsrc2=size=320x240:rate=30000/1001:duration=3 -c:v libx264 -preset ultrafast -pix_fmt yuv420p \
         -metadata:s:v rotate=90",
    );
    check(&turned, "", "turned").await;
    let interlaced = House::new(
        "fields.mkv",
        "-f lavfi -i testsrc2=size=320x240:rate=50:duration=6 -vf interlace -flags +ildct+ilme -c:v libx264 -x264-params \
         interlaced=1 -g 25 -pix_fmt yuv420p",
    );
    let mut compared = 0;
    for event in interlaced.ready().await {
        let (report, _) = interlaced.report(&interlaced.assess(&event).await.unwrap()).await;
        assert_eq!(report.compared, Some(event.frames));
        // Were the fields woven otherwise than for the encoder, the frames where chunks begin would lie far off.
        let (said, found) = (&report.metrics[&Metric::PsnrEncoded], &report.metrics[&Metric::PsnrY]);
        assert!((said.worst - found.worst).abs() < 0.1, "{said:?} {found:?}");
        assert!(report.chunks.len() > 1, "{report:?}");
        compared += 1;
    }
    assert_eq!(compared, 1);
    let uneven = House::new(
        "uneven.mkv",
        "-f lavfi -i testsrc2=size=320x240:rate=25:duration=5 -vf select='not(mod(n\\,7))+gt(n\\,60)' -fps_mode vfr -c:v \
         libx264 -pix_fmt yuv420p",
    );
    check(&uneven, "", "uneven").await;
}

#[tokio::test]
async fn what_the_encoder_says_of_its_error_is_what_its_pictures_have() {
    let house = House::new(
        "in.mp4",
        "-f lavfi -i testsrc2=size=640x360:rate=25:duration=4,noise=alls=8:allf=t -pix_fmt yuv420p -c:v libx264 -preset \
         ultrafast",
    );
    let events = house.ready().await;
    let told = house.told().await;
    let before = &told.renditions[0];
    assert!(!before.assessed && before.compared.is_none() && before.verdict.contains("So says the encoder"));
    let said = &before.metrics[&Metric::PsnrEncoded];
    assert_eq!((said.frames, before.metrics.len()), (100, 1));
    let (report, rows) = house.report(&house.assess(&events[0]).await.unwrap()).await;
    let found = &report.metrics[&Metric::PsnrY];
    assert!((said.mean - found.mean).abs() < 0.02, "{} and {}", said.mean, found.mean);
    for row in rows {
        let (said, found) = (row.value(Metric::PsnrEncoded).unwrap(), row.value(Metric::PsnrY).unwrap());
        assert!((said - found).abs() < 0.2, "at {}: {said} and {found}", row.pts);
    }
}

#[tokio::test]
async fn one_frame_and_two_frames_have_a_report_and_identical_pictures_are_told() {
    for (frames, colour) in [(1, "testsrc2"), (2, "testsrc2"), (2, "color=black")] {
        let sep = if colour.contains('=') { ':' } else { '=' };
        let arguments = format!(
            "-f lavfi -i {colour}{sep}size=160x120:rate=25 -frames:v {frames} -c:v libx264 -preset ultrafast -pix_fmt yuv420p"
        );
        let house = House::new("in.mp4", &arguments);
        let reports = check(&house, "", &format!("{frames} of {colour}")).await;
        assert_eq!(reports.len(), 1);
        let found = &reports[0].metrics[&Metric::PsnrY];
        assert_eq!(found.frames, frames);
        if colour == "color=black" {
            assert_eq!((found.mean, found.identical), (100.0, Some(2)));
            assert!(reports[0].verdict.contains("Every picture is that of the source."), "{}", reports[0].verdict);
        }
    }
}

#[tokio::test]
async fn a_damaged_source_is_compared_where_pictures_belong_together() {
    let house = House::new(
        "in.ts",
        "-f lavfi -i testsrc2=size=320x240:rate=25:duration=8 -pix_fmt yuv420p -c:v libx264 -preset ultrafast -g 25",
    );
    let mut bytes = std::fs::read(&house.source).unwrap();
    let (from, to) = (bytes.len() * 2 / 5, bytes.len() * 3 / 5);
    bytes[from..to].fill(0x55);
    std::fs::write(&house.source, bytes).unwrap();
    for event in house.ready().await {
        let (report, rows) = house.report(&house.assess(&event).await.unwrap()).await;
        let compared = report.compared.unwrap();
        let paired = rows.iter().filter(|row| row.value(Metric::PsnrY).is_some()).count();
        assert_eq!((rows.len() as u64, paired as u64), (event.frames, compared), "{:?}", report.notes);
        // Far more than half of it is whole, and pictures that do not belong together would be far apart.
        assert!(compared * 2 > event.frames, "{compared} of {}", event.frames);
        assert!(report.metrics[&Metric::PsnrY].percentile_5 > 25.0, "{:?}", report.metrics[&Metric::PsnrY]);
    }
}
