//! Elements and parameters, both ways.

use dataplane::{Data, Datatype};
use tonic::Code;

use super::{
    echo, infer, refused,
    wire::{Choice, Contents, Output, Parameter, Tensor, floats, raw, tensor, typed},
};

/// A tensor of two elements, or as many as it has, for each datatype that has typed contents.
fn of_each_datatype() -> Vec<Tensor> {
    let none = Contents::default;
    let ints = |low, high| Contents { ints: vec![low, high], ..none() };
    let uints = |high| Contents { uints: vec![0, high], ..none() };
    let bytes = ["", "é\0"].map(|text| axum::body::Bytes::from_static(text.as_bytes())).to_vec();
    [
        ("BOOL", Contents { bools: vec![true, false], ..none() }),
        ("UINT8", uints(255)),
        ("UINT16", uints(65_535)),
        ("UINT32", uints(u32::MAX)),
        ("UINT64", Contents { uint64s: vec![0, u64::MAX], ..none() }),
        ("INT8", ints(-128, 127)),
        ("INT16", ints(-32_768, 32_767)),
        ("INT32", ints(i32::MIN, i32::MAX)),
        ("INT64", Contents { int64s: vec![i64::MIN, i64::MAX], ..none() }),
        ("FP32", Contents { floats: vec![f32::MIN_POSITIVE, f32::INFINITY], ..none() }),
        ("FP64", Contents { doubles: vec![-0.5, f64::MAX], ..none() }),
        ("BYTES", Contents { bytes, ..none() }),
    ]
    .map(|(datatype, contents)| Tensor { contents: Some(contents), ..tensor(datatype, datatype, &[2, 1]) })
    .to_vec()
}

#[tokio::test]
async fn every_datatype_comes_back_in_its_own_field() {
    let (_, channel) = echo().await;
    let tensors = of_each_datatype();
    let answer = infer(&channel, typed(tensors.clone())).await.unwrap();
    assert_eq!(answer.outputs, tensors);
    assert!(answer.raw.is_empty());
}

#[tokio::test]
async fn every_datatype_comes_back_raw_as_it_went() {
    let (_, channel) = echo().await;
    let names = Datatype::ALL.iter().map(|datatype| datatype.name());
    let tensors: Vec<_> = names.map(|name| tensor(name, name, &[3])).collect();
    let elements = Datatype::ALL.iter().map(|&datatype| match datatype {
        Datatype::Bytes => vec![0, 0, 0, 0, 1, 0, 0, 0, 0xff, 2, 0, 0, 0, b'a', b'b'],
        _ => [1, 0, 1].into_iter().flat_map(|element| vec![element; Data::width(datatype).unwrap()]).collect(),
    });
    let elements: Vec<_> = elements.collect();
    let answer = infer(&channel, raw(tensors.clone(), elements.clone())).await.unwrap();
    assert_eq!(answer.outputs, tensors);
    assert_eq!(answer.raw, elements);
}

#[tokio::test]
async fn numbers_mean_the_same_typed_and_raw() {
    let (_, channel) = echo().await;
    let mut request = typed(vec![floats(&[1.5, -2.0])]);
    request.parameters.insert("binary_data_output".to_owned(), Choice::Bool(true).into());
    let answer = infer(&channel, request).await.unwrap();
    assert_eq!(answer.raw, [[1.5_f32.to_le_bytes(), (-2.0_f32).to_le_bytes()].concat()]);
    assert_eq!(answer.outputs, [tensor("x", "FP32", &[2])]);
}

