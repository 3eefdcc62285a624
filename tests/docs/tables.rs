//! The tables of the documents, made from the lists of the code, and the schema of the protocol.

use std::collections::BTreeMap;
use std::path::PathBuf;

use duet::config::{Config, SETTINGS};
use duet::error::{CloseCode, ErrorBody, ErrorCode};
use duet::protocol::{Command, CommandId, Event};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

/// The whole protocol as JSON Schema: each command's `data` and reply, each event's `data`, the frames around them.
pub fn schema() -> Value {
    let mut said = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut told = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let (mut commands, mut events) = (Map::new(), Map::new());
    for command in Command::ALL {
        let data = (command.input)(&mut said).to_value();
        let reply = (command.reply)(&mut told).to_value();
        commands.insert(command.name.to_owned(), json!({"description": command.summary, "data": data, "reply": reply}));
    }
    for event in Event::ALL {
        let data = (event.data)(&mut told).to_value();
        events.insert(event.name.to_owned(), json!({"description": event.summary, "data": data}));
    }
    let id = said.subschema_for::<CommandId>().to_value();
    let error = told.subschema_for::<ErrorBody<'static>>().to_value();
    let definitions = definitions(said, told);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The duet protocol",
        "description": "Shapes of the frames. protocol.md says what they mean.",
        "oneOf": [{"$ref": "#/$defs/CommandFrame"}, {"$ref": "#/$defs/ReplyFrame"}, {"$ref": "#/$defs/EventFrame"}],
        "commands": commands,
        "events": events,
        "$defs": with_frames(definitions, &id, &error),
    })
}

fn definitions(said: SchemaGenerator, told: SchemaGenerator) -> Map<String, Value> {
    let mut said = said;
    let mut told = told;
    let mut all = said.take_definitions(true);
    for (name, shape) in told.take_definitions(true) {
        // What is both said and told is one shape.
        let other = all.insert(name.clone(), shape.clone());
        assert!(other.is_none_or(|other| other == shape), "{name} has one shape when said, another when told");
    }
    all
}

fn with_frames(mut definitions: Map<String, Value>, id: &Value, error: &Value) -> Map<String, Value> {
    let names = |all: Vec<&'static str>| json!({"enum": all});
    let commands = names(Command::ALL.iter().map(|command| command.name).collect());
    let events = names(Event::ALL.iter().map(|event| event.name).collect());
    let frames = [
        (
            "CommandFrame",
            json!({"type": "object", "required": ["type"], "properties": {
                "id": id, "type": commands, "data": {"type": "object", "description": "See commands."}}}),
        ),
        (
            "ReplyFrame",
            json!({"type": "object", "required": ["ok"], "properties": {
                "id": id, "ok": {"type": "boolean"},
                "data": {"type": "object", "description": "When ok; see commands."}, "error": error},
                "oneOf": [{"required": ["data"]}, {"required": ["error"]}]}),
        ),
        (
            "EventFrame",
            json!({"type": "object", "required": ["type", "data"], "properties": {
                "type": events, "data": {"type": "object", "description": "See events."}}}),
        ),
    ];
    definitions.extend(frames.map(|(name, frame)| (name.to_owned(), frame)));
    definitions
}

/// A table of Markdown.
fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let row = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = row(head.iter().map(|&cell| cell.to_owned()).collect());
    text += &row(vec!["---".to_owned(); N]);
    for cells in rows {
        text += &row(cells.iter().map(|cell| cell.replace('|', "\\|")).collect());
    }
    text
}

/// Every command with its fields.
pub fn commands(schema: &Value) -> String {
    let rows = schema_order(Command::ALL.iter().map(|command| command.name), &schema["commands"]);
    let rows = rows.map(|(name, command)| {
        let fields: Vec<String> =
            fields(resolve(schema, &command["data"])).into_iter().map(|field| field.shown()).collect();
        let fields = if fields.is_empty() { "—".to_owned() } else { fields.join(", ") };
        [format!("`{name}`"), fields, type_of(&command["reply"]), text(&command["description"])]
    });
    table(["type", "data", "reply", "what it does"], rows)
}

