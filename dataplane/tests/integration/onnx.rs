//! ONNX graphs as models. ONNX Runtime is where `ORT_DYLIB_PATH` says; `make setup` puts it where `.cargo/config.toml` looks.

use std::{path::Path, sync::LazyLock};

use dataplane::{
    BytesData, Datatype, InferRequest, Kind, ModelMetadata, SyncModel, Tensor,
    onnx::{Graph, Runtime},
};

pub(crate) const FLOAT: u64 = 1;
const STRING: u64 = 8;
const INT64: u64 = 7;

/// One field of a protobuf message: a length-delimited one.
fn message(number: u64, content: &[u8]) -> Vec<u8> {
    [vec![(number << 3 | 2) as u8, u8::try_from(content.len()).unwrap()], content.to_vec()].concat()
}

/// One field of a protobuf message: a small number.
fn number(field: u64, value: u64) -> Vec<u8> {
    vec![(field << 3) as u8, u8::try_from(value).unwrap()]
}

/// A `ValueInfoProto`: a tensor `[rows, 1]`.
fn value(name: &str, element: u64, rows: &str) -> Vec<u8> {
    let dimensions = [message(1, &message(2, rows.as_bytes())), message(1, &number(1, 1))].concat();
    let tensor = [number(1, element), message(2, &dimensions)].concat();
    [message(1, name.as_bytes()), message(2, &message(1, &tensor))].concat()
}

/// A `NodeProto`: what makes `output` of `inputs`.
fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let inputs = inputs.iter().flat_map(|input| message(1, input.as_bytes()));
    inputs.chain(message(2, output.as_bytes())).chain(message(4, operator.as_bytes())).collect()
}

/// A model of these nodes, inputs and outputs.
fn model(nodes: &[Vec<u8>], inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> Vec<u8> {
    let mut graph: Vec<u8> = nodes.iter().flat_map(|node| message(1, node)).collect();
    graph.extend(message(2, b"g"));
    graph.extend(inputs.iter().flat_map(|input| message(11, input)));
    graph.extend(outputs.iter().flat_map(|output| message(12, output)));
    let mut model = number(1, 8);
    model.extend([(7 << 3 | 2) as u8, (graph.len() % 128 + 128) as u8, (graph.len() / 128) as u8]);
    model.extend(graph);
    model.extend(message(8, &number(2, 17)));
    model.extend(message(8, &[message(1, b"ai.onnx.ml"), number(2, 1)].concat()));
    model
}

/// A model that gives back what it takes: each input `name` as `name_out`.
pub(crate) fn identity(inputs: &[(&str, u64, &str)]) -> Vec<u8> {
    let output = |name: &str| format!("{name}_out");
    model(
        &inputs.iter().map(|(name, ..)| node("Identity", &[name], &output(name))).collect::<Vec<_>>(),
        &inputs.iter().map(|(name, element, rows)| value(name, *element, rows)).collect::<Vec<_>>(),
        &inputs.iter().map(|(name, element, rows)| value(&output(name), *element, rows)).collect::<Vec<_>>(),
    )
}

/// A model that reads its strings as numbers, which an empty one is not.
pub(crate) fn failing() -> Vec<u8> {
    // An `AttributeProto` of type INT.
    let to_float = [message(1, b"to"), number(3, FLOAT), vec![0xa0, 0x01, 2]].concat();
    let cast = [node("Cast", &["s"], "y"), message(5, &to_float)].concat();
    model(&[cast], &[value("s", STRING, "N")], &[value("y", FLOAT, "N")])
}

/// A classifier's last node: `probabilities` of `x` as a list of maps from the class 7 to a number.
fn zip_map() -> (Vec<u8>, Vec<u8>) {
    // An `AttributeProto` of type INTS.
    let labels = [message(1, b"classlabels_int64s"), number(8, 7), vec![0xa0, 0x01, 7]].concat();
    let node = [node("ZipMap", &["x"], "probabilities"), message(5, &labels), message(7, b"ai.onnx.ml")].concat();
    let number_type = message(2, &message(1, &number(1, FLOAT)));
    let map = message(5, &[number(1, INT64), number_type].concat());
    (node, [message(1, b"probabilities"), message(2, &message(4, &message(1, &map)))].concat())
}

/// One for all tests: ONNX Runtime can be started once in a process.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let library = std::env::var("ORT_DYLIB_PATH").expect("ORT_DYLIB_PATH names ONNX Runtime's library");
    Runtime::load(Path::new(&library)).unwrap()
});

