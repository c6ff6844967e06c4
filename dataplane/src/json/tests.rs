//! What elements are, and what they are not.

use serde_json::value::RawValue;

use super::{DataJson, read_data};
use crate::tensor::{Data, Datatype};

fn read(datatype: Datatype, shape: &[usize], json: &str) -> Result<Data, String> {
    let raw = RawValue::from_string(json.to_owned()).unwrap();
    read_data(datatype, shape, &raw).map_err(|error| error.message().to_owned())
}

#[test]
fn flat_and_nested_data_mean_the_same() {
    let flat = read(Datatype::Int32, &[2, 2], "[1,2,3,4]").unwrap();
    assert_eq!(flat, read(Datatype::Int32, &[2, 2], "[[1,2],[3,4]]").unwrap());
    assert_eq!(flat, Data::Int32(vec![1, 2, 3, 4]));
    assert_eq!(read(Datatype::Bytes, &[1, 1], r#"[["é"]]"#).unwrap(), Data::Bytes(["é"].into_iter().collect()));
    assert_eq!(read(Datatype::Fp32, &[0], "[]").unwrap(), Data::Fp32(vec![]));
}

#[test]
fn what_does_not_fit_says_what_was_expected() {
    for (datatype, shape, json, expected) in [
        (Datatype::Fp32, vec![2], r#"[1,"a"]"#, "expected FP32 of shape [2]: element 1 is \"a\""),
        (Datatype::Fp32, vec![2], "[1]", "expected FP32 of shape [2]: 1 elements instead of 2"),
        (Datatype::Fp32, vec![1], "[1,2,3]", "expected FP32 of shape [1]: more than 1 elements"),
        (Datatype::Fp32, vec![2, 2], "[[1],[2,3,4]]", "expected FP32 of shape [2, 2]: 1 items at depth 1 instead of 2"),
        (Datatype::Fp32, vec![1], "[[1]]", "expected FP32 of shape [1]: nested deeper than its shape, at depth 1"),
        (Datatype::Fp32, vec![1], "7", "expected FP32 of shape [1]: 7 is no list"),
        (Datatype::Uint8, vec![1], "[300]", "expected UINT8 of shape [1]: element 0 is 300"),
    ] {
        assert_eq!(read(datatype, &shape, json).unwrap_err(), expected);
    }
}

#[test]
fn a_float_without_a_json_number_is_null() {
    let json = serde_json::to_string(&DataJson(&Data::Fp32(vec![0.1, f32::NAN]))).unwrap();
    assert_eq!(json, "[0.1,null]");
}
