//! What came back, in one form.

use axum::body::Bytes;
use dataplane::{BytesData, Data, Datatype, Kind, Parameter, Parameters};
use half::{bf16, f16};
use prost::Message;
use serde_json::Value;

use super::{raw, ways::Way};
use crate::{
    grpc::wire,
    serving::{Answer, SECRET, Server},
};

/// A tensor, its elements as little-endian bytes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Output {
    pub(super) name: String,
    pub(super) datatype: String,
    pub(super) shape: Vec<i64>,
    pub(super) raw: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Answered {
    pub(super) version: String,
    pub(super) digest: String,
    pub(super) id: String,
    /// Without the digest.
    pub(super) parameters: Parameters,
    pub(super) outputs: Vec<Output>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refused {
    pub(super) code: String,
    pub(super) text: String,
    /// In seconds.
    pub(super) retry_after: Option<String>,
}

/// Reads an answer, which is the one of `model`.
pub(super) fn read(way: Way, server: &Server, model: &str, answer: &Answer) -> Result<Answered, Refused> {
    let refused = if way.is_grpc() { refused_grpc(answer) } else { refused_rest(answer) };
    if let Some(refused) = refused {
        assert!(!format!("{:?} {:?}", answer.headers, answer.body).contains(SECRET), "{answer:?}");
        return Err(refused);
    }
    Ok(match way {
        Way::V1 => v1(server, model, answer),
        Way::Json => v2(&answer.json(), &mut [].as_slice()),
        Way::Binary => {
            let length = answer.header("inference-header-content-length").expect("not binary").parse().unwrap();
            let (json, mut tail) = answer.body.split_at(length);
            v2(&serde_json::from_slice(json).unwrap(), &mut tail)
        }
        Way::Typed | Way::Raw => grpc(&answer.body),
    })
}

/// The status must be that of the code's row.
fn row(code: &str) -> dataplane::error::Row {
    Kind::ALL.into_iter().map(Kind::row).find(|row| row.code == code).unwrap()
}

fn refused_rest(answer: &Answer) -> Option<Refused> {
    if answer.status == 200 {
        return None;
    }
    let (status, code, text) = answer.failure();
    assert_eq!(status, row(&code).http.as_u16(), "{code}");
    Some(Refused { code, text, retry_after: answer.header("retry-after").map(str::to_owned) })
}

fn refused_grpc(answer: &Answer) -> Option<Refused> {
    assert_eq!(answer.status, 200);
    let status = answer.header("grpc-status")?;
    let code = answer.header("x-error-code").unwrap().to_owned();
    assert_eq!(status, row(&code).grpc.to_string(), "{code}");
    let text = answer.header("grpc-message").unwrap();
    let text = percent_decoded(text);
    Some(Refused { code, text, retry_after: answer.header("retry-after").map(str::to_owned) })
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let (digits, rest) = part.split_at(2);
        bytes.push(u8::from_str_radix(digits, 16).unwrap());
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).unwrap()
}

fn data(datatype: Datatype, elements: Vec<Value>) -> Data {
    let elements = Value::Array(elements);
    macro_rules! read {
        ($($variant:ident)*) => {
            match datatype {
                $(Datatype::$variant => Data::$variant(serde_json::from_value(elements).unwrap()),)*
                Datatype::Fp16 => Data::Fp16(floats(elements).into_iter().map(f16::from_f32).collect()),
                Datatype::Bf16 => Data::Bf16(floats(elements).into_iter().map(bf16::from_f32).collect()),
                Datatype::Bytes => {
                    Data::Bytes(BytesData::from_iter(serde_json::from_value::<Vec<String>>(elements).unwrap()))
                }
            }
        };
    }
    read!(Bool Uint8 Uint16 Uint32 Uint64 Int8 Int16 Int32 Int64 Fp32 Fp64)
}

fn floats(elements: Value) -> Vec<f32> {
    serde_json::from_value(elements).unwrap()
}

