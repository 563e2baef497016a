//! Requests to a StreamForge server. Every failure says what happened and what to do.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde_json::Value;

use super::failure::Failure;
use super::show;
use crate::stage::chain;

/// The server when nobody names one.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8080";

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long a short answer may take. Uploads and event streams have their own ideas of time.
const ANSWER: Duration = Duration::from_secs(30);

/// Longest answer that is kept in memory.
const LONGEST_ANSWER: usize = 64 << 20;

/// A server and how to talk to it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

impl Client {
    /// A client of the server at `server`, such as `http://127.0.0.1:8080` or `http://host/prefix`.
    pub fn new(server: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let what =
                format!("`{}` is no address of a server: {why}", show::plain(&crate::config::key::masked(server)));
            Failure::usage(what, "write --server http://127.0.0.1:8080, or set STREAMFORGE_SERVER")
        };
        // As with every setting, empty means that nobody has said anything.
        let server = if server.is_empty() { DEFAULT_SERVER } else { server };
        let mut base = Url::parse(server).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong("it must begin with http:// or https://"));
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err(wrong("it must end with the path"));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT).tcp_nodelay(true);
        let is_near = match base.host_str() {
            Some("localhost" | "[::1]") => true,
            Some(host) => host.starts_with("127."),
            None => false,
        };
        if is_near {
            // A proxy cannot reach this machine's own loopback.
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| Failure::failed(chain(&error), "start again"))?;
        Ok(Self { http, base })
    }

    /// The address of `path` on the server; `path` starts without a slash, its parts already encoded.
    pub fn address(&self, path: &str) -> String {
        format!("{}{}", self.base, path.trim_start_matches('/'))
    }

    /// The address of `link`, which an answer of the server has named. Links of a server that knows of its prefix have it already.
    pub fn linked(&self, link: &str) -> String {
        let prefix = self.base.path();
        self.address(link.strip_prefix(prefix).unwrap_or(link))
    }

    /// The server, for people.
    pub fn server(&self) -> String {
        let mut shown = self.base.clone();
        // Both refuse addresses without a host only, and those never get here.
        let _ = shown.set_username("");
        let _ = shown.set_password(None);
        shown.as_str().trim_end_matches('/').to_owned()
    }

    /// A request, to be sent with [`Client::send`].
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.address(path))
    }

    /// Sends `request`; an answer that says no is a failure with the server's own words.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.lost(&error))?;
        if response.status().is_success() { Ok(response) } else { Err(refused(response).await) }
    }

    /// The JSON at `path`.
    pub async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.json(self.request(Method::GET, path).timeout(ANSWER)).await
    }

    /// Sends a request without a body and forgets what the answer says.
    pub async fn ask(&self, method: Method, path: &str) -> Result<StatusCode, Failure> {
        Ok(self.send(self.request(method, path).timeout(ANSWER)).await?.status())
    }

    /// Sends `request` and reads its answer as JSON.
    pub async fn json(&self, request: RequestBuilder) -> Result<Value, Failure> {
        let mut response = self.send(request).await?;
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await.map_err(|error| self.lost(&error))? {
            if body.len() + bytes.len() > LONGEST_ANSWER {
                return Err(self.no_streamforge("its answer does not end"));
            }
            body.extend_from_slice(&bytes);
        }
        serde_json::from_slice(&body).map_err(|_| self.no_streamforge("its answer is no JSON"))
    }

    fn no_streamforge(&self, why: &str) -> Failure {
        let what = format!("{} does not answer like StreamForge: {why}", self.server());
        Failure::failed(what, "check the address in --server, its port and its path")
    }

    /// What a broken connection means.
    pub fn lost(&self, error: &reqwest::Error) -> Failure {
        let server = self.server();
        if error.is_timeout() && !error.is_connect() {
            let advice = "look at the server's log, or ask again later";
            return Failure::unreachable(format!("{server} did not answer in time"), advice);
        }
        if error.is_connect() || error.is_timeout() {
            let what = format!("cannot reach {server}: {}", root(error));
            return Failure::unreachable(what, "start it with `streamforge up`, or name another with --server");
        }
        let what = format!("the connection to {server} broke: {}", root(error));
        Failure::unreachable(what, "check that the server still runs, then ask again")
    }
}

