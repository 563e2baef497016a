//! One request and what it may be answered.

use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBody;
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{ObjectBuilder, Schema as Shape, Type};
use utoipa::openapi::{Content, Ref, RefOr, Required};
use utoipa::{PartialSchema, ToSchema};

/// A schema and its name in the document.
pub(super) type Schema = (String, RefOr<Shape>);

/// Adds the schema of `T` and of all that it names.
pub(super) fn name<T: ToSchema>(schemas: &mut Vec<Schema>) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}

/// A part of an address.
#[derive(Clone, Copy)]
pub(super) struct PathPart {
    what: &'static str,
    example: &'static str,
}

/// Parts of addresses, by name.
pub(super) const PARAMETERS: [(&str, PathPart); 8] = [
    ("id", PathPart { what: "Id of the job, or of the upload that becomes it", example: "01JDKQ3V8Z6W5Y4X3T2S1R0QPN" }),
    ("quality", PathPart { what: "Name of the rung", example: "720p" }),
    ("track", PathPart { what: "Name of the rung, or `audio`", example: "720p" }),
    ("n", PathPart { what: "Number, from 0", example: "0" }),
    ("file", PathPart { what: "Number of the segment, from 0, or name of the captions' file", example: "0" }),
    ("letter", PathPart { what: "Id of the dead letter, as lists tell it", example: "probe:0:17" }),
    ("webhook", PathPart { what: "Id of the webhook", example: "01JDKQ3V8Z6W5Y4X3T2S1R0QPN" }),
    ("name", PathPart { what: "Name of a topic's subject", example: "upload.received-value" }),
];

impl PathPart {
    pub(super) fn described(self, name: &str) -> Parameter {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(self.what))
            .schema(Some(text()))
            .example(Some(self.example.into()))
            .build()
    }
}

/// A request and what it may be answered.
pub(super) struct Call {
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    body: Option<RequestBody>,
    answers: Vec<(u16, Response)>,
    problems: Vec<u16>,
    schemas: Vec<Schema>,
}

/// `GET path`, named `id`, which is told of in one `summary`.
pub(super) fn get(tag: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Call {
    Call::new(HttpMethod::Get, tag, path, id, summary)
}

/// `POST path`.
pub(super) fn post(tag: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Call {
    Call::new(HttpMethod::Post, tag, path, id, summary)
}

/// `DELETE path`.
pub(super) fn delete(tag: &'static str, path: &'static str, id: &'static str, summary: &'static str) -> Call {
    Call::new(HttpMethod::Delete, tag, path, id, summary)
}

impl Call {
    /// A call by any method.
    pub(super) fn new(
        method: HttpMethod,
        tag: &'static str,
        path: &'static str,
        id: impl Into<String>,
        summary: &'static str,
    ) -> Self {
        let operation = OperationBuilder::new().tag(tag).operation_id(Some(id)).summary(Some(summary));
        Self { method, path, operation, body: None, answers: Vec::new(), problems: Vec::new(), schemas: Vec::new() }
    }

    /// More about it.
    pub(super) fn about(mut self, text: &'static str) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    /// Takes `name` in the query.
    pub(super) fn query<T: PartialSchema>(self, name: &'static str, what: &'static str) -> Self {
        self.parameter(ParameterIn::Query, name, Required::False, T::schema(), what)
    }

    /// Takes the header `name`.
    pub(super) fn header(self, name: &'static str, required: Required, what: &'static str) -> Self {
        self.parameter(ParameterIn::Header, name, required, text().into(), what)
    }

    fn parameter(
        mut self,
        place: ParameterIn,
        name: &'static str,
        required: Required,
        schema: RefOr<Shape>,
        what: &'static str,
    ) -> Self {
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .schema(Some(schema))
            .description(Some(what));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// Takes a body of the media type `kind`, whose bytes are described by nothing else.
    pub(super) fn takes(self, kind: &'static str) -> Self {
        self.body(kind, Content::new(None::<RefOr<Shape>>))
    }

    /// Takes a form with one file.
    pub(super) fn takes_form(self) -> Self {
        let file = ObjectBuilder::new().property("file", text()).required("file");
        self.body("multipart/form-data", Content::new(Some(Shape::from(file))))
    }

    /// Takes `T` as JSON.
    pub(super) fn takes_json<T: ToSchema>(mut self) -> Self {
        name::<T>(&mut self.schemas);
        self.body("application/json", Content::new(Some(Ref::from_schema_name(T::name()))))
    }

    fn body(mut self, kind: &'static str, content: Content) -> Self {
        let body = self.body.get_or_insert_with(|| {
            let mut body = RequestBody::new();
            body.required = Some(Required::True);
            body
        });
        body.content.insert(kind.to_owned(), content.into());
        self
    }

    /// May answer `T` as JSON.
    pub(super) fn answers<T: ToSchema>(mut self, status: u16, what: &'static str) -> Self {
        name::<T>(&mut self.schemas);
        let content = Content::new(Some(Ref::from_schema_name(T::name())));
        self.answer(status, ResponseBuilder::new().description(what).content("application/json", content).build())
    }

    /// May answer text of the media type `kind`.
    pub(super) fn tells(self, status: u16, kind: &'static str, what: &'static str) -> Self {
        let content = Content::new(Some(Shape::from(text())));
        self.answer(status, ResponseBuilder::new().description(what).content(kind, content).build())
    }

    /// May answer bytes of one of the media types `kinds`.
    pub(super) fn gives(self, status: u16, kinds: &[&'static str], what: &'static str) -> Self {
        let content = || Content::new(None::<RefOr<Shape>>);
        let response = ResponseBuilder::new().description(what);
        let response = kinds.iter().fold(response, |response, kind| response.content(*kind, content()));
        self.answer(status, response.build())
    }

    /// May answer without a body.
    pub(super) fn bare(self, status: u16, what: &'static str) -> Self {
        self.answer(status, Response::new(what))
    }

    fn answer(mut self, status: u16, response: Response) -> Self {
        self.answers.push((status, response));
        self
    }

    /// The answer that was told last has the header `name`.
    pub(super) fn with(mut self, name: &'static str, what: &'static str) -> Self {
        let header = HeaderBuilder::new().schema(Some(text())).description(Some(what)).build();
        if let Some((_, response)) = self.answers.last_mut() {
            response.headers.insert(name.to_owned(), header.into());
        }
        self
    }

    /// May answer these problems.
    pub(super) fn problems(mut self, statuses: &[u16]) -> Self {
        self.problems.extend(statuses);
        self
    }

    /// Path, method and operation; the schemas that it names are added to `schemas`.
    pub(super) fn described(self, schemas: &mut Vec<Schema>) -> (&'static str, HttpMethod, OperationBuilder) {
        let mut operation = self.operation.request_body(self.body);
        for (name, _) in PARAMETERS.iter().filter(|(name, _)| self.path.contains(&format!("{{{name}}}"))) {
            operation = operation.parameter_ref(Ref::new(format!("#/components/parameters/{name}")));
        }
        for (status, response) in self.answers {
            operation = operation.response(status.to_string(), response);
        }
        for status in self.problems {
            operation = operation.response(status.to_string(), Ref::from_response_name(format!("P{status}")));
        }
        schemas.extend(self.schemas);
        (self.path, self.method, operation)
    }
}

fn text() -> utoipa::openapi::schema::Object {
    ObjectBuilder::new().schema_type(Type::String).build()
}
