//! Features that the caller has encoded: one matrix of numbers in the place of an input for each feature, and what a caller has to know to
//! make it. See `docs/protocol.md`.

use std::collections::BTreeMap;

use catalog::bundle::sha256;
use dataplane::{Datatype, TensorMetadata};
use serde::Serialize;

use crate::contributions::Feature;

/// The property of a model that says how features are encoded.
pub(crate) const ENCODING: &str = "encoding";
/// Hexadecimal digits of the encoding's digest in the input's name.
const DIGITS: usize = 8;

/// How features are encoded.
#[derive(Clone, Debug)]
pub(crate) struct Encoding {
    /// The input that has them. Its name has a digest of `text`, so that who encodes by another one is told that there is no such input.
    pub(crate) input: TensorMetadata,
    /// The columns as JSON, the same for the same encoding.
    pub(crate) text: String,
}

/// A column as it is told.
#[derive(Serialize)]
struct Column<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    categories: Option<BTreeMap<&'a str, f32>>,
}

impl Encoding {
    /// The encoding of these features, a column each.
    ///
    /// # Errors
    /// They can't be told as JSON.
    pub(crate) fn of(features: &[Feature]) -> Result<Self, String> {
        let columns: Vec<_> = features.iter().map(Column::of).collect();
        let text = serde_json::to_string(&columns).map_err(|error| error.to_string())?;
        let digest = sha256(text.as_bytes());
        let digits = digest.trim_start_matches("sha256:").get(..DIGITS).unwrap_or_default();
        let width = i64::try_from(features.len()).map_err(|error| error.to_string())?;
        let input = TensorMetadata::alternative(format!("encoded_{digits}"), Datatype::Fp32, &[-1, width]);
        Ok(Self { input, text })
    }
}

impl<'a> Column<'a> {
    fn of(feature: &'a Feature) -> Self {
        let numbers = || feature.numbers.iter().map(|(text, &number)| (text.as_str(), number)).collect();
        let is_text = feature.datatype == Datatype::Bytes.name();
        Self { name: &feature.name, unknown: is_text.then_some(feature.unknown), categories: is_text.then(numbers) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Encoding;
    use crate::contributions::Feature;

    fn encoding(dress: f32) -> Encoding {
        let features = json!([
            {"name": "age", "datatype": "FP32"},
            {"name": "kind", "datatype": "BYTES", "numbers": {"Hat": 2.0, "Dress": dress, "Bag": 0.5}, "unknown": -1.0},
        ]);
        Encoding::of(&serde_json::from_value::<Vec<Feature>>(features).unwrap()).unwrap()
    }

    #[test]
    fn columns_are_told_in_the_order_of_the_features_and_categories_by_name() {
        let told = r#"[{"name":"age"},{"name":"kind","unknown":-1.0,"categories":{"Bag":0.5,"Dress":3.0,"Hat":2.0}}]"#;
        let Encoding { input, text } = encoding(3.0);
        assert_eq!((text.as_str(), input.shape.as_slice(), input.alternative), (told, [-1, 2].as_slice(), true));
    }

    #[test]
    fn the_input_of_another_encoding_has_another_name() {
        let (one, other) = (encoding(3.0).input.name, encoding(4.0).input.name);
        assert_eq!((one.as_str(), one == other), ("encoded_c84a703f", false));
        assert_eq!(one, encoding(3.0).input.name);
    }
}
