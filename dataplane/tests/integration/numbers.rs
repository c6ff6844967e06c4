//! Numbers keep their value on the way in and out.

use std::sync::Arc;

use dataplane::{
    Context, InferRequest, InferResponse, Model, ModelMetadata, Result, repository::Repository, v1::V1Codec,
};
use serde_json::{Value, json};

use crate::serving::{Server, rows, serving};

/// Answers what it was asked.
struct Echo(ModelMetadata, dataplane::v1::RowsCodec);

#[async_trait::async_trait]
impl Model for Echo {
    fn metadata(&self) -> &ModelMetadata {
        &self.0
    }

    fn v1(&self) -> &dyn V1Codec {
        &self.1
    }

    async fn infer(&self, request: InferRequest, _context: &Context) -> Result<InferResponse> {
        Ok(InferResponse::of(request.inputs))
    }
}

fn echo() -> Server {
    let metadata = ModelMetadata { name: "echo".to_owned(), ..ModelMetadata::default() };
    serving(Repository::default().with(Arc::new(Echo(metadata, rows()))), dataplane::limits::Limits::default())
}

async fn there_and_back(server: &Server, datatype: &str, data: &str, count: usize) -> String {
    let body = format!(r#"{{"inputs":[{{"name":"x","shape":[{count}],"datatype":"{datatype}","data":{data}}}]}}"#);
    let answer = server.post("/v2/models/echo/infer", body).await.text();
    let data = answer.split_once("\"data\":").unwrap_or_else(|| panic!("{answer}")).1;
    data.trim_end_matches("}]}").to_owned()
}

#[tokio::test]
async fn elements_of_every_datatype_come_back_as_they_went_in() {
    let server = echo();
    for (datatype, data, count) in [
        ("BOOL", "[true,false]", 2),
        ("UINT8", "[0,255]", 2),
        ("UINT16", "[65535]", 1),
        ("UINT32", "[4294967295]", 1),
        ("UINT64", "[9007199254740993,18446744073709551615]", 2),
        ("INT8", "[-128,127]", 2),
        ("INT16", "[-32768]", 1),
        ("INT32", "[-2147483648]", 1),
        ("INT64", "[-9223372036854775808,9007199254740993]", 2),
        ("FP32", "[0.1,-3.4028235e+38,1e-45,16777216.0]", 4),
        ("FP64", "[0.1,1.7976931348623157e+308,5e-324,0.30000000000000004]", 4),
        ("BYTES", r#"["","é\n\"\\","日本"]"#, 3),
    ] {
        assert_eq!(there_and_back(&server, datatype, data, count).await, data, "{datatype}");
    }
}

/// Bit patterns spread over the whole range, without a random source.
fn patterns() -> impl Iterator<Item = u64> {
    (1..2000_u64).map(|number| number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[tokio::test]
async fn every_finite_float_survives_both_ways() {
    let server = echo();
    let singles: Vec<f32> =
        patterns().map(|bits| f32::from_bits((bits >> 32) as u32)).filter(|number| number.is_finite()).collect();
    let back = there_and_back(&server, "FP32", &serde_json::to_string(&singles).unwrap(), singles.len()).await;
    let back: Vec<f32> = back[1..back.len() - 1].split(',').map(|number| number.parse().unwrap()).collect();
    assert_eq!(back, singles);
    let doubles: Vec<f64> = patterns().map(f64::from_bits).filter(|number| number.is_finite()).collect();
    let back = there_and_back(&server, "FP64", &serde_json::to_string(&doubles).unwrap(), doubles.len()).await;
    let back: Vec<f64> = back[1..back.len() - 1].split(',').map(|number| number.parse().unwrap()).collect();
    assert_eq!(back, doubles);
}

#[tokio::test]
async fn what_a_datatype_can_not_hold_is_refused_and_never_bent() {
    let server = echo();
    for (datatype, element) in [
        ("UINT8", "256"),
        ("UINT8", "-1"),
        ("INT32", "1.5"),
        ("INT32", "1e3"),
        ("INT64", "9223372036854775808"),
        ("UINT64", "18446744073709551616"),
        ("FP32", "1e39"),
        ("FP32", "null"),
        ("FP32", "true"),
        ("FP32", "\"NaN\""),
        ("FP64", "1e309"),
        ("BOOL", "1"),
        ("BYTES", "7"),
        ("BYTES", "\"\\ud800\""),
    ] {
        let body = json!({"inputs": [{"name": "x", "shape": [1], "datatype": datatype, "data": ["?"]}]});
        let body = body.to_string().replace("\"?\"", element);
        let (status, code, message) = server.post("/v2/models/echo/infer", body).await.failure();
        assert_eq!((status, code.as_str()), (400, "invalid_argument"));
        let wanted = format!("field `inputs[0] `x`.data`: expected {datatype} of shape [1]: element 0 is {element}");
        assert_eq!(message, wanted);
    }
}

#[tokio::test]
async fn a_long_name_does_not_come_back_in_full() {
    let name = "x".repeat(1_000_000);
    let body: Value = json!({"inputs": [{"name": name, "shape": [1], "datatype": name, "data": [name]}]});
    let answer = echo().post("/v2/models/echo/infer", body.to_string()).await;
    assert_eq!(answer.failure().0, 400);
    assert!(answer.body.len() < 4096);
}
