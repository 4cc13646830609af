//! `schema/asyncapi.yaml` matches the types and the topology, and is valid by the JSON schema of
//! the specification, which is beside this file as its authors publish it (Apache License 2.0).

use std::collections::BTreeSet;

use holdfast::domain::refusal::Code;
use holdfast::message::command::Kind;
use serde_json::Value;

use super::{BLESS, directory, document as generator, examples};

const SPECIFICATION: &str = include_str!("asyncapi-3.0.0.schema.json");

fn document() -> Value {
    let examples: Vec<(&str, Value)> = examples::all()
        .iter()
        .map(|example| (example.schema, serde_json::from_str(&example.text).expect("JSON")))
        .collect();
    generator::document(&examples)
}

#[test]
fn it_is_checked_in() {
    let text = format!(
        "# Generated from the types by the tests (with {BLESS}=1): change those instead.\n{}",
        serde_yaml_ng::to_string(&document()).expect("YAML")
    );
    let path = directory("asyncapi.yaml");
    if std::env::var_os(BLESS).is_some_and(|value| value == "1") {
        std::fs::write(&path, &text).expect("written");
    }
    let written = std::fs::read_to_string(&path).expect("it is checked in");
    assert!(written == text, "schema/asyncapi.yaml differs: run the tests once with {BLESS}=1");
    let read: Value = serde_yaml_ng::from_str(&written).expect("YAML");
    assert_eq!(read, document(), "nothing is lost in YAML");
}

#[test]
fn it_follows_the_specification() {
    let specification: Value = serde_json::from_str(SPECIFICATION).expect("JSON");
    let validator = jsonschema::validator_for(&specification).expect("a schema");
    let document = document();
    let errors: Vec<String> = validator
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:#?}");
    // The schema does refuse an invalid document.
    let mut broken = document.clone();
    broken["channels"]["billing"]["messages"] = Value::Bool(true);
    assert!(!validator.is_valid(&broken));
}

/// Every reference in the document.
fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|value| references(value, found));
        }
        Value::Array(array) => array.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50, "{} references", found.len());
    for target in found {
        let pointer = target.strip_prefix('#').expect("inside the document");
        assert!(document.pointer(pointer).is_some(), "{target}");
    }
}

#[test]
fn it_covers_every_message_and_code() {
    let document = document();
    let messages = document["components"]["messages"].as_object().expect("messages");
    for example in examples::all() {
        let value: Value = serde_json::from_str(&example.text).expect("JSON");
        let name = match value["type"].as_str() {
            Some(kind) if !example.schema.starts_with("event.") => {
                format!("{}.{kind}", example.schema)
            }
            _ => example.schema.to_owned(),
        };
        let message = messages.get(&name).unwrap_or_else(|| panic!("{name} is missing"));
        let shown = message["examples"].as_array().expect("examples");
        assert!(shown.iter().any(|shown| shown["payload"] == value), "{name} without its example");
    }
    let operations = document["operations"].as_object().expect("operations");
    for kind in Kind::ALL {
        let replies = &operations[&format!("receive.{}", kind.as_str())]["reply"]["messages"];
        assert_eq!(replies.as_array().map(Vec::len), Some(2), "done, or refused");
    }
    let codes = document["x-codes"].as_array().expect("codes");
    let told: BTreeSet<&str> = codes.iter().filter_map(|code| code["code"].as_str()).collect();
    assert_eq!(told, Code::ALL.iter().map(|code| code.as_str()).collect());
}
