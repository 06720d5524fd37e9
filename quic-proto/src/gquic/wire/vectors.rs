//! The vectors of `testdata/gquic/`, for the tests of this family.

use serde_json::Value;

const UNITS: &str = include_str!("../../../testdata/gquic/unit.jsonl");

/// All vectors of one kind; there is at least one.
pub(crate) fn units(kind: &str) -> Vec<Value> {
    let lines = UNITS.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let units: Vec<Value> = lines.filter(|unit| unit["kind"] == kind).collect();
    assert!(!units.is_empty(), "no vectors of the kind {kind}");
    units
}

/// The bytes of a hexadecimal string.
pub(crate) fn bytes(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().unwrap();
    assert!(hex.len().is_multiple_of(2));
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// All lines of one event in a recorded connection; there is at least one.
pub(crate) fn recorded(scenario: &str, event: &str) -> Vec<Value> {
    let path = format!("{}/testdata/gquic/traces/{scenario}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let events: Vec<Value> = lines.filter(|line| line["event"] == event).collect();
    assert!(!events.is_empty(), "no {event} in {scenario}");
    events
}