#[tokio::test]
async fn unpacked_elements_are_read_too() {
    let (_, channel) = echo().await;
    // Field 6 twice, each a fixed 32-bit number: as an encoder without packing writes it.
    let contents = [[0x35].as_slice(), &1.5_f32.to_le_bytes(), &[0x35], &2.5_f32.to_le_bytes()].concat();
    let input = [&[0x0a, 1, b'x', 0x12, 4, b'F', b'P', b'3', b'2', 0x1a, 1, 2, 0x2a, 10], contents.as_slice()].concat();
    let length = u8::try_from(input.len()).unwrap();
    let message = [&[0x0a, 4, b'e', b'c', b'h', b'o', 0x2a, length], input.as_slice()].concat();
    let request = super::post(super::INFER).body(super::framed(&message)).unwrap();
    let (_, body, trailers) = super::exchange(&channel, request).await;
    assert_eq!(trailers["grpc-status"], "0");
    let answer: super::wire::InferResponse = prost::Message::decode(&body[5..]).unwrap();
    assert_eq!(answer.outputs, [floats(&[1.5, 2.5])]);
}

#[tokio::test]
async fn a_tensor_without_elements_needs_no_contents() {
    let (_, channel) = echo().await;
    for datatype in ["INT8", "FP32", "BYTES"] {
        let answer = infer(&channel, typed(vec![tensor("x", datatype, &[0, 4])])).await.unwrap();
        assert_eq!((answer.outputs[0].datatype.as_str(), &answer.outputs[0].shape[..]), (datatype, [0, 4].as_slice()));
    }
}

#[tokio::test]
async fn ids_versions_and_parameters_are_told_both_ways() {
    let (_, channel) = echo().await;
    let choices = [
        ("a", Choice::Bool(true)),
        ("b", Choice::Int64(-3)),
        ("c", Choice::String("é".to_owned())),
        ("d", Choice::Double(0.5)),
        ("e", Choice::Uint64(u64::MAX)),
    ];
    let parameters = choices.map(|(name, choice)| (name.to_owned(), choice.into()));
    let mut request = typed(vec![Tensor { parameters: parameters.clone().into(), ..floats(&[1.0]) }]);
    request.id = "7".to_owned();
    request.model_version = "1".to_owned();
    request.parameters = parameters.into();
    let answer = infer(&channel, request.clone()).await.unwrap();
    assert_eq!((answer.id.as_str(), answer.model_name.as_str(), answer.model_version.as_str()), ("7", "echo", "1"));
    assert_eq!(answer.outputs, request.inputs);
    request.parameters.insert("model_digest".to_owned(), Choice::String("sha256:e".to_owned()).into());
    assert_eq!(answer.parameters, request.parameters);
}

#[tokio::test]
async fn outputs_come_as_they_are_asked_for() {
    let (_, channel) = echo().await;
    let of = |name: &str| Tensor { name: name.to_owned(), ..floats(&[1.0]) };
    let named = |name: &str| Output { name: name.to_owned(), ..Output::default() };
    let mut request = typed(vec![of("a"), of("b"), of("c")]);
    request.outputs = vec![named("c"), named("a")];
    let answer = infer(&channel, request).await.unwrap();
    assert_eq!(answer.outputs, [of("c"), of("a")]);
}

