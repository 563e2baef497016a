//! The floor of a rung.

use pipeline::media::{Encoded, Error, Request, Response, Sink, VideoTask, worker};
use schemas::quality::Metric;

use crate::house::House;

/// Six seconds of a flat picture, of which two in the middle are covered by noise of this strength.
fn starved(noise: u32) -> House {
    let arguments = format!(
        "-f lavfi -i color=gray:s=96x72:r=25:d=6,noise=alls={noise}:allf=t:enable='between(t,1.99,3.99)' -pix_fmt yuv420p \
         -c:v libx264 -qp 0 -preset ultrafast -g 50"
    );
    House::new("in.mp4", &arguments)
}

#[tokio::test]
async fn a_chunk_that_is_starved_is_encoded_again_and_no_other() {
    let house = starved(20);
    let chunks = {
        let probed = house.probe().await;
        house.transcode(probed).await
    };
    assert_eq!(chunks.len(), 3);
    let again: Vec<u32> = chunks.iter().map(|chunk| chunk.renditions[0].again).collect();
    assert_eq!(again, [0, 1, 0]);
    assert!(chunks.iter().all(|chunk| !chunk.renditions[0].cap_won));
    let asked = house.engine.again();
    assert_eq!((asked.len(), house.engine.encodings()), (1, 4), "{asked:?}");
    assert_eq!((asked[0].1.as_slice(), asked[0].2), (&["360p".to_owned()][..], 1));
    house.stitch(chunks).await;
    let report = &house.told().await.renditions[0];
    assert_eq!((report.encoded_again, report.cap_won, report.floor_db), (1, 0, Some(33)));
    let mean = report.chunks[1].metrics[&Metric::PsnrEncoded].mean;
    assert!(mean >= 33.0, "a step better it is above its floor: {mean}");
    let said = "1 of 3 chunks was below the floor of 33 dB and encoded again, 1 time in all.";
    assert!(report.verdict.contains(said), "{}", report.verdict);
}

#[tokio::test]
async fn a_chunk_is_encoded_again_twice_at_most_and_a_cap_that_leaves_no_room_wins() {
    let house = starved(40);
    house.ready().await;
    let report = &house.told().await.renditions[0];
    let again: Vec<u32> = report.chunks.iter().map(|chunk| chunk.again).collect();
    assert_eq!(again, [0, 2, 0]);
    let house = starved(100);
    house.ready().await;
    let report = &house.told().await.renditions[0];
    assert_eq!(report.cap_won, 1);
    assert!(report.chunks[1].cap_won && report.chunks[1].again <= 2, "{:?}", report.chunks);
    assert!(report.verdict.contains("the cap won"), "{}", report.verdict);
    // Better than the cap allows it did not get.
    let mean = report.chunks[1].metrics[&Metric::PsnrEncoded].mean;
    assert!(mean < 33.0, "{mean}");
}

#[tokio::test]
async fn what_was_encoded_again_is_the_same_each_time() {
    let (one, other) = (starved(20), starved(20));
    let probed = one.probe().await;
    let first = one.transcode(probed).await;
    let probed = other.probe().await;
    let second = other.transcode(probed).await;
    let made = |chunks: &[schemas::event::ChunkTranscoded]| {
        chunks.iter().map(|chunk| chunk.renditions.clone()).collect::<Vec<_>>()
    };
    assert_eq!(made(&first), made(&second));
}

/// Keeps bytes.
#[derive(Default)]
struct Kept(Vec<u8>);

impl Sink for Kept {
    fn bytes(&mut self, _: usize, bytes: &[u8]) -> Result<(), Error> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test]
async fn an_encoder_that_says_its_error_gives_the_same_bytes() {
    let house = House::new(
        "in.mp4",
        "-f lavfi -i testsrc2=size=640x360:rate=25:duration=3,noise=alls=8:allf=t -pix_fmt yuv420p -c:v libx264 -preset \
         ultrafast",
    );
    let probed = house.probe().await;
    let encode = |is_silent: bool| -> (Vec<u8>, Encoded) {
        let task = VideoTask {
            media: probed.media.clone(),
            start: None,
            end: None,
            decode_from: None,
            rungs: probed.rungs.clone(),
            largest: None,
            better: 0,
            is_silent,
        };
        let (mut kept, file) = (Kept::default(), std::fs::File::open(&house.source).unwrap());
        match worker::run(&Request::Video(task), file, &mut kept).unwrap() {
            Response::Encoded(encoded) => (kept.0, encoded),
            other => panic!("{other:?}"),
        }
    };
    let ((said_bytes, said), (silent_bytes, silent)) = (encode(false), encode(true));
    assert!(said_bytes == silent_bytes, "the flag must not change a byte");
    assert_eq!(said.renditions[0].psnr.len(), 2 * 75);
    assert!(silent.renditions[0].psnr.is_empty());
}
