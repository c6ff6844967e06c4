//! The schemas of structured answers, as `response_format` has them.

use serde_json::{Value, json};

/// A number from 0 to 1 under a name that says what it is.
pub(super) fn purchase() -> Value {
    named(
        "purchase",
        &json!({
            "type": "object",
            "properties": {"probability": {"type": "number", "minimum": 0, "maximum": 1}},
            "required": ["probability"],
            "additionalProperties": false,
        }),
    )
}

/// Three to five items and a sentence on all of them. The lengths keep small models from never coming to an end.
pub(super) fn outfit() -> Value {
    let text = |least: u32, most: u32| json!({"type": "string", "minLength": least, "maxLength": most});
    let item = json!({
        "type": "object",
        "properties": {"emoji": text(1, 8), "category": text(2, 40), "description": text(10, 200)},
        "required": ["emoji", "category", "description"],
        "additionalProperties": false,
    });
    named(
        "outfit",
        &json!({
            "type": "object",
            "properties": {
                "items": {"type": "array", "minItems": 3, "maxItems": 5, "items": item},
                "summary": text(10, 300),
            },
            "required": ["items", "summary"],
            "additionalProperties": false,
        }),
    )
}

fn named(name: &str, schema: &Value) -> Value {
    json!({"type": "json_schema", "json_schema": {"name": name, "strict": true, "schema": schema}})
}
