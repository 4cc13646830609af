//! The contract with terminals and billing systems: `schema/messages`, `schema/examples` and
//! `schema/asyncapi.yaml`.
//!
//! All of it is generated from the message types and checked in, so that a change on the wire shows
//! as a change of these files.

mod asyncapi;
mod document;
mod examples;
mod generated;
mod schema;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use holdfast::message::command::Kind;
use holdfast::message::decode::{Decoded, decode, decode_query};
use holdfast::message::envelope::Received;
use jsonschema::Validator;
use serde_json::Value;

use examples::Example;

/// If this variable is 1, the tests write the files instead of comparing them.
const BLESS: &str = "HOLDFAST_BLESS";

fn directory(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("schema").join(name)
}

/// Compares a directory's files with `documents`. None may be missing or left over.
fn assert_checked_in(directory_name: &str, documents: &[(String, String)]) {
    let directory = directory(directory_name);
    let bless = std::env::var_os(BLESS).is_some_and(|value| value == "1");
    if bless {
        fs::create_dir_all(&directory).expect("the directory");
    }
    let mut left_over: BTreeSet<String> = fs::read_dir(&directory)
        .expect("the directory is checked in")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    let mut wrong = Vec::new();
    for (name, text) in documents {
        let file = format!("{name}.json");
        let path = directory.join(&file);
        left_over.remove(&file);
        if bless {
            fs::write(path, text).expect("written");
        } else if fs::read_to_string(path).ok().as_ref() != Some(text) {
            wrong.push(file);
        }
    }
    for file in left_over {
        if bless {
            fs::remove_file(directory.join(&file)).expect("removed");
        } else {
            wrong.push(file);
        }
    }
    assert!(
        wrong.is_empty(),
        "schema/{directory_name} is not what the types say: {}.\nIf the contract is meant to \
         change, run the tests once with {BLESS}=1, look at the difference, and commit it. Within \
         a major version messages only ever gain fields.",
        wrong.join(", ")
    );
}

fn pretty(value: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(value).expect("JSON") + "\n"
}

fn validator(name: &str) -> Validator {
    let schemas = schema::all();
    let (_, schema) = schemas.iter().find(|(known, _)| *known == name).expect("a schema");
    let options = jsonschema::options().should_validate_formats(true);
    options.build(schema.as_value()).expect("a valid schema")
}

fn assert_valid(validator: &Validator, name: &str, value: &Value) {
    let errors: Vec<String> =
        validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}");
}

#[test]
fn schemas_are_checked_in() {
    let documents: Vec<(String, String)> = schema::all()
        .into_iter()
        .map(|(name, schema)| {
            jsonschema::meta::validate(schema.as_value()).expect("a valid schema");
            (name.to_owned(), pretty(&schema))
        })
        .collect();
    assert_checked_in("messages", &documents);
}

#[test]
fn examples_are_checked_in() {
    let documents: Vec<(String, String)> = examples::all()
        .into_iter()
        .map(|example| (example.name.to_owned(), example.text.clone()))
        .collect();
    assert_checked_in("examples", &documents);
}

#[test]
fn every_schema_has_examples_that_it_admits() {
    let mut shown = BTreeSet::new();
    for Example { name, schema, text, .. } in examples::all() {
        let value: Value = serde_json::from_str(&text).expect("JSON");
        assert_valid(&validator(schema), name, &value);
        shown.insert(schema);
    }
    let all: BTreeSet<&str> = schema::all().iter().map(|(name, _)| *name).collect();
    assert_eq!(shown, all);
}

#[test]
fn examples_can_be_read_back() {
    for example in examples::all() {
        assert_eq!(example.read_back(), example.text, "{}", example.name);
    }
}

