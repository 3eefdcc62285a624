//! The API as an OpenAPI 3.1 document, made from the table of endpoints, the fields they take and the shapes they give.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use warp::http::StatusCode;

use super::answers::{Answer, Said, json as answer};
use super::form::{Field, Media};
use super::{Access, Call, ENDPOINTS, Endpoint, Verb};

/// The document itself.
pub(super) struct OpenApi;

impl JsonSchema for OpenApi {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "OpenApi".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "object" })
    }
}

/// What is wrong with the fields: for each its sentences, or those of its items by their index.
struct Wrong;

impl JsonSchema for Wrong {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Wrong".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let sentences = json!({ "type": "array", "items": { "type": "string" } });
        let items = json!({ "type": "object", "additionalProperties": sentences });
        let field = json!({ "anyOf": [sentences, items, { "type": "string" }] });
        schemars::json_schema!({ "type": "object", "additionalProperties": field })
    }
}

pub(super) async fn get(call: Call) -> Answer {
    Ok(answer(StatusCode::OK, &document(&call.app.config.base_url())))
}

/// The document of a server that is reached there.
pub fn document(public_url: &str) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
    });
    let mut schemas = settings.into_generator();
    let mut paths = Map::new();
    for endpoint in ENDPOINTS {
        paths.insert(named(endpoint.path), path(endpoint, &mut schemas));
    }
    let schemas = schemas.take_definitions(true);
    let about = "The API of the Django service that duet replaces. Dates are UTC.";
    json!({
        "openapi": "3.1.0",
        "info": { "title": "duet", "version": env!("CARGO_PKG_VERSION"), "description": about },
        "servers": [{ "url": public_url.trim_end_matches('/') }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
        },
    })
}

/// The parameters of a path have names.
fn named(path: &str) -> String {
    path.replacen("<id>", "{id}", 1).replacen("<id>", "{message_id}", 1)
}

fn path(endpoint: &Endpoint, schemas: &mut SchemaGenerator) -> Value {
    let mut item = Map::new();
    let whole = json!({ "type": "integer", "format": "int64", "minimum": 0 });
    let names = ["id", "message_id"].into_iter().take(endpoint.path.matches("<id>").count());
    let parameters: Vec<Value> =
        names.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": whole })).collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    for verb in endpoint.verbs {
        item.insert(verb.method.as_str().to_lowercase(), operation(endpoint, verb, schemas));
    }
    item.into()
}

fn operation(endpoint: &Endpoint, verb: &Verb, schemas: &mut SchemaGenerator) -> Value {
    let mut operation = Map::new();
    let id = format!("{} {}", verb.method, endpoint.name).to_lowercase().replace(' ', "_");
    operation.insert("operationId".to_owned(), id.into());
    operation.insert("summary".to_owned(), endpoint.name.into());
    if endpoint.access == Access::Needed {
        operation.insert("security".to_owned(), json!([{ "token": [] }]));
    }
    if !verb.takes.is_empty() {
        let [in_json, in_form, in_parts] =
            [Media::Json, Media::Form, Media::Parts].map(|media| fields(verb.takes, media));
        let content = json!({
            "application/json": { "schema": in_json },
            "application/x-www-form-urlencoded": { "schema": in_form },
            "multipart/form-data": { "schema": in_parts },
        });
        let required = verb.takes.iter().any(Field::is_required);
        operation.insert("requestBody".to_owned(), json!({ "required": required, "content": content }));
    }
    operation.insert("responses".to_owned(), responses(endpoint, verb, schemas));
    operation.into()
}

fn responses(endpoint: &Endpoint, verb: &Verb, schemas: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let done = match verb.status {
        204 => json!({ "description": "Done." }),
        _ => told("Done.", (verb.gives)(schemas)),
    };
    responses.insert(verb.status.to_string(), done);
    let detail = schemas.subschema_for::<Said>();
    let mut refusal = |status: u16, why: &str, schema: &Schema| {
        responses.entry(status.to_string()).or_insert_with(|| told(why, schema.clone()));
    };
    let takes_body = !matches!(verb.method.as_str(), "GET" | "DELETE");
    if takes_body {
        refusal(400, "Something is wrong with the request.", &schemas.subschema_for::<Wrong>());
        refusal(408, "The body did not come in time.", &detail);
        refusal(413, "The body is too large.", &detail);
        refusal(415, "The body is of a kind that is not read here.", &detail);
    }
    if endpoint.access != Access::Open || endpoint.path.starts_with("/api/token") {
        refusal(401, "Who are you?", &schemas.subschema_for::<Unauthorized>());
    }
    if endpoint.access == Access::Needed {
        refusal(403, "Seen, but not allowed.", &detail);
    }
    refusal(404, "Not there, or not yours to see.", &detail);
    if endpoint.path.contains("/users/") {
        // What is no number is no path at all.
        responses["404"]["content"]["text/html"] = json!({});
    }
    let mut refusal = |status: u16, why: &str, schema: &Schema| {
        responses.entry(status.to_string()).or_insert_with(|| told(why, schema.clone()));
    };
    refusal(406, "No format that the client accepts.", &detail);
    refusal(409, "A limit on how many there may be is reached.", &detail);
    refusal(429, "Too fast; `Retry-After` tells how long to wait.", &detail);
    refusal(503, "Not now; `Retry-After` tells how long to wait.", &detail);
    responses.into()
}

/// Who it is was not said, or not said well.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape for the document")]
struct Unauthorized {
    /// What is wrong.
    detail: String,
    /// The same for programs.
    code: Option<String>,
    /// What is wrong with the token.
    messages: Option<Vec<TokenMessage>>,
}

#[derive(JsonSchema)]
#[expect(dead_code, reason = "the shape for the document")]
struct TokenMessage {
    token_class: String,
    token_type: String,
    message: String,
}

fn told(description: &str, schema: Schema) -> Value {
    json!({
        "description": description,
        "content": { "application/json": { "schema": schema } },
    })
}

fn fields(takes: &[Field], media: Media) -> Value {
    let properties: Map<String, Value> =
        takes.iter().filter_map(|field| Some((field.name.to_owned(), field.schema(media)?))).collect();
    let required: Vec<&str> = takes.iter().filter(|field| field.is_required()).map(|field| field.name).collect();
    let mut schema = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    schema
}
