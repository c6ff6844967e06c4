//! What is written can be read, and what does not fit is named.

use bytes::Bytes;
use half::f16;
use serde_json::value::RawValue;

use super::{
    BinaryOutputs, quick,
    read::{Head, read_head},
    read_raw_request, read_request, read_response,
    tensors::Tail,
    write_request, write_response,
};
use crate::{
    infer::{InferRequest, InferResponse, RequestedOutput},
    model::{ModelMetadata, TensorMetadata},
    parameters::Parameter,
    tensor::{BytesData, Data, Datatype, Tensor},
};

fn tensors() -> Vec<Tensor> {
    vec![
        Tensor::new("a", vec![2, 1], vec![1.5_f32, -2.0]).unwrap(),
        Tensor::vector("id", BytesData::from_iter(["x", "é"])).with_parameters([("k".to_owned(), 3.into())].into()),
        Tensor::vector("yes", vec![true]),
    ]
}

fn request() -> InferRequest {
    InferRequest {
        id: Some("seven".to_owned()),
        parameters: [("fast".to_owned(), true.into())].into(),
        outputs: vec![RequestedOutput::named("sum")],
        ..InferRequest::of(tensors())
    }
}

fn json(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

fn text(error: &crate::Error) -> &str {
    error.message()
}

#[test]
fn a_request_is_read_as_it_was_written() {
    for binary in [false, true] {
        let (body, length) = write_request(&request(), binary).unwrap();
        assert_eq!(length.is_some(), binary);
        let (read, wanted) = read_request(length, &body.into()).unwrap();
        // What is the transport's has not come with it.
        assert_eq!(read, request());
        assert_eq!((wanted.wants("sum"), wanted.wants("other")), (binary, binary));
    }
}

/// What was read, in a form that can be compared.
fn read(head: Head<'_>) -> (InferRequest, Option<Parameter>, Option<&str>) {
    let (_, mut tail) = Tail::split(None, &Bytes::new()).unwrap();
    let inputs = head.inputs.into_iter().map(|input| input.fill(format_args!("inputs"), &mut tail).unwrap());
    let request = InferRequest { id: head.id, parameters: head.parameters, ..InferRequest::of(inputs.collect()) };
    (request, head.binary, head.outputs.map(RawValue::get))
}

#[test]
fn the_quick_way_reads_what_the_careful_way_reads_and_refuses_what_it_refuses() {
    let input = r#"{"name":"x","shape":[1],"datatype":"INT64","data":[1]}"#;
    let sound = [
        format!(r#"{{"inputs":[{input}]}}"#),
        format!(
            r#"{{"id":null,"parameters":{{"a":1,"a":2,"binary_data_output":true}},"outputs":[{{}}],"inputs":[{input}]}}"#
        ),
        r#" {"id":"\u0031","more":{},"inputs":[{"data":[1],"datatype":"\u0042OOL","name":"\n","shape":[]}]}"#
            .replace("[1]", "[true]"),
        r#"{"inputs":[{"name":"x","shape":[0],"datatype":"BYTES","data":[],"more":1,"parameters":{"k":"v"}}]}"#
            .to_owned(),
    ];
    for body in sound {
        let body = body.as_bytes();
        assert_eq!(read(quick::read(body).unwrap()), read(read_head(body).unwrap()), "{}", json(body));
    }
    let unsound = [
        "".to_owned(),
        "[]".to_owned(),
        "{}".to_owned(),
        r#"{"inputs":null}"#.to_owned(),
        r#"{"inputs":[]}"#.to_owned(),
        r#"{"inputs":[["x",[1],"INT64",[1],{}]]}"#.to_owned(),
        format!(r#"{{"inputs":[{input}]}} 1"#),
        format!(r#"{{"inputs":[{input}],"inputs":[{input}]}}"#),
        format!(r#"{{"inputs":[{input}],"id":1}}"#),
        format!(r#"{{"inputs":[{input}],"parameters":[]}}"#),
        format!(r#"{{"inputs":[{}]}}"#, vec![input; 1025].join(",")),
        format!(r#"{{"inputs":[{}]}}"#, input.replace("INT64", "INT65")),
        format!(r#"{{"inputs":[{}]}}"#, input.replace("[1],", "[-1],")),
        format!(r#"{{"inputs":[{}]}}"#, input.replace("[1],", &format!("[{}1],", "1,".repeat(32)))),
        format!(r#"{{"inputs":[{}]}}"#, input.replace("name", "nome")),
        format!(r#"{{"inputs":[{}]}}"#, input.replace("data\"", "name\"")),
    ];
    for body in unsound {
        let body = body.as_bytes();
        assert!(quick::read(body).is_none() && read_head(body).is_err(), "{}", json(body));
    }
}

#[test]
fn binary_tensors_lie_behind_the_json_in_its_order() {
    let (body, length) = write_request(&request(), true).unwrap();
    let (head, tail) = body.split_at(length.unwrap());
    assert_eq!(
        json(head),
        r#"{"id":"seven","parameters":{"fast":true,"binary_data_output":true},"inputs":[{"name":"a","shape":[2,1],"datatype":"FP32","parameters":{"binary_data_size":8}},{"name":"id","shape":[2],"datatype":"BYTES","parameters":{"k":3,"binary_data_size":11}},{"name":"yes","shape":[1],"datatype":"BOOL","parameters":{"binary_data_size":1}}],"outputs":[{"name":"sum","parameters":{"binary_data":true}}]}"#
    );
    assert_eq!(tail, b"\0\0\xc0\x3f\0\0\0\xc0\x01\0\0\0x\x02\0\0\0\xc3\xa9\x01");
}

#[test]
fn half_floats_go_as_binary_data_even_in_a_json_request() {
    let half = Tensor::vector("h", vec![f16::from_f32(0.5)]);
    let request = InferRequest::of(vec![half, Tensor::vector("a", vec![1_i64])]);
    let (body, length) = write_request(&request, false).unwrap();
    assert!(json(&body[..length.unwrap()]).contains(r#""data":[1]"#));
    assert_eq!(read_request(length, &body.into()).unwrap().0, request);
}

#[test]
fn an_answer_is_read_as_it_was_written() {
    let response = InferResponse {
        model_name: "m".to_owned(),
        model_version: Some("3".to_owned()),
        id: Some("seven".to_owned()),
        parameters: [("took".to_owned(), 1.into())].into(),
        outputs: tensors(),
    };
    for (wanted, binary) in [
        (BinaryOutputs::default(), None),
        (BinaryOutputs::all(), Some(20)),
        // The output's own word is heard before the request's.
        (BinaryOutputs { all: true, named: vec![("id".to_owned(), false)] }, Some(9)),
        (BinaryOutputs { all: false, named: vec![("id".to_owned(), true)] }, Some(11)),
    ] {
        let (body, length) = write_response(&response, &wanted).unwrap();
        assert_eq!(length.map(|length| body.len() - length), binary);
        assert_eq!(read_response(length, &body.into(), &[]).unwrap(), response);
    }
}

#[test]
fn an_output_that_json_can_not_hold_is_named_with_the_way_out() {
    let half = InferResponse::of(vec![Tensor::vector("h", vec![f16::ONE])]);
    let error = write_response(&half, &BinaryOutputs::default()).unwrap_err();
    let way_out = "ask for it as binary data, with its parameter `binary_data`";
    assert_eq!(text(&error), format!("output `h`: FP16 has no form in JSON; {way_out}"));
    let bytes = BytesData::from_iter([b"ok".as_slice(), b"\xff"]);
    let odd = InferResponse::of(vec![Tensor::vector("t", vec![1_i64]), Tensor::vector("b", bytes)]);
    let error = write_response(&odd, &BinaryOutputs::default()).unwrap_err();
    assert_eq!(text(&error), format!("output `b`: element 1 is no UTF-8; {way_out}"));
    for response in [half, odd] {
        let (body, length) = write_response(&response, &BinaryOutputs::all()).unwrap();
        assert_eq!(read_response(length, &body.into(), &[]).unwrap().outputs, response.outputs);
    }
}

/// The refusal of a request of one tensor `a`, FP32 of shape `[2]`, with these members and this binary data behind.
fn refusal(members: &str, tail: &[u8]) -> String {
    let mut body = format!(r#"{{"inputs":[{{"name":"a","shape":[2],"datatype":"FP32",{members}}}]}}"#).into_bytes();
    let length = body.len();
    body.extend_from_slice(tail);
    text(&read_request(Some(length), &body.into()).unwrap_err()).to_owned()
}

#[test]
fn binary_data_that_does_not_fit_is_refused_with_its_input() {
    let size = r#""parameters":{"binary_data_size":8}"#;
    let field = "field `inputs[0] `a`.parameters.binary_data_size`";
    assert_eq!(refusal(size, &[0; 7]), format!("{field}: expected 8 bytes of binary data, 7 are left"));
    assert_eq!(refusal(size, &[0; 9]), "the body: 1 bytes are left behind the binary data of `a`");
    assert_eq!(
        refusal(r#""parameters":{"binary_data_size":4}"#, &[0; 4]),
        format!("{field}: expected 8 bytes for 2 elements of FP32, got 4")
    );
    for wrong in ["-1", "1.5", "\"8\"", "true", "8.0"] {
        let size = format!(r#""parameters":{{"binary_data_size":{wrong}}}"#);
        assert_eq!(refusal(&size, &[0; 8]), format!("{field}: expected a whole number from 0"), "{wrong}");
    }
    assert_eq!(
        refusal(&format!(r#""data":[1,2],{size}"#), &[0; 8]),
        "field `inputs[0] `a`.data`: expected data or binary_data_size, got both"
    );
    assert_eq!(
        refusal(r#""parameters":{}"#, &[0; 8]),
        "field `inputs[0] `a`.data`: missing (expected a list of elements, or parameters.binary_data_size)"
    );
    assert_eq!(refusal(r#""data":[1,2]"#, &[0; 8]), "the body: 8 bytes are left behind the JSON");
    let huge = br#"{"inputs":[{"name":"a","shape":[4294967296,4294967296],"datatype":"BYTES","parameters":{"binary_data_size":0}}]}"#;
    let error = read_request(Some(huge.len()), &Bytes::from_static(huge)).unwrap_err();
    assert_eq!(text(&error), format!("{field}: shape [4294967296, 4294967296] is too large"));
}

#[test]
fn binary_data_without_its_header_is_refused() {
    let (body, _) = write_request(&InferRequest::of(vec![Tensor::vector("a", Data::Fp32(vec![]))]), true).unwrap();
    let body = Bytes::from(body);
    let error = read_request(None, &body).unwrap_err();
    assert!(text(&error).contains("inference-header-content-length"), "{error}");
    let error = read_request(Some(body.len() + 1), &body).unwrap_err();
    assert!(text(&error).starts_with("header `inference-header-content-length`"), "{error}");
}

#[test]
fn what_is_said_of_binary_outputs_is_true_or_false() {
    let body = |parameters: &str, output: &str| {
        format!(
            r#"{{"inputs":[{{"name":"a","shape":[1],"datatype":"INT8","data":[1]}}],"parameters":{parameters},"outputs":[{{"name":"o","parameters":{output}}}]}}"#
        )
    };
    for (parameters, output, expected) in [
        (r#"{"binary_data_output":1}"#, "null", "field `parameters.binary_data_output`: expected true or false"),
        ("null", r#"{"binary_data":"x"}"#, "field `outputs[0].parameters.binary_data`: expected true or false"),
    ] {
        assert_eq!(text(&read_request(None, &body(parameters, output).into()).unwrap_err()), expected);
    }
}

fn taking(inputs: &[(Datatype, &[i64])]) -> ModelMetadata {
    let input = |&(datatype, shape): &(Datatype, &[i64])| TensorMetadata::new("x", datatype, shape);
    ModelMetadata { name: "m".to_owned(), inputs: inputs.iter().map(input).collect(), ..ModelMetadata::default() }
}

#[test]
fn raw_data_is_the_one_input_of_a_model() {
    let shape = |datatype, shape: &[i64], raw: &[u8]| {
        let request = read_raw_request(&taking(&[(datatype, shape)]), &Bytes::copy_from_slice(raw))
            .map_err(|error| text(&error).to_owned())?;
        Ok::<_, String>(request.inputs[0].shape().to_vec())
    };
    assert_eq!(shape(Datatype::Fp32, &[-1, 2], &[0; 24]), Ok(vec![3, 2]));
    assert_eq!(shape(Datatype::Int64, &[2], &[0; 16]), Ok(vec![2]));
    assert_eq!(shape(Datatype::Uint8, &[-1], &[]), Ok(vec![0]));
    let bytes = read_raw_request(&taking(&[(Datatype::Bytes, &[-1, 1])]), &Bytes::from_static(b"\xffimage")).unwrap();
    assert_eq!(bytes.inputs[0], Tensor::column("x", Data::Bytes([b"\xffimage"].into_iter().collect())));
    for (datatype, wanted, raw, expected) in [
        (Datatype::Fp32, &[-1, 2][..], 20, "input `x`: expected 16 bytes for 4 elements of FP32, got 20"),
        (Datatype::Fp32, &[3], 8, "input `x`: expected 12 bytes for 3 elements of FP32, got 8"),
        (Datatype::Fp32, &[-1, -1], 8, "a body of raw data: model `m` takes `x` of shape [-1, -1], free in too much"),
        (Datatype::Fp32, &[-1, 0], 8, "a body of raw data: model `m` takes `x` of shape [-1, 0], free in too much"),
        (Datatype::Bytes, &[2], 8, "a body of raw data: model `m` takes `x` of shape [2], and not one string"),
    ] {
        assert_eq!(shape(datatype, wanted, &vec![0; raw]), Err(expected.to_owned()));
    }
    let free: &[i64] = &[-1];
    for inputs in [vec![], vec![(Datatype::Int8, free); 2]] {
        let error = read_raw_request(&taking(&inputs), &Bytes::from_static(b"x")).unwrap_err();
        assert_eq!(text(&error), "a body of raw data: model `m` does not take just one input");
    }
}