/// Schemas are strict: they refuse an example that lacks a required field, has an unknown word, or has
/// a value of another type.
#[test]
fn schemas_refuse_what_is_no_such_message() {
    for Example { name, schema, text, optional, .. } in examples::all() {
        let (validator, example) =
            (validator(schema), serde_json::from_str::<Value>(&text).expect("JSON"));
        for path in paths(&example) {
            let mut wrong = example.clone();
            *wrong.pointer_mut(&path).expect("it is there") = Value::Array(vec![0.into()]);
            assert!(!validator.is_valid(&wrong), "{name}: {path} may be anything");
            let mut without = example.clone();
            let (parent, field) = path.rsplit_once('/').expect("a path");
            if let Some(object) = without.pointer_mut(parent).and_then(Value::as_object_mut) {
                object.remove(field);
                let may_be_missing = optional.contains(&field);
                assert_eq!(validator.is_valid(&without), may_be_missing, "{name} without {path}");
            }
        }
        for word in ["type", "code", "retry", "reason", "state", "cancel_reason", "specversion"] {
            for path in paths(&example).iter().filter(|path| path.ends_with(&format!("/{word}"))) {
                let mut wrong = example.clone();
                *wrong.pointer_mut(path).expect("it is there") = "no_such_word".into();
                assert!(!validator.is_valid(&wrong), "{name}: {path} may be any word");
            }
        }
    }
}

/// JSON pointers to all values inside a document.
fn paths(value: &Value) -> Vec<String> {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(fields) => fields.iter().map(|(name, v)| (name.clone(), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    let below = |(name, value): (String, &Value)| {
        let here = format!("/{name}");
        let deeper = paths(value).into_iter().map(move |path| format!("/{name}{path}"));
        std::iter::once(here).chain(deeper).collect::<Vec<_>>()
    };
    inner.into_iter().flat_map(below).collect()
}

/// A message with a body, as a terminal sends it.
fn received(kind: Kind, body: &str) -> Received {
    let server = if kind.is_query() { "" } else { ".camera-1" };
    Received {
        routing_key: format!("terminal-1.{}{server}", kind.as_str()),
        user_id: Some("terminal-1".to_owned()),
        message_id: Some(examples::MESSAGE_ID.to_owned()),
        content_type: Some("application/json".to_owned()),
        body: body.as_bytes().to_vec(),
        ..Received::default()
    }
}

/// Whether the decoder accepts a body that a terminal sends.
fn is_decoded(kind: Kind, body: &str) -> bool {
    let received = received(kind, body);
    match kind.is_query() {
        true => matches!(decode_query(&received), Decoded::Input(_)),
        false => matches!(decode(&received, |account| account == "worker"), Decoded::Input(_)),
    }
}

/// The decoder accepts the body of a command or query exactly if its schema does.
#[test]
fn bodies_are_decoded_as_their_schemas_say() {
    for &kind in Kind::ALL {
        let name = schema::name_of(kind);
        let validator = validator(&name);
        let example = examples::all().into_iter().find(|e| e.name == name).expect("an example");
        let accepted = |text: &str| is_decoded(kind, text);
        assert!(accepted(&example.text), "{name}");

        let example: Value = serde_json::from_str(&example.text).expect("JSON");
        let mut variants = vec![Value::Null, Value::Array(Vec::new()), example.clone()];
        let mut extra = example.clone();
        extra["note"] = "please".into();
        variants.push(extra);
        for path in paths(&example) {
            let others = [Value::Null, 7.into(), "".into(), "no_such_form".into(), true.into()];
            for other in others {
                let mut changed = example.clone();
                *changed.pointer_mut(&path).expect("it is there") = other;
                variants.push(changed);
            }
            let mut without = example.clone();
            without.as_object_mut().expect("an object").remove(&path[1..]);
            variants.push(without);
        }
        for variant in variants {
            let admitted = validator.is_valid(&variant);
            assert_eq!(accepted(&variant.to_string()), admitted, "{name}: {variant}");
        }
    }
}

/// CloudEvents 1.0: required attributes are present, and all have the types of the specification.
#[test]
fn events_are_cloud_events() {
    let mut ids = BTreeSet::new();
    for example in examples::all().into_iter().filter(|e| e.name.starts_with("event.")) {
        let event: Value = serde_json::from_str(&example.text).expect("JSON");
        assert_eq!(event["specversion"], "1.0");
        for attribute in ["id", "source", "type", "subject", "datacontenttype", "time"] {
            assert!(event[attribute].as_str().is_some_and(|text| !text.is_empty()), "{attribute}");
        }
        assert_eq!(format!("event.{}", event["type"].as_str().expect("a text")), example.name);
        assert!(event["data"].is_object());
        assert_eq!(event["subject"], event["data"]["reservation"]);
        let plain = |name: &String| name.bytes().all(|b| b.is_ascii_lowercase());
        assert!(event.as_object().expect("an object").keys().all(plain), "attribute names");
        assert!(ids.insert(event["id"].to_string()), "ids differ");
    }
}
