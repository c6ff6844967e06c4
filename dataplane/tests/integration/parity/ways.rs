//! The ways to ask, each written down here a second time: from nobody's code but the test's own.

use axum::{
    body::{Body, Bytes},
    http::{Request, request::Builder},
};
use dataplane::{Data, Parameter};
use prost::Message;
use serde_json::{Map, Value, json};

use super::{
    ask::{Ask, Input},
    raw,
};
use crate::{
    grpc::{INFER, wire},
    serving::{Server, post},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    V1,
    Json,
    Binary,
    Typed,
    Raw,
}

/// All of them.
pub(super) const ALL: &[Way] = &[Way::V1, Way::Json, Way::Binary, Way::Typed, Way::Raw];
/// Those of V2: V1 has no word for ids, versions, parameters, outputs, and nothing for no rows.
pub(super) const V2: &[Way] = &[Way::Json, Way::Binary, Way::Typed, Way::Raw];

impl Way {
    pub(super) fn is_grpc(self) -> bool {
        matches!(self, Self::Typed | Self::Raw)
    }

    /// What metrics call it.
    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Json | Self::Binary => "v2",
            Self::Typed | Self::Raw => "grpc",
        }
    }

    pub(super) fn request(self, ask: &Ask) -> Request<Body> {
        let (request, body) = match self {
            Self::V1 => (post(&format!("/v1/models/{}:predict", ask.model)), instances(ask).into_bytes()),
            Self::Json => (post(&path(ask)), v2(ask, false).to_string().into_bytes()),
            Self::Binary => binary(ask),
            Self::Typed | Self::Raw => (call(), framed(&message(ask, self == Self::Raw))),
        };
        let request = ask.headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.body(Body::from(body)).unwrap()
    }

    /// These bytes instead of a body that says something.
    pub(super) fn nonsense(self, model: &str) -> Request<Body> {
        let (request, body) = match self {
            Self::V1 => (post(&format!("/v1/models/{model}:predict")), b"{".to_vec()),
            Self::Json => (post(&format!("/v2/models/{model}/infer")), b"{".to_vec()),
            Self::Binary => {
                let request = post(&format!("/v2/models/{model}/infer")).header("inference-header-content-length", "1");
                (request, b"{\0".to_vec())
            }
            Self::Typed | Self::Raw => (call(), vec![0, 0, 0, 0, 1, 0xff]),
        };
        request.body(Body::from(body)).unwrap()
    }

    pub(super) async fn send(self, server: &Server, ask: &Ask) -> crate::serving::Answer {
        server.send(self.request(ask)).await
    }
}

fn path(ask: &Ask) -> String {
    let version = ask.version.map(|version| format!("/versions/{version}")).unwrap_or_default();
    format!("/v2/models/{}{version}/infer", ask.model)
}

fn call() -> Builder {
    post(INFER).header("content-type", "application/grpc").header("te", "trailers")
}

fn framed(message: &wire::InferRequest) -> Vec<u8> {
    let message = message.encode_to_vec();
    [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice(), &message].concat()
}

/// Elements as JSON has them.
fn elements(data: &Data) -> Vec<Value> {
    macro_rules! each {
        ($($variant:ident)*) => {
            match data {
                $(Data::$variant(data) => data.iter().map(|element| json!(element)).collect(),)*
                Data::Fp16(data) => data.iter().map(|element| json!(element.to_f32())).collect(),
                Data::Bf16(data) => data.iter().map(|element| json!(element.to_f32())).collect(),
                Data::Bytes(data) => data.iter().map(|element| json!(std::str::from_utf8(element).unwrap())).collect(),
            }
        };
    }
    each!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64)
}

