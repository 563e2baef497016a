//! Answers are held against the description that the edge gives of itself.

use std::sync::OnceLock;

use jsonschema::Validator;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

/// The HTTP contract, and how answers are held against it.
pub struct Description(Value);

/// The description of this program; addresses in it are those without a prefix.
pub fn description() -> &'static Description {
    static DESCRIPTION: OnceLock<Description> = OnceLock::new();
    DESCRIPTION.get_or_init(|| Description(serde_json::to_value(pipeline::edge::openapi::document("")).unwrap()))
}

impl Description {
    /// Every operation: method, path and what is said of it.
    pub fn operations(&self) -> impl Iterator<Item = (Method, &str, &Value)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths.flat_map(|(path, item)| {
            let operations = item.as_object().unwrap().iter();
            operations
                .map(move |(method, operation)| (method.to_uppercase().parse().unwrap(), path.as_str(), operation))
        })
    }

    /// The operation for a request, if it is described.
    fn operation(&self, method: &Method, path: &str) -> Option<&Value> {
        let path = path.split(['?', '#']).next().unwrap();
        let found = self.operations().filter(|(of, template, _)| of == method && fits(template, path));
        // `/api/stream/{id}/poster.jpg` rather than `/api/stream/{id}/{quality}`.
        found.min_by_key(|(_, template, _)| template.matches('{').count()).map(|(.., operation)| operation)
    }

    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
        pointer.map_or(value, |pointer| self.0.pointer(pointer).unwrap())
    }

    /// What is wrong with an answer, by what is said of its address.
    pub fn faults(&self, asked: (&Method, &str), status: StatusCode, kind: &str, body: Option<&str>) -> Vec<String> {
        let (method, path) = asked;
        let Some(operation) = self.operation(method, path) else { return Vec::new() };
        // Every address says so of methods that it does not have; they are no part of a description.
        let Some(answer) = operation["responses"].get(status.as_str()) else {
            return vec![format!("{method} {path} may not answer {status}")];
        };
        let answer = self.resolved(answer);
        let media = kind.split(';').next().unwrap().trim();
        let Some(content) = answer["content"].as_object() else {
            let has_body = body.is_some_and(|body| !body.is_empty());
            return if has_body { vec![format!("{method} {path}: {status} has no body")] } else { Vec::new() };
        };
        if *method == Method::HEAD {
            return Vec::new();
        }
        let Some(content) = content.get(media) else {
            return vec![format!("{method} {path}: {status} is of no media type `{media}`")];
        };
        let Some((schema, body)) = content.get("schema").zip(body).filter(|_| media.ends_with("json")) else {
            return Vec::new();
        };
        let value: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON at {path}: {body}"));
        if schema["type"] == "string" {
            return Vec::new();
        }
        let errors = self.validator(schema);
        errors
            .iter_errors(&value)
            .map(|error| format!("{method} {path}: {error} at {}", error.instance_path()))
            .collect()
    }

    /// What holds values against the schema called `name`.
    pub fn of(&self, name: &str) -> Validator {
        self.validator(&json!({ "$ref": format!("#/components/schemas/{name}") }))
    }

    /// Stricter than the schemas of the document: a field that is not described is a fault.
    fn validator(&self, schema: &Value) -> Validator {
        let mut root = schema.clone();
        let mut components = self.0["components"].clone();
        let schemas = components["schemas"].as_object_mut().unwrap();
        let parts = |schema: &Value| schema["allOf"].as_array().cloned().unwrap_or_default();
        // Those that another schema adds fields to are judged together with it.
        let extended: Vec<Value> = schemas.values().flat_map(parts).map(|mut part| part["$ref"].take()).collect();
        for (name, schema) in schemas {
            let reference = Value::from(format!("#/components/schemas/{name}"));
            if (schema.get("properties").is_some() || schema.get("allOf").is_some()) && !extended.contains(&reference) {
                schema["unevaluatedProperties"] = json!(false);
            }
        }
        root["components"] = components;
        let options = jsonschema::options().with_draft(jsonschema::Draft::Draft202012).should_validate_formats(true);
        options.build(&root).unwrap()
    }
}

/// Whether `path` is one of those that `template` stands for.
fn fits(template: &str, path: &str) -> bool {
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let part_fits = |(ours, theirs): (&&str, &&str)| match (ours.find('{'), ours.find('}')) {
        (Some(from), Some(to)) => {
            let (before, after) = (&ours[..from], &ours[to + 1..]);
            theirs.len() > before.len() + after.len() && theirs.starts_with(before) && theirs.ends_with(after)
        }
        _ => ours == theirs,
    };
    ours.len() == theirs.len() && ours.iter().zip(&theirs).all(part_fits)
}