/// Every event.
pub fn events(schema: &Value) -> String {
    let rows = schema_order(Event::ALL.iter().map(|event| event.name), &schema["events"]);
    let rows = rows.map(|(name, event)| [format!("`{name}`"), type_of(&event["data"]), text(&event["description"])]);
    table(["type", "data", "what it tells"], rows)
}

fn schema_order<'a>(
    names: impl Iterator<Item = &'static str> + 'a,
    all: &'a Value,
) -> impl Iterator<Item = (&'static str, &'a Value)> + 'a {
    names.map(|name| (name, &all[name]))
}

/// Every shape that a reply or an event is made of, field by field.
pub fn shapes(schema: &Value) -> String {
    let mut shown: BTreeMap<String, &Value> = BTreeMap::new();
    let told = schema["commands"].as_object().into_iter().flatten().map(|(_, command)| &command["reply"]);
    let told = told.chain(schema["events"].as_object().into_iter().flatten().map(|(_, event)| &event["data"]));
    told.chain([&schema["$defs"]["ReplyFrame"]["properties"]["error"]])
        .for_each(|shape| collect(schema, shape, &mut shown));
    let mut said: BTreeMap<String, &Value> = BTreeMap::new();
    for command in schema["commands"].as_object().into_iter().flatten().map(|(_, command)| &command["data"]) {
        // The input itself stands in the table of commands; what it is made of stands here.
        for field in resolve(schema, command)["properties"].as_object().into_iter().flatten() {
            collect(schema, field.1, &mut said);
        }
    }
    shown.extend(said);
    shown.iter().map(|(name, shape)| format!("#### {name}\n\n{}\n", one_shape(shape))).collect()
}

fn one_shape(shape: &Value) -> String {
    let about = text(&shape["description"]);
    let fields = fields(shape);
    if !fields.is_empty() {
        let rows = fields.into_iter().map(|field| [field.shown(), field.kind, field.about]);
        return format!("{about}\n\n{}", table(["field", "type", "meaning"], rows));
    }
    let values = shape["oneOf"].as_array().into_iter().flatten();
    let rows: Vec<[String; 2]> =
        values.map(|value| [format!("`{}`", text(&value["const"])), text(&value["description"])]).collect();
    match rows.is_empty() {
        true => format!("{about}\n"),
        false => format!("{about}\n\n{}", table(["value", "meaning"], rows)),
    }
}

/// A shape and all that it is made of, unless it is a plain number or text with a name.
fn collect<'a>(schema: &'a Value, shape: &'a Value, into: &mut BTreeMap<String, &'a Value>) {
    if let Some(name) = shape["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        let shape = &schema["$defs"][name];
        let plain = shape["properties"].is_null() && shape["oneOf"].is_null();
        if !plain && into.insert(name.to_owned(), shape).is_none() {
            collect_within(schema, shape, into);
        }
        return;
    }
    collect_within(schema, shape, into);
}

fn collect_within<'a>(schema: &'a Value, shape: &'a Value, into: &mut BTreeMap<String, &'a Value>) {
    match shape {
        Value::Object(all) => all.values().for_each(|value| collect(schema, value, into)),
        Value::Array(all) => all.iter().for_each(|value| collect(schema, value, into)),
        _ => {}
    }
}

struct Field {
    name: String,
    needed: bool,
    kind: String,
    about: String,
}

impl Field {
    fn shown(&self) -> String {
        format!("`{}{}`", self.name, if self.needed { "" } else { "?" })
    }
}

/// The fields of a shape: those that are always there first, in their order.
fn fields(shape: &Value) -> Vec<Field> {
    let properties = shape["properties"].as_object();
    let needed: Vec<String> = shape["required"].as_array().into_iter().flatten().map(text).collect();
    let all = properties.into_iter().flatten();
    let mut fields: Vec<Field> = all
        .map(|(name, field)| Field {
            name: name.clone(),
            needed: needed.contains(name),
            kind: type_of(field),
            about: text(&field["description"]),
        })
        .collect();
    fields.sort_by_key(|field| needed.iter().position(|name| *name == field.name).unwrap_or(usize::MAX));
    fields
}