/// A V1 body: an object for each row. As text, so that a name may come twice.
fn instances(ask: &Ask) -> String {
    let rows = ask.inputs.first().map_or(0, |input| usize::try_from(input.shape[0]).unwrap());
    let columns: Vec<_> = ask.inputs.iter().map(|input| (input, elements(&input.data))).collect();
    let row = |row: usize| {
        let member = |(Input { name, shape, .. }, elements): &(&Input, Vec<Value>)| {
            let width = elements.len() / rows;
            let values = &elements[row * width..(row + 1) * width];
            let value = if shape.len() == 1 { values[0].clone() } else { json!(values) };
            format!("{}: {value}", json!(name))
        };
        format!("{{{}}}", columns.iter().map(member).collect::<Vec<_>>().join(", "))
    };
    format!(r#"{{"instances": [{}]}}"#, (0..rows).map(row).collect::<Vec<_>>().join(", "))
}

fn v2(ask: &Ask, binary: bool) -> Value {
    let inputs = ask.inputs.iter().map(|Input { name, shape, data }| {
        let mut tensor = json!({"name": name, "shape": shape, "datatype": data.datatype().name()});
        let (key, value) = match binary {
            true => ("parameters", json!({"binary_data_size": raw(data).len()})),
            false => ("data", json!(elements(data))),
        };
        tensor[key] = value;
        tensor
    });
    let mut body = json!({"inputs": inputs.collect::<Vec<_>>()});
    let mut parameters: Map<String, Value> =
        ask.parameters.iter().map(|(name, value)| (name.clone(), serde_json::to_value(value).unwrap())).collect();
    if binary {
        parameters.insert("binary_data_output".to_owned(), json!(true));
    }
    if !parameters.is_empty() {
        body["parameters"] = parameters.into();
    }
    if let Some(id) = ask.id {
        body["id"] = json!(id);
    }
    if !ask.outputs.is_empty() {
        body["outputs"] = ask.outputs.iter().map(|name| json!({"name": name})).collect();
    }
    body
}

fn binary(ask: &Ask) -> (Builder, Vec<u8>) {
    let mut body = v2(ask, true).to_string().into_bytes();
    let request = post(&path(ask)).header("inference-header-content-length", body.len());
    ask.inputs.iter().for_each(|input| body.extend(raw(&input.data)));
    (request, body)
}

fn message(ask: &Ask, is_raw: bool) -> wire::InferRequest {
    let tensor = |Input { name, shape, data }: &Input| wire::Tensor {
        contents: (!is_raw).then(|| contents(data)),
        ..wire::tensor(name, data.datatype().name(), shape)
    };
    let parameter = |(name, value): (&String, &Parameter)| {
        let choice = match value.clone() {
            Parameter::Bool(value) => wire::Choice::Bool(value),
            Parameter::Int64(value) => wire::Choice::Int64(value),
            Parameter::Uint64(value) => wire::Choice::Uint64(value),
            Parameter::Double(value) => wire::Choice::Double(value),
            Parameter::String(value) => wire::Choice::String(value),
        };
        (name.clone(), choice.into())
    };
    let output = |name: &&str| wire::Output { name: (*name).to_owned(), ..wire::Output::default() };
    wire::InferRequest {
        model_name: ask.model.clone(),
        model_version: ask.version.unwrap_or_default().to_owned(),
        id: ask.id.unwrap_or_default().to_owned(),
        parameters: ask.parameters.iter().map(parameter).collect(),
        inputs: ask.inputs.iter().map(tensor).collect(),
        outputs: ask.outputs.iter().map(output).collect(),
        raw: ask.inputs.iter().filter(|_| is_raw).map(|input| Bytes::from(raw(&input.data))).collect(),
    }
}

fn contents(data: &Data) -> wire::Contents {
    macro_rules! of {
        ($($variant:ident $field:ident;)*) => {
            match data {
                $(Data::$variant(data) => wire::Contents {
                    $field: data.iter().map(|element| (*element).into()).collect(),
                    ..wire::Contents::default()
                },)*
                Data::Bytes(data) => wire::Contents {
                    bytes: data.iter().map(Bytes::copy_from_slice).collect(),
                    ..wire::Contents::default()
                },
                Data::Fp16(_) | Data::Bf16(_) => panic!("no typed contents hold them"),
            }
        };
    }
    of! {
        Bool bools; Int8 ints; Int16 ints; Int32 ints; Int64 int64s;
        Uint8 uints; Uint16 uints; Uint32 uints; Uint64 uint64s; Fp32 floats; Fp64 doubles;
    }
}