/// The first cause, which says most in the fewest words.
fn root(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(cause) = error.source() {
        error = cause;
    }
    error.to_string()
}

/// A job's id as a part of a path; whatever else is written cannot be an id.
pub fn id_part(id: &str) -> Result<&str, Failure> {
    if !id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(id);
    }
    let what = format!("`{}` is no id of a job", show::plain(id));
    Err(Failure::usage(what, "`streamforge jobs` lists the ids"))
}

/// The server's own words, from `application/problem+json` where it speaks that.
pub(super) async fn refused(mut response: Response) -> Failure {
    let status = response.status();
    let mut body = Vec::new();
    while body.len() < 64 << 10 {
        match response.chunk().await {
            Ok(Some(bytes)) => body.extend_from_slice(&bytes),
            _ => break,
        }
    }
    let problem: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let word = |key: &str| problem[key].as_str().map(show::plain);
    let said = word("detail").or_else(|| word("title"));
    let said = said.unwrap_or_else(|| status.canonical_reason().unwrap_or("no reason given").to_lowercase());
    let code = word("code").map(|code| format!(", {code}")).unwrap_or_default();
    let what = format!("the server refused: {} ({}{code})", said.trim_end_matches('.'), status.as_u16());
    Failure::failed(what, advice(status))
}

fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "`streamforge jobs` lists what is there",
        StatusCode::CONFLICT => "`streamforge explain ID` says what it waits for",
        StatusCode::PAYLOAD_TOO_LARGE => "send a smaller file, or raise max_upload_bytes on the server",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "send MP4, MOV, AVI, WebM or MKV with a video track",
        StatusCode::INSUFFICIENT_STORAGE => "free some space on the server and send it again",
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => "ask again in a moment",
        status if status.is_server_error() => "look at the server's log",
        _ => "`streamforge help` says what can be asked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::failure::Exit;

    #[test]
    fn a_server_may_have_a_prefix() {
        for (server, address) in [
            ("http://host:1", "http://host:1/api/jobs"),
            ("http://host:1/", "http://host:1/api/jobs"),
            ("http://host/video", "http://host/video/api/jobs"),
        ] {
            assert_eq!(Client::new(server).unwrap().address("api/jobs"), address);
        }
    }

    #[test]
    fn links_of_a_server_have_its_prefix_once() {
        let plain = Client::new("http://host:1").unwrap();
        assert_eq!(plain.linked("/api/stream/a/720p"), "http://host:1/api/stream/a/720p");
        let behind = Client::new("http://host/video").unwrap();
        assert_eq!(behind.linked("/video/api/stream/a/720p"), "http://host/video/api/stream/a/720p");
        assert_eq!(behind.linked("/api/stream/a/720p"), "http://host/video/api/stream/a/720p", "it knows of no prefix");
    }

    #[test]
    fn a_server_that_is_none_is_wrong_usage_and_its_password_is_not_shown() {
        for server in ["host", "localhost:8080", "ftp://u:hunter2@host", "http://host/?a=b"] {
            let failure = Client::new(server).err().unwrap();
            assert_eq!(failure.exit, Exit::Usage, "{server}");
            assert!(!failure.what.contains("hunter2"), "{}", failure.what);
        }
        assert_eq!(Client::new("http://u:hunter2@host").unwrap().server(), "http://host");
        assert_eq!(Client::new("https://host/prefix").unwrap().server(), "https://host/prefix");
        assert_eq!(Client::new("").unwrap().server(), DEFAULT_SERVER, "empty means that nobody said anything");
    }

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        assert!(id_part("01JD0000000000000000000000").is_ok());
        for id in ["", "../jobs", "a/b", "a?b", "a b", "ä"] {
            assert_eq!(id_part(id).unwrap_err().exit, Exit::Usage, "{id}");
        }
    }
}
