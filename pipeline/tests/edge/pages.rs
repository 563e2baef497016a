//! The web page.

use pipeline::edge::Settings;

use crate::house::House;

/// Whether the page is there to be looked at; `./dev` builds it before the program.
fn is_page_built() -> bool {
    if !pipeline::edge::page::is_built() {
        println!("not run here: the page was not built before the program (./dev test builds it)");
    }
    pipeline::edge::page::is_built()
}

#[tokio::test]
async fn the_page_runs_nothing_but_its_own_files() {
    if !is_page_built() {
        return;
    }
    let house = House::with(Settings { public_path: "/video/".to_owned(), ..Settings::default() }).await;
    for (address, ancestors) in [("/", "'none'"), ("/jobs/x", "'none'"), ("/workers", "'none'"), ("/embed/x", "*")] {
        // Behind a proxy that strips its prefix, and behind one that does not.
        for prefix in ["", "/video"] {
            let page = house.get(&format!("{prefix}{address}")).await;
            assert_eq!(page.status(), 200, "{address}");
            let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
            assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self';"), "{policy}");
            assert!(policy.ends_with(&format!("frame-ancestors {ancestors}")), "{policy}");
            assert!(!policy.contains("unsafe-eval"));
            assert_eq!(page.headers()["x-content-type-options"], "nosniff");
            let html = page.text().await.unwrap();
            assert!(html.contains("<base href=\"/video/\">"), "{html}");
            for inline in ["<script>", "<style", " onclick", " onload", "javascript:", "http://", "https://"] {
                assert!(!html.contains(inline), "{inline}");
            }
            let named = html.split("\"assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
            let named: Vec<&str> = named.collect();
            assert!(named.len() >= 2, "{html}");
            for name in named {
                let file = house.get(&format!("{prefix}/assets/{name}")).await;
                assert_eq!((file.status().as_u16(), name.len() > 8), (200, true));
                assert!(file.headers()["cache-control"].to_str().unwrap().contains("immutable"));
            }
        }
    }
    assert_eq!(house.get("/assets/app.js").await.status(), 404);
    assert_eq!(house.get("/assets/index.html").await.status(), 404);
}

#[tokio::test]
async fn what_the_page_loads_before_the_player_is_small() {
    if !is_page_built() {
        return;
    }
    let house = House::new().await;
    let html = house.get("/").await.text().await.unwrap();
    let mut bytes = html.len();
    for name in html.split("\"assets/").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        let asked = house.http.get(house.url(&format!("/assets/{name}"))).header("accept-encoding", "br, gzip");
        let file = asked.send().await.unwrap();
        let is_packed = file.headers().get("content-encoding").is_some_and(|coding| coding == "gzip");
        let body = file.bytes().await.unwrap();
        assert!(is_packed || body.len() < 1_000, "{name}");
        bytes += body.len();
    }
    assert!(bytes < 200 << 10, "{bytes} bytes");
    println!("the page loads {bytes} bytes before the player");
}
