//! Who uploads by tus, and under which names.

use pipeline::edge::Settings;
use pipeline::edge::cors::Origins;

use crate::house::{House, video_bytes};
use crate::tus::{header, request};

#[tokio::test]
async fn names_are_stored_harmless() {
    use base64::Engine as _;
    let house = House::new().await;
    let long = "é".repeat(4_000);
    let names = [
        ("../../etc/passwd", "passwd"),
        ("a\r\nX: y\u{0}.mp4", "aX: y.mp4"),
        ("gnp\u{202e}4pm.🎬.exe", "gnp4pm.🎬.exe"),
        (long.as_str(), &*"é".repeat(200)),
    ];
    for (name, shown) in names {
        let metadata = format!("filename {}", base64::prelude::BASE64_STANDARD.encode(name));
        let begin = request(&house, "POST", "/api/uploads").header("upload-length", 10);
        let answer = begin.header("upload-metadata", metadata).send().await.unwrap();
        let path = header(&answer, "location").unwrap().to_owned();
        assert_eq!(house.json(&path).await["name"], shown);
    }
}

#[tokio::test]
async fn pages_of_other_origins_may_upload_where_they_are_allowed() {
    let ask = |house: &House, method: &str, origin: &'static str| {
        let request = request(house, method, "/api/uploads").header("origin", origin);
        request.header("sec-fetch-site", "cross-site").header("upload-length", 10).send()
    };
    let open = House::new().await;
    let abilities = ask(&open, "OPTIONS", "https://other.example").await.unwrap();
    assert_eq!(abilities.status(), 204);
    assert_eq!(header(&abilities, "tus-version"), Some("1.0.0"));
    assert_eq!(header(&abilities, "tus-max-size"), Some("500000000"));
    let extensions = "creation,creation-with-upload,creation-defer-length,checksum,termination,expiration";
    assert_eq!(header(&abilities, "tus-extension"), Some(extensions));
    assert_eq!(header(&abilities, "tus-checksum-algorithm"), Some("sha1,sha256"));
    assert_eq!(header(&abilities, "access-control-allow-origin"), Some("*"));
    assert!(header(&abilities, "access-control-allow-methods").unwrap().contains("PATCH"));
    for name in ["Tus-Resumable", "Upload-Offset", "Upload-Metadata", "Content-Type", "Upload-Checksum"] {
        assert!(header(&abilities, "access-control-allow-headers").unwrap().contains(name), "{name}");
    }
    let begun = ask(&open, "POST", "https://other.example").await.unwrap();
    assert_eq!(begun.status(), 201);
    for name in ["Location", "Upload-Offset", "StreamForge-Job"] {
        assert!(header(&begun, "access-control-expose-headers").unwrap().contains(name), "{name}");
    }
    let only = Origins::Only(vec!["https://mine.example".to_owned()]);
    let strict = House::with(Settings { upload_origins: only, ..Settings::default() }).await;
    let mine = ask(&strict, "POST", "https://mine.example").await.unwrap();
    assert_eq!(header(&mine, "access-control-allow-origin"), Some("https://mine.example"));
    assert_eq!((mine.status().as_u16(), header(&mine, "vary")), (201, Some("Origin")));
    let other = ask(&strict, "POST", "https://other.example").await.unwrap();
    assert_eq!((other.status().as_u16(), header(&other, "access-control-allow-origin")), (403, None));
    // Forms of other pages stay where they are: they can send a file without being asked.
    let form = open.http.post(open.url("/api/upload")).header("sec-fetch-site", "cross-site").body(video_bytes(100));
    assert_eq!(form.send().await.unwrap().status(), 403);
}
