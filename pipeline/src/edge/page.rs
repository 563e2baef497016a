//! The web page, and the description of everything else.

use headers::HeaderValue;
use serde_json::Value;
use warp::http::HeaderMap;
use warp::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use warp::reply::Response;

const HTML: &str = include_str!("page/index.html");
const SCRIPT: &str = include_str!("page/app.js");
const STYLE: &str = include_str!("page/style.css");
const ICON: &str = include_str!("page/icon.svg");
const OPENAPI: &str = include_str!("page/openapi.json");

/// Nothing runs in the page but its own script, and nothing is sent anywhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src 'self' blob:; \
                      img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The file of the page that lies at `name`; the page itself at the empty name.
pub fn file(name: &str) -> Option<Response> {
    let (text, kind) = match name {
        "" => (HTML, "text/html; charset=utf-8"),
        "app.js" => (SCRIPT, "text/javascript; charset=utf-8"),
        "style.css" => (STYLE, "text/css; charset=utf-8"),
        "icon.svg" => (ICON, "image/svg+xml"),
        _ => return None,
    };
    let mut response = text_response(text.to_owned(), kind);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    Some(response)
}

/// The OpenAPI description, as seen below `prefix`.
pub fn openapi(prefix: &str) -> Response {
    let text = match serde_json::from_str::<Value>(OPENAPI) {
        Ok(mut document) => {
            document["servers"] = serde_json::json!([{ "url": if prefix.is_empty() { "/" } else { prefix } }]);
            document["info"]["version"] = Value::from(env!("CARGO_PKG_VERSION"));
            document.to_string()
        }
        Err(_) => OPENAPI.to_owned(),
    };
    text_response(text, "application/json")
}

fn text_response(text: String, kind: &'static str) -> Response {
    let mut response = Response::new(text.into());
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
