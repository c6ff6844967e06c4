//! V1 for models that name no form of their own.

use dataplane::Datatype;
use serde_json::{Value, json};

use crate::{
    echo::{Echo, echoing},
    serving::Server,
};

/// A model's name and its inputs.
type Named = (&'static str, &'static [(&'static str, Datatype, &'static [i64])]);

/// A model for each kind of inputs.
fn server() -> Server {
    let tensors: [Named; 7] = [
        ("scalar", &[("x", Datatype::Fp32, &[-1])]),
        ("row", &[("x", Datatype::Fp32, &[-1, 3])]),
        ("free", &[("x", Datatype::Int64, &[-1, -1, 2])]),
        ("columns", &[("n", Datatype::Int32, &[-1]), ("t", Datatype::Bytes, &[-1, 1]), ("y", Datatype::Bool, &[-1])]),
        ("half", &[("h", Datatype::Fp16, &[-1]), ("b", Datatype::Bf16, &[-1, 2])]),
        ("fixed", &[("x", Datatype::Fp32, &[2])]),
        ("unlisted", &[]),
    ];
    let optional = Echo::new("optional", &[("x", Datatype::Fp32, &[-1])]);
    let models = tensors.map(|(name, inputs)| Echo::new(name, inputs)).into_iter();
    echoing(models.chain([optional.with_optional("note", Datatype::Bytes, &[-1])]))
}

async fn predictions(server: &Server, model: &str, instances: Value) -> Value {
    let body = json!({"instances": instances}).to_string();
    server.post(&format!("/v1/models/{model}:predict"), body).await.json()["predictions"].take()
}

#[tokio::test]
async fn each_instance_is_a_row_and_gets_the_row_of_its_answer() {
    let server = server();
    for (model, instances, expected) in [
        ("scalar", json!([1, 2.5]), json!([1.0, 2.5])),
        ("scalar", json!([{"x": 1}, 2, [3]]), json!([1.0, 2.0, 3.0])),
        ("row", json!([[1, 2, 3], {"x": [4, 5, 6]}]), json!([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])),
        ("free", json!([[[1, 2], [3, 4]], [[5, 6], [7, 8]]]), json!([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])),
        (
            "columns",
            json!([{"t": "é\"", "n": -1, "y": true}, [2, "b", false], [3, ["c"], true]]),
            json!([{"n": -1, "t": ["é\""], "y": true}, {"n": 2, "t": ["b"], "y": false}, {"n": 3, "t": ["c"], "y": true}]),
        ),
        ("half", json!([{"h": 0.5, "b": [1, -2]}]), json!([{"h": 0.5, "b": [1.0, -2.0]}])),
    ] {
        assert_eq!(predictions(&server, model, instances).await, expected, "{model}");
    }
}

#[tokio::test]
async fn an_optional_input_is_in_all_instances_or_in_none() {
    let server = server();
    assert_eq!(predictions(&server, "optional", json!([1, {"x": 2, "note": null}])).await, json!([1.0, 2.0]));
    let both = json!([{"x": 1, "note": "a"}, {"x": 2, "note": "b"}]);
    let expected = json!([{"x": 1.0, "note": "a"}, {"x": 2.0, "note": "b"}]);
    assert_eq!(predictions(&server, "optional", both).await, expected);
    for (instances, message) in [
        (json!([1, {"x": 2, "note": "b"}]), "instances[1]: field `note`: expected in all instances or in none"),
        (json!([{"x": 1, "note": "a"}, 2]), "instances[1]: field `note`: missing (expected BYTES)"),
    ] {
        let body = json!({"instances": instances}).to_string();
        server.post("/v1/models/optional:predict", body).await.refuses(400, "invalid_argument", message);
    }
}