#[tokio::test]
async fn contents_that_do_not_fit_are_refused_with_what_was_expected() {
    let (_, channel) = echo().await;
    let wrong = |datatype, contents| Tensor { contents: Some(contents), ..tensor("x", datatype, &[1]) };
    let none = Contents::default;
    let at = |field: &str, text: &str| format!("field `inputs[0] `x`.{field}`: {text}");
    let cases = [
        (
            wrong("FP32", Contents { int64s: vec![1], ..none() }),
            at("contents", "expected fp32_contents for FP32, got int64_contents"),
        ),
        (
            wrong("INT64", Contents { int64s: vec![1], bools: vec![true], ..none() }),
            at("contents", "expected one field, got bool_contents and int64_contents"),
        ),
        (wrong("INT8", Contents { ints: vec![128], ..none() }), at("contents", "element 0: 128 is no INT8")),
        (wrong("INT16", Contents { ints: vec![-32_769], ..none() }), at("contents", "element 0: -32769 is no INT16")),
        (wrong("UINT8", Contents { uints: vec![256], ..none() }), at("contents", "element 0: 256 is no UINT8")),
        (wrong("UINT16", Contents { uints: vec![65_536], ..none() }), at("contents", "element 0: 65536 is no UINT16")),
        (
            wrong("FP16", Contents { floats: vec![1.0], ..none() }),
            at("contents", "FP16 has no typed contents; send it in raw_input_contents"),
        ),
        (tensor("x", "FP8", &[1]), at("datatype", "unknown datatype `FP8`")),
        (tensor("x", "FP32", &[-1]), at("shape", "expected whole numbers from 0, got -1")),
        (tensor("x", "FP32", &[1; 33]), at("shape", "expected at most 32 dimensions, got 33")),
        (Tensor { shape: vec![3], ..floats(&[1.0]) }, "input `x`: shape [3] asks for 3 elements, got 1".to_owned()),
        (
            Tensor { parameters: [("p".to_owned(), <_>::default())].into(), ..floats(&[1.0]) },
            at("parameters.p", "expected a value, got none"),
        ),
    ];
    for (input, message) in cases {
        refused(infer(&channel, typed(vec![input])).await, Code::InvalidArgument, "invalid_argument", &message);
    }
    let text = "field `inputs`: expected at least one tensor";
    refused(infer(&channel, typed(vec![])).await, Code::InvalidArgument, "invalid_argument", text);
}

#[tokio::test]
async fn raw_contents_are_all_or_none_and_fill_their_shapes() {
    let (_, channel) = echo().await;
    let x = || tensor("x", "FP32", &[2]);
    let cases = [
        (
            raw(vec![x()], vec![vec![0; 8], vec![0; 8]]),
            "the number of inputs (1) does not match the expected number of raw input contents (2) for model 'echo'.",
        ),
        (
            raw(vec![floats(&[1.0, 2.0])], vec![vec![0; 8]]),
            "contents field must not be specified when using raw_input_contents for input 'x' for model 'echo'",
        ),
        (
            raw(vec![x()], vec![vec![0; 7]]),
            "field `inputs[0] `x`.raw_input_contents`: expected 8 bytes for 2 elements of FP32, got 7",
        ),
        (
            raw(vec![tensor("x", "FP32", &[i64::MAX, i64::MAX])], vec![vec![0; 8]]),
            "field `inputs[0] `x`.raw_input_contents`: the shape is too large",
        ),
        (
            raw(vec![tensor("x", "BYTES", &[1])], vec![vec![2, 0, 0, 0, b'a']]),
            "field `inputs[0] `x`.raw_input_contents`: element 0 of 1 is cut short after 5 bytes",
        ),
    ];
    for (request, message) in cases {
        refused(infer(&channel, request).await, Code::InvalidArgument, "invalid_argument", message);
    }
}

#[tokio::test]
async fn more_parameters_than_a_tensor_may_have_are_refused_before_they_are_read() {
    let (_, channel) = echo().await;
    let parameter = Parameter { choice: Some(Choice::Bool(true)) };
    for (count, fits) in [(128, true), (129, false)] {
        let parameters = (0..count).map(|number| (number.to_string(), parameter.clone())).collect();
        let answer = infer(&channel, typed(vec![Tensor { parameters, ..floats(&[0.5]) }])).await;
        match fits {
            true => drop(answer.unwrap()),
            false => {
                let text = "field `parameters` of a tensor: expected at most 128 parameters, got more";
                refused(answer, Code::InvalidArgument, "invalid_argument", text);
            }
        }
    }
}

#[tokio::test]
async fn more_tensors_than_a_request_may_have_are_refused_while_they_are_read() {
    let (_, channel) = echo().await;
    let answer = infer(&channel, typed(vec![Tensor::default(); 1025])).await;
    let text = "field number 5 of the message: expected at most 1024, got more";
    refused(answer, Code::InvalidArgument, "invalid_argument", text);
}