/// What a field holds, in a word.
fn type_of(shape: &Value) -> String {
    if let Some(name) = shape["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        return name.to_owned();
    }
    if let Some(options) = shape["anyOf"].as_array() {
        let options: Vec<String> = options.iter().filter(|option| option["type"] != "null").map(type_of).collect();
        return options.join(" or ");
    }
    let kind = match &shape["type"] {
        Value::Array(kinds) => kinds.iter().map(text).find(|kind| kind != "null").unwrap_or_default(),
        kind => text(kind),
    };
    match kind.as_str() {
        "array" => format!("list of {}", type_of(&shape["items"])),
        "object" if !shape["additionalProperties"].is_null() && shape["properties"].is_null() => {
            format!("map to {}", type_of(&shape["additionalProperties"]))
        }
        "object" if !shape["patternProperties"].is_null() => "map by id".to_owned(),
        _ => kind,
    }
}

fn resolve<'a>(schema: &'a Value, shape: &'a Value) -> &'a Value {
    match shape["$ref"].as_str().and_then(|path| path.strip_prefix("#/$defs/")) {
        Some(name) => &schema["$defs"][name],
        None => shape,
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().replace('\n', " ")
}

/// Every error code.
pub fn errors() -> String {
    let rows = ErrorCode::ALL.iter().map(|code| {
        let again = if code.retryable() { "yes" } else { "no" };
        [format!("`{}`", code.as_str()), code.status().to_string(), again.to_owned(), code.meaning().to_owned()]
    });
    table(["code", "HTTP", "retryable", "meaning"], rows)
}

/// Every close code.
pub fn closes() -> String {
    let rows = CloseCode::ALL.iter().map(|code| {
        let again = if code.reconnect() { "yes" } else { "no" };
        [code.number().to_string(), again.to_owned(), code.meaning().to_owned()]
    });
    table(["code", "connect again by itself", "reason"], rows)
}

/// The limits that `hello` tells, with their defaults.
pub fn limits() -> String {
    let told = Config::default().told_limits();
    let rows = SETTINGS.iter().filter_map(|setting| {
        let limit = told.get(setting.name)?;
        Some([
            format!("`{}`", setting.name),
            limit.to_string(),
            setting.unit.to_owned(),
            setting.help.trim().to_owned(),
        ])
    });
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), told.len(), "every limit that is told is a setting");
    table(["limit", "default", "unit", "meaning"], rows)
}

/// Every setting.
pub fn settings() -> String {
    let rows = SETTINGS.iter().map(|setting| {
        let default = if setting.default.is_empty() { "—".to_owned() } else { format!("`{}`", setting.default) };
        [format!("`{}`", setting.name), default, setting.unit.to_owned(), setting.help.trim().to_owned()]
    });
    table(["setting", "default", "unit", "meaning"], rows)
}

/// Every file of `src` with the first sentence it says of itself.
pub fn map() -> String {
    let mut waiting = vec![super::path("src")];
    let mut files = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            match entry.is_dir() {
                true => waiting.push(entry),
                false => files.push(entry),
            }
        }
    }
    files.sort();
    let is_code = |file: &&PathBuf| {
        file.extension().is_some_and(|kind| kind == "rs") && file.file_name().is_some_and(|name| name != "tests.rs")
    };
    let rows = files.iter().filter(is_code).map(|file| {
        let name = file.strip_prefix(super::path("src")).expect("inside").display().to_string();
        let text = std::fs::read_to_string(file).expect("a text");
        let about: Vec<&str> = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim).collect();
        let about = about.join(" ");
        assert!(!about.is_empty(), "src/{name} does not say what it is");
        let sentence = about.split_once(". ").map_or(about.as_str(), |(first, _)| first).trim_end_matches('.');
        [format!("`{name}`"), sentence.split("  ").next().unwrap_or_default().to_owned()]
    });
    table(["file", "what it is"], rows)
}