fn load(model: &[u8]) -> Result<Graph, String> {
    Graph::load(&RUNTIME, model)
}

fn graph() -> Graph {
    load(&identity(&[("x", FLOAT, "N"), ("s", STRING, "N"), ("i", INT64, "M")])).unwrap()
}

fn request(x: Vec<f32>, s: &[&[u8]], i: Vec<i64>) -> InferRequest {
    let s: BytesData = s.iter().collect();
    InferRequest::of(vec![Tensor::column("x", x), Tensor::column("s", s), Tensor::column("i", i)])
}

fn refusal(request: InferRequest) -> String {
    let error = graph().infer(request).unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
    error.message().to_owned()
}

#[test]
fn metadata_are_read_from_the_graph() {
    let graph = graph();
    let inputs: Vec<_> =
        graph.inputs().map(|input| (input.name.as_str(), input.datatype, input.shape.clone())).collect();
    let column = vec![-1, 1];
    let expected =
        [("x", Datatype::Fp32, column.clone()), ("s", Datatype::Bytes, column.clone()), ("i", Datatype::Int64, column)];
    assert_eq!(inputs, expected);
    assert_eq!(graph.outputs()[1].name, "s_out");
}

#[test]
fn numbers_and_strings_go_through_as_they_are() {
    let texts: [&[u8]; 2] = ["é✂".as_bytes(), b""];
    let response = graph().infer(request(vec![0.1, f32::MIN], &texts, vec![i64::MAX])).unwrap();
    assert_eq!(response.f32s("x_out").unwrap(), [0.1, f32::MIN]);
    assert_eq!(response.bytes("s_out").unwrap().iter().collect::<Vec<_>>(), texts);
    assert_eq!(response.output("s_out").unwrap().shape(), [2, 1]);
    assert_eq!(*response.output("i_out").unwrap().data(), vec![i64::MAX].into());
}

#[test]
fn no_rows_are_answered_by_no_rows() {
    let response = graph().infer(request(vec![], &[], vec![])).unwrap();
    assert_eq!(response.output("x_out").unwrap().shape(), [0, 1]);
}

#[test]
fn inputs_that_share_a_dimension_must_agree_on_it() {
    assert_eq!(refusal(request(vec![1.0, 2.0], &[b"a"], vec![1])), "input `s`: 1 rows, where input `x` has 2");
}

#[test]
fn text_that_onnx_runtime_would_cut_or_misread_is_refused() {
    let expected = "input `s`, row 1: expected UTF-8 text without a NUL byte";
    for text in [b"a\0b".as_slice(), b"\xff"] {
        assert_eq!(refusal(request(vec![1.0, 2.0], &[b"a", text], vec![1])), expected);
    }
}

#[test]
fn what_is_no_graph_is_refused() {
    for model in [b"".as_slice(), b"no model at all"] {
        assert!(load(model).err().unwrap().starts_with("no ONNX model"), "{model:?}");
    }
}

#[test]
fn a_graph_that_can_not_compute_does_not_get_warm() {
    let warm = |graph: &[u8]| load(graph).unwrap().warm_up(&ModelMetadata::default());
    assert!(warm(&identity(&[("x", FLOAT, "N"), ("s", STRING, "N")])).is_ok());
    assert!(warm(&failing()).is_err());
}

#[test]
fn outputs_that_are_no_tensors_are_left_out_where_another_is_left() {
    let (zip_map, probabilities) = zip_map();
    let (x, label) = (value("x", FLOAT, "N"), value("label", FLOAT, "N"));
    let nodes = [zip_map.clone(), node("Identity", &["x"], "label")];
    let classifier = model(&nodes, std::slice::from_ref(&x), &[probabilities.clone(), label]);
    for mut graph in Graph::copies(&RUNTIME, &classifier, 2).unwrap() {
        assert_eq!(graph.outputs().iter().map(|output| output.name.as_str()).collect::<Vec<_>>(), ["label"]);
        let response = graph.infer(InferRequest::of(vec![Tensor::column("x", vec![1.5_f32])])).unwrap();
        assert_eq!((response.outputs.len(), response.f32s("label")), (1, Some([1.5].as_slice())));
    }
    let reason = load(&model(&[zip_map], &[x], &[probabilities])).err().unwrap();
    assert_eq!(reason, "no output that could be answered: `probabilities` is no tensor");
}
