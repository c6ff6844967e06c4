//! Parameters of requests, tensors and answers: a string, a number or a bool by name.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error, MapAccess, Visitor},
};

/// Parameters by name.
pub type Parameters = BTreeMap<String, Parameter>;

/// The most parameters in one place: in memory each is many times what it is on the wire.
pub(crate) const MAX_PARAMETERS: usize = 128;

/// What is said of more.
pub(crate) fn too_many() -> String {
    format!("expected at most {MAX_PARAMETERS} parameters, got more")
}

/// What a parameter can be in every protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Parameter {
    /// `bool_param`
    Bool(bool),
    /// `int64_param`
    Int64(i64),
    /// `uint64_param`, for what is past [`i64::MAX`]
    Uint64(u64),
    /// `double_param`
    Double(f64),
    /// `string_param`
    String(String),
}

impl Parameter {
    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The whole number from 0, if it is one.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Int64(value) => u64::try_from(*value).ok(),
            Self::Uint64(value) => Some(*value),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<bool> for Parameter {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Parameter {
    fn from(value: i64) -> Self {
        Self::Int64(value)
    }
}

/// Not a derived enum: its error would not say what was expected.
impl<'de> Deserialize<'de> for Parameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyParameter)
    }
}

/// Those of one place in a request: an object of at most [`MAX_PARAMETERS`].
pub(crate) struct Bounded(pub(crate) Parameters);

impl<'de> Deserialize<'de> for Bounded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AtMost)
    }
}

struct AtMost;

impl<'de> Visitor<'de> for AtMost {
    type Value = Bounded;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bounded, A::Error> {
        let (mut parameters, mut count) = (Parameters::new(), 0);
        while let Some((name, parameter)) = map.next_entry()? {
            count += 1;
            if count > MAX_PARAMETERS {
                return Err(Error::custom(too_many()));
            }
            parameters.insert(name, parameter);
        }
        Ok(Bounded(parameters))
    }
}

struct AnyParameter;

impl Visitor<'_> for AnyParameter {
    type Value = Parameter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string, a number or a bool")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Parameter, E> {
        Ok(Parameter::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Parameter, E> {
        Ok(Parameter::Int64(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Parameter, E> {
        Ok(i64::try_from(value).map_or(Parameter::Uint64(value), Parameter::Int64))
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Parameter, E> {
        Ok(Parameter::Double(value))
    }
    fn visit_str<E>(self, text: &str) -> Result<Parameter, E> {
        Ok(Parameter::String(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Parameter, Parameters};

    #[test]
    fn every_kind_survives_json_and_nothing_else_is_read() {
        let json = r#"{"a":true,"b":-3,"c":18446744073709551615,"d":0.5,"e":"x"}"#;
        let parameters: Parameters = serde_json::from_str(json).unwrap();
        assert_eq!(parameters["c"], Parameter::Uint64(u64::MAX));
        assert_eq!(serde_json::to_string(&parameters).unwrap(), json);
        let error = serde_json::from_str::<Parameters>(r#"{"a":[1]}"#).unwrap_err().to_string();
        assert!(error.contains("a string, a number or a bool"), "{error}");
    }
}
