//! `/api/docs`: both descriptions as a page to read, without any script.

use std::fmt::Write as _;

use serde_json::Value;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark;\
color:light-dark(#1c1a24,#eceaf2);background:light-dark(#fbfaf8,#14121a)}a{color:light-dark(#9a3412,#fdba74)}h2{margin-top:2.5rem}\
summary{cursor:pointer;padding:.35rem 0}summary code{font-weight:600}details{border-bottom:1px solid #8884}dl{margin:.5rem 0 1rem 1rem}\
dt{font-weight:600}code,pre{font-family:ui-monospace,monospace;font-size:.92em}pre{overflow:auto;padding:.75rem;background:#8881;border-radius:.4rem}\
.verb{display:inline-block;min-width:4.2rem}@media(max-width:30rem){.verb{min-width:0}}";

/// The page, of an OpenAPI document and an AsyncAPI one, as seen below `prefix`.
pub fn page(openapi: &Value, asyncapi: &Value, prefix: &str) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>StreamForge: HTTP and events</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><style>{STYLE}</style></head><body>\
         <header><p><a href=\"{0}/\">StreamForge</a></p><h1>HTTP and events</h1><p>For programs: \
         <a href=\"{0}/api/openapi.json\">OpenAPI 3.1</a>, <a href=\"{0}/api/asyncapi.json\">AsyncAPI 3.1</a>, \
         <a href=\"{0}/api/registry/subjects\">schemas</a>.</p></header><main><h2 id=\"http\">HTTP</h2>",
        escaped(prefix)
    );
    for (path, item) in fields(&openapi["paths"]) {
        for (method, operation) in fields(item).filter(|(name, _)| *name != "parameters") {
            http(&mut html, path, method, item, operation, openapi);
        }
    }
    html.push_str("<h2 id=\"events\">Events</h2>");
    for (name, channel) in fields(&asyncapi["channels"]) {
        event(&mut html, name, channel, asyncapi);
    }
    html.push_str("</main></body></html>");
    html
}

fn http(html: &mut String, path: &str, method: &str, item: &Value, operation: &Value, document: &Value) {
    let _ = write!(
        html,
        "<details><summary><code class=\"verb\">{}</code> <code>{}</code> {}</summary>",
        escaped(&method.to_uppercase()),
        escaped(path),
        escaped(text(operation, "summary"))
    );
    let described = text(operation, "description");
    if !described.is_empty() {
        let _ = write!(html, "<p>{}</p>", escaped(described));
    }
    let parameters = [&item["parameters"], &operation["parameters"]];
    let parameters: Vec<&Value> = parameters.into_iter().filter_map(Value::as_array).flatten().collect();
    html.push_str("<dl>");
    for parameter in parameters {
        let parameter = resolved(parameter, document);
        let _ = write!(
            html,
            "<dt><code>{}</code> ({})</dt><dd>{}</dd>",
            escaped(text(parameter, "name")),
            escaped(text(parameter, "in")),
            escaped(text(parameter, "description"))
        );
    }
    for (status, answer) in fields(&operation["responses"]) {
        let said = text(resolved(answer, document), "description");
        let _ = write!(html, "<dt><code>{}</code></dt><dd>{}</dd>", escaped(status), escaped(said));
    }
    html.push_str("</dl></details>");
}

fn event(html: &mut String, name: &str, channel: &Value, document: &Value) {
    let message = &document["components"]["messages"][name];
    let schema = serde_json::to_string_pretty(&message["payload"]["schema"]).unwrap_or_default();
    let _ = write!(
        html,
        "<details><summary><code>{}</code></summary><p>{}</p><p>{}</p><pre>{}</pre></details>",
        escaped(name),
        escaped(text(channel, "description")),
        escaped(text(message, "description")),
        escaped(&schema)
    );
}

fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What `value` stands for, when it is a reference.
fn resolved<'a>(value: &'a Value, document: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| document.pointer(pointer)).unwrap_or(value)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_description_is_read_as_text_and_never_as_markup() {
        let openapi = json!({
            "paths": { "/api/<x>": {
                "parameters": [{ "$ref": "#/components/parameters/id" }],
                "get": { "summary": "Say \"a\" & <b>", "responses": { "200": { "description": "Fine" } } },
            } },
            "components": { "parameters": { "id": { "name": "id", "in": "path", "description": "Which" } } },
        });
        let page = page(&openapi, &super::super::asyncapi::document(""), "/video");
        assert!(page.contains("<code>/api/&lt;x&gt;</code> Say &quot;a&quot; &amp; &lt;b&gt;"));
        assert!(page.contains("<dt><code>id</code> (path)</dt><dd>Which</dd>") && page.contains("<dd>Fine</dd>"));
        assert!(
            page.contains("<summary><code>chunk.cut</code></summary>")
                && page.contains("href=\"/video/api/asyncapi.json\"")
        );
        assert!(!page.contains("<script"));
    }
}