#[tokio::test]
async fn what_does_not_fit_names_the_instance_the_field_and_what_was_expected() {
    let server = server();
    for (model, instances, message) in [
        ("scalar", json!([1, "a"]), "instances[1]: field `x`: expected FP32, got \"a\""),
        ("scalar", json!([null]), "instances[0]: field `x`: expected FP32, got null"),
        ("scalar", json!([[1, 2]]), "instances[0]: expected one value, got [1,2]"),
        ("scalar", json!([{}]), "instances[0]: field `x`: missing (expected FP32)"),
        ("scalar", json!([{"x": null}]), "instances[0]: field `x`: missing (expected FP32)"),
        ("scalar", json!([{"y": 1}]), "instances[0]: expected an object of inputs (there is no input `y`, but x)"),
        ("row", json!([[1, 2]]), "instances[0]: field `x`: expected FP32 of shape [3]: 2 elements instead of 3"),
        (
            "row",
            json!([[1, 2, 3], [1, 2, "c"]]),
            "instances[1]: field `x`: expected FP32 of shape [3]: element 2 is \"c\"",
        ),
        ("row", json!([7]), "instances[0]: field `x`: expected FP32 of shape [3]: 7 is no list"),
        ("row", json!([{}]), "instances[0]: field `x`: missing (expected FP32 [3])"),
        (
            "free",
            json!([[[1, 2], [3, 4]], [[5, 6]]]),
            "instances[1]: field `x`: expected INT64 of shape [2, 2]: 1 items at depth 0 instead of 2",
        ),
        ("columns", json!([[1, "b"]]), "instances[0]: field `y`: missing (expected BOOL)"),
        ("columns", json!([[1, "b", true, 4]]), "instances[0]: expected at most 3 values, one an input, got 4"),
        ("columns", json!(["x"]), "instances[0]: expected an object with n, t, y, got \"x\""),
        ("half", json!([[1, 2]]), "instances[0]: expected an object with h, b, got [1,2]"),
        ("half", json!([{"h": 1e9, "b": [1, 2]}]), "instances[0]: field `h`: expected FP16, got 1000000000.0"),
    ] {
        let body = json!({"instances": instances}).to_string();
        let answer = server.post(&format!("/v1/models/{model}:predict"), body).await;
        answer.refuses(400, "invalid_argument", message);
    }
    let twice = r#"{"instances": [{"x": 1, "x": 2}]}"#;
    let message = "instances[0]: expected an object of inputs (`x` is given twice)";
    server.post("/v1/models/scalar:predict", twice).await.refuses(400, "invalid_argument", message);
}

#[tokio::test]
async fn a_model_without_rows_has_no_v1_form() {
    let server = server();
    for (model, why) in [("fixed", "`x` of shape [2] has no row for each instance"), ("unlisted", "it lists no inputs")]
    {
        let message = format!("Model with name {model} has no V1 form: {why}. Ask it by V2.");
        let answer = server.post(&format!("/v1/models/{model}:predict"), r#"{"instances": [1]}"#).await;
        answer.refuses(501, "unimplemented", &message);
    }
}

#[tokio::test]
async fn an_answer_says_in_headers_which_model_gave_it() {
    let server = server();
    for verb in ["predict", "explain"] {
        let answer = server.post(&format!("/v1/models/scalar:{verb}"), r#"{"instances": [1]}"#).await;
        answer.json();
        assert_eq!(answer.header("x-model-version"), Some("3"), "{verb}");
        assert_eq!(answer.header("x-model-digest"), Some("sha256:0123"), "{verb}");
    }
}

#[tokio::test]
async fn explain_gives_one_explanation_for_each_instance_in_order() {
    let server = server();
    let explain = "/v1/models/scalar:explain";
    assert_eq!(
        server.post(explain, r#"{"instances": [1, 2]}"#).await.json(),
        json!({"predictions": [], "explanations": [{"row": 0, "of": 2}, {"row": 1, "of": 2}]})
    );
    server.post(explain, r#"{"instances": [1, 2, 3]}"#).await.refuses(500, "internal", "internal error");
    let message = "instances[0]: field `x`: expected FP32, got \"a\"";
    server.post(explain, r#"{"instances": ["a"]}"#).await.refuses(400, "invalid_argument", message);
}

#[tokio::test]
async fn members_beside_the_instances_are_passed_over() {
    let body = r#"{"signature_name": "s", "parameters": {"k": 1}, "id": 7, "instances": [1]}"#;
    assert_eq!(server().post("/v1/models/scalar:predict", body).await.json(), json!({"predictions": [1.0]}));
}
