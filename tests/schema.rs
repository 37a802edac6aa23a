//! `doc/xen-handoff.schema.json`, and a reader of as much of JSON Schema as it uses: a document that is printed must be one of it. Used by
//! the tests of the tools; on its own it tests the reader.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by panicking"
)]

use serde_json::Value;

fn schema() -> Value {
    serde_json::from_str(include_str!("../doc/xen-handoff.schema.json")).unwrap()
}

/// What of this text is not as the schema of `command` says; empty if all is.
pub fn faults(command: &str, text: &str) -> Vec<String> {
    let schema = schema();
    match serde_json::from_str(text) {
        Ok(document) => check(&schema, &schema["$defs"][command], &document, command),
        Err(error) => vec![format!("no document: {error}: {text}")],
    }
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("a type {other}"),
    }
}

/// `2026-11-22T10:41:07Z`, with a fraction or without.
fn is_a_time(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let split = |text: &str, mark: char, sizes: [usize; 3]| {
        let parts: Vec<&str> = text.split(mark).collect();
        parts.len() == 3 && parts.iter().zip(sizes).all(|(part, size)| part.len() == size && digits(part))
    };
    let Some((date, clock)) = text.strip_suffix('Z').and_then(|text| text.split_once('T')) else {
        return false;
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    split(date, '-', [4, 2, 2]) && split(clock, ':', [2, 2, 2]) && digits(fraction)
}

/// The words of the schema that are understood here: no other may be in it, or it would be a rule that nobody keeps.
const WORDS: [&str; 13] = [
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "$ref",
    "format",
    "minimum",
    "maximum",
];

fn check(whole: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let rules = schema.as_object().unwrap_or_else(|| panic!("no schema for {at}"));
    let mut faults = Vec::new();
    let mut fault = |is: bool, what: &str| {
        if is {
            faults.push(format!("{at}: {what}: {value}"));
        }
    };
    if let Some(unknown) = rules.keys().find(|word| !WORDS.contains(&word.as_str())) {
        panic!("the schema says {unknown} of {at}");
    }
    let words = |name: &str| -> Vec<&str> {
        match &schema[name] {
            Value::String(word) => vec![word],
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
            _ => vec![],
        }
    };
    let types = words("type");
    fault(!types.is_empty() && !types.iter().any(|name| is_of_type(name, value)), "another type");
    fault(rules.get("const").is_some_and(|only| only != value), "another constant");
    fault(rules.get("enum").is_some_and(|all| !all.as_array().unwrap().contains(value)), "no such word");
    let number = value.as_f64();
    fault(
        rules.get("minimum").and_then(Value::as_f64).zip(number).is_some_and(|(least, is)| is < least),
        "too small",
    );
    fault(
        rules.get("maximum").and_then(Value::as_f64).zip(number).is_some_and(|(most, is)| is > most),
        "too large",
    );
    if schema["format"] == "date-time" {
        fault(value.as_str().is_some_and(|text| !is_a_time(text)), "no time");
    }
    if let Some(reference) = schema["$ref"].as_str() {
        let name = reference.strip_prefix("#/$defs/").unwrap();
        faults.extend(check(whole, &whole["$defs"][name], value, at));
    }
    if let Some(any) = schema["anyOf"].as_array() {
        let each: Vec<Vec<String>> = any.iter().map(|one| check(whole, one, value, at)).collect();
        if !each.iter().any(Vec::is_empty) {
            faults.extend(each.into_iter().flatten());
        }
    }
    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
        faults.extend(check(whole, &schema["items"], item, &format!("{at}[{n}]")));
    }
    if let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, field) in fields {
            match properties.get(name) {
                Some(property) => faults.extend(check(whole, property, field, &format!("{at}.{name}"))),
                None => faults.push(format!("{at}: the schema does not know {name}")),
            }
        }
        let missing = words("required").into_iter().filter(|name| !fields.contains_key(*name));
        faults.extend(missing.map(|name| format!("{at}: no {name}")));
    }
    faults
}

#[test]
fn a_document_that_is_not_as_the_schema_says_is_noticed() {
    let well = r#"{"schema_version":1,"command":"reach","at":"2026-11-22T10:41:07Z","caveat":null,
        "ways":[{"from":"n1","to":"n2","open":true,"seconds":0.5,"error":null}]}"#;
    assert_eq!(faults("reach", well), Vec::<String>::new());
    for (part, other) in [
        ("\"schema_version\":1", "\"schema_version\":2"),
        ("2026-11-22T10:41:07Z", "1795344067"),
        ("\"open\":true", "\"open\":\"yes\""),
        ("0.5", "-0.5"),
        ("\"error\":null", "\"errors\":null"),
        ("\"from\":\"n1\",", ""),
    ] {
        assert!(!faults("reach", &well.replace(part, other)).is_empty(), "{other}");
    }
    let schema = schema();
    assert_eq!(
        schema["oneOf"].as_array().unwrap().len() + 1,
        schema["$defs"].as_object().unwrap().len(),
        "and progress"
    );
}
