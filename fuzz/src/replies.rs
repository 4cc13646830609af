//! Fuzz target: readers of answers, notices and events.

use std::fmt::Debug;

use holdfast::client::Reply;
use holdfast::message::answer::{Answer, Notice};
use holdfast::message::event::{CancelledData, CloudEvent, ConfirmedData, CreditedData};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a reader reads of a body survives writing it again, and fields of later versions are
/// ignored.
pub fn run(input: &[u8]) {
    let reply = Reply {
        correlation_id: None,
        message_id: String::new(),
        type_name: String::new(),
        sent_at: None,
        trace: None,
        body: input.to_vec(),
    };
    let answer = reply.answer().ok().map(|answer| check_answer(input, &answer));
    let notice = reply.notice().ok().map(|notice| check_notice(input, &notice));
    assert!(answer.is_none() || notice.is_none(), "an answer is no notice");
    check_event::<ConfirmedData>(input);
    check_event::<CancelledData>(input);
    check_event::<CreditedData>(input);
}

fn check_answer(body: &[u8], answer: &Answer) {
    check_kept(body, answer);
    let written: Value = serde_json::from_str(&answer.to_json()).expect("JSON");
    assert_eq!(written["type"], answer.type_name());
}

fn check_notice(body: &[u8], notice: &Notice) {
    check_kept(body, notice);
    let written: Value = serde_json::from_str(&notice.to_json()).expect("JSON");
    assert_eq!(written["type"], notice.type_name());
    let again: Notice = serde_json::from_value(written).expect("a notice");
    assert_eq!(again.id(), notice.id(), "its id is the same on every sending");
}

fn check_event<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8]) {
    if let Ok(event) = serde_json::from_slice::<CloudEvent<T>>(body) {
        check_kept(body, &event);
    }
}

fn check_kept<T: Serialize + DeserializeOwned + PartialEq + Debug>(body: &[u8], value: &T) {
    let written = serde_json::to_string(value).expect("it can be written");
    let again: T = serde_json::from_str(&written).unwrap_or_else(|e| panic!("{e}: {written}"));
    assert_eq!(&again, value, "{written}");
    if let Ok(Value::Object(mut fields)) = serde_json::from_slice(body) {
        fields.insert("of_a_later_version".to_owned(), json!({ "more": [1, null] }));
        let read: T = serde_json::from_value(Value::Object(fields)).expect("the same and more");
        assert_eq!(&read, value);
    }
}
