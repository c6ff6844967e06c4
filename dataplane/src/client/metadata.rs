//! What a predictor says of itself, read with patience: many leave out what they should say, or say more than is known here.

use serde_json::{Map, Value};

use crate::{
    model::{ModelMetadata, TensorMetadata},
    tensor::Datatype,
};

/// The extensions under which servers offer binary tensors.
const BINARY: [&str; 2] = ["binary_tensor_data", "binary_tensor_data_extension"];

/// The shape of what does not say its own: a column, as every input is that could be sent.
pub(super) const COLUMN: [i64; 2] = [-1, 1];

/// A model's metadata. What is missing is empty; what can't be used is left out, unless every request would need it.
///
/// # Errors
/// It is no metadata, or an input that has to be sent can't be; the text names it.
pub(super) fn read_model(body: &[u8], model: &str) -> Result<ModelMetadata, String> {
    let body: Value = serde_json::from_slice(body).map_err(|error| format!("its metadata can't be read: {error}"))?;
    let body = body.as_object().ok_or("its metadata are no JSON object")?;
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let versions = body.get("versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let properties = body.get("properties").and_then(Value::as_object).into_iter().flatten();
    Ok(ModelMetadata {
        name: text("name").unwrap_or(model).to_owned(),
        versions: versions.iter().filter_map(word).collect(),
        platform: text("platform").unwrap_or_default().to_owned(),
        inputs: tensors(body, "inputs")?,
        // Outputs are taken as they come.
        outputs: tensors(body, "outputs").unwrap_or_default(),
        properties: properties.filter_map(|(name, value)| Some((name.clone(), word(value)?))).collect(),
    })
}

/// A text, which some servers write as a number or a bool.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

fn tensors(body: &Map<String, Value>, field: &str) -> Result<Vec<TensorMetadata>, String> {
    let tensors = match body.get(field) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(tensors)) => tensors,
        Some(_) => return Err(format!("its metadata's `{field}` are no list")),
    };
    let read = tensors.iter().enumerate().map(|(number, tensor)| {
        let name = tensor.get("name").and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("its metadata's `{field}[{number}]` has no name"))?;
        let is_so = |place| tensor.pointer(place).and_then(Value::as_bool).unwrap_or_default();
        let said = Said { optional: is_so("/parameters/optional"), alternative: is_so("/parameters/alternative") };
        let datatype = tensor.get("datatype").and_then(Value::as_str).unwrap_or_default();
        let shape = match tensor.get("shape") {
            Some(Value::Array(shape)) => shape.iter().map(Value::as_i64).collect(),
            _ => Some(COLUMN.to_vec()),
        };
        self::tensor(name, datatype, shape, said)
    });
    read.filter_map(Result::transpose).collect()
}

/// What a server says of a tensor beside its shape.
#[derive(Clone, Copy)]
pub(super) struct Said {
    pub(super) optional: bool,
    pub(super) alternative: bool,
}

/// One tensor's metadata; nothing where it can't be used and need not be.
///
/// # Errors
/// It has to be sent and can't be; the text names it.
pub(super) fn tensor(
    name: &str,
    datatype: &str,
    shape: Option<Vec<i64>>,
    said: Said,
) -> Result<Option<TensorMetadata>, String> {
    let Said { optional, alternative } = said;
    let optional = optional || alternative;
    match (Datatype::from_name(&datatype.to_ascii_uppercase()), shape) {
        (Some(datatype), Some(shape)) => {
            Ok(Some(TensorMetadata { name: name.to_owned(), datatype, shape, optional, alternative }))
        }
        _ if optional => Ok(None),
        (None, _) => Err(format!("asks for input `{name}` of unknown datatype `{datatype}`")),
        (_, None) => Err(format!("asks for input `{name}` of a shape that is none")),
    }
}

/// Whether a server's own metadata list binary tensors.
pub(super) fn offers_binary(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let extensions = body.get("extensions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    extensions.iter().filter_map(Value::as_str).any(|extension| BINARY.contains(&extension))
}

#[cfg(test)]
mod tests {
    use super::{offers_binary, read_model};

    #[test]
    fn what_is_missing_is_empty() {
        for body in [r#"{"name":null,"versions":null,"platform":null,"inputs":null,"outputs":null}"#, "{}"] {
            let metadata = read_model(body.as_bytes(), "m").unwrap();
            assert_eq!((metadata.name.as_str(), metadata.inputs.len()), ("m", 0));
        }
        let body = r#"{"versions":["1",2],"inputs":[{"name":"a","datatype":"fp32"}],"properties":{"x":"y","z":1}}"#;
        let metadata = read_model(body.as_bytes(), "m").unwrap();
        assert_eq!(metadata.inputs[0].shape, [-1, 1]);
        assert_eq!((metadata.versions.join(","), metadata.version()), ("1,2".to_owned(), Some("2")));
        assert_eq!((metadata.properties["x"].as_str(), metadata.properties["z"].as_str()), ("y", "1"));
    }

    #[test]
    fn what_is_not_needed_may_be_unknown_and_what_is_needed_is_named() {
        let body = r#"{"inputs":[{"name":"a","datatype":"FP8","shape":[-1],"parameters":{"optional":true}},
            {"name":"b","datatype":"FP32","shape":[-1],"parameters":null},
            {"name":"c","datatype":"FP32","shape":[-1,2],"parameters":{"alternative":true}}],
            "outputs":[{"name":"o","datatype":"FP8","shape":[1]}]}"#;
        let metadata = read_model(body.as_bytes(), "m").unwrap();
        let told = metadata.inputs.iter().map(|input| (input.name.as_str(), input.optional, input.alternative));
        assert_eq!(told.collect::<Vec<_>>(), [("b", false, false), ("c", true, true)]);
        let error = read_model(br#"{"inputs":[{"name":"a","datatype":"FP8","shape":[-1]}]}"#, "m").unwrap_err();
        assert_eq!(error, "asks for input `a` of unknown datatype `FP8`");
        for wrong in [
            "",
            "[]",
            r#"{"inputs":7}"#,
            r#"{"inputs":[7]}"#,
            r#"{"inputs":[{"name":"a","datatype":"FP32","shape":["x"]}]}"#,
        ] {
            assert!(read_model(wrong.as_bytes(), "m").is_err(), "{wrong}");
        }
    }

    #[test]
    fn binary_tensors_are_offered_under_two_names() {
        for (body, offered) in [
            (r#"{"extensions":["model_repository","binary_tensor_data"]}"#, true),
            (r#"{"extensions":["binary_tensor_data_extension"]}"#, true),
            (r#"{"name":"kserve","extensions":["model_repository_extension"]}"#, false),
            (r#"{"extensions":null}"#, false),
            ("[]", false),
            ("", false),
        ] {
            assert_eq!(offers_binary(body.as_bytes()), offered, "{body}");
        }
    }
}