/// V1 says rows only: what each is follows from the model's metadata.
fn v1(server: &Server, model: &str, answer: &Answer) -> Answered {
    let mut predictions = answer.json()["predictions"].take();
    let rows = predictions.as_array_mut().unwrap();
    let metadata = server.handler.repository.metadata(model, None).unwrap();
    // An input that may be left out comes back where it was given.
    let all = metadata.outputs.iter().chain(metadata.inputs.iter().filter(|input| input.optional));
    let given = all.filter(|tensor| tensor.name != "note" || rows[0].get("note").is_some());
    let outputs = given.map(|tensor| {
        let values = rows.iter().map(|row| if row.is_object() { row[&tensor.name].clone() } else { row.clone() });
        let mut shape = vec![i64::try_from(rows.len()).unwrap()];
        let mut elements = Vec::new();
        for value in values {
            match value {
                Value::Array(values) => elements.extend(values),
                value => elements.push(value),
            }
        }
        if tensor.shape.len() > 1 {
            shape.push(i64::try_from(elements.len() / rows.len()).unwrap());
        }
        let raw = raw(&data(tensor.datatype, elements));
        Output { name: tensor.name.clone(), datatype: tensor.datatype.name().to_owned(), shape, raw }
    });
    let header = |name| answer.header(name).unwrap_or_default().to_owned();
    Answered {
        version: header("x-model-version"),
        digest: header("x-model-digest"),
        id: String::new(),
        parameters: Parameters::new(),
        outputs: outputs.collect(),
    }
}

fn v2(body: &Value, tail: &mut &[u8]) -> Answered {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let outputs = body["outputs"].as_array().unwrap().iter().map(|output| {
        let datatype = text(&output["datatype"]);
        let raw = match output["parameters"]["binary_data_size"].as_u64() {
            Some(size) => {
                let (taken, rest) = tail.split_at(usize::try_from(size).unwrap());
                *tail = rest;
                taken.to_vec()
            }
            None => raw(&data(Datatype::from_name(&datatype).unwrap(), output["data"].as_array().unwrap().clone())),
        };
        Output {
            name: text(&output["name"]),
            datatype,
            shape: serde_json::from_value(output["shape"].clone()).unwrap(),
            raw,
        }
    });
    let outputs = outputs.collect();
    assert!(tail.is_empty(), "{tail:?} is left");
    let parameters: Parameters = serde_json::from_value(body["parameters"].clone()).unwrap();
    answered(text(&body["model_version"]), text(&body["id"]), parameters, outputs)
}

fn answered(version: String, id: String, mut parameters: Parameters, outputs: Vec<Output>) -> Answered {
    let digest = parameters.remove("model_digest");
    let digest = digest.as_ref().and_then(Parameter::as_str).unwrap_or_default().to_owned();
    Answered { version, digest, id, parameters, outputs }
}

fn grpc(body: &Bytes) -> Answered {
    let message = wire::InferResponse::decode(&body[5..]).unwrap();
    let mut raws = message.raw.into_iter();
    let outputs = message.outputs.into_iter().map(|output| {
        let datatype = Datatype::from_name(&output.datatype).unwrap();
        let raw = match raws.next() {
            Some(raw) => raw.to_vec(),
            None => raw(&typed(datatype, output.contents.unwrap_or_default())),
        };
        Output { name: output.name, datatype: output.datatype, shape: output.shape, raw }
    });
    let outputs = outputs.collect();
    let parameter = |(name, parameter): (String, wire::Parameter)| {
        let value = match parameter.choice.unwrap() {
            wire::Choice::Bool(value) => Parameter::Bool(value),
            wire::Choice::Int64(value) => Parameter::Int64(value),
            wire::Choice::Uint64(value) => Parameter::Uint64(value),
            wire::Choice::Double(value) => Parameter::Double(value),
            wire::Choice::String(value) => Parameter::String(value),
        };
        (name, value)
    };
    let parameters = message.parameters.into_iter().map(parameter).collect();
    answered(message.model_version, message.id, parameters, outputs)
}

fn typed(datatype: Datatype, contents: wire::Contents) -> Data {
    macro_rules! of {
        ($($variant:ident $field:ident;)*) => {
            match datatype {
                $(Datatype::$variant => {
                    Data::$variant(contents.$field.into_iter().map(|element| element.try_into().unwrap()).collect())
                })*
                Datatype::Bytes => Data::Bytes(BytesData::from_iter(contents.bytes)),
                Datatype::Fp16 | Datatype::Bf16 => panic!("no typed contents hold them"),
            }
        };
    }
    of! {
        Bool bools; Int8 ints; Int16 ints; Int32 ints; Int64 int64s;
        Uint8 uints; Uint16 uints; Uint32 uints; Uint64 uint64s; Fp32 floats; Fp64 doubles;
    }
}
