//! Which media libraries this program runs with, and whether they can do what the recipe needs.

use ffmpeg_next as ffmpeg;

/// A library and its version, such as `libavcodec` and `59.37.100`.
pub fn versions() -> Vec<(&'static str, String)> {
    let shown = |version: u32| format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff);
    vec![
        ("libavcodec", shown(ffmpeg::codec::version())),
        ("libavformat", shown(ffmpeg::format::version())),
        ("libavfilter", shown(ffmpeg::filter::version())),
        ("libswscale", shown(ffmpeg::software::scaling::version())),
        ("libswresample", shown(ffmpeg::software::resampling::version())),
    ]
}

/// Encoders and filters that the recipe needs and that these libraries lack.
pub fn lacking() -> Vec<&'static str> {
    let encoders = ["libx264", "aac", "mjpeg"].into_iter().filter(|name| ffmpeg::encoder::find_by_name(name).is_none());
    let filters =
        ["scale", "zscale", "tonemap", "yadif"].into_iter().filter(|name| ffmpeg::filter::find(name).is_none());
    encoders.chain(filters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_this_machine_have_everything() {
        assert_eq!(lacking(), Vec::<&str>::new());
        assert!(versions().iter().all(|(_, version)| version.split('.').count() == 3), "{:?}", versions());
    }
}
