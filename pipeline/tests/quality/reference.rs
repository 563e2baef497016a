//! What ffmpeg's own filters say of two files.

use std::path::Path;
use std::process::Command;

/// Figures of one frame: PSNR of luma and over all planes, SSIM of luma and over all planes.
pub type Frame = [f64; 4];

/// What the filters `psnr` and `ssim` say of `rendition`, of the size `width` x `height`, beside `source` behind `filters`.
pub fn frames(rendition: &Path, source: &Path, filters: &str, (width, height): (u32, u32)) -> Vec<Frame> {
    let folder = tempfile::tempdir().unwrap();
    let (psnr, ssim) = (folder.path().join("psnr"), folder.path().join("ssim"));
    let scale =
        format!("{filters}scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int+bitexact:out_range=tv");
    // Frames are paired by their numbers: times of two containers differ by what their ticks allow.
    let graph = format!(
        "[0:v]settb=1/1000,setpts=N*40,split[a][b];[1:v]{scale},format=yuv420p,settb=1/1000,setpts=N*40,split[c][d];\
         [a][c]psnr=stats_file={}[x];[b][d]ssim=stats_file={}[y]",
        psnr.display(),
        ssim.display()
    );
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(rendition)
        .arg("-i")
        .arg(source)
        .args(["-lavfi", &graph, "-map", "[x]", "-fps_mode", "passthrough", "-f", "null", "-"])
        .args(["-map", "[y]", "-fps_mode", "passthrough", "-f", "null", "-"])
        .status()
        .expect("ffmpeg is installed");
    assert!(status.success(), "ffmpeg -lavfi {graph}");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let (psnr, ssim) = (read(&psnr), read(&ssim));
    assert_eq!(psnr.lines().count(), ssim.lines().count());
    let frame = |(psnr, ssim): (&str, &str)| {
        [field(psnr, "psnr_y:"), field(psnr, "psnr_avg:"), field(ssim, "Y:"), field(ssim, "All:")]
    };
    psnr.lines().zip(ssim.lines()).map(frame).collect()
}

/// What the filter `libvmaf` says of each frame; nothing when ffmpeg has no such filter.
pub fn vmaf(rendition: &Path, source: &Path, (width, height): (u32, u32)) -> Option<Vec<f64>> {
    let known = Command::new("ffmpeg").args(["-v", "error", "-filters"]).output().expect("ffmpeg is installed");
    if !String::from_utf8_lossy(&known.stdout).contains(" libvmaf ") {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("vmaf.csv");
    let graph = format!(
        "[0:v]settb=1/1000,setpts=N*40[a];[1:v]scale={width}:{height}:flags=bicubic+accurate_rnd+full_chroma_int+bitexact:\
         out_range=tv,format=yuv420p,settb=1/1000,setpts=N*40[c];[a][c]libvmaf=log_fmt=csv:log_path={}",
        log.display()
    );
    let command = Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(rendition)
        .arg("-i")
        .arg(source)
        .args(["-lavfi", &graph, "-f", "null", "-"])
        .status();
    assert!(command.expect("ffmpeg is installed").success(), "ffmpeg -lavfi {graph}");
    let text = std::fs::read_to_string(log).unwrap();
    let column = text.lines().next().unwrap().split(',').position(|name| name == "vmaf").unwrap();
    Some(text.lines().skip(1).map(|line| line.split(',').nth(column).unwrap().parse().unwrap()).collect())
}

/// The figure behind `name` in a line such as `n:1 mse_avg:17.29 … psnr_y:35.80`.
fn field(line: &str, name: &str) -> f64 {
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(name));
    found.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
}
