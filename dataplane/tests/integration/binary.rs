//! The binary tensor data extension, in requests and answers.

use axum::{body::Body, http::Request};
use dataplane::{BytesData, Data, Datatype};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    echo::{Echo, echoing},
    serving::{Answer, Server, server},
};

const HEADER: &str = "inference-header-content-length";
const INFER: &str = "/v2/models/echo/infer";

async fn send(server: &Server, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let request = headers.iter().fold(Request::post(path), |request, (name, value)| request.header(*name, *value));
    server.send(request.body(Body::from(body)).unwrap()).await
}

/// Sends `json` with `tail` behind it.
async fn infer(server: &Server, json: &Value, tail: &[u8]) -> Answer {
    let mut body = json.to_string().into_bytes();
    let length = body.len().to_string();
    body.extend_from_slice(tail);
    send(server, INFER, &[(HEADER, &length)], body).await
}

/// The JSON of an answer with binary data, and the data.
fn split(answer: &Answer) -> (Value, Vec<u8>) {
    assert_eq!(answer.status.as_u16(), 200, "{:?}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    let length = answer.header(HEADER).expect("no length of the JSON").parse().unwrap();
    let (json, tail) = answer.body.split_at(length);
    (serde_json::from_slice(json).unwrap(), tail.to_vec())
}

/// `x` FP32 `[-1]` and `s` BYTES `[-1]`.
fn pair() -> Server {
    echoing([Echo::new("echo", &[("x", Datatype::Fp32, &[-1]), ("s", Datatype::Bytes, &[-1])])])
}

const S: &[u8] = b"\x02\0\0\0hi\0\0\0\0";

fn x(parameters: &Value) -> Value {
    json!({"name": "x", "shape": [1], "datatype": "FP32", "parameters": parameters})
}

fn s(parameters: &Value) -> Value {
    json!({"name": "s", "shape": [2], "datatype": "BYTES", "parameters": parameters})
}

#[tokio::test]
async fn every_datatype_goes_there_and_back_as_it_was() {
    for &datatype in Datatype::ALL {
        let server = echoing([Echo::new("echo", &[("t", datatype, &[-1, 2])])]);
        let data = match datatype {
            Datatype::Bool => Data::Bool(vec![true, false, true, true]),
            Datatype::Bytes => Data::Bytes(BytesData::from_iter([b"\xff".as_slice(), b"", b"abc", b"\0"])),
            other => Data::from_raw(other, 4, (1..=4 * Data::width(other).unwrap() as u8).collect()).unwrap(),
        };
        let mut raw = Vec::new();
        data.write_raw(&mut raw).unwrap();
        let size = json!({"binary_data_size": raw.len()});
        let tensor = json!({"name": "t", "shape": [2, 2], "datatype": datatype.name(), "parameters": size});
        let request = json!({"inputs": [tensor], "parameters": {"binary_data_output": true}});
        let (json, tail) = split(&infer(&server, &request, &raw).await);
        assert_eq!((&json["outputs"], tail), (&json!([tensor]), raw), "{}", datatype.name());
    }
}

#[tokio::test]
async fn tensors_of_json_and_binary_data_may_be_mixed_both_ways() {
    let s_binary = s(&json!({"binary_data_size": S.len()}));
    let x_json = json!({"name": "x", "shape": [1], "datatype": "FP32", "data": [1.5]});
    let outputs = json!([{"name": "x", "parameters": {"binary_data": true}}, {"name": "s"}]);
    let request = json!({"inputs": [s_binary, x_json], "outputs": outputs});
    let (answer, tail) = split(&infer(&pair(), &request, S).await);
    assert_eq!(
        answer["outputs"],
        json!([x(&json!({"binary_data_size": 4})), {"name": "s", "shape": [2], "datatype": "BYTES", "data": ["hi", ""]}])
    );
    assert_eq!(tail, 1.5_f32.to_le_bytes());
}

#[tokio::test]
async fn an_output_says_for_itself_whether_it_is_binary() {
    let server = pair();
    let inputs = json!([x(&json!({"binary_data_size": 4})), s(&json!({"binary_data_size": S.len()}))]);
    let tail = [1.5_f32.to_le_bytes().as_slice(), S].concat();
    let outputs = json!([{"name": "s", "parameters": {"binary_data": false}}, {"name": "x"}]);
    let all = json!({"binary_data_output": true, "mine": 1});
    let request = json!({"inputs": inputs, "outputs": outputs, "parameters": all});
    let (answer, got) = split(&infer(&server, &request, &tail).await);
    assert_eq!(answer["outputs"][0]["data"], json!(["hi", ""]));
    assert_eq!(answer["outputs"][1]["parameters"], json!({"binary_data_size": 4}));
    assert_eq!(got, 1.5_f32.to_le_bytes());
    // The model has got what is the caller's, and nothing of the transport's.
    assert_eq!(answer["parameters"], json!({"mine": 1, "model_digest": "sha256:0123"}));
    // All in JSON: no header, and the type says so.
    let answer = infer(&server, &json!({"inputs": inputs}), &tail).await;
    assert_eq!(answer.json()["outputs"][0]["data"], json!([1.5]));
    assert_eq!(answer.header(HEADER), None);
}

#[tokio::test]
async fn binary_data_is_read_under_any_type_that_json_is() {
    let json = json!({"inputs": [x(&json!({"binary_data_size": 4}))]}).to_string();
    let server = echoing([Echo::new("echo", &[("x", Datatype::Fp32, &[-1])])]);
    let body = [json.as_bytes(), &1.5_f32.to_le_bytes()].concat();
    let length = json.len().to_string();
    for content_type in
        ["application/octet-stream", "application/json", "application/x-www-form-urlencoded", "application/vnd.x+json"]
    {
        let headers = [(HEADER, length.as_str()), ("content-type", content_type)];
        assert_eq!(send(&server, INFER, &headers, body.clone()).await.json()["outputs"][0]["data"], json!([1.5]));
    }
    send(&server, INFER, &[(HEADER, &length)], body).await.json();
}

#[tokio::test]
async fn a_wrong_header_is_refused_and_named() {
    let server = pair();
    let body = json!({"inputs": []}).to_string().into_bytes();
    for wrong in ["x", "-1", "+5", "1.5", "", "99999999999999999999999999"] {
        let answer = send(&server, INFER, &[(HEADER, wrong)], body.clone()).await;
        let message = "header `inference-header-content-length`: expected one whole number of bytes from 0";
        answer.refuses(400, "invalid_argument", message);
    }
    let twice = send(&server, INFER, &[(HEADER, "13"), (HEADER, "12")], body.clone()).await;
    assert_eq!(twice.failure().0, 400);
    let message = "header `inference-header-content-length`: 14 bytes of JSON in a body of 13 bytes";
    send(&server, INFER, &[(HEADER, "14")], body).await.refuses(400, "invalid_argument", message);
}

#[tokio::test]
async fn binary_data_that_does_not_fit_is_refused_with_its_input() {
    let server = pair();
    let one = |size: Value| json!({"inputs": [x(&json!({"binary_data_size": size}))]});
    let field = "field `inputs[0] `x`.parameters.binary_data_size`";
    for (request, tail, message) in [
        (one(json!(4)), 3, format!("{field}: expected 4 bytes of binary data, 3 are left")),
        (one(json!(4)), 5, "the body: 1 bytes are left behind the binary data of `x`".to_owned()),
        (one(json!(8)), 8, format!("{field}: expected 4 bytes for 1 elements of FP32, got 8")),
        (one(json!("4")), 4, format!("{field}: expected a whole number from 0")),
    ] {
        infer(&server, &request, &vec![0; tail]).await.refuses(400, "invalid_argument", &message);
    }
    let message = format!(
        "{field}: the header `inference-header-content-length`, which says where binary data begins, is missing from the request"
    );
    server.post(INFER, one(json!(4)).to_string()).await.refuses(400, "invalid_argument", &message);
}

#[tokio::test]
async fn raw_data_alone_is_the_one_input_and_is_answered_in_binary() {
    let inputs: [(&str, &[_]); 2] =
        [("rows", &[("x", Datatype::Fp32, &[-1, 2][..])]), ("image", &[("jpeg", Datatype::Bytes, &[1])])];
    let server = echoing(inputs.map(|(name, inputs)| Echo::new(name, inputs)));
    let raw: Vec<u8> = [1.0_f32, 2.0, 3.0, 4.0].into_iter().flat_map(f32::to_le_bytes).collect();
    let (answer, tail) = split(&send(&server, "/v2/models/rows/infer", &[(HEADER, "0")], raw.clone()).await);
    assert_eq!((&answer["outputs"][0]["shape"], tail), (&json!([2, 2]), raw));
    let (answer, tail) = split(&send(&server, "/v2/models/image/infer", &[(HEADER, "0")], b"\xff\xd8".to_vec()).await);
    assert_eq!(answer["outputs"][0]["shape"], json!([1]));
    assert_eq!(tail, b"\x02\0\0\0\xff\xd8");
    let answer = send(&pair(), INFER, &[(HEADER, "0")], vec![]).await;
    let message = "a body of raw data: model `echo` does not take just one input";
    answer.refuses(400, "invalid_argument", message);
}

#[tokio::test]
async fn what_json_can_not_hold_is_refused_with_the_way_out() {
    let tensors = [("h", Datatype::Fp16, &[-1][..]), ("s", Datatype::Bytes, &[-1])];
    let server = echoing([Echo::new("echo", &tensors)]);
    let request = |output: &str| {
        json!({"outputs": [{"name": output}], "inputs": [
            {"name": "h", "shape": [1], "datatype": "FP16", "parameters": {"binary_data_size": 2}},
            {"name": "s", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}]})
    };
    let tail = b"\0\x3c\x01\0\0\0\xff";
    for (output, why) in [("h", "FP16 has no form in JSON"), ("s", "element 0 is no UTF-8")] {
        let message = format!("output `{output}`: {why}; ask for it as binary data, with its parameter `binary_data`");
        infer(&server, &request(output), tail).await.refuses(400, "invalid_argument", &message);
    }
    // V1 has numbers for the one, and for the other no way but V2's.
    let v1 = r#"{"instances": [{"h": 1, "s": "x"}]}"#;
    assert_eq!(server.post("/v1/models/echo:predict", v1).await.json(), json!({"predictions": [{"h": 1.0, "s": "x"}]}));
}

#[tokio::test]
async fn a_failure_of_a_binary_request_is_the_json_envelope() {
    let answer = send(&server(), "/v2/models/failing/infer", &[(HEADER, "2")], b"{}".to_vec()).await;
    assert_eq!(answer.failure().0, 400);
    assert_eq!(answer.header(HEADER), None);
}

#[tokio::test]
async fn a_large_body_is_waited_for_and_the_answer_says_how_long_it_is() {
    let server = echoing([Echo::new("echo", &[("x", Datatype::Fp32, &[-1])])]);
    let mut stream = TcpStream::connect(server.listen().await).await.unwrap();
    let json = json!({"inputs": [{"name": "x", "shape": [1000], "datatype": "FP32", "parameters": {"binary_data_size": 4000}}],
        "parameters": {"binary_data_output": true}});
    let json = json.to_string();
    let (json_length, length) = (json.len(), json.len() + 4000);
    let head = format!(
        "POST {INFER} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nconnection: close\r\n{HEADER}: {json_length}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // As curl does, the body is sent only when the server says that it wants it.
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(json.as_bytes()).await.unwrap();
    stream.write_all(&[7; 4000]).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let (head, body) = (std::str::from_utf8(&answer[..end]).unwrap(), &answer[end + 4..]);
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(head.contains("content-type: application/octet-stream"), "{head}");
    assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
    assert!(body.ends_with(&[7; 4000]));
}
